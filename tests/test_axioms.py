"""Methods keep the axioms that they promise and fail those that the literature says they fail; what differs is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import saliently
from saliently.audit import axioms as experiment
from saliently.audit.axiom_measures import AXIOMS
from saliently.audit.axiom_networks import DUMMIES, IMPLEMENTED, SYMMETRIC, Network, weighted_sum
from saliently.audit.axioms import KEPT, axioms
from saliently.reports import Report

IG = "integrated-gradients(blank='zero', tolerance=0.0001)"
FAILS = {
    "gradient": {"sensitivity(a)", "linearity"},
    "gradient-x-input": {"sensitivity(a)", "completeness"},
    IG: set(),
    "lrp": {"sensitivity(a)", "dummy", "symmetry", "invariance", "completeness"},
    "occlusion(blank='zero')": {"completeness"},
    "shapley(blank='zero')": set(),
    "banzhaf(blank='zero')": {"completeness"},
    "random": {"dummy", "linearity", "symmetry", "invariance", "completeness"},
}


@pytest.fixture(scope="module")
def report() -> Report:
    return axioms()


def failed(report: Report, method: str) -> set[str]:
    """Axioms whose largest violation is more than rounding."""
    pairs = zip(AXIOMS, report.tables[0].rows[method], strict=True)
    return {axiom.name for axiom, figure in pairs if figure is not None and figure.value > KEPT}


def scores(network: Network, method: str) -> list[float]:
    return saliently.explain(network.model, network.text, method).by_token.tolist()


def test_each_method_fails_what_the_literature_says_and_nothing_else(report: Report) -> None:
    assert {method: failed(report, method) for method in report.tables[0].rows} == FAILS
    assert report.verdict[0].endswith(f"is kept by {IG} and shapley(blank='zero').")
    assert "lrp fails sensitivity(a), dummy, symmetry, invariance and completeness" in report.verdict[1]
    assert report.verdict[2] == "Nothing came out otherwise than expected."
    assert report.tables[0].marks["gradient"] == "fails 2"
    assert report.tables[0].marks[IG] == "keeps all"
    assert report.tables[0].marks["random"] == "control"


def test_completeness_is_not_asked_of_a_sensitivity(report: Report) -> None:
    assert report.tables[0].rows["gradient"][-1] is None
    assert report.tables[0].rows["gradient-x-input"][-1] is not None


def test_integrated_gradients_are_those_of_the_paper_on_both_networks(report: Report) -> None:
    one, other = IMPLEMENTED[0]
    for network in (one, other):
        assert scores(network, IG) == pytest.approx([1.5, -0.5], abs=2e-4)
        assert scores(network, "gradient-x-input") == [3, -1]
    found = report.tables[1].rows[IG]
    assert [each.value for each in found if each] == pytest.approx([1.5, -0.5, 1.5, -0.5], abs=2e-4)


def test_shares_of_a_product_go_by_its_brackets() -> None:
    one, other = IMPLEMENTED[1]
    assert scores(one, "lrp") == [6, 6, 12]
    assert scores(other, "lrp") == [12, 6, 6]
    assert scores(one, "shapley(blank='zero')") == scores(other, "shapley(blank='zero')") == [8, 8, 8]


def test_networks_are_what_they_are_made_for() -> None:
    x = torch.randn(200, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2
    for one, other in IMPLEMENTED:
        torch.testing.assert_close(one.formula(x), other.formula(x))
    for network, places in DUMMIES:
        moved = x.clone()
        moved[:, list(places)] += 1.0
        if isinstance(network, Network):
            torch.testing.assert_close(network.formula(x), network.formula(moved))
        else:
            assert (network.marginal[list(places)] == 0).all()
    for network, (i, j) in SYMMETRIC:
        if isinstance(network, Network):
            assert network.values[i] == network.values[j]
            changed = x[:, [j if k == i else i if k == j else k for k in range(4)]]
            torch.testing.assert_close(network.formula(x), network.formula(changed))
        else:
            assert network.shapley[i] == pytest.approx(network.shapley[j])
    a, b, f, g, both = weighted_sum(0.5, -2.0)
    torch.testing.assert_close(both.formula(x), a * f.formula(x) + b * g.formula(x))


def test_a_failure_that_should_not_be_is_told() -> None:
    coarse = "integrated-gradients(blank='zero', steps=1)"
    found = axioms([coarse])
    assert failed(found, coarse) == {"dummy", "completeness"}
    assert found.tables[0].marks[coarse] == "not as expected"
    assert found.verdict[-1] == f"Not as expected: {coarse} fails dummy and completeness, which it should keep."


def test_an_axiom_kept_that_should_fail_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "EXPECTED", {"shapley": {"symmetry": "so it was said"}})
    found = axioms(["shapley(blank='zero')"])
    assert found.verdict[-1] == "Not as expected: shapley(blank='zero') keeps symmetry, which it should fail."
    assert "shapley should fail symmetry: so it was said." in found.tables[0].notes


def test_what_is_not_known_or_can_t_be_asked_is_told() -> None:
    found = axioms(["limsse(blank='zero')", "attention"])
    assert found.verdict[-1] == "What to expect of limsse(blank='zero') and attention is not written down."
    assert found.tables[0].rows["attention"] == (None,) * len(AXIOMS)
    assert found.tables[0].marks["attention"] == "not asked"
    assert any(note.startswith("attention could not be asked about dummy") for note in found.tables[0].notes)
    assert "attention" not in found.verdict[0]


def test_the_seed_is_all_the_chance_there_is() -> None:
    first, second, third = (axioms(["random"], seed).tables[0].rows for seed in (1, 1, 2))
    assert first == second != third


def test_a_report_is_whole_and_no_methods_are_an_error(report: Report) -> None:
    assert report.to_dict()["settings"]["methods"] == list(experiment.METHODS)
    assert report.limits
    assert report.whom
    assert all(np.isfinite(each.value) for row in report.tables[0].rows.values() for each in row if each)
    with pytest.raises(saliently.RecipeError, match="no methods"):
        axioms(())
