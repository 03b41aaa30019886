"""Every input variable against a loop in plain Python that was written from its definition, one object at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettagger.errors import UnknownName
from jettagger.features import FEATURES, OBJECTS, Feature, lookup
from jettagger.features.cms import eta_sign
from jettagger.inputs.random_jets import ToyJets
from jettagger.kinematics import delta_phi, energy

Slow = Callable[..., float]


def wrap(difference: float) -> float:
    """To (-pi, pi], step by step."""
    while difference > math.pi:
        difference -= 2 * math.pi
    while difference <= -math.pi:
        difference += 2 * math.pi
    return difference


def slow_energy(pt: float, eta: float, mass: float) -> float:
    px, pz = pt, pt * math.sinh(eta)
    return math.sqrt(px**2 + pz**2 + mass**2)


def slow_etarel(eta: float, jet_eta: float) -> float:
    return eta - jet_eta if jet_eta > 0 else jet_eta - eta


KINEMATICS: dict[str, tuple[tuple[str, ...], Slow]] = {
    "etarel": (("eta", "jet.eta"), slow_etarel),
    "phirel": (("phi", "jet.phi"), lambda phi, jet_phi: wrap(phi - jet_phi)),
    "abseta": (("eta",), abs),
    "px": (("pt", "phi"), lambda pt, phi: pt * math.cos(phi)),
    "py": (("pt", "phi"), lambda pt, phi: pt * math.sin(phi)),
    "pz": (("pt", "eta"), lambda pt, eta: pt * math.sinh(eta)),
    "energy": (("pt", "eta", "mass"), slow_energy),
    "mask": (("pt",), lambda pt: 1.0),
}
CANDIDATES = KINEMATICS | {
    "pt_log_nopuppi": (("pt",), math.log),
    "e_log_nopuppi": (("pt", "eta", "mass"), lambda *p4: math.log(slow_energy(*p4))),
    "isEl": (("pdgId",), lambda code: float(abs(code) == 11)),
    "isMu": (("pdgId",), lambda code: float(abs(code) == 13)),
    "isGamma": (("pdgId",), lambda code: float(abs(code) == 22)),
    "isChargedHad": (("pdgId",), lambda code: float(abs(code) == 211)),
    "isNeutralHad": (("pdgId",), lambda code: float(abs(code) == 130)),
    "puppiw": (("puppiWeight",), float),
}


def as_stored(column: str) -> tuple[tuple[str, ...], Slow]:
    return (column,), float


TRACKS = {
    "charge": as_stored("charge"),
    "VTX_ass": as_stored("pvAssocQuality"),
    "lostInnerHits": as_stored("lostInnerHits"),
    "quality": as_stored("trkQuality"),
    "normchi2": (("normchi2",), lambda chi2: float(math.floor(chi2))),
    **{name: as_stored(name) for name in ("dz", "dzsig", "dxy", "dxysig")},
    **{name: as_stored(name) for name in ("btagEtaRel", "btagPtRatio", "btagPParRatio")},
    **{name: as_stored(name) for name in ("btagSip3dVal", "btagSip3dSig", "btagJetDistVal")},
}
HITS = {"isLostTrack": as_stored("isLostTrack")} | {
    f"{layers}LayersWithMeasurement": as_stored(f"{layers}LayersWithMeasurement")
    for layers in ("pixelBarrel", "pixelEndcap", "stripTEC", "stripTIB", "stripTID", "stripTOB")
}
VERTICES = KINEMATICS | {
    "pt_log": (("pt",), math.log),
    **{name: as_stored(name) for name in ("mass", "ntracks", "normchi2", "dxy", "dxysig", "d3d", "d3dsig")},
}
JET_P4 = ("jet.uncorrected_pt", "jet.eta", "jet.uncorrected_mass")
P4 = ("pt", "eta", "mass")
AXIS = ("eta", "phi", "jet.eta", "jet.phi")


def slow_distance(eta: float, phi: float, other_eta: float, other_phi: float) -> float:
    return math.hypot(eta - other_eta, wrap(phi - other_phi))


def slow_energy_ratio(*numbers: float) -> float:
    return slow_energy(*numbers[:3]) / slow_energy(*numbers[3:])


def slow_weighted_energy_ratio(*numbers: float) -> float:
    return math.log(numbers[3] * slow_energy_ratio(*numbers[:3], *numbers[4:]))


def slow_sip2d(dxy: float, phi: float, jet_phi: float) -> float:
    """From the vectors: the point of closest approach, and the direction of the jet."""
    point = (-dxy * math.sin(phi), dxy * math.cos(phi))
    product = point[0] * math.cos(jet_phi) + point[1] * math.sin(jet_phi)
    return math.hypot(*point) * (1 if product >= 0 else -1)


def slow_sip2d_significance(dxy: float, error: float, phi: float, jet_phi: float, vertex: float) -> float:
    return slow_sip2d(dxy, phi, jet_phi) / math.sqrt(error**2 + vertex**2)


def phi_error(pt: float, eta: float) -> float:
    return math.sqrt(2e-5**2 + (1.8e-3 / pt) ** 2 * math.cosh(eta))


def lambda_error(pt: float, eta: float) -> float:
    return math.sqrt(3e-4**2 + (2e-3 / pt) ** 2 * math.cosh(eta)) / math.cosh(eta) ** 2


def momentum_variance(pt: float, eta: float, track: float) -> float:
    return track * ((0.010 + 2.5e-5 * pt) * (1 + 0.6 * eta**2) / (pt * math.cosh(eta))) ** 2


PLANE = ("pv_dxy", "phi", "jet.phi")
IN_PLANE = (*PLANE[:1], "pv_dxyerr", *PLANE[1:], "jet.vertex_error")
TRACK = ("pt", "eta", "hasTrack")
HCAL = {130: 1.0, 1: 0.8}
IN_JETS = {
    "pt_log": (("pt",), math.log),
    "ptrel": (("pt", "jet.uncorrected_pt"), lambda pt, jet: pt / jet),
    "ptrel_log": (("pt", "jet.uncorrected_pt"), lambda pt, jet: math.log(pt / jet)),
    "erel": ((*P4, *JET_P4), slow_energy_ratio),
    "erel_log": ((*P4, *JET_P4), lambda *numbers: math.log(slow_energy_ratio(*numbers))),
    "deltaR": (AXIS, slow_distance),
}
DISTANCES = {
    "drminsv": as_stored("drminsv"),
    "drsubjet1": (("eta", "phi", "jet.subjet1_eta", "jet.subjet1_phi"), slow_distance),
    "drsubjet2": (("eta", "phi", "jet.subjet2_eta", "jet.subjet2_phi"), slow_distance),
}
MARKS = {
    "signAmbiguous": (PLANE, lambda dxy, phi, jet: float(dxy != 0 and abs(wrap(phi - jet)) < 6e-4)),
    "otherVertex": (
        ("pv_dxy", "pv_dz", "eta", "btagSip3dVal"),
        lambda dxy, dz, eta, ip: float(
            ip != 0 and abs(math.sqrt(dxy**2 + (dz / math.cosh(eta)) ** 2) / abs(ip) - 1) > 0.01
        ),
    ),
}
REBUILT: dict[str, tuple[tuple[str, ...], Slow]] = {
    **IN_JETS,
    **DISTANCES,
    **MARKS,
    "pt_log_puppi": (("pt", "puppiWeight"), lambda pt, weight: math.log(pt * weight)),
    "ptrel_log_puppi": (
        ("pt", "puppiWeight", "jet.uncorrected_pt"),
        lambda pt, weight, jet: math.log(pt * weight / jet),
    ),
    "erel_log_puppi": ((*P4, "puppiWeight", *JET_P4), slow_weighted_energy_ratio),
    "hcalFrac": (("pdgId",), lambda code: HCAL.get(abs(int(code)), 0.0)),
    "btagSip2dVal": (PLANE, slow_sip2d),
    "btagSip2dSig": (IN_PLANE, slow_sip2d_significance),
    "dxydxy": (("dxyerr",), lambda error: error**2),
    "dzdz": (("dzerr",), lambda error: error**2),
    "dptdpt": (TRACK, momentum_variance),
    "detadeta": (TRACK, lambda pt, eta, track: track * lambda_error(pt, eta) ** 2),
    "dphidphi": (TRACK, lambda pt, eta, track: track * phi_error(pt, eta) ** 2),
    "dxydz": (("pt",), lambda pt: 0.0),
    "dphidxy": (("pt", "eta", "dxyerr"), lambda pt, eta, error: -0.85 * phi_error(pt, eta) * error),
    "dlambdadz": (("pt", "eta", "dzerr"), lambda pt, eta, error: -0.85 * lambda_error(pt, eta) * error),
}
IN_VERTICES = {**IN_JETS, "pt": as_stored("pt"), "chi2": as_stored("chi2"), "costhetasvpv": as_stored("costhetasvpv")}


def slow_track(numbers: tuple[float, ...]) -> tuple[float, float]:
    """Momentum, and its part along the jet axis, by components."""
    pt, eta, phi, jet_eta, jet_phi = numbers
    track = (pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta))
    axis = (math.cos(jet_phi), math.sin(jet_phi), math.sinh(jet_eta))
    along = sum(one * other for one, other in zip(track, axis, strict=True)) / math.hypot(*axis)
    return math.hypot(*track), along


def slow_eta_rel(value: float, has_track: float, *numbers: float) -> float:
    total, along = slow_track(numbers)
    full = math.hypot(total, 0.13957)
    return value if has_track else 0.5 * math.log((full + along) / (full - along))


def slow_pt_ratio(value: float, has_track: float, *numbers: float) -> float:
    total, along = slow_track(numbers)
    return value if has_track else math.sqrt(max(total**2 - along**2, 0)) / total


def slow_par_ratio(value: float, has_track: float, *numbers: float) -> float:
    total, along = slow_track(numbers)
    return value if has_track else along / total


def times_momentum(slow: Slow) -> Slow:
    return lambda value, track, pt, eta, *rest: slow(value, track, pt, eta, *rest) * pt * math.cosh(eta)


MOMENTUM = ("hasTrack", "pt", "eta", "phi", "jet.eta", "jet.phi")


def if_track(column: str, default: float) -> tuple[tuple[str, ...], Slow]:
    return (column, "hasTrack"), lambda value, track: value if track else default


NTUPLES = {
    **{name: IN_JETS[name] for name in ("deltaR", "ptrel", "erel")},
    **DISTANCES,
    "puppiw": as_stored("puppiWeight"),
    **{name: KINEMATICS[name] for name in ("px", "py", "pz")},
    "e": KINEMATICS["energy"],
}
CHARGED: dict[str, tuple[tuple[str, ...], Slow]] = {
    **NTUPLES,
    **MARKS,
    "BtagPf_trackEtaRel": (("btagEtaRel", *MOMENTUM), slow_eta_rel),
    "BtagPf_trackPtRatio": (("btagPtRatio", *MOMENTUM), slow_pt_ratio),
    "BtagPf_trackPParRatio": (("btagPParRatio", *MOMENTUM), slow_par_ratio),
    "BtagPf_trackPtRel": (("btagPtRatio", *MOMENTUM), times_momentum(slow_pt_ratio)),
    "BtagPf_trackPPar": (("btagPParRatio", *MOMENTUM), times_momentum(slow_par_ratio)),
    **{f"BtagPf_track{name}": if_track(f"btag{name}", 0) for name in ("Sip3dVal", "Sip3dSig", "JetDistVal")},
    "BtagPf_trackSip2dVal": (PLANE, slow_sip2d),
    "BtagPf_trackSip2dSig": (IN_PLANE, slow_sip2d_significance),
    **{name: as_stored(name) for name in ("dz", "dzsig", "dxy", "dxysig")},
    "etarel": KINEMATICS["etarel"],
    "chi2": if_track("chi2", -1),
    "quality": if_track("trkQuality", 1),
    "VTX_ass": as_stored("pvAssocQuality"),
}
NEUTRAL: dict[str, tuple[tuple[str, ...], Slow]] = {
    **NTUPLES,
    "isGamma": CANDIDATES["isGamma"],
    "HadFrac": REBUILT["hcalFrac"],
    "etarel": (("eta", "jet.eta"), lambda eta, jet: abs(eta - jet)),
    "phirel": (("phi", "jet.phi"), lambda phi, jet: abs(wrap(phi - jet))),
}
NTUPLE_VERTICES: dict[str, tuple[tuple[str, ...], Slow]] = {
    "deltaR_clipped": as_stored("clipped_deltaR"),
    "enratio": (("enration", "jet.uncorrected_share"), lambda ratio, share: ratio / share),
    "etarel_abs": NEUTRAL["etarel"],
    "phirel_abs": NEUTRAL["phirel"],
}


def listed(place: int) -> Slow:
    return lambda value, number: value if place < number and value != -999 else 0.0


TRACK_LISTS = {
    f"DeepCSV_{name}_{place}": ((f"DeepCSV_{name}_{place}", "DeepCSV_jetNSelectedTracks"), listed(place))
    for name in (
        *("trackDecayLenVal", "trackDeltaR", "trackJetDistVal", "trackPtRatio", "trackPtRel"),
        *("trackSip2dSig", "trackSip3dSig"),
    )
    for place in range(6)
} | {
    f"DeepCSV_trackEtaRel_{place}": ((f"DeepCSV_trackEtaRel_{place}", "DeepCSV_jetNTracksEtaRel"), listed(place))
    for place in range(4)
}
JETS: dict[str, tuple[tuple[str, ...], Slow]] = {
    "uncorrected_pt": as_stored("uncorrected_pt"),
    "nCpfcand": as_stored("n_charged"),
    "nNpfcand": as_stored("n_neutral"),
    "nsv": as_stored("n_vertices"),
    "npv": as_stored("n_primary_vertices"),
    **{
        f"DDX_{name}": as_stored(f"DDX_{name}")
        for name in (
            *("jetNTracks", "tau1_trackEtaRel_0", "tau1_trackEtaRel_1"),
            *("tau1_vertexDeltaR", "tau1_vertexEnergyRatio"),
        )
    },
    **{
        f"DeepCSV_{name}": as_stored(f"DeepCSV_{name}")
        for name in (
            *("trackSumJetEtRatio", "trackSumJetDeltaR", "vertexCategory", "trackSip2dValAboveCharm"),
            *("trackSip2dSigAboveCharm", "trackSip3dValAboveCharm", "trackSip3dSigAboveCharm"),
            *("jetNSelectedTracks", "jetNTracksEtaRel"),
        )
    },
    **TRACK_LISTS,
}
JET = {"pt_log": (("pt",), math.log), "mass_log": (("mass",), math.log), "eta": as_stored("eta")}

#: variables of the shards of energy calibrations
OF_JETS = {name: as_stored(name) for name in ("phi", "uncorrected_mass", "area", "rho")}
OF_VERTICES = {
    "distance": as_stored("d3d"),
    "significance": as_stored("d3dsig"),
    "num_tracks": as_stored("ntracks"),
}
OF_CANDIDATES: dict[str, tuple[tuple[str, ...], Slow]] = {
    **{name: as_stored(name) for name in ("pt", "eta", "phi")},
    "id": as_stored("pdgId"),
    "puppi_weight": as_stored("puppiWeight"),
    "mask": CANDIDATES["mask"],
}
OF_CHARGED: dict[str, tuple[tuple[str, ...], Slow]] = {
    **OF_CANDIDATES,
    **{name: as_stored(name) for name in ("dxy", "dz", "num_hits", "num_pixel_hits")},
    "lost_hits": as_stored("lostInnerHits"),
    "pv_ass": as_stored("pvAssocQuality"),
    "dxy_significance": (("dxysig",), abs),
    "norm_chi2": if_track("chi2", 100),
}
OF_NEUTRAL = {**OF_CANDIDATES, "hcal_frac": as_stored("hcal_frac")}

#: every variable of the input descriptions, by its full name
EXPECTED: dict[str, tuple[str, tuple[str, ...], Slow]] = {
    f"{stem}_{name}": (object_, *definition)
    for stem, object_, table in (
        ("pfcand", "pf", CANDIDATES | TRACKS | REBUILT),
        ("cpfcandlt", "cpf", CANDIDATES | TRACKS | HITS),
        ("npfcand", "npf", CANDIDATES),
        ("sv", "sv", VERTICES | IN_VERTICES | NTUPLE_VERTICES | OF_VERTICES),
        ("jet", "jet", JET | JETS | OF_JETS),
        ("ch", "cpf", OF_CHARGED),
        ("ne", "npf", OF_NEUTRAL),
        ("Cpfcan", "cpf", CHARGED),
        ("Npfcan", "npf", NEUTRAL),
    )
    for name, definition in table.items()
}


def value(name: str, *columns: float) -> float:
    """One value of a feature."""
    return float(FEATURES[name](*(np.array([column], dtype=np.float32) for column in columns))[0])


def test_the_table_is_complete() -> None:
    assert set(FEATURES) == set(EXPECTED)
    for name, (object_, needs, _) in EXPECTED.items():
        assert (FEATURES[name].object, FEATURES[name].needs) == (object_, needs), name


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_against_a_loop(name: str) -> None:
    object_, needs, slow = EXPECTED[name]
    toys = ToyJets({kind: np.array([20, 0, 7, 1]) for kind in OBJECTS if kind != "jet"}, seed=2)
    columns = [toys.column(object_, need) for need in needs]
    values = FEATURES[name](*columns)
    expected = [slow(*(float(column[row]) for column in columns)) for row in range(len(columns[0]))]
    assert values.dtype == np.float32
    assert len(values) == len(expected) > 3
    assert values.tolist() == pytest.approx(expected, rel=3e-6, abs=3e-6)


@pytest.mark.parametrize("feature", FEATURES.values(), ids=lambda feature: feature.name)
class TestEachFeature:
    def test_says_what_it_is(self, feature: Feature) -> None:
        assert len(feature.doc) > 10
        assert feature.unit
        assert feature.source
        assert feature.object in OBJECTS

    def test_no_objects(self, feature: Feature) -> None:
        values = feature(*(np.empty(0, dtype=np.float32) for _ in feature.needs))
        assert (values.shape, values.dtype) == ((0,), np.float32)

    def test_bad_values_pass_without_a_warning(self, feature: Feature) -> None:
        """Warnings are errors here; what is not finite is dealt with later, value by value."""
        for kind in (np.float32, np.float64):
            bad = np.array([np.nan, np.inf, -np.inf, 0, -1, 1e33, 3e38, 1], dtype=kind)
            values = feature(*(bad for _ in feature.needs))
            assert (values.shape, values.dtype) == ((8,), np.float32)

    def test_does_not_touch_its_input(self, feature: Feature) -> None:
        columns = [np.array([0.5, 1.5, 2.5], dtype=np.float32) for _ in feature.needs]
        for column in columns:
            column.setflags(write=False)
        feature(*columns)
        assert all(column.tolist() == [0.5, 1.5, 2.5] for column in columns)


@pytest.mark.parametrize("stem", ["pfcand", "cpfcandlt", "npfcand", "sv"])
class TestDirection:
    def test_sign_of_eta(self, stem: str) -> None:
        """A jet at eta = 0 counts as one with negative eta."""
        assert value(f"{stem}_etarel", 0.3, 0.1) == pytest.approx(0.2)
        assert value(f"{stem}_etarel", -0.3, -0.1) == pytest.approx(0.2)
        assert value(f"{stem}_etarel", 0.3, 0.0) == pytest.approx(-0.3)
        assert value(f"{stem}_etarel", 0.3, -0.0) == pytest.approx(-0.3)
        assert value(f"{stem}_etarel", 0.3, 1e-30) == pytest.approx(0.3)

    @pytest.mark.parametrize(
        ("phi", "jet_phi", "expected"),
        [
            (0.5, 0.2, 0.3),
            (3.0, -3.0, 6 - 2 * math.pi),
            (-3.0, 3.0, 2 * math.pi - 6),
            (3.1, 3.1, 0),
            (math.pi / 2, -math.pi / 2, math.pi),
            (-math.pi / 2, math.pi / 2, math.pi),
        ],
    )
    def test_azimuth_is_wrapped(self, stem: str, phi: float, jet_phi: float, expected: float) -> None:
        assert value(f"{stem}_phirel", phi, jet_phi) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("stem", ["pfcand", "cpfcandlt"])
@pytest.mark.parametrize(
    ("chi2", "expected"), [(999, 999), (0, 0), (0.99, 0), (1, 1), (2.7, 2), (-0.1, -1), (-1, -1), (-1.5, -2)]
)
def test_chi2_is_rounded_down(stem: str, chi2: float, expected: float) -> None:
    """Also where it is negative; 999 marks candidates without a track."""
    assert value(f"{stem}_normchi2", chi2) == expected


@pytest.mark.parametrize("stem", ["pfcand", "cpfcandlt", "npfcand"])
def test_types_are_those_of_the_absolute_code(stem: str) -> None:
    names = {11: "isEl", 13: "isMu", 22: "isGamma", 211: "isChargedHad", 130: "isNeutralHad"}
    for code in (11, -11, 13, -13, 22, 211, -211, 130, 1, 2, 0):
        flags = {name: value(f"{stem}_{name}", code) for name in names.values()}
        assert flags == {name: float(abs(code) == wanted) for wanted, name in names.items()}


def test_integers_may_be_stored() -> None:
    codes = np.array([-211, 22, 130], dtype=np.int32)
    assert FEATURES["pfcand_isChargedHad"](codes).tolist() == [1, 0, 0]
    assert FEATURES["sv_ntracks"](np.array([2, 3], dtype=np.uint8)).tolist() == [2, 3]
    assert FEATURES["pfcand_charge"](np.array([-1, 1], dtype=np.int8)).dtype == np.float32


def test_no_momentum_has_no_logarithm() -> None:
    assert value("pfcand_pt_log_nopuppi", 0.0) == -math.inf
    assert math.isnan(value("pfcand_pt_log_nopuppi", -1.0))


@given(st.floats(-3.2, 3.2), st.floats(-3.2, 3.2))
def test_delta_phi(phi: float, other: float) -> None:
    """In (-pi, pi], and the same direction as the plain difference."""
    found = float(delta_phi(np.array([phi]), np.array([other]))[0])
    assert -math.pi < found <= math.pi
    assert math.cos(found) == pytest.approx(math.cos(phi - other), abs=1e-9)
    assert math.sin(found) == pytest.approx(math.sin(phi - other), abs=1e-9)


@given(st.floats(0, 1000), st.floats(-5, 5), st.floats(0, 200))
def test_energy(pt: float, eta: float, mass: float) -> None:
    found = float(energy(np.array([pt]), np.array([eta]), np.array([mass]))[0])
    assert found == pytest.approx(slow_energy(pt, eta, mass), rel=1e-12, abs=1e-150)


@given(st.floats(allow_nan=False))
def test_sign(eta: float) -> None:
    assert float(eta_sign(np.array([eta]))[0]) == (1 if eta > 0 else -1)


class TestLookup:
    def test_order(self) -> None:
        assert [feature.name for feature in lookup(["sv_mass", "pfcand_px"])] == ["sv_mass", "pfcand_px"]

    def test_unknown_ones_are_all_listed(self) -> None:
        with pytest.raises(UnknownName) as info:
            lookup(["pfcand_pxx", "pfcand_px", "sv_chi3"], "preprocess.json")
        assert info.value.names == ["pfcand_pxx", "sv_chi3"]
        assert str(info.value).startswith(
            "unknown input variables in preprocess.json: 'pfcand_pxx' (nearest: pfcand_px"
        )

    def test_the_table_cannot_be_changed(self) -> None:
        with pytest.raises(TypeError):
            FEATURES["mine"] = FEATURES["sv_mass"]  # type: ignore[index]
