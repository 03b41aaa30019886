"""Compare a trained network with trees on jet shapes: the same training jets, the same test jets.

    python examples/sophon/compare.py --model mysophon/bundle/mysophon --train "jets/*.parquet" --test "test/*.parquet"

The trees (scikit-learn's histogram gradient boosting, default settings) get the momentum, pseudorapidity, soft-drop
mass and number of constituents of a jet, ratios of N-subjettiness, and how many tracks are displaced, how far, and what
part of the momentum they carry: a tagger that does without a network. Needs scikit-learn (extra ``train``).
"""

from __future__ import annotations

import argparse
import glob
import itertools
from collections.abc import Sequence

import awkward as ak
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

import jettagger as jt
from jettagger import jetclass2
from jettagger.discriminants import auc
from jettagger.files.tables import FlatFile
from jettagger.weaver import Values

COLUMNS = [
    *("jet_pt", "jet_eta", "jet_sdmass", "jet_nparticles", "jet_label", "jet_tau1", "jet_tau2", "jet_tau3", "jet_tau4"),
    *("part_px", "part_py", "part_d0val", "part_d0err", "part_charge", "part_isElectron", "part_isMuon"),
]


def shapes(jets: ak.Array) -> np.ndarray:
    """What the trees get, float64[jets, 13]."""
    pt = np.hypot(jets.part_px, jets.part_py)
    track = (jets.part_charge != 0) & (jets.part_d0err > 0)
    distance = ak.where(track, np.abs(jets.part_d0val) / ak.where(track, jets.part_d0err, 1), 0)
    displaced = distance > 3
    leptons = jets.part_isElectron | jets.part_isMuon
    columns = [
        jets.jet_pt,
        np.abs(jets.jet_eta),
        jets.jet_sdmass,
        jets.jet_nparticles,
        *(jets[f"jet_tau{n + 1}"] / ak.where(jets[f"jet_tau{n}"] > 0, jets[f"jet_tau{n}"], np.nan) for n in (1, 2, 3)),
        ak.sum(displaced, axis=1),
        ak.sum(distance > 10, axis=1),
        ak.fill_none(ak.max(distance, axis=1), 0),
        ak.sum(pt[displaced], axis=1) / jets.jet_pt,
        ak.sum(leptons, axis=1),
        ak.sum(pt[leptons], axis=1) / jets.jet_pt,
    ]
    return np.stack([ak.to_numpy(column).astype(np.float64) for column in columns], axis=1)


def read(patterns: Sequence[str], columns: Sequence[str] | None) -> ak.Array:
    """The jets of some files that have a class."""
    parts = []
    for path in sorted(path for pattern in patterns for path in glob.glob(pattern)):
        with FlatFile(path) as file:
            parts.append(file.read(columns))
    jets = ak.concatenate(parts)
    return jets[jets.jet_label >= 0]


def inside(jets: ak.Array, tagger: jt.Tagger) -> ak.Array:
    """The jets that pass the selection of the training."""
    config = tagger.bundle.weaver
    if config is None:
        raise SystemExit(f"{tagger.bundle.name} has no data configuration of weaver")
    return jets[Values(config, {name: jets[name] for name in jets.fields}).passes(config.selection, len(jets))]


def scores_of(table: ak.Array, present: np.ndarray) -> np.ndarray:
    """The network's scores of the classes of the sample, scaled to a sum of one: it knows 188, the trees only these."""
    names = [f"prob{jetclass2.LABELS[label].replace('_', '')}" for label in present]
    scores = np.stack([ak.to_numpy(ak.fill_none(table[name], 0)) for name in names], axis=1).astype(np.float64)
    return scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-30)


def grouped(scores: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Scores of the resonances that are there and of QCD as a whole."""
    qcd = np.isin(present, jetclass2.COARSE["QCD"])
    names = tuple(jetclass2.LABELS[label] for label in present[~qcd])
    return np.concatenate([scores[:, ~qcd], scores[:, qcd].sum(axis=1, keepdims=True)], axis=1), (*names, "QCD")


def area(truth: np.ndarray, scores: np.ndarray, signal: int, background: int) -> str:
    """Area under the curve of the ratio of two scores, with its statistical error, or its bound where all are apart."""
    ratio = scores[:, signal] / np.maximum(scores[:, signal] + scores[:, background], 1e-30)
    return str(auc(ratio[truth == signal], ratio[truth == background]))


def compare(tagger: jt.Tagger, train: ak.Array, test: ak.Array) -> list[tuple[str, ...]]:
    """Lines of the table: what is measured, the network, the trees."""
    present = np.unique(ak.to_numpy(train.jet_label))
    test = test[np.isin(ak.to_numpy(test.jet_label), present)]
    network, names = grouped(scores_of(tagger(test), present), present)

    def group_of(jets: ak.Array) -> np.ndarray:
        classes = [jetclass2.LABELS[label] for label in ak.to_numpy(jets.jet_label)]
        return np.array([names.index(name if name in names else "QCD") for name in classes])

    # the trees learn what is compared: rare kinds of QCD jets would only disturb them
    trees = HistGradientBoostingClassifier(random_state=1).fit(shapes(train), group_of(train))
    scores = [network, trees.predict_proba(shapes(test))]
    truth = group_of(test)
    lines: list[tuple[str, ...]] = [("jets of the test", str(len(test)), str(len(test)))]
    right = [values.argmax(axis=1) == truth for values in scores]
    shown = [f"{flags.mean():.4f} +- {np.sqrt(flags.mean() * (1 - flags.mean()) / len(flags)):.4f}" for flags in right]
    lines.append((f"accuracy among {', '.join(names)}", *shown))
    for one, other in itertools.combinations(range(len(names)), 2):
        if np.any(truth == one) and np.any(truth == other):
            values = [area(truth, array, one, other) for array in scores]
            lines.append((f"area under the curve, {names[one]} against {names[other]}", *values))
            # nothing is flattened: what the spectra of pt tell is in the lines above
            pt = ak.to_numpy(test.jet_pt)
            alone = str(auc(pt[truth == one], pt[truth == other]))
            lines.append((f"the same of pt alone, {names[one]} against {names[other]}", alone, alone))
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="M")
    parser.add_argument("--train", nargs="+", required=True, metavar="FILES", help="what the network was trained on")
    parser.add_argument("--test", nargs="+", required=True, metavar="FILES", help="other jets")
    args = parser.parse_args(argv)
    tagger = jt.load_tagger(args.model)
    train, test = inside(read(args.train, COLUMNS), tagger), inside(read(args.test, None), tagger)
    print("| | network | trees |\n|---|---|---|")
    for line in compare(tagger, train, test):
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main()
