"""Extras: each installs what its code imports, and every line that tells users to install something is true."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from itertools import product
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import jettagger.errors
from jettagger.errors import MissingExtra, pip_line, require

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ConfigParser()
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")
ADDRESS = CONFIG["metadata"]["url"]


def requirements(text: str) -> dict[str, Requirement]:
    return {canonicalize_name(one.name): one for one in map(Requirement, text.strip().splitlines())}


CORE = requirements(CONFIG["options"]["install_requires"])
EXTRAS = {name: requirements(text) for name, text in CONFIG["options.extras_require"].items()}
#: for those who change jettagger
FOR_WORK = {"test", "dev", "docs"}

#: module -> what is installed for it, where the names differ
DISTRIBUTIONS = {"yaml": "pyyaml", "sklearn": "scikit-learn", "hep_ml": "hep-ml", "pytorch": "torch"}
#: other packages with the same module
SAME_MODULE = {"xgboost-cpu": "xgboost", "onnxruntime-gpu": "onnxruntime"}
#: imported, and not named in setup.cfg, as a requirement always brings it
BROUGHT = {
    "fsspec": "uproot",
    "llvmlite": "numba",
    "numba": "coffea",
    "pydantic_core": "pydantic",
    "scipy": "coffea",
    "typing_extensions": "pydantic",
}
#: used where it is installed; nothing asks for it
UNASKED = {"tensorboard"}
#: requirements that no module imports
NOT_IMPORTED = {
    ("dask", "dask"): "imported by coffea's DaskExecutor",
    ("batch", "dask"): "imported by dask-jobqueue",
    ("xrootd", "xrootd"): "imported by fsspec-xrootd",
    ("weaver", "weaver-core"): "a command and a loader, run in a process of their own",
    ("test", "pytest-randomly"): "a plugin of pytest",
    ("test", "pytest-xdist"): "a plugin of pytest",
}

#: of the site: the program itself, its theme under another name, what runs the notebooks
NOT_NAMED = {"sphinx", "pydata-sphinx-theme", "ipykernel"}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def constants(node: ast.expr) -> list[str]:
    """The texts that an argument may have."""
    if isinstance(node, ast.IfExp):
        return constants(node.body) + constants(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


@cache
def names_in(path: Path) -> tuple[set[str], set[tuple[str, str]]]:
    """The modules that a file imports, at any place of its code; (module, extra) of what it requires."""
    names: set[str] = set()
    pairs: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
        elif isinstance(node, ast.Call) and node.args:
            function = node.func
            called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if called in ("import_module", "find_spec", "importorskip", "__import__"):
                names.update(constants(node.args[0]))
            elif called == "require" and isinstance(function, ast.Name) and len(node.args) == 3:
                pairs.update(product(constants(node.args[0]), constants(node.args[1])))
    return names | {module for module, _ in pairs}, pairs


def imported(paths: list[Path]) -> set[str]:
    """Modules outside of the standard library and this project."""
    top = {name.partition(".")[0] for path in paths for name in names_in(path)[0]} - set(sys.stdlib_module_names)
    own = {path.stem for path in python_files("tests", "benchmarks", "examples")} | {"jettagger", "benchmarks", "conf"}
    return top - own - {""}


def brings(extra: dict[str, Requirement], module: str) -> bool:
    name = canonicalize_name(DISTRIBUTIONS.get(module, module))
    return name in extra or any(SAME_MODULE.get(other) == name for other in extra)


CODE = python_files("jettagger", "processors")


def test_an_error_names_an_extra_that_brings_the_module() -> None:
    seen = {pair for path in CODE if path != Path(jettagger.errors.__file__) for pair in names_in(path)[1]}
    assert {("torch", "train"), ("pyhf", "stats"), ("xgboost", "train"), ("h5py", "hdf5")} <= seen
    for module, extra in seen:
        assert brings(EXTRAS[extra] if extra else CORE, module.partition(".")[0]), (module, extra)


def test_everything_that_is_imported_is_installed_by_the_package_or_an_extra() -> None:
    users = [CORE, *(extra for name, extra in EXTRAS.items() if name not in FOR_WORK)]
    modules = imported(CODE)
    assert {"torch", "awkward", "yaml"} <= modules
    undeclared = {name for name in modules if not any(brings(extra, name) for extra in users)}
    assert undeclared == {*BROUGHT, *UNASKED}


@pytest.mark.parametrize(("module", "provider"), sorted(BROUGHT.items()))
def test_what_is_not_declared_comes_with_a_requirement(module: str, provider: str) -> None:
    assert provider in CORE or BROUGHT[provider] in CORE
    try:
        needed = [Requirement(text) for text in requires(provider) or []]
    except PackageNotFoundError:
        pytest.skip(f"{provider} is not installed")
    always = {canonicalize_name(one.name) for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})}
    assert canonicalize_name(module) in always


def test_every_requirement_of_users_is_imported() -> None:
    modules = {canonicalize_name(DISTRIBUTIONS.get(name, name)) for name in imported(CODE)}
    unused = set()
    for extra, packages in {"": CORE, **{name: EXTRAS[name] for name in set(EXTRAS) - FOR_WORK}}.items():
        for name in packages:
            if SAME_MODULE.get(name, name) not in modules:
                unused.add((extra, name))
    # boost-histogram is hist's; its lowest version is ours
    assert unused - {("", "boost-histogram")} == {pair for pair in NOT_IMPORTED if pair[0] not in FOR_WORK}


def test_every_requirement_of_the_tests_is_imported_there() -> None:
    modules = {canonicalize_name(DISTRIBUTIONS.get(name, name)) for name in imported(CODE + python_files("tests"))}
    unused = {("test", name) for name in EXTRAS["test"] if name not in modules}
    assert unused == {pair for pair in NOT_IMPORTED if pair[0] == "test"}


def test_every_requirement_of_the_site_is_used_by_it() -> None:
    pages = python_files("docs")
    used = "".join(path.read_text(encoding="utf-8") for path in pages).replace("_", "-")
    for name in set(EXTRAS["docs"]) - NOT_NAMED:
        assert name in used, f"the site does not use {name}"


def test_every_tool_is_run_somewhere() -> None:
    places = ("Makefile", ".ci/run", ".ci/wheels", "CONTRIBUTING.md")
    used = "".join((ROOT / name).read_text(encoding="utf-8") for name in places)
    used += " types-pyyaml"  # for mypy
    for name in EXTRAS["dev"]:
        assert re.search(rf"\b{name}\b", used), f"nothing runs {name}"


def test_a_package_has_one_lowest_version() -> None:
    bounds: dict[str, set[str]] = {}
    for packages in (CORE, *EXTRAS.values()):
        for name, one in packages.items():
            bounds.setdefault(name, set()).add(str(one.specifier))
            assert one.specifier, f"{name} has no lowest version"
    assert {name: versions for name, versions in bounds.items() if len(versions) > 1} == {}


def test_the_table_of_the_readme_names_what_an_extra_installs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", readme[readme.index("| extra |") :], flags=re.MULTILINE))
    called = {"pythia8mc": "pythia", "fsspec-xrootd": "xrootd", "hep-ml": "hep_ml"}
    called |= dict.fromkeys(["onnxruntime", "onnxruntime-gpu"], "onnx runtime") | {"xgboost-cpu": "xgboost"}
    for extra in set(EXTRAS) - FOR_WORK:
        for name in EXTRAS[extra]:
            assert called.get(name, name) in rows[extra].lower(), f"the row of {extra} does not name {name}"


# ---------------------------------------------------------------------------------------- lines that install

#: on an index under their own names, for what no extra brings
OTHERS = {"rucio-clients", "onnxruntime-gpu[cuda,cudnn]", "torch", "scikit-learn"}
PINNED = {"torch", "captum", "rabbit-fit", "wums"}


def lines() -> Iterator[tuple[str, str]]:
    """(file, arguments) of each `pip install` for users and contributors; tests have those that errors say."""
    suffixes = (".md", ".py", ".yaml", ".toml", ".cfg", ".ipynb")
    paths = [path for path in ROOT.glob("*") if path.suffix in suffixes or path.name == "Makefile"]
    paths += [path for path in (ROOT / ".ci").glob("*") if path.is_file()]
    for folder in ("docs", "examples", "jettagger", "processors", "benchmarks", "conda"):
        paths += [path for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    for path in sorted(paths):
        # what is built from the pages is no page
        if path.name != "CHANGELOG.md" and not path.is_relative_to(ROOT / "docs" / "gallery"):
            text = path.read_text(encoding="utf-8")
            for arguments in re.findall(r"pip[\"'\]]? install[ \n]((?:[^\n`#;()\\]|\\\n)*)", text):
                yield path.relative_to(ROOT).as_posix(), arguments


def unknown_words(arguments: str) -> list[str]:
    """What of a command is neither this project, with extras that it has, nor another package that an index has."""
    wrong = []
    for word in re.findall(r"'[^']*'|\"[^\"]*\"|\S+", arguments):
        text = word.strip("'\".,;:")
        quoted = word[0] in "'\""
        if match := re.fullmatch(r"(|jettagger)(?:\[([\w,-]+)\])?( @ git\+(\S+))?", text.removeprefix(".")):
            project, extras, _, address = match.groups()
            named = set(extras.split(",")) if extras else set()
            if not named <= set(EXTRAS) or (named and not quoted) or address not in (None, ADDRESS):
                wrong.append(word)
            elif project and not extras:
                wrong.append(word)  # no index has it
        elif not re.fullmatch(r"-[-\w]+|\$.*|.*\.(whl|txt)|\$?\(?.*\bPIP_FLAGS\)?", text) and not (
            text in OTHERS or text.partition("==")[0] in PINNED
        ):
            wrong.append(word)
    return wrong


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ("'.[dask,plot]'", []),
        ("-e '.[test,dev]'", []),
        (f"'jettagger[plot] @ git+{ADDRESS}'", []),
        ("'jettagger[plot]'", []),
        (".", []),
        ("jettagger", ["jettagger"]),
        ("jettagger[plot]", ["jettagger[plot]"]),
        ("'jettagger[plots]'", ["'jettagger[plots]'"]),
        (
            "'jettagger @ git+https://example.org/jettagger'",
            ["'jettagger @ git+https://example.org/jettagger'"],
        ),
        ("rucio-clients mplhep", ["mplhep"]),
    ],
)
def test_words_that_would_not_be_found(arguments: str, wrong: list[str]) -> None:
    assert unknown_words(arguments) == wrong


def test_every_line_that_installs_something_is_true_before_the_first_release() -> None:
    found = list(lines())
    assert {"README.md", "docs/remote.md", "jettagger/cli/fit.py", "Makefile", ".ci/run"} <= {name for name, _ in found}
    in_code = {"jettagger/errors.py", "jettagger/search/datasets.py", "jettagger/sessions/providers.py"}
    wrong = {(name, *unknown_words(text)) for name, text in found if name not in in_code and unknown_words(text)}
    assert wrong == set()


def test_a_checkout_on_the_path_is_named_by_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    def absent(name: str) -> metadata.Distribution:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    assert pip_line("plot") == f"pip install '{ROOT}[plot]'"
    assert pip_line() == f"pip install '{ROOT}'"
    with pytest.raises(MissingExtra, match=re.escape(f"pip install '{ROOT}[plot]'")):
        require("no_such_package", "plot", "drawing")


def test_an_installed_jettagger_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    monkeypatch.setattr(metadata, "distribution", lambda name: name)
    assert pip_line("plot") == "pip install 'jettagger[plot]'"
    assert pip_line() == "pip install 'jettagger'"
