"""A contributor's first hour: what CONTRIBUTING.md says of how to add things is done, to the letter, in a copy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from test_packaging import ROOT, copy_of_the_repository

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


class Row(NamedTuple):
    """A row of the table: files with the names to look for, and the tests."""

    places: dict[str, list[str]]
    tests: dict[str, list[str]]


def places(cell: str) -> dict[str, list[str]]:
    found = re.findall(r"`((?:\w+/)+\w+\.\w+)`(?: \(((?:`\w+`(?:, )?)+)\))?", cell)
    return {path: re.findall(r"`(\w+)`", names) for path, names in found}


def row(what: str) -> Row:
    table = CONTRIBUTING[CONTRIBUTING.index("## How to add") :]
    (line,) = re.findall(rf"^\| {what} \| (.*) \|$", table, flags=re.MULTILINE)
    touch, tests = line.split(" | ")
    return Row(places(touch), places(tests))


class Copy(NamedTuple):
    """A copy of the repository."""

    folder: Path

    def insert(self, path: str, after: str, text: str) -> None:
        """Insert text behind the first line that begins with other text."""
        lines = (self.folder / path).read_text(encoding="utf-8").splitlines(keepends=True)
        (number, *_) = [number for number, line in enumerate(lines) if line.startswith(after)]
        lines.insert(number + 1, text)
        (self.folder / path).write_text("".join(lines), encoding="utf-8")

    def run(self, *arguments: str) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment["PYTHONPATH"] = os.pathsep.join([str(self.folder), str(self.folder / "tests")])
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def test(self, tests: dict[str, list[str]]) -> str:
        assert tests
        return self.run("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(copy_of_the_repository(tmp_path / "repository"))


FEATURE = '''

def root_pt(pt: Array) -> Array:
    """Square root of the transverse momentum."""
    return np.sqrt(pt)

'''

READS_FEATURE = """
import awkward as ak
import numpy as np
from networks import GROUPS, write_bundle
from pathlib import Path
import jettagger as jt
from jettagger.testing import make_events

groups = GROUPS | {"sv_features": ("sv_pt_root", "sv_mass")}
tagger = jt.load_tagger(write_bundle(Path("toy"), groups=groups))
events = make_events(20, seed=1)
batches = list(jt.make_inputs(tagger.bundle, events))
roots = np.concatenate([batch.inputs["sv_features"][:, 0].ravel() for batch in batches])
stored = ak.flatten(events.SV.pt).to_numpy()
# those of the table, apart from vertices of other jets and those that are rebuilt
assert np.isin(np.sqrt(stored), roots).mean() > 0.8
before = tagger.attach(events).FatJet.toy_mass
events["SV", "pt"] = 4 * events.SV.pt
events["FatJetSVs", "pt"] = 4 * events.FatJetSVs.pt
after = tagger.attach(events).FatJet.toy_mass
with_vertices = ak.fill_none(before != after, False)
print("scored", ak.count(before), "changed", int(ak.sum(with_vertices)))
assert ak.sum(with_vertices) > 10
"""


@pytest.mark.slow
def test_a_feature_variable(copy: Copy) -> None:
    touch, tests = row("a feature variable")
    path = next(iter(touch))
    assert touch[path] == ["features"]
    source = copy.folder / path
    text = source.read_text(encoding="utf-8")
    text = text.replace("\n\ndef features()", f"{FEATURE}\ndef features()")
    source.write_text(text, encoding="utf-8")
    copy.insert(
        path,
        "    yield from _vertices()",
        '    yield Feature("sv_pt_root", "sv", ("pt",), root_pt, "sqrt(GeV)", "ours")\n',
    )
    # its loop in plain Python, in the table of its objects
    loops = "tests/test_features.py"
    assert "VERTICES" in tests[loops]
    copy.insert(loops, "VERTICES = ", '    "pt_root": (("pt",), math.sqrt),\n')
    assert "test_against_a_loop[sv_pt_root] PASSED" in copy.run("-m", "pytest", "-v", loops, "-k", "sv_pt_root")
    copy.test(tests)
    said = copy.run("-c", READS_FEATURE)
    assert said.startswith("scored ")


PRESET = """  HccvsHbb:
    text: H -> cc against H -> bb
    signal: sum(Hcc)
    background: sum(Hbb)
"""

COMPUTES_PRESET = """
import awkward as ak
import jettagger as jt
from jettagger.testing import make_events

jets = jt.load_tagger("tinyParT").attach(make_events(20, seed=1)).FatJet
expected = jets.tinyParT_probHcc / (jets.tinyParT_probHcc + jets.tinyParT_probHbb)
assert ak.all(abs(jt.discriminant("HccvsHbb")(jets) - expected) < 1e-6, axis=None)
print("computed", ak.count(expected))
"""


@pytest.mark.slow
def test_a_preset_discriminant(copy: Copy) -> None:
    touch, tests = row("a preset discriminant")
    presets, page = touch
    copy.insert(presets, "presets:", PRESET)
    copy.insert(page, "| preset | signal |", "|---|---|---|\n| `HccvsHbb` | Hcc | Hbb |\n")
    text = (copy.folder / page).read_text(encoding="utf-8")
    (copy.folder / page).write_text(text.replace("Hcc | Hbb |\n|---|---|---|\n", "Hcc | Hbb |\n", 1), encoding="utf-8")
    copy.test(tests)
    said = copy.run("-c", COMPUTES_PRESET)
    assert int(said.split()[1]) > 20
    assert "HccvsHbb" in copy.run("-m", "jettagger", "discriminants", "list")


FORMAT = '''"""Files in which the constituents of fat jets are called particles."""

from __future__ import annotations

from jettagger.formats.base import ColumnSource, Format, Link

__all__ = ["PARTICLES"]


def _stored(collection: str, *names: str) -> dict[str, tuple[ColumnSource, ...]]:
    return {name: (ColumnSource((f"{collection}.{name}",)),) for name in names}


PARTICLES = Format(
    name="particles",
    title="fat jets with particles",
    jets="FatJet",
    signature=("FatJet", "FatJetParticle", "Particle"),
    links={
        "pf": Link("FatJetParticle", "jet", "Particle", "particle", ColumnSource(("Particle.pt",))),
        "sv": Link("FatJetVertex", "jet", "Vertex", "vertex", ColumnSource(("Vertex.mass",)), dangling=True),
    },
    columns={
        "jet": _stored("FatJet", "pt", "eta", "phi", "mass"),
        "pf": _stored("Particle", "pt", "eta", "phi", "mass", "charge", "puppiWeight"),
        "sv": _stored("Vertex", "mass", "ntracks"),
    },
    remark="write the tracks of the particles",
)
'''

READS_FORMAT = """
from pathlib import Path
import awkward as ak
import jettagger as jt
from jettagger.files.root import write_tree
from jettagger.testing import make_columns
from networks import GROUPS, write_bundle

names = {"FatJetPFCands_jetIdx": "FatJetParticle_jet", "FatJetPFCands_pFCandsIdx": "FatJetParticle_particle"}
names |= {"FatJetSVs_jetIdx": "FatJetVertex_jet", "FatJetSVs_sVIdx": "FatJetVertex_vertex"}
names |= {f"PFCands_{name}": f"Particle_{name}" for name in ("pt", "eta", "phi", "mass", "charge", "puppiWeight")}
names |= {f"SV_{name}": f"Vertex_{name}" for name in ("mass", "ntracks")}
names |= {name: name for name in ("run", "luminosityBlock", "event")}
names |= {f"FatJet_{name}": f"FatJet_{name}" for name in ("pt", "eta", "phi", "mass")}
columns = make_columns(40, seed=1)
write_tree("particles.root", [{name: columns[old] for old, name in names.items()}])
write_tree("pfnano.root", [columns])
groups = GROUPS | {"pf_features": ("pfcand_pt_log_nopuppi", "pfcand_etarel", "pfcand_charge")}
del groups["sv_features"], groups["sv_mask"]
model = write_bundle(Path("toy"), groups=groups)
for name in ("particles", "pfnano"):
    jt.tag_files([f"{name}.root"], model, f"{name}.parquet")
ours, theirs = (ak.from_parquet(f"{name}.parquet").FatJet_toy_mass for name in ("particles", "pfnano"))
assert ak.to_list(ours) == ak.to_list(theirs)
print("scored", ak.count(ours))
from jettagger.inputs.flavours import detect
print(detect(["FatJet", "FatJetParticle", "Particle"]).name)
"""


@pytest.mark.slow
def test_a_format_of_events(copy: Copy) -> None:
    touch, tests = row("a format of events")
    neighbour, recognition = touch
    assert touch[recognition] == ["formats"]
    module = Path(neighbour).with_name("particles.py")
    (copy.folder / module).write_text(FORMAT, encoding="utf-8")
    copy.insert(recognition, "from jettagger.formats.nanoaod", "from jettagger.formats.particles import PARTICLES\n")
    copy.insert(recognition, "        NANOAOD_V15,", "        PARTICLES,\n")
    copy.test(tests)
    said = copy.run("-c", READS_FORMAT).split()
    assert int(said[1]) > 50
    assert said[2] == "particles"
    # without tracks the error says what the format lacks
    lacks = [sys.executable, "-m", "jettagger", "tag", "particles.root", "--model", "tinyParT", "-o", "no.parquet"]
    environment = os.environ | {"PYTHONPATH": str(copy.folder)}
    done = subprocess.run(lacks, cwd=copy.folder, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "write the tracks of the particles" in done.stderr


# ---------------------------------------------------------------------------------------- the section on it

FIRST_HOUR = CONTRIBUTING.partition("## Your first hour\n")[2].partition("\n## ")[0]


def test_its_commands_name_what_exists() -> None:
    commands = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", FIRST_HOUR, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert {command.split()[0] for command in commands} == {
        *("git", "cd", "make", ".venv/bin/pre-commit", ".venv/bin/jettagger")
    }
    for command in commands:
        for path in re.findall(r"tests/\w+\.py", command):
            assert (ROOT / path).is_file()
        first, *others = command.partition(" TESTS=")[0].split()
        if first == "make":
            assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in others), command
        elif first == "git" and others[0] == "clone":
            assert f"\nurl = {others[1]}\n" in setup
        elif first == "git" and others[0] == "add":
            assert all((ROOT / path).exists() for path in others[1:])


def test_its_example_is_the_one_that_is_tried() -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", FIRST_HOUR, re.MULTILINE | re.DOTALL)
    assert example == PRESET
    (line,) = re.findall(r'TESTS="(.*)"', FIRST_HOUR)
    assert line.split() == list(row("a preset discriminant").tests)
