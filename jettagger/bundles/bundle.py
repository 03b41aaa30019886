"""A bundle: the frozen description of one model, read from a folder and validated before anything runs.

A folder holds ``model.onnx``, an input description (``preprocess.json`` as CMSSW reads it, or a data configuration of
weaver in YAML) and optionally ``bundle.json`` (see `jettagger.bundles.card`). Some public networks are known by the
checksum of their file; for these the package provides the card.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from jettagger.arguments import guard
from jettagger.bundles.card import KINDS, BundleCard
from jettagger.bundles.folder import CARD, MODEL
from jettagger.bundles.identity import is_trusted
from jettagger.bundles.interface import Group, named_in
from jettagger.bundles.outputs import HIDDEN, Output
from jettagger.bundles.places import PACKAGE, user_folder
from jettagger.display import Displayed, ObjectSummary, some
from jettagger.errors import BundleError, JettaggerError, MissingModelFile, UnknownName
from jettagger.features import FEATURES, Feature
from jettagger.sessions.graph import Graph, file_sha256
from jettagger.weaver import DataConfig

__all__ = ["Bundle"]


@dataclass(frozen=True)
class Bundle(Displayed):
    """One model: its location, inputs and outputs.

    Parameters
    ----------
    folder : pathlib.Path
        The folder it was read from.
    card : BundleCard
        The content of ``bundle.json``, or the card inferred if there is none.
    groups : tuple of Group
        Input tensors in the order of the input description.
    outputs : tuple of Output
        All output columns in order.
    graph : Graph or None
        The ONNX file's interface; None for a description without weights.
    digest : str
        SHA-256 over weights and descriptions: bundles with the same digest give the same scores.
    described_by : str
        Origin of the card: ``bundle.json``, ``jettagger`` (a network known by its checksum), ``inferred``.
    files : mapping of str to pathlib.Path
        The files that it was read from.
    weaver : DataConfig or None
        The data configuration, if the inputs are described by one; restricted to the inputs of the network.
    notes : mapping of str to str
        Further information in its files: ``input description``, ``training selection``.
    domain : str
        Cut in columns of the jets; jets that fail it are not scored. Empty: all jets are scored.
    empty_jets : bool
        Whether jets without any candidates are scored.

    Examples
    --------
    >>> bundle = Bundle.from_folder(PACKAGE / "models" / "inclParTMDV1")
    >>> len(bundle.outputs), bundle["hidNeuron7"].name, bundle.has_weights
    (166, 'hidNeurons007', False)
    """

    folder: Path
    card: BundleCard
    groups: tuple[Group, ...]
    outputs: tuple[Output, ...]
    graph: Graph | None
    digest: str
    described_by: str
    files: Mapping[str, Path] = field(repr=False)
    weaver: DataConfig | None = field(default=None, repr=False)
    notes: Mapping[str, str] = field(default_factory=dict, repr=False)
    domain: str = ""
    empty_jets: bool = False

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str], *, accept: bool = False) -> Bundle:
        """Read and validate a folder.

        Parameters
        ----------
        folder : path
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
            If the folder has no input description and is not known otherwise.

        Warns
        -----
        RuntimeWarning
            If the network or the input description has changed since the folder was first read, or if the network
            differs from the known one of this name.
        """
        from jettagger.bundles.reading import read_bundle

        try:
            return read_bundle(Path(folder), accept=accept)
        except JettaggerError:
            raise
        except Exception as error:  # whatever damage does to those who read it
            reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            raise BundleError(f"{os.fspath(folder)} cannot be read as a model: {reason}") from error

    def __repr__(self) -> str:
        numbers = [(kind, sum(output.kind == kind for output in self.outputs)) for kind in KINDS]
        kinds = ", ".join(f"{number} {kind}" for kind, number in numbers if number)
        inputs = some([group.name for group in self.groups])
        missing = "" if self.has_weights else ", no weights"
        return f"Bundle({self.name!r}, {inputs} -> {kinds}{missing}, from {str(self.folder)!r})"

    def summary(self) -> ObjectSummary:
        """Inputs with their lengths, outputs by kind, and origin, for display."""
        from jettagger.bundles.summary import bundle_summary

        return bundle_summary(self)

    @property
    def trusted(self) -> bool:
        """Whether its network needs no trial: it is part of the package, was sent here, or has a known checksum."""
        return self.graph is None or is_trusted(self.folder, self.graph.sha256)

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.card.name

    @property
    def prefix(self) -> str:
        """Default prefix of the columns."""
        return self.card.prefix or re.sub(r"\W", "_", self.card.name)

    @property
    def sources(self) -> tuple[Path, ...]:
        """Every file that the bundle is read from: descriptions, network, external data."""
        return (*self.files.values(), *(self.graph.external if self.graph else ()))

    def checksums(self) -> dict[str, str]:
        """Current SHA-256 of the network, its external data and the input description.

        Returns
        -------
        dict of str to str
            Path within the folder, or name of a file provided by the package -> hexadecimal digest.
        """
        paths = {name: path for name, path in self.files.items() if name != CARD}
        if self.graph is not None:
            paths |= {path.relative_to(self.folder).as_posix(): path for path in self.graph.external}
        return {name: file_sha256(path) for name, path in paths.items()}

    @property
    def has_weights(self) -> bool:
        """Whether the weights are available."""
        return self.graph is not None

    @property
    def fixed_batch(self) -> int | None:
        """The batch size that the graph requires, or None."""
        return None if self.graph is None else self.graph.fixed_batch

    @cached_property
    def _by_name(self) -> dict[str, Output]:
        table = {output.raw: output for output in self.outputs}
        for output in self.outputs:
            if match := HIDDEN.match(output.raw):
                table[f"hidNeuron{int(match.group(1)):03d}"] = output
                table[f"hidNeuron{int(match.group(1))}"] = output
                table[f"hidNeurons{int(match.group(1))}"] = output
        table.update({output.name: output for output in self.outputs})
        for alias, name in self.card.aliases.items():
            table.setdefault(alias, table[name])
        return table

    def __getitem__(self, name: str) -> Output:
        """The output with this name, canonical or any accepted spelling of it.

        Raises
        ------
        UnknownName
            If it does not exist; gives the nearest names.
        """
        try:
            return self._by_name[name]
        except KeyError:
            known = [output.name for output in self.outputs]
            raise UnknownName("output", name, known, f"bundle {self.name!r}") from None

    def select(self, what: Iterable[str]) -> tuple[Output, ...]:
        """The outputs of the given kinds and names, in the model's order.

        Parameters
        ----------
        what : iterable of str
            Kinds (``prob``, ``logit``, ``mass``, ``regression``, ``hidden``, ``other``), ``all``, and names of outputs.

        Returns
        -------
        tuple of Output

        Raises
        ------
        UnknownName
            For a name that is neither a kind nor an output.
        """
        what = [what] if isinstance(what, str) else list(what)
        chosen: set[int] = set()
        for item in what:
            if item == "all":
                chosen.update(range(len(self.outputs)))
            elif item in KINDS and item not in self._by_name:
                chosen.update(output.index for output in self.outputs if output.kind == item)
            elif item in KINDS:  # an output called "mass" is also of that kind as a rule; the kind includes it
                chosen.update(output.index for output in self.outputs if output.kind == item or output.name == item)
            elif item in self._by_name:
                chosen.add(self._by_name[item].index)
            else:
                known = [*KINDS, "all", *(output.name for output in self.outputs)]
                raise UnknownName("kind or output", item, known, f"bundle {self.name!r}")
        return tuple(output for output in self.outputs if output.index in chosen)

    def kinds(self) -> str:
        """Number of outputs of each kind, with their names, for messages.

        Returns
        -------
        str

        Examples
        --------
        >>> Bundle.from_folder(PACKAGE / "models" / "Sophon").kinds()[:42]
        '188 of kind prob (probXbb, probXcc, probXs'
        """
        texts = []
        for kind in KINDS:
            names = [output.name for output in self.outputs if output.kind == kind]
            if names:
                more = ", ..." if len(names) > 8 else ""
                texts.append(f"{len(names)} of kind {kind} ({', '.join(names[:8])}{more})")
        return ", ".join(texts)

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """All features of the inputs, without repetition."""
        seen = {variable.feature.name: variable.feature for group in self.groups for variable in group.variables}
        return tuple(seen.values())

    @cached_property
    def wanted(self) -> tuple[Feature, ...]:
        """All features for which columns are read: `features`, and those used in selections and for sorting."""
        more = [feature for group in self.groups for feature in group.chosen_by]
        more += [FEATURES[name] for feature in self.features for name in feature.doubts]
        more += named_in(self.domain, "jet", f"the domain {self.domain!r}") if self.domain else []
        seen = {(feature.object, feature.name): feature for feature in (*self.features, *more)}
        return tuple(seen.values())

    @cached_property
    def approximate(self) -> dict[str, str]:
        """Variables that are not stored in files -> how they are approximated; empty if all inputs are exact."""
        return {feature.name: feature.approximate for feature in self.features if feature.approximate}

    @cached_property
    def limits(self) -> dict[str, tuple[int, int]]:
        """Axis -> minimum and maximum length of its groups, in the order of the description."""
        found: dict[str, tuple[int, int]] = {}
        for group in self.groups:
            if not group.per_jet:
                shortest, longest = found.get(group.axis, (group.min_length, group.max_length))
                found[group.axis] = (max(shortest, group.min_length), min(longest, group.max_length))
        return found

    def require_weights(self) -> Path:
        """The path of the ONNX file.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        MissingModelFile
            Gives the missing file, the folder to put it in, and how to obtain it.
        """
        return self.require_graph().path

    def require_graph(self) -> Graph:
        """The description of the network.

        Returns
        -------
        Graph

        Raises
        ------
        MissingModelFile
            As for `require_weights`.
        """
        if self.graph is not None:
            return self.graph
        bundle, lacking = f"the bundle {self.name!r}", f"the file {MODEL} is missing"
        if self.folder.parent == (PACKAGE / "models").resolve():  # weights of these are found by the folder's name
            target = user_folder() / self.folder.name / MODEL
            more = f" (or in a folder {self.folder.name}/ on $JETTAGGER_MODELS)"
        else:
            target, more = self.folder / MODEL, ""
        raise MissingModelFile(
            f"{bundle} has no weights: {lacking}. Put it at {target}{more}. {self.card.get_weights}".rstrip(),
            where=bundle,
            got=lacking,
            expected=str(target),
        )


guard(globals())
