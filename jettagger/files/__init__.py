"""Files: outputs that are complete or absent, one way to open each format, common wording of errors."""

from __future__ import annotations

from jettagger.files.atomic import (
    SEPARATOR,
    allowed_mode,
    check_folder,
    complete_or_absent,
    folder_complete_or_absent,
    follow,
    identity,
    refuse_inputs,
    refuse_repeats,
    refuse_special,
    replace_folder,
    special,
)

__all__ = [
    "SEPARATOR",
    "allowed_mode",
    "check_folder",
    "complete_or_absent",
    "folder_complete_or_absent",
    "follow",
    "identity",
    "refuse_inputs",
    "refuse_repeats",
    "refuse_special",
    "replace_folder",
    "special",
]


def __dir__() -> list[str]:
    return sorted(__all__)
