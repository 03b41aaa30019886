"""Events for tests of tag and probe: muons, AK4 and fat jets, missing momentum, top quarks with their decays."""

from __future__ import annotations

import math
from typing import Any

import awkward as ak
import numpy as np

from jettagger.formats.nesting import nest


def columns(n_events: int, seed: int, *, data: bool = False) -> dict[str, Any]:
    """Flat columns in NanoAOD format; about a third of the events have a muon, a tag and a probe."""
    rng = np.random.default_rng(seed)

    def jagged(mean: float) -> Any:
        return rng.poisson(mean, n_events)

    made: dict[str, Any] = {
        "run": np.ones(n_events, np.uint32),
        "luminosityBlock": np.ones(n_events, np.uint32),
        "event": (1 + np.arange(n_events)).astype(np.uint64),
        "MET_pt": rng.exponential(90, n_events).astype(np.float32),
        "MET_phi": rng.uniform(-3.1, 3.1, n_events).astype(np.float32),
    }
    if not data:
        made["genWeight"] = rng.choice([0.5, 1.0, 2.0], n_events).astype(np.float32)
        made["puWeight"] = (rng.integers(4, 12, n_events) / 8).astype(np.float32)
        made["puWeightUp"] = (rng.integers(4, 12, n_events) / 8).astype(np.float32)

    def add(name: str, counts: Any, **fields: Any) -> None:
        for field, values in fields.items():
            made[f"{name}_{field}"] = ak.unflatten(values, counts)

    def directions(total: int) -> dict[str, Any]:
        eta, phi = rng.uniform(-1.4, 1.4, total), rng.uniform(-3.1, 3.1, total)
        return {"eta": eta.astype(np.float32), "phi": phi.astype(np.float32)}

    counts = jagged(1.0)
    total = counts.sum()
    isolation = rng.exponential(0.1, total).astype(np.float32)
    add("Muon", counts, pt=(40 + rng.exponential(60, total)).astype(np.float32), **directions(total),
        pfRelIso03_all=isolation, charge=np.ones(total, np.int32), mass=np.full(total, np.float32(0.106)))  # fmt: skip
    counts = jagged(4.0)
    total = counts.sum()
    add("Jet", counts, pt=(20 + rng.exponential(60, total)).astype(np.float32), **directions(total),
        mass=np.full(total, np.float32(5)), hadronFlavour=rng.choice([0, 4, 5], total).astype(np.int32),
        btag=rng.uniform(0, 1, total).astype(np.float32))  # fmt: skip
    counts = jagged(2.0)
    total = counts.sum()
    hbb, qcd = rng.uniform(0, 1, (2, total)).astype(np.float32)
    hbb[rng.random(total) < 0.1] = np.nan
    add("FatJet", counts, pt=(250 + rng.exponential(150, total)).astype(np.float32), **directions(total),
        msoftdrop=rng.uniform(0, 250, total).astype(np.float32), mass=rng.uniform(0, 250, total).astype(np.float32),
        mine_probHbb=hbb, mine_probQCDothers=qcd,
        genJetAK8Idx=rng.integers(-1, 2, total).astype(np.int32))  # fmt: skip
    if not data:
        made |= _generator(rng, n_events)
    return made


def _generator(rng: np.random.Generator, n_events: int) -> dict[str, Any]:
    """Up to two top quarks per event, hadronic or not, and generator jets."""
    names = ("eta", "phi", "pdgId", "genPartIdxMother")
    rows: dict[str, list[list[float]]] = {name: [] for name in names}
    for _ in range(n_events):
        event: dict[str, list[float]] = {name: [] for name in names}

        def born(code: int, mother: int, near: tuple[float, float], spread: float, event: Any = event) -> int:
            event["eta"].append(near[0] + rng.normal(0, spread))
            event["phi"].append(math.remainder(near[1] + rng.normal(0, spread), 2 * math.pi))
            event["pdgId"].append(code)
            event["genPartIdxMother"].append(mother)
            return len(event["eta"]) - 1

        for sign in (1, -1)[: rng.integers(0, 3)]:
            start = born(6 * sign, -1, (rng.uniform(-1.4, 1.4), rng.uniform(-3, 3)), 0.0)
            top = born(6 * sign, start, (event["eta"][start], event["phi"][start]), 0.01)
            axis = (event["eta"][top], event["phi"][top])
            boson = born(24 * sign, top, axis, 0.2)
            born(5 * sign, top, axis, 0.5)
            for code in ((1, -2), (4, -3), (13, -14))[rng.integers(0, 3)]:
                born(code * sign, boson, axis, 0.5)
        for name in names:
            rows[name].append(event[name])
    made: dict[str, Any] = {}
    for name, kind in zip(names, (np.float32, np.float32, np.int32, np.int32), strict=True):
        made[f"GenPart_{name}"] = ak.values_astype(ak.Array(rows[name]), kind)
    made["GenPart_pt"] = ak.full_like(made["GenPart_eta"], 50.0)
    made["GenPart_mass"] = ak.full_like(made["GenPart_eta"], 80.0)
    counts = rng.integers(2, 4, n_events)
    for name in ("pt", "eta", "phi", "mass", "msoftdrop"):
        made[f"GenJetAK8_{name}"] = ak.unflatten(rng.uniform(1, 250, counts.sum()).astype(np.float32), counts)
    return made


class WithMetadata(ak.Array):
    """Events that know their job."""

    @property
    def metadata(self) -> dict[str, Any]:
        """As coffea has it."""
        return self.attrs["metadata"]


def as_events(made: dict[str, Any], dataset: str = "tt", first: int = 0, last: int | None = None) -> Any:
    """Events in memory with the metadata of a job."""
    events = nest({name: values[first:last] for name, values in made.items() if not name.startswith("MET_")})
    met = {name.removeprefix("MET_"): values[first:last] for name, values in made.items() if name.startswith("MET_")}
    if met:
        events = ak.with_field(events, ak.zip(met), "MET")
    metadata = {"dataset": dataset, "filename": "some.root", "entrystart": first, "entrystop": first + len(events)}
    records = ak.to_layout(events).copy(parameters={"__record__": "Probes"})
    return ak.Array(records, behavior={("*", "Probes"): WithMetadata}, attrs={"metadata": metadata})
