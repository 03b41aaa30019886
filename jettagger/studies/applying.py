"""Application of maps to the files of skims."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jettagger.arguments import guard
from jettagger.decorrelation import DecorrelationMap, MapCount, load_map
from jettagger.errors import ConfigError, InputFileError, JettaggerError, MissingColumns
from jettagger.files import refuse_inputs
from jettagger.finetuning.score import flat_columns
from jettagger.finetuning.skims import Skim, open_skim
from jettagger.provenance import Provenance
from jettagger.skims.writers import check_target, write_skim

__all__ = ["apply_maps", "columns_of_map"]

#: events per chunk
_ROWS = 20_000


def columns_of_map(made: DecorrelationMap, collection: str) -> dict[str, str | None]:
    """The columns that a map adds to a skim.

    Parameters
    ----------
    made : DecorrelationMap
    collection : str
        Name of the jets.

    Returns
    -------
    dict
        ``<jets>_<name>``, for thresholds ``<jets>_<name>_<efficiency>`` -> efficiency or None.
    """
    if not made.efficiencies:
        return {f"{collection}_{made.name}": None}
    return {f"{collection}_{made.name}_{key}": key for key in made.efficiencies}


def apply_maps(
    maps: Sequence[DecorrelationMap | str | os.PathLike[str]],
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    prefix: str | None = None,
    collection: str | None = None,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> dict[str, MapCount]:
    """Add the numbers of maps to a skim.

    Parameters
    ----------
    maps : sequence of DecorrelationMap or path
    path : path
        ``.parquet`` or ``.root``, with the scores and the protected columns.
    output : path
        ``.parquet`` or ``.root``: all columns of the skim, and those of `columns_of_map`. It is complete or absent.
    prefix : str, optional
        Prefix of the tagger's columns; default: that of the scores of the map where several taggers have them.
    collection : str, optional
        Name of the jets; default: those that the tagger scored.
    force : bool
        Whether an existing output may be replaced.
    progress : callable, optional
        Called with the number of events after each chunk.

    Returns
    -------
    dict of str to MapCount
        Name of the map -> how many jets have no score and how many are outside.

    Raises
    ------
    MismatchError
        If the scores of the skim belong to another model than that of a map.
    MissingColumns
        If scores or protected columns are missing; gives the file.
    ConfigError
        If there is no map, or two of them or a map and the skim have the same column.
    InputFileError, OutputError
    """
    skim = open_skim(os.fspath(path))
    refuse_inputs(output, [skim.path])
    if not maps:
        raise ConfigError(f"{os.fspath(path)}: got no map to apply, expected at least one")
    loaded = [item if isinstance(item, DecorrelationMap) else load_map(item) for item in maps]
    files = [os.fspath(item) for item in maps if not isinstance(item, DecorrelationMap)]
    check_target(output, force=force, inputs=[skim.path, *files])
    uses = [_Use(item, skim, prefix, collection) for item in loaded]
    taken = dict.fromkeys(skim.names, skim.path)
    for use in uses:
        for column in use.columns:
            if column in taken:
                raise ConfigError(
                    f"map {use.map.name!r}: the column {column!r} is in {taken[column]} already: fit the map with "
                    "another name="
                )
            taken[column] = f"another map, {use.map.name!r},"
    counts = {use.map.name: MapCount(0, 0, 0) for use in uses}

    def chunks() -> Iterator[dict[str, Any]]:
        for events, flat in flat_columns(skim, _ROWS):
            for use in uses:
                numbers = use.numbers(events)
                flat.update(numbers)
                counts[use.map.name] += use.map.count_of(next(iter(numbers.values())))
            yield flat
            if progress is not None:
                progress(len(events))

    write_skim(output, chunks(), _record(skim, uses), force=force, inputs=[skim.path, *files])
    return counts


class _Use:
    """A map with the jets and scores of one skim that it applies to; checked without reading rows."""

    def __init__(self, made: DecorrelationMap, skim: Skim, prefix: str | None, collection: str | None) -> None:
        self.map = made
        self.prefix = prefix
        self.jets = collection or skim.collection(prefix or made.prefix or "")
        self.model = skim.record if skim.digest else None
        self.columns = columns_of_map(made, self.jets)
        try:
            try:
                self.numbers(skim.empty)
            except ConfigError:  # several taggers have the scores
                if prefix is not None or not made.prefix:
                    raise
                self.prefix = made.prefix
                self.numbers(skim.empty)
        except (MissingColumns, ConfigError) as error:
            raise _placed(error, skim.path, made) from error

    def numbers(self, events: Any) -> dict[str, Any]:
        return {
            column: self.map(events, efficiency, prefix=self.prefix, collection=self.jets, model=self.model)
            for column, efficiency in self.columns.items()
        }


def _placed(error: JettaggerError, path: str, made: DecorrelationMap) -> JettaggerError:
    return error.placed(f"{path}, map {made.name!r}")


def _record(skim: Skim, uses: Sequence[_Use]) -> str:
    """The provenance of the skim with the maps."""
    record = dict(skim.record) or Provenance("map", files=(skim.path,)).to_dict()
    settings = record.get("configuration") or {}
    if not isinstance(settings, dict):
        raise InputFileError(f"{skim.path}: its provenance has the configuration {settings!r}, expected an object")
    earlier = settings.get("maps") or {}
    added = {
        use.map.name: {
            "digest": use.map.digest,
            "method": use.map.method,
            "discriminant": str(use.map.discriminant),
            "outside": use.map.outside,
            "columns": list(use.columns),
        }
        for use in uses
    }
    return json.dumps({**record, "configuration": {**settings, "maps": {**earlier, **added}}})


guard(globals())
