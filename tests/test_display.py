"""What objects show of themselves: one line, a page for notebooks, a table for terminals."""

from __future__ import annotations

import io
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heads import make_head
from hypothesis import given
from hypothesis import strategies as st

import jettagger as jt
from jettagger.discriminants import Discriminant, derive, discriminant
from jettagger.display import MAX_ROWS, Displayed, Grid, ObjectSummary, some
from jettagger.heads import Head
from jettagger.histograms import AxisSpec, HistSpec
from jettagger.report import Report
from jettagger.statistics.building import build
from jettagger.statistics.specification import Signal, TemplateSpec
from jettagger.statistics.templates import Templates
from jettagger.testing import make_events

YIELDS = "Yields, with the statistical uncertainty of the simulation"
HOSTILE = "<script>alert('x')</script> & [red]b[/red] \x1b[2J \u202e"


def page(shown: Displayed) -> ElementTree.Element:
    """What a notebook shows, parsed: it must be well formed."""
    return ElementTree.fromstring(shown._repr_html_())


def cells(shown: Displayed, caption: str) -> list[list[str]]:
    """The rows of a table, with its header, in what a notebook shows."""
    for table in page(shown).iter("table"):
        if table.findtext("caption") == caption:
            return [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]
    raise AssertionError(f"no table {caption!r}")


def fact(shown: Displayed, name: str) -> str:
    for row in page(shown).iter("tr"):
        if row.findtext("th") == name:
            return row.findtext("td") or ""
    raise AssertionError(f"nothing is said of {name!r}")


def terminal(shown: Displayed, width: int = 200) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(shown)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def templates(**changes: Any) -> Templates:
    """Weighted events in one region: 4 of weight 2 and 9 of weight 1; a signal that jes moves by 10 %."""
    spec = HistSpec("mjj", [AxisSpec("mjj", bins=(2, 0, 100), label="dijet mass", unit="GeV")])
    hist = spec.make()
    for name, masses, weight in (("qcd", [10.0] * 2 + [60.0] * 2, 2.0), ("tt", [20.0] * 5 + [70.0] * 4, 1.0)):
        for variation in ("nominal", "jesUp", "jesDown"):
            spec.fill(hist, {"mjj": np.array(masses)}, weight, dataset=name, region="SR", variation=variation)
    for variation, weight in (("nominal", 1.0), ("jesUp", 1.1), ("jesDown", 0.9)):
        values = {"mjj": np.array([30.0] * 5 + [60.0] * 5)}
        spec.fill(hist, values, weight, dataset="x", region="SR", variation=variation)
        spec.fill(hist, values, 2 * weight, dataset="data", region="SR", variation=variation)
    wanted = {"processes": {"qcd": ["qcd"], "tt": ["tt"]}, "signals": {"X50": Signal(["x"], 50)}, **changes}
    return build(hist, TemplateSpec(**wanted))


def working_points() -> Any:
    values = (np.arange(1000) + 0.5) / 1000
    return derive(Discriminant.from_string("x"), {"x": values}, {"half": 0.5, "tenth": 0.1})


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Head:
    return make_head(tmp_path_factory.mktemp("heads") / "Toy", metrics={"loss": 0.25, "comparisons": {}})


@pytest.fixture(scope="module")
def everything(head: Head) -> dict[str, Displayed]:
    return {
        "Tagger": jt.load_tagger("inclParTToyV1", min_pt_share=0.5).with_heads(head),
        "Bundle": jt.load_bundle("inclParTMDV1"),
        "weaver": jt.load_bundle("Sophon"),
        "Report": Report(events=3, jets=8, scored=6, not_selected=2, seconds=0.25, slots=100, filled=60),
        "Discriminant": discriminant("HbbvsQCD"),
        "WorkingPoints": working_points(),
        "Templates": templates(),
        "Head": head,
    }


NAMES = ["Tagger", "Bundle", "weaver", "Report", "Discriminant", "WorkingPoints", "Templates", "Head"]


@pytest.mark.parametrize("name", NAMES)
def test_line_page_and_table(everything: dict[str, Displayed], name: str) -> None:
    shown = everything[name]
    line = repr(shown)
    assert type(shown).__name__ in line
    assert "\n" not in line
    assert len(line) < 600
    text = terminal(shown)
    for part in page(shown).itertext():  # both say the same
        assert part.split()[0] in text, part
    assert len(shown._repr_html_()) < 20_000
    assert max(map(len, text.splitlines())) <= 200


def test_a_bundle_shows_inputs_and_outputs() -> None:
    bundle = jt.load_bundle("inclParTMDV1")
    assert repr(bundle).startswith("Bundle('inclParTMDV1', ")
    assert "-> 37 prob, 1 mass, 128 hidden, no weights, from " in repr(bundle)
    header, *rows = cells(bundle, "Inputs")
    assert header == ["input", "object", "variables", "number", "length"]
    assert [row[0] for row in rows] == [group.name for group in bundle.groups]
    assert [int(row[3]) for row in rows] == [len(group.variables) for group in bundle.groups]
    assert {row[0]: row[2] for row in cells(bundle, "Outputs")[1:]} == {
        "probability": "37",
        "regressed mass": "1",
        "hidden neuron": "128",
    }
    assert fact(bundle, "weights") == "not in this folder"
    assert fact(bundle, "digest") == bundle.digest


def test_a_tagger_shows_options_and_outputs_of_heads(everything: dict[str, Displayed]) -> None:
    tagger = everything["Tagger"]
    assert repr(tagger).startswith("Tagger('inclParTToyV1' with Toy, 168 outputs, from ")
    assert fact(tagger, "heads") == "Toy"
    assert "min_pt_share=0.5" in fact(tagger, "options")
    assert {row[0]: row[2] for row in cells(tagger, "Outputs")[1:]} == {
        "probability": "39",
        "regressed mass": "1",
        "hidden neuron": "128",
    }
    cached = jt.load_tagger("tinyParT", cache=True)
    assert fact(cached, "score cache").endswith(" GB")


def test_a_report_shows_counts_and_shares() -> None:
    report = Report(events=3, jets=8, scored=6, not_selected=2, seconds=0.25, slots=100, filled=60)
    assert repr(report) == "Report(events=3, jets=8, scored=6, not_selected=2, slots=100, filled=60, seconds=0.25)"
    assert repr(Report()) == "Report()"
    assert cells(report, "Counts")[1:] == [
        ["events", "3", ""],
        ["jets", "8", ""],
        ["scored", "6", "75.0%"],
        ["not scored: not selected", "2", "25.0%"],
    ]
    assert fact(report, "padding") == "40.0% of the length positions"
    assert cells(Report(), "Counts")[1:] == [["events", "0", ""], ["jets", "0", ""], ["scored", "0", ""]]


def test_every_count_of_a_report_is_shown() -> None:
    from dataclasses import fields

    for item in fields(Report):
        if item.name not in ("slots", "filled", "seconds", "rounding"):
            value = ("7341",) if item.name == "servers" else 7341
            assert "7341" in terminal(Report(**{item.name: value})), item.name


def test_how_well_scores_are_defined_is_the_largest_of_all_models() -> None:
    total = Report(scored=2, rounding=0.01) + Report(scored=3, rounding=0.04) + Report()
    assert (total.scored, total.rounding) == (5, 0.04)
    assert fact(total, "rounding") == "a change in the last place moves probabilities by up to 0.04 (99 % of jets)"


def test_a_discriminant_shows_its_expression_and_parameters() -> None:
    mine = Discriminant.from_string("probHbb / (probHbb + alpha * sum(probQCD*)) where alpha = 0.5", name="mine")
    assert repr(mine) == "<Discriminant mine: probHbb / (probHbb + alpha * sum(probQCD*)) where alpha = 0.5>"
    assert cells(mine, "Parameters") == [["name", "value"], ["alpha", "0.5"]]
    assert fact(mine, "scores") == "probHbb"
    assert fact(mine, "sums of scores") == "sum(probQCD*)"
    long = Discriminant.from_string(" + ".join(f"prob{i:030d}" for i in range(100)))
    assert len(repr(long)) < 600
    assert len(long._repr_html_()) < 3000


def test_working_points_show_what_their_table_says() -> None:
    points = working_points()
    header, *rows = cells(points, "Thresholds")
    assert header == ["working point", "efficiency", "achieved", "threshold", "uncertainty", "jets"]
    assert [row[:4] for row in rows] == [["half", "0.5", "0.5", "0.5005"], ["tenth", "0.1", "0.1", "0.9005"]]
    for row in rows:
        assert any(line.split() == row for line in points.table().splitlines())
    assert fact(points, "") == "discriminant = x"
    assert fact(points, "model") == "not known"


def test_templates_show_yields_with_their_uncertainties() -> None:
    header, *rows = cells(templates(), YIELDS)
    assert header == ["region", "process", "kind", "yield", "effective events", "shifts"]
    assert rows == [
        ["SR", "qcd", "background", "8.0 ± 4.0", "4", "jes +0 / +0 %"],
        ["SR", "tt", "background", "9.0 ± 3.0", "9", "jes +0 / +0 %"],
        ["SR", "X50", "signal", "10.0 ± 3.2", "10", "jes +10 / -10 %"],
        ["SR", "sum", "background", "17.0 ± 5.0", "11.56", ""],
        ["SR", "Asimov data", "data", "17", "", ""],
    ]
    assert fact(templates(), "edges") == "0, 50, 100"
    observed = templates(data=["data"])
    assert cells(observed, YIELDS)[-1] == ["SR", "data", "data", "20", "", ""]
    assert fact(observed, "data") == "observed"
    blind = templates(data=["data"], blind=["SR"])
    assert cells(blind, YIELDS)[-1] == ["SR", "Asimov data", "data", "17", "", ""]
    assert repr(observed) == "<Templates of mjj, 2 bins: qcd, tt, X50; in SR; observed data>"


def test_a_head_shows_inputs_outputs_and_parent(head: Head) -> None:
    assert repr(head) == "Head('Toy', 132 inputs -> probA, probB, on 'inclParTToyV1')"
    assert [row[2] for row in cells(head, "Inputs")[1:]] == ["129", "3"]
    assert cells(head, "Outputs")[1:] == [["probA", "Toy_probA"], ["probB", "Toy_probB"]]
    assert fact(head, "measured") == "loss: 0.25"
    assert head.card.parent.digest in fact(head, "parent")


# ---------------------------------------------------------------------------------------- the common form


class Thing(Displayed):
    """Shows what it is given."""

    def __init__(self, *content: Any) -> None:
        self.content = content

    def summary(self) -> ObjectSummary:
        return ObjectSummary(*self.content)


def test_names_of_others_are_escaped() -> None:
    thing = Thing(HOSTILE, [(HOSTILE, HOSTILE)], [Grid(HOSTILE, (HOSTILE,), [(HOSTILE,)])])
    source = thing._repr_html_()
    for unwanted in ("<script", "\x1b", "\u202e"):
        assert unwanted not in source
    assert not {"\x1b", "\u202e"} & set(terminal(thing))
    assert page(thing).findtext("p/strong") == "<script>alert('x')</script> & [red]b[/red] \\x1b[2J \\u202e"
    assert "[red]b[/red]" in terminal(thing)


def test_large_tables_and_texts_are_bounded() -> None:
    rows = [(f"row{number}", "x" * 10_000) for number in range(100_000)]
    thing = Thing("large", [("text", "y" * 10**6)], [Grid("rows", ("name", "text"), rows)])
    assert len(thing._repr_html_()) < 50_000
    shown = cells(thing, "rows")
    assert len(shown) == 1 + MAX_ROWS + 1
    assert shown[-1] == [f"... and {100_000 - MAX_ROWS} more"]
    assert f"... and {100_000 - MAX_ROWS} more" in terminal(thing)
    assert "99999" not in terminal(thing)


def test_what_is_empty_is_left_out() -> None:
    thing = Thing("nothing", [("fact", "")], [Grid("rows", ("name",), [])])
    assert thing._repr_html_() == '<div class="jettagger"><p><strong>nothing</strong></p></div>'
    assert terminal(thing).split() == ["nothing"]


@given(st.lists(st.text(min_size=1, max_size=5), max_size=20), st.integers(1, 10))
def test_some_names_all_or_says_how_many(names: list[str], number: int) -> None:
    text = some(names, number)
    assert text.startswith(", ".join(names[:number]))
    assert text.endswith(f"... ({len(names)})") == (len(names) > number)


@given(st.text(max_size=50))
def test_any_text_gives_a_well_formed_page(text: str) -> None:
    assert page(Thing(text, [("a", text)], [Grid(text, (text,), [(text,)], 1)])) is not None


def test_showing_reads_no_data_opens_no_session_and_loads_no_rich() -> None:
    code = (
        "import sys, jettagger as jt, jettagger.discriminants as d\n"
        "tagger = jt.load_tagger('tinyParT')\n"
        "for item in (tagger, tagger.bundle, jt.Report(jets=1), d.discriminant('HbbvsQCD')):\n"
        "    repr(item); item._repr_html_()\n"
        "print(*(name for name in ('rich', 'onnxruntime', 'uproot', 'coffea', 'matplotlib') if name in sys.modules))"
    )
    root = Path(jt.__file__).parent.parent
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_report_of_a_job_is_shown() -> None:
    events = make_events(4, seed=1)
    report = jt.load_tagger("tinyParT", threads=1).run(events).report
    assert cells(report, "Counts")[2][:2] == ["jets", str(report.jets)]


def test_a_summary_as_text():
    summary = ObjectSummary(
        "Model x", [("outputs", "3"), ("of", "b\nc")], [Grid("inputs", ["name", "n"], [["pf", "9"]], 1)]
    )
    assert str(summary).splitlines() == ["Model x", "outputs  3", "of       b c", "", "inputs", "name  n", "pf    9"]
    many = Grid("rows", ["n"], [[str(number)] for number in range(MAX_ROWS + 2)])
    assert str(ObjectSummary("x", grids=[many])).endswith(f"{MAX_ROWS - 1}\n... and 2 more")
