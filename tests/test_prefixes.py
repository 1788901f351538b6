"""Rows that go on from a beginning that was kept give what they give when run whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM

import saliently
from saliently.models.base import Model
from saliently.models.prefix import Past, Prefixes
from saliently.types import Target
from tests import tiny
from tests.writers import gpt2, llama

TEXTS = [
    {"prompt": "The film is long and the acting", "response": " so bad that it's good"},
    {"prompt": "A witty, lovely film", "response": " it is not so good"},
    {"prompt": "So long", "response": " y"},
]
RECIPES = [f"occlusion(blank={blank!r}, window={n})" for blank in ("zero", "delete") for n in (1, 3)]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("make", [gpt2, llama])
@pytest.mark.parametrize("budget", [16, 64, 2048])
def test_scores_are_those_of_whole_rows(make: Callable[[], Model], recipe: str, budget: int) -> None:
    model = make()
    assert model.prefixes is not None
    options = saliently.Options(budget=budget)
    kept = saliently.explain(model, TEXTS, recipe, options=options)
    whole = saliently.explain(replace(model, prefixes=None), TEXTS, recipe, options=options)
    for ours, theirs in zip(kept, whole, strict=True):
        assert np.abs(ours.scores - theirs.scores).max() <= 1e-5 * max(1.0, np.abs(theirs.scores).max())
        assert ours.values == pytest.approx(theirs.values, abs=1e-5)
        assert ours.nothing == pytest.approx(theirs.nothing, abs=1e-4)
        assert ours.checks.forward_rows <= theirs.checks.forward_rows


def tokens_run(model: Model, recipe: str, budget: int) -> int:
    """How many tokens go through the module."""
    seen: list[int] = []

    def count(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        seen.append(int(kwargs["input_ids"].numel()))

    handle = model.module.register_forward_pre_hook(count, with_kwargs=True)
    try:
        saliently.explain(model, TEXTS[0], recipe, options=saliently.Options(budget=budget))
    finally:
        handle.remove()
    return sum(seen)


@pytest.mark.parametrize("recipe", RECIPES[::2])
def test_fewer_tokens_are_run(recipe: str) -> None:
    model = gpt2()
    with_, without = (tokens_run(each, recipe, 48) for each in (model, replace(model, prefixes=None)))
    assert with_ <= 0.65 * without, (with_, without)


def test_no_memory_for_a_beginning_leaves_whole_rows() -> None:
    """The first pass, which keeps it, finds none."""
    model, asked = gpt2(), list[int]()

    def out(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        asked.append(1)
        if len(asked) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = model.module.register_forward_pre_hook(out, with_kwargs=True)
    try:
        found = saliently.explain(model, TEXTS[0], "occlusion")
    finally:
        handle.remove()
    assert found.scores == pytest.approx(saliently.explain(model, TEXTS[0], "occlusion").scores, abs=1e-5)


@pytest.mark.parametrize("budget", [16, 48])
def test_what_is_kept_for_a_batch_is_bounded(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    after, most = Prefixes.after, [0]

    def seen(self: Prefixes, past: Past, first: torch.Tensor, batch: Any) -> torch.Tensor:
        most[0] = max(most[0], len(batch.ids) * (int(first.min()) + batch.ids.shape[1]))
        return after(self, past, first, batch)

    monkeypatch.setattr(Prefixes, "after", seen)
    found = saliently.explain(gpt2(), TEXTS[0], "occlusion", options=saliently.Options(budget=budget))
    assert 0 < most[0] <= max(4 * budget, len(found.tokens.ids))


def test_a_beginning_that_is_spoiled_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kept keys are what the scores are made of."""
    right, plain = saliently.explain(gpt2(), TEXTS[0], "occlusion"), Prefixes.past

    def spoiled(self: Prefixes, ids: torch.Tensor, tokens: torch.Tensor) -> Past:
        found = plain(self, ids, tokens)
        return found._replace(layers=[(1.5 * keys, values) for keys, values in found.layers])

    monkeypatch.setattr(Prefixes, "past", spoiled)
    assert np.abs(saliently.explain(gpt2(), TEXTS[0], "occlusion").scores - right.scores).max() > 1e-3


def test_a_model_that_goes_on_wrongly_is_run_whole() -> None:
    """A cache that the model takes no notice of is found out when it is wrapped."""

    class Forgetful(GPT2LMHeadModel):
        def forward(self, *args: Any, past_key_values: Any = None, logits_to_keep: Any = 0, **rest: Any) -> Any:
            rest["attention_mask"] = rest["attention_mask"][:, -rest["input_ids"].shape[1] :]
            rest.pop("position_ids", None)
            return super().forward(*args, logits_to_keep=logits_to_keep, **rest)

    Forgetful.__name__ = "GPT2LMHeadModel"
    kit = tiny.byte_level()
    config = GPT2Config(vocab_size=len(kit), n_embd=32, n_layer=2, n_head=4, pad_token_id=0, eos_token_id=None)
    assert saliently.wrap(tiny.seeded(lambda: Forgetful(config), torch.float32, 8.0), kit).prefixes is None


def test_sliding_windows_are_run_whole() -> None:
    kit = tiny.byte_level()
    config = MistralConfig(
        vocab_size=len(kit),
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
        sliding_window=4,
        num_key_value_heads=2,
        **tiny.SIZE,
    )
    assert saliently.wrap(tiny.seeded(lambda: MistralForCausalLM(config), torch.float32, 8.0), kit).prefixes is None


def test_changed_attention_sees_whole_rows() -> None:
    model = gpt2()
    with saliently.change_attention(model, saliently.Uniform()):
        changed = saliently.explain(model, TEXTS[0], "occlusion")
        whole = saliently.explain(replace(model, prefixes=None), TEXTS[0], "occlusion")
    assert np.abs(changed.scores - whole.scores).max() <= 1e-5 * max(1.0, np.abs(whole.scores).max())


def test_a_late_token_needs_no_more_than_the_beginning() -> None:
    """Tokens after the explained one are never run for it."""
    model = gpt2()
    for recipe in ("occlusion", "occlusion(blank='delete')"):
        each = saliently.explain_each(model, TEXTS[0], recipe)
        start = each.tokens.response or 0
        for n, found in enumerate(each):
            assert not found.scores[start + n :].any()
            assert found.scores[: start + n].all()
        first = saliently.explain(model, TEXTS[0], recipe, Target(at=0))
        assert not first.scores[start:].any()
        assert first.checks.forward_rows <= start + 3
