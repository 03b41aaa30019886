"""Figures of `benchmarks.architectures`: rejection over training jets and over pixels, and changes of the samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.architectures_names import CHANGES, TITLES
from benchmarks.rejections import EFFICIENCIES

__all__ = ["FIGURES", "draw", "figure_of_modelling", "figure_of_pixels", "figure_of_sizes", "lines_of"]

#: with the lines of the common style, one for each network: the numbers of both have no common divisor
MARKERS = ("o", "s", "^", "D", "v", "P", "<")

#: pixels along an axis -> end of the names of networks
PIXELS: Mapping[int, str] = {16: "-16", 32: "", 64: "-64"}

#: a curve: label -> [(x, (rejection, uncertainty, whether it is a lower limit)), ...]
Curves = Mapping[str, list[tuple[int, Sequence[Any]]]]


def _keys(networks: Mapping[str, Mapping[str, Any]], task: str) -> list[str]:
    """The rejection of each signal at the larger efficiency in the lowest range of pt, from the first background."""
    end = f", {EFFICIENCIES[task][-1]:g}"
    made: dict[str, str] = {}
    for key in next(iter(networks.values())):
        if key.endswith(end):
            made.setdefault(key.partition(" against ")[0], key)
    return list(made.values())


def _title(task: str, key: str) -> str:
    name, _, efficiency = key.rpartition(", ")
    return f"{task}: {name}, {float(efficiency):.0%}"


def curves_of_sizes(found: Mapping[str, Any]) -> dict[str, Curves]:
    """Title of a panel -> rejections over the number of training jets, of networks with more than one of them."""
    panels = {}
    for task, sizes in found["rejections"].items():
        (key, *_) = _keys(next(iter(sizes.values())), task)
        recipes = dict.fromkeys(recipe for networks in sizes.values() for recipe in networks)
        curves = {
            TITLES[recipe]: [
                (int(size), networks[recipe][key]) for size, networks in sizes.items() if recipe in networks
            ]
            for recipe in TITLES
            if recipe in recipes
        }
        curves = {name: points for name, points in curves.items() if len(points) > 1}
        if curves:
            panels[_title(task, key)] = curves
    return panels


def curves_of_pixels(found: Mapping[str, Any]) -> dict[str, Curves]:
    """Title of a panel -> rejections over pixels along an axis, at the largest training that has several of them."""
    panels: dict[str, Curves] = {}
    for task, sizes in found["rejections"].items():
        for size, networks in sizes.items():
            for key in _keys(networks, task):
                curves = {}
                for channels in (1, 6):
                    names = {pixels: f"cnn{channels}{end}" for pixels, end in PIXELS.items()}
                    points = [(pixels, networks[name][key]) for pixels, name in names.items() if name in networks]
                    if len(points) > 1:
                        curves[f"{channels} channel{'s' * (channels > 1)}"] = points
                if curves:
                    title = _title(task, key)
                    panels = {name: made for name, made in panels.items() if not name.startswith(f"{title}\n")}
                    panels[f"{title}\n{int(size):,} training jets"] = curves
    return panels


def _draw_curves(panels: Mapping[str, Curves], label: str, base: int) -> Any:
    """A panel for each title; points of curves beside each other, limits as open arrows."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    from jettagger.plots import process_styles
    from jettagger.plots.style import canvas, drawing

    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    styles = process_styles(names)
    with drawing(font_size=12, legend_fontsize=10):
        figure, axes_of_all = canvas(1, len(panels), figsize=(1.2 + 4.2 * len(panels), 5.4))
        for axes, (title, curves) in zip(axes_of_all[0], panels.items(), strict=True):
            ticks = sorted({number for points in curves.values() for number, _ in points})
            span = ticks[-1] / ticks[0]
            for rank, (name, points) in enumerate(curves.items()):
                place = names.index(name)
                colour, line = styles[name].colour, styles[name].line
                shift = span ** (0.012 * (rank - (len(curves) - 1) / 2))  # bars side by side
                x = [shift * number for number, _ in points]
                values, sigmas = [cell[0] for _, cell in points], [cell[1] for _, cell in points]
                marker = MARKERS[place % len(MARKERS)]
                axes.errorbar(x, values, sigmas, color=colour, linestyle=line, marker=marker, markersize=5, label=name)
                limits = [(at, cell[0]) for at, (_, cell) in zip(x, points, strict=True) if cell[2]]
                if limits:
                    axes.plot(*zip(*limits, strict=True), "^", color=colour, markersize=13, fillstyle="none")
            axes.set_xscale("log", base=base)
            axes.set_yscale("log")
            axes.xaxis.set_major_locator(FixedLocator(ticks))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.0f}"))
            for which in ("major", "minor"):
                getattr(axes.yaxis, f"set_{which}_formatter")(FuncFormatter(lambda number, _: f"{number:g}"))
            axes.tick_params(axis="y", which="both", labelsize=10)
            axes.set_title(title, fontsize=11)
            axes.set_xlabel(label)
        axes_of_all[0][0].set_ylabel("rejection")
        handles = _handles(axes_of_all[0])
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=min(4, len(handles)))
    return figure


def _handles(axes_of_all: Any) -> dict[str, Any]:
    """What a legend of all panels has."""
    return {name: line for axes in axes_of_all for line, name in zip(*axes.get_legend_handles_labels(), strict=True)}


def figure_of_sizes(found: Mapping[str, Any]) -> Any:
    """Rejection against the number of training jets, a panel for each task; None without such results.

    Parameters
    ----------
    found : mapping
        Of `benchmarks.architectures_page.summary`.

    Returns
    -------
    matplotlib figure or None
    """
    panels = curves_of_sizes(found)
    return _draw_curves(panels, "training jets", 10) if panels else None


def figure_of_pixels(found: Mapping[str, Any]) -> Any:
    """Rejection against the size of images, a panel for each signal; None without such results."""
    panels = curves_of_pixels(found)
    return _draw_curves(panels, "pixels along an axis", 2) if panels else None


def points_of_modelling(found: Mapping[str, Any]) -> dict[str, dict[str, Mapping[str, Sequence[Any]]]]:
    """Title of a panel -> title of a network -> ratios, at the largest training of the task with other samples."""
    panels = {}
    for task, sizes in found["modelling"].items():
        size, networks = list(sizes.items())[-1]
        rows = {TITLES[name]: made["ratios"] for name, made in networks.items() if made["ratios"]}
        if rows:
            panels[f"{task}, {int(size):,} training jets"] = rows
    return panels


def figure_of_modelling(found: Mapping[str, Any]) -> Any:
    """Ratios of rejections with another test and another training sample, a panel for each task; None without any.

    Parameters
    ----------
    found : mapping
        Of `benchmarks.architectures_page.summary`.

    Returns
    -------
    matplotlib figure or None
    """
    panels = points_of_modelling(found)
    if not panels:
        return None
    from jettagger.plots.style import LINES, canvas, drawing

    variants = [name for name in CHANGES if name != "default"]
    kinds = [
        (f"{what}: {CHANGES[variant]}", pattern.format(variant), place, filled)
        for place, variant in enumerate(variants)
        for what, pattern, filled in (("test", "default on {}", "full"), ("training", "{} on default", "none"))
    ]
    height = 1.6 + 0.6 * max(len(rows) for rows in panels.values())
    with drawing(font_size=12, legend_fontsize=10):
        figure, axes_of_all = canvas(1, len(panels), figsize=(2.0 + 5.0 * len(panels), height + 0.8))
        for axes, (title, rows) in zip(axes_of_all[0], panels.items(), strict=True):
            for rank, (label, key, place, filled) in enumerate(kinds):
                points = [(row, ratios[key]) for row, ratios in enumerate(rows.values()) if key in ratios]
                if not points:
                    continue
                y = [row + 0.12 * (rank - (len(kinds) - 1) / 2) for row, _ in points]
                colour, _ = LINES[place]
                axes.errorbar(
                    [cell[0] for _, cell in points], y, xerr=[cell[1] for _, cell in points], linestyle="none",
                    color=colour, marker=MARKERS[place], markersize=6, fillstyle=filled, label=label,
                )  # fmt: skip
            axes.axvline(1, color="0.6", linewidth=1, zorder=0)
            axes.set_yticks(range(len(rows)), list(rows), fontsize=10)
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.tick_params(axis="y", which="both", length=0)
            axes.minorticks_off()
            axes.set_title(title, fontsize=11)
            axes.set_xlabel("rejection / that with default in both")
        handles = _handles(axes_of_all[0])
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=min(len(handles), 3))
    return figure


#: name -> how it is drawn, how one knows that there are results, and what it shows
FIGURES: Mapping[str, tuple[Callable[..., Any], Callable[..., Any], str]] = {
    "sizes": (figure_of_sizes, curves_of_sizes, "Rejection of each network against the number of training jets"),
    "pixels": (figure_of_pixels, curves_of_pixels, "Rejection of convolutions against the size of images"),
    "modelling": (
        figure_of_modelling,
        points_of_modelling,
        "Rejection with another test or training sample, relative to that with the default in both",
    ),
}


def draw(found: Mapping[str, Any], folder: Path) -> None:
    """Write the figures for which there are results; those of earlier results are removed.

    Parameters
    ----------
    found : mapping
        Of `benchmarks.architectures_page.summary`.
    folder : pathlib.Path
    """
    for name, (make, points, _) in FIGURES.items():
        path = folder / f"architectures_{name}.png"
        if not points(found):
            path.unlink(missing_ok=True)
            continue
        from jettagger.plots import save_figure

        save_figure(make(found), path)


def lines_of(found: Mapping[str, Any]) -> dict[str, str]:
    """Name of a marker -> the figure in the page, empty without results."""
    return {
        f"figure_{name}": f"![{text}](architectures_{name}.png)" if points(found) else ""
        for name, (_, points, text) in FIGURES.items()
    }
