"""How much the order of constituents matters to networks of CMS: a table of ``docs/images.md``.

    python -m benchmarks.sequences ../shared/data docs/images.md

``../shared/data`` holds ``cms/pfnano.root``, with the scores that CMSSW stored, and the networks in ``models/``. Each
list that a network takes is shuffled after its cut, order and maximum number, so that the network sees the same
constituents in another order. Lines of networks that are not there stay as they are.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cms_networks import NETWORKS, central_jets, opened_network
from jettagger.bundles.bundle import Bundle
from jettagger.expressions import parse
from jettagger.inputs.group_rows import Entering, GroupRows

__all__ = ["DRAWS", "LISTS", "Differences", "differences", "filled", "row", "shuffled"]

#: number of random orders
DRAWS = 20

#: objects -> their names in declarations
LISTS = {"pf": "candidates", "cpf": "charged", "npf": "neutral", "sv": "vertices"}


@dataclass(frozen=True)
class Differences:
    """Differences of scores from the stored ones, in logits; medians over jets and columns.

    Parameters
    ----------
    columns, jets : int
    declared : float
        With the declared order.
    shuffled : mapping of str to float64[draws]
        Shuffled list -> one number per random order; ``all``: each list by itself.
    """

    columns: int
    jets: int
    declared: float
    shuffled: Mapping[str, Any]


def shuffled(bundle: Bundle, jets: Any, inside: Entering, objects: set[str], rng: np.random.Generator) -> Entering:
    """The same leading objects of each group in random order.

    Parameters
    ----------
    bundle : Bundle
    jets : Objects
        Linked jets.
    inside : Entering
        Their objects in the declared order.
    objects : set of str
        Objects whose lists are shuffled; groups with the same choice get the same order.
    rng : numpy.random.Generator

    Returns
    -------
    Entering
    """
    from dataclasses import replace

    rows = dict(inside.rows)
    made: dict[Any, GroupRows] = {}
    for group in bundle.groups:
        if group.per_jet or group.object not in objects:
            continue
        key = (group.choice, group.limit)
        if key not in made:
            chosen = inside.rows.get(group.name)
            counts = jets.counts(group.object) if chosen is None else chosen.counts
            index = np.arange(int(counts.sum())) if chosen is None else chosen.index
            jet = np.repeat(np.arange(len(counts)), counts)
            place = np.arange(len(jet)) - np.repeat(np.cumsum(counts) - counts, counts)
            leading = place < group.limit
            index, jet = index[leading], jet[leading]
            order = np.lexsort((rng.uniform(size=len(jet)), jet))
            made[key] = GroupRows(index[order], np.minimum(counts, group.limit))
        rows[group.name] = made[key]
    return replace(inside, rows=rows)


def _logit(score: Any) -> Any:
    score = np.clip(score, 1e-9, 1 - 1e-9)
    return np.log(score / (1 - score))


def differences(data: Path, name: str, draws: int = DRAWS) -> Differences:
    """Differences from the stored scores in declared and in random orders.

    Parameters
    ----------
    data : pathlib.Path
        Folder with ``cms/pfnano.root`` and ``models/``.
    name : str
        One of `benchmarks.cms_networks.NETWORKS`.
    draws : int

    Returns
    -------
    Differences
    """
    import awkward as ak

    from jettagger.inference.network import evaluate
    from jettagger.inference.padding import as_run
    from jettagger.inputs.batching import make_batches, tabulate
    from jettagger.inputs.group_rows import entering
    from jettagger.inputs.source import EVERYTHING

    _, collection, stored = NETWORKS[name]
    with opened_network(data, name) as (tagger, events):
        bundle = as_run(tagger.bundle)
        (selection,) = tagger.request(events).blocks(EVERYTHING)
        jets = selection.jets
        inside = entering(bundle, jets)
        central = central_jets(events, collection)
        wanted = [_logit(ak.to_numpy(ak.flatten(events[collection][column])).astype(float)) for column in stored]

        def median(chosen: Entering) -> float:
            tables = tabulate(bundle.groups, jets, bundle.card.nonfinite, rows=chosen.rows)
            tables = tuple(table.of(chosen.jets) for table in tables)
            scores = np.full((len(central), len(bundle.outputs)), np.nan)
            index = selection.index[chosen.jets]
            for batch in make_batches(tables, pad_mode=bundle.card.pad_mode):
                scores[index[batch.jets]] = evaluate(bundle, tagger.session, batch.inputs)
            named = {output.name: scores[:, output.index] for output in bundle.outputs}
            made = [_logit(parse(text).evaluate(named)) for text in stored.values()]
            return float(np.nanmedian(np.abs(np.stack(made) - np.stack(wanted))[:, central]))

        lists = [object_ for object_ in LISTS if any(group.object == object_ for group in bundle.groups)]
        found = {}
        for label, objects in {**{LISTS[item]: {item} for item in lists}, "all": set(lists)}.items():
            rng = np.random.default_rng([23, *map(ord, label)])
            found[label] = np.array([median(shuffled(bundle, jets, inside, objects, rng)) for _ in range(draws)])
        return Differences(len(stored), int(np.count_nonzero(central)), median(inside), found)


def row(name: str, label: str, found: Differences) -> str:
    """A line of the table."""
    draws = found.shuffled[label]
    numbers = (
        f"{found.declared:.2g} | {draws.mean():.2g} ± {draws.std(ddof=1):.1g} | {draws.mean() / found.declared:.2g}"
    )
    return f"| `{name}` | {label} | {found.jets} | {found.columns} | {numbers} |"


def _rows(data: Path, before: str) -> Iterator[str]:
    yield "| network | shuffled list | jets | columns | declared order | shuffled | ratio |"
    yield "|---|---|---|---|---|---|---|"
    for name, (file, _, _) in NETWORKS.items():
        if (data / "models" / file).is_file():
            found = differences(data, name)
            yield from (row(name, label, found) for label in found.shuffled)
        else:
            yield from (line for line in before.splitlines() if line.startswith(f"| `{name}` |"))


def filled(text: str, data: Path) -> str:
    """The page with its table as it is measured."""

    def table(match: re.Match[str]) -> str:
        return match[1] + "\n".join(_rows(data, match[2])) + f"\n{match[3]}"

    return re.sub(r"(<!-- sequences: measured -->\n)(.*?)(<!-- end of sequences -->)", table, text, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with cms/pfnano.root and models/")
    parser.add_argument("page", type=Path, help="page with the table")
    args = parser.parse_args()
    args.page.write_text(filled(args.page.read_text(encoding="utf-8"), args.data), encoding="utf-8")


if __name__ == "__main__":
    main()
