"""The options of a tagger on the command line, common to all verbs that load one."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from jettagger.cli.options import counted, finite
from jettagger.errors import ConfigError

if TYPE_CHECKING:
    from jettagger.tagging.options import TaggerOptions

__all__ = ["add_options", "given_options", "options_of"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that are fields of `jettagger.TaggerOptions`.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    """
    group = parser.add_argument_group("how the model is applied")
    add = group.add_argument
    add("--threads", type=counted, metavar="N", help="threads of the network (default: all cores, 1 in workers)")
    add(
        "--provider",
        metavar="NAME",
        help="execution provider of ONNX Runtime, e.g. cuda,device_id=1 (default: cpu)",
    )
    add("--precision", metavar="NAME", help="of matrix products, float32 or float16 (default: float32)")
    add("--backend", metavar="NAME", help="fast, onnxruntime or openvino (default: fast)")
    add(
        "--remote",
        metavar="URL",
        help="server of the network, grpc://host:8001/model (default: $JETTAGGER_REMOTE)",
    )
    cache = group.add_mutually_exclusive_group()
    cache.add_argument(
        "--cache",
        action="store_true",
        default=None,
        help="keep scores in the user's cache folder; the same jets are then found there",
    )
    cache.add_argument("--cache-folder", metavar="FOLDER", help="keep scores in this folder")
    add("--head", action="append", metavar="HEAD", dest="heads", help="folder of a head to run as well (repeatable)")
    add(
        "--jets",
        metavar="NAME",
        help="collection of jets (default: FatJet, FatJetAK15; of Delphes files JetPUPPIAK8, or the only one)",
    )
    add(
        "--outside",
        choices=("score", "skip"),
        help="jets outside the selection of the training: score and flag them, or leave them unscored (default: score)",
    )
    add(
        "--min-pt-share",
        type=finite,
        metavar="S",
        help="score only jets whose constituents carry this share of their pt (default: 0.8, without dangling links)",
    )
    add(
        "--name",
        action="append",
        metavar="OURS=THEIRS",
        dest="names",
        help="PFNano files with other names: PFCands=JetPFCands, FatJetPFCands.pFCandsIdx=candIdx (repeatable)",
    )
    add(
        "--format",
        metavar="F",
        help="flavour of PFNano: pfnano-106x, btvnano, ..., or a YAML file that declares one (default: recognised)",
    )
    add(
        "--batch-size",
        type=counted,
        metavar="N",
        help="maximum number of jets in one run (default: 64, on a GPU 4096, on a server 256)",
    )
    add("--block-bytes", metavar="SIZE", help="memory for the inputs that are made at a time (default: 150MB)")


def given_options(args: argparse.Namespace) -> dict[str, Any]:
    """The given options, as fields of `jettagger.TaggerOptions`.

    Parameters
    ----------
    args : argparse.Namespace

    Returns
    -------
    dict

    Raises
    ------
    ConfigError
        If ``--name`` or ``--block-bytes`` is not valid.
    """
    from jettagger.config.sizes import parse_size
    from jettagger.tagging.options import TaggerOptions

    values = {item.name: getattr(args, item.name) for item in fields(TaggerOptions)}
    if args.cache_folder is not None:
        values["cache"] = args.cache_folder
    if args.names:
        values["names"] = _names(args.names)
    if args.block_bytes is not None:
        values["block_bytes"] = parse_size(args.block_bytes)
    return {name: value for name, value in values.items() if value is not None}


def options_of(args: argparse.Namespace) -> TaggerOptions:
    """All options, with defaults for those that were not given; raises the same errors as `given_options`."""
    from jettagger.tagging.options import TaggerOptions

    return TaggerOptions(**given_options(args))


def _names(pairs: list[str]) -> dict[str, str | None]:
    """Names of a production from the options; an empty one means that the file lacks the column."""
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise ConfigError(f"--name {wrong[0]}: expected OURS=THEIRS, such as PFCands=JetPFCands")
    return {ours: theirs or None for ours, _, theirs in (pair.partition("=") for pair in pairs)}
