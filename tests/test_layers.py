"""The house: who may import whom, what is light, what is documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import jettagger

ROOT = Path(jettagger.__file__).resolve().parent.parent
PACKAGE = ROOT / "jettagger"

#: from left to right; a module never imports one of a layer to its right, and only the named ones of its own layer
LAYERS = [
    ["errors", "_version", "parts", "types"],
    [
        "arguments",
        "codedigest",
        "files",
        "units",
        "threads",
        "places",
        "report",
        "expressions",
        "configs",
        "values",
        "kinematics",
    ],
    ["jsonfile"],
    ["workers", "parquetfile", "retrying"],
    ["cutlogic"],
    ["features"],
    ["weaver"],
    ["attach", "cache", "rewriting", "toyjets"],
    ["card", "graph"],
    ["checksums"],
    ["sessions"],
    ["trials"],
    ["probing"],
    ["outputs"],
    ["known"],
    ["formats"],
    ["bundle"],
    ["registry"],
    ["batching"],
    ["network", "flatjets"],
    ["padding"],
    ["heads", "acceleration"],
    ["trialprocess"],
    ["selection", "scores", "memory"],
    ["scorecache"],
    ["tagger", "lazy"],
    ["taggers"],
    ["rntuple", "pages", "basketsums"],
    ["rootfile", "flatfile", "delphesfile"],
    ["jetclass2", "generated"],
    ["writers", "testing", "jobs"],
    ["provenance", "resume", "verification"],
    ["skim", "flatskim", "delphesskim"],
    ["convert", "nanojets"],
    ["jetpictures"],
    ["discriminants"],
    ["histograms"],
    ["bins"],
    ["workspaces"],
    ["templates"],
    ["limits"],
    ["plots"],
    ["processors"],
    ["cli", "__main__"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

HEAVY = ["awkward", "coffea", "onnxruntime", "onnx", "dask", "distributed", "torch", "matplotlib", "pyarrow"]
HEAVY += ["pydantic", "uproot", "rich", "hist", "dask_awkward", "numba"]


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "processors" not in path.relative_to(PACKAGE).parts)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The rooms of the package that a module imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("jettagger.")}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_imports_a_layer_to_its_right(path: Path) -> None:
    here = room(path)
    if here == "__init__" or here not in RANK:
        return  # the front door; rooms of single capabilities are tested below
    for other in imports(path) - {here}:
        if other in RANK:
            assert RANK[other] <= RANK[here], f"{path.relative_to(ROOT)} imports jettagger.{other}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_core_knows_no_single_capability(path: Path) -> None:
    here = room(path)
    if here in RANK and RANK[here] < RANK["processors"]:
        unknown = {name for name in imports(path) if name not in RANK}
        assert not unknown, f"{path.relative_to(ROOT)} imports {unknown}, which is not part of the core"


#: what processors may import besides the top of the package: modules whose names are documented for users
PUBLIC = [
    "arguments",
    "cutlogic",
    "discriminants",
    "errors",
    "expressions",
    "files",
    "generated",
    "heads",
    "histograms",
    "values",
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


def test_only_formats_look_into_layouts_of_events() -> None:
    names = ("PFCands", "FatJetPFCands", "FatJetSVs", "pFCandsIdx", "sVIdx")
    for path in modules():
        if room(path) in ("formats", "testing", "toyjets", "simulation") or room(path) not in RANK:
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


def test_importing_the_package_takes_little_more_than_numpy() -> None:
    def seconds(statement: str) -> float:
        code = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
        run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        return float(run.stdout)

    seconds("import numpy, jettagger")  # compiled files are there now
    pairs = [(seconds("import numpy"), seconds("import jettagger")) for _ in range(5)]
    numpy, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert ours - numpy < 0.1


def test_every_public_name_resolves() -> None:
    for name in jettagger.__all__:
        assert getattr(jettagger, name) is not None
    assert set(jettagger.__all__) <= set(dir(jettagger))
    with pytest.raises(AttributeError, match="no attribute 'load_taggr'"):
        jettagger.load_taggr  # noqa: B018


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
    except ImportError as error:
        pytest.skip(f"{name} needs an extra: {error}")
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"
    for public in getattr(module, "__all__", []):
        item = getattr(module, public)
        if not (inspect.isfunction(item) or inspect.isclass(item)):
            continue
        assert (item.__doc__ or "").strip(), f"{name}.{public} has no docstring"
        if inspect.isclass(item) and item.__module__.startswith("jettagger"):
            for member, function in vars(item).items():
                if not member.startswith("_") and inspect.isfunction(function):
                    assert inspect.getdoc(getattr(item, member)), f"{name}.{public}.{member} has no docstring"
