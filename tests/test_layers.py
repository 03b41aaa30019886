"""The house: who may import whom, what is light, what is documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import jettagger
from jettagger.errors import MissingExtra

ROOT = Path(jettagger.__file__).resolve().parent.parent
PACKAGE = ROOT / "jettagger"

#: rooms from left to right: each imports those of lines above only, never another of its own line
ORDER = [
    ["errors", "types", "_version", "_checkout"],
    ["display"],
    ["report"],
    ["arguments", "kinematics", "runtime", "weights"],
    ["expressions", "features"],
    ["formats"],
    ["files"],
    ["config"],
    ["weaver", "topology", "sessions", "images", "provenance", "jetclass2", "testing"],
    ["truth"],
    ["bundles", "discriminants", "histograms", "simulation"],
    ["inputs", "statistics"],
    ["inference", "plots"],
    ["heads", "training"],
    ["tagging", "decorrelation", "calibration", "jec", "assignment"],
    ["skims", "dask"],
    ["__init__"],
    ["finetuning", "search", "explain"],
    ["processors", "studies"],
    ["cli"],
    ["__main__"],
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}

HEAVY = ["awkward", "coffea", "onnxruntime", "onnx", "dask", "distributed", "torch", "matplotlib", "pyarrow"]
HEAVY += ["pydantic", "uproot", "rich", "hist", "dask_awkward", "numba"]


def modules() -> list[Path]:
    return [*sorted(PACKAGE.rglob("*.py")), *sorted((ROOT / "processors").glob("*.py"))]


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room(path: Path) -> str:
    inside = path.is_relative_to(PACKAGE)
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py") if inside else "processors"


def imports(path: Path) -> set[str]:
    """The rooms of the package that a module imports, also inside functions."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name == "jettagger":
                rooms.add("__init__")
            elif name.startswith("jettagger."):
                first = name.split(".")[1]
                rooms.add(first if first in RANK else "__init__")
    return rooms


def test_every_room_has_a_rank_and_there_are_few() -> None:
    rooms = {room(path) for path in modules()}
    assert rooms == set(RANK)
    assert len(rooms) <= 48


@pytest.mark.parametrize("path", modules(), ids=label)
def test_no_module_imports_a_room_to_its_right_or_beside_it(path: Path) -> None:
    here = room(path)
    for other in imports(path) - {here}:
        if here == "__init__" or (other == "__init__" and here == "cli"):
            continue  # the front door imports when a name is asked for
        assert RANK[other] < RANK[here], f"{label(path)} imports jettagger.{other}"


#: what processors may import besides the top of the package: modules whose names are documented for users
PUBLIC = [
    "arguments",
    "assignment",
    "assignment.making",
    "calibration",
    "decorrelation",
    "discriminants",
    "display",
    "errors",
    "explain",
    "expressions",
    "expressions.cutlogic",
    "files",
    "files.generated",
    "heads",
    "histograms",
    "jec",
    "jec.making",
    "kinematics",
    "provenance",
    "search.blinding",
    "search.correctedjets",
    "search.corrections",
    "search.definition",
    "search.doubts",
    "search.jetenergy",
    "search.masses",
    "search.objects",
    "search.tagfactors",
    "search.theory",
    "search.tagandprobe",
    "search.variations",
    "skims.columns",
    "truth",
    "weights",
]


def test_processors_use_public_names_only() -> None:
    for path in (ROOT / "processors").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jettagger"):
                module = node.module or ""
                if not module.startswith("jettagger.processors"):
                    assert module.removeprefix("jettagger.") in PUBLIC, f"{path.name}: from {module}"
                    known = importlib.import_module(module).__all__
                    for alias in node.names:
                        assert alias.name in known, f"{path.name}: {module}.{alias.name} is no public name"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "jt":
                assert node.attr in jettagger.__all__, f"{path.name}: jt.{node.attr} is no public name"


@pytest.mark.parametrize(
    ("rooms", "names"),
    [
        (("formats", "testing", "simulation"), ("PFCands", "FatJetPFCands", "FatJetSVs", "pFCandsIdx", "sVIdx")),
        (("truth", "testing", "simulation"), ("genPartIdxMother",)),
    ],
)
def test_layouts_of_events_are_known_to_few(rooms: tuple[str, ...], names: tuple[str, ...]) -> None:
    for path in modules():
        if room(path) in rooms:
            continue
        source = [
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        found = [text for text in source if text in names]
        assert not found, f"{path.relative_to(ROOT)} knows the columns {found}"


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import jettagger",
        "import jettagger; dir(jettagger); jettagger.__version__",
        "import jettagger.cli; jettagger.cli.main(['--help'])",
    ],
)
def test_importing_the_package_is_light(statement: str) -> None:
    assert loaded_by(statement).isdisjoint(HEAVY)


def test_tagging_in_memory_needs_no_dask_torch_or_matplotlib() -> None:
    statement = (
        "import jettagger as jt; from jettagger.testing import make_events; "
        "jt.load_tagger('tinyParT', threads=1).attach(make_events(2, seed=1))"
    )
    assert loaded_by(statement).isdisjoint({"dask", "distributed", "torch", "matplotlib", "coffea", "uproot"})


#: what tagging arrays in memory does without; jettagger's requirements bring the first nine, for files and searches
ABSENT = ["coffea", "uproot", "hist", "boost_histogram", "uhi", "pyarrow", "vector", "correctionlib", "rich"]
ABSENT += ["dask", "distributed", "dask_awkward", "matplotlib", "scipy", "pandas", "numba", "torch"]

#: a finder in front of all others; to the code that imports, the packages are not installed
REFUSAL = """
import sys
class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refusal())
"""

#: the three lines of the README, with what people ask for besides, on plain awkward arrays
CORE = """
import awkward as ak, jettagger as jt
from jettagger.testing import make_events
events = make_events(12, seed=3)
tagger = jt.load_tagger("tinyParT", threads=1, backend="onnxruntime")
tagged = tagger.attach(events, where=events.FatJet.pt > 300)
assert ak.all(ak.is_none(tagger.attach(events, where="pt < 0").FatJet.tinyParT_probHbb, axis=1))
jt.load_taggers(["tinyParT"], threads=1).attach(events)
hbb = jt.discriminant("HbbvsQCD", prefix="tinyParT")(tagged.FatJet)
assert len(list(jt.make_inputs(tagger.bundle, events)))
tagger.plan(events), tagger.run(events).report.summary()
"""


def test_tagging_arrays_needs_neither_coffea_nor_uproot_nor_hist() -> None:
    """In a process that cannot have them, with the numbers of this one."""
    import awkward as ak

    absent = "for name in ABSENT:\n try: __import__(name)\n except ImportError: print(name, 'cannot be had')"
    code = f"ABSENT = {ABSENT!r}\n{REFUSAL}{CORE}print(ak.to_list(hbb))\n{absent}"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    scores, *refused = run.stdout.splitlines()
    assert refused == [f"{name} cannot be had" for name in ABSENT]
    here: dict[str, ak.Array] = {}
    exec(CORE, here)
    assert scores == str(ak.to_list(here["hbb"]))
    assert 0 < ak.count(here["hbb"]) < ak.count(here["events"].FatJet.pt)


def test_importing_the_package_loads_nothing_but_the_front_door() -> None:
    code = "import sys; before = set(sys.modules); import jettagger; print(*sorted({*sys.modules} - before))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name for name in run.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}
    assert loaded <= {"jettagger", "jettagger._checkout", "jettagger._version"}


def test_every_public_name_resolves() -> None:
    for name in jettagger.__all__:
        assert getattr(jettagger, name) is not None
    assert set(jettagger.__all__) <= set(dir(jettagger))
    with pytest.raises(AttributeError, match="no attribute 'load_taggr'"):
        jettagger.load_taggr  # noqa: B018


def test_each_public_class_name_is_taken_once() -> None:
    homes: dict[str, list[str]] = {}
    for path in modules():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(label(path))
    assert {"Tagger", "TaggingProcessor", "ColumnSource"} <= set(homes)
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def names() -> list[str]:
    found = ["jettagger"]
    # the processors of a checkout lie beside the package
    for module in pkgutil.walk_packages([str(ROOT / "processors")], "jettagger.processors."):
        found.append(module.name)
    for module in pkgutil.walk_packages(jettagger.__path__, "jettagger."):
        if module.name != "jettagger.__main__":
            found.append(module.name)
    return sorted(set(found))


@pytest.mark.parametrize("name", names())
def test_every_module_says_what_it_offers_and_documents_it(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("jettagger"):
            raise
        pytest.skip(f"{name} needs an extra: {error}")
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"
    for public in getattr(module, "__all__", []):
        try:
            item = getattr(module, public)
        except MissingExtra:  # a name that is loaded on first use
            continue
        if not (inspect.isfunction(item) or inspect.isclass(item)):
            continue
        assert (item.__doc__ or "").strip(), f"{name}.{public} has no docstring"
        if inspect.isclass(item) and item.__module__.startswith("jettagger"):
            for member, function in vars(item).items():
                if not member.startswith("_") and inspect.isfunction(function):
                    assert inspect.getdoc(getattr(item, member)), f"{name}.{public}.{member} has no docstring"
