"""Standard output holds results alone; warnings and progress go to standard error, line by line without a terminal."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest
from calibrations import CONFIG as CALIBRATION
from calibrations import probes
from searches import CONFIG as SEARCH
from searches import PLAIN, make_world
from test_decorrelate import write_jets, write_study
from toyskims import CONFIG, write_toy

from jettagger.bundles.places import PACKAGE
from jettagger.cli import COMMANDS, console, main
from jettagger.config.yamlfile import yaml_text
from jettagger.decorrelation import fit_linear
from jettagger.files.delphes import DelphesFile
from jettagger.histograms import save
from jettagger.testing import write_pfnano

TINY = PACKAGE / "models" / "tinyParT"
Said = tuple[str, str]


def needs(*modules: str) -> None:
    for module in modules:
        pytest.importorskip(module, reason=f"{module} is not installed")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    capsys.readouterr()
    assert main(list(arguments)) == 0
    said = capsys.readouterr()
    assert "jettagger: warning" not in said.out
    assert "\r" not in said.out + said.err, "no bar without a terminal"
    return said.out, said.err


def tag(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    path = write_pfnano(folder / "nano.root", 20, seed=1)
    arguments = ["tag", str(path), str(folder / "absent.root"), "-m", "tinyParT", "--memory", "300KB", "--skip-broken"]
    return run(capsys, *arguments, "-o", str(folder / "s.parquet")), "fat jets", "tagging: 20 of 20 events (100 %)"


def explain(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    path = write_pfnano(folder / "nano.root", 14, seed=3)
    arguments = ["explain", str(path), "-m", "tinyParT", "-d", "mass", "--method", "permutation", "-n", "8"]
    cuts = ["--signal", "pt > 300", "--background", "pt <= 300", "--no-plots", "--threads", "1"]
    said = run(capsys, *arguments, *cuts, "-o", str(folder / "out"))
    return said, "decrease of ln(rejection)", "explaining: 8 of 8 jets"


def convert(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    import jettagger.skims.convert

    class Small:
        def __init__(self, path: str) -> None:
            self.n_events = 7

        def __enter__(self) -> Small:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def work(*_: object, progress: Callable[[int], None], **__: object) -> jettagger.skims.convert.Converted:
        print("a library talks")  # noqa: T201
        progress(7)
        return jettagger.skims.convert.Converted(folder / "o.root", 7, 3, 0, 0, 0, 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jettagger.files.delphes.DelphesFile", Small)
        patch.setattr("jettagger.skims.convert.convert_delphes", work)
        said = run(capsys, "convert", "delphes", "x.root", "-o", str(folder / "o.root"))
    assert "a library talks" in said[1]
    assert DelphesFile is not Small
    return said, "dangling references", "converting: 7 of 7 events"


def search(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    path = make_world(folder)
    (folder / "tt2.root").write_text("broken")
    text = SEARCH.replace("fail: [tagged]}", "fail: []}\n  none: {kind: validation, pass: [never]}")
    path.write_text(text.replace("  near: ", '  never: "mjj < 0"\n  near: ').partition("templates:")[0])
    out = str(folder / "out")
    said = run(capsys, "search", str(path), "-o", out, "--no-plots", "--skip-broken")
    assert "jettagger: warning: region 'none' selects no event" in said[1]
    assert f"jettagger: warning: missing: {folder / 'tt2.root'}" in said[1]
    return said, "fat jets", "searching: 65 of 65 events (100 %)"


def search_merge(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    path = make_world(folder, config=PLAIN)
    (folder / "tt2.root").write_text("broken")
    run(capsys, "search", str(path), "-o", str(folder / "part"), "--skip-broken", "--part", "1/1")
    said = run(capsys, "search", "merge", str(folder / "part"), "-o", str(folder / "out"), "--no-plots")
    assert f"jettagger: warning: missing: {folder / 'tt2.root'}" in said[1]
    return said, "fat jets", "adding: 65 of 65 events (100 %)"


def datasets(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    path, broken = write_pfnano(folder / "nano.root", 20, seed=1), folder / "broken.root"
    broken.write_text("broken")
    said = run(capsys, "datasets", f"tt={path}", f"tt={broken}", "--skip-broken", "-o", str(folder / "sets.json"))
    assert f"jettagger: warning: left out: {broken}" in said[1]
    return said, "sum of weights (Runs)", "counting: 2 of 2 files (100 %)"


def fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    needs("pyhf")
    path = make_world(folder)
    out = str(folder / "out")
    main(["search", str(path), "-o", out, "--no-plots"])
    return run(capsys, "fit", out, "--toys", "0", "--no-plots"), "strength", "parameters and toys (4 %)"


def finetune(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    needs("torch")
    write_toy(folder / "toy.parquet", 1200, digest=False)
    path = folder / "toy.yaml"
    path.write_text(CONFIG.format(name="Toy").replace("epochs: 8", "epochs: 3"))
    said = run(capsys, "finetune", str(path), "-o", str(folder / "Toy"), "--no-plots")
    assert "does not say which model made its columns" in said[1]
    assert ("reading: 1200 of 1200 events" in said[1]) == (console.INTERVAL == 0)
    return said, "loss on jets that it has not seen", "network  epoch  training    validation"


def limit(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    needs("pyhf")
    path = make_world(folder)
    main(["search", str(path), "-o", str(folder / "out"), "--no-plots"])
    return run(capsys, "limit", str(folder / "out"), "--no-plot"), "expected [fb]", "limits: 1 of 1 signals"


def simulate(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    needs("pythia8mc", "fastjet")
    arguments = ["simulate", "--process", "Hbb", "--events", "2", "--pileup", "0"]
    return run(capsys, *arguments, "-o", str(folder / "h.root")), "jet type", "simulating Hbb: 2 of 2 events"


def show(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    needs("mplhep")
    path = write_pfnano(folder / "nano.root", 3, seed=1)
    return run(capsys, "show", "jet", str(path), "-o", str(folder / "j.png")), "wrote ", ""


def show_image(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    needs("mplhep")
    path = write_pfnano(folder / "nano.root", 3, seed=1)
    said = run(capsys, "show", "image", str(path), "-o", str(folder / "i.png"))
    return said, "pt in the images", "reading nano: 3 of 3 events"


def models(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    out, err = run(capsys, "models", "show", "tinyParT", "--json")
    assert json.loads(out)["result"]["name"] == "tinyParT"
    assert err == ""
    shutil.copytree(TINY, folder / "mine")
    (out, err), more = run(capsys, "models", "check", "tinyParT", "--json"), run(capsys, "models", "list")
    assert json.loads(out)["result"]["passed"]
    return (out + more[0], err + more[1]), "inclParTMDV1", ""


def discriminants(_: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    return run(capsys, "discriminants", "list"), "HbbvsQCD", ""


def schema(_: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    return run(capsys, "schema", "search"), '"luminosity"', ""


def completion(_: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    return run(capsys, "completion", "bash"), "complete -F _jettagger jettagger", ""


def provenance(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    path = folder / "s.parquet"
    main(["tag", str(write_pfnano(folder / "nano.root", 5, seed=1)), "-m", "tinyParT", "-o", str(path)])
    out, err = run(capsys, "provenance", str(path))
    assert json.loads(out)["model"] == "tinyParT"
    return (out, err), '"digest"', ""


def decorrelate(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    for name, jets in (("qcd", 1500), ("hbb", 500)):
        write_jets(folder / f"{name}.parquet", jets, signal=name == "hbb")
    config = write_study(folder, maps={"line": {"method": "linear"}}, background_efficiencies=[0.1])
    return run(capsys, "decorrelate", str(config), "-o", str(folder / "out"), "--no-plots"), "| line |", "reading: "


def decorrelate_apply(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    skim = write_toy(folder / "toy.parquet", 300)
    made = fit_linear("probHbb", pyarrow.parquet.read_table(skim), name="ddt")
    made.save(folder / "map.json")
    arguments = ["decorrelate", "apply", str(folder / "map.json"), str(skim), "-o", str(folder / "out.parquet")]
    return run(capsys, *arguments), "without a score", "applying: 300 of 300 events"


def calibrate(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    pytest.importorskip("pyhf", reason="fits need the extra stats")
    save({"probe": probes()}, folder / "probes.json.gz")
    config = {**CALIBRATION, "working_points": {"tight": 0.9}, "bins": {"pt": [300, 800]}}
    (folder / "calibration.yaml").write_text(yaml_text(config))
    arguments = ["calibrate", str(folder / "calibration.yaml"), "-o", str(folder / "out"), "--no-plots"]
    return run(capsys, *arguments), "goodness of fit", "fitting: "


def jec(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    return run(capsys, "jec", "--help"), "Jet energy calibration", ""


def assignment(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Said, str, str]:
    return run(capsys, "assignment", "--help"), "Assign the objects of events", ""


VERBS = {
    function.__name__.replace("_", " "): function
    for function in (
        *(
            simulate,
            models,
            tag,
            convert,
            show,
            show_image,
            explain,
            discriminants,
            search,
            search_merge,
            finetune,
            datasets,
            fit,
            limit,
            schema,
            completion,
            provenance,
        ),
        *(decorrelate, decorrelate_apply, calibrate, jec, assignment),
    )
}


#: verbs that take seconds; that short work is silent is seen with the others
LONG = ("search", "search merge", "fit", "limit", "finetune", "simulate")


def test_every_verb_is_in_these_tests() -> None:
    assert set(VERBS) == set(COMMANDS)


@pytest.mark.parametrize(
    ("verb", "interval"),
    [
        pytest.param(
            verb,
            interval,
            id=f"{verb}-{name}",
            marks=[pytest.mark.slow] if verb in ("fit", "limit") or (rare and verb in LONG) else [],
        )
        for verb in COMMANDS
        for name, interval, rare in (("always", 0.0, False), ("rarely", 3600.0, True))
    ],
)
def test_streams(
    verb: str, interval: float, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "INTERVAL", interval)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*selects no event.*|.*share.*")
        (out, err), result, progress = VERBS[verb](tmp_path, capsys)
    assert result in out
    assert progress not in out or not progress
    if progress and interval == 0:
        assert progress in err
    if interval and verb != "finetune":  # the first losses are always shown
        assert not re.search(r"\d of \d", err), "short work is silent"


def test_warnings_of_the_code_are_lines_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warned(*_: object) -> int:
        warnings.warn("the network runs as it is", RuntimeWarning)
        return 0

    monkeypatch.setattr("jettagger.cli.discriminants.run", warned)
    before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        before = warnings.showwarning
        assert main(["discriminants", "list"]) == 0
        assert warnings.showwarning is before
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "jettagger: warning: the network runs as it is\n")


@pytest.mark.slow
def test_processes_report_their_chunks(tmp_path: Path) -> None:
    """In a shell, with a pool of processes, both streams in files."""
    path = make_world(tmp_path, config=PLAIN)
    code = "from jettagger.cli import console, main; console.INTERVAL = 0; import sys; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "search", str(path), "-o", str(tmp_path / "out"), "--no-plots"]
    command += ["--executor", "futures", "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "searching: 73 of 73 events (100 %)" in done.stderr
    assert "\r" not in done.stdout + done.stderr
    assert done.stdout.startswith("events at 10 /fb\n")


def test_a_bar_on_a_terminal_leaves_standard_output_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with console.Console().progress_bar("tagging", 10, "events") as advance:
        print("a library talks")  # noqa: T201
        advance(10)
    said = capsys.readouterr()
    assert said.out == ""
    assert "a library talks" in said.err
