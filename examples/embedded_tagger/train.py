"""Step 3: train the network on the prepared jets.

A loop of our own instead of weaver-core's: its Particle Transformer has batch norm, whose running statistics come
out wrong for padded batches by length, and its head cannot carry the mass scale that the regression needs; and its
environment is 2.7 GB beside this one's.

The learning rate follows the share of the time budget that is spent, so a run of any length ends annealed. A
checkpoint is written every few minutes; a run that is started again goes on from it. Averaged weights (EMA) are
what is kept in the end.

Usage: python train.py PREPARED_FOLDER CHECKPOINT.pt [--minutes 60] [--threads 2] [--no-flatten] [--seed 1]
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
    parser.add_argument("--minutes", type=float, default=60.0, help="time budget of the whole training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--epoch-jets", type=int, default=60_000, help="jets drawn between two looks at the folder")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--most-pf", type=int, default=80, help="candidates of a jet in training")
    parser.add_argument("--most-sv", type=int, default=6)
    parser.add_argument("--no-flatten", action="store_true", help="keep the spectra of pt and mass as generated")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


#: hadronic types whose response must not depend on the mass, together: first and last number
FLAT_RESPONSE = ((0, 2), (3, 5), (16, 19), (28, 29), (30, 31))
FEWEST, BIAS_WEIGHT = 6, 2.0


def bias(log_ratio: torch.Tensor, target: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Squared mean of the log response, and squared change of it over a standard deviation of the log mass.

    Of each group of hadronic types, weighted with its share of the jets. What a jet does not tell, a regression
    replaces by the average jet: light resonances come out too heavy and heavy ones too light, and a calibration would
    have to undo it afterwards.
    """
    total = log_ratio.new_zeros(())
    x, y = torch.log(target.clamp(min=1.0)), log_ratio.clamp(-1.0, 1.0)
    for first, last in FLAT_RESPONSE:
        chosen = (label >= first) & (label <= last) & (target > LOWEST_MASS)
        if int(chosen.sum()) >= FEWEST:
            dx = x[chosen] - x[chosen].mean()
            change = (dx * y[chosen]).mean() / (dx**2).mean().clamp(min=1e-3).sqrt()
            total = total + chosen.float().mean() * (y[chosen].mean() ** 2 + change**2)
    return total


def losses(
    model: JetTransformer, inputs: list[torch.Tensor], label: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of the types, the absolute log ratio of masses (its minimum is the median response), and bias."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, mass, _ = model(*inputs)
    types = torch.nn.functional.cross_entropy(logits.float(), label)
    known = target > LOWEST_MASS
    ratio = torch.log(mass.float().clamp(min=1.0) / target.clamp(min=1.0))
    negative = torch.relu(1.0 - mass.float())
    masses = ((ratio.abs() + negative) * known).sum() / known.sum().clamp(min=1)
    return types + masses + BIAS_WEIGHT * bias(ratio, target, label)


@torch.no_grad()
def validate(model: JetTransformer, sample: data.Sample, jets: np.ndarray, args: argparse.Namespace) -> str:
    """Accuracy and mass response on jets that are never drawn."""
    if not len(jets):
        return "no jets held out"
    model.eval()
    right, ratios, biases = 0, [], []
    for piece, inputs in data.make_batches(sample, jets, 512, args.most_pf, args.most_sv, None):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, mass, _ = model(*inputs)
        label = sample.columns["label"][piece]
        right += int((logits.argmax(dim=1).numpy() == label).sum())
        truth = sample.columns["genResonanceMass"][piece]
        good = (truth > 40) & (label < data.QCD[0])
        ratios.append(mass.float().numpy()[good] / truth[good])
        log_ratio = torch.log(mass.float().clamp(min=1.0) / torch.from_numpy(truth).clamp(min=1.0))
        biases.append(float(bias(log_ratio, torch.from_numpy(truth), torch.from_numpy(label))))
    model.train()
    responses = np.concatenate(ratios)
    if not len(responses):
        return f"accuracy {right / len(jets):.4f}"
    low, median, high = np.percentile(responses, [25, 50, 75])
    return (
        f"accuracy {right / len(jets):.4f}, mass response {median:.3f}, interquartile width "
        f"{(high - low) / median:.3f}, squared bias {np.mean(biases):.4f}"
    )


def main() -> None:
    """Train until the budget is spent."""
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    model = JetTransformer(dropout=0.1)
    average = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=0.05, betas=(0.9, 0.98))
    path = Path(args.checkpoint)
    spent, steps, drawn = 0.0, 0, 0
    if path.exists():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        spent, steps, drawn = state["spent"], state["steps"], state["drawn"]
        rng = np.random.default_rng([args.seed, steps])
        print(f"going on after {spent / 60:.1f} min, {steps} steps")
    budget = 60 * args.minutes

    def save() -> None:
        state = {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "spent": spent,
            "steps": steps,
            "drawn": drawn,
        }
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.rename(path)

    files = -1
    while spent < budget:
        found = len(list(Path(args.prepared).glob("*.npz")))
        if found != files:
            files = found
            sample = data.load(args.prepared)
            held_out = data.held_out(sample)
            weights = np.where(held_out, 0, data.flat_weights(sample, not args.no_flatten))
            weights /= weights.sum()
            checks = rng.permutation(np.flatnonzero(held_out))[:6000]
            label = torch.from_numpy(sample.columns["label"].astype(np.int64))
            target = torch.from_numpy(sample.columns["genResonanceMass"].astype(np.float32))
            print(f"{len(sample)} jets in {files} files, effective {1 / np.sum(weights**2):.0f}", flush=True)
        jets = rng.choice(len(sample), min(args.epoch_jets, 2 * len(sample)), p=weights)
        total, count, start = 0.0, 0, time.monotonic()
        for piece, inputs in data.make_batches(sample, jets, args.batch, args.most_pf, args.most_sv, rng):
            tick = time.monotonic()
            share = min(spent / budget, 1.0)
            warm = min((steps + 1) / 300, 1.0)
            for group in optimiser.param_groups:
                group["lr"] = args.rate * warm * (1e-2 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
            index = torch.from_numpy(piece)
            loss = losses(model, inputs, label[index], target[index])
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
            if spent > budget:
                break
        speed = len(jets) / (time.monotonic() - start)
        print(
            f"{spent / 60:6.1f} min, {drawn} jets drawn ({speed:.0f}/s), loss {total / count:.4f}, "
            f"{validate(average, sample, checks, args)}",
            flush=True,
        )
        save()
    save()


if __name__ == "__main__":
    main()
