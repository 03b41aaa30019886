"""Several models on the same events: constituents are linked and shared features are computed once."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError, MismatchError
from jettagger.expressions.cutlogic import warn_doubt
from jettagger.formats import EventColumns
from jettagger.heads import Head, load_head
from jettagger.tagging.options import OptionKeywords, TaggerOptions, with_keywords
from jettagger.tagging.tagger import DEFAULT_COLUMNS, Tagged, Tagger, load_tagger, score_together

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Taggers", "load_taggers"]


class Taggers(Mapping[str, Tagger], Brief):
    """Taggers that are applied in one pass.

    Parameters
    ----------
    taggers : iterable of Tagger
        Taggers of different models, with their heads; their columns must have different names.

    Raises
    ------
    ConfigError
        If there are none, or two with the same name.
    MismatchError
        If two of them apply to different jets.

    Examples
    --------
    >>> from jettagger.testing import make_events
    >>> taggers = load_taggers(["tinyParT", "inclParTToyV1"])
    >>> events = taggers.attach(make_events(3, seed=1), columns=["mass"])
    >>> [name for name in events.FatJet.fields if name.endswith("_mass")]
    ['tinyParT_mass', 'inclParTToyV1_mass']
    """

    def __init__(self, taggers: Iterable[Tagger]) -> None:
        self._taggers: dict[str, Tagger] = {}
        for tagger in taggers:
            name = tagger.bundle.name
            if name in self._taggers:
                raise ConfigError(f"two of the taggers are called {name!r}; each model is applied once")
            self._taggers[name] = tagger
        if not self._taggers:
            raise ConfigError("got no tagger, expected at least one")
        firsts: dict[str, Tagger] = {}
        for name, tagger in self._taggers.items():
            first = firsts.setdefault(tagger.bundle.card.jets, tagger)
            if (tagger.options.jets, tagger.options.names) != (first.options.jets, first.options.names):
                raise MismatchError(
                    f"{first.bundle.name!r} and {name!r} take different jets: give both the same jets= and names="
                )

    def __getitem__(self, name: str) -> Tagger:
        return self._taggers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._taggers)

    def __len__(self) -> int:
        return len(self._taggers)

    def __repr__(self) -> str:
        return f"Taggers({', '.join(map(repr, self))})"

    def __call__(self, events: Any, where: Any = None) -> dict[str, Any]:
        """Score the jets with all models.

        Parameters
        ----------
        events : awkward array
            In memory or virtual; map over the partitions of a dask-awkward collection.
        where : str or jagged bool array, optional
            Selection of jets to score.

        Returns
        -------
        dict of str to awkward array
            For each model the result of `Tagger.__call__`.

        Raises
        ------
        MissingColumns, MismatchError
            As for `Tagger.__call__`.
        """
        warn_doubt(where)
        return {name: tagged.scores for name, tagged in self.run(events, where).items()}

    def run(
        self,
        events: Any,
        where: Any = None,
        names: Mapping[str, tuple[str, ...]] | None = None,
        kinematics: Mapping[str, Any] | None = None,
    ) -> dict[str, Tagged]:
        """Score the jets with all models, with reports.

        Parameters
        ----------
        events : awkward array
        where : str or jagged bool array, optional
        names : mapping, optional
            Model -> outputs to return; default: all.
        kinematics : mapping, optional
            As for `Tagger.attach`.

        Returns
        -------
        dict of str to Tagged
        """
        return self._answers(self._requests(events, where, kinematics), names)

    def _requests(self, events: Any, where: Any, kinematics: Mapping[str, Any] | None) -> dict[str, Any]:
        columns = EventColumns(events)
        return {name: tagger.request(columns, where, kinematics) for name, tagger in self.items()}

    def _answers(
        self, requests: Mapping[str, Any], names: Mapping[str, tuple[str, ...]] | None = None
    ) -> dict[str, Tagged]:
        found = {name: tagger.cached(requests[name]) for name, tagger in self.items()}
        groups: dict[Hashable, list[str]] = {}
        for name in (name for name, scored in found.items() if scored is None):
            groups.setdefault(requests[name].group, []).append(name)
        for members in groups.values():
            first, *others = (requests[name] for name in members)
            taggers = [self[name] for name in members]
            together = first.together(others) if others else first
            for name, scored in zip(members, score_together(taggers, together), strict=True):
                self[name].store(requests[name], scored)
                found[name] = scored
        return {
            name: self[name].assembled(scored, requests[name], None if names is None else names.get(name))
            for name, scored in found.items()
            if scored is not None
        }

    def attach(
        self,
        events: Any,
        where: Any = None,
        columns: Iterable[str] = DEFAULT_COLUMNS,
        kinematics: Mapping[str, Any] | None = None,
    ) -> Any:
        """Score the jets with all models and add the outputs as columns.

        Parameters
        ----------
        events : awkward array
        where : str or jagged bool array, optional
        columns : iterable of str
            Kinds and names of outputs, as for `Tagger.attach`; each model adds those that it has.
        kinematics : mapping, optional
            As for `Tagger.attach`.

        Returns
        -------
        awkward array
            New events whose jets have ``<prefix>_<output>`` of each model.

        Raises
        ------
        MissingColumns, MismatchError
            As for `Tagger.attach`; MismatchError also if two models would add the same column.
        ConfigError
            If ``columns`` selects no output of any model.
        """
        warn_doubt(where)
        wanted = list(columns)
        names: dict[str, dict[str, str]] = {}
        for name, tagger in self.items():
            try:
                names[name] = tagger.column_names(wanted)
            except ConfigError:  # not of these kinds; one of the others may be
                names[name] = {}
        if not any(names.values()):
            gives = "; ".join(f"{name!r} gives {tagger.bundle.kinds()}" for name, tagger in self.items())
            raise ConfigError(f"columns={wanted!r} selects no output of any model: {gives}")
        every = [column for found in names.values() for column in found.values()]
        twice = sorted({column for column in every if every.count(column) > 1})
        if twice:
            raise MismatchError(f"two models would add the column {twice[0]!r}: give one of them another prefix")
        requests = self._requests(events, where, kinematics)
        tagged = self._answers(requests, {name: tuple(found) for name, found in names.items()})
        for name, result in tagged.items():
            events = requests[name].put_back(events, result.scores, names[name])
        return events


def load_taggers(
    names_or_folders: Iterable[str | os.PathLike[str]],
    options: TaggerOptions | None = None,
    **keywords: Unpack[OptionKeywords],
) -> Taggers:
    """Load taggers that are applied in one pass: constituents are linked and shared features are computed once.

    Parameters
    ----------
    names_or_folders : iterable of str or path
        As for `jettagger.load_tagger`.
    options : TaggerOptions, optional
        Options of all of them; each head is assigned to the model it was trained on.
    **keywords
        Fields of `TaggerOptions`, overriding those of ``options``.

    Returns
    -------
    Taggers

    Raises
    ------
    BundleNotFound, BundleError, MissingModelFile, UnknownName
        As for `jettagger.load_tagger`.
    ConfigError
        If no name is given, or one twice; if an option has an invalid value.
    MismatchError
        If two of them apply to different jets, or a head was trained on none of them.

    Examples
    --------
    >>> list(load_taggers(["tinyParT"]))
    ['tinyParT']
    """
    if isinstance(names_or_folders, str):
        raise ConfigError(f"load_taggers takes a list of models, got the text {names_or_folders!r}: use load_tagger")
    options = with_keywords(options, keywords, "load_taggers()")
    heads = [head if isinstance(head, Head) else load_head(head) for head in options.heads]
    taggers = [load_tagger(name, replace(options, heads=())) for name in names_or_folders]
    known = {tagger.bundle.digest: tagger.bundle.name for tagger in taggers}
    for head in heads:
        parent = head.card.parent
        if parent.digest not in known:
            raise MismatchError(
                f"the head {head.name!r} was trained on {parent.name!r} (digest {parent.digest[:12]}...), which is "
                f"none of {', '.join(known.values())}"
            )
    return Taggers(
        tagger.with_heads(*(head for head in heads if head.card.parent.digest == tagger.bundle.digest))
        for tagger in taggers
    )


guard(globals())
