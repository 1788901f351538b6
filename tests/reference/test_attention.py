"""Attention through all layers, and times its gradient, against slow and plain formulas and eager attention."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import saliently
from saliently.errors import ModelError, RecipeError
from saliently.methods.attention_gradient import GradientRollout
from saliently.methods.heads import Heads, Layer
from saliently.methods.rollout import AttentionFlow, AttentionRollout, max_flows, network
from saliently.models.base import Model
from saliently.seam.places import Place
from tests import tiny, zoo
from tests.reference.attention import (
    SOURCE,
    edges,
    encoder,
    encoder_decoder,
    gradient_rollout,
    inputs,
    layer,
    paths,
    programs,
    pushing,
    relevances,
    smallest_cuts,
    times,
)

TEXT = "A gorgeous, witty movie."
TEXTS = [TEXT, "bad", "Never have I seen a more charming scene, and I don't think she'd like this film!"]
RECIPES = ["attention-rollout", "attention-flow", "attention-x-gradient", "gradient-rollout"]


@pytest.mark.parametrize("heads", [encoder(1, 3, 4), encoder(2, 2, 3, [0.5, 0, 0.5]), encoder_decoder(3, 3)])
def test_rollout_is_the_sum_over_all_paths(heads: Heads) -> None:
    found = AttentionRollout().shares(network(heads))
    np.testing.assert_allclose(found, paths(heads), rtol=1e-12)
    assert float(found.sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    "heads",
    [*(encoder(seed, 3, 4) for seed in range(4)), encoder(5, 4, 3, [0.5, 0.5, 0]), encoder_decoder(6, 2)],
)
def test_flow_is_the_smallest_cut(heads: Heads) -> None:
    found, cuts = max_flows(network(heads)), smallest_cuts(heads)
    np.testing.assert_allclose(found, cuts, rtol=0, atol=1e-8)
    np.testing.assert_allclose(AttentionFlow().shares(network(heads)), np.array(cuts) / sum(cuts), atol=1e-8)


@pytest.mark.parametrize(
    "heads", [encoder(7, 5, 9), encoder(8, 6, 12), encoder(9, 3, 8, [0.125] * 8), encoder_decoder(10, 8)]
)
def test_flow_solves_the_linear_program(heads: Heads) -> None:
    np.testing.assert_allclose(max_flows(network(heads)), programs(heads), rtol=0, atol=1e-7)


def test_no_token_has_less_flow_than_rollout() -> None:
    """What rollout brings is one flow among those that there may be."""
    for seed in range(5):
        layers = network(encoder(seed, 4, 10))
        assert (max_flows(layers) >= AttentionRollout().shares(layers) - 1e-8).all()


@pytest.mark.parametrize("method", [AttentionRollout(), AttentionFlow()])
def test_one_layer_is_its_row_with_the_residual(method: AttentionRollout | AttentionFlow) -> None:
    heads = encoder(11, 1, 6)
    row = heads.layers[0].weights.mean(0)[0].numpy() / 2
    row[0] += 0.5
    np.testing.assert_allclose(method.shares(network(heads)), row, rtol=0, atol=1e-8)


@pytest.mark.parametrize("method", [AttentionRollout(), AttentionFlow()])
def test_a_single_learned_query_has_no_residual(method: AttentionRollout | AttentionFlow) -> None:
    query = layer(12, (1, 1, 5))
    alone = Heads((query,), torch.ones(1, dtype=torch.float64))
    np.testing.assert_allclose(method.shares(network(alone)), query.weights[0, 0], rtol=0, atol=1e-8)
    above = Heads((*encoder(13, 2, 5).layers, query), torch.ones(1, dtype=torch.float64))
    expected = paths(above) if isinstance(method, AttentionRollout) else smallest_cuts(above)
    np.testing.assert_allclose(method.shares(network(above)), np.array(expected) / sum(expected), atol=1e-8)


def test_attention_behind_a_single_query_is_refused() -> None:
    heads = Heads((layer(1, (1, 1, 5)), layer(2, (1, 1, 1))), torch.ones(1, dtype=torch.float64))
    with pytest.raises(ModelError, match=r"'encoder\.1' mixes the tokens into one"):
        network(heads)


@pytest.mark.parametrize("heads", [encoder(1, 4, 5), encoder(2, 2, 4, [0.25] * 4), encoder_decoder(3, 5)])
def test_gradient_rollout_by_the_rules(heads: Heads) -> None:
    np.testing.assert_allclose(GradientRollout()._score(heads).values, gradient_rollout(heads), rtol=1e-10)


def test_gradient_rollout_of_one_layer_is_that_layer() -> None:
    heads, query = encoder(4, 1, 5), layer(5, (1, 1, 5))
    np.testing.assert_allclose(GradientRollout()._score(heads).values, pushing(heads.layers[0])[0], rtol=1e-12)
    alone = Heads((query,), torch.ones(1, dtype=torch.float64))
    np.testing.assert_allclose(GradientRollout()._score(alone).values, pushing(query)[0], rtol=1e-12)
    above = Heads((*heads.layers, query), torch.ones(1, dtype=torch.float64))
    expected = times(pushing(query), relevances(heads)[0])[0]
    np.testing.assert_allclose(GradientRollout()._score(above).values, expected, rtol=1e-12)


def test_where_nothing_pushes_up_a_note_says_so() -> None:
    heads = encoder(6, 2, 4)
    down = [Layer(each.place, each.weights, -torch.ones_like(each.weights)) for each in heads.layers]
    found = GradientRollout()._score(Heads(tuple(down), heads.queries))
    assert not found.values.any()
    assert "nothing to follow" in found.checks.notes[0]


# On models, by the weights and gradients of transformers' own eager attention.


def batch(model: Model, text: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    tokens = model.read({"text": text}, False)
    ids = torch.tensor([tokens.ids])
    return ids, torch.ones_like(ids), torch.tensor([tokens.kinds]) if tokens.kinds else None


ROWS: dict[str, Callable[[int], list[float]]] = {
    **{name: lambda size: [1.0] + [0.0] * (size - 1) for name in zoo.ENCODERS},
    **{name: lambda size: [0.0] * (size - 1) + [1.0] for name in (*zoo.DECODERS, "xlnet", *zoo.BOTH)},
    **{name: lambda size: [1 / size] * size for name in zoo.TORCH},
}
"""Which position the logits are read at."""


def eager_heads(name: str, text: str) -> Heads:
    model = zoo.ZOO[name](torch.float32)
    found = zoo.eager_attentions(model, *batch(model, text))
    names = ["encoder"] * len(found)
    if name in zoo.BOTH:
        half = len(found) // 3
        names = ["encoder"] * half + ["decoder", "cross"] * half
    places = [Place(f"{kind}.{i}", kind == "cross", kind != "encoder", False, True, 4) for i, kind in enumerate(names)]
    stack = [Layer(place, weights[0].double()) for place, weights in zip(places, found, strict=True)]
    return Heads(tuple(stack), torch.tensor(ROWS[name](stack[0].weights.shape[-1]), dtype=torch.float64))


@pytest.mark.parametrize("name", list(ROWS))
def test_rollout_and_flow_of_models(name: str) -> None:
    """One matrix product a layer and one linear program a token, on eager attention."""
    heads, text = eager_heads(name, "so bad"), "so bad"
    reads, expected = edges(heads), {SOURCE: 1.0}
    for node in reversed(reads):  # each is read by those after it alone
        for read, weight in reads[node].items():
            expected[read] = expected.get(read, 0.0) + expected.get(node, 0.0) * weight
    rolled = saliently.explain(zoo.ZOO[name](torch.float32), text, "attention-rollout")
    tokens = [node for node in inputs(heads) if node[0] == "token"]
    np.testing.assert_allclose(rolled.scores, [expected.get(node, 0.0) for node in tokens], rtol=0, atol=2e-6)
    flow, cuts = saliently.explain(zoo.ZOO[name](torch.float32), text, "attention-flow"), np.array(programs(heads))
    np.testing.assert_allclose(flow.scores, (cuts / cuts.sum())[: len(tokens)], rtol=0, atol=2e-6)
    for each in (rolled, flow):
        assert bool(each.checks.notes) == (name in zoo.BOTH)
        assert each.scores.sum() == pytest.approx(1, abs=1e-9) or "start token" in each.checks.notes[0]


def eager_slopes(name: str, text: str) -> Heads:
    """With gradients of the predicted logit, in float64."""
    model = zoo.ZOO[name](torch.float64)
    module: Any = copy.deepcopy(model.module)
    module.set_attn_implementation("eager")
    ids, mask, _ = batch(model, text)
    output = module(ids, attention_mask=mask, output_attentions=True)
    weights = zoo._in_order(output)
    slopes = torch.autograd.grad(output.logits.max(), weights, allow_unused=True)
    heads = eager_heads(name, text)
    stack = [
        Layer(each.place, w[0].detach(), torch.zeros_like(w[0]) if slope is None else slope[0])
        for each, w, slope in zip(heads.layers, weights, slopes, strict=True)
    ]
    return Heads(tuple(stack), heads.queries)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5", "bart"])
def test_gradient_rollout_of_models(name: str) -> None:
    found = saliently.explain(zoo.ZOO[name](torch.float64), TEXT, "gradient-rollout")
    expected = gradient_rollout(eager_slopes(name, TEXT))
    np.testing.assert_allclose(found.scores, expected, rtol=0, atol=1e-5 * max(expected))


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
@pytest.mark.parametrize(("at", "head"), [(-1, None), (0, None), (0, 2), (-1, 3)])
def test_attention_x_gradient_of_models(name: str, at: int, head: int | None) -> None:
    found = saliently.explain(zoo.ZOO[name](torch.float64), TEXT, f"attention-x-gradient(layer={at}, head={head})")
    heads = eager_slopes(name, TEXT)
    weights, slopes = heads.layers[at].weights, heads.layers[at].gradient
    assert slopes is not None
    chosen, q = range(len(weights)) if head is None else [head], int(heads.queries.argmax())
    expected = [
        sum(float(weights[h, q, k] * slopes[h, q, k]) for h in chosen) / len(chosen) for k in range(len(heads.queries))
    ]
    np.testing.assert_allclose(found.scores, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_attention_x_gradient_of_the_bilstm_is_weights_times_what_states_say() -> None:
    """The logit is linear in the weights, so that products and the bias sum to it."""
    model = tiny.bilstm(torch.float64)
    found = saliently.explain(model, TEXT, "attention-x-gradient")
    bias = float(model.module.state_dict()["output.bias"][found.target.index])
    assert found.scores.sum() + bias == pytest.approx(found.values[0], abs=1e-6)


@pytest.mark.parametrize("recipe", ["attention-rollout", "attention-flow"])
def test_the_bilstm_s_row_as_it_is(recipe: str) -> None:
    model = tiny.bilstm()
    raw = saliently.explain(model, TEXT, "attention")
    np.testing.assert_allclose(saliently.explain(model, TEXT, recipe).scores, raw.scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", ["roberta", "deberta-v2", "mistral", "gemma2", "bart", "transformer-encoder"])
def test_texts_padded_together_are_those_alone(name: str, recipe: str) -> None:
    model = zoo.ZOO[name](torch.float32)
    for text, among in zip(TEXTS, saliently.explain(model, TEXTS, recipe), strict=True):
        alone = saliently.explain(model, text, recipe)
        np.testing.assert_allclose(among.scores, alone.scores, rtol=0, atol=2e-5 * np.abs(alone.scores).max())


@pytest.mark.parametrize("recipe", ["attention", "attention-x-gradient"])
@pytest.mark.parametrize(
    ("field", "value", "many"), [("layer", 2, 2), ("layer", -3, 2), ("head", 4, 4), ("head", -5, 4)]
)
def test_a_layer_or_head_that_is_not_there(recipe: str, field: str, value: int, many: int) -> None:
    with pytest.raises(RecipeError, match=rf"{recipe}\({field}={value}\) was asked for; the model has {many},"):
        saliently.explain(tiny.bert(), TEXT, f"{recipe}({field}={value})")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_model_without_attention(recipe: str) -> None:
    with pytest.raises(ModelError, match="a forward pass shows none"):
        saliently.explain(zoo.ZOO["lstm"](torch.float32), TEXT, recipe)
