"""Networks on constituents, trained from scratch: what heads on hidden neurons are compared with.

One has about as many parameters as a head: a deep set (P. T. Komiske, E. M. Metodiev, J. Thaler, arXiv:1810.05165). The
other is the Particle Transformer of ``examples/embedded_tagger/network.py``, as large as the embedded tagger.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

import jettagger as jt
from jettagger.expressions import parse
from jettagger.heads import JetTable

EMBEDDED = Path(__file__).resolve().parent.parent / "examples" / "embedded_tagger"

NETWORKS = ("deep set", "Particle Transformer")

#: candidates and vertices of a jet that are used
MOST = {"pf": 100, "sv": 8}

#: epochs at most, and epochs without a lower validation loss after which the training ends
EPOCHS, PATIENCE = 40, 8

BATCH, RATE = 128, 2e-3

Array = NDArray[Any]


@dataclass(frozen=True)
class Jets:
    """Jets with their constituents.

    Parameters
    ----------
    columns : mapping of str to array[jets]
        ``label`` (number of the class), ``event``, and what was asked for.
    parts : mapping of str to (offsets, features, vectors)
        ``pf`` and ``sv``: objects of all jets, one after the other; vectors are px, py, pz, E in GeV.
    """

    columns: Mapping[str, Array]
    parts: Mapping[str, tuple[Array, Array, Array]]

    def tensors(self, rows: Array) -> list[Array]:
        """Inputs of the network for some jets, padded to the longest."""
        found = []
        for name, most in MOST.items():
            offsets, features, vectors = self.parts[name]
            counts = np.minimum(np.diff(offsets)[rows], most)
            slots = np.arange(max(int(counts.max(initial=0)), 1))
            real = slots < counts[:, None]
            place = np.where(real, offsets[rows][:, None] + slots, len(features) - 1)  # the last row is empty
            found += [np.moveaxis(x[place].astype(np.float32), 1, 2) for x in (features, vectors)]
            found.append(real[:, None, :].astype(np.float32))
        return found


def read_jets(
    samples: Sequence[Path], select: str, classes: Mapping[str, str], keep: Sequence[str], model: str, cache: Path
) -> Jets:
    """The jets of classes in simulated files; kept in a file.

    Parameters
    ----------
    samples : sequence of Path
        PFNano files with generator particles.
    select : str
        Expression in columns as named in skims.
    classes : mapping of str to str
        Name -> expression.
    keep : sequence of str
        Columns to keep.
    model : str
        Whose description of the inputs is used; its weights are not.
    cache : Path
        Read if it was made from the same, written else.

    Returns
    -------
    Jets
    """
    key = json.dumps(
        [[(path.name, path.stat().st_size) for path in samples], select, dict(classes), list(keep), MOST, model]
    )
    if cache.exists():
        with np.load(cache) as stored:
            if str(stored["key"]) == key:
                return _unpack({name: stored[name] for name in stored.files})
    flat: dict[str, list[Array]] = {}
    for path in samples:
        for piece in _read(path, select, classes, keep, jt.load_bundle(model)):
            for name, values in piece.items():
                flat.setdefault(name, []).append(values)
    content: dict[str, Any] = {name: np.concatenate(values) for name, values in flat.items()}
    for part in MOST:  # an empty row for padding
        for kind in ("features", "vectors"):
            x = content[f"{part}_{kind}"]
            content[f"{part}_{kind}"] = np.concatenate([x, np.zeros((1, x.shape[1]), x.dtype)])
    np.savez(cache, key=key, **content)
    return _unpack(content)


def _unpack(content: Mapping[str, Array]) -> Jets:
    parts = {}
    for part in MOST:
        offsets = np.concatenate([[0], np.cumsum(content[f"{part}_counts"])])
        parts[part] = (offsets, content[f"{part}_features"], content[f"{part}_vectors"])
    front = "column:"
    return Jets({name[len(front) :]: values for name, values in content.items() if name.startswith(front)}, parts)


def _read(
    path: Path, select: str, classes: Mapping[str, str], keep: Sequence[str], bundle: Any, step: int = 2000
) -> Iterator[dict[str, Array]]:
    from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema
    from jettagger.processors.finetune_inputs import generator_labels

    opened = NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=PFNanoAODSchema, mode="virtual").events()
    for start in range(0, len(opened), step):
        events = opened[start : start + step]
        labels = generator_labels(events)
        table = JetTable(events, given={f"FatJet_{k}": ak.to_numpy(ak.flatten(v)) for k, v in labels.items()})

        def decide(text: str, table: JetTable = table) -> Array:
            expression = parse(text)
            found = expression.evaluate({name: table.values(name) for name in expression.names})
            return np.broadcast_to(np.asarray(found) != 0, table.n_jets)

        label = np.full(table.n_jets, -1)
        for number, text in enumerate(classes.values()):
            label[decide(text)] = number
        label[~decide(select)] = -1
        columns = {"label": label, "event": table.values("event")} | {name: table.values(name) for name in keep}
        for batch in jt.make_inputs(bundle, events, ak.unflatten(label >= 0, table.counts)):
            piece = {f"column:{name}": values[batch.jets] for name, values in columns.items()}
            for part, most in MOST.items():
                real = batch.inputs[f"{part}_mask"][:, 0, :most] > 0.5
                piece[f"{part}_counts"] = real.sum(axis=1)
                for kind, dtype in (("features", np.float16), ("vectors", np.float32)):
                    x = np.moveaxis(batch.inputs[f"{part}_{kind}"][:, :, :most], 1, 2)
                    piece[f"{part}_{kind}"] = x[real].astype(dtype)
            yield piece


@dataclass(frozen=True)
class Outcome:
    """A trained network.

    Parameters
    ----------
    scores : float32[test jets]
        Probability of class 0.
    parameters, epochs : int
    minutes : float
        CPU time.
    ended : str
        Why.
    """

    scores: Array
    parameters: int
    epochs: int
    minutes: float
    ended: str


def train(
    jets: Jets,
    weights: Array,
    chosen: Array,
    held: Array,
    test: Jets,
    network: str,
    *,
    minutes: float,
    threads: int,
    seed: int = 1,
) -> Outcome:
    """Train a network that tells two classes apart.

    Ends when the loss of the jets held out has not become lower for `PATIENCE` epochs, after `EPOCHS` epochs, or after
    ``minutes`` of CPU time; the learning rate falls along a cosine to the nearer of the latter two.

    Parameters
    ----------
    jets : Jets
    weights : float[jets]
    chosen, held : int arrays
        Jets that train, and that decide when to stop.
    test : Jets
        Those whose scores are returned.
    network : str
        One of `NETWORKS`.
    minutes : float
    threads, seed : int

    Returns
    -------
    Outcome
    """
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    whole = _network(torch, network)
    optimiser = torch.optim.AdamW(whole.parameters(), lr=RATE, weight_decay=0.02)
    label = torch.from_numpy(jets.columns["label"].astype(np.int64))
    weight = torch.from_numpy(weights.astype(np.float32))
    lengths = np.diff(jets.parts["pf"][0])

    def loss_of(rows: Array) -> Any:
        out = whole(*(torch.from_numpy(x) for x in jets.tensors(rows)))
        return torch.nn.functional.cross_entropy(out, label[rows], reduction="none") * weight[rows]

    rng = np.random.default_rng(seed)
    best, best_loss, since, epoch, steps = None, math.inf, 0, 0, 0
    start, ended = time.process_time(), ""
    total = EPOCHS * math.ceil(len(chosen) / BATCH)

    def progress() -> float:
        return max(steps / total, (time.process_time() - start) / (60 * minutes))

    while not ended:
        whole.train()
        for rows in _batches(chosen, lengths, rng):
            rate = RATE * min(1.0, (steps + 1) / 50) * 0.5 * (1 + math.cos(math.pi * min(progress(), 1.0)))
            for group in optimiser.param_groups:
                group["lr"] = rate
            loss = loss_of(rows).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(whole.parameters(), 1.0)
            optimiser.step()
            steps += 1
            if progress() >= 1:
                ended = f"{EPOCHS} epochs" if steps >= total else "time limit"
                break
        epoch += 1
        whole.eval()
        with torch.no_grad():
            found = float(sum(loss_of(rows).sum() for rows in _batches(held, lengths, rng)) / weight[held].sum())
        if found < best_loss:
            best, best_loss, since = {k: v.clone() for k, v in whole.state_dict().items()}, found, 0
        else:
            since += 1
            if since >= PATIENCE:
                ended = "validation loss"
        print(f"  {network}, {len(chosen)} jets, epoch {epoch}: validation loss {found:.4f}", flush=True)
    if best is not None:
        whole.load_state_dict(best)
    whole.eval()
    scores = np.empty(len(test.columns["label"]), dtype=np.float32)
    with torch.no_grad():
        for rows in _batches(np.arange(len(scores)), np.diff(test.parts["pf"][0]), rng):
            out = whole(*(torch.from_numpy(x) for x in test.tensors(rows)))
            scores[rows] = torch.softmax(out, dim=1)[:, 0].numpy()
    parameters = sum(item.numel() for item in whole.parameters())
    return Outcome(scores, parameters, epoch, (time.process_time() - start) / 60, ended)


def _network(torch: Any, name: str) -> Any:
    """From the tensors of `Jets.tensors` to two logits."""
    if name == "Particle Transformer":
        sys.path.insert(0, str(EMBEDDED))
        from network import N_HIDDEN, JetTransformer

        class Transformer(torch.nn.Module):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.backbone = JetTransformer(dropout=0.1)
                del self.backbone.head  # the 37 scores and the mass
                self.last = torch.nn.Linear(N_HIDDEN, 2)

            def forward(self, *tensors: Any) -> Any:
                return self.last(self.backbone.hidden(*tensors))

        return Transformer()

    def dense(*widths: int) -> Any:
        layers = []
        for before, after in itertools.pairwise(widths):
            layers += [torch.nn.Linear(before, after), torch.nn.GELU()]
        return torch.nn.Sequential(*layers)

    class DeepSet(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.each = torch.nn.ModuleList([dense(25, 48, 48), dense(11, 16, 16)])
            self.jet = torch.nn.Sequential(dense(128, 56), torch.nn.Dropout(0.1), torch.nn.Linear(56, 2))

        def forward(self, pf: Any, pf_p4: Any, pf_mask: Any, sv: Any, sv_p4: Any, sv_mask: Any) -> Any:
            parts = []
            for network, x, mask, typical in zip(self.each, (pf, sv), (pf_mask, sv_mask), (50.0, 2.0), strict=True):
                h = network(x.transpose(1, 2)) * mask.transpose(1, 2)
                parts += [h.sum(dim=1) / typical, h.amax(dim=1)]
            return self.jet(torch.cat(parts, dim=1))

    return DeepSet()


def _batches(rows: Array, lengths: Array, rng: np.random.Generator) -> Iterator[Array]:
    """All rows in random order, in batches of jets of similar length."""
    shuffled = rng.permutation(rows)
    for start in range(0, len(rows), 32 * BATCH):
        some = shuffled[start : start + 32 * BATCH]
        some = some[np.argsort(lengths[some], kind="stable")]
        cuts = np.split(some, range(BATCH, len(some), BATCH))
        yield from (cuts[i] for i in rng.permutation(len(cuts)))
