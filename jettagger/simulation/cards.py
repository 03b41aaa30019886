"""Detector cards: versioned YAML files with the parameters of the detector and the fragmentation."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jettagger.arguments import guard, in_range
from jettagger.config.models import validated
from jettagger.config.yamlfile import Document, read_yaml
from jettagger.display import Brief
from jettagger.errors import ConfigError, UnknownName
from jettagger.files import refuse_special
from jettagger.simulation.schema import FORMAT, DetectorFile

__all__ = ["DetectorCard", "card_names", "load_card"]


@dataclass(frozen=True)
class DetectorCard(Brief):
    """One detector card.

    Attributes
    ----------
    name : str
        Its name.
    version : int
        Version, raised with every change of a number.
    description : str
        One-line description.
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
        """The same card with another mean number of pile-up interactions.

        Raises
        ------
        ConfigError
            If the mean is negative, above 1000 or not finite.
        """
        in_range(mean, "the mean number of pile-up interactions", 0, 1000)
        values = {**self.values, "pileup": {**self.values["pileup"], "mean": float(mean)}}
        return DetectorCard(self.name, self.version, self.description, values)


def card_names() -> list[str]:
    """Names of the cards that come with jettagger."""
    folder = resources.files("jettagger.simulation") / "cards"
    return sorted(item.name[: -len(".yaml")] for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_card(name: str | Path = "default") -> DetectorCard:
    """A card by its name or from a user's YAML file.

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
        If the file lacks a required key, has an unknown one, or a value of another type.

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
        return _checked(read_yaml(path))
    names = card_names()
    if str(name) not in names:
        raise UnknownName("detector card", str(name), names)
    text = (resources.files("jettagger.simulation") / "cards" / f"{name}.yaml").read_text()
    return _checked(read_yaml(text, name=f"card {name!r}"))


def _checked(document: Document) -> DetectorCard:
    content = document.mapping()
    if content.get("format") != FORMAT:
        raise ConfigError(f"{document.where('format')}: format is {content.get('format')!r}, expected {FORMAT!r}")
    card = validated(DetectorFile, document)
    # as they are written, for the digest tells 1 from 1.0, and the defaults of keys that are not
    defaults = card.model_dump()
    sections = {key: {**defaults[key], **value} for key, value in content.items() if isinstance(value, dict)}
    return DetectorCard(card.name, card.version, card.description, sections)


guard(globals())
