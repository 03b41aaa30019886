"""What can be simulated: each process with its Pythia settings, and mixtures of processes.

The pairs of boosted resonances come from a graviton of varying mass, as in the training samples of the
experiments; W bosons (and charged leptons from them) are forced into the wanted channels, so that rare ones
are not rare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

import numpy as np

from jettagger.arguments import guard
from jettagger.errors import ConfigError, UnknownName
from jettagger.files.jsonfile import parse_json

__all__ = [
    "LABELS",
    "MIXTURES",
    "PROCESSES",
    "V1_TYPES",
    "Mixture",
    "Point",
    "Process",
    "label_id",
    "label_name",
    "members",
    "rates",
]

#: The 37 jet types in the order of the V1 tagger's outputs; the index is the value of ``FatJet_label``.
V1_TYPES: tuple[str, ...] = (
    "HWqqWqq0c", "HWqqWqq1c", "HWqqWqq2c", "HWqqWq0c", "HWqqWq1c", "HWqqWq2c",
    "HWqqWev0c", "HWqqWev1c", "HWqqWmv0c", "HWqqWmv1c",
    "HWqqWtauev0c", "HWqqWtauev1c", "HWqqWtaumv0c", "HWqqWtaumv1c", "HWqqWtauhv0c", "HWqqWtauhv1c",
    "Hbb", "Hcc", "Hss", "Hqq", "Htauhtaue", "Htauhtaum", "Htauhtauh",
    "QCDbb", "QCDcc", "QCDb", "QCDc", "QCDothers",
    "TopbWqq0c", "TopbWqq1c", "TopbWq0c", "TopbWq1c",
    "TopbWev", "TopbWmv", "TopbWtauhv", "TopbWtauev", "TopbWtaumv",
)  # fmt: skip

#: Every value of ``FatJet_label``: the 37 above, and from 100 on types that V1 does not know.
LABELS: dict[str, int] = {
    **{name: index for index, name in enumerate(V1_TYPES)},
    "Xgg": 100,
    "HZgamma": 101,
    "Xbc": 102,
    "Wqq": 110,
    "Wcq": 111,
    "Zqq": 112,
    "Zcc": 113,
    "Zbb": 114,
    "Ztautau": 115,
    "Hgamgam": 116,
}


def label_id(name: str) -> int:
    """The number of a jet type in ``FatJet_label``.

    Raises
    ------
    UnknownName
        If there is no such type of jet.

    Examples
    --------
    >>> label_id("Hbb")
    16
    """
    if name not in LABELS:
        raise UnknownName("jet type", name, LABELS)
    return LABELS[name]


def label_name(index: int) -> str:
    """The name of a value of ``FatJet_label``; ``"none"`` for -1.

    Raises
    ------
    UnknownName
        If there is no type of jet with this number.

    Examples
    --------
    >>> label_name(27), label_name(-1)
    ('QCDothers', 'none')
    """
    if index == -1:
        return "none"
    for name, number in LABELS.items():
        if number == index:
            return name
    raise UnknownName("jet type", str(index), [str(number) for number in LABELS.values()])


@dataclass(frozen=True)
class Point:
    """What one block of events is made with; lengths in GeV.

    Attributes
    ----------
    pt : tuple of float
        Range of the transverse momentum of the fat jets to keep.
    mass : tuple of float
        Range of the mass of the generated resonance.
    u_mass, u_scale : float
        Two numbers in [0, 1) that choose the mass window and the mass of the pair.
    parity : int
        0 or 1: which of two charge-conjugate settings.
    """

    pt: tuple[float, float]
    mass: tuple[float, float]
    u_mass: float = 0.5
    u_scale: float = 0.5
    parity: int = 0


Settings = Callable[[Point], list[str]]


@dataclass(frozen=True)
class Process:
    """One process that Pythia makes.

    Attributes
    ----------
    name : str
        Its name on the command line.
    number : int
        Its number in ``genProcess`` and in the tree ``Runs``.
    group : str
        ``"training"`` or ``"analysis"``.
    summary : str
        One line for the list.
    settings : callable
        `Point` -> Pythia settings.
    fatjet : bool
        Whether an event needs a fat jet in the asked range of transverse momentum.
    qcd_labels : bool
        Whether jets away from all decay products get one of the five QCD types (else none).
    keep : tuple of str
        If given, only fat jets of these types are stored, and events without one are dropped.
    mass : tuple of float, optional
        Default range of the mass of the resonance (GeV); None where no mass can be chosen.
    mass_limits : tuple of float
        What `mass` may be set to.
    cross_section : float
        Factor on Pythia's cross section; 0 for a toy resonance, whose samples are normalised to 1 pb.
    small_constituents : bool
        Whether the constituents of AK4 jets are stored too.
    """

    name: str
    number: int
    group: str
    summary: str
    settings: Settings = field(repr=False)
    fatjet: bool = True
    qcd_labels: bool = False
    keep: tuple[str, ...] = ()
    mass: tuple[float, float] | None = None
    mass_limits: tuple[float, float] = (15.0, 250.0)
    cross_section: float = 0.0
    small_constituents: bool = False


@dataclass(frozen=True)
class Mixture:
    """Several processes in one sample, block by block.

    Attributes
    ----------
    name, summary : str
        As for `Process`.
    shares : dict of str to int
        Events of each process in every ``sum(shares)``.
    """

    name: str
    summary: str
    shares: dict[str, int]


RATIO_W_TO_H = 80.4 / 125.0
RATIO_W_TO_TOP = 80.4 / 172.5
W_WIDTH = 2.085 / 80.4
HADRONS = "1 2 3 4 5"
TO_QUARKS = f"onIfAny = {HADRONS}"
TAU_HADRONS = "111 211 213 311 313 321 323 130 310 221 223"


def _graviton(pair: str, point: Point, mass: float, visible: float = 1.0) -> list[str]:
    """A graviton to a pair, its mass log-uniform so that the pair's pt covers the range.

    Decay products of a mass m are inside a jet of radius 0.8 from about pt = 2.5 m on; lower pairs would be
    lost. ``visible`` is the part of the momentum that neutrinos leave to the jet.
    """
    low = max(2.3 * point.pt[0] / visible, 5.0 * mass)
    high = max(2.15 * point.pt[1] / visible, 1.2 * low)
    mass_g = low * (high / low) ** point.u_scale
    return [
        "ExtraDimensionsG*:gg2G* = on",
        "ExtraDimensionsG*:ffbar2G* = on",
        f"5100039:m0 = {mass_g:.3f}",
        f"5100039:mMin = {0.85 * mass_g:.3f}",
        f"5100039:mMax = {1.15 * mass_g:.3f}",
        "5100039:onMode = off",
        *([f"5100039:addChannel = 1 0.3 100 {pair}"] if pair == "37 -37" else []),
        f"5100039:onIfMatch = {pair}",
    ]


def _flat(particle: int, low: float, high: float) -> list[str]:
    """A mass that is uniform between two values: a Breit-Wigner very much wider than its window."""
    if high - low < 0.2:
        low, high, width = 0.5 * (low + high) - 0.1, 0.5 * (low + high) + 0.1, 0.001
    else:
        width = 20.0 * (high - low) + 100.0
    return [
        "ParticleData:modeBreitWigner = 1",
        f"{particle}:m0 = {0.5 * (low + high):.3f}",
        f"{particle}:mWidth = {width:.3f}",
        f"{particle}:doForceWidth = on",
        f"{particle}:mMin = {low:.3f}",
        f"{particle}:mMax = {high:.3f}",
    ]


def _window(point: Point, width: float = 0.2) -> tuple[float, float, float]:
    """Centre and ends of this block's mass window; over many blocks the mass is about uniform."""
    low, high = point.mass
    first, last = low / (1.0 + 0.7 * width), high / (1.0 - 0.7 * width)
    centre = first + (last - first) * point.u_mass
    return centre, max(low, (1.0 - width) * centre), min(high, (1.0 + width) * centre)


def _scaled_w(mass: float, smallest: float) -> list[str]:
    return [
        f"24:m0 = {mass:.3f}",
        f"24:mWidth = {max(W_WIDTH * mass, 0.3):.3f}",
        "24:doForceWidth = on",
        f"24:mMin = {min(smallest, 0.5 * mass):.3f}",
        f"24:mMax = {2.0 * mass:.3f}",
    ]


def _w_decays(positive: str, negative: str, parity: int) -> list[str]:
    """Channels of the two W bosons, exchanged from block to block."""
    if positive == negative:
        return ["24:onMode = off", f"24:onIfAny = {positive}"]
    if parity:
        positive, negative = negative, positive
    return ["24:onMode = off", f"24:onPosIfAny = {positive}", f"24:onNegIfAny = {negative}"]


def _tau_decays(first: str, second: str, parity: int) -> list[str]:
    if first == second:
        return ["15:onMode = off", f"15:onIfAny = {first}"]
    if parity:
        first, second = second, first
    return ["15:onMode = off", f"15:onPosIfAny = {first}", f"15:onNegIfAny = {second}"]


TAU = {"e": "11", "m": "13", "h": TAU_HADRONS}
LEPTON = {"e": "11", "m": "13", "tau": "15"}


def _two_body(*channels: str, visible: float = 1.0) -> Settings:
    def settings(point: Point) -> list[str]:
        centre, low, high = _window(point, 0.35)
        lines = _graviton("25 25", point, centre, visible)
        lines += _flat(25, low, high)
        share = 1.0 / len(channels)
        for index, channel in enumerate(channels):
            verb = "oneChannel" if index == 0 else "addChannel"
            lines.append(f"25:{verb} = 1 {share:.4f} 100 {channel}")
        return lines

    return settings


def _ditau(first: str, second: str) -> Settings:
    base = _two_body("15 -15", visible=0.5 if (first, second) != ("h", "h") else 0.65)
    return lambda point: base(point) + _tau_decays(TAU[first], TAU[second], point.parity)


def _ww(lepton: str = "", tau: str = "") -> Settings:
    def settings(point: Point) -> list[str]:
        centre, low, high = _window(point)
        visible = (0.65 if tau else 0.8) if lepton else 1.0
        lines = _graviton("25 25", point, centre, visible)
        lines += _flat(25, low, high)
        lines += ["25:oneChannel = 1 1.0 100 24 -24"]
        lines += _scaled_w(RATIO_W_TO_H * centre, 2.5 if tau or not lepton else 1.5)
        lines += _w_decays(LEPTON.get(lepton, HADRONS), HADRONS, point.parity)
        if tau:
            lines += _tau_decays(TAU[tau], TAU[tau], point.parity)
        return lines

    return settings


def _top(lepton: str = "", tau: str = "") -> Settings:
    def settings(point: Point) -> list[str]:
        centre, low, high = _window(point)
        visible = (0.6 if tau else 0.75) if lepton else 1.0
        lines = _graviton("6 -6", point, centre, visible)
        lines += _flat(6, low, high)
        lines += _scaled_w(RATIO_W_TO_TOP * centre, 2.5)
        channel = LEPTON.get(lepton, HADRONS)
        lines += _w_decays(channel, channel, 0)
        if tau:
            lines += _tau_decays(TAU[tau], TAU[tau], 0)
        return lines

    return settings


def _xbc(point: Point) -> list[str]:
    centre, low, high = _window(point, 0.35)
    return [*_graviton("37 -37", point, centre), *_flat(37, low, high), "37:oneChannel = 1 1.0 100 4 -5"]


def _hzgamma(point: Point) -> list[str]:
    centre, low, high = _window(point)
    mass = 91.2 / 125.0 * centre
    return [
        *_graviton("25 25", point, centre),
        *_flat(25, low, high),
        "25:oneChannel = 1 1.0 100 23 22",
        f"23:m0 = {mass:.3f}",
        f"23:mWidth = {max(2.5 / 91.2 * mass, 0.3):.3f}",
        "23:doForceWidth = on",
        f"23:mMin = {min(4.0, 0.5 * mass):.3f}",
        f"23:mMax = {1.3 * mass:.3f}",
        "23:onMode = off",
        f"23:onIfAny = {HADRONS}",
    ]


def _qcd(channels: tuple[str, ...], *extra: str) -> Settings:
    def settings(point: Point) -> list[str]:
        return [
            *(f"HardQCD:{channel} = on" for channel in channels),
            f"PhaseSpace:pTHatMin = {max(20.0, 0.85 * point.pt[0]):.2f}",
            f"PhaseSpace:pTHatMax = {1.4 * point.pt[1]:.2f}",
            "PhaseSpace:bias2Selection = on",
            "PhaseSpace:bias2SelectionPow = 4.5",
            "PhaseSpace:bias2SelectionRef = 200",
            *extra,
        ]

    return settings


LIGHT_QCD = ("gg2gg", "gg2qqbar", "qg2qg", "qq2qq", "qqbar2gg", "qqbar2qqbarNew")
ENHANCED = ("Enhancements:doEnhance = on", "EnhancedSplittings:List = {fsr:G2BB=2,fsr:G2CC=2}")
HEAVY_QCD = ("QCDbb", "QCDcc", "QCDb", "QCDc")


def _training() -> list[Process]:
    kept_ww = {
        "": V1_TYPES[0:6],
        "e": V1_TYPES[6:8],
        "m": V1_TYPES[8:10],
        "taue": V1_TYPES[10:12],
        "taum": V1_TYPES[12:14],
        "tauh": V1_TYPES[14:16],
    }
    resonance = "resonance mass varied"

    def signal(name: str, number: int, summary: str, settings: Settings, keep: tuple[str, ...]):  # type: ignore[no-untyped-def]
        return Process(name, number, "training", f"{summary}; {resonance}", settings, keep=keep, mass=(15.0, 250.0))

    return [
        signal("HWW4q", 1, "H -> WW -> 4q, 4 or 3 quarks in the jet", _ww(), kept_ww[""]),
        signal("HWWev", 2, "H -> WW -> qq e nu", _ww("e"), kept_ww["e"]),
        signal("HWWmv", 3, "H -> WW -> qq mu nu", _ww("m"), kept_ww["m"]),
        signal("HWWtauev", 4, "H -> WW -> qq tau(e) nu", _ww("tau", "e"), kept_ww["taue"]),
        signal("HWWtaumv", 5, "H -> WW -> qq tau(mu) nu", _ww("tau", "m"), kept_ww["taum"]),
        signal("HWWtauhv", 6, "H -> WW -> qq tau(hadrons) nu", _ww("tau", "h"), kept_ww["tauh"]),
        signal("Hbb", 11, "H -> bb", _two_body("5 -5"), ("Hbb",)),
        signal("Hcc", 12, "H -> cc", _two_body("4 -4"), ("Hcc",)),
        signal("Hss", 13, "H -> ss", _two_body("3 -3"), ("Hss",)),
        signal("Hqq", 14, "H -> uu, dd", _two_body("1 -1", "2 -2"), ("Hqq",)),
        signal("Htauhtaue", 15, "H -> tau(hadrons) tau(e)", _ditau("h", "e"), ("Htauhtaue",)),
        signal("Htauhtaum", 16, "H -> tau(hadrons) tau(mu)", _ditau("h", "m"), ("Htauhtaum",)),
        signal("Htauhtauh", 17, "H -> tau(hadrons) tau(hadrons)", _ditau("h", "h"), ("Htauhtauh",)),
        signal("Topbqq", 21, "t -> b qq, 3 or 2 quarks in the jet", _top(), V1_TYPES[28:32]),
        signal("Topbev", 22, "t -> b e nu", _top("e"), ("TopbWev",)),
        signal("Topbmv", 23, "t -> b mu nu", _top("m"), ("TopbWmv",)),
        signal("Topbtauhv", 24, "t -> b tau(hadrons) nu", _top("tau", "h"), ("TopbWtauhv",)),
        signal("Topbtauev", 25, "t -> b tau(e) nu", _top("tau", "e"), ("TopbWtauev",)),
        signal("Topbtaumv", 26, "t -> b tau(mu) nu", _top("tau", "m"), ("TopbWtaumv",)),
        Process(
            "QCDlight", 31, "training", "multijets from light partons, jets without heavy hadrons kept",
            _qcd(LIGHT_QCD), qcd_labels=True, keep=("QCDothers",), cross_section=1.0,
        ),
        Process(
            "QCDsplit", 32, "training", "the same, g -> bb, cc enhanced (weighted), heavy-flavour jets kept",
            _qcd(LIGHT_QCD, *ENHANCED), qcd_labels=True, keep=HEAVY_QCD, cross_section=1.0,
        ),
        Process(
            "QCDbbbar", 33, "training", "gg, qq -> bb", _qcd(("hardbbbar",)), qcd_labels=True,
            keep=V1_TYPES[23:28], cross_section=1.0,
        ),
        Process(
            "QCDccbar", 34, "training", "gg, qq -> cc", _qcd(("hardccbar",)), qcd_labels=True,
            keep=V1_TYPES[23:28], cross_section=1.0,
        ),
        signal("Xgg", 41, "X -> gg (unknown to V1)", _two_body("21 21"), ("Xgg",)),
        signal("HZgamma", 42, "H -> Z gamma, Z -> qq (unknown to V1)", _hzgamma, ("HZgamma",)),
        signal("Xbc", 43, "X+- -> bc (unknown to V1)", _xbc, ("Xbc",)),
    ]  # fmt: skip


def _heavy(pair: str) -> Settings:
    """A narrow resonance to a pair of particles of standard mass."""

    def settings(point: Point) -> list[str]:
        low, high = point.mass
        mass = low + (high - low) * point.u_scale
        return [
            "ExtraDimensionsG*:gg2G* = on",
            "ExtraDimensionsG*:ffbar2G* = on",
            f"5100039:m0 = {mass:.3f}",
            f"5100039:mWidth = {1e-3 * mass:.4f}",
            "5100039:doForceWidth = on",
            f"5100039:mMin = {0.98 * mass:.3f}",
            f"5100039:mMax = {1.02 * mass:.3f}",
            "5100039:onMode = off",
            *([f"5100039:addChannel = 1 0.3 100 {pair}"] if pair != "25 25" else []),
            f"5100039:onIfMatch = {pair}",
        ]

    return settings


def _hard(*switches: str, threshold: float = 0.0, semileptonic: bool = False) -> Settings:
    """A Standard Model process, generated above a part of the jets' lowest pt."""

    def settings(point: Point) -> list[str]:
        lines = [line if "=" in line else f"{line} = on" for line in switches]
        if threshold:
            lines.append(f"PhaseSpace:pTHatMin = {threshold * point.pt[0]:.2f}")
        if semileptonic:
            lines += _w_decays("11 13 15", HADRONS, point.parity)
        return lines

    return settings


TOPS = ("Top:gg2ttbar", "Top:qqbar2ttbar")
W_AND_JET = ("WeakBosonAndParton:qqbar2Wg", "WeakBosonAndParton:qg2Wq", "24:onMode = off")
Z_AND_JET = (
    "WeakBosonAndParton:qqbar2gmZg",
    "WeakBosonAndParton:qg2gmZq",
    "WeakZ0:gmZmode = 2",
    "23:onMode = off",
)
TTH = ("HiggsSM:gg2Httbar", "HiggsSM:qqbar2Httbar", "25:onMode = off", "25:onIfMatch = 5 -5")


def _analysis() -> list[Process]:
    def background(name: str, number: int, summary: str, settings: Settings, **more: float) -> Process:
        return Process(
            name, number, "analysis", summary, settings, qcd_labels=True, small_constituents=True,
            fatjet=not name.endswith("-resolved"), cross_section=more.get("factor", 1.0),
        )  # fmt: skip

    def signal(name: str, number: int, summary: str, settings: Settings) -> Process:
        return Process(
            name, number, "analysis", summary, settings, qcd_labels=True, small_constituents=True,
            mass=(2000.0, 2000.0), mass_limits=(300.0, 8000.0),
        )  # fmt: skip

    return [
        signal("XHH", 51, "narrow X -> HH, all decays; the mass is that of X; 1 pb", _heavy("25 25")),
        signal("XZH", 52, "narrow X -> ZH, all decays; the mass is that of X; 1 pb", _heavy("23 25")),
        background("tt", 61, "top pairs, all decays", _hard(*TOPS, threshold=0.5)),
        background(
            "ttsemilep", 62, "top pairs, one W to e, mu or tau",
            _hard(*TOPS, threshold=0.5, semileptonic=True),
            factor=2.0,
        ),
        background(
            "Wjets", 63, "W -> e, mu, tau and jets", _hard(*W_AND_JET, "24:onIfAny = 11 13 15", threshold=0.6)
        ),
        background("Wqq", 64, "W -> quarks and jets", _hard(*W_AND_JET, f"24:{TO_QUARKS}", threshold=0.8)),
        background("Zqq", 65, "Z -> quarks and jets", _hard(*Z_AND_JET, f"23:{TO_QUARKS}", threshold=0.8)),
        background("QCD", 66, "multijets, weighted to a flatter pt", _qcd(("all",))),
        background("tt-resolved", 71, "top pairs, all decays, no cut on fat jets", _hard(*TOPS)),
        background("ttHbb-resolved", 72, "ttH with H -> bb, no cut on fat jets", _hard(*TTH)),
    ]  # fmt: skip


PROCESSES: dict[str, Process] = {process.name: process for process in (*_training(), *_analysis())}

_V1_SHARES = {
    "HWW4q": 7, "HWWev": 2, "HWWmv": 2, "HWWtauev": 2, "HWWtaumv": 2, "HWWtauhv": 2,
    "Hbb": 1, "Hcc": 1, "Hss": 1, "Hqq": 1, "Htauhtaue": 1, "Htauhtaum": 1, "Htauhtauh": 1,
    "Topbqq": 4, "Topbev": 1, "Topbmv": 1, "Topbtauhv": 1, "Topbtauev": 1, "Topbtaumv": 1,
    "QCDlight": 7, "QCDsplit": 3, "QCDbbbar": 1, "QCDccbar": 1,
}  # fmt: skip

MIXTURES: dict[str, Mixture] = {
    "v1-types": Mixture("v1-types", "all 37 jet types of the V1 tagger in balanced numbers", _V1_SHARES),
    "new-types": Mixture(
        "new-types", "jet types that V1 does not know: X -> gg, H -> Z gamma, X -> bc",
        {"Xgg": 1, "HZgamma": 1, "Xbc": 1},
    ),
}  # fmt: skip


@cache
def rates() -> dict[str, int]:
    """Fat jets (events, where no fat jet is asked for) per second of CPU time, as the benchmark measured them.

    Examples
    --------
    >>> rates()["Hbb"] > 0
    True
    """
    text = (resources.files("jettagger.simulation") / "rates.json").read_text()
    return {name: int(value) for name, value in parse_json(text, "rates.json", kind=dict).items()}


def members(name: str) -> dict[str, int]:
    """The processes behind a name on the command line, each with its share of the events.

    Raises
    ------
    UnknownName
        If there is no such process or mixture.

    Examples
    --------
    >>> members("Hbb")
    {'Hbb': 1}
    """
    if name in MIXTURES:
        return dict(MIXTURES[name].shares)
    if name in PROCESSES:
        return {name: 1}
    raise UnknownName("process", name, [*PROCESSES, *MIXTURES])


def check_ranges(name: str, pt: tuple[float, float], mass: tuple[float, float] | None) -> None:
    """Refuse ranges that nothing can fill.

    Raises
    ------
    ConfigError
        If a range is reversed, not finite or beyond what a process of ``name`` can make, or if a mass is
        given to a process without one.
    """
    _check_range("pt", pt, (20.0, 6800.0), empty=False)
    if mass is None:
        return
    for member in members(name):
        process = PROCESSES[member]
        if process.mass is not None:
            _check_range(f"mass (process {member})", mass, process.mass_limits, empty=True)
        elif name == member:
            raise ConfigError(f"process {member!r} has no mass to choose; --mass was {mass[0]:g} {mass[1]:g}")


def _check_range(what: str, values: tuple[float, float], limits: tuple[float, float], *, empty: bool) -> None:
    low, high = values
    ordered = low <= high if empty else low < high
    if not (np.isfinite(low) and np.isfinite(high) and ordered and limits[0] <= low and high <= limits[1]):
        raise ConfigError(
            f"{what} range {low:g} to {high:g} GeV is impossible: expected {limits[0]:g} <= low "
            f"{'<=' if empty else '<'} high <= {limits[1]:g}"
        )


guard(globals(), "label_id", "label_name")
