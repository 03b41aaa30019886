"""Detector cards: versioned YAML files that fix the detector and the fragmentation."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jettagger.arguments import guard
from jettagger.config.yamlfile import read_yaml
from jettagger.errors import ConfigError, UnknownName
from jettagger.files import refuse_special

__all__ = ["DetectorCard", "card_names", "load_card"]

FORMAT = "jettagger-detector-card/1"


@dataclass(frozen=True)
class DetectorCard:
    """One detector card.

    Attributes
    ----------
    name : str
        Its name.
    version : int
        Raised with every change of a number.
    description : str
        One line.
    values : dict
        The sections of the YAML file, ``values[section][key]``.
    """

    name: str
    version: int
    description: str
    values: dict[str, dict[str, Any]]

    def __getitem__(self, section: str) -> dict[str, Any]:
        return self.values[section]

    @property
    def digest(self) -> str:
        """SHA-256 of the card's content, 12 hexadecimal digits."""
        text = json.dumps([self.name, self.version, self.values], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def with_pileup(self, mean: float) -> DetectorCard:
        """The same card with another mean number of further interactions."""
        if mean < 0:
            raise ConfigError(f"the mean number of pile-up interactions is {mean}, expected 0 or more")
        values = {**self.values, "pileup": {**self.values["pileup"], "mean": float(mean)}}
        return DetectorCard(self.name, self.version, self.description, values)


def card_names() -> list[str]:
    """Names of the cards that come with jettagger."""
    folder = resources.files("jettagger.simulation") / "cards"
    return sorted(item.name[: -len(".yaml")] for item in folder.iterdir() if item.name.endswith(".yaml"))


@cache
def _default_text() -> str:
    return (resources.files("jettagger.simulation") / "cards" / "default.yaml").read_text()


def load_card(name: str | Path = "default") -> DetectorCard:
    """A card by its name or from a YAML file of one's own.

    Parameters
    ----------
    name : str or path
        One of `card_names`, or a path that ends in ``.yaml``.

    Returns
    -------
    DetectorCard

    Raises
    ------
    UnknownName
        If no card has that name.
    ConfigError
        If the file lacks a key of the default card, has an unknown one, or a value of another type.

    Examples
    --------
    >>> load_card("default")["tracking"]["magnetic_field"]
    3.8
    """
    if str(name).endswith((".yaml", ".yml")):
        path = Path(name)
        refuse_special(path, ConfigError)
        if not path.is_file():
            raise ConfigError(f"detector card {path}: no such file")
        text, where = path.read_text(), str(path)
    else:
        names = card_names()
        if str(name) not in names:
            raise UnknownName("detector card", str(name), names)
        text = (resources.files("jettagger.simulation") / "cards" / f"{name}.yaml").read_text()
        where = f"card {name!r}"
    reference = read_yaml(_default_text(), name="card 'default'").data
    return _checked(read_yaml(text, name=where).data, reference, where)


def _checked(content: Any, reference: dict[str, Any], where: str) -> DetectorCard:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        got = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ConfigError(f"{where}: format is {got!r}, expected {FORMAT!r}")
    _same_keys(content, reference, where)
    sections = {key: value for key, value in reference.items() if isinstance(value, dict)}
    for section, expected in sections.items():
        found = content[section]
        if not isinstance(found, dict):
            raise ConfigError(f"{where}: section {section!r} is a {type(found).__name__}, expected a mapping")
        _same_keys(found, expected, f"{where}, section {section!r}")
        for key, value in expected.items():
            number = isinstance(value, (int, float))
            good = isinstance(found[key], (int, float)) and not isinstance(found[key], bool)
            if number and not (good and found[key] == found[key]):
                raise ConfigError(f"{where}: {section}.{key} is {found[key]!r}, expected a number")
            if not number and not isinstance(found[key], type(value)):
                raise ConfigError(f"{where}: {section}.{key} is {found[key]!r}, expected a {type(value).__name__}")
    return DetectorCard(
        str(content["name"]),
        int(content["version"]),
        str(content["description"]),
        {section: dict(content[section]) for section in sections},
    )


def _same_keys(found: dict[str, Any], expected: dict[str, Any], where: str) -> None:
    unknown = [str(key) for key in found if key not in expected]
    if unknown:
        raise UnknownName("key", unknown, expected, where)
    missing = [key for key in expected if key not in found]
    if missing:
        raise ConfigError(f"{where}: missing {', '.join(missing)}")


guard(globals())
