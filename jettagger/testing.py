"""Mock data for tests: seeded events in PFNano format and a tiny network with the interface of GloParT V1.

Everything is deterministic. The values resemble jets but are not physics; use them to test processors and tools.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.arguments import guard, in_range
from jettagger.errors import InputFileError, UnknownName
from jettagger.files import complete_or_absent
from jettagger.kinematics import delta_phi, delta_r, energy, px, py, pz
from jettagger.types import Array

if TYPE_CHECKING:
    import awkward as ak

__all__ = ["example_path", "make_columns", "make_events", "make_tiny_model", "write_pfnano"]

#: probability and absolute PDG ID of each type of candidate: charged hadron, photon, neutral hadron, electron, muon
_TYPES = ((0.58, 211), (0.27, 22), (0.12, 130), (0.02, 11), (0.01, 13))


def _mantissa(values: Array, bits: int = 10) -> Array:
    """Round float32 values to a mantissa of some bits, as NanoAOD stores them."""
    mantissa, exponent = np.frexp(np.asarray(values, dtype=np.float32))
    scale = np.float32(2 ** (bits + 1))
    return np.ldexp(np.round(mantissa * scale) / scale, exponent).astype(np.float32)


def _counts_to_event(counts: Array) -> Array:
    return np.repeat(np.arange(len(counts)), counts)


def make_columns(
    n_events: int, *, seed: int = 0, jets: float = 2.2, constituents: float = 45.0, ak4: bool = False
) -> dict[str, Any]:
    """Columns of events in PFNano format.

    Parameters
    ----------
    n_events : int
    seed : int
        The same seed gives the same columns.
    jets : float
        Mean number of fat jets per event; there are events without.
    constituents : float
        Mean number of constituents per jet; about one jet in 40 has none, about one in 40 more than 128.
    ak4 : bool
        Whether there are also AK4 jets (``Jet``, ``JetPFCands``, ``JetSVs``), made from candidates of the fat jets; all
        other columns are the same with and without them.

    Returns
    -------
    dict of str to numpy or awkward array
        Flat names as in NanoAOD (``FatJet_pt`` in GeV, ...); candidates without tracks carry -1 as in PFNano, some
        vertices are missing in the table ``SV`` (``FatJetSVs_sVIdx`` is -1).

    Examples
    --------
    >>> columns = make_columns(3, seed=1)
    >>> columns["event"].tolist()
    [1, 2, 3]
    """
    in_range(n_events, "argument n_events", 0, 2**31 - 1)
    in_range(seed, "argument seed", 0)
    in_range(jets, "argument jets", 0, 1000)
    in_range(constituents, "argument constituents", 0, 1e6)
    rng = np.random.default_rng([seed, n_events])
    n_jets = rng.poisson(jets, n_events)
    total = int(n_jets.sum())
    event_of_jet = _counts_to_event(n_jets)
    jet = {
        "pt": _mantissa(200 + rng.exponential(150, total)),
        "eta": _mantissa(rng.uniform(-2.3, 2.3, total)),
        "mass": _mantissa(rng.gamma(4, 25, total) + 5),
        "rawFactor": _mantissa(rng.normal(0.05, 0.02, total)),
    }
    # jets of an event lie apart in azimuth, as anti-kt jets do
    rank = np.arange(total) - np.repeat(np.cumsum(n_jets) - n_jets, n_jets)
    turn = rng.uniform(-np.pi, np.pi, n_events)[event_of_jet]
    step = 2 * np.pi / np.maximum(n_jets, 1)[event_of_jet]
    jet["phi"] = _mantissa(np.angle(np.exp(1j * (turn + rank * step))))
    jet["eta"] = np.where(n_jets[event_of_jet] > 5, _mantissa(-2 + 4 * (rank % 2)), jet["eta"])
    jet["msoftdrop"] = _mantissa(jet["mass"] * rng.uniform(0.3, 1, total))

    n_pf = np.maximum(rng.negative_binomial(6, 6 / (6 + constituents), total), 1)
    special = rng.random(total)
    n_pf = np.where(special < 0.025, 0, np.where(special > 0.975, n_pf + 128, n_pf))
    pf, link = _candidates(rng, jet, n_pf)
    sv, sv_link = _vertices(rng, jet, rng.poisson(1.5, total) * (n_pf > 0))

    pf_per_event = np.bincount(event_of_jet, weights=n_pf, minlength=n_events).astype(np.int64)
    link["jetIdx"] = np.repeat(rank, n_pf).astype(np.int32)
    order = rng.permutation(int(n_pf.sum()))  # candidates are not stored jet by jet
    event_of_pf = np.repeat(event_of_jet, n_pf)
    order = order[np.argsort(event_of_pf[order], kind="stable")]
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    starts = np.cumsum(pf_per_event) - pf_per_event
    link["pFCandsIdx"] = (place - starts[event_of_pf]).astype(np.int32)
    pf = {name: values[order] for name, values in pf.items()}

    n_sv = sv_link.pop("counts")
    event_of_sv = np.repeat(event_of_jet, n_sv)
    sv_link["jetIdx"] = np.repeat(rank, n_sv).astype(np.int32)
    stored = sv_link.pop("stored")
    sv_per_event = np.bincount(event_of_sv[stored], minlength=n_events).astype(np.int64)
    index = np.cumsum(stored) - 1 - (np.cumsum(sv_per_event) - sv_per_event)[event_of_sv]
    sv_link["sVIdx"] = np.where(stored, index, -1).astype(np.int32)
    small = {}
    if ak4:
        candidates = {name: values[place] for name, values in pf.items()}
        small = _small_jets(seed, event_of_jet, n_events, (n_pf, candidates, link), (n_sv, sv, sv_link))
    sv = {name: values[stored] for name, values in sv.items()}

    columns: dict[str, Any] = {
        "run": np.ones(n_events, dtype=np.uint32),
        "luminosityBlock": (1 + np.arange(n_events) // 100).astype(np.uint32),
        "event": (1 + np.arange(n_events)).astype(np.uint64),
        "genWeight": np.ones(n_events, dtype=np.float32),
    }
    links_per_event = np.bincount(event_of_sv, minlength=n_events).astype(np.int64)
    for name, counts, fields in (
        ("FatJet", n_jets, jet),
        ("PFCands", pf_per_event, pf),
        ("FatJetPFCands", pf_per_event, link),
        ("SV", sv_per_event, sv),
        ("FatJetSVs", links_per_event, sv_link),
        *((name, counts, fields) for name, (counts, fields) in small.items()),
    ):
        columns |= _jagged(name, counts, fields)
    return columns


def _jagged(collection: str, counts: Array, fields: dict[str, Array]) -> dict[str, ak.Array]:
    import awkward as ak

    offsets = ak.index.Index64(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    return {
        f"{collection}_{name}": ak.Array(ak.contents.ListOffsetArray(offsets, ak.contents.NumpyArray(values)))
        for name, values in fields.items()
    }


def _candidates(
    rng: np.random.Generator, jet: dict[str, Array], counts: Array
) -> tuple[dict[str, Array], dict[str, Array]]:
    total = int(counts.sum())
    of_jet = np.repeat(np.arange(len(counts)), counts)
    share = rng.exponential(1, total)
    norm = np.bincount(of_jet, weights=share, minlength=len(counts))
    pt = np.maximum(jet["pt"][of_jet] * share / norm[of_jet], 0.2)
    distance, angle = np.minimum(rng.exponential(0.15, total), 0.78), rng.uniform(-np.pi, np.pi, total)
    # the constituents of a jet add up to its axis
    steps = [distance * np.cos(angle), distance * np.sin(angle)]
    total_pt = np.maximum(np.bincount(of_jet, weights=pt, minlength=len(counts)), 1)
    steps = [
        step - (np.bincount(of_jet, weights=pt * step, minlength=len(counts)) / total_pt)[of_jet] for step in steps
    ]
    eta = jet["eta"][of_jet] + steps[0]
    phi = np.angle(np.exp(1j * (jet["phi"][of_jet] + steps[1])))
    kind = rng.choice([code for _, code in _TYPES], size=total, p=[chance for chance, _ in _TYPES])
    charged = np.isin(kind, (211, 11, 13))
    charge = np.where(charged, rng.choice([-1, 1], total), 0)
    tracked = charged & (pt > 0.95)
    masses = {211: 0.1396, 22: 0.0, 130: 0.4976, 11: 0.000511, 13: 0.1057}
    error = rng.uniform(0.001, 0.02, total)

    def or_minus_one(values: Array) -> Array:
        return _mantissa(np.where(tracked, values, -1))

    pf = {
        "pt": _mantissa(pt),
        "eta": _mantissa(eta),
        "phi": _mantissa(phi),
        "mass": _mantissa(np.vectorize(masses.__getitem__, otypes=[float])(kind)),
        "charge": charge.astype(np.int32),
        "pdgId": (kind * np.where(charge < 0, -1, 1)).astype(np.int32),
        "puppiWeight": _mantissa(rng.uniform(0, 1, total)),
        "pvAssocQuality": np.where(charged, rng.choice([7, 6, 5, 1], total), 0).astype(np.int32),
        "lostInnerHits": np.where(tracked, rng.choice([-1, 0, 1], total), 0).astype(np.int32),
        "trkQuality": np.where(tracked, rng.choice([5, 1], total), 0).astype(np.int32),
        "trkChi2": or_minus_one(np.floor(rng.exponential(1.5, total))),
        "dz": or_minus_one(rng.standard_t(2, total) * error),
        "dzErr": or_minus_one(error),
        "d0": or_minus_one(rng.standard_t(2, total) * error),
        "d0Err": or_minus_one(error),
    }

    return pf, _tracks_in_jets(rng, pf["pt"], tracked, error)


def _tracks_in_jets(rng: np.random.Generator, pt: Array, tracked: Array, error: Array) -> dict[str, Array]:
    """Columns of link tables of candidates, relative to their jet."""
    total = len(pt)

    def or_zero(values: Array) -> Array:
        return _mantissa(np.where(tracked, values, 0))

    return {
        "pt": pt,
        "btagEtaRel": or_zero(rng.uniform(0, 8, total)),
        "btagPtRatio": or_zero(rng.uniform(0, 0.6, total)),
        "btagPParRatio": or_zero(rng.uniform(0.8, 1, total)),
        "btagSip3dVal": or_zero(rng.standard_t(2, total) * error),
        "btagSip3dSig": or_zero(rng.standard_t(2, total)),
        "btagJetDistVal": or_zero(-rng.exponential(0.01, total)),
    }


def _vertices(
    rng: np.random.Generator, jet: dict[str, Array], counts: Array
) -> tuple[dict[str, Array], dict[str, Array]]:
    total = int(counts.sum())
    of_jet = np.repeat(np.arange(len(counts)), counts)
    significance = rng.exponential(15, total)
    # the producer sorts the vertices of a jet by the significance of their transverse distance
    significance = significance[np.lexsort((-significance, of_jet))]
    distance, angle = rng.uniform(0, 0.75, total), rng.uniform(-np.pi, np.pi, total)
    phirel = distance * np.sin(angle)
    eta = jet["eta"][of_jet] + distance * np.cos(angle)
    phi = np.angle(np.exp(1j * (jet["phi"][of_jet] + phirel)))
    pt = rng.uniform(5, 80, total)
    mass = rng.uniform(0.4, 5, total)
    jet_energy = np.hypot(jet["pt"] * np.cosh(jet["eta"]), jet["mass"])
    dxy = rng.exponential(0.5, total)
    sv = {"pt": pt, "eta": eta, "phi": phi, "mass": mass, "dxy": dxy, "ntracks": rng.integers(2, 8, total)}
    sv |= {"x": dxy * np.cos(phi), "y": dxy * np.sin(phi), "z": dxy * np.sinh(eta)}
    link = {
        "pt": pt,
        "mass": mass,
        "ntracks": sv["ntracks"].astype(np.float32),
        "normchi2": rng.exponential(1, total),
        "dxy": dxy,
        "dxysig": significance,
        "d3d": dxy * rng.uniform(1, 2, total),
        "d3dsig": significance * rng.uniform(1, 1.3, total),
        "phirel": phirel,
        "deltaR": np.minimum(distance - 0.5, 0),
        "enration": np.hypot(pt * np.cosh(eta), mass) / jet_energy[of_jet],
    }
    sv = {name: values.astype(np.uint8) if name == "ntracks" else _mantissa(values) for name, values in sv.items()}
    link = {name: _mantissa(values) for name, values in link.items()}
    link["counts"] = counts
    link["stored"] = rng.random(total) > 0.3
    return sv, link


#: minimum uncorrected transverse momentum of AK4 jets, GeV
_MIN_PT = 15

#: distance parameter of AK4 jets
_RADIUS = 0.4


def _small_jets(
    seed: int,
    event_of_jet: Array,
    n_events: int,
    candidates: tuple[Array, dict[str, Array], dict[str, Array]],
    vertices: tuple[Array, dict[str, Array], dict[str, Array]],
) -> dict[str, tuple[Array, dict[str, Array]]]:
    """Up to two AK4 jets in each fat jet, around its leading candidate and the leading one of the rest.

    Candidates and vertices are given by their indices in the fat jets, themselves and their links, fat jet after fat
    jet.
    """
    rng = np.random.default_rng([seed, n_events, 4])
    (n_pf, pf, link), (n_sv, sv, sv_link) = candidates, vertices
    fat = np.repeat(np.arange(len(n_pf)), n_pf)
    cone = np.full(len(fat), -1)
    for number in range(2):
        rows = np.flatnonzero(cone < 0)
        rows = rows[np.lexsort((-pf["pt"][rows], fat[rows]))]
        found, first = np.unique(fat[rows], return_index=True)
        leading = np.full(len(n_pf), -1)
        leading[found] = rows[first]
        axis = leading[fat[rows]]
        near = rows[delta_r(pf["eta"][rows], pf["phi"][rows], pf["eta"][axis], pf["phi"][axis]) < _RADIUS]
        cone[near] = 2 * fat[near] + number
    momentum = {"pt": pf["pt"], "eta": pf["eta"], "phi": pf["phi"], "mass": pf["mass"]}
    momentum = {name: values.astype(np.float64) for name, values in momentum.items()}
    pt, eta, phi, mass = momentum.values()
    sums = [
        np.bincount(cone[cone >= 0], weights=values[cone >= 0], minlength=2 * len(n_pf))
        for values in (px(pt, phi), py(pt, phi), pz(pt, eta), energy(pt, eta, mass))
    ]
    raw = np.hypot(sums[0], sums[1])
    event = event_of_jet[np.arange(2 * len(n_pf)) // 2]
    kept = np.flatnonzero(raw > _MIN_PT)
    kept = kept[np.lexsort((-raw[kept], event[kept]))]
    x, y, z, total = (values[kept] for values in sums)
    factor = _mantissa(rng.normal(0.05, 0.02, len(kept)))
    jet = {
        "pt": _mantissa(raw[kept] / (1 - factor)),
        "eta": _mantissa(np.arcsinh(z / raw[kept])),
        "phi": _mantissa(np.arctan2(y, x)),
        "mass": _mantissa(np.sqrt(np.maximum(total**2 - x**2 - y**2 - z**2, 0)) / (1 - factor)),
        "rawFactor": factor,
    }
    counts = np.bincount(event[kept], minlength=n_events)
    rank = (np.arange(len(kept)) - np.repeat(np.cumsum(counts) - counts, counts)).astype(np.int32)
    jet_of_cone = np.full(2 * len(n_pf), -1)
    jet_of_cone[kept] = np.arange(len(kept))

    rows = np.flatnonzero((cone >= 0) & (jet_of_cone[cone] >= 0))
    rows = rows[np.argsort(jet_of_cone[cone[rows]], kind="stable")]
    owner = jet_of_cone[cone[rows]]
    tracked = pf["trkChi2"][rows] != -1
    links = _tracks_in_jets(rng, pf["pt"][rows], tracked, pf["d0Err"][rows])
    links |= {"pFCandsIdx": link["pFCandsIdx"][rows], "jetIdx": rank[owner]}

    # the vertices of a fat jet with each of its AK4 jets
    fat_of_sv = np.repeat(np.arange(len(n_sv)), n_sv)
    vertex = np.repeat(np.arange(len(fat_of_sv)), 2)
    jet_of_sv = jet_of_cone[2 * fat_of_sv[vertex] + np.tile([0, 1], len(fat_of_sv))]
    phirel = delta_phi(sv["phi"][vertex], jet["phi"][jet_of_sv]) if len(kept) else np.zeros(len(vertex))
    distance = np.hypot(sv["eta"][vertex] - jet["eta"][jet_of_sv], phirel) if len(kept) else np.ones(len(vertex))
    pairs = np.flatnonzero((jet_of_sv >= 0) & (distance < _RADIUS))
    pairs = pairs[np.argsort(jet_of_sv[pairs], kind="stable")]
    vertex, of_jet = vertex[pairs], jet_of_sv[pairs]
    relative = ("phirel", "deltaR", "enration", "jetIdx")
    svs = {name: values[vertex] for name, values in sv_link.items() if name not in relative}
    svs["phirel"], svs["deltaR"] = _mantissa(phirel[pairs]), _mantissa(np.minimum(distance[pairs] - 0.5, 0))
    whole = energy(*(jet[name].astype(np.float64)[of_jet] for name in ("pt", "eta", "mass")))
    svs["enration"] = _mantissa(energy(*(sv[name][vertex] for name in ("pt", "eta", "mass"))) / whole)
    svs["jetIdx"] = rank[of_jet]

    def per_event(jets: Array) -> Array:
        return np.bincount(event[kept][jets], minlength=n_events).astype(np.int64)

    return {"Jet": (counts, jet), "JetPFCands": (per_event(owner), links), "JetSVs": (per_event(of_jet), svs)}


def example_path(name: str) -> Path:
    """The path of one of the small samples that come with the source of jettagger, for examples and tests.

    Parameters
    ----------
    name : str
        Name of a file or folder in ``examples/data``: ``QCD.root``, ``tt.root``, ``XHH-1000.root`` (events of the
        package's detector simulation in PFNano format, see ``docs/simulation.md``), ``toy_search`` (what a search with
        toy data writes).

    Returns
    -------
    pathlib.Path
        The path, whatever the working directory is.

    Raises
    ------
    InputFileError
        If the samples are not there: a wheel does not contain them, a clone and the source distribution do.
    UnknownName
        If there is no such sample.

    Examples
    --------
    >>> example_path("QCD.root").name
    'QCD.root'
    """
    folder = Path(__file__).resolve().parent.parent / "examples" / "data"
    if not folder.is_dir():
        raise InputFileError(
            f"{folder} does not exist: the samples are in a clone of jettagger and in its source distribution, not in "
            f"a wheel. Run the example there, or give the path of a file of yours"
        )
    known = sorted(path.name for path in folder.iterdir())
    if name not in known:
        raise UnknownName("sample", name, known, str(folder))
    return folder / name


def make_events(
    n_events: int, *, seed: int = 0, jets: float = 2.2, constituents: float = 45.0, ak4: bool = False
) -> ak.Array:
    """Events in PFNano format in memory, with collections as fields.

    Parameters
    ----------
    n_events, seed, jets, constituents, ak4
        As for `make_columns`.

    Returns
    -------
    awkward array
        One entry an event, with ``FatJet``, ``PFCands``, ``FatJetPFCands``, ``SV``, ``FatJetSVs``, ``run``,
        ``luminosityBlock``, ``event``.

    Examples
    --------
    >>> make_events(2, seed=1).fields[:5]
    ['run', 'luminosityBlock', 'event', 'genWeight', 'FatJet']
    """
    from jettagger.formats.nesting import nest

    return nest(make_columns(n_events, seed=seed, jets=jets, constituents=constituents, ak4=ak4))


def write_pfnano(
    path: str | os.PathLike[str],
    n_events: int,
    *,
    seed: int = 0,
    jets: float = 2.2,
    constituents: float = 45.0,
    ak4: bool = False,
    force: bool = True,
) -> Path:
    """Write events in PFNano format to a ROOT file (TTree ``Events``) that opens with coffea's ``PFNanoAODSchema``.

    Parameters
    ----------
    path : path
    n_events, seed, jets, constituents, ak4
        As for `make_columns`.
    force : bool
        Whether an existing file may be replaced.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OutputError
        If the file cannot be written; nothing is left in this case.
    """
    from jettagger.files.root import write_tree

    with complete_or_absent(path, force=force) as part:
        write_tree(part, [make_columns(n_events, seed=seed, jets=jets, constituents=constituents, ak4=ak4)])
    return Path(path)


def make_tiny_model(path: str | os.PathLike[str], *, seed: int = 0) -> Path:
    """Write a small network with the interface of GloParT V1: same inputs, 166 output columns, dynamic axes.

    The network embeds constituents and vertices, averages over the unmasked ones, and ends like the real one: 128
    hidden neurons, then one linear layer to 37 logits (softmax in the graph) and a mass.

    Parameters
    ----------
    path : path
        The ONNX file to write.
    seed : int
        Seed of the weights.

    Returns
    -------
    pathlib.Path
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)
    nodes, weights = [], []

    def constant(name: str, values: Any) -> str:
        weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def linear(name: str, source: str, n_in: int, n_out: int) -> str:
        matrix = constant(f"{name}_w", (rng.normal(0, 1, (n_in, n_out)) / np.sqrt(n_in)).astype("f4"))
        return add("MatMul", [source, matrix], name)

    last = constant("last_axis", np.array([1], dtype=np.int64))
    one = constant("one", np.array(1, dtype="f4"))
    pooled = []
    inputs = []
    for stem, channels, axis in (("pf", 25, "n_pf"), ("sv", 11, "n_sv")):
        for kind, width in (("features", channels), ("vectors", 4), ("mask", 1)):
            inputs.append(helper.make_tensor_value_info(f"{stem}_{kind}", TensorProto.FLOAT, ["N", width, axis]))
        # log(1 + p^2) keeps the momenta in range and does not depend on the azimuth of the jet
        square = add("Mul", [f"{stem}_vectors", f"{stem}_vectors"], f"{stem}_square")
        momentum = add("Log", [add("Add", [square, one], f"{stem}_plus")], f"{stem}_log")
        both = add("Concat", [f"{stem}_features", momentum], f"{stem}_both", axis=1)
        rows = add("Transpose", [both], f"{stem}_rows", perm=[0, 2, 1])
        embedded = add("Tanh", [linear(f"{stem}_embed", rows, channels + 4, 24)], f"{stem}_tanh")
        mask = add("Transpose", [f"{stem}_mask"], f"{stem}_mask_rows", perm=[0, 2, 1])
        total = add("ReduceSum", [add("Mul", [embedded, mask], f"{stem}_kept"), last], f"{stem}_sum", keepdims=0)
        number = add("ReduceSum", [mask, last], f"{stem}_number", keepdims=0)
        pooled.append(add("Div", [total, add("Max", [number, one], f"{stem}_at_least_one")], f"{stem}_mean"))
    joined = add("Concat", pooled, "pooled", axis=1)
    hidden = add("Tanh", [linear("hidden_linear", joined, 48, 128)], "hidden")
    head = linear("head", hidden, 128, 38)
    bias = constant("head_b", np.concatenate([np.zeros(37), [100.0]]).astype("f4"))
    final = add("Add", [head, bias], "logits_and_mass")
    sizes = constant("split_sizes", np.array([37, 1], dtype=np.int64))
    nodes.append(helper.make_node("Split", [final, sizes], ["logits", "mass"], axis=1))
    add("Softmax", ["logits"], "probabilities", axis=1)
    add("Concat", ["probabilities", "mass", "hidden"], "scores", axis=1)
    graph = helper.make_graph(
        nodes,
        "tinyParT",
        inputs,
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 166])],
        initializer=weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    with complete_or_absent(path) as part:
        part.write_bytes(model.SerializeToString(deterministic=True))
    return Path(path)


def __dir__() -> list[str]:
    return sorted(__all__)


guard(globals())
