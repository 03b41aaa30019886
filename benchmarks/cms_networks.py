"""How well networks of CMS give back the scores that CMSSW stored: the tables of ``docs/models.md``.

    python -m benchmarks.cms_networks ../shared/data docs/models.md

``../shared/data`` holds ``cms/pfnano.root`` and the networks in ``models/``; lines of networks that are not there stay
as they are. Without the folder only the table of what the models take is written.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import PACKAGE
from jettagger.expressions import parse
from jettagger.features.cms import ALL_VERTICES, CALORIMETER, COVARIANCE, IN_PLANE, IN_PLANE_ERROR

if TYPE_CHECKING:
    from jettagger.tagging.tagger import Tagger

QCD = "(probQCDbb + probQCDcc + probQCDb + probQCDc + probQCDothers)"


def _ratio(signal: str) -> str:
    return f"({signal}) / ({signal} + {QCD})"


#: network -> its file, the jets, and what each stored column is in its scores
NETWORKS: dict[str, tuple[str, str, dict[str, str]]] = {
    "particlenet-ak8-md": (
        "particlenet-ak8-md/model.onnx",
        "FatJet",
        {
            "particleNetMD_Xbb": "probHbb",
            "particleNetMD_Xcc": "probHcc",
            "particleNetMD_Xqq": "probHqq",
            "particleNetMD_QCD": QCD,
        },
    ),
    "deepdoublex-v02-bvl": ("deepdoublex-v02/BvL.onnx", "FatJet", {"btagDDBvLV2": "probHbb"}),
    "deepdoublex-v02-cvb": ("deepdoublex-v02/CvB.onnx", "FatJet", {"btagDDCvBV2": "probHcc"}),
    "deepak8-md-v02": (
        "deepak8-md-v02/model.onnx",
        "FatJet",
        {
            "deepTagMD_TvsQCD": _ratio("probTbcq + probTbqq"),
            "deepTagMD_WvsQCD": _ratio("probWcq + probWqq"),
            "deepTagMD_ZvsQCD": _ratio("probZbb + probZcc + probZqq"),
            "deepTagMD_ZHbbvsQCD": _ratio("probZbb + probHbb"),
            "deepTagMD_HbbvsQCD": _ratio("probHbb"),
            "deepTagMD_ZHccvsQCD": _ratio("probZcc + probHcc"),
            "deepTagMD_H4qvsQCD": _ratio("probHqqqq"),
        },
    ),
    "deepjet-v03": (
        "deepjet-v03/model.onnx",
        "Jet",
        {
            "btagDeepFlavB": "probb + probbb + problepb",
            "btagDeepFlavCvL": "probc / (probc + probuds + probg)",
            "btagDeepFlavCvB": "probc / (probc + probb + probbb + problepb)",
            "btagDeepFlavQG": "probg / (probg + probuds)",
        },
    ),
}

#: what is rebuilt, in few words
_REBUILT = {
    IN_PLANE: "signed impact parameters in the plane",
    IN_PLANE_ERROR: "signed impact parameters in the plane",
    CALORIMETER: "hadronic fractions",
    COVARIANCE: "covariances of tracks",
    ALL_VERTICES: "distances from vertices",
}


def taken() -> str:
    """The table of what the models of CMS take, by their declarations."""
    rows = ["| model | jets | scored | approximate inputs |", "|---|---|---|---|"]
    for folder in sorted((PACKAGE / "models").iterdir()):
        bundle = Bundle.from_folder(folder)
        if bundle.notes.get("input description", "").startswith("declaration"):
            rebuilt = ", ".join(dict.fromkeys(_REBUILT[how] for how in bundle.approximate.values())) or "none"
            title = bundle.card.title.partition(" (")[0]
            rows.append(f"| `{bundle.name}`: {title} | {bundle.card.jets} | {bundle.domain or 'all'} | {rebuilt} |")
    return "\n".join(rows)


@contextmanager
def opened_network(data: Path, name: str) -> Iterator[tuple[Tagger, Any]]:
    """A tagger with the network, and the events of the file with the stored scores."""
    from jettagger.files.root import EventFile
    from jettagger.tagging.tagger import load_tagger

    file, collection, stored = NETWORKS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "network"
        shutil.copytree((data / "models" / file).parent, folder, ignore=shutil.ignore_patterns("*.onnx"))
        shutil.copy(data / "models" / file, folder / "model.onnx")
        tagger = load_tagger(folder, threads=1, backend="onnxruntime")
        with EventFile(data / "cms/pfnano.root") as opened:
            more = [f"{collection}.{column}" for column in (*stored, "eta")]
            events = opened.read(dict.fromkeys([*tagger.check(opened).columns, *more]))
        yield tagger, events


def central_jets(events: Any, collection: str) -> Any:
    """Mask of the jets that are compared, bool[jets]: AK4 jets within abs(eta) < 2.5."""
    import awkward as ak

    return np.abs(ak.to_numpy(ak.flatten(events[collection].eta))) < (2.5 if collection == "Jet" else 9)


def differences(data: Path, name: str) -> Iterator[tuple[str, Any, Any]]:
    """Stored column, what is made, and what is stored, of all jets; AK4 jets within abs(eta) < 2.5."""
    import awkward as ak

    _, collection, stored = NETWORKS[name]
    with opened_network(data, name) as (tagger, events):
        scores = tagger(events)
        central = central_jets(events, collection)
        values: Mapping[str, Any] = {
            output: ak.to_numpy(ak.fill_none(ak.flatten(scores[output]), np.nan)).astype(float)
            for output in scores.fields
        }
        for column, text in stored.items():
            made = parse(text).evaluate(values)
            yield column, made[central], ak.to_numpy(ak.flatten(events[collection][column])).astype(float)[central]


def row(name: str, column: str, made: Any, stored: Any) -> str:
    """A line of the table of differences."""
    off = np.abs(made - stored)
    numbers = " | ".join(f"{value:.1g}" for value in (np.median(off), np.quantile(off, 0.9), off.max()))
    return f"| `{name}` | `{column}` | {len(off)} | {numbers} | {np.corrcoef(made, stored)[0, 1]:.4f} |"


def measured(data: Path, before: str) -> str:
    """The table of differences; lines of networks that are not here are those from before."""
    rows = ["| model | stored column | jets | median | 90 % | largest | correlation |", "|---|---|---|---|---|---|---|"]
    for name, (file, _, _) in NETWORKS.items():
        if (data / "models" / file).is_file():
            rows += [row(name, *found) for found in differences(data, name)]
        else:
            rows += [line for line in before.splitlines() if line.startswith(f"| `{name}` |")]
    return "\n".join(rows)


def cost(data: Path, name: str = "deepjet-v03", copies: int = 30, repetitions: int = 3) -> str:
    """CPU time of features and network for the events of the file, many times over; the least of some repetitions."""
    import awkward as ak

    from jettagger.files.root import EventFile
    from jettagger.inference.network import evaluate
    from jettagger.inputs.batching import make_batches, tabulate
    from jettagger.inputs.group_rows import entering
    from jettagger.tagging.tagger import load_tagger

    tagger = load_tagger((data / "models" / NETWORKS[name][0]).parent, threads=1)
    with EventFile(data / "cms/pfnano.root") as opened:
        events = ak.concatenate([opened.read(tagger.check(opened).columns)] * copies)
    bundle, session = tagger.bundle, tagger.session
    least = [np.inf, np.inf]
    for _ in range(repetitions):
        spent, jets = [0.0, 0.0], 0
        for selection in tagger.request(events).blocks():
            start = time.process_time()
            features: dict[str, Any] = {}
            inside = entering(bundle, selection.jets, features)
            tables = tabulate(bundle.groups, selection.jets, bundle.card.nonfinite, features, inside.rows)
            spent[0] += time.process_time() - start
            for batch in make_batches(tables):
                start = time.process_time()
                evaluate(bundle, session, batch.inputs)
                spent[1] += time.process_time() - start
            jets += len(selection.jets)
        least = [min(old, new / jets) for old, new in zip(least, spent, strict=True)]
    share = f"{least[0] / least[1]:.0%}"
    inputs, network = (f"{1e6 * seconds:.0f}" for seconds in least)
    return f"Inputs of `{name}` cost {share} of the CPU time of its network ({inputs} and {network} us a jet)."


def filled(text: str, data: Path | None) -> str:
    """The page with its tables as they are now."""

    def table(match: re.Match[str]) -> str:
        if match["what"] == "taken":
            return f"{match[1]}{taken()}\n{match[4]}"
        if data is None:
            return match[0]
        made = cost(data) if match["what"] == "cost" else measured(data, match[3])
        return f"{match[1]}{made}\n{match[4]}"

    pattern = r"(<!-- cms: (?P<what>\w+) -->\n)(.*?)(<!-- end of cms -->)"
    return re.sub(pattern, table, text, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with cms/pfnano.root and models/")
    parser.add_argument("page", type=Path, help="page with the tables")
    args = parser.parse_args()
    data = args.data if args.data.is_dir() else None
    args.page.write_text(filled(args.page.read_text(encoding="utf-8"), data), encoding="utf-8")


if __name__ == "__main__":
    main()
