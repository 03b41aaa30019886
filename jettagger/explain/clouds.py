"""A few explained jets with the contribution of each constituent, to be drawn as point clouds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import JettaggerError, MismatchError
from jettagger.explain.baselines import Baseline
from jettagger.explain.batches import baseline_of
from jettagger.explain.jets import JetInputs
from jettagger.explain.methods import gradient_input, integrated, occlude_constituents, saliency
from jettagger.explain.sampling import JetSample, category_names
from jettagger.explain.scorer import Scorer
from jettagger.files.delphes import DelphesFile, is_delphes_file
from jettagger.files.root import EventFile
from jettagger.files.tables import FlatFile
from jettagger.formats.delphes import DelphesJets
from jettagger.inputs.pfnano_tables import is_event_file, nano_table, read_jets
from jettagger.skims.jobs import Chunk
from jettagger.types import Array, Floats

__all__ = ["CLOUDS", "JetClouds", "jet_clouds"]

#: maximum number of jets that are drawn
CLOUDS = 4


@dataclass
class JetClouds(Brief):
    """Jets to draw.

    Parameters
    ----------
    jets : list of awkward record
        Columns of JetClass-II.
    contributions : list of float64[constituents]
        In the order of the columns.
    titles : list of str
        Group and number of each jet.
    reason : str
        Why jets are not drawn.
    """

    jets: list[Any] = field(default_factory=list)
    contributions: list[Floats] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    reason: str = ""


def jet_clouds(scorer: Scorer, sample: JetSample, settings: Any, number: int = CLOUDS) -> JetClouds:
    """The first jet of each group with the contributions of its constituents.

    Parameters
    ----------
    scorer : Scorer
    sample : JetSample
    settings : ExplainSettings
    number : int
        Maximum number of jets.

    Returns
    -------
    JetClouds
        Empty, with a reason, if the file has no constituents to draw, or the network no candidates.
    """
    found = JetClouds()
    seen: set[str] = set()
    baseline: Baseline | None = None
    for place, chunk in enumerate(sample.chunks):
        for inputs in sample.opened(place).inputs:
            if baseline is None and settings.method == "integrated" and settings.baseline != "none":
                baseline = baseline_of([inputs], settings)
            names = category_names(settings.by, sample, inputs.columns, len(inputs))
            for row, name in enumerate(names):
                if not name or name in seen or len(seen) == number:
                    continue
                seen.add(name)
                try:
                    _add(found, scorer, sample, chunk, inputs.take(np.array([row])), settings, name, baseline)
                except JettaggerError as error:
                    return JetClouds(reason=str(error).splitlines()[0])
        if len(seen) == number or place > number:
            break
    return found


def _add(
    found: JetClouds,
    scorer: Scorer,
    sample: JetSample,
    chunk: Chunk,
    jet: JetInputs,
    settings: Any,
    name: str,
    baseline: Baseline | None,
) -> None:
    family = next((item for item in jet.families if item not in ("sv", "jet")), "")
    if not family:
        inputs = ", ".join(f"{group.name!r} ({group.kind or group.object})" for group in jet.bundle.groups)
        raise MismatchError(f"the network of {jet.bundle.name!r} takes no list of candidates; its inputs: {inputs}")
    values = _contributions(scorer, jet, settings, family, baseline)
    cloud = _cloud(sample, chunk, int(jet.jets[0]))
    if "part_place" in cloud.fields:
        values = values[np.asarray(cloud["part_place"])]
    output = float(scorer.values(jet)[0])
    found.jets.append(cloud)
    found.contributions.append(values[: len(cloud["part_deta"])])
    found.titles.append(f"{name}: {scorer.target.name} = {output:.3g}")


def _contributions(scorer: Scorer, jet: JetInputs, settings: Any, family: str, baseline: Baseline | None) -> Floats:
    """One number for each constituent in the file."""
    if settings.method in ("occlusion", "permutation", "attention"):
        return occlude_constituents(scorer, jet, family).values[0]
    if settings.method == "integrated":
        made = integrated(scorer, jet, baseline, tolerance=settings.tolerance)
    else:
        made = (saliency if settings.method == "saliency" else gradient_input)(scorer, jet)
    slots: dict[str, Array] = {
        group: made.values[group].sum(axis=1) for group in jet.in_family(family) if not jet.groups[group].is_mask
    }
    return jet.per_object(family, slots)[0]


def _cloud(sample: JetSample, chunk: Chunk, index: int) -> Any:
    """A jet of a chunk as a record of JetClass-II."""
    import awkward as ak

    options = sample.job.tagger.options
    if is_event_file(chunk.path):
        collection, kind = sample.job.collection, sample.job.tagger.bundle.card.jets
        with EventFile(chunk.path) as file:
            column = f"{collection}.pt"
            before = int(ak.count(file.read([column], 0, chunk.start)[collection].pt)) if chunk.start else 0
        start = before + index
        events, chosen, _ = read_jets(chunk.path, start, start + 1, (), options.jets, options.names, kind)
        return nano_table(events, options.jets, options.names, kind, places=True)[chosen][0]
    if is_delphes_file(chunk.path):
        with DelphesFile(chunk.path) as delphes:
            jets = DelphesJets(delphes.read(sample.job.collection, chunk.start, chunk.stop), sample.job.collection)
        return ak.zip({name: ak.Array(jets.column(name)) for name in jets.fields}, depth_limit=1)[index]
    with FlatFile(chunk.path, getattr(sample.job.kind, "tree", None)) as table:
        return table.read(None, chunk.start + index, chunk.start + index + 1)[0]


def as_table(jets: Sequence[Any]) -> Any:
    """Records of jets as one array."""
    import awkward as ak

    common = set.intersection(*(set(jet.fields) for jet in jets))
    return ak.Array([{name: jet[name] for name in jets[0].fields if name in common} for jet in jets])


guard(globals(), "jet_clouds")
