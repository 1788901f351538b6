"""What must hold between methods, models and inputs, whatever the numbers are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliently
from saliently.models.base import Model
from tests import tiny

TEXT = "A gorgeous, witty, seductive movie."
KINDS = ["bert", "gpt2", "llama", "t5", "bilstm", "linear_bag"]
ONE_ANSWER = [
    "gradient-x-input",
    "ig(blank='zero')",
    "ig(blank='zero', steps=1)",
    "occlusion(blank='zero')",
    "omission",
    "lrp",
    "attn-lrp",
    "lrp(variant='ali')",
    "shapley(blank='zero')",
    "shapley(blank='zero', how='kernel')",
    "shapley(blank='zero', how='permutation')",
    "owen(blank='zero')",
    "banzhaf(blank='zero', exact=0)",
    "lime(blank='zero', samples=None)",
    "limsse(blank='zero')",
    "shapley-interaction(blank='zero')",
    "pairwise-occlusion(blank='zero')",
    "archipelago(blank='zero', groups=2)",
    "integrated-hessians(blank='zero')",
    "hierarchical-occlusion(blank='zero', share=1.0)",
]


def words(function: object, vectors: list[list[float]]) -> Model:
    """A model whose first logit is `function` of the word vectors (R, L, D); every word of the text is one of them."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding.from_pretrained(torch.tensor(vectors, dtype=torch.float64))

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            value = function(self.embed(ids))  # type: ignore[operator]
            return torch.stack([value, torch.zeros_like(value)], -1)

    def read(text: str) -> tuple[list[int], list[tuple[int, int]]]:
        return list(range(len(text))), [(i, i + 1) for i in range(len(text))]

    return saliently.wrap(Net(), read, embedding="embed", labels=["f", "0"])


@pytest.mark.parametrize("recipe", ONE_ANSWER)
def test_on_a_linear_bag_of_words_all_are_one_answer(recipe: str) -> None:
    model, text = tiny.linear_bag(torch.float64), "so good , so very good"
    ids = model.read({"text": text}, False).ids
    found = saliently.explain(model, text, recipe)
    weight = model.module.weight[:, found.target.index]
    expected = (model.embedding(torch.tensor(ids)) @ weight).detach().numpy()
    np.testing.assert_allclose(found.by_token, expected, atol=1e-6 * np.abs(expected).max())
    if found.quantity == "interaction":  # nobody does anything together
        np.testing.assert_allclose(found.pairs(), np.diag(found.pairs().diagonal()), atol=1e-6)


@pytest.mark.parametrize("blank", ["mask", "mean", "pad"])
def test_on_a_linear_bag_of_words_path_and_removal_agree_for_any_blank(blank: str) -> None:
    model, text = tiny.linear_bag(torch.float64), "so good , so very good"
    path = saliently.explain(model, text, f"ig(blank={blank!r})")
    removal = saliently.explain(model, text, f"occlusion(blank={blank!r})")
    np.testing.assert_allclose(path.scores, removal.scores, rtol=1e-9, atol=1e-12)
    assert removal.checks.residual == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blank", ["zero", "mean"])
@pytest.mark.parametrize("target", [None, "glad"])
def test_integrated_gradients_is_complete(kind: str, blank: str, target: str | None) -> None:
    model = tiny.models(torch.float64)[kind]()
    # A root-mean-square norm has a kink at the zero vector, where the sum comes closer only as 1/steps.
    found = saliently.explain(model, TEXT, f"ig(blank={blank!r}, tolerance=1e-3, most=4096)", target)
    change = found.values[0] - found.nothing[0]
    assert found.scores.sum() == pytest.approx(change, rel=1e-3)
    assert not found.checks.failed


@pytest.mark.parametrize("scale", ["logit", "probability", "log-probability"])
@pytest.mark.parametrize("against", [None, "sad", "rest", "mean"])
def test_completeness_holds_for_every_target(scale: str, against: str | None) -> None:
    target = saliently.Target("glad", against, scale)
    found = saliently.explain(tiny.bert(torch.float64), TEXT, "ig(tolerance=1e-3, most=4096)", target)
    assert found.scores.sum() == pytest.approx(found.values[0] - found.nothing[0], rel=1e-3)


def test_targets_are_what_they_say() -> None:
    model = tiny.bert(torch.float64)
    ids = torch.tensor([model.read({"text": TEXT}, False).ids])
    logits = model.module(ids).logits[0].detach()
    chances = logits.softmax(0)

    def value(against: str | None, of: str) -> float:
        return saliently.explain(model, TEXT, "gradient", saliently.Target("glad", against, of)).values[0]  # type: ignore[arg-type]

    assert value(None, "logit") == pytest.approx(float(logits[2]))
    assert value("sad", "logit") == pytest.approx(float(logits[2] - logits[0]))
    assert value("rest", "logit") == pytest.approx(float((chances[2] / (1 - chances[2])).log()))
    assert value(None, "probability") == pytest.approx(float(chances[2]))
    assert value("sad", "probability") == pytest.approx(float(chances[2] - chances[0]))
    assert value("rest", "probability") == pytest.approx(float(2 * chances[2] - 1))
    assert value(None, "log-probability") == pytest.approx(float(chances[2].log()))
    assert value("rest", "log-probability") == pytest.approx(value("rest", "logit"))
    assert value("mean", "logit") == pytest.approx(float(logits[2] - logits[:2].mean()))
    assert value("mean", "probability") == pytest.approx(float(chances[2] - chances[:2].mean()))


@pytest.mark.parametrize("recipe", ["lrp", "lrp(variant='attn')", "lrp(epsilon=0.001)"])
def test_relevance_that_nobody_can_be_named_for_is_flagged(recipe: str) -> None:
    """A recurrent net over 1,500 words sends back relevance that grows beyond any number and cancels."""
    found = saliently.explain("bilstm", "good bad film " * 500, recipe)
    assert np.abs(found.scores).max() > 1e6
    assert any("went nowhere that can be named" in sentence for sentence in found.checks.failed)
    assert not saliently.explain("bilstm", "good bad film", recipe).checks.failed


def test_relevance_that_no_way_leads_to_the_words_is_one_clear_error() -> None:
    """A sigmoid takes nothing, and here it stands between all words and the logit."""
    model = words(lambda x: x.sum((1, 2)).sigmoid(), [[1.0, 2], [3, 4], [0.5, 1]])
    with pytest.raises(saliently.ModelError, match=r"no way leads it from .*sigmoid.*Use integrated-gradients"):
        saliently.explain(model, "abc", "lrp", "f")
    assert saliently.explain(model, "abc", "ig(blank='zero')", "f").scores.any()


NO_MATTER = [
    "gradient",
    "gradient-x-input",
    "ig(blank='zero')",
    "occlusion(blank='zero')",
    "integrated-hessians(blank='zero')",
    "shapley(blank='zero', by='token')",
]
GAMES = ["owen(blank='zero', by='token')", "banzhaf(blank='zero', by='token')", "archipelago(blank='zero', by='token')"]


@pytest.mark.parametrize("recipe", [*NO_MATTER, *GAMES])
def test_a_word_that_can_t_matter_scores_0(recipe: str) -> None:
    found = saliently.explain(
        words(lambda x: (x[:, 0] * x[:, 2]).sum(-1).tanh(), [[1.0, 2], [3, 4], [0.5, 1]]), "abc", recipe, "f"
    )
    assert found.by_token[1] == 0
    assert found.by_token[[0, 2]].all()


@pytest.mark.parametrize("recipe", [*NO_MATTER, *GAMES[1:], "shapley-interaction(blank='zero', by='token')"])
def test_words_that_play_one_part_score_the_same(recipe: str) -> None:
    model = words(lambda x: (x.sum(1) + x[:, 2]).square().sum(-1).sin(), [[0.3, 0.2], [0.3, 0.2], [0.1, 0.4]])
    found = saliently.explain(model, "abc", recipe, "f")
    assert found.by_token[0] == pytest.approx(found.by_token[1], rel=1e-9)
    assert found.by_token[0] != pytest.approx(found.by_token[2], rel=1e-3)


def test_gradient_x_input_is_one_right_hand_step_of_integrated_gradients() -> None:
    """One trapezoid step from zero is the mean of the right-hand step and the left-hand one, taken here at zero."""
    model = tiny.gpt2(torch.float64)  # no special tokens, so that every token moves
    trapezoid = saliently.explain(model, TEXT, "ig(blank='zero', steps=1)")
    x = model.embed(torch.tensor([trapezoid.tokens.ids]))
    zero = torch.zeros_like(x).requires_grad_()
    (slope,) = torch.autograd.grad(model.module(inputs_embeds=zero).logits[0, trapezoid.target.index], zero)
    right = 2 * trapezoid.scores - (slope * x).sum(-1)[0].numpy()
    found = saliently.explain(model, TEXT, "gradient-x-input")
    np.testing.assert_allclose(found.scores, right, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    ("recipe", "same"), [("gradient", True), ("gradient-x-input", True), ("gradient(norm='l1')", False)]
)
def test_rotating_the_embedding_space_changes_only_what_depends_on_the_basis(recipe: str, same: bool) -> None:
    torch.manual_seed(3)
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
    table, weight = torch.randn(3, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    plain = words(lambda x: (x @ weight).tanh().sum(-1), table.tolist())
    turned = words(lambda x: (x @ (turn @ weight)).tanh().sum(-1), (table @ turn.T).tolist())
    ours, theirs = (saliently.explain(model, "abc", recipe, "f").scores for model in (plain, turned))
    assert np.allclose(ours, theirs, rtol=1e-9) == same


def test_a_bag_of_words_takes_no_notice_of_order() -> None:
    model = tiny.linear_bag(torch.float64)
    for recipe in ["gradient-x-input", "ig", "occlusion"]:
        there = saliently.explain(model, "very good film", recipe).scores
        back = saliently.explain(model, "film good very", recipe).scores
        np.testing.assert_allclose(there, back[::-1], rtol=1e-9)


def test_moving_the_origin_moves_what_is_measured_from_it() -> None:
    """Kindermans et al. 2017: f2(x + m) = f1(x). The gradient is the same; a zero blank is another word then."""
    table = [[0.3, 0.2], [0.5, -0.1], [0.1, 0.4]]
    moved = [[a + 1.0, b - 2.0] for a, b in table]
    one = words(lambda x: x.sum(1).square().sum(-1), table)
    other = words(lambda x: (x - torch.tensor([1.0, -2.0])).sum(1).square().sum(-1), moved)
    for recipe, same in {
        "gradient": True,
        "gradient-x-input": False,
        "ig(blank='zero')": False,
        "ig(blank='mean')": True,
        "occlusion(blank='mean')": True,
    }.items():
        ours, theirs = (saliently.explain(model, "abc", recipe, "f").scores for model in (one, other))
        assert np.allclose(ours, theirs, rtol=1e-6) == same, recipe


def test_occlusion_of_words_that_stand_in_for_each_other_and_of_words_that_need_each_other() -> None:
    either = saliently.explain(
        words(lambda x: x[..., 0].max(1).values, [[1.0], [1.0]]), "ab", "occlusion(blank='zero')", "f"
    )
    np.testing.assert_allclose(either.scores, [0, 0])
    assert either.checks.residual == pytest.approx(-1)
    both = saliently.explain(words(lambda x: x[..., 0].prod(1), [[1.0], [1.0]]), "ab", "occlusion(blank='zero')", "f")
    np.testing.assert_allclose(both.scores, [1, 1])
    assert both.checks.residual == pytest.approx(1)


def test_occlusion_of_a_single_word_is_the_whole_change() -> None:
    found = saliently.explain(tiny.bert(torch.float64), "bad", "occlusion(blank='mask')")
    assert len(found.words()) == 1
    assert found.words()[0].score == pytest.approx(found.values[0] - found.nothing[0])


def test_two_blanks_tell_two_stories_of_one_model() -> None:
    found = saliently.explain(tiny.bert(torch.float64), TEXT, "ig(blank=('zero', 'mask'))")
    assert found.checks.spread > 0.01
    same = saliently.explain(tiny.bert(torch.float64), TEXT, "ig(blank=('zero', 'zero'))")
    assert same.checks.spread == 0


def test_words_and_special_tokens_make_the_total() -> None:
    for kind in KINDS:
        found = saliently.explain(tiny.models(torch.float64)[kind](), TEXT, "gradient-x-input")
        total = sum(unit.score for unit in found.words()) + sum(score for _, score in found.special())
        assert total == pytest.approx(found.checks.total, abs=1e-9)


def test_a_word_s_sensitivity_is_the_norm_of_its_whole_gradient() -> None:
    model = tiny.gpt2(torch.float64)
    scores = {norm: saliently.explain(model, "gorgeous", f"gradient(norm={norm!r})") for norm in ("l2", "l1", "mean")}
    pieces = scores["l2"].scores
    assert len(pieces) > 1
    assert scores["l2"].words()[0].score == pytest.approx(np.sqrt((pieces**2).sum()))
    assert scores["l1"].words()[0].score == pytest.approx(scores["l1"].scores.sum())
    assert scores["mean"].words()[0].score == pytest.approx(scores["mean"].scores.mean())


def test_a_gap_over_the_tolerance_is_flagged_and_a_smaller_one_is_not() -> None:
    model = tiny.bert(torch.float64)
    rough = saliently.explain(model, TEXT, "ig(most=8, tolerance=1e-6)")
    assert rough.checks.gap > 1e-6
    assert len(rough.checks.failed) == 1
    fine = saliently.explain(model, TEXT, "ig(most=8192, tolerance=1e-3)")
    assert fine.checks.gap <= 1e-3
    assert fine.checks.failed == ()
    fixed = saliently.explain(model, TEXT, "ig(steps=2)")
    assert fixed.checks.gap > 0.01
    assert fixed.checks.failed == ()


def test_agreement_of_methods() -> None:
    model = tiny.bert(torch.float64)
    found = saliently.compare(model, TEXT, ["occlusion", "occlusion(blank='mask')", "gradient"])
    np.testing.assert_allclose(np.diag(found.agreement), 1)
    assert found.agreement[0, 1] == pytest.approx(1)
    assert found.agreement[0, 2] == found.agreement[2, 0] < 1


def test_log_odds_are_those_of_the_class_and_of_a_whole_response() -> None:
    from tests.writers import gpt2

    model = tiny.bert(torch.float64)
    odds, rest = (
        saliently.explain(model, TEXT, "gradient-x-input", target)
        for target in (saliently.Target(of="log-odds"), saliently.Target(against="rest"))
    )
    np.testing.assert_allclose(odds.scores, rest.scores, atol=1e-12)
    assert odds.target.unit == "nat"
    writer, fields = gpt2(), {"prompt": "A gorgeous", "response": " film"}
    whole = saliently.explain(writer, fields, "occlusion", saliently.Target(of="log-odds"))
    log_p = saliently.explain(writer, fields, "occlusion").values[0]
    assert whole.values[0] == pytest.approx(log_p - np.log1p(-np.exp(log_p)), rel=1e-6)
    with pytest.raises(saliently.RecipeError, match="against all the rest already"):
        saliently.explain(model, TEXT, "occlusion", saliently.Target(of="log-odds", against="rest"))
