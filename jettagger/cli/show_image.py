"""Draw the mean image of the jets in a file, or those of two files and their difference.

Files with one row a jet (JetClass-II; ROOT, parquet, TARBALL::MEMBER), PFNano and simulated files, Delphes files. The
scale is logarithmic; in differences, pixels within one standard deviation are left blank. What does not enter the
images, such as constituents outside of them, is counted.

Settings are options, or keys of a YAML file ('jettagger schema image'), which options replace:

  version: 1
  image:                       # as in the declared inputs of a network
    size: 40                   # or [rows, columns]
    range: 0.8                 # half width in eta and phi
    channels: [all, charged, {name: displacement, selection: charge != 0, quantity: mean of abs(d0val)}]
    steps: {centre: centroid, rotate: principal, flip: both}
    normalise: image

examples:
  jettagger show image qcd.root -o qcd.png
  jettagger show image top.root --versus qcd.root --centre centroid --rotate principal --flip both -o difference.png
  jettagger show image jets.parquet --where "jet_label == 0" --versus jets.parquet --versus-where "jet_label >= 161" \\
      --channels all,charged,photons -o classes.pdf
  jettagger show image a.root --versus b.root --weights "1 / jet_pt" --settings image.yaml --number 100000 -o ab.png
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettagger.cli.console import Console
from jettagger.cli.options import counted, finite

if TYPE_CHECKING:
    from jettagger.images import ImageSettings

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger show image``."""
    add = parser.add_argument
    add("file", metavar="FILE", help="file with jets")
    add("--versus", metavar="FILE", help="second file: its mean image, and the difference, are drawn as well")
    add("--output", "-o", required=True, metavar="OUT", help="picture to write: .png, .pdf, .svg")
    add("--where", default="", metavar="CUT", help="jets to draw, in columns of the jets, e.g. 'jet_pt > 500'")
    add("--versus-where", metavar="CUT", help="jets of the second file (default: as --where)")
    add("--weights", default="", metavar="W", help="weights of the jets, in columns of the jets, e.g. '1 / jet_pt'")
    add("--versus-weights", metavar="W", help="weights of the second file (default: as --weights)")
    add("--number", "-n", type=counted, metavar="N", help="first N selected jets of each file (default: all)")
    add("--name", metavar="TEXT", help="name of the first sample (default: name of the file)")
    add("--versus-name", metavar="TEXT", help="name of the second sample")
    add("--jets", metavar="NAME", help="collection of jets of events")
    add("--tree", metavar="NAME", help="tree of ROOT files with one row per jet (default: the only one)")
    add("--force", action="store_true", help="replace an existing picture")
    group = parser.add_argument_group("settings of the images")
    add = group.add_argument
    add("--settings", metavar="FILE.yaml", help="file of settings, see above")
    add("--size", type=_pixels, metavar="N", help="pixels along an axis, or ROWS,COLUMNS (default: 40)")
    add("--range", type=_widths, metavar="R", help="half width, or ETA,PHI (default: 0.8)")
    add("--zoom", type=finite, metavar="PT", help="multiply distances by the pt of the jet divided by PT in GeV")
    add("--channels", metavar="NAMES", help="all, charged, neutral, photons, electrons, muons, with commas")
    add("--granularity", metavar="WORD", help="constituents, tracks, cells or generator (default: constituents)")
    add("--centre", metavar="WORD", help="axis, leading or centroid (default: axis)")
    add("--rotate", metavar="WORD", help="none, principal or second (default: none)")
    add("--flip", metavar="WORD", help="none, eta, phi or both (default: none)")
    add("--normalise", metavar="WORD", help="none or image (default: none)")


def _pixels(text: str) -> Any:
    numbers = [counted(item) for item in text.split(",")]
    return numbers[0] if len(numbers) == 1 else numbers


def _widths(text: str) -> Any:
    numbers = [finite(item) for item in text.split(",")]
    return numbers[0] if len(numbers) == 1 else numbers


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger show image``.

    Raises
    ------
    OutputError
        If the output exists already and ``--force`` is not given, or is no picture by its suffix.
    ConfigError
        If the settings are not valid, or no jets are selected.
    """
    from jettagger.errors import ConfigError, output_exists
    from jettagger.files import refuse_inputs
    from jettagger.plots import check_picture, mean_images, save_figure
    from jettagger.skims.flat_jets import FlatJets
    from jettagger.skims.image_samples import sample_image

    paths = [args.file, *([args.versus] if args.versus is not None else [])]
    refuse_inputs(args.output, [*paths, *([args.settings] if args.settings is not None else [])])
    if Path(args.output).exists() and not args.force:
        raise output_exists(args.output)
    of_second = {"--versus-where": args.versus_where, "--versus-weights": args.versus_weights}
    of_second["--versus-name"] = args.versus_name
    if args.versus is None and (given := [name for name, value in of_second.items() if value is not None]):
        raise ConfigError(f"{' and '.join(given)}: of the second file, but there is no --versus")
    settings = _settings(args)
    cuts = [args.where, args.where if args.versus_where is None else args.versus_where]
    weights = [args.weights, args.weights if args.versus_weights is None else args.versus_weights]
    names = _names(args, paths)
    check_picture(args.output)
    files = [FlatJets(path, args.jets, tree=args.tree) for path in paths]
    samples = {}
    for file, cut, weight, name in zip(files, cuts, weights, names, strict=False):
        with console.progress_bar(f"reading {name}", file.n_rows, file.unit) as advance:
            samples[name] = sample_image(file, settings, where=cut, weights=weight, limit=args.number, progress=advance)
    lines = list(dict.fromkeys(text for sample in samples.values() for text in sample.counts))
    rows = [(text, *(sample.counts.get(text, 0) for sample in samples.values())) for text in lines]
    rows.append(("pt in the images", *(f"{sample.pt_inside:.2%}" for sample in samples.values())))
    console.table("mean images", ("", *samples), rows)
    save_figure(mean_images({name: sample.mean for name, sample in samples.items()}), args.output)
    console.wrote(args.output, f"wrote {args.output}")
    return 0


def _names(args: argparse.Namespace, paths: list[str]) -> list[str]:
    """Different names of the samples."""
    given = [args.name, args.versus_name]
    names = [name or Path(path.rpartition("::")[2]).stem for name, path in zip(given, paths, strict=False)]
    return names if len(set(names)) == len(names) else [names[0], f"{names[1]} (2)"]


def _settings(args: argparse.Namespace) -> ImageSettings:
    """The settings of a file, with those of the options in their place."""
    from jettagger.config.models import validated
    from jettagger.config.yamlfile import Document, read_yaml
    from jettagger.images import ImageFile
    from jettagger.images.settings import VERSION

    document = Document({"version": VERSION}, "options", {})
    if args.settings is not None:
        document = read_yaml(args.settings)
    given = document.mapping()
    own = given.get("image")
    if own is not None and not isinstance(own, dict):
        validated(ImageFile, document, version=VERSION)
    content = dict(own or {})
    for key in ("size", "range", "zoom", "granularity", "normalise"):
        if (value := getattr(args, key)) is not None:
            content[key] = value
    if args.channels is not None:
        content["channels"] = args.channels.split(",")
    steps = {key: getattr(args, key) for key in ("centre", "rotate", "flip") if getattr(args, key) is not None}
    before = content.get("steps") or {}
    if steps and isinstance(before, dict):
        content["steps"] = {**before, **steps}
    return validated(ImageFile, replace(document, data={**given, "image": content}), version=VERSION).image
