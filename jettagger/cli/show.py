"""Draw jets as point clouds: size by pt, marker by type, filled for charged, colour by displacement.

Beside the constituents: the generator particles with the decay products (x) and the resonance (+), where the file has
them, and with --model the five highest scores. Files with one row a jet (JetClass-II; ROOT, parquet, TARBALL::MEMBER),
Delphes files and PFNano files, whose jets are counted through all events. 'jettagger show image' draws mean images.

examples:
  jettagger show jet jets.parquet -n 3 -o jet.png              the jet in row 3, counted from 0
  jettagger show jet pfnano.root -n 0:3 --model tinyParT -o jets.png
  jettagger show jet jets.parquet -n 0:4 --model Sophon -o jets.pdf
  jettagger show jet delphes.root -n 0 --jets JetPUPPIAK15 -o jet.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from jettagger.cli.console import Console
from jettagger.cli.tagger import add_options, given_options
from jettagger.errors import ConfigError, output_exists

__all__ = ["configure", "run"]

#: maximum number of jets in a legible display
MOST = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add("what", choices=("jet",), help="what to draw")
    add("file", metavar="FILE", help="file with one row per jet, Delphes file or PFNano file")
    add("--number", "-n", default="0", metavar="N", help="row of the jet, counted from 0, or a range such as 0:4")
    add("--model", "-m", metavar="M", help="show the five highest scores of this model")
    add("--output", "-o", required=True, metavar="OUT", help="picture to write: .png, .pdf, .svg")
    add("--tree", metavar="NAME", help="tree of ROOT files (default: the only one)")
    add("--force", action="store_true", help="replace an existing picture")
    add_options(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger show``.

    Raises
    ------
    OutputError
        If the output exists already and ``--force`` is not given, or is no picture by its suffix.
    ConfigError
        If options of a tagger are given without ``--model``.
    """
    from jettagger.files import refuse_inputs
    from jettagger.inputs.flavours import declared_names
    from jettagger.inputs.pfnano_tables import is_event_file
    from jettagger.plots import check_picture, save_figure
    from jettagger.plots.jets import draw_jets
    from jettagger.tagging.tagger import load_tagger

    start, stop = _rows(args.number)
    refuse_inputs(args.output, [args.file])
    if Path(args.output).exists() and not args.force:
        raise output_exists(args.output)
    check_picture(args.output)
    given = given_options(args)
    if "format" in given:
        given["names"] = declared_names(given.get("names"), given.pop("format"))
    which: dict[str, Any] = {name: given[name] for name in ("jets", "names") if name in given}
    if args.model is None and len(which) < len(given):
        raise ConfigError(f"{', '.join(given)}: options of a tagger, but there is no --model")
    if which and not is_event_file(args.file):  # the jets of Delphes files are chosen here, and scored as a table
        given.pop("jets", None)
    tagger = None if args.model is None else load_tagger(args.model, **given)
    refuse_inputs(args.output, [] if tagger is None else tagger.sources)
    jets, table = _read(args, start, stop, tagger, which)
    scores = None
    if tagger is not None:
        kinds = ("prob", "logit")
        names = [output.name for output in tagger.outputs if output.kind in kinds]
        table = tagger(jets) if table is None else table
        scores = [{name: table[name][row] for name in names} for row in range(len(jets))]
    save_figure(draw_jets(jets, scores, model="" if tagger is None else tagger.bundle.name), args.output)
    console.wrote(args.output, f"wrote {args.output}")
    return 0


def _rows(text: str) -> tuple[int, int]:
    first, colon, last = text.partition(":")
    try:
        start = int(first)
        stop = int(last) if colon else start + 1
    except ValueError:
        start, stop = 0, 0
    if not 0 <= start < stop or stop - start > MOST:
        raise ConfigError(f"--number: expected a row or a range of at most {MOST} rows such as 0:4, got {text!r}")
    return start, stop


def _read(args: argparse.Namespace, start: int, stop: int, tagger: Any, which: dict[str, Any]) -> tuple[Any, Any]:
    """The jets as a flat table; their scores, where these need the events; ``which`` jets, and names of columns."""
    from jettagger.files.delphes import is_delphes_file
    from jettagger.files.tables import FlatFile
    from jettagger.inputs.pfnano_tables import is_event_file

    scores = None
    if is_delphes_file(args.file):
        jets, total = _from_delphes(args, start, stop)
    elif is_event_file(args.file):
        jets, total, scores = _from_events(args.file, start, stop, tagger, **which)
    else:
        with FlatFile(args.file, args.tree) as file:
            jets, total = file.read(None, start, stop), file.n_jets
    if len(jets) < stop - start:
        raise ConfigError(f"--number {args.number}: {args.file} has {total} jets")
    return jets, scores


def _from_delphes(args: argparse.Namespace, start: int, stop: int) -> tuple[Any, int]:
    import awkward as ak

    from jettagger.files.delphes import DelphesFile
    from jettagger.skims.convert import flat_columns

    with DelphesFile(args.file) as file:
        generator = [name for name in file.collections if name.startswith("GenJet")]
        done, parts = 0, []
        for event in range(file.n_events):
            columns, _ = flat_columns(file.read(args.jets, event, event + 1, ["Particle", *generator]), args.jets)
            parts.append(ak.zip(columns, depth_limit=1))
            done += len(parts[-1])
            if done >= stop:
                break
    return (ak.concatenate(parts)[start:stop] if parts else []), done


def _from_events(
    path: str, start: int, stop: int, tagger: Any, jets: str | None = None, names: Any = None
) -> tuple[Any, int, Any]:
    import awkward as ak

    from jettagger.files.root import EventFile
    from jettagger.inputs.pfnano_tables import nano_table, read_jets

    more: tuple[str, ...] = ()
    if tagger is not None:
        with EventFile(path) as file:
            more = tagger.check(file, path).columns
    kind = None if tagger is None else tagger.bundle.card.jets
    events, chosen, total = read_jets(path, start, stop, more, jets, names, kind)
    rows = nano_table(events, jets, names, kind)[chosen] if total > start else []
    scores = ak.flatten(tagger(events), axis=1)[chosen] if tagger is not None and len(rows) else None
    return rows, total, scores
