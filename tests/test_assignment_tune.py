"""Search for options: spaces are parsed, trials depend on the seed alone, nothing of a search is lost."""

from __future__ import annotations

import json
import math
import os
import signal
import string
from pathlib import Path
from typing import Any

import pytest
from assignment_networks import SMALL, TAGGED, tagged
from clusters import local_cluster
from hypothesis import given
from hypothesis import strategies as st

from jettagger.assignment.training_options import AssignmentOptions, OptionsWarning, read_options
from jettagger.cli import main
from jettagger.errors import ConfigError, InputFileError, InvalidValues, MismatchError, UnknownName, WorkerError
from jettagger.provenance import read_provenance
from jettagger.studies.tuning.spaces import (
    CALLS,
    DEFAULT_SPACE,
    OptionRange,
    SearchSpace,
    parse_call,
    read_search_space,
    search_space,
)

# ------------------------------------------------------------------------------------------------------------- spaces


class Drawn:
    """Draws the lowest or the highest number, or the last choice, as optuna would."""

    def __init__(self, high: bool) -> None:
        self.high = high

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return choices[-1]

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        assert not (log and step != 1)
        return high if self.high else low

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float:
        assert not (log and step is not None)
        return high if self.high else low


whole = st.integers(1, 1000)


@st.composite
def calls(draw: Any) -> tuple[str, float, float]:
    """A call with its limits, positional or by name, in all sorts of layouts."""
    name = draw(st.sampled_from([name for name in CALLS if name != "choice"]))
    step = draw(st.integers(1, 20))
    low = step * draw(st.integers(1, 20))
    high = low + step * draw(st.integers(1, 20))
    values = {"lower": low, "upper": high, "q": step, "base": 2}
    names = [key for key in CALLS[name] if key != "base" or draw(st.booleans())]
    positional = draw(st.integers(0, len(names)))
    space = draw(st.sampled_from(["", " ", "\t"]))
    parts = [f"{values[key]}" for key in names[:positional]] + [f"{key}={values[key]}" for key in names[positional:]]
    module = draw(st.sampled_from(["tune", "ray.tune", " tune"]))
    excluded = name in ("randint", "lograndint")
    return f"{module}.{name}({space}{f',{space}'.join(parts)}{space})", low, high - excluded


@given(calls())
def test_calls_of_ray_are_ranges(case: tuple[str, float, float]) -> None:
    text, low, high = case
    found = parse_call("batch_size", text)
    assert (found.value(found.suggested(Drawn(False))), found.value(found.suggested(Drawn(True)))) == (low, high)
    for value in found.examples():
        assert low <= value <= high
        assert isinstance(value, int if found.whole else float)
        if found.step is not None:
            assert math.isclose(value / found.step, round(value / found.step), abs_tol=1e-9)


values = st.none() | st.booleans() | st.integers(-99, 99) | st.floats(-9, 9) | st.text(max_size=5)


@given(st.lists(values | st.lists(values, max_size=2), min_size=1, max_size=5))
def test_choices_are_literals(choices: list[Any]) -> None:
    text = f"tune.choice({choices!r})"
    distinct = all(one not in choices[:place] for place, one in enumerate(choices))
    if not distinct:
        with pytest.raises(ConfigError, match="twice"):
            parse_call("optimizer", text)
        return
    found = parse_call("optimizer", text)
    assert list(found.choices) == choices
    assert [found.value(label) for label in found.labels] == choices
    assert found.value(found.suggested(Drawn(True))) == choices[-1]


@given(st.text(string.printable, max_size=40) | st.text(max_size=20).map(lambda text: f"tune.choice({text})"))
def test_any_text_is_a_call_or_an_error(text: str) -> None:
    try:
        found = parse_call("optimizer", text)
    except ConfigError:
        return
    assert isinstance(found, OptionRange)


REFUSED = {
    "tune.chocie([1, 2])": r"line 2: 'hidden_dim': tune.chocie is not known \(nearest: choice\)",
    "np.choice([1, 2])": r"np.choice is not known \(nearest: choice\)",
    "tune.choice(range(3))": "categories is 'range\\(3\\)', expected a number or a list, written out",
    "tune.choice([__import__('os').system('true')])": "written out",
    "tune.choice([true, false])": "false is False in a call; true is True in a call",
    "tune.choice([])": "expected a list of values",
    "tune.choice(32, 64)": r"too many arguments, expected tune.choice\(categories\)",
    "tune.choice([32, 64": "expected a call such as tune.choice",
    "tune.choice(cats=[32])": r"unknown argument 'cats' \(nearest: categories\)",
    "tune.randint(1)": "the argument upper is missing",
    "tune.randint(1, upper=2, lower=1)": "the argument lower is given twice",
    "tune.randint(1.5, 3)": "lower is 1.5, expected a whole number",
    "tune.randint(8, 8)": "lower is 8 and upper 8: there is no number between them",
    "tune.qrandint(8, 20, 8)": "upper is 20, expected a multiple of q = 8",
    "tune.lograndint(0, 20)": "lower is 0, expected a number above 0 for a logarithm",
    "tune.uniform(8, 64)": "'hidden_dim' must be a whole number",
    "tune.randint(0, 64)": "'hidden_dim' must be a whole number from 1 to 65536, got 0",
    "tune.randn(8, 2)": "tune.randn is not supported: a normal distribution has no limits",
    "tune.sample_from(lambda _: 3)": "tune.sample_from is not supported: it runs code",
    "tune.grid_search([8, 16])": "tune.grid_search is not supported: trials are drawn",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_range_is_refused_with_its_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "space.json"
    path.write_text(json.dumps({"dropout": "tune.uniform(0, 0.4)", "hidden_dim": text}, indent=0).replace("{\n", "{"))
    with pytest.raises(ConfigError, match=REFUSED[text]) as caught:
        read_search_space(path)
    assert str(caught.value).startswith(f"{path} is not a valid search space: line 2: ")


def test_keys_are_those_of_options() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'dropuot' \(nearest: dropout.*unknown key 'jettagger.pairs'"):
        search_space({"dropuot": "tune.uniform(0, 1)", "jettagger": {"pairs": 1}})
    with pytest.raises(ConfigError, match=r"'dropout' must be a number from 0 to 0\.99, got 2\.0"):
        search_space({"dropout": "tune.uniform(0, 2)"})
    with pytest.raises(ConfigError, match="'epochs' must be a whole number"):
        search_space({"dropout": "tune.uniform(0, 0.2)", "epochs": "many"})
    with pytest.raises(ConfigError, match="nothing is searched"):
        search_space({"epochs": 3})
    with pytest.raises(ConfigError, match="'training_file': it decides which events there are"):
        search_space({"training_file": "tune.choice(['a.h5', 'b.h5'])"})
    with pytest.raises(ConfigError, match="'num_gpu': the result of a trial does not depend on it"):
        search_space({"num_gpu": "tune.randint(1, 3)"})
    with pytest.warns(OptionsWarning, match="no use here, not searched: combinatorial_scale"):
        found = search_space({"combinatorial_scale": "tune.uniform(0, 1)", "dropout": "tune.uniform(0, 0.2)"})
    assert [item.key for item in found.ranges] == ["dropout"]


def test_options_of_a_trial_are_those_of_the_file_the_space_and_the_draw() -> None:
    content = {
        "hidden_dim": "tune.choice([6, 8])", "num_attention_heads": 4, "training_file": "/data/tune.d/(1).h5",
        "jettagger": {"pair_features": "tune.choice([[], ['ln_kt']])", "pair_embedding_dim": 16},
    }  # fmt: skip
    space = search_space(content)
    base = AssignmentOptions(hidden_dim=6, num_attention_heads=3, batch_size=7)
    made = space.options(base, {"hidden_dim": 8, "jettagger.pair_features": "['ln_kt']"})
    assert (made.hidden_dim, made.num_attention_heads, made.batch_size) == (8, 4, 7)
    assert (made.jettagger.pair_features, made.jettagger.pair_embedding_dim) == (("ln_kt",), 16)
    assert made.training_file == "/data/tune.d/(1).h5"
    assert space.common(base).training_file == made.training_file
    with pytest.raises(ConfigError, match="hidden_dim is 6, which num_attention_heads = 4 does not divide"):
        space.options(base, {"hidden_dim": 6, "jettagger.pair_features": "[]"})
    assert search_space(DEFAULT_SPACE).epochs(base) == 100
    assert search_space({"epochs": "tune.qrandint(5, 20, 5)"}).epochs(base) == 20


# -------------------------------------------------------------------------------------------------------------- study


def study_of(path: Path, space: SearchSpace, **changes: Any) -> Any:
    pytest.importorskip("optuna")
    from jettagger.studies.tuning.study import open_study

    return open_study(path, space, {"space": space.content()}, **{"seed": 1, "epochs": 4, **changes})


SPACE = search_space(
    {"learning_rate": "tune.loguniform(1e-4, 1)", "dropout": "tune.quniform(0, 0.4, 0.1)",
     "hidden_dim": "tune.choice([8, 16])"}
)  # fmt: skip


def criterion(parameters: dict[str, Any], epoch: int) -> float:
    """Best at a learning rate of 0.01."""
    return epoch / 4 - abs(math.log10(parameters["learning_rate"]) + 2)


def run_to(study: Any, trials: int) -> None:
    for number in study.running():
        finish(study, number)
    while len(study.trials()) < trials:
        finish(study, study.begin())


def finish(study: Any, number: int) -> None:
    for epoch in range(1, 5):
        if not study.report(number, epoch, criterion(study.parameters(number), epoch), 1.0 * epoch):
            return
    study.end(number, "complete")


def test_the_same_seed_gives_the_same_trials_also_after_interruptions(tmp_path: Path) -> None:
    whole_study = study_of(tmp_path / "whole", SPACE)
    run_to(whole_study, 16)
    trials = whole_study.trials()
    other = study_of(tmp_path / "other", SPACE)
    run_to(other, 5)
    number = other.begin()
    other.report(number, 1, criterion(other.parameters(number), 1), 1.0)
    # the process is killed while it writes a line
    with (tmp_path / "other").open("a") as file:
        file.write('{"op_code": 6, "worker')
    (tmp_path / "other.lock").symlink_to(tmp_path / "other")
    again = study_of(tmp_path / "other", SPACE)
    assert again.running() in ([number], [])  # it may have been pruned
    run_to(again, 16)
    assert again.trials() == trials
    assert {trial.state for trial in trials} == {"complete", "pruned"}
    assert abs(math.log10(whole_study.best().parameters["learning_rate"]) + 2) < 0.7
    assert next(iter(whole_study.importances())) == "learning_rate"
    changed = study_of(tmp_path / "changed", SPACE, seed=2)
    run_to(changed, 2)
    assert [one.parameters for one in changed.trials()] != [one.parameters for one in trials[:2]]


def test_studies_of_other_searches_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    run_to(study_of(tmp_path / "study", SPACE), 1)
    other = search_space({"dropout": "tune.uniform(0, 0.1)"})
    with pytest.raises(MismatchError, match="is the study of another search: other space"):
        study_of(tmp_path / "study", other)
    content = (tmp_path / "study").read_bytes()
    (tmp_path / "study").write_bytes(content[:40] + b"\xff\n" + content[40:])
    with pytest.raises(InputFileError, match="is damaged, or not a study"):
        study_of(tmp_path / "study", SPACE)
    with pytest.raises(UnknownName, match="halving"):
        study_of(tmp_path / "new", SPACE, pruner="halfing")


@pytest.mark.parametrize("pruner", ["halving", "median", "none"])
def test_bad_trials_end_early(pruner: str, tmp_path: Path) -> None:
    study = study_of(tmp_path / "study", SPACE, pruner=pruner)
    run_to(study, 12)
    pruned = [trial for trial in study.trials() if trial.state == "pruned"]
    assert bool(pruned) == (pruner != "none")
    assert all(trial.epochs < 4 and "others were better" in trial.problem for trial in pruned)


def test_a_study_keeps_what_failed(tmp_path: Path) -> None:
    study = study_of(tmp_path / "study", SPACE, higher_is_better=False)
    for state in ("failed", "invalid", "diverged"):
        study.end(study.begin(), state, f"it was {state}")
    run_to(study, 4)
    found = study_of(tmp_path / "study", SPACE, higher_is_better=False).trials()
    assert [trial.state for trial in found] == ["failed", "invalid", "diverged", "complete"]
    assert found[0].problem == "it was failed"
    assert study.best().number == 3
    assert study.best().value == min(study.best().values.values())


# ------------------------------------------------------------------------------------------------------------- search


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small data set with options and a space, in the working folder."""
    pytest.importorskip("torch")
    pytest.importorskip("h5py")
    pytest.importorskip("numba")
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    tagged(tmp_path / "tops.h5", 80)
    (tmp_path / "event.yaml").write_text(TAGGED)
    options = {
        **SMALL, "regression_loss_scale": 0.0, "partial_events": True, "train_validation_split": 0.8, "batch_size": 32,
        "epochs": 2, "event_info_file": "event.yaml", "training_file": "tops.h5",
    }  # fmt: skip
    (tmp_path / "options.json").write_text(json.dumps(options))
    space = {"learning_rate": "tune.loguniform(1e-3, 1e-2)", "hidden_dim": "tune.choice([8, 12])", "dropout": 0.1}
    (tmp_path / "space.json").write_text(json.dumps(space))
    return tmp_path


LINE = ["assignment", "tune", "-of", "options.json", "-s", "space.json", "-o", "out"]


def test_a_dry_run_shows_the_space_and_the_first_trial(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*LINE, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "learning_rate  tune.loguniform(1e-3, 1e-2)" in said
    assert "dropout  0.1" in said
    assert "first trial" in said
    assert "10 trials of up to 2 epochs, with 64 events for the training and 16 for the validation" in said
    assert sorted(path.name for path in world.iterdir()) == ["event.yaml", "options.json", "space.json", "tops.h5"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--monitor", "evnt purity"], "nearest: event purity"),
        (["--trials", "0"], "trials: got 0"),
        (["--workers", "0"], "workers: got 0"),
        (["--pruner", "halfing"], "nearest: halving"),
        (["--device", "cuda:77"], "cuda:77"),
        (["--study", "earlier"], "expected the study of an earlier search"),
        (["-s", "absent.json"], "cannot read absent.json"),
        (["-tf", "absent.h5"], "absent.h5"),
        (["-o", "space.json"], "is an input"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_searched_is_said_before(
    arguments: list[str], text: str, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*LINE, *arguments]) == 2
    assert text in capsys.readouterr().err
    assert sorted(path.name for path in world.iterdir()) == ["event.yaml", "options.json", "space.json", "tops.h5"]


def test_the_loss_does_not_compare_options_that_define_it(world: Path) -> None:
    from jettagger.studies.tuning.run import plan_tuning

    space = search_space({"detection_loss_scale": "tune.uniform(0, 1)", "transformer_dim_scale": "tune.uniform(1, 2)"})
    with pytest.raises(ConfigError, match=r"trials that define it differently \(detection_loss_scale\)"):
        plan_tuning("options.json", space, monitor="loss")
    assert plan_tuning("options.json", search_space({"dropout": "tune.uniform(0, 0.1)"}), monitor="loss").first


def test_running_trials_are_shown_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jettagger.cli.assignment_tune import _live
    from jettagger.cli.console import Console
    from jettagger.studies.tuning.study import Trial

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "150")
    with _live(Console(), search_space({"dropout": "tune.uniform(0, 0.2)"}), "event purity") as follow:
        follow(Trial(0, "running", {"dropout": 0.1}))
        follow(Trial(0, "failed", {"dropout": 0.1}, {1: 0.25}, 0.25, 2.0, "expected [a] or [/b]"))
    said = capsys.readouterr()
    assert said.out == ""
    assert "time [s]" in said.err
    assert "expected [a] or [/b]" in said.err


class Stopped(BaseException):
    pass


@pytest.mark.slow
def test_a_search_of_two_trials(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mplhep")
    from jettagger.studies.tuning.run import tune_assignment

    assert main([*LINE, "--trials", "2", "--pruner", "none"]) == 0
    said = capsys.readouterr()
    assert "best: trial" in said.out
    assert "trial 1: complete after 2 epochs, event purity" in said.err
    files = ["options.json", "study.journal", "trials.txt", "tuning.json", "tuning.pdf", "tuning.png"]
    assert sorted(path.name for path in (world / "out").iterdir()) == files
    record = json.loads((world / "out" / "tuning.json").read_text())
    assert read_provenance(world / "out" / "tuning.json")["step"] == "assignment tune"
    assert [trial["state"] for trial in record["trials"]] == ["complete", "complete"]
    made = read_options(world / "out" / "options.json")
    best = record["trials"][record["best"]]
    assert (made.hidden_dim, made.learning_rate) == tuple(
        best["parameters"][key] for key in ("hidden_dim", "learning_rate")
    )
    assert made.dropout == 0.1
    assert not (world / "out.resume").exists()

    # interrupted after the first epoch of the second trial, the same trials come of it
    def stop(trial: Any) -> None:
        if trial.number == 1 and trial.values:
            raise Stopped

    given = {"trials": 2, "pruner": "none", "plots": False}
    with pytest.raises(Stopped):
        tune_assignment("options.json", "space.json", "other", follow=stop, **given)
    assert not (world / "other").exists()
    assert len(list((world / "other.resume").glob("trial_1_*.pt"))) == 1
    result = tune_assignment("options.json", "space.json", "other", **given)
    assert [{key: trial.to_dict()[key] for key in ("parameters", "values", "state")} for trial in result.trials] == [
        {key: trial[key] for key in ("parameters", "values", "state")} for trial in record["trials"]
    ]
    # and a third one after it
    more = tune_assignment("options.json", "space.json", "more", study="out", **{**given, "trials": 3, "workers": 2})
    assert [trial.values for trial in more.trials[:2]] == [trial.values for trial in result.trials]
    assert len(more.trials) == 3


@pytest.mark.slow
def test_trials_that_fail_are_kept_and_named(world: Path) -> None:
    from jettagger.studies.tuning.run import tune_assignment

    # unknown optimisers fail in the trial, heads that do not divide the width before it
    space = search_space({"optimizer": "tune.choice(['AdamX', 'AdamY'])", "num_attention_heads": "tune.choice([2, 3])"})
    with pytest.raises(WorkerError, match=r"the first 3 trials have all failed: trial .*optimizer.*AdamX"):
        tune_assignment("options.json", space, "out", trials=20, seed=1, plots=False)
    study = study_of_run(world / "out.resume", space)
    states = [trial.state for trial in study]
    assert states.count("failed") == 3
    assert set(states) <= {"failed", "invalid"}
    assert any("does not divide" in trial.problem for trial in study if trial.state == "invalid")
    wild = search_space({"learning_rate": "tune.uniform(1e30, 1e31)"})
    with pytest.raises(InvalidValues, match=r"none of 1 trial was complete: trial 0: .*step .*diverged"):
        tune_assignment("options.json", wild, "wild", trials=1, plots=False)


@pytest.mark.slow
def test_a_cluster_gives_the_same_trials(world: Path) -> None:
    from jettagger.studies.tuning.run import tune_assignment

    given = {"trials": 1, "pruner": "none", "plots": False}
    here = tune_assignment("options.json", "space.json", "here", **given)
    with local_cluster(world / "workers", workers=1) as client:
        there = tune_assignment(
            "options.json", "space.json", "there", scheduler=client.scheduler.address, threads=1, **given
        )
    assert [(trial.parameters, trial.values) for trial in there.trials] == [
        (trial.parameters, trial.values) for trial in here.trials
    ]


def test_a_scheduler_that_does_not_answer_is_named(world: Path) -> None:
    distributed = pytest.importorskip("distributed")
    from jettagger.studies.tuning.trials import DaskTrials

    def refuse(*_: object, **__: object) -> None:
        raise OSError("timed out")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "Client", refuse)
        with pytest.raises(ConfigError, match="no dask scheduler answers at tcp://nowhere:1: timed out"):
            DaskTrials("tcp://nowhere:1")


@pytest.mark.slow
def test_a_process_that_dies_is_a_failed_trial() -> None:
    pytest.importorskip("torch")
    from jettagger.runtime.workers import start_process
    from jettagger.studies.tuning.trials import LocalTrials

    runner = LocalTrials()
    for number, end in enumerate((_exit, _kill)):
        runner._running[number] = start_process(end)
    found: list[Any] = []
    while len(found) < 2:
        found += runner.messages(5.0)
    texts = {message.number: message.text for message in found}
    assert {message.kind for message in found} == {"failed"}
    assert texts[0] == "the process of the trial ended with status 3"
    assert texts[1] == "the process of the trial was killed by signal 9, most likely for lack of memory"
    runner.close()


class Given:
    """Trials that tell what is given, while the clock goes on by a second for each question."""

    def __init__(self, told: dict[int, list[Any]]) -> None:
        self.told, self.now = told, 0.0
        self.running: dict[int, list[Any]] = {}
        self.stopped: list[int] = []
        self.answers: list[tuple[int, bool]] = []

    def clock(self) -> float:
        return self.now

    def start(self, number: int, task: Any) -> None:
        Path(task.checkpoint).touch()
        self.running[number] = list(self.told[number])

    def messages(self, seconds: float) -> list[Any]:
        self.now += 1
        return [made for left in self.running.values() if left and (made := left.pop(0)) is not None]

    def answer(self, number: int, goes_on: bool) -> None:
        self.answers.append((number, goes_on))

    def stop(self, number: int) -> None:
        del self.running[number]
        self.stopped.append(number)

    def close(self) -> None:
        pass


def searched(world: Path, told: dict[int, list[Any]], monkeypatch: pytest.MonkeyPatch, **limits: float) -> Any:
    """A search whose trials tell what is given: the trials, and who ran them."""
    from jettagger.studies.tuning import run

    runner = Given(told)
    monkeypatch.setattr(run, "LocalTrials", lambda: runner)
    given: Any = {"trials": len(told), "workers": 2, "pruner": "none", "plots": False, "clock": runner.clock}
    result = run.tune_assignment("options.json", "space.json", "out", **given, **limits)
    return result.trials, runner


def told(number: int, epoch: int) -> Any:
    from jettagger.studies.tuning.trials import Message

    return Message(number, "epoch", {epoch: 0.1 * epoch + 0.01 * number}, float(epoch))


def test_a_trial_without_progress_has_failed_and_the_search_goes_on(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jettagger.studies.tuning.trials import Message

    late = told(0, 2)  # what was under way when it was ended
    trials, runner = searched(
        world,
        {
            0: [told(0, 1)],
            1: [None, None, told(1, 1), None, None, told(1, 2), Message(1, "complete", {})],
            2: [late, told(2, 1), told(2, 2), Message(2, "complete", {})],
            3: [],
        },
        monkeypatch,
        epoch_limit=4.5,
    )  # fmt: skip
    assert [trial.state for trial in trials] == ["failed", "complete", "complete", "failed"]
    assert trials[0].problem == "no epoch for 5 s after epoch 1, the limit is 4.5 s"
    assert trials[0].values == {1: pytest.approx(0.1)}
    assert trials[3].problem == "no epoch for 5 s since its start, the limit is 4.5 s"
    assert runner.stopped == [0, 3]
    record = json.loads((world / "out" / "tuning.json").read_text())
    assert record["trials"][0]["problem"] == trials[0].problem
    assert not (world / "out.resume").exists()


def test_a_trial_that_takes_too_long_has_failed(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jettagger.studies.tuning.trials import Message

    trials, runner = searched(
        world,
        {0: [told(0, epoch) for epoch in range(1, 9)], 1: [told(1, 1), told(1, 2), Message(1, "complete", {})]},
        monkeypatch,
        trial_limit=3.5,
    )
    assert [(trial.state, trial.epochs) for trial in trials] == [("failed", 4), ("complete", 2)]
    assert trials[0].problem == "it has taken 4 s, the limit of a trial is 3.5 s"
    assert trials[0].seconds == 4
    assert runner.stopped == [0]


def test_time_in_which_the_search_was_suspended_does_not_count() -> None:
    from jettagger.studies.tuning.limits import TrialLimits

    now = [0.0]
    limits = TrialLimits(trial=100, epoch=20, clock=lambda: now[0])
    limits.begin(7, seconds=80)
    now[0] = 1000.0
    assert limits.over() == {}
    now[0] += 2
    assert limits.over() == {}
    limits.heard(7, 1)
    for _ in range(3):
        now[0] += 5
        found = limits.over()
    assert found == {7: "it has taken 102 s, the limit of a trial is 100 s"}  # with 80 s of an earlier run
    limits.end(7)
    assert limits.over() == {}
    for limit in (0, -1, math.nan):
        with pytest.raises(ConfigError, match="epoch_limit: got"):
            TrialLimits(epoch=limit)


@pytest.mark.slow
def test_a_process_that_does_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from jettagger.runtime.workers import start_process
    from jettagger.studies.tuning.trials import LocalTrials

    monkeypatch.setenv("JETTAGGER_DEADLINE", "0.5")
    runner = LocalTrials()
    runner._running[3] = start_process(_hang)
    process = runner._running[3][0]
    found: list[Any] = []
    while not found:
        found += runner.messages(0.1)
    assert (found[0].number, found[0].kind) == (3, "failed")
    assert f"the workers {process.pid}" in found[0].text
    assert "have done nothing ($JETTAGGER_DEADLINE=seconds waits longer): the process of the trial was" in found[0].text
    assert process.exitcode == -9
    assert runner.messages(0) == []
    monkeypatch.setenv("JETTAGGER_DEADLINE", "off")
    runner._running[4] = start_process(_hang)
    assert runner.messages(0.1) == []
    runner.stop(4)
    runner.close()


def _hang(pipe: Any) -> None:
    pipe.recv()


def _exit(_: Any) -> None:
    os._exit(3)


def _kill(_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def study_of_run(folder: Path, space: SearchSpace) -> Any:
    """The trials in the journal of an interrupted search."""
    from jettagger.studies.tuning.study import Study, optuna_library

    optuna = optuna_library()
    file = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    storage = optuna.storages.JournalStorage(file)
    study = optuna.load_study(storage=storage, study_name="jettagger")
    return Study(study, storage, space, seed=0, workers=1).trials()
