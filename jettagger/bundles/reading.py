"""Reading of a bundle: files are located, read, and checked against each other and against recorded checksums."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.card import BundleCard
from jettagger.bundles.checksums import compare, record
from jettagger.bundles.declaration import InputDeclaration, read_declared
from jettagger.bundles.folder import CARD, MODEL, PREPROCESS, find_files
from jettagger.bundles.identity import (
    compare_checksums,
    is_own,
    is_trusted,
    refuse_foreign,
    undeclared,
    warn_of_name,
)
from jettagger.bundles.interface import Group
from jettagger.bundles.known import known_card
from jettagger.bundles.onnx_inputs import behaviour_of, fit_groups
from jettagger.bundles.outputs import read_outputs
from jettagger.bundles.preprocess import read_groups
from jettagger.bundles.trials import require_trial
from jettagger.bundles.weaver_groups import weaver_groups, with_axes
from jettagger.errors import BundleError, UnknownName
from jettagger.files import refuse_special
from jettagger.files.jsonfile import read_object
from jettagger.sessions.graph import file_sha256, inspect
from jettagger.weaver import read_config

__all__ = ["read_bundle"]

#: keys of cards newer than digests stored by users, e.g. with heads: if unused, they do not change the digest
LATER_KEYS = frozenset({"jets"})


def read_bundle(folder: Path, *, accept: bool = False) -> Bundle:
    """Read and validate a folder; `Bundle.from_folder` without the translation of errors.

    Parameters
    ----------
    folder : pathlib.Path
    accept : bool
        Whether to accept files that have changed since the folder was first read.

    Returns
    -------
    Bundle

    Raises
    ------
    BundleError
        If a description is invalid, or if descriptions and ONNX file contradict each other.
    MissingModelFile
        If there is no input description.

    Warns
    -----
    RuntimeWarning
        If a file has changed, or the network differs from the known one of its name.
    """
    if not folder.is_dir():
        raise BundleError(f"{folder} is not a folder, expected one with {MODEL} and {PREPROCESS}")
    folder = folder.resolve()
    for path in sorted(folder.iterdir()):
        refuse_special(path, BundleError)
    files, source, card = find_files(folder)
    hashes = {source: file_sha256(files[source])}
    described = [f"{name} {file_sha256(path)}" for name, path in sorted(files.items()) if name != MODEL]

    def tried(sha256: str) -> None:
        if not is_trusted(folder, sha256):
            require_trial("bundle", folder, [sha256, *described])

    graph = inspect(files[MODEL], tried) if MODEL in files else None
    if graph is not None:  # that of the graph covers external data, too
        hashes[MODEL] = file_sha256(files[MODEL]) if graph.external else graph.sha256
    card, described_by = (card, CARD) if card is not None else _inferred(folder, hashes)
    compare_checksums(card, folder, hashes)
    warn_of_name(card, folder, hashes)
    kept = {} if is_own(folder) else undeclared(card, folder, files, hashes, graph)
    if not accept:
        compare(folder, kept)
    where, domain, empty_jets = str(files[source]), "", False
    if files[source].suffix == ".json":
        description, config = read_object(files[source], BundleError, finite=False), None
        if "groups" in description:
            declared, groups = read_declared(files[source], description)
            card = _completed(card, declared, where)
            notes = {"input description": f"declaration {declared.name}"}
            domain, empty_jets = declared.domain, declared.empty_jets
        else:
            notes = {"input description": "preprocess.json"}
            groups = read_groups(description, where, card.selection)
    else:
        config = read_config(files[source])
        notes = {"input description": "data configuration of weaver"}
        if config.selection is not None:
            notes["training selection"] = config.selection.text
        if graph is not None:
            config = config.keeping(tensor.name for tensor in graph.inputs)
        groups = weaver_groups(config)
        labels = config.labels
        # labels of type custom name targets, not classes
        names = list(labels.names) if labels is not None and labels.type == "simple" else None
        description = {"output_names": names}
        if "nonfinite" not in card.model_fields_set:
            card = card.model_copy(update={"nonfinite": "weaver"})
    groups = fit_groups(groups, graph, where)
    if config is not None:
        groups = with_axes(groups, graph)
    groups = _with_kinds(groups, card, where)
    outputs = read_outputs(card, description, graph, folder, source, lambda: behaviour_of(groups, graph))
    if config is None and MODEL in hashes:
        refuse_foreign(hashes[MODEL], groups, outputs, files[source], card)
    weights = graph.sha256 if graph is not None else ""
    said = card.model_dump_json(
        exclude={"sha256", "rounding", "selection", "lists", *(LATER_KEYS - card.model_fields_set)}
    )
    selections = [f"{group.name}: {group.selection}" for group in groups if group.selection]
    content = said + hashes[source] + weights + "; ".join(selections)
    if kept:
        record(folder, kept, accept=accept)
    return Bundle(
        folder=folder,
        card=card,
        groups=groups,
        outputs=outputs,
        graph=graph,
        digest=hashlib.sha256(content.encode()).hexdigest(),
        described_by=described_by,
        files=files,
        weaver=config,
        notes=notes,
        domain=domain,
        empty_jets=empty_jets,
    )


def _with_kinds(groups: tuple[Group, ...], card: BundleCard, where: str) -> tuple[Group, ...]:
    """Groups with the kinds of their lists in the card."""
    unknown = [name for name in card.lists if name not in {group.name for group in groups if not group.per_jet}]
    if unknown:
        known = [group.name for group in groups if not group.per_jet]
        raise UnknownName("input with a list of objects", unknown, known, f"lists of {CARD}")
    for group in groups:
        if group.kind and card.lists.get(group.name, group.kind) != group.kind:
            raise BundleError(f"{where} says that {group.name!r} is a {group.kind}, {CARD} a {card.lists[group.name]}")
    groups = tuple(replace(group, kind=card.lists.get(group.name, group.kind)) for group in groups)
    kinds: dict[str, str] = {}
    for group in groups:
        if group.kind and kinds.setdefault(group.axis, group.kind) != group.kind:
            raise BundleError(
                f"lists of {CARD}: inputs of {group.axis!r} have slots in common, some are sets, some not"
            )
    return groups


def _completed(card: BundleCard, declared: InputDeclaration, where: str) -> BundleCard:
    """A card completed with the declaration's information on jets."""
    if card.selection is not None:
        raise BundleError(
            f"{where} declares the selection of each input: remove 'selection' from {CARD}, it is for {PREPROCESS} only"
        )
    if "jets" in card.model_fields_set and card.jets != declared.jets:
        raise BundleError(f"{where} is for {declared.jets} jets, {CARD} says {card.jets}")
    return card.model_copy(update={"jets": declared.jets})


def _inferred(folder: Path, hashes: Mapping[str, str]) -> tuple[BundleCard, str]:
    """A card for a folder without one, and its origin."""
    if (card := known_card(hashes.values())) is not None:
        return card, "jettagger"
    name = re.sub(r"[^A-Za-z0-9_.+-]", "_", folder.name).lstrip("_.+-") or "model"
    prefix = re.sub(r"\W", "_", name)
    return BundleCard(schema_version=1, name=name, prefix=prefix if prefix[0].isalpha() else f"m_{prefix}"), "inferred"
