"""The folder of an explanation: numbers as JSON, tables as Markdown, pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.explain.clouds import JetClouds, as_table
from jettagger.explain.report import ExplainedGroup, Explanation
from jettagger.explain.tables import markdown
from jettagger.files import folder_complete_or_absent
from jettagger.images import ImageSettings
from jettagger.provenance import KEY, Provenance

__all__ = ["REPORT", "TABLES", "write_explanation"]

#: numbers, and the same as tables
REPORT, TABLES = "explanation.json", "explanation.md"

#: groups of jets in a picture
_GROUPS = 6

#: what the attributions of a method are called
_LABELS = {
    "saliency": "derivative of {target}",
    "gradient-input": "gradient x input of {target}",
    "integrated": "contribution to {target}",
    "occlusion": "change of {target}",
    "permutation": "change of {target}",
    "attention": "change of {target}",
}


def write_explanation(
    found: Explanation,
    bundle: Bundle,
    output: str | os.PathLike[str],
    provenance: Provenance,
    *,
    clouds: JetClouds | None = None,
    plots: bool = True,
    force: bool = False,
) -> tuple[str, ...]:
    """Write the folder, complete or not at all.

    Parameters
    ----------
    found : Explanation
    bundle : Bundle
        Of the model.
    output : path
    provenance : Provenance
    clouds : JetClouds, optional
        Jets to draw.
    plots : bool
    force : bool
        Whether an existing folder of an explanation is replaced.

    Returns
    -------
    tuple of str
        Names of the files.

    Raises
    ------
    OutputError
        If the folder exists and ``force`` is false, or cannot be written.
    """
    content = {**found.to_dict(), KEY: provenance.to_dict()}
    with folder_complete_or_absent(output, marker=REPORT, force=force) as folder:
        (folder / REPORT).write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
        (folder / TABLES).write_text(f"{markdown(found)}\n{provenance}\n", encoding="utf-8")
        if plots:
            _draw(found, bundle, folder, clouds)
        return tuple(sorted(path.name for path in folder.iterdir()))


def _draw(found: Explanation, bundle: Bundle, folder: Path, clouds: JetClouds | None) -> None:
    from jettagger.plots import (
        attention_maps,
        contribution_images,
        curve_styles,
        draw_jets,
        feature_maps,
        feature_ranking,
        fill_styles,
        save_figure,
        sufficiency_curves,
    )

    label = _LABELS[found.method].format(target=found.target)
    unit = f" [{found.unit}]" if found.unit not in ("", "1") else ""
    title = f"{found.model}, {found.method}"
    groups = {_title(group): group for group in found.groups[:_GROUPS]}
    of_groups, rankings = fill_styles(groups), dict[str, dict[str, Any]]()
    for group_title, group in groups.items():
        for ranking, rows in group.rankings.items():
            rankings.setdefault(ranking, {})[group_title] = {row.name: row.importance for row in rows}
    for ranking, bars in rankings.items():
        figure = feature_ranking(bars, label=f"mean |{label}|{unit}", title=title, styles=of_groups)
        save_figure(figure, folder / f"{ranking}.png")
    if found.losses:
        bars = {"": dict(found.losses)}
        save_figure(feature_ranking(bars, label="decrease of ln(rejection)", title=title), folder / "permutation.png")
    images = {group.name: group.image for group in bundle.groups if group.image is not None}
    for name, variables in found.variables.items():
        maps = {group_title: group.maps[name] for group_title, group in groups.items() if name in group.maps}
        if not maps:
            continue
        if name in images:
            figure = contribution_images(maps, images[name], quantity=f"{label}{unit}", title=title)
        else:
            order = f"constituent, {found.order}"
            figure = feature_maps(maps, variables, label=f"mean {label}{unit}", order=order, title=title)
        save_figure(figure, folder / f"map_{name}.png")
        if len(found.differences):
            _draw_differences(found, name, variables, label, folder, images.get(name))
    of_curves = curve_styles(name for curves in found.curves.values() for name in curves)
    for place, (name, curves) in enumerate(found.curves.items()):
        if place < _GROUPS:
            figure = sufficiency_curves(curves, label=f"mean {found.target}{unit}", title=name, styles=of_curves)
            save_figure(figure, folder / f"sufficient_{_file_name(name)}.png")
    for place, (name, layers) in enumerate(found.attention.items()):
        if place < _GROUPS:
            save_figure(attention_maps(layers, title=f"{title}: {name}"), folder / f"attention_{_file_name(name)}.png")
    if clouds is not None and clouds.jets:
        table = as_table(clouds.jets)
        figure = draw_jets(
            table,
            titles=clouds.titles,
            contributions=clouds.contributions,
            quantity=f"{label}{unit}",
            model=found.model,
        )
        save_figure(figure, folder / "jets.png")


def _draw_differences(
    found: Explanation,
    name: str,
    variables: tuple[str, ...],
    label: str,
    folder: Path,
    image: ImageSettings | None,
) -> None:
    """The map of the first sample minus that of the second."""
    from jettagger.plots import contribution_images, feature_maps, save_figure

    by_sample: dict[tuple[str, str], ExplainedGroup] = {(group.name, group.sample): group for group in found.groups}
    panels: Mapping[str, Any] = {
        item.name: np.subtract(*(by_sample[item.name, sample].absolute_maps[name] for sample in item.samples))
        for item in found.differences[:_GROUPS]
    }
    first, second = found.differences[0].samples
    title = f"|{label}|: {first} minus {second}"
    if image is not None:
        figure = contribution_images(panels, image, quantity="difference", title=title)
    else:
        figure = feature_maps(panels, variables, label="difference", order=f"constituent, {found.order}", title=title)
    save_figure(figure, folder / f"difference_{name}.png")


def _title(group: ExplainedGroup) -> str:
    return f"{group.sample}: {group.name}" if group.sample else group.name


def _file_name(text: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in text)[:80]


guard(globals(), "write_explanation")
