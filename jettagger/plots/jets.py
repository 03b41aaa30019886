"""Event displays of jets as point clouds in pseudorapidity and azimuth, with generator particles and highest scores.

Needs the extra ``plot``. Columns are those of JetClass-II; missing ones are left out of the display.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jettagger.arguments import Numbers, Records, guard
from jettagger.errors import InvalidValues, MismatchError, MissingColumns, require
from jettagger.features.cms import eta_sign
from jettagger.kinematics import delta_phi
from jettagger.plots.style import DIVERGING, SEQUENTIAL, canvas
from jettagger.types import Floats

__all__ = ["draw_jets", "highest"]


#: number of displayed scores
TOP = 5

#: end of the colour scale of displacements, in mm
LARGE = 2.0

_RESONANCE, _DECAY = "#7a0177", "#d94801"
#: shares of the jet's pt whose sizes are in the legend
_SHARES = (0.01, 0.1, 0.5)
#: colour of constituents without a finite contribution
_UNKNOWN = (0.6, 0.6, 0.6, 1.0)

_NEEDED = ("jet_pt", "part_px", "part_py", "part_deta", "part_dphi", "part_charge")
_GENERATOR = ("genpart_px", "genpart_py", "genpart_jet_deta", "genpart_jet_dphi", "genpart_pid")
_TRUTH = ("jet_eta", "jet_phi", "aux_genpart_eta", "aux_genpart_phi", "aux_genpart_pid")
_MARKERS = {"hadron": "o", "electron": "^", "muon": "v", "photon": "p"}
_NAMES = {
    1: "d", 2: "u", 3: "s", 4: "c", 5: "b", 6: "t", 11: "e", 12: r"$\nu$", 13: r"$\mu$", 14: r"$\nu$", 15: r"$\tau$",
    16: r"$\nu$", 21: "g", 22: r"$\gamma$", 23: "Z", 24: "W", 25: "H", 111: r"$\pi^0$", 211: r"$\pi$", 130: "K",
    310: "K", 321: "K",
}  # fmt: skip
_RESONANCES = (6, 23, 24, 25)
#: offset of labels from their particle, in points
_AROUND = ((11, 11), (11, -13), (-12, 11), (-12, -13), (24, 0), (-24, 0), (0, 24), (0, -26))
#: charged particles with a detectable lifetime
_CHARGED = (11, 13, 211, 321, 2212, 3112, 3222, 3312, 3334)


def highest(scores: Mapping[str, float | None], number: int = TOP) -> list[tuple[str, float]]:
    """The highest scores of a jet.

    Parameters
    ----------
    scores : mapping of str to float or None
        None if the jet was not scored.
    number : int

    Returns
    -------
    list of (name, score)
        In decreasing order; empty if the jet was not scored.

    Examples
    --------
    >>> highest({"probXbb": 0.2, "probXcc": 0.7, "probQCDb": 0.1}, 2)
    [('probXcc', 0.7), ('probXbb', 0.2)]
    """
    known = [(name, float(value)) for name, value in scores.items() if value is not None and np.isfinite(value)]
    return sorted(known, key=lambda item: -item[1])[:number]


def draw_jets(
    jets: Records,
    scores: Sequence[Mapping[str, float | None]] | None = None,
    titles: Sequence[str] | None = None,
    *,
    contributions: Sequence[Numbers] | None = None,
    quantity: str = "contribution",
    model: str = "",
) -> Any:
    """Draw jets, one per row.

    Parameters
    ----------
    jets : awkward array of records
        Columns of JetClass-II (GeV, mm).
    scores : sequence of mapping, optional
        Scores of each jet by name.
    titles : sequence of str, optional
        Title of each jet; default: transverse momentum, soft-drop mass and class.
    contributions : sequence of float[constituents], optional
        Signed numbers of each jet by which its constituents are coloured in place of the displacement, on one scale for
        all jets; those that are not finite are grey. Decay products then lie on the constituents, and generator
        particles are not drawn.
    quantity : str
        Name of the contributions, for the colour scale.
    model : str
        Name of the model of scores or contributions.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingColumns
        If the table lacks columns needed for a point cloud.
    InvalidValues
        If there are no jets.
    MismatchError
        If contributions do not have the lengths of jets and constituents.
    """
    missing = [name for name in _NEEDED if name not in jets.fields]
    if missing:
        raise MissingColumns(f"a point cloud needs the columns {', '.join(missing)}, which are missing")
    if not len(jets):
        raise InvalidValues("no jet to draw, expected at least one")
    require("matplotlib", "plot", "drawing jets")
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    shades = None if contributions is None else _checked(jets, contributions)
    generator = shades is None and all(name in jets.fields for name in _GENERATOR)
    truth = all(name in jets.fields for name in _TRUTH)
    columns = 1 + generator + (scores is not None)
    widths = [1.0] * (1 + generator) + [0.55] * (scores is not None)
    size = (5.2 * sum(widths) + 1.2, 5.0 * len(jets))
    figure, axes = canvas(len(jets), columns, width_ratios=widths, figsize=size)
    if shades is None:
        colours = ScalarMappable(Normalize(0, LARGE), SEQUENTIAL)
    else:
        bound = max((float(np.nanmax(np.abs(shade), initial=0.0)) for shade in shades), default=0.0) or 1.0
        colours = ScalarMappable(Normalize(-bound, bound), DIVERGING)
    top = None if scores is None else [highest(item) for item in scores]
    end = _end([value for bars in top or () for _, value in bars])
    for row, jet in enumerate(jets):
        reach = _reach(jet)
        title = titles[row] if titles is not None else _title(jet)
        _constituents(axes[row][0], jet, reach, colours, None if shades is None else shades[row])
        axes[row][0].set_title(title, fontsize=10)
        if generator:
            _particles(axes[row][1], jet, reach, colours)
        elif truth:
            _truth(axes[row][0], jet, reach)
        if top is not None:
            _bars(axes[row][-1], top[row], end, model)
    decays = truth and any(len(jet["aux_genpart_pid"]) for jet in jets)
    _legend(figure, decays, unknown=any(np.isnan(shade).any() for shade in shades or ()))
    if model and top is None:
        figure.suptitle(model, fontsize=11)
    where = axes[:, : 1 + generator].ravel().tolist()
    bar = figure.colorbar(
        colours, ax=where, shrink=0.8, aspect=25 * len(jets), extend="max" if shades is None else "neither",
        extendfrac=0.02, pad=0.01,
    )  # fmt: skip
    bar.set_label("displacement [mm]" if shades is None else quantity, fontsize=9)
    return figure


def _checked(jets: Any, contributions: Sequence[Any]) -> list[Floats]:
    """Contributions as numbers, one for each constituent; NaN for those that are not finite."""
    if len(contributions) != len(jets):
        raise MismatchError(f"there are contributions of {len(contributions)} jets, expected {len(jets)}")
    shades = []
    for row, (jet, values) in enumerate(zip(jets, contributions, strict=True)):
        shade = np.asarray(values, dtype=np.float64)
        if shade.shape != (len(jet["part_deta"]),):
            raise MismatchError(
                f"contributions of jet {row} have the shape {shade.shape}, expected one for each of its "
                f"{len(jet['part_deta'])} constituents"
            )
        shades.append(np.where(np.isfinite(shade), shade, np.nan))
    return shades


def _title(jet: Any) -> str:
    from jettagger.jetclass2 import LABELS

    parts = [f"$p_T$ = {jet['jet_pt']:.0f} GeV"]
    if "jet_sdmass" in jet.fields:
        parts.append(f"$m_{{SD}}$ = {jet['jet_sdmass']:.0f} GeV")
    if "jet_label" in jet.fields:
        label = int(jet["jet_label"])
        known = 0 <= label < len(LABELS)
        parts.append(LABELS[label].replace("_", " ") if known else "no class" if label == -1 else f"no label: {label}")
    return ", ".join(parts)


def _values(jet: Any, name: str) -> Floats:
    return np.asarray(jet[name]).astype(np.float64)


def _reach(jet: Any) -> float:
    """Half the width of the display, common to all panels, which contains most of the momentum."""
    if not len(jet["part_deta"]):
        return 0.85
    distance = np.maximum(np.abs(_values(jet, "part_deta")), np.abs(_values(jet, "part_dphi")))
    pt = np.hypot(_values(jet, "part_px"), _values(jet, "part_py"))
    return float(np.clip(1.05 * distance[pt > 0.002 * pt.sum()].max(initial=0.8), 0.85, 1.8))


def _displacement(*components: Floats) -> Floats:
    squares: Floats = sum((component**2 for component in components), np.zeros_like(components[0]))
    return np.sqrt(squares)


def _size(share: Any) -> Any:
    """Area of a marker in square points, from the share of the jet's pt."""
    return 12 + 900 * np.sqrt(np.clip(share, 0, 1))


def _cloud(axes: Any, x: Floats, y: Floats, pt: Floats, total: float, kinds: Any, charged: Any, colours: Any) -> None:
    # large ones first, so that they hide nothing
    size = _size(pt / max(total, 1e-9))
    shade = colours[0].to_rgba(np.minimum(colours[1], colours[0].norm.vmax))
    shade[~np.isfinite(colours[1])] = _UNKNOWN
    for index in np.argsort(-pt):
        face = shade[index] if charged[index] else "none"
        axes.scatter(
            x[index], y[index], s=size[index], marker=_MARKERS[kinds[index]], facecolor=face, edgecolor=shade[index],
            alpha=0.75, linewidth=1.2,
        )  # fmt: skip


def _constituents(axes: Any, jet: Any, reach: float, colours: Any, shade: Floats | None) -> None:
    pt = np.hypot(_values(jet, "part_px"), _values(jet, "part_py"))
    kinds = np.full(len(pt), "hadron", dtype=object)
    for kind in ("Electron", "Muon", "Photon"):
        if f"part_is{kind}" in jet.fields:
            kinds[_values(jet, f"part_is{kind}") > 0] = kind.lower()
    if shade is None:
        impact = [_values(jet, name) for name in ("part_d0val", "part_dzval") if name in jet.fields]
        shade = _displacement(*impact) if impact else np.zeros(len(pt))
    charged = _values(jet, "part_charge") != 0
    x, y = _values(jet, "part_deta"), _values(jet, "part_dphi")
    _cloud(axes, x, y, pt, float(jet["jet_pt"]), kinds, charged, (colours, shade))
    outside = int(np.count_nonzero((np.abs(x) > reach) | (np.abs(y) > reach)))
    more = f"; outside of the picture: {outside}" if outside else ""
    _frame(axes, reach, f"{len(pt)} constituents{more}")


def _particles(axes: Any, jet: Any, reach: float, colours: Any) -> None:
    pt = np.hypot(_values(jet, "genpart_px"), _values(jet, "genpart_py"))
    code = np.abs(_values(jet, "genpart_pid")).astype(int)
    kinds = np.full(len(pt), "hadron", dtype=object)
    for value, kind in ((11, "electron"), (13, "muon"), (22, "photon")):
        kinds[code == value] = kind
    vertex = [_values(jet, name) for name in ("genpart_x", "genpart_y") if name in jet.fields]
    displaced = _displacement(*vertex) if vertex else np.zeros(len(pt))
    x, y = _values(jet, "genpart_jet_deta"), _values(jet, "genpart_jet_dphi")
    _cloud(axes, x, y, pt, float(jet["jet_pt"]), kinds, np.isin(code, _CHARGED), (colours, displaced))
    outside = _truth(axes, jet, reach) if all(name in jet.fields for name in _TRUTH) else 0
    outside += int(np.count_nonzero((np.abs(x) > reach) | (np.abs(y) > reach)))
    more = f"; outside of the picture: {outside}" if outside else ""
    _frame(axes, reach, f"{len(pt)} generator particles{more}")


def _truth(axes: Any, jet: Any, reach: float) -> int:
    """Draw crosses with letters for the decay products; returns the number outside of the display."""
    axis = np.float64(jet["jet_eta"])
    x = eta_sign(np.asarray(axis)) * (_values(jet, "aux_genpart_eta") - axis)
    y = delta_phi(_values(jet, "aux_genpart_phi"), np.float64(jet["jet_phi"]))
    outside = 0
    places: list[tuple[float, float]] = []
    for index, code in enumerate(_values(jet, "aux_genpart_pid").astype(int)):
        if abs(x[index]) > reach or abs(y[index]) > reach:
            outside += 1
            continue
        letter = next(
            (
                role
                for role in "XY"
                if f"aux_genpart_isRes{role}" in jet.fields and jet[f"aux_genpart_isRes{role}"][index]
            ),
            "",
        )
        resonance = bool(letter) or abs(code) in _RESONANCES
        colour = _RESONANCE if resonance else _DECAY
        axes.scatter(x[index], y[index], marker="+" if resonance else "x", s=110, color=colour, linewidth=1.8, zorder=5)
        name = letter or _NAMES.get(abs(code), str(code))
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.6, "pad": 0.5}
        place = (float(x[index]), float(y[index]))
        # letters of particles that are close to each other stand around them
        near = sum(np.hypot(place[0] - other[0], place[1] - other[1]) < 0.12 * reach for other in places)
        places.append(place)
        settings = {"textcoords": "offset points", "color": colour, "fontsize": 11, "ha": "center", "va": "center"}
        axes.annotate(name, place, _AROUND[near % len(_AROUND)], **settings, zorder=6, bbox=box)
    return outside


def _frame(axes: Any, reach: float, text: str) -> None:
    axes.set(
        xlim=(-reach, reach), ylim=(-reach, reach), xlabel=r"$\Delta\eta$ (mirrored)", ylabel=r"$\Delta\phi$ [rad]"
    )
    axes.set_aspect("equal")
    axes.text(0.02, 0.02, text, transform=axes.transAxes, fontsize=9, color="#4a4a4a")


def _end(scores: Sequence[float]) -> float:
    """The end of the common axis of scores; low scores of many classes would be invisible on one up to one."""
    largest = max(scores, default=1.0)
    return 1.0 if 0.2 < largest <= 1 else 1.3 * largest or 1.0


def _bars(axes: Any, top: list[tuple[str, float]], end: float, model: str) -> None:
    if not top:
        axes.text(0.5, 0.5, "not scored", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    names = [name.removeprefix("prob") for name, _ in top][::-1]
    values = [value for _, value in top][::-1]
    title = f"{len(top)} highest scores{' of ' if model else ''}{model}"
    axes.barh(range(len(top)), values, height=0.35, color="#9ecae1", edgecolor="#08306b")
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        axes.text(0.02 * end, place + 0.22, f"{name}  {value:.3f}", va="bottom", fontsize=10)
    axes.set(xlim=(0, end), ylim=(-0.6, len(top) - 0.2), yticks=[], xlabel="score", title=title)
    axes.title.set_fontsize(10)
    axes.locator_params(axis="x", nbins=5)


def _legend(figure: Any, decays: bool, *, unknown: bool) -> None:
    """All kinds of constituents, charges, sizes as shares of the jet's pt, and decay products."""
    from matplotlib.lines import Line2D

    grey = "#4a4a4a"
    style: dict[str, Any] = {"color": "none", "markeredgecolor": grey, "markerfacecolor": "none", "markersize": 7}
    handles = [Line2D([], [], marker=marker, label=kind, **style) for kind, marker in _MARKERS.items()]
    handles.append(Line2D([], [], marker="o", label="charged: filled", **(style | {"markerfacecolor": grey})))
    handles.append(Line2D([], [], marker="o", label="neutral: open", **style))
    if unknown:
        handles.append(Line2D([], [], marker="o", label="no number", **(style | {"markeredgecolor": _UNKNOWN})))
    for share in _SHARES:
        sized = style | {"markersize": math.sqrt(_size(share))}
        handles.append(Line2D([], [], marker="o", label=f"{100 * share:g} % of $p_T$", **sized))
    if decays:
        for marker, colour, label in (("+", _RESONANCE, "resonance"), ("x", _DECAY, "decay product")):
            handles.append(Line2D([], [], marker=marker, label=label, **(style | {"markeredgecolor": colour})))
    columns = 6 if figure.get_figwidth() > 8 else 3
    layout = {"labelspacing": 1.4, "handlelength": 2.6, "fontsize": 9, "frameon": False}
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, **layout)


guard(globals())
