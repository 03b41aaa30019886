"""What each constituent contributes to a number of its jet, in a coffea job."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import awkward as ak
from coffea import processor
from jettagger.processors.tagging import chunk_key, in_order, plain_values

import jettagger as jt
from jettagger.arguments import guard
from jettagger.discriminants import Discriminant
from jettagger.display import Brief
from jettagger.explain import Baseline, attribute, target_of
from jettagger.expressions.cutlogic import CutWarning, warn_doubt
from jettagger.skims.columns import EVENT_COLUMNS, JET_COLUMNS

__all__ = ["Attribution"]


class Attribution(Brief, processor.ProcessorABC):
    """Attributes a number of each jet to its constituents, and collects the columns.

    Parameters
    ----------
    model : str, path or Tagger
        Name of a model or its folder, as `jettagger.load_tagger` takes it, or a tagger.
    target : str or Discriminant
        The number, as for `jettagger.explain.attribute`: ``"log HbbvsQCD"``.
    method : {"saliency", "gradient-input", "integrated", "occlusion"}
    where : str or callable, optional
        A cut in columns of the model's jets (``"pt > 300"``), or a function of the jets that returns a jagged mask;
        only these jets are explained.
    variables : iterable of str
        Variables of the network with a column of their own.
    baseline : Baseline, optional
        For ``integrated``.
    options : TaggerOptions, optional
        Options of the tagger; a tagger has its own.

    Raises
    ------
    UnknownName, ConfigError
        If the target does not exist.

    Examples
    --------
    >>> Attribution("tinyParT", "log HbbvsQCD", method="occlusion").method
    'occlusion'
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | jt.Tagger,
        target: str | Discriminant,
        method: str = "saliency",
        where: str | Callable[[Any], Any] | None = None,
        variables: Iterable[str] = (),
        baseline: Baseline | None = None,
        options: jt.TaggerOptions | None = None,
    ) -> None:
        self.tagger = jt.load_tagger(model, options)
        target_of(self.tagger, target)
        warn_doubt(where)
        self.target = target
        self.method: Any = method
        self.where = where
        self.variables = tuple(variables)
        self.baseline = baseline

    def process(self, events: Any) -> dict[str, dict[str, Any]]:
        """Explain the jets of one chunk.

        Parameters
        ----------
        events : NanoEvents

        Returns
        -------
        dict
            Dataset -> ``events``, ``jets`` (explained ones) and ``chunks``: the columns of each chunk of a file.
        """
        jets = self.tagger.plan(events).collection
        mask = self.where(events[jets]) if callable(self.where) else self.where
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CutWarning)  # it was said when the processor was made
            found = attribute(
                self.tagger,
                events,
                self.target,
                method=self.method,
                where=mask,
                variables=self.variables,
                baseline=self.baseline,
            )
        content = {name: plain_values(found[name]) for name in EVENT_COLUMNS if name in found.fields}
        number = ""
        for table in found.fields:
            stored = getattr(events[table], "fields", [])
            made = [name for name in found[table].fields if name not in stored]
            if not made:
                continue
            number = made[0] if table == jets else number
            # rows that link constituents to jets have few columns, all of them are kept
            kept = JET_COLUMNS if table == jets else [name for name in stored if "_" not in name]
            for name in [*(name for name in kept if name in stored), *made]:
                content[f"{table}_{name}"] = plain_values(found[table][name])
        place = events.metadata
        n_jets = int(ak.count(found[jets][number]))
        return {place["dataset"]: {"events": len(events), "jets": n_jets, "chunks": {chunk_key(place): [content]}}}

    def postprocess(self, accumulator: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Sort the chunks in the order of files and events, independent of the order of the workers.

        Parameters
        ----------
        accumulator : dict

        Returns
        -------
        dict
            Dataset -> ``events``, ``jets``, and ``columns`` (flat name -> awkward array).

        Raises
        ------
        MismatchError
            If a file was read twice.
        """
        for result in accumulator.values():
            chunks = in_order(result.pop("chunks"))
            result["columns"] = {name: ak.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
        return accumulator


guard(globals())
