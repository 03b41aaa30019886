"""The page on explanations: its tables and sentences are those of the stored numbers, its figures are there."""

from __future__ import annotations

import re

from benchmarks.explain_page import PAGE, PLACE, blocks, stored

TEXT = PAGE.read_text(encoding="utf-8")


def test_tables_are_those_of_the_numbers() -> None:
    shown = {match["name"]: match[0].split("-->\n", 1)[1] for match in PLACE.finditer(TEXT)}
    made = blocks(stored())
    assert set(shown) == set(made)
    for name, content in made.items():
        assert shown[name] == f"{content}\n<!-- end of explain -->", (
            f"{name}: python -m benchmarks.explain_study writes it"
        )


def test_figures_are_small_and_there() -> None:
    for name in re.findall(r"\]\((explain_\w+\.png)\)", TEXT):
        assert 10_000 < (PAGE.parent / name).stat().st_size < 200_000


def test_permutation_ranks_groups_as_retraining_does() -> None:
    found = stored()["retraining"]  # with the values that the study has found
    assert found["spearman"]["permuted"] > 0.8
    assert set(found["groups"]) == {"kinematics", "particle type", "displacement", "track quality", "vertices"}


def test_maps_lose_their_correlation_with_random_weights() -> None:
    cells = stored()["sanity"]["saliency"]["signed"]
    for cell in cells.values():
        assert abs(cell["mean"]) < max(0.1, 2 * cell["between draws"])
