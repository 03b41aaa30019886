"""The assigner: which objects of an event belong to which particles, for tensors, events and dask-awkward arrays."""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.arguments import guard
from jettagger.assignment.assigneroptions import AssignerKeywords, AssignerOptions, with_assigner_keywords
from jettagger.assignment.counting import AssignmentReport, CutObjectsWarning
from jettagger.assignment.decoding import decode
from jettagger.assignment.evaluation import GraphInputs, GraphOutputs, Tensors, evaluate, network_inputs
from jettagger.assignment.exported import exported_folder, holds_network
from jettagger.assignment.folders import AssignerFolder, read_assigner
from jettagger.assignment.whole_events import WholeEvents, check_prefix
from jettagger.bundles.places import shipped
from jettagger.bundles.stored_scores import open_score_cache
from jettagger.display import Brief, Displayed, Grid, ObjectSummary
from jettagger.errors import (
    BundleError,
    BundleNotFound,
    ConfigError,
    InvalidValues,
    MissingModelFile,
)
from jettagger.files.jsonfile import parse_json
from jettagger.inference.slots import example_inputs
from jettagger.runtime.codedigest import code_digest
from jettagger.sessions import OrtSession, open_onnx
from jettagger.sessions.providers import Provider
from jettagger.types import Array, Bools, Ints

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jettagger.topology.eventfile import EventDescription
    from jettagger.topology.mapping import EventMapping

__all__ = ["Assigned", "Assigner", "load_assigner"]

#: events in a run of the network, and values of its distributions
EVENTS, VALUES = 256, 1 << 24


@dataclass(frozen=True)
class Assigned(Brief):
    """What an assigner finds for events.

    Attributes
    ----------
    scored : bool[events]
        Events that went through the network; for the others there is no assignment, and numbers are NaN.
    assignments : dict of str to int64[events, daughters]
        Particle -> slots among those of all sequential inputs of the tensors; -1 where it is not assigned.
    assignment_probability, detection_probability, marginal_probability : dict of str to float64[events]
        Particle -> probability of the assignment (that of all exchanges of symmetric daughters together), that the
        particle is there, and their product; NaN where it is not assigned, and for the detection where the event is not
        scored or the network gives none.
    regressions : dict of str to float32[events]
    classes : dict of str to float32[events, classes]
        Probabilities.
    embeddings : dict of str to float32[events, dimensions]
        ``EVENT``, ``t1/PARTICLE``, ``t1/b``; empty unless they are asked for.
    log_probabilities : dict of str to float32[events, T, ..., T]
        Particle -> distribution over the slots of the network (`slots`); empty unless they are asked for.
    slots : dict of str to int
        Sequential input -> number of slots of the network.
    report : AssignmentReport
    """

    scored: Bools
    assignments: dict[str, Ints]
    assignment_probability: dict[str, Array]
    detection_probability: dict[str, Array]
    marginal_probability: dict[str, Array]
    regressions: dict[str, Array]
    classes: dict[str, Array]
    embeddings: dict[str, Array]
    log_probabilities: dict[str, Array]
    slots: dict[str, int]
    report: AssignmentReport


class Assigner(Displayed):
    """Applies a network that assigns objects to particles; made by `load_assigner`.

    An assigner is a value: its pickle contains a path, a checksum and its options.

    Parameters
    ----------
    model : AssignerFolder
    options : AssignerOptions, optional
    **keywords
        Fields of `AssignerOptions`, overriding those of ``options``.

    Attributes
    ----------
    options : AssignerOptions
    cache : DiskCache or None
    """

    def __init__(
        self,
        model: AssignerFolder,
        options: AssignerOptions | None = None,
        **keywords: Unpack[AssignerKeywords],
    ) -> None:
        options = with_assigner_keywords(options, keywords, "Assigner()")
        self._model: AssignerFolder | None = model
        self._origin = (str(model.folder), model.digest)
        mapping = options.mapping
        if isinstance(mapping, (str, os.PathLike)):
            from jettagger.topology.mapping import read_mapping

            mapping = read_mapping(mapping, model.event)
        self.cache = open_score_cache(options.cache)
        kept = None if self.cache is None else (str(self.cache.folder), self.cache.limit)
        self.options = replace(options, mapping=mapping, cache=kept)

    @property
    def model(self) -> AssignerFolder:
        """The network and what is known of it.

        Raises
        ------
        BundleNotFound, MissingModelFile
            If the assigner comes from another process and its folder is not available here.
        BundleError
            If the folder here has another content.
        """
        if self._model is None:
            self._model = _sent(*self._origin, self.options)
        return self._model

    @property
    def event(self) -> EventDescription:
        """The event file."""
        return self.model.event

    @property
    def mapping(self) -> EventMapping:
        """Which columns of events the inputs are.

        Raises
        ------
        ConfigError
            If neither the folder nor the options have one.
        """
        mapping: Any = self.options.mapping or self.model.mapping
        if mapping is None:
            raise ConfigError(
                f"{self.model.folder} has no inputs.yaml, which says which columns of events the inputs are: give "
                "mapping=, or 'jettagger assignment import --mapping'"
            )
        return mapping

    @property
    def source(self) -> WholeEvents:
        """The source of the network's inputs in events."""
        return WholeEvents(self.event, self.mapping, dict(self.model.slots))

    @property
    def session(self) -> OrtSession:
        """The session in this process, opened on first use."""
        return open_onnx(self.model.graph, self.options.threads, self.options.provider)

    @property
    def widths(self) -> dict[str, int]:
        """Outputs with classes and embeddings -> number of values per event; the network may run once for it."""
        names = [*self.event.classifications, *self.model.names.embeddings.values()]
        found = {item.name: item.shape[1] for item in self.model.graph.outputs if item.name in names}
        if all(isinstance(size, int) for size in found.values()):
            return {name: int(size) for name, size in found.items()}
        pairs = [(name, self.model.slots[name] or 8) for name in self.model.slots]
        slots = {self.model.names.data[name]: size for name, size in pairs}
        slots |= {self.model.names.mask[name]: size for name, size in pairs}
        made = self.session.run(example_inputs(self.model.graph, slots, 2))
        return {name: made[name].shape[1] for name in names}

    @property
    def sources(self) -> tuple[Path, ...]:
        """Every file that the network is read from."""
        return self.model.sources

    @property
    def state(self) -> dict[str, Any]:
        """What results depend on apart from the events, for JSON."""
        method = self.options.method
        mapping: Any = self.options.mapping
        return {
            "name": self.model.name,
            "digest": self._origin[1],
            "method": method if isinstance(method, str) else getattr(method, "__qualname__", repr(type(method))),
            "detection": self.options.detection,
            "mapping": None if mapping is None else mapping.model_dump(mode="json"),
        }

    def __repr__(self) -> str:
        particles = ", ".join(particle.name for particle in self.event.particles)
        return f"Assigner({self.model.name!r}, {particles}, from {self.model.folder})"

    def summary(self) -> ObjectSummary:
        """Network, inputs and particles, for display; no session is opened."""
        model = self.model
        inputs = [
            (item.name, item.kind, str(model.slots[item.name] or "any number") if item.name in model.slots else "1")
            for item in self.event.inputs
        ]
        particles = [
            (particle.name, ", ".join(daughter.name for daughter in particle.daughters))
            for particle in self.event.particles
        ]
        facts = [
            ("folder", str(model.folder)),
            ("digest", model.digest[:12]),
            ("ln(x + 1)", "by the network" if model.input_log else "by jettagger"),
            ("method", str(self.state["method"])),
            ("regressions", ", ".join(self.event.regressions)),
            ("classes", ", ".join(self.event.classifications)),
        ]
        grids = [
            Grid("Inputs", ("input", "kind", "slots"), inputs),
            Grid("Particles", ("particle", "daughters"), particles),
        ]
        return ObjectSummary(f"Assigner {model.name}", facts, grids)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (*self._origin, self.options.given))

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        chosen = self.options
        mapping: Any = chosen.mapping
        said = None if mapping is None else json.dumps(mapping.model_dump(mode="json"), sort_keys=True)
        return ("jettagger.Assigner", self._origin[1], chosen.method, chosen.detection, said)

    def run(self, tensors: Tensors, *, embeddings: bool = False, distributions: bool = False) -> Assigned:
        """Assign the objects of events that are given as tensors.

        Parameters
        ----------
        tensors : EventTensors or AssignmentEvents
            Anything with ``values`` (input -> float32[events, slots, features], features in the order of the event
            file, before logarithms and normalisation) and ``masks`` (input -> bool[events, slots]). Slots are padded,
            or cut from the end, to those of the network.
        embeddings : bool
            Whether to return the embeddings of the network, too.
        distributions : bool
            Whether to return the distributions, too: 4 bytes for each event, particle and tuple of slots.

        Returns
        -------
        Assigned

        Raises
        ------
        UnknownName, MismatchError
            If inputs are missing or have other shapes.
        ModelFileError
            If the network cannot be run.
        ConfigError
            If embeddings are asked for, and the network has none.

        Warns
        -----
        CutObjectsWarning
            If events lose objects because the network takes fewer.
        RuntimeWarning
            If events are not scored because features are not finite.
        """
        model = self.model
        if embeddings and not model.names.embeddings:
            raise ConfigError(
                f"the network has no embeddings in its ONNX file ({model.graph.path}): 'jettagger assignment export "
                "MODEL -o FOLDER/ --output-embeddings' makes one that has; or leave them out"
            )
        inputs = network_inputs(model, tensors)
        self._warn(inputs)
        key = self._key(inputs, embeddings) if self.cache is not None and not distributions else ""
        if key and self.cache is not None:
            kept = self.cache.get(key)
            if kept is not None:
                return self._completed(_unpacked(kept), inputs, cached=True)
        found = self._assigned(inputs, embeddings, distributions)
        if key and self.cache is not None:
            self.cache.put(key, _packed(found))
        return self._completed(found, inputs, cached=False)

    def _warn(self, inputs: GraphInputs) -> None:
        events = len(inputs.scored)
        for name, count in inputs.cut.items():
            if count:
                size = inputs.masks[name].shape[1]
                warnings.warn(
                    f"{count} of {events} events lose objects of {name}: the network takes {size}, the last are cut",
                    CutObjectsWarning,
                    stacklevel=3,
                )
        if inputs.nonfinite.any():
            warnings.warn(
                f"{np.count_nonzero(inputs.nonfinite)} of {events} events are not scored, as a feature is not finite "
                f"(also as ln(x + 1)); the first is event {int(np.flatnonzero(inputs.nonfinite)[0])} of these",
                RuntimeWarning,
                stacklevel=3,
            )

    def _key(self, inputs: GraphInputs, embeddings: bool) -> str:
        chosen = self.options
        said = ["assignments", code_digest(), self._origin[1], chosen.method, chosen.detection, embeddings]
        digest = hashlib.sha256(json.dumps([*said, str(Provider.of(chosen.provider))]).encode())
        for name in inputs.values:
            for values in (inputs.values[name], inputs.masks[name], np.array(inputs.given.get(name, (0, 1)))):
                digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
                digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()

    def _assigned(self, inputs: GraphInputs, embeddings: bool, distributions: bool) -> Assigned:
        """The result of all events, in batches."""
        event, widths = self.event, self.widths
        n_events = len(inputs.scored)
        nothing = np.full(n_events, np.nan)
        names = [particle.name for particle in event.particles]
        found = Assigned(
            scored=inputs.scored,
            assignments={
                particle.name: np.full((n_events, len(particle.daughters)), -1, dtype=np.int64)
                for particle in event.particles
            },
            assignment_probability={name: nothing.copy() for name in names},
            detection_probability={name: nothing.copy() for name in names},
            marginal_probability={},
            regressions={path: nothing.astype(np.float32) for path in event.regressions},
            classes={path: np.full((n_events, widths[path]), np.nan, np.float32) for path in event.classifications},
            embeddings={},
            log_probabilities={},
            slots={item.name: inputs.masks[item.name].shape[1] for item in event.sequential},
            report=AssignmentReport(),
        )
        if embeddings:
            for path, name in self.model.names.embeddings.items():
                found.embeddings[path] = np.full((n_events, widths[name]), np.nan, np.float32)
        total = sum(found.slots.values())
        if distributions:
            for particle in event.particles:
                shape = (n_events, *[total] * len(particle.daughters))
                found.log_probabilities[particle.name] = np.full(shape, -np.inf, dtype=np.float32)
        most = max(len(particle.daughters) for particle in event.particles)
        size = self.options.batch_size or max(min(EVENTS, VALUES // max(total**most, 1)), 1)
        scored = np.flatnonzero(inputs.scored)
        seconds = 0.0
        for start in range(0, len(scored), size):
            rows = scored[start : start + size]
            before = time.perf_counter()
            outputs = evaluate(self.model, self.session, inputs, rows)
            seconds += time.perf_counter() - before
            assignments, probabilities = self._decoded(outputs, inputs, rows)
            for name in names:
                found.assignments[name][rows] = inputs.translated(assignments[name])
                found.assignment_probability[name][rows] = probabilities[name]
                if outputs.detection:
                    found.detection_probability[name][rows] = outputs.detection[name]
            for path, values in outputs.regressions.items():
                found.regressions[path][rows] = values
            for path, values in outputs.classes.items():
                found.classes[path][rows] = values
            for path in found.embeddings:
                found.embeddings[path][rows] = outputs.embeddings[path]
            for path in found.log_probabilities:
                found.log_probabilities[path][rows] = outputs.log_probabilities[path]
        return replace(found, report=AssignmentReport(seconds=seconds))

    def _decoded(
        self, outputs: GraphOutputs, inputs: GraphInputs, rows: Ints
    ) -> tuple[Mapping[str, Ints], Mapping[str, Array]]:
        """Slots of the network, and probabilities of the assignments."""
        chosen = self.options
        if chosen.detection and not outputs.detection:
            raise ConfigError(f"{self.model.graph.path} has no detection probabilities: leave detection out")
        decoded = decode(
            outputs.log_probabilities,
            self.event,
            method=chosen.method,
            detection=outputs.detection if chosen.detection else None,
            threads=chosen.threads,
        )
        if callable(chosen.method):
            self._check_real(decoded.assignments, inputs, rows)
        return decoded.assignments, decoded.probabilities

    def _check_real(self, assignments: Mapping[str, Ints], inputs: GraphInputs, rows: Ints) -> None:
        """Refuse an own function that assigns slots without an object."""
        real = np.concatenate([inputs.masks[item.name][rows] for item in self.event.sequential], axis=1)
        for name, slots in assignments.items():
            padded = (slots >= 0) & ~np.take_along_axis(real, np.maximum(slots, 0), axis=1)
            if padded.any():
                first = int(np.flatnonzero(padded.any(axis=1))[0])
                raise InvalidValues(
                    f"the assignment function {self.state['method']} assigned {slots[first].tolist()} to {name!r} in "
                    f"event {int(rows[first])} of these, expected slots that hold an object, or -1 for all daughters"
                )

    def _completed(self, found: Assigned, inputs: GraphInputs, *, cached: bool) -> Assigned:
        """The result with products of probabilities and counts."""
        scored = inputs.scored
        marginal = {
            name: values * found.detection_probability[name] for name, values in found.assignment_probability.items()
        }
        broken = np.zeros(len(scored), dtype=bool)
        for values in (*found.regressions.values(), *found.classes.values()):
            broken |= ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        n_scored = int(np.count_nonzero(scored))
        report = AssignmentReport(
            events=len(scored),
            scored=n_scored,
            cached=n_scored if cached else 0,
            without_objects=int(np.count_nonzero(inputs.without_objects)),
            nonfinite_inputs=int(np.count_nonzero(inputs.nonfinite)),
            nonfinite_outputs=int(np.count_nonzero(broken & scored)),
            unassigned={
                name: int(np.count_nonzero(scored & (slots == -1).any(axis=1)))
                for name, slots in found.assignments.items()
            },
            cut=inputs.cut,
            seconds=0.0 if cached else found.report.seconds,
        )
        return replace(found, marginal_probability=marginal, report=report)

    def __call__(self, events: Any, *, embeddings: bool = False, distributions: bool = False) -> Assigned:
        """Assign the objects of events in memory or virtual ones.

        Parameters
        ----------
        events : awkward array
            NanoEvents or plain records with the columns of the mapping.
        embeddings, distributions : bool
            As for `run`.

        Returns
        -------
        Assigned

        Raises
        ------
        MissingColumns
            If the events lack columns; nothing has been read in this case.
        InvalidValues
            If a feature is None or not finite, and the mapping does not say what stands for it; gives the event.

        Warns
        -----
        CutObjectsWarning
            As for `run`.
        """
        return self.answer(self.source.request(events), embeddings=embeddings, distributions=distributions)

    def answer(self, request: Any, *, embeddings: bool = False, distributions: bool = False) -> Assigned:
        """The result for the events of a request.

        Parameters
        ----------
        request : EventRequest
            From ``source.request``.
        embeddings, distributions : bool
            As for `run`.

        Returns
        -------
        Assigned
            Its report also counts objects that the mapping cuts.
        """
        found = self.run(request.tensors, embeddings=embeddings, distributions=distributions)
        return replace(found, report=replace(found.report, cut=request.lost(found.slots)))

    def attach(self, events: Any, *, prefix: str = "assigned", embeddings: bool = False) -> Any:
        """Assign the objects of events, and add what was found.

        Parameters
        ----------
        events : awkward array or dask-awkward collection
            NanoEvents or plain records with the columns of the mapping.
        prefix : str
            Front of the names.
        embeddings : bool
            Whether to add the embeddings of the network, too.

        Returns
        -------
        awkward array or dask-awkward collection
            New events; the given ones are not modified. For each particle a record ``<prefix>_<particle>`` per event:
            four-vector of the sum of its objects (``pt``, ``eta``, ``phi``, ``mass``, in GeV); for each daughter
            ``<daughter>Idx``, its index in the event's own collection, and with several sequential inputs
            ``<daughter>Input``, the number of the input in the order of the event file; ``assignment_probability``,
            ``detection_probability``, ``marginal_probability``. All are None where the particle is not assigned, except
            for the detection probability. In the record ``<prefix>``: ``scored``, regressions and class scores with
            ``_`` for ``/`` in their names (``EVENT_neutrino_px``), None where the event was not scored, and on request
            ``embedding_<name>``.

        Raises
        ------
        MissingColumns, InvalidValues
            As for the call.
        MismatchError
            If a column of that name exists already, or if ``prefix`` is not a name.

        Warns
        -----
        CutObjectsWarning
            As for `run`.
        """
        check_prefix(prefix)
        if type(events).__module__.partition(".")[0] == "dask_awkward":
            from jettagger.assignment.dask_events import attached

            return attached(self, events, prefix, embeddings)
        request = self.source.request(events)
        return request.put_back(events, self.answer(request, embeddings=embeddings), prefix, self.columns(embeddings))

    def columns(self, embeddings: bool = False) -> tuple[str, ...]:
        """The fields of the record ``<prefix>`` that `attach` adds.

        Parameters
        ----------
        embeddings : bool

        Returns
        -------
        tuple of str
        """
        paths = [*self.event.regressions, *self.event.classifications]
        names = ["scored", *(path.replace("/", "_") for path in paths)]
        if embeddings:
            names += [f"embedding_{path.replace('/', '_')}" for path in self.model.names.embeddings]
        return tuple(names)


_DICTS = ("assignments", "assignment_probability", "detection_probability", "regressions", "classes", "embeddings")


def _packed(found: Assigned) -> dict[str, Array]:
    """Arrays for a `jettagger.files.cache.DiskCache`."""
    names: list[tuple[str, str]] = []
    arrays: dict[str, Array] = {"scored": found.scored}
    for field in _DICTS:
        for name, values in getattr(found, field).items():
            arrays[f"array{len(names)}"] = values
            names.append((field, name))
    return {**arrays, "names": np.array(json.dumps([names, found.slots]))}


def _unpacked(kept: Mapping[str, Array]) -> Assigned:
    """The inverse of `_packed`."""
    names, slots = parse_json(str(kept["names"]), "entry of the score cache", kind=list)
    fields: dict[str, dict[str, Array]] = {field: {} for field in _DICTS}
    for number, (field, name) in enumerate(names):
        fields[field][name] = kept[f"array{number}"]
    return Assigned(
        scored=kept["scored"],
        marginal_probability={},
        log_probabilities={},
        slots=slots,
        report=AssignmentReport(),
        **fields,
    )


def _sent(folder: str, digest: str, options: AssignerOptions) -> AssignerFolder:
    """The network of an assigner that came from another process."""
    try:
        found = read_assigner(shipped(digest) or Path(folder), input_log=options.input_log, slots=options.slots)
    except (BundleNotFound, MissingModelFile) as error:
        raise type(error)(
            f"there is no assigner at {folder} here; for workers without that folder: "
            f"jettagger.dask.install(client, assigner) ({error})",
            **error.parts,
        ) from error
    if found.digest != digest:
        raise BundleError(f"the assigner in {found.folder} is not the one that was sent: its content has changed")
    return found


def _restore(folder: str, digest: str, given: dict[str, Any]) -> Assigner:
    assigner = Assigner.__new__(Assigner)
    assigner._origin = (folder, digest)
    assigner.options = AssignerOptions(**given)
    assigner.cache = open_score_cache(assigner.options.cache)
    assigner._model = None
    # dask's scheduler unpickles what it passes on, and need not have the network: who uses the assigner must
    with suppress(BundleNotFound, MissingModelFile):
        assigner._model = _sent(folder, digest, assigner.options)
    return assigner


def load_assigner(
    folder: str | os.PathLike[str] | Assigner,
    options: AssignerOptions | None = None,
    **keywords: Unpack[AssignerKeywords],
) -> Assigner:
    """Load a network that assigns objects to particles.

    Parameters
    ----------
    folder : path or Assigner
        With ``assigner.json``, as ``jettagger assignment import`` makes it, or with an ONNX file of the original and
        its event file; see `jettagger.assignment.read_assigner`. The folder of a training, or a network file of torch:
        its ONNX file is made in the user's cache, which needs torch at the first call. An assigner is returned as it
        is.
    options : AssignerOptions, optional
    **keywords
        Fields of `AssignerOptions`, overriding those of ``options``.

    Returns
    -------
    Assigner

    Raises
    ------
    BundleNotFound, MissingModelFile
        If the folder or one of its files does not exist.
    BundleError
        If a file is damaged, or if the network does not fit the event file: lists what is missing, with nearest names.
    ModelFileError
        If the network is damaged, refused, or keeps data outside its folder.
    ConfigError, UnknownName
        If the event file, the mapping or an option is not valid; if log flags are needed and not known; if options are
        given for an assigner, which has its own.
    InputFileError, OutputError, MissingExtra
        If a network file is damaged, if there is no cache for its ONNX file, or if torch is not installed.
    """
    if isinstance(folder, Assigner):
        if options is not None or keywords:
            name = folder.model.name
            raise ConfigError(f"an assigner of {name!r} has its options already: give them with its folder")
        return folder
    options = with_assigner_keywords(options, keywords, "load_assigner()")
    place = exported_folder(folder) if holds_network(folder) else folder
    return Assigner(read_assigner(place, input_log=options.input_log, slots=options.slots), options)


guard(globals(), "Assigner", "load_assigner")
