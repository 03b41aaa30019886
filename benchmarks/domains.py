"""Two cards of the simulation as two domains: what a head's output says about them, with and without an adversary.

    python -m benchmarks.domains WORK/skims --json domains.json
    python -m benchmarks.domains --read domains.json --page docs

The folder holds skims of `examples/finetune/make_skims.py`, whose names begin with a process and a card:
``QCDlight-default-*.parquet``, ``QCDlight-worse-*.parquet`` (made with `worse_card.yaml`), and the same for the
signal. With ``--page`` the table goes into `decorrelation.md`. A head tells the
signal from multijets in jets of the first card, from hidden neurons; jets of the second card have no label in the
training. The plain head is compared with heads that play against a `domain_adversary`. All numbers are from events that
were not used in the training: rejection of multijets at a signal efficiency (first card), and the area under the ROC
curve of the referee, which tells the cards apart by the ranks of the output.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from jettagger.decorrelation import Judgement, domain_adversary, judge_domain
from jettagger.discriminants import Measured, roc
from jettagger.heads import fold_of
from jettagger.training import (
    Cosine,
    LoopSettings,
    Opponent,
    TrainingBatch,
    epoch_random,
    ramp,
    seeded,
    train_network,
)

#: where the table stands in decorrelation.md
PLACE = re.compile(r"(<!-- domains -->\n).*?(<!-- end of domains -->)", flags=re.DOTALL)

#: epochs in which the adversary learns alone, in which the strength rises, and all
WARMUP, RAMP, EPOCHS = 4, 10, 30


def read(folder: Path, process: str, card: str) -> tuple[Any, Any]:
    """Hidden neurons, float32[jets, neurons], and event numbers, int[jets]."""
    inputs, events = [], []
    for path in sorted(folder.glob(f"{process}-{card}-*.parquet")):
        skim = ak.from_parquet(path)
        names = sorted(name for name in skim.fields if "_hidNeurons" in name)
        keep = skim.FatJet_pt > 200
        if process.startswith("H"):
            keep = keep & (skim.FatJet_genResonance == 25)
        columns = [ak.to_numpy(ak.fill_none(ak.flatten(skim[name][keep]), np.nan)) for name in names]
        inputs.append(np.stack(columns, axis=1))
        events.append(np.repeat(ak.to_numpy(skim.event), ak.to_numpy(ak.sum(keep, axis=1))))
    x, event = np.concatenate(inputs).astype("f4"), np.concatenate(events)
    good = np.isfinite(x).all(axis=1)
    return x[good], event[good]


def load(folder: Path, signal: str, background: str, cards: Sequence[str]) -> dict[str, Any]:
    """Inputs, label, domain (1: second card), weights by which all processes and cards count the same, and fold."""
    parts = []
    for label, process in enumerate((background, signal)):
        for domain, card in enumerate(cards):
            x, event = read(folder, process, card)
            fold = fold_of(event, 4, salt=0)
            parts.append((x, np.full(len(x), label), np.full(len(x), domain), np.full(len(x), 1 / len(x)), fold))
    x, label, domain, weight, fold = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return {"x": x, "label": label, "domain": domain, "weight": weight * len(x) / 4, "fold": fold}


def train(jets: dict[str, Any], strength: float, seed: int) -> Any:
    """The outputs, float[n], of a head for all jets; jets of the second card have no label in its training."""
    chosen, held = np.flatnonzero(jets["fold"] > 1), np.flatnonzero(jets["fold"] == 1)
    mean, width = jets["x"][chosen].mean(axis=0), jets["x"][chosen].std(axis=0) + 1e-6
    x = np.clip((jets["x"] - mean) / width, -10, 10).astype("f4")

    def batch(rows: Any) -> TrainingBatch:
        return TrainingBatch((x[rows],), (jets["label"][rows], jets["domain"][rows]), jets["weight"][rows].astype("f4"))

    def batches(epoch: int) -> Iterator[TrainingBatch]:
        order = epoch_random(seed, 0, epoch).permutation(chosen)
        return (batch(order[first : first + 1024]) for first in range(0, len(order) - 1023, 1024))

    with seeded(seed, threads=1) as torch:
        nn = torch.nn

        def loss(outputs: Any, targets: Any, weights: Any) -> Any:
            label, domain = targets
            first = (domain == 0) * weights
            return nn.functional.cross_entropy(outputs, label, reduction="none") * first * 2

        network = nn.Sequential(
            nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
        )
        adversary = domain_adversary(lambda out: out[:, 1] - out[:, 0], lambda targets: targets[1])
        opponent = Opponent(adversary, ramp(strength, WARMUP, RAMP), steps=3, rate=5e-3, schedule=Cosine(0.1))
        settings = LoopSettings(EPOCHS, rate=1e-3, patience=EPOCHS, least_epochs=EPOCHS - 1)
        train_network(network, loss, batches, lambda: [batch(held)], settings, opponents=[opponent] if strength else [])
        with torch.no_grad():
            outputs = network(torch.from_numpy(x))
        return (outputs[:, 1] - outputs[:, 0]).numpy().astype("f8")


def measure(jets: dict[str, Any], score: Any, efficiency: float) -> tuple[Measured, Judgement]:
    """Rejection in the first card, and the referee's judgement."""
    test = jets["fold"] == 0
    first = test & (jets["domain"] == 0)
    curve = roc(score[first & (jets["label"] == 1)], score[first & (jets["label"] == 0)])
    return curve.rejection_at(efficiency), judge_domain(score[test], jets["domain"][test] == 1, jets["weight"][test])


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Train, print a table, and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--cards", nargs=2, default=["default", "worse"], help="default: %(default)s")
    parser.add_argument("--signal", default="HWW4q")
    parser.add_argument("--background", default="QCDlight")
    parser.add_argument("--strengths", type=float, nargs="*", default=[0, 1, 3, 10])
    parser.add_argument("--efficiency", type=float, default=0.8, help="of the signal (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--read", type=Path, help="numbers of an earlier run, instead of a folder")
    parser.add_argument("--page", type=Path, help="folder of decorrelation.md")
    args = parser.parse_args(arguments)
    if (args.folder is None) == (args.read is None):
        parser.error("expected either a folder or --read")
    made = json.loads(args.read.read_text(encoding="utf-8")) if args.read else run(args)
    if args.json:
        args.json.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    if args.page:
        page = args.page / "decorrelation.md"
        text, number = PLACE.subn(lambda match: match[1] + table(made) + match[2], page.read_text(encoding="utf-8"))
        if not number:
            raise SystemExit(f"{page} has no place for the table: <!-- domains -->")
        page.write_text(text, encoding="utf-8")
    return made


def table(made: dict[str, Any]) -> str:
    """The numbers as Markdown."""
    lines = [
        f"{made['signal']} against {made['background']}, {made['jets']} jets, {made['test']} of them for the test, "
        f"cards `{made['cards'][0]}` and `{made['cards'][1]}`:",
        "",
        f"| strength | rejection at {100 * made['efficiency']:g} % | AUC of the cards | standard errors above 0.5 |",
        "|---|---|---|---|",
    ]
    for row in made["heads"]:
        rejection, area = Measured(*row["rejection"]), Measured(*row["auc"])
        errors = (area.value - 0.5) / area.uncertainty
        lines.append(f"| {row['strength']:g} | {rejection} | {area} | {errors:.1f} |")
    return "\n".join(lines) + "\n"


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Train the heads of all strengths."""
    jets = load(args.folder, args.signal, args.background, args.cards)
    made = {key: getattr(args, key) for key in ("signal", "background", "cards", "efficiency")}
    made |= {"jets": len(jets["x"]), "test": int((jets["fold"] == 0).sum())}
    print(f"{made['jets']} jets, {made['test']} for the test")
    print(f"strength  {f'rejection at {100 * args.efficiency:g} %':<18}  AUC of the cards")
    rows = []
    for strength in args.strengths:
        rejection, judged = measure(jets, train(jets, strength, args.seed), args.efficiency)
        print(f"{strength:<8g}  {rejection!s:<18}  {judged.auc}", flush=True)
        assert judged.auc is not None
        rows.append(
            {
                "strength": strength,
                "rejection": [rejection.value, rejection.uncertainty],
                "auc": [judged.auc.value, judged.auc.uncertainty],
                "gain": [judged.gain.value, judged.gain.uncertainty],
            }
        )
    return {**made, "heads": rows}


if __name__ == "__main__":
    main()
