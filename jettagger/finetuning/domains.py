"""Two domains of jets, e.g. data and simulation, whose scores shall not differ: what each file is used for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.decorrelation.referee import FEWEST
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues
from jettagger.files import identity
from jettagger.finetuning.skims import expand
from jettagger.types import Bools

if TYPE_CHECKING:
    from jettagger.finetuning.config import FinetuneConfig

__all__ = ["DOMAIN", "Role", "check_domains", "roles_of", "seen_by_adversary"]

#: name of the column of a row with the index of its domain, -1 for none
DOMAIN = "domain"


@dataclass(frozen=True)
class Role(Brief):
    """What a file is used for.

    Parameters
    ----------
    domain : int
        0 or 1, -1 for none.
    labelled : bool
        Whether its jets have classes.
    weighted : bool
        Whether it has the columns of the weight.
    """

    domain: int = -1
    labelled: bool = True
    weighted: bool = True


def roles_of(config: FinetuneConfig) -> dict[str, Role]:
    """The files of a training, those without classes last, and what they are used for.

    Parameters
    ----------
    config : FinetuneConfig

    Returns
    -------
    dict of str to Role
        Path -> role.

    Raises
    ------
    InputFileError
        If a pattern matches nothing.
    ConfigError
        If a file is in both domains.
    MismatchError
        If a file is given twice in one place.
    """
    roles = {path: Role() for path in expand(config.files, config.folder, config.document.where("files"))}
    names = {identity(path): path for path in roles}
    domains: dict[Any, str] = {}
    given = {} if config.decorrelate is None else config.decorrelate.domains
    for number, (name, patterns) in enumerate(given.items()):
        where = config.document.where("decorrelate", "domains", name)
        for path in expand(patterns, config.folder, where):
            key = identity(path)
            if key in domains:
                raise ConfigError(f"{where}: {path} is in both domains, {domains[key]!r} and {name!r}")
            domains[key] = name
            labelled = key in names
            roles[names.get(key, path)] = Role(number, labelled)
    return roles


def check_domains(config: FinetuneConfig, counts: Any) -> None:
    """Refuse domains with too few jets.

    Parameters
    ----------
    config : FinetuneConfig
    counts : int[domains, folds, values of held]
        Numbers of jets that the adversary may see.

    Raises
    ------
    InvalidValues
        Gives the domain, and the number that is expected.
    """
    assert config.decorrelate is not None
    for name, by_fold in zip(config.decorrelate.domains, counts, strict=True):
        where = config.document.where("decorrelate", "domains", name)
        for model in range(config.split.folds):
            train = by_fold[[fold for fold in range(len(by_fold)) if fold != model]].sum(axis=0)
            for what, number, least in (
                ("for training", train[0], config.least_jets),
                ("for validation", train[1], 1),
                ("for the test, from which the referee learns,", by_fold[model].sum(), FEWEST),
            ):
                if number < least:
                    raise InvalidValues(
                        f"{where}: the domain {name!r} has {number} jets {what} that the adversary may see, expected "
                        f"at least {least}"
                    )


def seen_by_adversary(config: FinetuneConfig, label: Any) -> Bools:
    """Whether the adversary may see jets of a domain.

    Parameters
    ----------
    config : FinetuneConfig
    label : array, float[n] or int[n]
        Index of the class, negative without one.

    Returns
    -------
    bool[n]
    """
    assert config.decorrelate is not None
    of: Sequence[int] = [list(config.classes).index(config.decorrelate.of)] if config.decorrelate.of else []
    return np.asarray((label < 0) | np.isin(label, of) if of else np.ones(len(label), dtype=bool))
