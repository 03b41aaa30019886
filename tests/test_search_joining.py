"""Sums of data sets put together at once: equal to coffea's, in little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import hist
import numpy as np
import pytest
from coffea.processor import accumulate

from jettagger.histograms import equal, sort_categories
from jettagger.search.joining import join

STUDY = """\
import sys
import hist
import numpy as np
from types import SimpleNamespace
from jettagger.histograms import save
from jettagger.search.summing import OrderedSum

samples, regions, variations, bins = 200, 30, 40, 40
axes = [hist.axis.StrCategory([f"r{i}" for i in range(regions)], growth=True, name="region"),
        hist.axis.StrCategory(["nominal", *(f"v{i}" for i in range(variations))], growth=True, name="variation"),
        hist.axis.Regular(bins, 0, 1, name="x")]
items = [SimpleNamespace(dataset=f"s{i:03}") for i in range(samples) for _ in range(2)]
total = OrderedSum(items)
for number, item in enumerate(items):
    name = hist.axis.StrCategory([item.dataset], growth=True, name="dataset")
    made = {f"h{i}": hist.Hist(name, *axes, storage=hist.storage.Weight()) for i in range(4)}
    for histogram in made.values():
        histogram.view(flow=True)["value"] = 1.0
    total.add(number, {"out": {"histograms": made}})
result = total.result()["out"]["histograms"]
assert result["h3"].sum(flow=True).value == samples * 2 * regions * (variations + 1) * (bins + 2)
save(result, sys.argv[1])
# of this process alone: getrusage has the peak of the process before it was this program, too
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(float(peak.split()[1]) * 1024 / 1e9)
"""


def parts() -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    made = []
    for dataset, variations in (("tt", ["nominal", "bUp"]), ("QCD", ["nominal"]), ("X", ["aUp", "nominal"])):
        histogram = hist.Hist(
            hist.axis.StrCategory([dataset], growth=True, name="dataset"),
            hist.axis.StrCategory(variations, growth=True, name="variation"),
            hist.axis.Regular(3, 0, 1, name="x"),
            storage=hist.storage.Weight(),
        )
        view = histogram.view(flow=True)
        for name in ("value", "variance"):
            view[name] = rng.random(view.shape)
        counts = {"sums": {dataset: {"events": 3}}, "overlaps": {"SR & CR": 2}, "processed": {dataset}}
        plain = hist.Hist(hist.axis.Regular(2, 0, 1, name="x"), storage=hist.storage.Double())
        plain.fill([0.1])
        made.append({"histograms": {"mjj": histogram, "plain": plain}, **counts})
    return made


def test_the_sum_is_that_of_coffea() -> None:
    expected, found = accumulate(parts()), join(parts())
    assert equal(found["histograms"]["mjj"], expected["histograms"]["mjj"])
    assert list(found["histograms"]["mjj"].axes["dataset"]) == ["QCD", "X", "tt"]
    assert found["histograms"]["plain"] == expected["histograms"]["plain"]
    for key in ("sums", "overlaps", "processed"):
        assert found[key] == expected[key]
    assert join([]) is None
    assert join([None, {"a": 1}]) == {"a": 1}


def test_categories_are_sorted_with_their_contents() -> None:
    histogram = accumulate(parts())["histograms"]["mjj"]
    ordered = sort_categories(histogram)
    assert list(ordered.axes["variation"]) == ["aUp", "bUp", "nominal"]
    assert ordered.axes["variation"].traits.growth
    for dataset in histogram.axes["dataset"]:
        for variation in histogram.axes["variation"]:
            cell = {"dataset": dataset, "variation": variation}
            assert (ordered[cell].view(flow=True) == histogram[cell].view(flow=True)).all()
    fixed = hist.Hist(hist.axis.StrCategory(["b", "a"], name="c"), hist.axis.Regular(2, 0, 1, name="x"))
    fixed.fill(c=["a", "b", "b", "other"], x=[0.1, 0.1, 0.1, 0.7])
    again = sort_categories(fixed)
    assert again[{"c": "a"}].values().tolist() == [1, 0]
    assert again[{"c": "b"}].values().tolist() == [2, 0]
    assert again.sum(flow=True) == 4


@pytest.mark.slow
def test_hundreds_of_samples_stay_within_two_gigabytes(tmp_path: Path) -> None:
    """200 samples, 30 regions, 40 variations, four histograms of 40 bins, summed and written in one process."""
    root = Path(__file__).resolve().parent.parent
    run = subprocess.run(
        [sys.executable, "-c", STUDY, str(tmp_path / "histograms.json.gz")],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(run.stdout) < 2.0
