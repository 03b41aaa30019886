"""docs/limits.md: every verb and every page of a capability is in it; its figures are those that benchmarks stored."""

from __future__ import annotations

import re
from pathlib import Path

from pages import ROOT, read

from benchmarks.limits_page import PAGE, filled
from jettagger.cli import COMMANDS

TEXT = PAGE.read_text(encoding="utf-8")

#: pages that have no limits of their own
OTHERS = {"index", "howto", "reference", "project", "errors", "command_line", "limits", "logging"}


def test_the_figures_are_those_that_are_stored() -> None:
    assert filled(TEXT) == TEXT, "python -m benchmarks.limits_page writes them"


def test_every_verb_has_a_line() -> None:
    listed = re.findall(r"^\| `jettagger (\w+)` \| .+ \| .*\]\(\w+\.md.*\) \|$", TEXT, flags=re.MULTILINE)
    tools = {"completion"}  # of the shell
    assert set(listed) == {verb.split()[0] for verb in COMMANDS} - tools


def test_every_page_of_a_capability_is_linked() -> None:
    toctrees = "".join(
        re.findall(r"```\{toctree\}\n(.*?)```", read("docs/howto.md") + read("docs/reference.md"), re.DOTALL)
    )
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    named = {line for line in toctrees.split() if line in pages} - OTHERS
    assert len(named) > 20
    linked = {Path(link).stem for link in re.findall(r"\]\((\w+\.md)[^)]*\)", TEXT)}
    missing = sorted(named - linked - _starting())
    assert missing == [], "what does this capability not do?"


def _starting() -> set[str]:
    """Pages that lead to others: tutorials and the like say in their first lines where the details are."""
    return {"start", "concepts"}


def test_every_section_that_is_linked_exists() -> None:
    for name, anchor in re.findall(r"\]\((\w+)\.md#([\w-]+)\)", TEXT):
        titles = re.findall(r"^#+ (.*)$", read(f"docs/{name}.md"), flags=re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
        assert anchor in anchors, f"{name}.md#{anchor}"
