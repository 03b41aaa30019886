"""Step 3: train the network on the prepared jets.

A loop of our own instead of weaver-core's: its Particle Transformer has batch norm, whose running statistics come
out wrong for padded batches by length, and its head cannot carry the mass scale that the regression needs; and its
environment is 2.7 GB beside this one's.

The learning rate follows the share of the budget that is spent, so a run of any length ends annealed. The budget is
a time, or with --jets a number of jets drawn: then a slow machine takes longer and learns the same. A checkpoint is
written every few minutes; a run that is started again goes on from it. Averaged weights (EMA) are what is kept in the
end.

Usage: python train.py PREPARED_FOLDER CHECKPOINT.pt [--minutes 60 | --jets 1900000] [--threads 2]
           [--no-flatten] [--seed 1]
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path

import data
import numpy as np
import torch
from network import JetTransformer

#: GeV; below, the generator's soft-drop mass of QCD jets is no target
LOWEST_MASS = 10.0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared")
    parser.add_argument("checkpoint")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, default=60.0, help="time budget of the whole training")
    budget.add_argument("--jets", type=int, help="budget in jets drawn, instead of a time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--epoch-jets", type=int, default=60_000, help="jets drawn between two checks of the folder")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--most-pf", type=int, default=80, help="candidates of a jet in the first part of the training")
    parser.add_argument("--most-sv", type=int, default=6)
    parser.add_argument("--no-flatten", action="store_true", help="keep the spectra of pt and mass as generated")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


#: log response within which a jet counts as neither above nor below, and to which the loss is tilted
SOFT_SIGN, REACH = 0.03, 0.3

#: largest multiplier in the first third of the training, and then
MOST_TILTED = (0.9, 2.5)

#: GeV; beyond, at the edges of the generated range, an unbiased mass cannot be had
BIAS_EDGES = (30.0, 40.0, 60.0, 80.0, 100.0, 120.0, 140.0, 160.0, 180.0, 200.0, 220.0)


class MedianBalance(torch.nn.Module):
    """Keeps the median response of each hadronic type at one in each bin of the generated mass.

    What a jet does not tell, a regression replaces by the average jet: light resonances come out too heavy and heavy
    ones too light. Here the slope of the absolute loss is tilted per type and bin, until as many jets are above as
    below the generated mass: the multipliers of the constraint "the mean sign of the log response is zero", raised
    step by step (dual ascent). The mean of the response would not do: jets that lost a quark pull it down.

    Parameters
    ----------
    step : float
        Change of a multiplier for one jet.
    most : float
        Largest multiplier. Above one they outweigh the absolute loss itself, which jets need that look like those of
        another type: begin below, until the network knows the types.
    """

    def __init__(self, step: float = 0.01, most: float = 0.9) -> None:
        super().__init__()
        self.step, self.most = step, most
        position = torch.full((len(data.TYPES),), -1)
        position[list(data.HADRONIC)] = torch.arange(len(data.HADRONIC))
        self.register_buffer("position", position)
        self.register_buffer("edges", torch.tensor(BIAS_EDGES))
        self.register_buffer("tilt", torch.zeros(len(data.HADRONIC) * (len(BIAS_EDGES) - 1)))

    def cells(self, target: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Row of ``tilt`` of each jet, -1 for none."""
        column = torch.bucketize(target, self.edges, right=True) - 1
        inside = (column >= 0) & (column < len(BIAS_EDGES) - 1) & (self.position[label] >= 0)
        return torch.where(inside, self.position[label] * (len(BIAS_EDGES) - 1) + column, -1)

    def forward(self, log_ratio: torch.Tensor, target: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The tilted part of the loss of each jet; moves the multipliers."""
        cell = self.cells(target, label)
        chosen = cell >= 0
        # bounded, so that no jet runs away however large its multiplier
        bounded = REACH * torch.tanh(log_ratio / REACH)
        result = torch.where(chosen, self.tilt[cell.clamp(min=0)] * bounded, torch.zeros_like(log_ratio))
        with torch.no_grad():
            self.tilt.index_add_(0, cell[chosen], self.step * torch.tanh(log_ratio.detach()[chosen] / SOFT_SIGN))
            self.tilt.clamp_(-self.most, self.most)
        return result


#: from this part of the budget on, nothing is left out at random: masses are held to what whole jets give
SETTLED = 0.7

#: candidates and vertices of a jet from then on
SETTLED_LENGTHS = (112, 8)

#: of the mass against the types
MASS_WEIGHT = 2.0


def losses(
    model: JetTransformer,
    inputs: list[torch.Tensor],
    label: torch.Tensor,
    target: torch.Tensor,
    balance: MedianBalance,
) -> torch.Tensor:
    """Cross-entropy of the types, and the tilted absolute log ratio of the masses."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, mass, _ = model(*inputs)
    types = torch.nn.functional.cross_entropy(logits.float(), label)
    known = target > LOWEST_MASS
    ratio = torch.log(mass.float().clamp(min=1.0) / target.clamp(min=1.0))
    negative = torch.relu(1.0 - mass.float())
    masses = ratio.abs() + negative + balance(ratio, target, label)
    return types + MASS_WEIGHT * (masses * known).sum() / known.sum().clamp(min=1)


def settle(model: JetTransformer) -> None:
    """No more dropout."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


@torch.no_grad()
def validate(model: JetTransformer, sample: data.Sample, jets: np.ndarray) -> str:
    """Accuracy and mass response on jets that are never drawn."""
    if not len(jets):
        return "no jets held out"
    model.eval()
    right, responses, cells, balance = 0, [], [], MedianBalance()
    for piece, inputs in data.make_batches(sample, jets, 512, *SETTLED_LENGTHS, None):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, mass, _ = model(*inputs)
        label = sample.columns["label"][piece]
        right += int((logits.argmax(dim=1).numpy() == label).sum())
        truth = sample.columns["genResonanceMass"][piece].astype(np.float32)
        good = (truth > 40) & ~np.isin(label, data.QCD)
        responses.append(mass.float().numpy()[good] / truth[good])
        cells.append(balance.cells(torch.from_numpy(truth[good]), torch.from_numpy(label[good]).long()).numpy())
    model.train()
    response, cell = np.concatenate(responses), np.concatenate(cells)
    if not len(response):
        return f"accuracy {right / len(jets):.4f}"
    low, median, high = np.percentile(response, [25, 50, 75])
    medians = [np.median(response[cell == one]) for one in np.unique(cell[cell >= 0]) if np.sum(cell == one) >= 20]
    close = sum(abs(one - 1) < 0.05 for one in medians)
    return (
        f"accuracy {right / len(jets):.4f}, mass response {median:.3f}, interquartile width "
        f"{(high - low) / median:.3f}, medians of hadronic bins within 5 %: {close} of {len(medians)}"
    )


def main() -> None:
    """Train until the budget is spent."""
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    model = JetTransformer(dropout=0.1)
    average = copy.deepcopy(model)
    balance = MedianBalance()
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=0.05, betas=(0.9, 0.98))
    path = Path(args.checkpoint)
    spent, steps, drawn = 0.0, 0, 0
    if path.exists():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        balance.load_state_dict(state["balance"])
        optimiser.load_state_dict(state["optimiser"])
        spent, steps, drawn = state["spent"], state["steps"], state["drawn"]
        rng = np.random.default_rng([args.seed, steps])
        print(f"going on after {spent / 60:.1f} min, {steps} steps")

    def share() -> float:
        """Part of the budget that is spent."""
        return spent / (60 * args.minutes) if args.jets is None else drawn / args.jets

    def save() -> None:
        state = {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "balance": balance.state_dict(),
            "optimiser": optimiser.state_dict(),
            "spent": spent,
            "steps": steps,
            "drawn": drawn,
        }
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.rename(path)

    files = -1
    while share() < 1:
        found = len(list(Path(args.prepared).glob("*.npz")))
        if found != files:
            files = found
            sample = data.load(args.prepared)
            held_out = data.held_out(sample)
            weights = np.where(held_out, 0, data.flat_weights(sample, not args.no_flatten))
            weights /= weights.sum()
            checks = rng.permutation(np.flatnonzero(held_out))[:10_000]
            label = torch.from_numpy(sample.columns["label"].astype(np.int64))
            target = torch.from_numpy(sample.columns["genResonanceMass"].astype(np.float32))
            print(f"{len(sample)} jets in {files} files, effective {1 / np.sum(weights**2):.0f}", flush=True)
        jets = rng.choice(len(sample), min(args.epoch_jets, 2 * len(sample)), p=weights)
        drop, lengths = data.DROP, (args.most_pf, args.most_sv)
        if share() > SETTLED:
            settle(model)
            drop, lengths = 0.0, SETTLED_LENGTHS
        total, count, start = 0.0, 0, time.monotonic()
        for piece, inputs in data.make_batches(sample, jets, args.batch, *lengths, rng, drop):
            tick = time.monotonic()
            progress = min(share(), 1.0)
            warm = min((steps + 1) / 300, 1.0)
            balance.most = MOST_TILTED[progress > 1 / 3]
            for group in optimiser.param_groups:
                group["lr"] = args.rate * warm * (1e-2 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
            index = torch.from_numpy(piece)
            loss = losses(model, inputs, label[index], target[index], balance)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            steps += 1
            decay = min(0.998, steps / (steps + 20))
            with torch.no_grad():
                for kept, new in zip(average.parameters(), model.parameters(), strict=True):
                    kept.lerp_(new, 1 - decay)
            total += float(loss.detach())
            count += 1
            drawn += len(piece)
            spent += time.monotonic() - tick
            if share() >= 1:
                break
        speed = len(jets) / (time.monotonic() - start)
        print(
            f"{spent / 60:6.1f} min, {drawn} jets drawn ({speed:.0f}/s), loss {total / count:.4f}, "
            f"{validate(average, sample, checks)}",
            flush=True,
        )
        save()
    save()


if __name__ == "__main__":
    main()
