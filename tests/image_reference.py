"""Jet images by plain loops over jets and constituents, for comparison with `jettagger.images`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jettagger.images import ImageSettings

LATTICE = 2.0**-16
Point = list[float]


def make_jets(n_jets: int, seed: int, mean: float = 12.0) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """Random jets as flat columns with all columns of the presets, offsets, and columns of the jets."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(mean, n_jets)
    number = int(counts.sum())
    kind = rng.integers(0, 5, number)
    names = ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")
    columns: dict[str, Any] = {f"is{name}": kind == index for index, name in enumerate(names)}
    columns["charge"] = np.where(np.isin(kind, (0, 3, 4)), rng.choice([-1, 1], number), 0)
    columns["pt"] = rng.exponential(8.0, number).astype(np.float32)
    columns["deta"], columns["dphi"] = rng.normal(0, 0.3, (2, number)).astype(np.float32)
    columns["d0val"] = np.where(columns["charge"] != 0, rng.normal(0, 1, number), np.nan).astype(np.float32)
    jets = {
        "pt": rng.uniform(200, 900, n_jets),
        "eta": rng.uniform(-2.4, 2.4, n_jets),
        "phi": rng.uniform(-math.pi, math.pi, n_jets),
    }
    eta = np.repeat(jets["eta"], counts)
    eta = eta + np.where(eta > 0, 1, -1) * columns["deta"]
    columns["energy"] = (columns["pt"] * np.cosh(eta)).astype(np.float32)
    return columns, np.concatenate([[0], np.cumsum(counts)]), jets


def one_image(settings: ImageSettings, rows: list[dict[str, float]], jet: Mapping[str, float]) -> np.ndarray[Any, Any]:
    """The image of a jet, float64[channels, rows, columns], before the normalisation per pixel."""
    rows = [dict(row) for row in rows]
    if settings.granularity == "tracks":
        rows = [row for row in rows if row["charge"] != 0]
    for row in rows:
        for channel in settings.channels:
            row[f"in {channel.name}"] = float(channel.cut is None or bool(channel.cut.evaluate(row)))
            row[f"count {channel.name}"] = row[f"in {channel.name}"]
            if channel.mean is not None:
                value = float(channel.mean.evaluate(row))
                known = row[f"in {channel.name}"] and math.isfinite(value)
                row[f"count {channel.name}"] = float(known)
                row[f"value {channel.name}"] = value if known else 0.0
            else:
                base = {"pt": row["pt"], "energy": row.get("energy", 0.0), "count": 1.0}[channel.quantity]
                row[f"value {channel.name}"] = base * row[f"in {channel.name}"]
    if not settings.mirrored:
        for row in rows:
            row["deta"] *= 1 if jet["eta"] > 0 else -1
    if settings.granularity == "cells":
        rows = _cells(settings, rows, jet)
    points = _positions(settings, rows, jet)
    _, n_rows, n_columns = settings.shape
    eta_range, phi_range = settings.half_widths
    image = np.zeros(settings.shape)
    numbers = np.zeros(settings.shape)
    totals = {"pt": 0.0, "energy": 0.0, "count": 0.0}
    for row, (eta, phi) in zip(rows, points, strict=True):
        column = math.floor((eta + eta_range) * (n_columns / (2 * eta_range)))
        line = math.floor((phi + phi_range) * (n_rows / (2 * phi_range)))
        if not (0 <= column < n_columns and 0 <= line < n_rows):
            continue
        for quantity, value in (("pt", row["pt"]), ("energy", row.get("energy", 0.0)), ("count", 1.0)):
            totals[quantity] += value
        for index, channel in enumerate(settings.channels):
            image[index, line, column] += row[f"value {channel.name}"]
            numbers[index, line, column] += row[f"count {channel.name}"]
    for index, channel in enumerate(settings.channels):
        if channel.mean is not None:
            image[index] /= np.maximum(numbers[index], 1)
        elif settings.normalise in ("image", "both"):
            image[index] /= totals[channel.quantity] or 1.0
    return image


def _cells(settings: ImageSettings, rows: list[dict[str, float]], jet: Mapping[str, float]) -> list[dict[str, float]]:
    """Cells as constituents, in the order of calorimeters' numbers, which no sum here depends on."""
    assert settings.cells is not None
    sign = 1 if jet["eta"] > 0 or not settings.mirrored else -1
    found: dict[Any, dict[str, float]] = {}
    for row in rows:
        eta, phi = jet["eta"] + sign * row["deta"], jet["phi"] + row["dphi"]
        electromagnetic = bool(row["isPhoton"] or row["isElectron"])
        size = settings.cells.ecal_cell if electromagnetic else settings.cells.hcal_cell
        forward = abs(eta) >= 3
        size *= (5 if electromagnetic else 2) if forward else 1
        around = (phi + math.pi) % (2 * math.pi)
        place = (math.floor((eta + 6) / size), math.floor(around / size))
        centre_eta = -6 + (place[0] + 0.5) * size
        centre_phi = (place[1] * size + min((place[1] + 1) * size, 2 * math.pi)) / 2 - math.pi
        cell = found.setdefault((electromagnetic, forward, place), {"energy": 0.0})
        cell["deta"] = (centre_eta - jet["eta"]) * sign
        cell["dphi"] = math.remainder(centre_phi - jet["phi"], 2 * math.pi)
        cell["energy"] += row["energy"]
        cell["pt"] = cell["energy"] / math.cosh(centre_eta)
        for channel in settings.channels:
            value = row[f"value {channel.name}"]
            if channel.quantity == "pt":
                value = row["energy"] * row[f"in {channel.name}"] / math.cosh(centre_eta)
            for kind, number in (("value", value), ("count", row[f"count {channel.name}"])):
                cell[f"{kind} {channel.name}"] = cell.get(f"{kind} {channel.name}", 0.0) + number
            if channel.quantity == "count":
                cell[f"value {channel.name}"] = float(cell[f"count {channel.name}"] > 0)
    return list(found.values())


def _positions(settings: ImageSettings, rows: list[dict[str, float]], jet: Mapping[str, float]) -> list[Point]:
    steps = settings.steps
    points = [[row["deta"], row["dphi"]] for row in rows]
    pts = [row["pt"] for row in rows]
    total = math.fsum(pts)
    if not total:
        return points
    radius = steps.subjet_radius + 0.5 * LATTICE

    def centroid(members: list[int]) -> Point:
        weight = math.fsum(pts[member] for member in members) or 1.0
        return [math.fsum(pts[member] * points[member][axis] for member in members) / weight for axis in (0, 1)]

    everything = list(range(len(rows)))
    first = max(everything, key=lambda item: pts[item])
    cone = [item for item in everything if math.dist(points[item], points[first]) <= radius]
    leading = centroid(cone)
    rest = [item for item in everything if item not in cone]
    direction = None
    if rest:
        second = max(rest, key=lambda item: pts[item])
        near = [item for item in rest if math.dist(points[item], points[second]) <= radius]
        other = centroid(near)
        direction = [other[0] - leading[0], other[1] - leading[1]]
    centre = {"axis": [0.0, 0.0], "leading": leading, "centroid": centroid(everything)}[steps.centre]
    points = [[point[0] - centre[0], point[1] - centre[1]] for point in points]
    angle = 0.0
    rotated = by_axis = False
    if steps.rotate == "second" and direction is not None:
        angle = -math.pi / 2 - math.atan2(direction[1], direction[0])
        rotated = True
    elif steps.rotate != "none":
        moments = [
            [math.fsum(pt * point[i] * point[j] for pt, point in zip(pts, points, strict=True)) for j in (0, 1)]
            for i in (0, 1)
        ]
        values, vectors = np.linalg.eigh(np.array(moments))
        rotated = bool(values[1] - values[0] > max(1e-6 * values.sum(), LATTICE**2 * total))
        by_axis = rotated
        if rotated:
            angle = math.pi / 2 - math.atan2(vectors[1, 1], vectors[0, 1])
    scale = 1.0 if settings.zoom is None else jet["pt"] / settings.zoom
    cosine, sine = math.cos(angle) * scale, math.sin(angle) * scale
    points = [[cosine * x - sine * y, sine * x + cosine * y] for x, y in points]
    points = [[round(value / LATTICE) * LATTICE for value in point] for point in points]

    def lower_half(axis: int) -> bool:
        sums = [
            math.fsum(pt for pt, point in zip(pts, points, strict=True) if point[axis] * sign > 0) for sign in (1, -1)
        ]
        return sums[1] - sums[0] > 1e-6 * total

    if by_axis and lower_half(1):
        points = [[-x, -y] for x, y in points]
    for axis, name in enumerate(("eta", "phi")):
        if steps.flip in (name, "both") and lower_half(axis):
            points = [[-value if index == axis else value for index, value in enumerate(point)] for point in points]
    return points
