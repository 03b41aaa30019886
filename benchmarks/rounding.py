"""How far a change in the last place moves the scores of CMS's networks: a table of ``docs/models.md``, and cards.

    python -m benchmarks.rounding ../shared/data docs/models.md

``../shared/data`` holds ``cms/pfnano.root`` and the networks in ``models/``; lines and cards of networks that are not
there stay as they are. The jets are those of the file.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cms_networks import NETWORKS
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import PACKAGE
from jettagger.inference.conditioning import INPUTS, RoundingResponse, measured_response
from jettagger.inference.padding import as_run
from jettagger.inputs.batching import make_batches, tabulate
from jettagger.inputs.group_rows import entering

#: network -> its file
FILES = {name: file for name, (file, _, _) in NETWORKS.items()} | {
    name: f"{name}/model.onnx" for name in ("part-ak8-2023", "particlenet-ak4", "part-ak4")
}


def jets_of(data: Path, name: str) -> Iterator[tuple[Bundle, list[dict[str, Any]]]]:
    """The bundle of a network, and its inputs of all jets of the file; the folder is gone afterwards."""
    from jettagger.files.root import EventFile
    from jettagger.tagging.tagger import load_tagger

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "network"
        file = data / "models" / FILES[name]
        shutil.copytree(file.parent, folder, ignore=shutil.ignore_patterns("*.onnx"))
        shutil.copy(file, folder / "model.onnx")
        tagger = load_tagger(folder, threads=1)
        bundle = as_run(tagger.bundle)
        with EventFile(data / "cms/pfnano.root") as opened:
            events = opened.read(tagger.check(opened).columns)
        runs = []
        for selection in tagger.request(events).blocks():
            features: dict[str, Any] = {}
            inside = entering(bundle, selection.jets, features)
            tables = tabulate(bundle.groups, selection.jets, bundle.card.nonfinite, features, inside.rows)
            tables = tuple(table.of(inside.jets) for table in tables)
            runs += [dict(batch.inputs) for batch in make_batches(tables, pad_mode=bundle.card.pad_mode)]
        yield bundle, runs


def response(data: Path, name: str) -> RoundingResponse:
    """What is measured of a network with the jets of the file."""
    for bundle, runs in jets_of(data, name):
        return measured_response(bundle, runs)
    raise ValueError(name)


def figures(found: RoundingResponse) -> dict[str, float]:
    """What a card says: of each jet the largest change of a probability, whatever is changed."""
    changes = np.max([change[:, 0] for change in found.changes.values()], axis=0)
    median, q99, largest = np.quantile(changes, (0.5, 0.99, 1), method="higher")
    numbers = {"median": median, "q99": q99, "largest": largest}
    return {"jets": found.jets, **{key: float(f"{value:.2g}") for key, value in numbers.items()}}


def row(name: str, found: RoundingResponse) -> str:
    """A line of the table."""
    steps = [what for what in found.changes if what != INPUTS]
    worst = max(steps, key=lambda what: found.figures(what)[1], default=None)
    cells = [name, f"{found.jets}"]
    for what in (INPUTS, worst):
        cells += ["", "", ""] if what is None else [f"{value:.1g}" for value in found.figures(what)]
    return f"| {' | '.join(cells)} |"


def table(data: Path, before: str) -> tuple[str, dict[str, dict[str, float]]]:
    """The lines, those of networks that are not here as they were, and what the cards say of the others."""
    lines = [
        "| model | jets | inputs: median | 99 % | largest | steps: median | 99 % | largest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    cards = {}
    for name, file in FILES.items():
        if (data / "models" / file).is_file():
            found = response(data, name)
            lines.append(row(name, found))
            cards[name] = figures(found)
        else:
            lines += [line for line in before.splitlines() if line.startswith(f"| {name} |")]
    return "\n".join(lines), cards


def card_path(name: str) -> Path:
    """The card of a network in the package."""
    known = PACKAGE / "known" / f"{name}.json"
    return known if known.is_file() else PACKAGE / "models" / name / "bundle.json"


def with_rounding(card: str, numbers: dict[str, float]) -> str:
    """A card as text that says how well scores are defined; the rest stays as it is written."""
    line = f'  "rounding": {json.dumps(numbers)},\n'
    return re.sub(r'^(?:  "rounding": .*\n)?(?=  "sha256")', line, card, count=1, flags=re.MULTILINE)


PATTERN = re.compile(r"(<!-- rounding: measured -->\n)(.*?)(<!-- end of rounding -->)", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with cms/pfnano.root and models/")
    parser.add_argument("page", type=Path, help="page with the table")
    args = parser.parse_args()
    text = args.page.read_text(encoding="utf-8")
    match = PATTERN.search(text)
    if match is None:
        parser.error(f"{args.page} has no table of rounding")
    lines, cards = table(args.data, match[2])
    args.page.write_text(text.replace(match[0], f"{match[1]}{lines}\n{match[3]}"), encoding="utf-8")
    for name, numbers in cards.items():
        path = card_path(name)
        path.write_text(with_rounding(path.read_text(encoding="utf-8"), numbers), encoding="utf-8")


if __name__ == "__main__":
    main()
