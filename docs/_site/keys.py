"""Pages of configuration files and cards: keys, version and JSON schema of each, from the models that check them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import BaseModel

from _site.links import written
from jettagger.cli.schema import FILES, model_of
from jettagger.config.keys import key_table, nested_models, version_of
from jettagger.config.models import fields_of, schema_of

#: kind of file -> how it is called in docs/formats.md, and the page that explains it
EXPLAINED = {
    "search": ("`search.yaml`", "search.md"),
    "finetune": ("`finetune.yaml`", "finetuning.md"),
    "decorrelate": ("`study.yaml`", "decorrelation.md"),
    "calibrate": ("`calibration.yaml`", "calibration.md"),
    "jec": ("configurations of `jettagger jec` (YAML)", "jec.md"),
    "jec-transforms": ("configurations of `jettagger jec` (YAML)", "jec.md"),
    "jec-sampling": ("configurations of `jettagger jec` (YAML)", "jec.md"),
    "assignment": ("options of `jettagger assignment train` (JSON)", "assignment.md"),
    "event-mapping": ("`inputs.yaml`", "assignment.md"),
    "card": ("`bundle.json`", "models.md"),
    "inputs": ("`inputs.json`", "models.md"),
    "assigner": ("`assigner.json`", "assignment.md"),
    "head": ("`head.json`", "finetuning.md"),
    "flavour": ("names of a production (YAML)", "pfnano.md"),
    "image": ("`image.yaml`", "images.md"),
    "mass-factors": ("`mass_factors.json`", "calibration.md"),
    "detector": ("detector card (YAML)", "simulation.md"),
}


def _compatibility(formats: str, name: str) -> list[str]:
    """Version and compatibility of a file, as the page of formats has them."""
    for line in formats.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("| "))]
        if cells[0] == name and len(cells) == 5:
            _, version, writer, reader, compatibility = cells
            return [f"- Version: {version}", f"- Written by: {writer}", f"- Read by: {reader}", f"- {compatibility}"]
        if cells[0] == name:
            return ["- No version.", f"- {cells[1]}"]
    raise ValueError(f"docs/formats.md has no row {name}")


def _tag(model: type[BaseModel]) -> str:
    """What tells one of several mappings in the same place: the keys that can have one value only."""
    tags = [
        f"`{name}: {get_args(field.annotation)[0]}`"
        for name, field in fields_of(model).items()
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
    ]
    return f" with {', '.join(tags)}" if tags else f" as {model.__name__}"


def key_page(kind: str, formats: str) -> str:
    """The page of one kind of file, in Markdown, as if it were in ``docs/``.

    Parameters
    ----------
    kind : str
        One of ``jettagger schema``.
    formats : str
        The content of ``docs/formats.md``.

    Returns
    -------
    str
    """
    model, (row, page) = model_of(kind), EXPLAINED[kind]
    title = row.partition(" (")[0].strip("`") if row.startswith("`") else kind
    lines = [f"# {title}", "", f"{FILES[kind][2][0].upper()}{FILES[kind][2][1:]}. [Explained here]({page}).", ""]
    lines += _compatibility(formats, row)
    lines += [f"- JSON schema: {{download}}`{kind}.schema.json`, the output of `jettagger schema {kind}`", ""]
    lines += ["## Keys", "", key_table(model), ""]
    nested = nested_models(model)
    for places, part in nested:
        kinds = [other for same, other in nested if same == places]
        heading = ", ".join(f"`{place}`" for place in places)
        lines += [f"## {heading}{_tag(part) if len(kinds) > 1 else ''}", "", key_table(part), ""]
    return "\n".join(lines)


def write_keys(folder: Path, formats: str, for_site: Callable[[str, str, str], str]) -> None:
    """Write the pages, their schemas and an index.

    Parameters
    ----------
    folder : Path
    formats : str
        The content of ``docs/formats.md``.
    for_site : callable
        Rewrites links of a page: text, its path in the repository and in the site.
    """
    rows = ["| file | what it is | version |", "|---|---|---|"]
    for kind, (_, _, description) in FILES.items():
        text = key_page(kind, formats)
        written(folder / f"{kind}.md", for_site(text, f"docs/{kind}.md", f"keys/{kind}.md"))
        schema = schema_of(model_of(kind), description)
        written(folder / f"{kind}.schema.json", json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
        version = version_of(model_of(kind))
        cell = "" if version is None else f"`{version[0]}` {version[1]}"
        rows.append(f"| [{text.splitlines()[0][2:]}]({kind}.md) | {description} | {cell} |")
    index = [
        "# Configuration files and cards",
        "",
        "Every file that users write, and the cards of models: all keys, the version, and the JSON schema for editors",
        "that complete keys and mark mistakes (`jettagger schema KIND` prints it). Unknown keys are errors. What a",
        "version means is in [File formats](../formats.md).",
        "",
        *rows,
        "",
        "```{toctree}",
        ":hidden:",
        "",
        *FILES,
        "```",
        "",
    ]
    written(folder / "index.md", "\n".join(index))
