"""Attention that is changed is changed for everyone who runs the model, and for nobody afterwards."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import saliently
from saliently import Frozen, MaskedHeads, Permuted, Uniform, Zeroed, change_attention
from saliently.interventions import Acted
from saliently.models.base import Model
from saliently.models.bilstm import AttentionClassifier
from saliently.seam.watch import Attention, Watch, watched
from tests import tiny, zoo
from tests.test_seam import BoomError, batch_of, boom, state

TEXT = "A gorgeous, witty, seductive movie."
TEXTS = [TEXT, "It's so bad that it's good", "bad"]
EVERY = zoo.ZOO | zoo.OTHERS
ATTENDS = sorted(zoo.HAS_EAGER | {"bilstm"})
RECIPES = [
    "gradient-x-input",
    "integrated-gradients(blank='zero', steps=4)",
    "occlusion(blank='zero')",
    "cp-lrp",
    "attn-lrp",
    "attention",
]
BY_HAND = "by-hand"
ByHand = Callable[[Tensor, int], Tensor]
"""Weights (R, H, Q, K) and the place of the attention, to other weights."""


@contextmanager
def by_hand(name: str, change: ByHand) -> Iterator[Model]:
    """The model of that name, on a copy whose own code changes its weights; saliently's seam has no part in it."""
    model = EVERY[name](torch.float64)
    module = copy.deepcopy(model.module)
    if isinstance(module, AttentionClassifier):
        weigh = module.weigh
        vars(module)["weigh"] = lambda states, mask: change(weigh(states, mask)[:, None, None], 0)[:, 0, 0]
        read = tiny.bilstm(torch.float64).read
        yield Model(
            "by hand", module, module.embedding, read, lambda b: module(b.ids, b.mask), model.labels, model.blank_ids
        )
        return
    order: list[nn.Module] = []

    def attend(
        part: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **settings: Any
    ) -> tuple[Tensor, None]:
        if part not in order:
            order.append(part)
        times = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
        scale = settings.get("scaling") or query.shape[-1] ** -0.5
        scores = query @ key.transpose(-1, -2) * scale
        weights = (scores if mask is None else scores + mask[..., : key.shape[-2]]).softmax(-1)
        mixed = change(weights, order.index(part)) @ value
        return mixed.transpose(1, 2).contiguous(), None

    AttentionInterface.register(BY_HAND, attend)
    AttentionMaskInterface.register(BY_HAND, eager_mask)
    try:
        module.set_attn_implementation(BY_HAND)  # type: ignore[operator]
        kit = {"bert": tiny.wordpiece, "gpt2": tiny.byte_level, "llama": tiny.unigram}[name]()
        yield saliently.wrap(module, kit)
    finally:
        del AttentionInterface._global_mapping[BY_HAND], AttentionMaskInterface._global_mapping[BY_HAND]
        assert BY_HAND not in ALL_ATTENTION_FUNCTIONS


def uniform(weights: Tensor, place: int) -> Tensor:
    open_ = weights.detach() > 0
    return open_.to(weights.dtype) / open_.sum(-1, keepdim=True)


def zeroed(weights: Tensor, place: int) -> Tensor:
    return uniform(weights, place) if place else without(weights, 2)


def without(weights: Tensor, key: int) -> Tensor:
    kept = torch.cat([weights[..., :key], 0 * weights[..., key : key + 1], weights[..., key + 1 :]], -1)
    return kept / kept.sum(-1, keepdim=True)


def headless(weights: Tensor, place: int) -> Tensor:
    last = weights.shape[1] - 1
    return torch.stack([w * (h not in (0, last) or place > 0) for h, w in enumerate(weights.unbind(1))], 1)


def half(weights: Tensor, place: int) -> Tensor:
    return 0.5 * weights + 0.5 * uniform(weights, place)


def pairs(name: str) -> list[tuple[Any, ByHand]]:
    """Interventions, and the same by hand."""
    last = 3 if name != "bilstm" else 0
    return [
        (Uniform(), uniform),
        (Uniform((0,)), lambda w, i: w if i else uniform(w, i)),
        (Zeroed((2,), (0,)), lambda w, i: w if i else without(w, 2)),
        (MaskedHeads({0: (0, last)}), headless),
        (lambda seen: half(seen.weights, seen.index), half),
    ]


def logits(model: Model, text: str = TEXT) -> Tensor:
    """The user's own forward pass."""
    with torch.no_grad():
        return model.run(batch_of(model, [text]))[0]


def kept(name: str) -> Model:
    return EVERY[name](torch.float64)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("which", range(5))
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "bilstm"])
def test_methods_explain_the_changed_model(name: str, which: int, recipe: str) -> None:
    """As they explain a model whose own code mixes by other weights."""
    look, hand = pairs(name)[which]
    model = kept(name)
    own = saliently.explain(model, TEXT, recipe)
    with change_attention(model, look) as acted:
        if recipe == "attention":  # constants made by hand are not seen as attention
            found = saliently.attention(model, TEXT)
        else:
            found = saliently.explain(model, TEXT, recipe)
        ran = logits(model)
    assert acted.seen >= acted.changed >= 2
    if recipe == "attention":
        expected = torch.from_numpy(next(iter(saliently.attention(model, TEXT).layers.values())))[None]
        np.testing.assert_allclose(next(iter(found.layers.values())), hand(expected, 0)[0].numpy(), rtol=0, atol=1e-12)
        return
    with by_hand(name, hand) as other:
        theirs = saliently.explain(other, TEXT, recipe)
        torch.testing.assert_close(ran, logits(other), rtol=0, atol=1e-12)
    near = 1e-9 * max(1, np.abs(theirs.scores).max())
    np.testing.assert_allclose(found.scores, theirs.scores, rtol=0, atol=near)
    assert found.values == pytest.approx(theirs.values, abs=near)
    assert np.abs(found.scores - own.scores).max() > 1e-4
    again = saliently.explain(model, TEXT, recipe)
    np.testing.assert_array_equal(again.scores, own.scores)


INTERVENTIONS: dict[str, Any] = {
    "uniform": Uniform(),
    "permuted": Permuted(3),
    "masked heads": MaskedHeads({0: (0,)}),
    "zeroed": Zeroed((1,), (0,)),
}


@pytest.mark.parametrize("look", INTERVENTIONS.values(), ids=INTERVENTIONS)
@pytest.mark.parametrize("name", ATTENDS)
def test_a_changed_batch_is_its_rows(name: str, look: Any) -> None:
    model, texts = EVERY[name](), TEXTS[:2]
    if name == "funnel" or (isinstance(look, Zeroed) and model.sides == ("left",)):
        # Padding moves its pools; and keys to be zeroed are counted from the start of the row.
        model = dataclasses.replace(model, sides=())
        texts = [TEXT, "A witty, gorgeous, seductive movie."]
    plain = saliently.explain(model, texts, "gradient-x-input")
    with change_attention(model, look) as acted:
        together = saliently.explain(model, texts, "gradient-x-input")
        alone = [saliently.explain(model, text, "gradient-x-input") for text in texts]
        weights = saliently.attention(model, texts)
        each = [saliently.attention(model, text) for text in texts]
        before = acted.seen
        with torch.no_grad():
            rows = model.run(batch_of(model, texts))
        assert acted.seen == before + len(model.attentions)
    for one, row, theirs, own in zip(together, rows, alone, plain, strict=True):
        near = 1e-5 * max(1, np.abs(theirs.scores).max())
        np.testing.assert_allclose(one.scores, theirs.scores, rtol=0, atol=near)
        assert one.values == pytest.approx(theirs.values, abs=1e-5)
        assert float(row[one.target.index]) == pytest.approx(one.values[0], abs=1e-5)
        assert one.values[0] != own.values[0]
    for maps, theirs in zip(weights, each, strict=True):
        for ours, those in zip(maps.layers.values(), theirs.layers.values(), strict=True):
            np.testing.assert_allclose(ours, those, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ATTENDS)
def test_what_each_intervention_makes_of_the_weights(name: str) -> None:
    """As `saliently.attention` reads them inside the block."""
    model = EVERY[name]()
    own = [*saliently.attention(model, TEXT).layers.values()]

    def changed(look: Any) -> list[Any]:
        with change_attention(model, look):
            return [*saliently.attention(model, TEXT).layers.values()]

    def first(look: Any) -> Any:
        """The first attention's, which sees what it saw without the change."""
        return changed(look)[0]

    open_ = own[0] > 0
    many = open_.sum(-1, keepdims=True)
    assert many.max() > 2
    np.testing.assert_allclose(first(Uniform()), open_ / many, rtol=0, atol=1e-6)
    for weights in changed(Uniform()):
        found = weights > 0
        np.testing.assert_allclose(weights, found / found.sum(-1, keepdims=True), rtol=0, atol=1e-6)

    shuffled = first(Permuted(0))
    np.testing.assert_array_equal(np.sort(shuffled, -1), np.sort(own[0], -1))
    np.testing.assert_array_equal(shuffled > 0, open_)
    assert (shuffled != own[0]).any()
    np.testing.assert_array_equal(shuffled, first(Permuted(0)))
    assert any((first(Permuted(seed)) != shuffled).any() for seed in (1, 2))

    gone = first(Zeroed((1, 3)))
    others = own[0].copy()
    others[..., [1, 3]] = 0
    total = others.sum(-1, keepdims=True)
    np.testing.assert_allclose(gone, np.divide(others, total, where=total > 0, out=0 * others), rtol=0, atol=1e-6)
    assert set(np.round(gone.sum(-1), 5).flat) <= {0.0, 1.0}
    assert (gone[..., [1, 3]] == 0).all()

    headless = first(MaskedHeads({0: (0,)}))
    assert (headless[0] == 0).all()
    np.testing.assert_array_equal(headless[1:], own[0][1:])

    later = changed(Uniform((len(own) - 1,)))
    for ours, those in zip(later[:-1], own[:-1], strict=True):
        np.testing.assert_array_equal(ours, those)
    assert len(own) == 1 or (later[-1] != own[-1]).any()


def test_shuffles_differ_from_layer_to_layer() -> None:
    """The one seed does not shuffle all layers alike."""
    model = tiny.bert()
    orders = []

    def look(seen: Attention) -> Tensor | None:
        ramp = torch.linspace(1, 2, seen.weights.shape[-1]).expand_as(seen.weights)
        orders.append(Permuted(0)(Attention(seen.name, seen.index, False, ramp, seen.value, seen.output)))
        return seen.weights.flip(-1)

    with change_attention(model, look):
        logits(model)
    assert len(orders) == 2
    assert (orders[0] != orders[1]).any()


@pytest.mark.parametrize("name", ["bert", "llama", "t5", "deberta-v2", "transformer-encoder", "bilstm"])
def test_frozen_attention_is_another_run_s(name: str) -> None:
    model = kept(name)
    text = "good film and light" if name in ("bilstm", "transformer-encoder") else TEXT
    other = "dull film and light" if name in ("bilstm", "transformer-encoder") else "A gorgeous, witty, dull movie."
    length = {each: len(model.read({"text": each}, False).ids) for each in (text, other)}
    if length[text] != length[other]:
        other = text[:-1] + "!" if text.endswith(".") else other
        assert len(model.read({"text": other}, False).ids) == length[text]
    maps, theirs = saliently.attention(model, text), saliently.attention(model, other)
    own = saliently.explain(model, other, "gradient-x-input")
    with change_attention(model, Frozen(maps)) as acted:
        same = logits(model, text)
        inside = saliently.attention(model, other)
        found = saliently.explain(model, other, "gradient-x-input")
    assert acted.largest > 1e-3
    torch.testing.assert_close(same, logits(model, text), rtol=0, atol=1e-9)
    for ours, those, before in zip(inside.layers.values(), maps.layers.values(), theirs.layers.values(), strict=True):
        np.testing.assert_array_equal(ours, those)
        assert (before != those).any()
    assert abs(found.values[0] - own.values[0]) > 1e-6
    # With its own attention a text gives its own answer, and the gradient goes through the values alone.
    with change_attention(model, Frozen(theirs)):
        again = saliently.explain(model, other, "gradient-x-input")
    assert again.values[0] == pytest.approx(own.values[0], abs=1e-9)
    assert np.abs(again.scores - own.scores).max() > 1e-3 * np.abs(own.scores).max()
    with watched(Watch(change=lambda seen: seen.weights.detach()), model.module):
        constant = saliently.explain(model, other, "gradient-x-input")
    np.testing.assert_allclose(again.scores, constant.scores, rtol=0, atol=1e-9)


def test_a_function_sees_names_and_may_leave_some() -> None:
    model, names = tiny.t5(), list[str]()

    def look(seen: Attention) -> Tensor | None:
        names.append(seen.name)
        return seen.weights.flip(-1) if seen.cross else None

    own = logits(model)
    with change_attention(model, look) as acted:
        found = logits(model)
    assert names == [place.name for place in model.attentions]
    assert (acted.seen, acted.changed) == (len(names), sum(place.cross for place in model.attentions))
    assert acted.could
    assert acted.largest > 0
    assert (found != own).any()


def test_blocks_inside_blocks_are_applied_in_order() -> None:
    """The inner change gets what the outer one made."""
    model = kept("bert")
    with change_attention(model, Zeroed((1,))) as outer:
        with change_attention(model, Uniform()) as inner:
            weights = [*saliently.attention(model, TEXT).layers.values()]
            both = logits(model)
            scores = saliently.explain(model, TEXT, "cp-lrp").scores
        between = logits(model)
    size = weights[0].shape[-1]
    expected = np.full((size,), 1 / (size - 1))
    expected[1] = 0
    for each in weights:
        np.testing.assert_allclose(each, np.broadcast_to(expected, each.shape), rtol=0, atol=1e-12)
    assert (outer.seen, inner.seen) == (8, 6)
    fixed = torch.from_numpy(expected)
    with by_hand("bert", lambda w, i: fixed.expand_as(w)) as other:
        torch.testing.assert_close(both, logits(other), rtol=0, atol=1e-12)
        np.testing.assert_allclose(scores, saliently.explain(other, TEXT, "cp-lrp").scores, rtol=0, atol=1e-12)
    with by_hand("bert", lambda w, i: without(w, 1)) as other:
        torch.testing.assert_close(between, logits(other), rtol=0, atol=1e-12)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", ATTENDS)
def test_the_user_s_own_forward_pass_is_changed_fused_or_not(name: str, grad: bool) -> None:
    model = EVERY[name]()
    batch = batch_of(model, TEXTS)
    with torch.set_grad_enabled(grad):
        own = model.run(batch)
        before = state(model.module)
        with change_attention(model, Uniform()) as acted:
            found = model.run(batch)
            assert (acted.seen, acted.could) == (len(model.attentions), True)
        assert state(model.module) == before
        torch.testing.assert_close(model.run(batch), own, rtol=0, atol=0)
    assert ((found - own).abs().amax(1) > 1e-6)[:2].all()


def test_weights_put_in_carry_the_gradient() -> None:
    """A user may learn attention weights."""
    model = kept("bert")
    batch = batch_of(model, [TEXT])
    size = batch.ids.shape[1]
    scores = torch.zeros(size, dtype=torch.float64, requires_grad=True)
    with change_attention(model, lambda seen: scores.softmax(-1).expand_as(seen.weights)):
        value = model.run(batch)[0, 0]
        (slope,) = torch.autograd.grad(value, scores)
        with torch.no_grad():
            moved = torch.zeros_like(scores)
            moved[2] = 1e-6
            scores.add_(moved)
            found = (model.run(batch)[0, 0] - value) / 1e-6
    assert float(found) == pytest.approx(float(slope[2]), rel=1e-3)
    assert abs(float(slope[2])) > 1e-4


# Proofs that it acted.


@contextmanager
def refused(kind: type[Exception], match: str, model: Model) -> Iterator[None]:
    before = state(model.module)
    with pytest.raises(kind, match=match):
        yield
    assert state(model.module) == before


def test_nothing_that_ran_is_an_error() -> None:
    model, other = tiny.bert(), tiny.gpt2()
    with refused(saliently.ModelError, "no attention ran inside", model), change_attention(model, Uniform()):
        pass
    with refused(saliently.ModelError, "no attention ran inside", model), change_attention(model, Uniform()):
        logits(other)


@pytest.mark.parametrize(
    "look", [Uniform((7,)), Permuted(0, ()), MaskedHeads({}), MaskedHeads({9: (0,)}), lambda seen: None]
)
def test_a_change_of_nothing_is_an_error(look: Any) -> None:
    model = tiny.bert()
    with refused(saliently.ModelError, "2 attentions ran and none", model), change_attention(model, look):
        logits(model)
    with refused(saliently.ModelError, "2 attentions ran and none", model), change_attention(model, look):
        saliently.explain(model, TEXT, "gradient-x-input")


def test_the_same_weights_are_no_change_unless_there_is_no_choice() -> None:
    model = tiny.bert()
    with (
        refused(saliently.ModelError, "another one now", model),
        change_attention(model, lambda seen: seen.weights + 0),
    ):
        logits(model)
    # One word alone: its attention can't be any other.
    single = EVERY["transformer-encoder"]()
    with change_attention(single, Uniform()) as acted:
        logits(single, "good")
    assert vars(acted) == vars(Acted(seen=2, changed=0, largest=0.0, could=False))
    # A text in its own attention is a fixed point, and that is no mistake.
    maps = saliently.attention(model, TEXT)
    with change_attention(model, Frozen(maps)) as acted:
        logits(model)
    assert acted.largest < 1e-6


@pytest.mark.parametrize("name", ["mamba", "lstm", "gru"])
def test_a_model_without_attention_is_told_so(name: str) -> None:
    model = EVERY[name]()
    with refused(saliently.ModelError, "shows none", model), change_attention(model, Uniform()):
        logits(model)
    with refused(saliently.ModelError, "shows none", model):
        saliently.attention(model, TEXT)


BAD: dict[str, Callable[[Attention], Any]] = {
    "NaN": lambda seen: seen.weights * float("nan"),
    "infinite": lambda seen: seen.weights / 0,
    "of one key": lambda seen: seen.weights[..., :1],
    "of no batch": lambda seen: seen.weights[0],
    "an array": lambda seen: seen.weights.detach().numpy(),
    "a number": lambda seen: 1.0,
}


@pytest.mark.parametrize("look", BAD.values(), ids=BAD)
@pytest.mark.parametrize("name", ["bert", "transformer-encoder", "bilstm"])
def test_what_is_no_weights_is_one_clear_error(name: str, look: Any) -> None:
    model = EVERY[name]()
    with (
        refused(saliently.RecipeError, "New weights for .*, a tensor of finite numbers of shape", model),
        change_attention(model, look),
    ):
        logits(model)
    with (
        refused(saliently.RecipeError, "New weights for .*, a tensor of finite numbers of shape", model),
        change_attention(model, look),
    ):
        saliently.explain(model, TEXT, "occlusion(blank='zero')")


def test_what_an_intervention_can_t_do_is_one_clear_error() -> None:
    model = tiny.bert()
    longer, other = saliently.attention(model, TEXTS[1]), saliently.attention(tiny.gpt2(), TEXT)
    size = len(saliently.attention(model, TEXT).tokens.ids)
    for look, match in (
        (Zeroed((0, 99)), rf"keys \[99\].*keys 0 to {size - 1}"),
        (Zeroed((-1,)), r"keys \[-1\]"),
        (MaskedHeads({0: (4,)}), r"Heads \[4\].*heads 0 to 3"),
        (MaskedHeads({1: (0, -2)}), r"Heads \[-2\]"),
        (Frozen(longer), r"\(heads, queries, keys\)"),
        (Frozen(other), r"\(heads, queries, keys\)"),
        (Frozen(saliently.AttentionMaps(longer.tokens, {})), "a run of 0 attentions"),
    ):
        with refused(saliently.RecipeError, match, model), change_attention(model, look):
            logits(model)


def test_an_error_of_the_user_s_own_comes_through_as_it_is() -> None:
    model = tiny.bert()
    with refused(BoomError, "^$", model), change_attention(model, Uniform()):
        boom()
    with refused(BoomError, "^$", model), change_attention(model, boom):  # type: ignore[arg-type]
        logits(model)
    # And after one that was caught inside, the block goes on.
    own = logits(model)
    with change_attention(model, Uniform()) as acted:
        handle = model.embedding.register_forward_hook(boom)
        with pytest.raises(BoomError):
            logits(model)
        handle.remove()
        assert (logits(model) != own).any()
    assert acted.changed == 2
