"""The comparisons with numbers of others that docs/validation.md lists, group by group."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.cms_networks import NETWORKS

__all__ = ["COMPARISONS", "GROUPS", "Comparison"]


@dataclass(frozen=True)
class Comparison:
    """One line of the page.

    Parameters
    ----------
    what : str
        What of jettagger is compared.
    against : str
        With what; versions of packages are added to it.
    on : str
        Kind of data. ``{sample}`` is their number.
    test : str
        Which test compares: ``tests/test_x.py::test_y``.
    packages : tuple of str
        Whose version counts, as installed where it was measured.
    page : str
        Where more is said.
    files : tuple of str
        What is read of the folder with real files.
    unit : str
        Of the differences; empty for numbers without one, such as probabilities.
    """

    what: str
    against: str
    on: str
    test: str
    packages: tuple[str, ...] = ()
    page: str = ""
    files: tuple[str, ...] = ()
    unit: str = ""


_STORED = "tests/test_docs_models.py::test_the_differences_are_those_that_are_measured"

#: group -> its title and what is said about it
GROUPS: dict[str, tuple[str, str]] = {
    "cms_stored_scores": (
        "Scores stored by CMSSW",
        "The file holds scores that CMS's software computed from the full event; jettagger computes them from the "
        "stored columns, which have 10-bit mantissas, as have the stored scores. The difference of each column: "
        "[models.md](models.md#agreement-with-the-stored-scores).",
    ),
}

#: network -> its title
_NETWORKS = {
    "particlenet-ak8-md": "ParticleNet-MD V01",
    "deepdoublex-v02-bvl": "DeepDoubleX V02, bb against light",
    "deepdoublex-v02-cvb": "DeepDoubleX V02, cc against bb",
    "deepak8-md-v02": "DeepAK8-MD V02",
    "deepjet-v03": "DeepJet V03",
}

#: group/name -> the comparison
COMPARISONS: dict[str, Comparison] = {
    f"cms_stored_scores/{name}": Comparison(
        f"scores of {title}",
        "CMSSW (Run 2)",
        "{sample} AK4 jets with abs(eta) < 2.5 of 10 simulated QCD events, PFNano"
        if name == "deepjet-v03"
        else "{sample} AK8 jets of 10 simulated QCD events, PFNano",
        _STORED,
        page="models.md#agreement-with-the-stored-scores",
        files=("cms/pfnano.root", f"models/{NETWORKS[name][0]}"),
    )
    for name, title in _NETWORKS.items()
}
