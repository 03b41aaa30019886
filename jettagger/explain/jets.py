"""Inputs of jets as a network takes them, with the constituent in each slot and its values before standardisation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.interface import IMAGE_LAYOUT, LAYOUT, Group
from jettagger.display import Brief
from jettagger.errors import MismatchError, UnknownName
from jettagger.inference.padding import as_run
from jettagger.inputs.batching import BATCH_SIZE, IMAGE_BYTES, feature_of, make_batches, tabulate
from jettagger.inputs.group_rows import entering
from jettagger.inputs.source import Request, family_of
from jettagger.tagging.tagger import Tagger
from jettagger.types import Array

__all__ = ["JetInputs", "arranged_as", "canonical", "families_of", "jet_inputs", "joined_inputs", "names_of_group"]


def canonical(array: Array, group: Group) -> Array:
    """An input tensor with its axes in one order for all networks.

    Parameters
    ----------
    array : array[jets, ...]
        With the axes of the group, or those of the jets' gradients.
    group : Group

    Returns
    -------
    array[jets, variables, objects]
        Of an image [jets, channels, rows, columns].

    Examples
    --------
    >>> from jettagger import load_bundle
    >>> from dataclasses import replace
    >>> group = replace(load_bundle("tinyParT").groups[0], layout=("jets", "objects", "variables"))
    >>> canonical(np.zeros((2, 16, 25)), group).shape
    (2, 25, 16)
    """
    axes = IMAGE_LAYOUT if group.image is not None else LAYOUT
    ones = tuple(place for place, name in enumerate(group.layout) if name not in axes)
    array = array.squeeze(axis=ones) if ones else array
    present = [name for name in group.layout if name in axes]
    array = array.transpose([present.index(name) for name in axes if name in present])
    for place, name in enumerate(axes):
        if name not in present:
            array = np.expand_dims(array, place)
    return array


def arranged_as(array: Array, group: Group) -> Array:
    """The inverse of `canonical`: a tensor as the network takes it.

    Parameters
    ----------
    array : array[jets, variables, objects]
        Of an image [jets, channels, rows, columns].
    group : Group

    Returns
    -------
    float32[jets, ...]
        Contiguous, with the axes of the group.
    """
    from jettagger.bundles.interface import arranged, arranged_images

    array = np.asarray(array, dtype=np.float32)
    return arranged_images(array, group.layout) if group.image is not None else arranged(array, group.layout)


def families_of(bundle: Bundle) -> dict[str, tuple[str, ...]]:
    """Lists of objects in the file -> the groups of a network whose slots hold them; no images.

    Parameters
    ----------
    bundle : Bundle

    Returns
    -------
    dict of str to tuple of str
        ``pf``, ``sv``, ``jet``; with a data configuration of weaver ``part``, ``jet``.

    Examples
    --------
    >>> from jettagger import load_bundle
    >>> families_of(load_bundle("tinyParT"))["sv"]
    ('sv_features', 'sv_vectors', 'sv_mask')
    """
    found: dict[str, list[str]] = {}
    for group in bundle.groups:
        if group.image is None:
            found.setdefault(family_of(bundle, group), []).append(group.name)
    return {family: tuple(names) for family, names in found.items()}


def names_of_group(group: Group) -> tuple[str, ...]:
    """What an input has of each object: its variables; of an image its channels, of a mask nothing.

    Parameters
    ----------
    group : Group

    Returns
    -------
    tuple of str
        In the order of the second axis of `canonical`.

    Examples
    --------
    >>> from jettagger import load_bundle
    >>> [names_of_group(group)[:2] for group in load_bundle("tinyParT").groups[:3]]
    [('pfcand_pt_log_nopuppi', 'pfcand_e_log_nopuppi'), ('pfcand_px', 'pfcand_py'), ()]
    """
    if group.image is not None:
        return tuple(channel.name for channel in group.image.channels)
    return () if group.is_mask else tuple(variable.feature.name for variable in group.variables)


@dataclass(frozen=True)
class JetInputs(Brief):
    """The inputs of some jets.

    Parameters
    ----------
    bundle : Bundle
        With the lengths with which its network runs.
    jets : int64[n]
        Indices of the jets among all jets of the events.
    values : mapping of str to float32[n, variables, length]
        Group -> its tensor; of an image [n, channels, rows, columns].
    ranks : mapping of str to int64[n, length]
        Group -> place of the object in each slot in the list of its jet in the file; -1 for empty slots. Images have
        none.
    raw : mapping of str to float32[n, variables, length]
        Group -> values before the transformation; NaN in empty slots.
    listed : mapping of str to int64[n]
        Group -> length of the list of each jet in the file, which may hold objects that the network does not see.
    columns : mapping of str to array[n]
        Further columns of the jets by their names in a skim, as asked for.
    """

    bundle: Bundle
    jets: Array
    values: Mapping[str, Array]
    ranks: Mapping[str, Array]
    raw: Mapping[str, Array]
    listed: Mapping[str, Array]
    columns: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.jets)

    @cached_property
    def groups(self) -> Mapping[str, Group]:
        """The groups of the network by name."""
        return {group.name: group for group in self.bundle.groups}

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables of all groups, and of the channels of images; without masks."""
        return tuple(dict.fromkeys(name for group in self.bundle.groups for name in names_of_group(group)))

    @cached_property
    def families(self) -> Mapping[str, tuple[str, ...]]:
        """Lists of objects in the file -> the groups whose slots hold them: ``pf``, ``sv``, ``jet``; no images.

        With a data configuration of weaver the names are those before ``_`` of the columns: ``part``.
        """
        return families_of(self.bundle)

    def in_family(self, family: str) -> tuple[str, ...]:
        """The groups of a list of objects.

        Raises
        ------
        UnknownName
            If the network does not take such objects.
        """
        if family not in self.families:
            raise UnknownName("kind of objects", family, self.families, f"the inputs of {self.bundle.name!r}")
        return self.families[family]

    def seen(self, family: str) -> Array:
        """Mask of the objects in the file that are inputs of the network, bool[n, longest list]."""
        names = self.in_family(family)
        longest = max((int(self.listed[name].max(initial=0)) for name in names), default=0)
        mask = np.zeros((len(self), longest), dtype=bool)
        for name in names:
            jet, slot = np.nonzero(self.ranks[name] >= 0)
            mask[jet, self.ranks[name][jet, slot]] = True
        return mask

    def per_object(self, family: str, slots: Mapping[str, Array]) -> Array:
        """Sums over the slots that hold an object.

        Parameters
        ----------
        family : str
        slots : mapping of str to float[n, length]
            Group -> a number for each slot; groups of other objects are passed over.

        Returns
        -------
        float64[n, longest list]
            In the order of the file; NaN behind the end of a list, 0 for objects that the network does not see.
        """
        names = self.in_family(family)
        total = np.zeros(self.seen(family).shape, dtype=np.float64)
        for name in names:
            if name in slots:
                jet, slot = np.nonzero(self.ranks[name] >= 0)
                np.add.at(total, (jet, self.ranks[name][jet, slot]), slots[name][jet, slot])
        counts = np.max([self.listed[name] for name in names], axis=0)
        total[np.arange(len(total.T)) >= counts[:, np.newaxis]] = np.nan
        return total

    def filled(self, name: str) -> Array:
        """Mask of slots of a group with an object, bool[n, length]; of pixels, of images, bool[n, rows, columns]."""
        if name in self.ranks:
            return np.asarray(self.ranks[name] >= 0)
        pixels = self.values[name][:, 0]
        return np.ones(pixels.shape, dtype=bool)

    def tensors(self, values: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """The inputs with the axes of the network.

        Parameters
        ----------
        values : mapping of str to float32[n, variables, length], optional
            Group -> its tensor; default: those of the jets.

        Returns
        -------
        dict of str to float32[n, ...]
        """
        chosen = self.values if values is None else values
        return {name: arranged_as(array, self.groups[name]) for name, array in chosen.items()}

    def take(self, index: Array) -> JetInputs:
        """Some of the jets, in any order, int[n] or bool[n]."""
        values, ranks, raw, listed, columns = (
            {name: array[index] for name, array in arrays.items()}
            for arrays in (self.values, self.ranks, self.raw, self.listed, self.columns)
        )
        return JetInputs(self.bundle, self.jets[index], values, ranks, raw, listed, columns)


def jet_inputs(
    tagger: Tagger, request: Request, columns: Iterable[str] = (), batch_size: int | None = None
) -> Iterator[JetInputs]:
    """The inputs of the jets of a request, block by block in bounded memory, jets of similar length together.

    Parameters
    ----------
    tagger : Tagger
    request : Request
        From `Tagger.request`.
    columns : iterable of str
        Further columns of the jets to have, by their names in a skim: ``FatJet_pt``.
    batch_size : int, optional
        Maximum number of jets in one of them; default: as the tagger.

    Yields
    ------
    JetInputs
        Jets that the tagger does not score are in none of them.
    """
    bundle = as_run(tagger.bundle)
    given = {name: request.values(name) for name in columns}
    for selection in request.blocks(tagger.options.block_bytes):
        features: dict[str, Array] = {}
        inside = entering(bundle, selection.jets, features)
        if not inside.jets.any():
            continue
        tables = tabulate(bundle.groups, selection.jets, bundle.card.nonfinite, features, inside.rows)
        tables = tuple(table.of(inside.jets) for table in tables)
        index = selection.index[inside.jets]
        # each group's own objects, before any transformation, and where they are listed
        raw: dict[str, Array] = {}
        rank: dict[str, Array] = {}
        listed: dict[str, Array] = {}
        for group in bundle.groups:
            if group.image is not None:
                continue
            chosen = inside.rows.get(group.name)
            places = slice(None) if chosen is None else chosen.index
            own = [feature_of(v.feature, selection.jets, features)[places] for v in group.variables]
            raw[group.name] = np.append(np.stack(own), np.full((len(own), 1), np.nan, np.float32), axis=1)
            order = selection.jets.file_order(group.object)  # type: ignore[attr-defined]
            rank[group.name] = np.append(order.rank[places], -1)
            listed[group.name] = order.counts[inside.jets]
        size = bundle.fixed_batch or batch_size or tagger.options.batch_size or BATCH_SIZE
        space = min(IMAGE_BYTES, tagger.options.block_bytes)
        for batch in make_batches(tables, batch_size=size, pad_mode=bundle.card.pad_mode, image_bytes=space):
            yield JetInputs(
                bundle,
                index[batch.jets],
                {group.name: canonical(batch.inputs[group.name], group) for group in bundle.groups},
                {name: rank[name][rows] for name, rows in batch.rows.items()},
                {name: raw[name][:, rows].transpose(1, 0, 2) for name, rows in batch.rows.items()},
                {name: counts[batch.jets] for name, counts in listed.items()},
                {name: values[index[batch.jets]] for name, values in given.items()},
            )


def joined_inputs(parts: Sequence[JetInputs]) -> JetInputs:
    """The inputs of several batches of one network as one, in increasing order of the jets.

    Parameters
    ----------
    parts : sequence of JetInputs
        At least one.

    Returns
    -------
    JetInputs
        With the slots of the longest; those that a jet gets are empty.

    Raises
    ------
    MismatchError
        If jets of different length need separate runs: the network is sensitive to empty slots.
    """
    bundle = parts[0].bundle
    for group in bundle.groups:
        lengths = {part.values[group.name].shape[-1] for part in parts}
        if group.image is None and len(lengths) > 1 and _is_exact(bundle, group):
            raise MismatchError(
                f"the network of {bundle.name!r} is sensitive to empty slots: jets with {min(lengths)} and "
                f"{max(lengths)} slots in {group.name!r} cannot be combined; explain them batch by batch"
            )

    def joined(what: str, name: str, fill: Array | float) -> Array:
        arrays = [getattr(part, what)[name] for part in parts]
        longest = max(array.shape[-1] for array in arrays)
        padded = []
        for array in arrays:
            missing = longest - array.shape[-1]
            if not missing:  # as always of images
                padded.append(array)
                continue
            more = np.broadcast_to(np.asarray(fill, dtype=array.dtype), (*array.shape[:-1], missing))
            padded.append(np.concatenate([array, more], axis=-1))
        return np.concatenate(padded)

    order = np.argsort(np.concatenate([part.jets for part in parts]), kind="stable")
    pads = {group.name: _pads(group) for group in bundle.groups}
    whole = JetInputs(
        bundle,
        np.concatenate([part.jets for part in parts]),
        {name: joined("values", name, pads[name]) for name in parts[0].values},
        {name: joined("ranks", name, -1) for name in parts[0].ranks},
        {name: joined("raw", name, np.nan) for name in parts[0].raw},
        {name: np.concatenate([part.listed[name] for part in parts]) for name in parts[0].listed},
        {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
    )
    return whole.take(order)


def _pads(group: Group) -> Array:
    """The values of an empty slot, float32[variables, 1]."""
    return np.array([variable.pad for variable in group.variables], dtype=np.float32)[:, np.newaxis]


def _is_exact(bundle: Bundle, group: Group) -> bool:
    """Whether empty slots of a group change the scores, as far as its description says."""
    if group.per_jet:
        return False
    masked = any(other.is_mask and other.axis == group.axis for other in bundle.groups)
    wrapped = (group.pad_mode or bundle.card.pad_mode) == "wrap" and not group.is_mask
    return group.exact or wrapped or not masked


guard(globals(), "arranged_as", "canonical", "families_of", "jet_inputs", "joined_inputs")
