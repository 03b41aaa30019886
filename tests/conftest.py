"""What all tests share: real data where it is there, a tiny model, a user's folder of their own."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from agreement import Agreement, RecordAgreement
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from jettagger.bundles.bundle import Bundle

#: one for all tests of a run, as rewriting a large graph takes seconds
CACHES = Path(tempfile.mkdtemp(prefix="jettagger-tests-"))
atexit.register(shutil.rmtree, CACHES, ignore_errors=True)

#: numbers of the folders of users
USERS = itertools.count()

# How long an example, or to draw one, takes depends on the machine. The same ones are drawn each time, so that a change
# fails or passes for what it is; --hypothesis-profile=explore draws others.
EXPLORE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", EXPLORE)
settings.register_profile("jettagger", EXPLORE, derandomize=True)
settings.load_profile("jettagger")

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow, too")
    parser.addoption("--run-long", action="store_true", help="run the tests marked long: minutes each, on request")
    parser.addoption("--record-passed", type=Path, metavar="FILE", help="write the tests that passed into a file")
    parser.addoption(
        "--record-agreement", type=Path, metavar="FILE", help="write the differences from numbers of others into a file"
    )
    parser.addoption("--not-in", type=Path, metavar="FILE", help="leave out the tests of a file of --record-passed")
    parser.addoption(
        "--may-lack", metavar="MODULES", help="fail where a test would skip for lack of any module but these (a,b,...)"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than cores, as many tests wait for processes of their own; four at most, for their memory."""
    from jettagger.sessions.threads import usable_cores

    return min(usable_cores() + 1, 4)


def pytest_configure(config: pytest.Config) -> None:
    caches = pytest.MonkeyPatch()  # of what modules of tests compute where they are imported
    caches.setenv("JETTAGGER_CACHE", str(CACHES))
    config.add_cleanup(caches.undo)
    if (names := config.getoption("--may-lack")) is not None:
        patch = pytest.MonkeyPatch()
        patch.setattr(pytest, "importorskip", import_or_fail({name.strip() for name in names.split(",")}))
        config.add_cleanup(patch.undo)
    path = config.getoption("--record-passed")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(RecordPassed(path))
    if path := config.getoption("--record-agreement"):
        config.pluginmanager.register(RecordAgreement(path), "agreement")


def import_or_fail(may_lack: AbstractSet[str]) -> Callable[..., Any]:
    """`pytest.importorskip` for an environment that has all but some modules: a test that lacks another one fails."""
    import_or_skip = pytest.importorskip

    def importorskip(modname: str, *args: Any, **options: Any) -> Any:
        try:
            return import_or_skip(modname, *args, **options)
        except pytest.skip.Exception as error:
            if modname.split(".")[0] in may_lack:
                raise
            reason = f"{modname!r} cannot be imported, and --may-lack does not name it: {error}"
        return pytest.fail(reason, pytrace=False)

    return importorskip


class RecordPassed:
    """Writes which tests passed, so that a run with more extras can take the others alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.passed: set[str] = set()
        self.others: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self.others.add(report.nodeid)
        elif report.when == "call":
            self.passed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self.path.write_text("".join(f"{name}\n" for name in sorted(self.passed - self.others)), encoding="utf-8")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if path := config.getoption("--not-in"):
        passed = set(path.read_text(encoding="utf-8").splitlines())
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
        items[:] = [item for item in items if item.nodeid not in passed]
    for kind in ("slow", "long"):
        if not config.getoption(f"--run-{kind}"):
            skip = pytest.mark.skip(reason=f"{kind}: runs with --run-{kind}")
            for item in items:
                if kind in item.keywords:
                    item.add_marker(skip)


def shared_folder() -> Path:
    """Where real files lie: ``$JETTAGGER_SHARED``, or ``shared/data`` beside the repository."""
    return Path(os.environ.get("JETTAGGER_SHARED") or REPOSITORY.parent / "shared" / "data")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real files; skips the test where it is absent. Use with the marker ``data``."""
    folder = shared_folder()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (JETTAGGER_SHARED names another folder)")
    return folder


@pytest.fixture(scope="module")
def one_mass() -> Iterator[None]:
    """Blocks of simulated events with one mass in place of four: each needs a Pythia, which starts for a second."""
    from jettagger.simulation import run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "FEWEST_POINTS", 1)
        yield


def become_user(patch: pytest.MonkeyPatch, base: Path, name: str) -> None:
    """Somebody without models and settings, whose caches and temporary files are of this run."""
    patch.setenv("XDG_DATA_HOME", str(base / "user-data" / name))
    # what a killed process leaves there, the next training of any test would find, and warn of
    temporary = CACHES / "tmp" / name
    temporary.mkdir(parents=True)
    patch.setenv("TMPDIR", str(temporary))
    patch.setattr(tempfile, "tempdir", str(temporary))
    for setting in ("DEADLINE", "MODELS", "REMOTE", "SHIPPED", "THREADS", "TRACEBACK"):
        patch.delenv(f"JETTAGGER_{setting}", raising=False)
    patch.setenv("JETTAGGER_CACHE", str(CACHES))
    # hundreds of small networks are made and trusted; what does not trust them has tests of its own
    patch.setenv("JETTAGGER_TRIALS", "off")
    # and many are written anew in their place, which tests/test_checksums.py does where it is remembered
    patch.setattr("jettagger.bundles.checksums.cache_folder", lambda: None)


@pytest.fixture(scope="session", autouse=True)
def _folders_of_fixtures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither do fixtures of modules see, or change, what the user who runs the tests has."""
    base = tmp_path_factory.getbasetemp()  # asked for before temporary files have another place
    with pytest.MonkeyPatch.context() as patch:
        become_user(patch, base, "fixtures")
        yield


@pytest.fixture(autouse=True)
def _own_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, _folders_of_fixtures: None
) -> None:
    """No test sees, or changes, the models and settings of the user who runs it."""
    # a number, as pytest would look for the next free name among those of thousands of tests
    become_user(monkeypatch, tmp_path_factory.getbasetemp(), str(next(USERS)))


@pytest.fixture(autouse=True)
def _own_random_numbers() -> None:
    """What a test draws from torch without a seed is the same each time: a new process begins with a random one."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _own_backend_of_pyhf() -> Iterator[None]:
    """No test leaves its backend or optimizer of pyhf to another one, as ``pyhf cls`` and cabinetry do."""
    yield
    if (pyhf := sys.modules.get("pyhf")) is not None:
        pyhf.set_backend(*pyhf.get_backend(default=True))


@pytest.fixture
def agrees(request: pytest.FixtureRequest) -> Agreement:
    """Compares with numbers of others, for docs/validation.md: `agreement.Agreement`."""
    recorder = request.config.pluginmanager.get_plugin("agreement")
    test = f"tests/{request.path.name}::{request.function.__name__}"
    return Agreement(test, recorder.found if isinstance(recorder, RecordAgreement) else None)


@pytest.fixture(scope="session")
def tiny() -> Bundle:
    """The bundle of the packaged network ``tinyParT``."""
    from jettagger.bundles.bundle import Bundle
    from jettagger.bundles.places import PACKAGE

    return Bundle.from_folder(PACKAGE / "models" / "tinyParT")
