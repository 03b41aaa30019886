"""The page on explanations: its tables and sentences are those of the stored numbers, its figures are there."""

from __future__ import annotations

import re

import numpy as np

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


def test_groups_are_ranked_as_retraining_ranks_them() -> None:
    """By permutation, and by occlusion with the values of other constituents; less well if variables are redundant."""
    found = stored()["retraining"]
    bottom = found["tasks"]["H → bb against H → WW → 4q"]["spearman"]
    assert min(bottom["permuted"], bottom["others"]) > 0.8
    for task in found["tasks"].values():
        assert min(task["spearman"]["permuted"], task["spearman"]["others"]) > 0.5
        assert set(task["groups"]) == {"kinematics", "particle type", "displacement", "track quality", "vertices"}


def test_gradients_cost_at_most_eight_times_a_forward_pass() -> None:
    """And memory grows with the new columns alone, which are put together at the end."""
    found = stored()["costs"]
    for times in found["ratios"].values():
        ratios = np.array(times["gradients"]) / np.array(times["forward"])
        assert np.median(ratios) < 8
    few, many = found["memory"]
    assert many["peak"] - few["peak"] < 6 * (many["columns"] - few["columns"])
    assert many["peak"] < 2 * many["events"]


def test_integrated_gradients_add_up_for_99_of_100_jets() -> None:
    """The sum is within 1 % of the difference."""
    found = stored()["convergence"]
    assert found["jets"] >= 2000
    assert found["complete"] >= 0.99
    assert found["q99"] <= 0.01


def test_maps_lose_their_correlation_with_random_weights() -> None:
    """No correlation on average; with all layers random not in a single draw, and not of absolute values."""
    forms = stored()["sanity"]["saliency"]
    for cell in (*forms["signed"].values(), forms["absolute"]["all layers"]):
        assert cell["draws"] >= 10
        assert abs(cell["mean"]) < min(0.1, 3 * cell["between draws"] / np.sqrt(cell["draws"]))
    assert max(forms[form]["all layers"]["between draws"] for form in forms) < 0.1
    assert "mean over 100 jets and 10 draws" in TEXT
