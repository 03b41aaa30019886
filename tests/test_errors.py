"""The exceptions: one class a cause, nearest names, pickling over processes."""

from __future__ import annotations

import ast
import inspect
import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettagger import errors
from jettagger.errors import (
    LONGEST,
    ConfigError,
    InputFileError,
    JettaggerError,
    MissingColumns,
    MissingExtra,
    UnknownName,
    hint,
    nearest,
    parts_of,
    renamed,
    require,
    visible,
)

CLASSES = [item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, JettaggerError)]


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert sorted(drawn) == sorted(item.__name__ for item in CLASSES if item is not JettaggerError)
    assert {item.__name__ for item in CLASSES} <= set(errors.__all__)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_says_when_it_is_raised(kind: type[JettaggerError]) -> None:
    assert "aise" in (kind.__doc__ or "")


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind is not UnknownName], ids=lambda kind: kind.__name__)
def test_pickle(kind: type[JettaggerError]) -> None:
    """Workers send their errors home."""
    again = pickle.loads(pickle.dumps(kind("what, where")))
    assert type(again) is kind
    assert str(again) == "what, where"


class TestUnknownName:
    def test_message(self) -> None:
        error = UnknownName("output", "probHbB", ["probHbb", "probHcc"], "bundle 'x'")
        assert str(error) == (
            "unknown output in bundle 'x': 'probHbB' (nearest: probHbb, probHcc). Known: probHbb, probHcc"
        )
        assert isinstance(error, KeyError)

    def test_several(self) -> None:
        error = UnknownName("column", ["ptt", "zzz"], ["pt"])
        assert str(error) == "unknown columns: 'ptt' (nearest: pt); 'zzz'. Known: pt"
        assert error.names == ["ptt", "zzz"]

    def test_a_long_list_is_not_repeated(self) -> None:
        assert "Known" not in str(UnknownName("output", "x", [f"probH{n}" for n in range(13)]))

    def test_nothing_known(self) -> None:
        assert str(UnknownName("command", "x", [])) == "unknown command: 'x'. Known: none"

    def test_pickle(self) -> None:
        error = UnknownName("column", ["ptt"], ["pt"])
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.names) == (UnknownName, str(error), ["ptt"])


#: of which each error carries its parts
EXACT = {
    *("BundleNotFound", "MissingExtra", "MissingModelFile", "ProviderError", "RemoteError", "UnknownName"),
    *("WorkerError", "WrongType"),
}


class TestParts:
    def test_those_that_are_given(self) -> None:
        error = JettaggerError("x.root: got a, expected b", where="y", nearest=("c",))
        assert (error.where, error.got, error.expected, error.nearest) == ("y", None, None, ["c"])
        again = pickle.loads(pickle.dumps(error))
        assert again.parts == error.parts

    def test_those_that_the_message_tells(self) -> None:
        error = JettaggerError("x.root: got a, expected b (nearest: c, d)")
        assert (error.where, error.got, error.expected) == ("x.root", "a", "b (nearest: c, d)")
        assert error.nearest == ["c", "d"]
        assert JettaggerError("what").parts == {"where": None, "got": None, "expected": None, "nearest": []}
        assert JettaggerError().parts == JettaggerError("what").parts

    @pytest.mark.parametrize(
        ("message", "where"),
        [
            ("a.yaml, line 3: no layers", "a.yaml, line 3"),
            ("jettagger tag: got 'x'", "jettagger tag"),
            ("limit(), argument toys: got -1", "limit(), argument toys"),
            ("out/a.parquet: is damaged", "out/a.parquet"),
            ("out/a.parquet is damaged", "out/a.parquet"),
            ("cannot read out/a.parquet: denied", "out/a.parquet"),
            ("the models of a.root: none", None),
            ("my a.root is damaged", None),
            ("a.rooted is damaged", None),
        ],
    )
    def test_places(self, message: str, where: str | None) -> None:
        assert parts_of(message)["where"] == where

    def test_a_place_is_put_in_front(self) -> None:
        inner = InputFileError("a.root: got b", where="a.root", got="b", expected="c", nearest=["d"])
        error = inner.placed("x.yaml, line 2")
        assert type(error) is InputFileError
        assert str(error) == "x.yaml, line 2: a.root: got b"
        assert error.parts == {"where": "x.yaml, line 2, a.root", "got": "b", "expected": "c", "nearest": ["d"]}
        named = UnknownName("key", "ab", ["abc"]).placed("x.yaml")
        assert type(named) is ConfigError
        assert named.parts == {"where": "x.yaml", "got": "ab", "expected": "one of abc", "nearest": ["abc"]}

    def test_they_are_as_bounded_and_printable_as_the_message(self) -> None:
        for error in (JettaggerError("x", where="\x1b" * 10**6), UnknownName("key", "\x1b" * 10**6, [])):
            assert all(len(text) <= LONGEST and "\x1b" not in text for text in (error.where or "", error.got or ""))

    def test_some_classes_always_carry_them(self) -> None:
        package = Path(errors.__file__).parent
        seen = set()
        for path in [*package.rglob("*.py"), *(package.parent / "processors").glob("*.py")]:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
                if name in EXACT - {"UnknownName"}:
                    seen.add(name)
                    given = {word.arg for word in node.keywords}
                    assert given >= {"where", "got", "expected"} or None in given, f"{path}, line {node.lineno}"
        assert seen == EXACT - {"UnknownName"}


class TestNearest:
    def test_best_first(self) -> None:
        assert nearest("pfcand_etarell", ["pfcand_phirel", "pfcand_etarel", "sv_mass"])[0] == "pfcand_etarel"

    def test_case_and_underscores_do_not_matter(self) -> None:
        assert nearest("PROB_HBB", ["probHcc", "probHbb"])[0] == "probHbb"

    def test_nothing_is_near(self) -> None:
        assert nearest("mass", ["xyz"]) == []
        assert hint("mass", ["xyz"]) == ""

    def test_at_most_three(self) -> None:
        assert len(nearest("probH0", [f"probH{n}" for n in range(1, 9)])) == 3


class TestRequire:
    def test_installed(self) -> None:
        assert require("os.path", "none", "a test").__name__ == "posixpath"

    def test_missing(self) -> None:
        with pytest.raises(MissingExtra, match=re.escape("drawing needs the package 'no_such_package'")) as info:
            require("no_such_package.sub", "plot", "drawing")
        assert "pip install 'jettagger[plot]'" in str(info.value)
        assert isinstance(info.value, ImportError)

    def test_a_broken_package_is_not_a_missing_one(self, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
        (tmp_path / "broken_package.py").write_text("import another_absent_package\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ModuleNotFoundError, match="another_absent_package") as info:
            require("broken_package", "plot", "drawing")
        assert not isinstance(info.value, MissingExtra)


class TestRenamed:
    @pytest.mark.parametrize(
        ("name", "known", "other"),
        [
            ("MET.pt", ["PFMET.pt", "PuppiMET.pt"], "PFMET.pt"),
            ("PFMET_phi", ["MET_phi", "PuppiMET_phi"], "MET_phi"),
            ("fixedGridRhoFastjetAll", ["Rho.fixedGridRhoFastjetAll"], "Rho.fixedGridRhoFastjetAll"),
            ("Rho.fixedGridRhoFastjetAll", ["fixedGridRhoFastjetAll"], "fixedGridRhoFastjetAll"),
        ],
    )
    def test_names_of_other_versions(self, name: str, known: list[str], other: str) -> None:
        assert renamed(name, known) == f" (called {other} in this version of NanoAOD)"
        assert f"{name!r} (called {other} in this" in str(UnknownName("column", name, known))

    def test_other_quantities_are_no_new_names(self) -> None:
        assert renamed("MET.pt", ["PuppiMET.pt", "PFMET.phi"]) == ""
        assert renamed("FatJet_jetId", ["FatJet_pt"]) == ""

    def test_what_is_gone(self) -> None:
        assert "is to be computed from multiplicities" in renamed("jetId", ["pt", "chMultiplicity"])

    def test_heads_say_it(self) -> None:
        import awkward as ak

        from jettagger.heads import JetTable

        table = JetTable(ak.Array({"FatJet_phi": [[1.0]], "PFMET_phi": [1.0]}))
        with pytest.raises(MissingColumns, match=r"MET_phi \(called PFMET_phi in this version of NanoAOD\)"):
            table.require(["FatJet_metDeltaPhi"], "a head")


class TestVisible:
    @pytest.mark.parametrize("kind", sorted({*CLASSES} - {UnknownName}, key=str))
    def test_no_error_repeats_a_megabyte(self, kind: type[JettaggerError]) -> None:
        text = str(kind("cannot read " + "x" * 1_000_000 + ": no such file"))
        assert len(text) <= LONGEST
        assert text.startswith("cannot read xxx")
        assert text.endswith("xxx: no such file")
        assert "characters) ..." in text

    def test_unknown_names(self) -> None:
        error = UnknownName("column", ["x" * 1_000_000, "\x1b[2J"], ["pt", "y" * 1_000_000], "z" * 1_000_000)
        assert len(str(error)) <= LONGEST
        assert error.names[0] == "x" * 1_000_000
        assert "\x1b" not in str(error)

    def test_pickled_it_stays_as_it_is(self) -> None:
        error = JettaggerError("\x1b" + "x" * 10_000)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)

    @given(st.text(st.characters(codec=None), max_size=60), st.integers(40, 80))
    def test_it_is_bounded_free_of_control_and_changes_nothing_else(self, text: str, longest: int) -> None:
        shown = visible(text, longest)
        shown.encode()  # no halves of pairs
        assert len(shown) <= longest
        assert not [letter for letter in shown if ord(letter) < 32 and letter not in "\n\t"]
        assert visible(shown, longest) == shown
        if text.isascii() and text.isprintable() and len(text) <= longest:
            assert shown == text

    @pytest.mark.parametrize("length", range(4001, 4100))
    def test_a_message_that_is_a_little_too_long(self, length: int) -> None:
        shown = visible("x" * length)
        assert len(shown) <= LONGEST
        kept = shown.count("x")
        assert f"({length - kept} characters)" in shown
