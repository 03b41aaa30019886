"""A reader of cards of CMS combine for tests, and the rules by which combine computes expected events."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from scipy.optimize import brentq, minimize

from jettagger.types import Floats

KINDS = ("shape", "shapeU", "shape?", "lnN")


def smooth(x: float) -> float:
    return math.copysign(1, x) if abs(x) >= 1 else 0.125 * x * (x * x * (3 * x * x - 10) + 15)


class Card:
    """A card and the rules of combine: morphing of normalised templates, log-normal yields, rate parameters."""

    def __init__(self, path: Path) -> None:
        lines = [line.split() for line in path.read_text().splitlines() if line[0] not in "#-"]
        self.comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
        rows: dict[str, list[list[str]]] = {}
        for line in lines:
            rows.setdefault(line[0], []).append(line[1:])
        self.bins = rows["bin"][0]
        self.observations = dict(zip(self.bins, map(float, rows["observation"][0]), strict=True))
        self.columns = list(zip(rows["bin"][1], rows["process"][0], strict=True))
        self.numbers = [int(number) for number in rows["process"][1]]
        self.statistics = [line[0] for line in lines if line[1] == "autoMCStats"]
        self.nuisances = {line[0]: (line[1], line[2:]) for line in lines if line[1] in KINDS}
        self.groups = {line[0]: line[3:] for line in lines if line[1:3] == ["group", "="]}
        self.rates = [line for line in lines if line[1:2] == ["rateParam"]]
        self.external = {line[0]: float(line[2]) for line in lines if line[1:2] == ["extArg"]}
        assert rows["imax"][0][0] == str(len(self.bins))
        assert rows["jmax"][0][0] == str(len(set(rows["process"][0])) - 1)
        assert all(len(cells) == len(self.columns) for _, cells in self.nuisances.values())
        self.shapes = rows["shapes"]
        self.names = set(uproot.open(path.parent / rows["shapes"][0][2]).keys(cycle=False))
        self.contents: dict[str, Floats] = {}
        self.root = uproot.open(path.parent / rows["shapes"][0][2])

    def histogram(self, band: str, process: str, systematic: str = "") -> Floats:
        (pattern,) = [row for row in self.shapes if row[0] == ("data_obs" if process == "data_obs" else "*")]
        text = pattern[4] if systematic else pattern[3]
        name = text.replace("$CHANNEL", band).replace("$PROCESS", process).replace("$SYSTEMATIC", systematic)
        if name not in self.contents:
            self.contents[name] = np.asarray(self.root[name].values(), dtype=np.float64)
        return self.contents[name]

    def rate(self, band: str, process: str, values: dict[str, float]) -> float:
        product = 1.0
        for name, _, channel, of, formula, *arguments in self.rates:
            if channel not in ("*", band) or of != process:
                continue
            if arguments[0].startswith("["):
                low, high = map(float, arguments[0].strip("[]").split(","))
                assert low <= float(formula) <= high
                product *= values.get(name, float(formula))
                continue
            given = [values.get(name, self.external.get(name, 1.0)) for name in arguments[0].split(",")]
            if formula.startswith("@0*("):  # a yield times a polynomial
                sums = re.findall(r"@(\d+)\*([0-9.]+(?:e[+-]\d+)?)", formula)
                assert formula == f"@0*({'+'.join(f'@{i}*{number}' for i, number in sums)})"
                assert len(sums) == len(given) - 1
                product *= given[0] * sum(given[int(i)] * float(number) for i, number in sums)
                continue
            terms = re.findall(r"\+\(1-@(\d+)\)\*([0-9.e-]+)", formula)
            assert formula == f"(1{''.join(f'+(1-@{i})*{ratio}' for i, ratio in terms)})"
            product *= 1 + sum((1 - given[int(i)]) * float(ratio) for i, ratio in terms)
        return product

    def expected(self, band: str, values: dict[str, float]) -> Floats:
        total: Any = 0.0
        for column, (channel, process) in enumerate(self.columns):
            if channel != band:
                continue
            nominal = self.histogram(band, process)
            shape, size = nominal / nominal.sum(), nominal.sum()
            morphed = shape.copy()
            for name, (kind, cells) in self.nuisances.items():
                if cells[column] == "-":
                    continue
                theta = values.get(name, 0.0)
                key = f"{channel}/{process}_{name}Up"
                if kind == "lnN" or (kind == "shape?" and key not in self.names):
                    size *= float(cells[column]) ** theta
                    continue
                alpha = theta * float(cells[column])
                up, down = (self.histogram(band, process, name + side) for side in ("Up", "Down"))
                size *= ((up if alpha > 0 else down).sum() / nominal.sum()) ** abs(alpha)
                up, down = up / up.sum(), down / down.sum()
                morphed += 0.5 * alpha * ((up - down) + (up + down - 2 * shape) * smooth(alpha))
            strength = values.get("r", 1.0) if self.numbers[column] <= 0 else 1.0
            total = total + morphed * size * strength * self.rate(band, process, values)
        return np.asarray(total)


def expected_limit(card: Card) -> float:
    """The median expected limit by the rules of combine alone, with its uncertainties of simulated events.

    The data are those expected without a signal, for which q-tilde is 1.96^2 at the median limit.
    """
    rates = {
        name: float(value) for name, _, _, _, value, *rest in card.rates if rest[0].startswith("[")
    } | card.external
    names = [*card.nuisances, *rates]
    start = np.array([0.0] * len(card.nuisances) + list(rates.values()))

    def variances(band: str, strength: float) -> Floats:
        total: Any = 0.0
        for (channel, process), number in zip(card.columns, card.numbers, strict=True):
            if channel == band:
                of_one = card.root[f"{band}/{process}"].variances()
                total = total + of_one * (strength**2 if number <= 0 else 1.0)
        return np.asarray(total)

    of_bands = {(band, strength): variances(band, strength) for band in card.bins for strength in (0.0, 1.0)}
    data = {band: card.expected(band, {"r": 0.0}) for band in card.bins}

    def deviance(parameters: Floats, strength: float) -> float:
        values = dict(zip(names, parameters, strict=True))
        total = float(np.square(parameters[: len(card.nuisances)]).sum())
        for band in card.bins:
            expected, seen = card.expected(band, {**values, "r": strength}), data[band]
            variance = of_bands[band, 0.0] + (of_bands[band, 1.0] - of_bands[band, 0.0]) * strength**2
            # the events of a bin that fit best: the root of a quadratic equation (Barlow and Beeston, 1993)
            half = (expected - variance) / 2
            events = half + np.sqrt(half**2 + variance * seen)
            pulls = np.square(events - expected) / np.where(variance > 0, variance, 1.0)
            if not (events > 0).all():
                return 1e10
            total += float((2 * (events - seen + seen * np.log(seen / events)) + pulls).sum())
        return total

    def excess(strength: float) -> float:
        best = minimize(deviance, start, (strength,), method="BFGS", options={"gtol": 1e-4})
        return math.sqrt(max(best.fun, 0.0)) - 1.959964

    return float(brentq(excess, 0.1, 10.0, rtol=1e-3))
