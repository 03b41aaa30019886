"""Every public object says in one short line what it is, and shows itself as well-formed, escaped HTML."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from heads import make_head
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from shown import check_shown, page

import jettagger
from jettagger.discriminants import Discriminant, derive
from jettagger.display import LONGEST_LINE, MAX_ROWS, Brief, Displayed, brief, brief_line, briefly, fields_html, in_full
from jettagger.errors import MissingExtra
from jettagger.files.cache import DiskCache
from jettagger.files.corrections import CorrectionText
from jettagger.histograms import AxisSpec, HistSpec
from jettagger.images import ImageSettings, make_images
from jettagger.report import Report
from jettagger.statistics.building import build
from jettagger.statistics.specification import TemplateSpec
from jettagger.topology.permutations import PermutationGroup

HOSTILE = "<script>alert('x')</script> & \x1b[2J \u202e"


def public_modules() -> Iterator[Any]:
    for module in pkgutil.walk_packages(jettagger.__path__, "jettagger."):
        if not module.name.endswith("__main__") and ".cli" not in module.name:
            try:
                yield importlib.import_module(module.name)
            except ImportError:  # an extra is not installed
                continue


def public_classes() -> list[type]:
    """The classes in ``__all__`` of any module, once."""
    found = {}
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            try:
                value = getattr(module, name)
            except MissingExtra:  # which says how to install it
                continue
            if inspect.isclass(value) and value.__module__.startswith("jettagger"):
                found[value.__module__, value.__qualname__] = value
    return [found[key] for key in sorted(found)]


CLASSES = public_classes()


def no_instance(cls: type) -> str:
    """Why a class has no form of its own."""
    if issubclass(cls, BaseException):
        return "an exception: its text"
    if getattr(cls, "_is_protocol", False):
        return "an interface"
    if issubclass(cls, (dict, list)):
        return "a dictionary or a list of Python"
    if any(base.__module__.partition(".")[0] in ("torch", "uproot", "coffea", "matplotlib") for base in cls.__mro__):
        return "a class of another package, in its form"
    return ""


def ids(cls: type) -> str:
    return f"{cls.__module__.removeprefix('jettagger.')}.{cls.__qualname__}"


SHOWN = [cls for cls in CLASSES if not no_instance(cls)]
#: those that have the common form of fields
COMMON = [cls for cls in SHOWN if cls.__repr__ in (Brief.__repr__, brief_line) and not issubclass(cls, Displayed)]


def test_every_class_has_a_form() -> None:
    assert len(SHOWN) > 400
    without = [ids(cls) for cls in SHOWN if not hasattr(cls, "_repr_html_") and cls.__repr__ is object.__repr__]
    assert without == []


@dataclass(frozen=True)
class Large(Brief):
    """What no repr may write in full."""

    array: Any
    names: tuple[str, ...]


ODD: dict[str, Callable[[], Any]] = {
    "hostile text": lambda: HOSTILE,
    "long text": lambda: HOSTILE * 1000,
    "nothing": lambda: None,
    "a large array": lambda: np.zeros((1000, 1000)),
    "an array of objects": lambda: np.array([HOSTILE, None], dtype=object),
    "a number of numpy": lambda: np.float32(0.5),
    "many names": lambda: [HOSTILE] * 100_000,
    "a large table": lambda: {f"{HOSTILE}{number}": np.zeros(3) for number in range(1000)},
    "many objects": lambda: [Large(np.zeros(9), (HOSTILE,))] * 1000,
    "nested": lambda: {"a": {"b": {"c": {"d": [[[[1]]]]}}}},
    "bytes": lambda: b"\x00" * 10**6,
    "empty": lambda: (),
    "a set": lambda: frozenset({HOSTILE, 1, None}),
    "a path": lambda: Path("/" + "long/" * 500),
    "a function": lambda: ids,
    "not a number": lambda: float("nan"),
}


def stuffed(cls: type, value: Any) -> Any:
    """An instance with this value in all fields, without its checks."""
    if issubclass(cls, tuple):
        return tuple.__new__(cls, [value] * len(cls._fields))  # type: ignore[attr-defined]
    if issubclass(cls, BaseModel):
        return cls.model_construct(**dict.fromkeys(cls.model_fields, value))
    made = object.__new__(cls)
    if is_dataclass(cls):
        for item in fields(cls):
            object.__setattr__(made, item.name, value)
    elif hasattr(made, "__dict__"):
        made.__dict__.update(value=value, _hidden=value)
    return made


@pytest.mark.parametrize("cls", COMMON, ids=ids)
def test_any_value_is_shown_in_a_line_and_a_page(cls: type) -> None:
    if inspect.isabstract(cls):
        return
    for name in ("hostile text", "a large table", "nothing"):
        check_shown(stuffed(cls, ODD[name]()))


@pytest.mark.parametrize("name", ODD)
def test_odd_values(name: str) -> None:
    value = ODD[name]()
    check_shown(Large(value, (value,)))
    check_shown(Large([value] * 3, {"a": value}))  # type: ignore[arg-type]


def test_an_object_without_its_fields_is_shown() -> None:
    made = object.__new__(Large)
    check_shown(made)
    assert repr(made) == "Large(array=None, names=None)"


# --------------------------------------------------------------------------------- those with forms of their own


#: tests that check these with ``check_shown``
ELSEWHERE = {
    "assignment.assigner.Assigner": "test_assigner.py",
    "assignment.comparison.MethodComparison": "test_purity.py",
    "assignment.counting.AssignmentReport": "test_assigner.py",
    "assignment.datasets.AssignmentDataset": "test_assignment_datasets.py",
    "assignment.losses.AssignmentLoss": "test_assignment_losses.py",
    "assignment.purity.Purities": "test_purity.py",
    "assignment.results.NetworkEvaluation": "test_assignment_evaluate.py",
    "calibration.efficiencymap.EfficiencyMap": "test_tag_weights.py",
    "calibration.fitting.FactorFit": "test_factor_fits.py",
    "calibration.fitting.Factors": "test_factor_fits.py",
    "calibration.scalefactors.ScaleFactors": "test_scale_factors.py",
    "calibration.templates.BandTemplates": "test_factor_fits.py",
    "decorrelation.linear.LinearMap": "test_maps.py",
    "decorrelation.quantiles.QuantileMap": "test_maps.py",
    "decorrelation.thresholds.ThresholdMap": "test_maps.py",
    "explain.graph.TorchGraph": "test_explain_gradients.py",
    "heads.rescore.Rescorer": "test_rescore.py",
    "jec.estimates.JetEstimates": "test_jec_performance.py",
    "jec.importing.ImportedModel": "test_jec_network.py",
    "jec.standard.StandardCorrection": "test_jec_standard.py",
    "search.correctiontables.CorrectionTable": "test_search_corrections.py",
    "search.jetenergy.JercFile": "test_search_energy.py",
}
#: bases of others here
BASES = {
    "calibration.correctionfile.CorrectionFile",
    "decorrelation.mapfile.DecorrelationMap",
    "discriminants.derived.DerivedFile",
    "display.Displayed",
}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One of each class with a form of its own, with hostile names where users choose them."""
    folder = tmp_path_factory.mktemp("shown")
    hist = HistSpec(HOSTILE, [AxisSpec("mjj", bins=(2, 0, 100), label=HOSTILE)])
    filled = hist.make()
    hist.fill(filled, {"mjj": np.array([10.0, 60.0])}, 1.0, dataset=HOSTILE, region=HOSTILE, variation="nominal")
    templates = build(filled, TemplateSpec(processes={HOSTILE: [HOSTILE]}, signals={}))
    score = Discriminant.from_string("probHbb / (probHbb + probQCD)", name=HOSTILE)
    points = derive(Discriminant.from_string("x", name=HOSTILE), {"x": np.linspace(0, 1, 1000)}, {HOSTILE: 0.5})
    head = make_head(folder / "Toy")
    tagger = jettagger.load_tagger("tinyParT")
    return {
        "bundles.bundle.Bundle": tagger.bundle,
        "discriminants.discriminant.Discriminant": score,
        "discriminants.working_points.WorkingPoints": points,
        "files.cache.DiskCache": DiskCache(folder / "cache", 10**9),
        "files.corrections.CorrectionText": CorrectionText("{}", HOSTILE),
        "heads.head.Head": head,
        "images.sparse.SparseImages": make_images(ImageSettings(), {"pt": [], "deta": [], "dphi": []}, [0], {"pt": []}),
        "report.Report": Report(jets=10**9),
        "statistics.templates.Templates": templates,
        "tagging.tagger.Tagger": tagger,
        "tagging.taggers.Taggers": jettagger.load_taggers(["tinyParT", "inclParTToyV1"]),
        "topology.permutations.PermutationGroup": PermutationGroup(9, [(*range(1, 9), 0)]),
    }


def test_those_with_their_own_form(examples: dict[str, Any]) -> None:
    for name, shown in examples.items():
        assert ids(type(shown)) == name
        check_shown(shown)
    for name, file in ELSEWHERE.items():
        text = (Path(__file__).parent / file).read_text(encoding="utf-8")
        assert "check_shown(" in text, (name, file)
    assert {*examples, *ELSEWHERE, *BASES} >= OWN
    pytest.importorskip("torch")  # which some need
    assert {*examples, *ELSEWHERE, *BASES} == OWN


def test_a_copy_is_shown_as_the_object(examples: dict[str, Any]) -> None:
    for name, shown in examples.items():
        if name in ("bundles.bundle.Bundle", "heads.head.Head"):  # pickled as a part of a tagger alone
            continue
        again = pickle.loads(pickle.dumps(shown))
        assert repr(again) == repr(shown)
        assert again._repr_html_() == shown._repr_html_()


OWN = {ids(cls) for cls in SHOWN if cls not in COMMON}


# ------------------------------------------------------------------------------------------- the common form


def test_fields_are_shown_as_python_writes_them() -> None:
    assert repr(Large(1.5, ("a", "b"))) == "Large(array=1.5, names=('a', 'b'))"
    assert repr(Large(np.zeros((2, 3), np.float32), ())) == "Large(array=float32[2, 3], names=())"
    assert repr(Large(np.int64(3), ("a",))) == "Large(array=3, names=('a',))"
    inner = Large(Large(None, ()), ("a",))
    assert repr(inner) == "Large(array=Large(array=None, names=()), names=('a',))"


def test_objects_that_hold_themselves_are_shown() -> None:
    inner = [Large(None, ())]
    inner.append(Large(inner, ()))  # a list with an object that holds it
    check_shown(inner[1])


def test_nothing_lazy_is_computed() -> None:
    class Lazy:
        """As an array whose numbers and shape are computed when they are asked for."""

        dtype = property(lambda self: self.fail())
        shape = property(lambda self: self.fail())

        def fail(self) -> Any:
            raise AssertionError("computed")

        __repr__ = __len__ = __iter__ = __array__ = fail  # type: ignore[assignment]

    assert repr(Large(Lazy(), ())) == "Large(array=Lazy, names=())"
    assert "Lazy" in Large(Lazy(), ())._repr_html_()
    dask = pytest.importorskip("dask.array", reason="dask is not installed")
    array = dask.zeros((5,)).map_blocks(lambda block: 1 / 0 * block, dtype=float)
    assert repr(Large(array, ())) == "Large(array=Array, names=())"


def test_defaults_are_left_out_first_where_there_are_many() -> None:
    @dataclass
    class Options(Brief):
        a: str = "a" * 50
        b: str = "b" * 50
        c: str = "c" * 50
        d: str = "d" * 50
        e: str = "e" * 50
        f: str = "f" * 50
        last: int = 1

    assert repr(Options(last=2)) == "Options(last=2)"
    assert len(repr(Options(*(letter * 60 for letter in "uvwxyz")))) <= LONGEST_LINE


def test_collections_of_objects_and_numbers_are_tables() -> None:
    rows = [Large(float(number), (f"n{number}",)) for number in range(MAX_ROWS + 10)]
    tables = list(page(Large(rows, ())).iter("table"))
    captions = [table.findtext("caption") for table in tables]
    assert "array" in captions
    shown = tables[captions.index("array")]
    assert [cell.text for cell in next(shown.iter("tr"))] == ["array", "names"]
    assert len(list(shown.iter("tr"))) == 1 + MAX_ROWS + 1
    assert "and 10 more" in Large(rows, ())._repr_html_()
    assert "and 60 more" in Large({str(number): number for number in range(100)}, ())._repr_html_()


def test_named_tuples_are_shown_in_the_same_way() -> None:
    @briefly
    class Pair(NamedTuple):
        first: Any
        second: Any

    made = Pair(np.zeros(1000), HOSTILE)
    check_shown(made)
    assert repr(made).startswith("Pair(first=float64[1000], second=")
    assert fields_html(made) == made._repr_html_()  # type: ignore[attr-defined]


def test_in_full_leaves_nothing_out() -> None:
    names = tuple(map(str, range(1000)))
    one, other = Large(np.zeros(2000), names), Large(np.r_[np.zeros(1999), 1.0], names)
    assert repr(one) == repr(other)
    assert in_full(one) != in_full(other)
    assert in_full(one) == in_full(Large(np.zeros(2000), names))
    assert in_full({"a": [one, (1,)]}).count("'999'") == 1


@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    )
)
def test_any_value_is_a_short_text(value: Any) -> None:
    assert len(brief(value)) < LONGEST_LINE
    assert brief(value).isprintable()
    assert len(brief_line(Large(value, ()))) <= LONGEST_LINE


def test_showing_imports_nothing_heavy() -> None:
    code = (
        "import sys, jettagger\n"
        "from jettagger.tagging.options import TaggerOptions\n"
        "options = TaggerOptions(); repr(options); options._repr_html_()\n"
        "print(*(name for name in ('rich', 'onnxruntime', 'uproot', 'coffea', 'matplotlib') if name in sys.modules))"
    )
    root = Path(jettagger.__file__).parent.parent
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
