"""Files of correctionlib, whoever wrote them, and the descriptions in ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jettagger.errors import InputFileError
from jettagger.files.corrections import CorrectionText
from jettagger.files.jsonfile import parse_json

__all__ = ["CorrectionFile", "described", "validated_text"]


class CorrectionFile(CorrectionText):
    """The content of a correctionlib file of anyone.

    Parameters
    ----------
    text : str
        The JSON.
    name : str
        Its name in messages, e.g. that of the file.

    Raises
    ------
    InputFileError
        If the text is not a set of corrections of schema version 2.
    """

    def __init__(self, text: str, name: str = "") -> None:
        super().__init__(text, name)
        content = self._parsed()
        corrections = content.get("corrections")
        if content.get("schema_version") != 2 or not isinstance(corrections, list) or not corrections:
            raise InputFileError(
                f"{self._name}: not a correctionlib file of schema version 2: found schema_version "
                f"{content.get('schema_version')!r} and the keys {', '.join(map(str, content))}"
            )
        self._content: dict[str, Any] = content


def described(content: Mapping[str, Any], form: str) -> dict[str, Any] | None:
    """The description of a file of ours; None for files of others.

    Parameters
    ----------
    content : mapping
        Of the file.
    form : str
        The kind of file, e.g. ``scale factors``.

    Returns
    -------
    dict or None
    """
    text = content.get("description")
    if not isinstance(text, str) or not text.startswith('{"jettagger"'):
        return None
    try:
        record = parse_json(text, "description", kind=dict)["jettagger"]
    except (InputFileError, KeyError):
        return None
    is_ours = isinstance(record, dict) and str(record.get("format", "")).rpartition(" ")[0] == form
    return record if is_ours else None


def validated_text(content: Mapping[str, Any]) -> str:
    """The text of a set of corrections, validated with the schema of correctionlib.

    Parameters
    ----------
    content : mapping

    Returns
    -------
    str
    """
    from correctionlib import schemav2

    made = schemav2.CorrectionSet.model_validate(content)
    return str(made.model_dump_json(exclude_unset=True, indent=1)) + "\n"
