"""The baseline: gradient-boosted trees on the classic substructure, trained on the same jets as the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from data import Sample, flat_weights, held_out, prepared_files, read
from sklearn.ensemble import HistGradientBoostingClassifier

import jettagger as jt

__all__ = ["VARIABLES", "load_table", "substructure", "train"]

#: what the trees see; significances are three-dimensional impact parameters over their uncertainties, largest first
VARIABLES = (
    "pt", "soft-drop mass", "tau2/tau1", "tau3/tau2", "tau4/tau3", "candidates", "charged candidates",
    "electrons", "muons",
    "significance 1", "significance 2", "significance 3", "significance 4", "secondary vertices",
)  # fmt: skip
N_LEADING = 4


def substructure(sample: Sample, chunk: int = 10_000) -> np.ndarray:
    """The variables of the trees.

    Parameters
    ----------
    sample : Sample
    chunk : int
        Jets at a time.

    Returns
    -------
    float32[jets, variables]
    """
    groups = {group.name: group for group in jt.load_bundle("inclParTMDV1").groups}
    names = [variable.feature.name for variable in groups["pf_features"].variables]
    column = {name: sample.pf[:, names.index(f"pfcand_{name}")] for name in ("charge", "isEl", "isMu", "btagSip3dSig")}
    columns = sample.columns
    result = np.empty((len(sample), len(VARIABLES)), dtype=np.float32)
    result[:, 0], result[:, 1] = columns["pt"], columns["msoftdrop"]
    for index in (1, 2, 3):
        result[:, 1 + index] = columns[f"tau{index + 1}"] / np.maximum(columns[f"tau{index}"], 1e-6)
    counts, starts = columns["n_pf"].astype(np.int64), sample.starts("pf")
    result[:, 5] = counts
    for first in range(0, len(sample), chunk):
        jets = slice(first, first + chunk)
        slot = np.arange(max(int(counts[jets].max()), N_LEADING))
        real = slot < counts[jets][:, np.newaxis]
        rows = np.where(real, starts[jets][:, np.newaxis] + slot, 0)
        for position, name in ((6, "charge"), (7, "isEl"), (8, "isMu")):
            result[jets, position] = ((column[name][rows] != 0) & real).sum(axis=1)
        displaced = real & (column["charge"][rows] != 0)
        significance = np.where(displaced, column["btagSip3dSig"][rows].astype(np.float32), -np.inf)
        leading = -np.partition(-significance, N_LEADING - 1, axis=1)[:, :N_LEADING]
        result[jets, 9:13] = -np.sort(-np.where(np.isfinite(leading), leading, np.nan), axis=1)
    result[:, 13] = columns["n_sv"]
    return result


def load_table(folder: Path, most_jets: int | None = None, seed: int = 1) -> tuple[Sample, np.ndarray]:
    """Jet columns and tree variables of all prepared files, one file in memory at a time; held-out jets are left out.

    Parameters
    ----------
    folder : Path
    most_jets : int, optional
        A random subset of so many.
    seed : int

    Returns
    -------
    Sample
        Without constituents.
    float32[jets, variables]
    """
    columns, tables = [], []
    for path in prepared_files(folder):
        sample = read(path)
        used = ~held_out(sample)
        tables.append(substructure(sample)[used])
        columns.append({name: values[used] for name, values in sample.columns.items()})
    if not tables:
        raise SystemExit(f"no prepared files in {folder}")
    merged = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    table = np.concatenate(tables)
    if most_jets is not None and len(table) > most_jets:
        chosen = np.random.default_rng(seed).permutation(len(table))[:most_jets]
        merged, table = {name: values[chosen] for name, values in merged.items()}, table[chosen]
    nothing = np.zeros((0, 1))
    return Sample(merged, nothing, nothing, nothing, nothing), table


def train(
    sample: Sample, table: np.ndarray, signal: tuple[int, ...], qcd: np.ndarray, seed: int = 1
) -> HistGradientBoostingClassifier:
    """One signal against multijets, flat in the plane of pt and mass that the network was trained in.

    Parameters
    ----------
    sample : Sample
    table : float32[jets, variables]
    signal : tuple of int
        Labels.
    qcd : float64[jets]
        Weights of multijets.
    seed : int

    Returns
    -------
    HistGradientBoostingClassifier
        Column 1 of ``predict_proba`` is the discriminant.
    """
    label = sample.columns["label"]
    is_signal = np.isin(label, signal)
    of_signal = np.where(is_signal, flat_weights(sample), 0.0)
    weights = of_signal / of_signal.sum() + qcd / qcd.sum()
    jets = np.flatnonzero(weights > 0)
    weights = weights[jets] / weights[jets].mean()
    tree = HistGradientBoostingClassifier(
        max_iter=400, learning_rate=0.06, max_leaf_nodes=24, min_samples_leaf=40, l2_regularization=1.0,
        early_stopping=True, validation_fraction=0.1, n_iter_no_change=20, random_state=seed,
    )  # fmt: skip
    tree.fit(table[jets], is_signal[jets], sample_weight=weights)
    return tree
