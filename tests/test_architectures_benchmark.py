"""The study of architectures: rejections against a plain count, verdicts, a run in small that goes on, and its page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the study trains networks with torch")

from benchmarks import architectures as study
from benchmarks import architectures_figures as figures
from benchmarks import architectures_page as page
from benchmarks import architectures_records as records_of
from benchmarks import architectures_statements as said
from benchmarks import rejections as measure
from benchmarks.architectures_names import TITLES
from examples.architectures.inputs import COLUMNS, MOST, PARTICLES, TASKS, VERTICES
from examples.architectures.samples import NUMBERS, SPLITS, VARIANTS, write_sample
from jettagger.training import RaggedRows


def random_jets(number: int, classes: int, seed: int) -> RaggedRows:
    """Jets of which every second is for training; displaced tracks in the last class."""
    random = np.random.default_rng(seed)
    numbers = np.zeros((number, len(NUMBERS)), dtype=np.float32)
    numbers[:, 0] = np.arange(number) % classes
    numbers[:, 1] = np.array([SPLITS["train"], SPLITS["validation"], SPLITS["test"], SPLITS["train"]])[
        np.arange(number) // classes % 4
    ]
    for name in (*COLUMNS, "raw_pt"):
        numbers[:, NUMBERS.index(name)] = random.uniform(0.1, 1.0, number)
    pt = random.uniform(50, 290, number)
    numbers[:, NUMBERS.index("pt")] = numbers[:, NUMBERS.index("raw_pt")] = pt
    counts = {"particles": random.integers(0, 12, number), "vertices": random.integers(0, 3, number)}
    label = np.repeat(numbers[:, 0], counts["particles"])
    lists = {
        name: random.normal(0, 0.2, (counts[name].sum(), len(variables))).astype(np.float32)
        for name, variables in (("particles", PARTICLES), ("vertices", VERTICES))
    }
    for values in lists.values():
        values[:, 0] = 1
    particles = lists["particles"]
    particles[:, PARTICLES.index("pfcand_pt_log_nopuppi")] = random.uniform(0, 3, len(label))
    particles[:, PARTICLES.index("pfcand_charge")] = 1
    particles[:, PARTICLES.index("pfcand_btagSip3dSig")] = random.normal(0, 1, len(label)) + 3 * (label == classes - 1)
    return RaggedRows(numbers, counts, lists)


# ----------------------------------------------------------------------------------------------------------- rejections


def test_rejections_are_those_of_a_count() -> None:
    random = np.random.default_rng(1)
    signal = np.arange(3000) % 3 == 0
    values = np.round(random.normal(0, 1, 3000) + 1.2 * signal, 1)  # many equal values
    weights = random.exponential(size=(3, 3000))
    got = measure.rejections(values, signal, ~signal, weights, (0.3, 0.5))
    for number, mine in enumerate(weights):
        for place, efficiency in enumerate((0.3, 0.5)):
            cut = next(
                cut
                for cut in np.unique(values)[::-1]
                if mine[signal & (values >= cut)].sum() >= efficiency * mine[signal].sum()
            )
            passing = mine[~signal & (values >= cut)].sum()
            assert got[place, number] == pytest.approx(mine[~signal].sum() / passing)


def test_a_background_of_which_nothing_passes_counts_as_half_a_jet() -> None:
    values = np.array([2.0, 2.0, 1.0, 1.0, 1.0, 1.0])
    signal = values > 1.5
    (got,) = measure.rejections(values, signal, ~signal, np.ones((1, 6)), (0.5,))
    assert got[0] == pytest.approx(8)


def test_replicas_of_the_same_jets_are_the_same_and_spread_as_counts_do() -> None:
    rows = random_jets(6000, 3, seed=2)
    random = np.random.default_rng(3)
    scores = random.dirichlet(np.ones(3), 6000)
    one, other = (measure.measured_rejections(scores, rows, TASKS["btag"]) for _ in range(2))
    assert one == other
    assert one["jets"] == {"light": 2000, "charm": 2000, "beauty": 2000}
    assert len(one["values"]) == 2 * 2 * 2
    for key, numbers in one["values"].items():
        assert len(numbers) == 1 + measure.REPLICAS
        efficiency = float(key.rpartition(", ")[2])
        assert numbers[0] == pytest.approx(1 / efficiency, rel=0.1)  # scores without information
        assert np.std(numbers[1:]) < 0.1 * numbers[0]


# ------------------------------------------------------------------------------------------------------------- verdicts


def record(task: str, recipe: str, factor: float, seed: int, **more: Any) -> dict[str, Any]:
    """A training whose rejections are those of others times a factor, with the same replicas."""
    random = np.random.default_rng(5)
    names = {
        "fat": ["Hbb against multijets, 300-500 GeV, 0.5", "top against multijets, 300-500 GeV, 0.5"],
        "btag": ["beauty against light, 30-100 GeV, 0.7", "beauty against charm, 30-100 GeV, 0.7"],
    }[task]
    values = {key: (factor * (1 + 0.001 * seed) * 50 * random.normal(1, 0.2, 51)).clip(1).tolist() for key in names}
    tests = more.pop("tests", {"default": 1.0})
    rejections = {
        test: {
            "values": {key: [shift * one for one in numbers] for key, numbers in values.items()},
            "passing": dict.fromkeys(names, 40.0),
            "jets": {"multijets": 1000},
        }
        for test, shift in tests.items()
    }
    content = {"task": task, "recipe": recipe, "seed": seed, "size": 10_000, "variant": "default", "device": "cpu"}
    content |= {"parameters": 1000, "trees": None, "passes": 3, "batch": 64, "jets": 10_000, "seconds_per_epoch": 1.5}
    return content | {"rejections": rejections} | more


def verdicts(records: list[dict[str, Any]], costs: dict[str, Any] | None = None) -> list[str]:
    return [item["verdict"] for item in said.statements(records_of.Study(records, costs or {}))]


def test_verdicts_follow_from_the_same_replicas() -> None:
    factors = {"transformer": 1.5, "cnn6": 1.2, "cnn1": 1.0, "trees": 0.5}
    records = [record("fat", name, factor, seed) for name, factor in factors.items() for seed in (1, 2)]
    records += [record("btag", name, 1.0, seed) for name in ("dips", "rnnip") for seed in (1, 2)]
    costs = {
        f"btag_{name}_cpu": {"training_us_per_jet": training, "onnx_us_per_jet": onnx}
        for name, training, onnx in (("dips", 1.0, 2.0), ("rnnip", 4.0, 5.0))
    }
    # each rejection is known to 20 % alone, the ratios are known well
    assert verdicts(records, costs)[:7] == ["true", "true", "true", "true", "false", "true", "not measured"]
    worse = [record("fat", name, 1 / factor, seed) for name, factor in factors.items() for seed in (1, 2)]
    assert verdicts(worse)[:2] == ["false", "false"]
    assert verdicts(worse)[5] == "false"
    assert verdicts([record("fat", name, 1.0, 1) for name in factors])[0] == "not decided"
    assert set(verdicts([])) == {"not measured"}


def test_the_comparison_that_decides_is_the_one_most_against_a_statement() -> None:
    numbers = {"noisy": [0.8, 0.3, False], "known": [0.9, 0.03, False], "better": [2.0, 0.1, False]}
    item = {"text": "More.", "verdict": "false", "numbers": numbers, "above": 1.0}
    nothing = {"text": "Less.", "verdict": "not measured", "numbers": {}, "above": 1.0}
    share = {"text": "Share.", "verdict": "false", "numbers": {"share": [1.09, None, False]}, "above": 1 / 3}
    table = page.TABLES["statements"]({"statements": [item, nothing, share]}).splitlines()
    assert table[2:] == [
        "| More. | false | 0.90 ± 0.03 (known; one of 3) |",
        "| Less. | not measured |  |",
        "| Share. | false | 1.09 (share; one of 1) |",
    ]


def asked(records: list[dict[str, Any]]) -> dict[str, tuple[str, list[str]]]:
    """Statement -> verdict and what was compared."""
    found = said.statements(records_of.Study(records, {}))
    return {item["text"]: (item["verdict"], list(item["numbers"])) for item in found}


def test_questions_compare_networks_pixels_orders_and_sizes() -> None:
    factors = {"cnn1-16": 0.5, "cnn1": 1.0, "cnn1-64": 0.9, "gru": 2.0, "trees": 1.5}
    records = [record("fat", name, factor, 1) for name, factor in factors.items()]
    records += [record("fat", name, 2 * factor, 1, size=100_000) for name, factor in factors.items()]
    records += [record("btag", name, factor, 1) for name, factor in (("rnnip", 1.0), ("rnnip-pt", 1.1))]
    found = asked(records)
    verdict, compared = found["H → bb: networks on constituents reject more than boosted trees on substructure."]
    assert verdict == "false"  # images do not
    titles = (TITLES["cnn1"], TITLES["gru"])
    assert compared == [f"{title} over {TITLES['trees']}, 100,000 jets" for title in titles]
    assert (
        found["H → 4q: boosted trees on substructure reject more than networks on constituents."][0] == "not measured"
    )
    assert found["32 x 32 pixels reject more than 16 x 16."][0] == "true"
    assert found["64 x 64 pixels reject more than 32 x 32."][0] == "false"
    orders = "RNNIP rejects more light jets with tracks in order of significance than in other orders."
    assert found[orders] == ("false", [f"{TITLES['rnnip']} over {TITLES['rnnip-pt']}, 10,000 jets"])
    verdict, compared = found["Ten times as many training jets raise the rejection (`fat`)."]
    assert verdict == "true"
    assert sorted(compared) == sorted(f"{TITLES[name]}, 100,000 jets" for name in factors)
    assert found["Ten times as many training jets raise the rejection (`btag`)."][0] == "not measured"


def test_a_statement_takes_the_largest_trainings_that_all_of_its_networks_have() -> None:
    records = [record("fat", name, factor, 1) for name, factor in (("transformer", 2.0), ("cnn6", 1.0))]
    records += [record("fat", "cnn6", 3.0, 1, size=100_000)]
    (first, channels, *_) = said.statements(records_of.Study(records, {}))
    assert list(first["numbers"]) == ["over CNN, 6 channels, 32 x 32, 10,000 jets"]
    assert channels["verdict"] == "not measured"
    records += [record("fat", "cnn1", 1.0, 1)]
    assert list(said.statements(records_of.Study(records, {}))[1]["numbers"]) == ["fat, 32 pixels, 10,000 jets"]


def test_the_best_network_is_compared_with_the_next_on_the_same_jets() -> None:
    factors = {"gru": 2.0, "transformer": 1.5, "cnn6": 1.0, "cnn6-64": 9.0}
    study = records_of.Study(
        [record("fat", name, factor, seed) for name, factor in factors.items() for seed in (1, 2)], {}
    )
    made = said.best(study, "fat", 10_000)
    assert made
    for item in made.values():
        assert (item["recipe"], item["next"]) == ("gru", "transformer"), "not the one with other pixels"
        value, sigma, _ = item["ratio"]
        assert value == pytest.approx(2.0 / 1.5, rel=1e-3)
        assert sigma < 0.2 * value, "the jets are the same"
    assert said.best(records_of.Study([record("fat", "gru", 1.0, 1)], {}), "fat", 10_000) == {}
    table = page.TABLES["best"]({"best": {"fat": {"10000": made}}})
    assert "10,000 jets" in table
    assert f"times {TITLES['transformer']})" in table


def test_one_seed_has_the_spread_of_seeds_of_other_networks() -> None:
    seeds = [record("fat", "gru", factor, 0) for factor in (1.0, 1.2, 1.5)]
    alone = [record("fat", "transformer", 1.3, 0), record("fat", "cnn6", 1.3, 0, size=100_000)]
    study = records_of.Study([*seeds, *alone], {})
    expected = np.std(np.log([1.0, 1.2, 1.5]), ddof=1)
    groups = [study.group("fat", "transformer", 10_000), study.group("fat", "cnn6", 100_000)]
    several = study.group("fat", "gru", 10_000)
    assert several is not None
    for group in groups:
        assert group is not None
        assert group.spread == pytest.approx(expected)
        (key, _) = group.keys
        of_jets = group.array(key)[0, 1:].std()
        value = group.rejection(key)
        assert value.sigma == pytest.approx(np.hypot(of_jets, value.value * expected))
        compared = records_of.ratio(group, several, group.keys)
        # the same replicas: nothing else is left
        assert compared.sigma / compared.value == pytest.approx(np.hypot(expected, expected / np.sqrt(3)))
    smaller = records_of.Study([*seeds, record("fat", "gru", 1.0, 0, size=1_000)], {}).group("fat", "gru", 1_000)
    assert smaller is not None
    assert smaller.spread == 0


@pytest.mark.parametrize(("test_shift", "training_shift", "verdict"), [(0.7, 0.95, "true"), (0.95, 0.7, "false")])
def test_the_larger_of_two_changes_is_told(test_shift: float, training_shift: float, verdict: str) -> None:
    records = []
    for variant, factor in (("default", 1.0), ("alternative", training_shift)):
        tests = {"default": 1.0, "alternative": test_shift}
        records += [record("fat", "gru", factor, seed, variant=variant, tests=tests) for seed in (1, 2, 3)]
    # replicas of different test jets are independent: many test jets
    for content in records:
        for found in content["rejections"].values():
            for key, numbers in found["values"].items():
                found["values"][key] = [numbers[0] * (1 + 0.01 * np.sin(place)) for place in range(51)]
    assert verdicts(records)[6] == verdict
    shifts = said.shifts(records_of.Study(records, {}), "fat", "gru", 10_000, "alternative")
    assert shifts is not None
    assert shifts["test"][0] == pytest.approx(abs(np.log(test_shift)), abs=1e-6)
    assert shifts["training"][0] == pytest.approx(abs(np.log(training_shift)), abs=1e-6)


@pytest.mark.parametrize(
    ("factor", "spread", "verdict"), [(1.0, 0.1, "true"), (0.6, 0.1, "false"), (0.9, 0.5, "not decided")]
)
def test_within_two_standard_deviations_needs_small_ones(factor: float, spread: float, verdict: str) -> None:
    random = np.random.default_rng(8)
    records = [record("btag", name, 1.0, 1) for name in ("dips", "rnnip")]
    for content, scale in zip(records, (factor, 1.0), strict=True):
        values = content["rejections"]["default"]["values"]
        for key in values:
            values[key] = [100 * scale, *(100 * scale * np.exp(random.normal(0, spread / 1.5, 50)))]
    assert verdicts(records)[2] == verdict


def test_a_rejection_with_hardly_any_background_is_a_limit() -> None:
    assert str(records_of.Sigma(120.4, 31.0, limit=True)) == "> 120 ± 31"
    assert str(records_of.Sigma(12.34, 0.51)) == "12.3 ± 0.5"


# ------------------------------------------------------------------------------------------------------------------ run


@pytest.mark.slow
def test_a_study_in_small_goes_on_and_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jets = random_jets(720, 3, seed=4)
    assert jets.counts["particles"].max() < MOST["particles"]
    for variant in ("default", "alternative"):
        write_sample(tmp_path / f"btag_{variant}.npz", "btag", jets)
    words = [str(tmp_path), "--tasks", "btag", "--sizes", "200", "100000", "--epochs", "1", "--seeds", "2"]
    study.main([*words, "--only", "rejections", "orders", "--networks", "dips", "rnnip", "rnnip-pt"])
    said = capsys.readouterr().out
    assert "[1/8] btag_rnnip_200_default_s1: " in said
    assert "left out: btag_rnnip_100000_default_s1: btag: 120 jets of the class 'light', expected 45000" in said
    folder = tmp_path / "networks"
    records = sorted(path.name for path in folder.glob("*.json"))
    assert records == [f"btag_{name}_200_default_s{seed}.json" for name in ("dips", "rnnip") for seed in (1, 2)]
    bundle = folder / "btag_dips_200_default_s1"
    assert {path.name for path in bundle.iterdir()} == {"model.onnx", "bundle.json", "inputs.json"}
    assert not list(folder.glob("*.checkpoint"))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    study.main([*words, "--only", "rejections", "--networks", "dips", "rnnip"])
    assert capsys.readouterr().out.count("is there") == 4
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    study.main([*words, "--only", "costs", "--networks", "dips", "--cost-jets", "40"])
    costs = json.loads((tmp_path / "costs.json").read_text())
    assert costs["btag_dips_cpu"]["onnx_us_per_jet"] > 0
    target, document = tmp_path / "page.md", tmp_path / "measured.json"
    target.write_text("Text.\n<!-- architectures: rejections -->\nold\n<!-- end of architectures -->\nMore text.\n")
    monkeypatch.setattr(page, "PAGE", target)
    monkeypatch.setattr(study, "DOCUMENT", document)
    study.main([*words, "--only", "summary", "--write"])
    text = target.read_text()
    assert text.startswith("Text.\n<!-- architectures: rejections -->\n| btag, 200 jets, efficiency 85% | parameters |")
    assert "|\n\nTest jets of `btag`: 60 light, 60 charm, 60 beauty.\n" in text
    assert text.endswith("\n<!-- end of architectures -->\nMore text.\n")
    found = json.loads(document.read_text())
    assert found["networks"]["btag"]["200"]["dips"]["passes"] == 1
    assert page.pages(found) in capsys.readouterr().out


def test_jobs_of_a_study_are_those_that_were_asked_for() -> None:
    args = study.arguments(["folder", "--sizes", "1000", "10000", "--seeds", "1", "--tasks", "fat"])
    names = [job.name for job in study.jobs_of(args, "rejections")]
    assert len(names) == len(set(names)) == 2 * 8
    images = {job.recipe for job in study.jobs_of(args, "images")}
    assert images == {"cnn1-16", "cnn6-16", "cnn1-64", "cnn6-64"}
    assert {job.size for job in study.jobs_of(args, "images")} == {10_000}
    modelling = list(study.jobs_of(args, "modelling"))
    assert {job.variant for job in modelling} == set(VARIANTS)
    assert {job.tests for job in modelling} == {tuple(VARIANTS)}
    assert study.passes_of(20_000) == study.PASSES[10_000]
    both = study.arguments(["folder", "--tasks", "btag"])
    assert not list(study.jobs_of(both, "modelling"))
    assert {job.recipe for job in study.jobs_of(both, "orders")} == {
        "rnnip-ascending",
        "rnnip-pt",
        "rnnip-distance",
        "rnnip-random",
    }


def test_no_more_jets_are_kept_than_trainings_take() -> None:
    rows = random_jets(2400, 3, seed=6)
    kept = study.capped(rows, TASKS["btag"], 400, 300)
    label, split = (kept.numbers[:, NUMBERS.index(name)].astype(int) for name in ("label", "split"))
    for name, expected in (("train", [180, 40, 180]), ("validation", [8] * 3), ("test", [90] * 3)):
        assert np.bincount(label[split == SPLITS[name]]).tolist() == expected
    assert "train 180 light, 40 charm, 180 beauty" in study.describe(kept, TASKS["btag"])


def test_every_process_and_variant_has_its_own_seed_and_enough_events() -> None:
    args = study.arguments(["folder"])
    events = {process: study.events_of(process, "train", args, "default") for process in study.EVENTS}
    assert events["QCD"] == 72_000
    assert study.events_of("QCD", "test", args, "tune") == study.events_of("QCD", "test", args, "default") / 2


def test_the_page_has_the_stored_numbers() -> None:
    found = page.stored()
    text = page.PAGE.read_text(encoding="utf-8")
    places = {match["name"]: match[0] for match in page.PLACE.finditer(text)}
    blocks = page.blocks(found)
    assert set(places) == set(blocks)
    for name, block in places.items():
        assert blocks[name] in block, name
    for picture in re.findall(r"\]\((architectures_\w+\.png)\)", text):
        assert page.PAGE.with_name(picture).is_file(), picture


def test_what_the_page_says_in_words_is_so() -> None:
    """Its conclusions, against the stored numbers."""
    found = page.stored()
    verdicts_of = {item["text"]: item for item in found["statements"]}
    best = found["best"]["fat"]
    assert {item["recipe"] for item in best["100000"].values()} == {"transformer"}
    for key, item in best["10000"].items():
        simpler = {"Hbb": {"gru", "cnn1d"}, "4q": {"dense", "trees"}}.get(key[: key.index(" ")])
        if simpler and key.endswith("0.5"):
            assert item["recipe"] in simpler
            assert item["ratio"][0] - 2 * item["ratio"][1] < 1.5
    fat = found["rejections"]["fat"]
    for networks in fat.values():
        for key in (key for key in networks["gru"] if key.startswith("Hbb")):
            images = max(networks[name][key][0] for name in ("cnn1", "cnn6"))
            assert images < min(networks[name][key][0] for name in ("gru", "cnn1d", "deepset", "transformer"))
    times = {name: found["costs"][f"fat_{name}_cpu"]["onnx_us_per_jet"] for name in fat["100000"]}
    assert sorted(times, key=times.__getitem__)[-3:] == ["cnn1", "cnn6", "transformer"]
    assert verdicts_of["H → bb: six channels reject more than one."]["verdict"] == "true"
    finer = verdicts_of["64 x 64 pixels reject more than 32 x 32."]["numbers"].values()
    assert all(value - 2 * sigma < 1 for value, sigma, _ in finer)
    btag = found["rejections"]["btag"]["100000"]
    for key in btag["dips"]:
        others = [btag[name][key] for name in btag if name.startswith("rnnip")]
        assert all(abs(value - btag["dips"][key][0]) < 2 * np.hypot(s, btag["dips"][key][1]) for value, s, _ in others)
    dips, rnnip = (found["costs"][f"btag_{name}_cpu"] for name in ("dips", "rnnip"))
    shares = [dips[key] / rnnip[key] for key in ("training_us_per_jet", "onnx_us_per_jet")]
    words = "equal size and at most {} tracks, DIPS takes {:.2f} and {:.2f} of RNNIP's time".format(
        MOST["tracks"], *shares
    )
    assert words in page.PAGE.read_text(encoding="utf-8")
    quark = found["rejections"]["quark"]["10000"]
    lists = ("gru", "cnn1d", "deepset", "transformer")
    for key in (key for key in quark["gru"] if key.endswith("0.5")):
        values = [quark[name][key][0] for name in lists]
        assert max(values) / min(values) < 1.1
        assert min(values) > max(cells[key][0] for name, cells in quark.items() if name not in lists)
    moved = {
        task: [
            abs(np.log(value))
            for networks in found["modelling"][task].values()
            for made in networks.values()
            for value, *_ in made["ratios"].values()
        ]
        for task in ("fat", "quark")
    }
    assert max(moved["fat"]) > 0.2
    assert max(moved["quark"]) < 0.125  # exp(0.125) = 1.13
    trained = {
        (task, variant): {
            name
            for name, made in found["modelling"][task]["10000"].items()
            if any(key.startswith(f"{variant} on ") for key in made["ratios"])
        }
        for task in ("fat", "quark")
        for variant in VARIANTS
    }
    fast = {"gru", "cnn1d", "deepset", "dense", "trees"}
    assert trained["fat", "tune"] == trained["fat", "card"] == fast
    assert trained["fat", "default"] - trained["fat", "alternative"] == {"cnn1"}
    assert not trained["quark", "tune"] | trained["quark", "card"]
    assert trained["quark", "default"] - trained["quark", "alternative"] == {"cnn1", "cnn6", "transformer"}
    samples = "The change of the test sample moves the rejection more than the change of the training sample."
    assert verdicts_of[samples]["verdict"] == "not decided"


# -------------------------------------------------------------------------------------------------------------- figures


def many_records() -> list[dict[str, Any]]:
    """Trainings of two tasks with more jets, more pixels, and other samples."""
    records = []
    fat = ("cnn1", "cnn6", "gru", "cnn1d", "deepset", "transformer", "dense", "trees")
    for seed in (1, 2, 3):
        for place, name in enumerate(fat):
            for power, size in enumerate((1_000, 10_000, 100_000)):
                records.append(record("fat", name, (1 + 0.15 * place) * 2.2**power, seed, size=size))
        for place, (channels, pixels) in enumerate((c, p) for c in (1, 6) for p in (16, 64)):
            records.append(record("fat", f"cnn{channels}-{pixels}", 2 + 0.3 * place, seed))
        for name in ("rnnip", "dips"):
            records += [record("btag", name, factor, seed, size=1_000 * factor) for factor in (1, 10)]
        for place, variant in enumerate(VARIANTS):
            tests = {other: 1 - 0.1 * rank for rank, other in enumerate(VARIANTS)}
            for name in ("gru", "transformer"):
                factor = 3 - 0.1 * place
                records.append(record("fat", name, factor, seed, size=20_000, variant=variant, tests=tests))
    return records


def test_figures_have_the_numbers_of_the_summary() -> None:
    pytest.importorskip("mplhep")
    found = json.loads(json.dumps(page.summary(many_records(), {})))
    panels = figures.curves_of_sizes(found)
    assert list(panels) == [
        "fat: Hbb against multijets, 300-500 GeV, 50%",
        "btag: beauty against light, 30-100 GeV, 70%",
    ]
    axes_of_all = figures.figure_of_sizes(found).axes
    for axes, (title, curves) in zip(axes_of_all, panels.items(), strict=True):
        assert axes.get_title() == title
        lines, names = axes.get_legend_handles_labels()
        assert names == list(curves)
        assert len({(bars[0].get_marker(), bars[0].get_linestyle()) for bars in lines}) == len(names)
        task = title.partition(":")[0]
        for bars, name in zip(lines, names, strict=True):
            recipe = next(recipe for recipe, text in TITLES.items() if text == name)
            cells = [
                networks[recipe][key]
                for networks in found["rejections"][task].values()
                for key in networks.get(recipe, {})
                if title.startswith(f"{task}: {key.rpartition(', ')[0]},")
            ]
            assert bars[0].get_ydata() == pytest.approx([cell[0] for cell in cells])
            (segments,) = bars[2]
            lengths = [segment[1, 1] - segment[0, 1] for segment in segments.get_segments()]
            assert lengths == pytest.approx([2 * cell[1] for cell in cells])
    panels = figures.curves_of_pixels(found)
    assert [title.partition("\n")[2] for title in panels] == ["10,000 training jets"] * 2
    curves = panels["fat: top against multijets, 300-500 GeV, 50%\n10,000 training jets"]
    assert [[pixels for pixels, _ in points] for points in curves.values()] == [[16, 32, 64]] * 2
    networks = found["rejections"]["fat"]["10000"]
    key = "top against multijets, 300-500 GeV, 0.5"
    assert [cell for _, cell in curves["6 channels"]] == [networks[f"cnn6{end}"][key] for end in ("-16", "", "-64")]
    assert len(figures.figure_of_pixels(found).axes) == 2
    (axes,) = figures.figure_of_modelling(found).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["GRU, two streams", "embedded transformer"]
    drawn = {name: bars[0].get_xdata() for bars, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    ratios = found["modelling"]["fat"]["20000"]["gru"]["ratios"]
    assert len(drawn) == 6
    assert drawn["test: other card"][0] == ratios["default on card"][0]
    assert drawn["training: other card"][0] == ratios["card on default"][0]


def test_trainings_with_one_seed_are_named() -> None:
    records = [
        *(record("fat", "gru", 2, seed) for seed in (1, 2)),
        *(record("fat", name, 2, 1) for name in ("cnn1", "transformer")),
        record("btag", "dips", 2, 1),
    ]
    tables = page.blocks(page.summary(records, {}))["sizes"]
    (fat,) = [line for line in tables.splitlines() if line.startswith("- ") and "`fat`" in line]
    assert fat.partition(": ")[2] == "CNN, 1 channel, 32 x 32; embedded transformer"
    assert "`btag`: all networks" in tables
    assert "one seed" not in page.blocks(page.summary(records[:2], {}))["sizes"]


def test_limits_are_marked() -> None:
    pytest.importorskip("mplhep")
    records = [record("btag", "dips", factor, 1, size=1_000 * factor) for factor in (1, 10)]
    for found in records[1]["rejections"].values():
        found["passing"] = dict.fromkeys(found["passing"], 1.0)
    (axes,) = figures.figure_of_sizes(page.summary(records, {})).axes
    (marked,) = [line for line in axes.lines if line.get_fillstyle() == "none"]
    assert len(marked.get_xdata()) == 1


def test_the_page_shows_figures_of_results_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mplhep")
    target = tmp_path / "page.md"
    names = [f"figure_{name}" for name in figures.FIGURES]
    text = "".join(f"<!-- architectures: {name} -->\n\n<!-- end of architectures -->\n" for name in names)
    target.write_text(text)
    monkeypatch.setattr(page, "PAGE", target)
    page.write_page(page.summary(many_records(), {}))
    shown = re.findall(r"!\[.+\]\((\w+\.png)\)", target.read_text())
    assert sorted(shown) == sorted(path.name for path in tmp_path.glob("*.png"))
    assert len(shown) == 3
    few = [item for item in many_records() if item["size"] == 10_000]
    page.write_page(page.summary(few, {}))
    assert "(architectures_pixels.png)" in target.read_text()
    assert [path.name for path in tmp_path.glob("*.png")] == ["architectures_pixels.png"]
    page.write_page(page.summary([], {}))
    assert target.read_text() == text
    assert not list(tmp_path.glob("*.png"))
