"""A reader of cards of CMS combine for tests, and the rules by which combine computes expected events."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import uproot

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
            given = [values.get(argument, 1.0) for argument in arguments[0].split(",")]
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
