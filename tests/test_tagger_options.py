"""The options of a tagger: one value, the same at every front door."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import pickle
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import awkward as ak
import pytest
from heads import make_head
from jettagger.processors import (
    Attribution,
    FinetuneInputsProcessor,
    ResonanceSearchProcessor,
    ScaleFactorProcessor,
    TaggingProcessor,
)
from jettagger.processors.search import Region, Sample
from weavers import weaver_bundle

import jettagger as jt
from jettagger import TaggerOptions, processors
from jettagger.cli import main
from jettagger.cli.tagger import options_of
from jettagger.errors import ConfigError, InputFileError, JettaggerError, MismatchError, UnknownName, WrongType
from jettagger.files.cache import DiskCache
from jettagger.histograms import AxisSpec, HistSpec
from jettagger.inference.acceleration import BACKENDS
from jettagger.inference.precision import PRECISIONS
from jettagger.search import read_config
from jettagger.skims import skim
from jettagger.studies import read_calibration
from jettagger.tagging.keys import TaggerKeys
from jettagger.tagging.options import OptionKeywords
from jettagger.testing import make_events, write_pfnano

FIELDS = [item.name for item in fields(TaggerOptions)]

#: a value of each option that is not the default, and how the command line says it
VALUES: dict[str, tuple[Any, list[str]]] = {
    "threads": (3, ["--threads", "3"]),
    "provider": ("CPUExecutionProvider", ["--provider", "CPUExecutionProvider"]),
    "backend": ("onnxruntime", ["--backend", "onnxruntime"]),
    "precision": ("float16", ["--precision", "float16"]),
    "remote": ("grpc://gpu7:8001/net", ["--remote", "grpc://gpu7:8001/net"]),
    "cache": ("{folder}/scores", ["--cache-folder", "{folder}/scores"]),
    "heads": (["{folder}/Toy"], ["--head", "{folder}/Toy"]),
    "jets": ("FatJetAK15", ["--jets", "FatJetAK15"]),
    "outside": ("skip", ["--outside", "skip"]),
    "min_pt_share": (0.5, ["--min-pt-share", "0.5"]),
    "names": ({"PFCands": "Cands", "FatJetSVs.sVIdx": None}, ["--name", "PFCands=Cands"]),
    "format": ("pfnano-106x", ["--format", "pfnano-106x"]),
    "batch_size": (7, ["--batch-size", "7"]),
    "block_bytes": (1_500_000, ["--block-bytes", "1.5MB"]),
}
VALUES["names"][1].extend(["--name", "FatJetSVs.sVIdx="])


def histogram(tagger: jt.Tagger) -> HistSpec:
    """One that uses a score."""
    expression = f"jet1.{tagger.bundle.prefix}_{tagger.bundle.outputs[0].name}"
    return HistSpec("score", [AxisSpec("score", bins=(2, 0, 1), expression=expression)])


def from_search_file(model: str, option: str, value: Any, folder: Path) -> jt.Tagger:
    expression = histogram(jt.load_tagger(model)).axes[0].expression
    text = {
        "version": 1,
        "luminosity": 1,
        "tagger": {"model": model, option: value},
        "samples": {"a": {"files": "a.root", "cross_section": 1}},
        "regions": {"all": {"kind": "inclusive"}},
        "histograms": {"score": {"bins": [2, 0, 1], "expression": expression}},
    }
    tagger = read_config(json.dumps(text), "search.yaml", folder).make_processor().tagger
    assert tagger is not None
    return tagger


def from_search_processor(model: str, options: TaggerOptions) -> jt.Tagger:
    spec = histogram(jt.load_tagger(model))
    made = ResonanceSearchProcessor({"a": Sample(1)}, {"all": Region()}, [spec], model=model, options=options).tagger
    assert made is not None
    return made


def from_calibration_file(model: str, option: str, value: Any, folder: Path) -> jt.Tagger:
    text = {
        "version": 1,
        "name": "mine",
        "discriminant": f"1 * {jt.load_tagger(model).bundle.outputs[0].name}",
        "working_points": {"tight": 0.5},
        "variable": "msoftdrop",
        "bins": {"pt": [300, 500]},
        "categories": {"signal": {}},
        "events": {
            "luminosity": 1,
            "tagger": {"model": model, option: value},
            "samples": {"a": {"files": "a.root", "cross_section": 1}, "b": {"files": "b.root", "data": True}},
            "variable": {"bins": [2, 0, 200]},
            "btag": "btag > 0.5",
        },
    }
    (probes,) = read_calibration(json.dumps(text), "calibration.yaml", folder).events.values()
    tagger: jt.Tagger | None = probes.make_processor().tagger
    assert tagger is not None
    return tagger


def from_scale_factor_processor(model: str, options: TaggerOptions) -> jt.Tagger:
    score = f"1 * {jt.load_tagger(model).bundle.outputs[0].name}"
    axes, variable = [AxisSpec("pt", edges=(300, 500))], AxisSpec("msoftdrop", bins=(2, 0, 200))
    made = ScaleFactorProcessor(
        {"a": Sample(1)}, score, [0, 0.5, 1], axes, variable, btag="btag > 0.5", model=model, options=options
    ).tagger
    assert made is not None
    return made


def from_tag_files(model: str, options: TaggerOptions, monkeypatch: pytest.MonkeyPatch) -> jt.Tagger:
    class Stopped(Exception):
        pass

    taggers: list[jt.Tagger] = []

    def stop(files: Any, tagger: jt.Tagger, **_: Any) -> None:
        taggers.append(tagger)
        raise Stopped

    monkeypatch.setattr(skim, "make_job", stop)
    with pytest.raises(Stopped):
        jt.tag_files(["a.root"], model, "never.parquet", options=options)
    return taggers[0]


def parsed(verb: str, model: str, arguments: list[str]) -> TaggerOptions:
    needed = {
        "tag": ["a.root"],
        "show": ["jet", "a.root"],
        "search": ["a.yaml"],
        "explain": ["a.root", "--discriminant", "mass"],
    }[verb]
    parser = argparse.ArgumentParser()
    importlib.import_module(f"jettagger.cli.{verb}").configure(parser)
    more = [] if verb == "search" else ["-m", model]
    return options_of(parser.parse_args([*needed, "-o", "out", *more, *arguments]))


Door = Callable[[str, str, Any, list[str], Path, pytest.MonkeyPatch], jt.Tagger]
DOORS: dict[str, Door] = {
    "load_tagger": lambda model, name, value, *_: jt.load_tagger(model, TaggerOptions(**{name: value})),
    "load_tagger, keyword": lambda model, name, value, *_: jt.load_tagger(model, **{name: value}),
    "load_taggers": lambda model, name, value, *_: next(
        iter(jt.load_taggers([model], TaggerOptions(**{name: value})).values())
    ),
    "load_taggers, keyword": lambda model, name, value, *_: next(
        iter(jt.load_taggers([model], **{name: value}).values())
    ),
    "Tagger": lambda model, name, value, *_: jt.Tagger(jt.load_bundle(model), TaggerOptions(**{name: value})),
    "Tagger, keyword": lambda model, name, value, *_: jt.Tagger(jt.load_bundle(model), **{name: value}),
    "tag_files": lambda model, name, value, _, folder, patch: from_tag_files(
        model, TaggerOptions(**{name: value}), patch
    ),
    "TaggingProcessor": lambda model, name, value, *_: (
        TaggingProcessor(model, options=TaggerOptions(**{name: value})).tagger
    ),
    "Attribution": lambda model, name, value, *_: (
        Attribution(model, jt.load_bundle(model).outputs[0].name, options=TaggerOptions(**{name: value})).tagger
    ),
    "FinetuneInputsProcessor": lambda model, name, value, _, folder, patch: (
        FinetuneInputsProcessor(model, folder / "out", options=TaggerOptions(**{name: value})).tagger
    ),
    "ResonanceSearchProcessor": lambda model, name, value, *_: from_search_processor(
        model, TaggerOptions(**{name: value})
    ),
    "ScaleFactorProcessor": lambda model, name, value, *_: from_scale_factor_processor(
        model, TaggerOptions(**{name: value})
    ),
    "calibration.yaml": lambda model, name, value, _, folder, patch: from_calibration_file(model, name, value, folder),
    "search.yaml": lambda model, name, value, _, folder, patch: from_search_file(model, name, value, folder),
    "jettagger tag": lambda model, name, _, arguments, *more: jt.load_tagger(model, parsed("tag", model, arguments)),
    "jettagger show": lambda model, name, _, arguments, *more: jt.load_tagger(model, parsed("show", model, arguments)),
    "jettagger explain": lambda model, name, _, arguments, *more: jt.load_tagger(
        model, parsed("explain", model, arguments)
    ),
    "jettagger search": lambda model, name, _, arguments, *more: jt.load_tagger(
        model, parsed("search", model, arguments)
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a head, and a model that has a training selection."""
    place = tmp_path_factory.mktemp("options")
    make_head(place / "Toy", inputs=["hidNeurons000", "mass", "FatJet_pt"])
    weaver_bundle(place / "weaver", card={"name": "weaver"})
    return place


@pytest.mark.parametrize("option", FIELDS)
@pytest.mark.parametrize("door", DOORS)
def test_every_front_door_takes_every_option(
    door: str, option: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, arguments = VALUES[option]
    if option in ("cache", "heads"):
        value = json.loads(json.dumps(value).replace("{folder}", str(folder)))
    arguments = [text.replace("{folder}", str(folder)) for text in arguments]
    model = str(folder / "weaver") if option == "outside" else "inclParTToyV1"
    expected = replace(TaggerOptions(), **{option: tuple(value) if option == "heads" else value})
    if option == "cache":
        expected = replace(expected, cache=(value, 5_000_000_000))
    tagger = DOORS[door](model, option, value, arguments, folder, monkeypatch)
    assert tagger.options == expected
    assert tagger.options != TaggerOptions()
    assert len(tagger.heads) == (option == "heads")
    assert (tagger.cache is not None) == (option == "cache")


def test_the_list_of_doors_is_complete() -> None:
    """Verbs that load a tagger, processors, and public functions that take the name of a model."""
    for path in (Path(jt.__file__).parent / "cli").glob("*.py"):
        source = path.read_text()
        if path.name in ("tagger.py", "search_merge.py"):  # the parts of a search have its options already
            continue
        if "load_tagger(" in source or "make_processor(" in source:
            assert f"jettagger {path.stem}" in DOORS, path.name
    for name in processors.__all__:
        assert name in DOORS or name.startswith(("Jec", "Assignment", "ChiSquare")), name  # they take no tagger
    for name in jt.__all__:
        public = getattr(jt, name)
        if inspect.isfunction(public) and {"model", "name_or_folder", "names_or_folders"} & set(
            inspect.signature(public).parameters
        ):
            assert name in DOORS or name == "load_bundle", name


def test_files_and_keywords_have_the_same_options() -> None:
    assert list(VALUES) == FIELDS
    assert {*TaggerKeys.model_fields} == {"model", *FIELDS}
    assert list(OptionKeywords.__annotations__) == FIELDS
    assert get_args(TaggerKeys.model_fields["backend"].annotation) == BACKENDS
    assert get_args(TaggerKeys.model_fields["precision"].annotation) == PRECISIONS
    assert get_args(TaggerKeys.model_fields["outside"].annotation) == get_args(get_type_hints(TaggerOptions)["outside"])
    keys = TaggerKeys(model="tinyParT")
    assert keys.options(Path()) == TaggerOptions()


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"backend": "fats"}, ConfigError, r"backend 'fats' \(nearest: fast\)"),
        ({"backend": "openvino", "provider": "cuda"}, ConfigError, "runs on the CPU"),
        ({"precision": "float61"}, ConfigError, r"precision 'float61' \(nearest: float16, float32\), expected one of"),
        ({"precision": "float16", "backend": "onnxruntime"}, ConfigError, "precision 'float16' is for backend 'fast'"),
        ({"precision": "float16", "remote": "grpc://gpu7:8001"}, ConfigError, "precision are of this machine"),
        ({"remote": "gpu7:8001/net"}, ConfigError, "its scheme 'gpu7' .*is none of grpc"),
        ({"remote": True}, ConfigError, "expected an address"),
        ({"remote": "grpc://gpu7:8001", "provider": "cuda"}, ConfigError, "precision are of this machine"),
        ({"threads": 0}, ConfigError, "threads must be a whole number from 1 to 4096, got 0"),
        ({"threads": "two"}, WrongType, "argument threads"),
        ({"min_pt_share": 1.5}, ConfigError, "share of a jet's pt from 0 to 1"),
        ({"outside": "drop"}, MismatchError, "expected 'score' or 'skip'"),
        ({"names": {"PFCand": "x"}}, UnknownName, "nearest: PFCands"),
        ({"format": "pfnano-106"}, UnknownName, "nearest: pfnano-106x"),
        ({"format": "ours.yaml"}, InputFileError, "no such file: ours.yaml"),
        ({"format": "pfnano", "names": {"PFCands": "x"}}, MismatchError, "give either format= or names=, not both"),
        ({"batch_size": 0}, ConfigError, "batch_size is 0, expected at least 1"),
        ({"block_bytes": -1}, ConfigError, "block_bytes is -1"),
    ],
)
def test_options_that_cannot_be(keywords: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        TaggerOptions(**keywords)
    with pytest.raises(error, match=message):
        jt.load_tagger("tinyParT", **keywords)


@pytest.mark.parametrize("load", [jt.load_tagger, lambda model, **more: jt.load_taggers([model], **more)])
def test_a_misspelt_option_is_named(load: Any) -> None:
    with pytest.raises(UnknownName, match=r"unknown option of a tagger .*'thraeds' \(nearest: threads"):
        load("tinyParT", thraeds=1)


def test_keywords_take_the_place_of_fields() -> None:
    options = TaggerOptions(threads=1, jets="FatJetAK15")
    assert jt.load_tagger("tinyParT", options, threads=2).options == replace(options, threads=2)
    assert options.given == {"threads": 1, "jets": "FatJetAK15"}
    assert len({options, TaggerOptions(threads=1, jets="FatJetAK15"), TaggerOptions()}) == 2
    with pytest.raises(AttributeError):
        options.threads = 2  # type: ignore[misc]


def test_a_tagger_has_its_options_already(tmp_path: Path) -> None:
    tagger = jt.load_tagger("tinyParT", threads=1)
    assert jt.load_tagger(tagger) is tagger
    assert TaggingProcessor(tagger).tagger is tagger
    for make in (
        lambda: jt.load_tagger(tagger, threads=1),
        lambda: TaggingProcessor(tagger, options=TaggerOptions()),
        lambda: jt.tag_files(["a.root"], tagger, str(tmp_path / "a.parquet"), options=TaggerOptions()),
    ):
        with pytest.raises(ConfigError, match="'tinyParT' has its options already"):
            make()
    with pytest.raises(ConfigError, match="no model"):
        ResonanceSearchProcessor(
            {"a": Sample(1)}, {"all": Region()}, [histogram(tagger)], options=TaggerOptions(threads=1)
        )


def test_options_travel(folder: Path) -> None:
    tagger = jt.load_tagger(
        "inclParTToyV1", heads=[folder / "Toy"], cache=DiskCache(folder / "own", 1000), batch_size=3
    )
    copy = pickle.loads(pickle.dumps(tagger))
    assert copy.options == tagger.options == replace(tagger.options, cache=(str(folder / "own"), 1000))
    assert copy.state == tagger.state
    assert "cache" not in tagger.state
    assert copy.heads == tagger.heads


def test_each_head_goes_to_its_model(folder: Path, tmp_path: Path) -> None:
    taggers = jt.load_taggers(["tinyParT", "inclParTToyV1"], heads=[folder / "Toy"], threads=1)
    assert [len(tagger.heads) for tagger in taggers.values()] == [0, 1]
    events = make_events(4, seed=1)
    own = jt.load_tagger("inclParTToyV1", heads=[folder / "Toy"], threads=1).attach(events).FatJet.Toy_probA
    assert ak.almost_equal(taggers.attach(events).FatJet.Toy_probA, own, rtol=1e-4, atol=1e-5)
    with pytest.raises(MismatchError, match=r"'Toy' was trained on 'inclParTToyV1' .* none of tinyParT"):
        jt.load_taggers(["tinyParT"], heads=[folder / "Toy"])


@pytest.mark.parametrize("verb", ["tag", "show", "search"])
def test_the_command_line_uses_them(
    verb: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write_pfnano(tmp_path / "nano.root", 5, seed=1))
    (tmp_path / "search.yaml").write_text(
        "version: 1\nluminosity: 1\ntagger: inclParTToyV1\n"
        "samples: {a: {files: nano.root, cross_section: 1, sum_of_weights: events}}\n"
        "regions: {all: {kind: inclusive}}\n"
        "histograms: {A: {bins: [2, 0, 1], expression: jet1.Toy_probA}}\n"
    )
    start = {
        "tag": ["tag", path, "-m", "inclParTToyV1", "-o", str(tmp_path / "out.parquet"), "--dry-run"],
        "show": ["show", "jet", path, "-m", "inclParTToyV1", "-o", str(tmp_path / "out.png")],
        "search": ["search", str(tmp_path / "search.yaml"), "-o", str(tmp_path / "out"), "--dry-run"],
    }[verb]
    assert main([*start, "--head", str(folder / "Toy"), "--threads", "1"]) == 0
    assert main([*start, "--head", str(tmp_path / "Other"), "--force"]) == 2
    assert "Other" in capsys.readouterr().err
    assert main([*start, "--force", "--threads", "0"]) == 2
    assert "threads must be" in capsys.readouterr().err


def test_options_without_a_model_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_pfnano(tmp_path / "nano.root", 3, seed=1))
    assert main(["show", "jet", path, "-o", str(tmp_path / "a.png"), "--threads", "2"]) == 2
    assert "no --model" in capsys.readouterr().err
    config = read_config(SEARCH, "s.yaml")
    assert config.with_options() is config
    with pytest.raises(ConfigError, match=r"s\.yaml names no tagger: threads would change nothing"):
        config.with_options(threads=2)


SEARCH = """\
version: 1
luminosity: 1
samples: {a: {files: a.root, cross_section: 1}}
regions: {all: {kind: inclusive}}
histograms: {m: {bins: [2, 0, 1], expression: jet1.tinyParT_mass}}
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tagger: {modle: tinyParT}", r"line 6: unknown key 'modle' \(nearest: model"),
        ("tagger: {threads: 2}", "line 6: the key 'model' is missing"),
        ("tagger: 3", "line 6: 'tagger' must be a mapping, got 3"),
        ("tagger:\n  model: tinyParT\n  backend: fats", r"line 8: unknown backend 'fats' \(nearest: fast\)"),
        ("tagger:\n  model: tinyParT\n  threads: 0", "line 8: 'threads' must be a number of threads, got 0"),
        ("tagger:\n  model: tinyParT\n  cache: 3", "line 8: 'cache' must be true, false or a folder, got 3"),
        ("tagger:\n  model: tinyParT\n  min_pt_share: 2", "line 8: 'min_pt_share' must be a number from 0 to 1"),
        ("tagger:\n  model: tinyParT\n  block_bytes: much", "line 8: 'block_bytes'"),
        ("tagger:\n  model: tinyParT\n  backend: openvino\n  provider: cuda", "line 9: .*runs on the CPU"),
        ("tagger:\n  model: tinyParT\n  names: {PFCand: X}", r"line 8: .*'PFCand' \(nearest: PFCands"),
        ("tagger:\n  model: tinyPart", r"line 7: no model 'tinyPart' \(nearest: tinyParT"),
        ("tagger:\n  model: tinyParT\n  heads: [Other]", "line 8: .*Other"),
        ("tagger:\n  model: tinyParT\n  outside: skip", "line 7: outside= is for models with a data configuration"),
        (
            "model: tinyParT\ntagger: tinyParT",
            "line 6: 'model' is the old name of 'tagger.model', which is given as well",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_mistakes_in_a_configuration_have_their_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(JettaggerError, match=message):
        read_config(SEARCH + text, "search.yaml", tmp_path).make_processor()


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("tagger: tinyParT", TaggerOptions()),
        ("tagger: {model: tinyParT, threads: 2}", TaggerOptions(threads=2)),
        ("tagger: {model: tinyParT, cache: scores}", TaggerOptions(cache="{folder}/scores")),
        ("tagger: {model: tinyParT, cache: true, heads: a}", TaggerOptions(cache=True, heads=["{folder}/a"])),
        ("tagger: {model: tinyParT, heads: [a, /b]}", TaggerOptions(heads=["{folder}/a", "/b"])),
        ("tagger: {model: tinyParT, block_bytes: 2MB}", TaggerOptions(block_bytes=2_000_000)),
    ],
)
def test_a_tagger_in_a_configuration(text: str, options: TaggerOptions, tmp_path: Path) -> None:
    cache = options.cache.replace("{folder}", str(tmp_path)) if isinstance(options.cache, str) else options.cache
    heads = [str(head).replace("{folder}", str(tmp_path)) for head in options.heads]
    config = read_config(SEARCH + text, "search.yaml", tmp_path)
    assert (config.model, config.options) == ("tinyParT", replace(options, cache=cache, heads=heads))


def test_a_folder_beside_the_configuration_is_a_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "configs").mkdir()
    text = f"{SEARCH}tagger: ../weaver".replace("tinyParT_mass", "weaver_proba")
    (folder / "configs" / "search.yaml").write_text(text)
    tagger = read_config(folder / "configs" / "search.yaml").load_tagger()
    assert tagger.bundle.name == "weaver"
    monkeypatch.chdir(folder)
    assert read_config(text.replace("../weaver", "./weaver"), "s.yaml").load_tagger().bundle.name == "weaver"


def test_old_names_are_read_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(FutureWarning) as caught:
        config = read_config(f"{SEARCH}model: tinyParT\nthreads: 2\n", "search.yaml", tmp_path)
    assert [str(item.message) for item in caught] == [
        "search.yaml, line 6: 'model' is now called 'tagger.model'",
        "search.yaml, line 7: 'threads' is now called 'tagger.threads'",
    ]
    assert (config.model, config.options) == ("tinyParT", TaggerOptions(threads=2))
    with pytest.warns(FutureWarning), pytest.raises(JettaggerError, match="line 6: no model 'tinyPart'"):
        read_config(f"{SEARCH}model: tinyPart\nthreads: 2\n", "search.yaml", tmp_path).make_processor()
    with pytest.warns(FutureWarning), pytest.raises(JettaggerError, match="line 7: 'threads' must be"):
        read_config(f"{SEARCH}model: tinyParT\nthreads: two\n", "search.yaml", tmp_path)
