"""The seam sees what every architecture does, changes nothing by looking, and leaves nothing behind."""

from __future__ import annotations

import gc
import sys
import threading
import warnings
import weakref
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules
from torch.utils.checkpoint import checkpoint

import saliently
from saliently.models.base import Model
from saliently.models.batch import Batch
from saliently.packing import Budget
from saliently.runner import Runner
from saliently.seam import mode
from saliently.seam.watch import Attention, Watch, watched
from saliently.types import Target
from tests import tiny, zoo
from tests.snapshot import snapshot

TEXTS = ["A gorgeous, witty, seductive movie.", "It's so bad that it's good", "bad"]
EVERY = zoo.ZOO | zoo.OTHERS
ATTENDS = sorted(zoo.HAS_EAGER | {"bilstm"})
PLACES = ("softmax", "linear", "scaled_dot_product_attention", "multi_head_attention_forward", "layer_norm", "dropout")
CLASSES = (
    nn.Linear,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.Softmax,
    nn.MultiheadAttention,
    nn.TransformerEncoderLayer,
    nn.Module,
)


def state(module: nn.Module) -> dict[str, Any]:
    """What `snapshot` tells, and all that looking inside could leave behind."""
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    return {
        **snapshot(module),
        "every hook": {
            (name, kind): list(hooks)
            for name, part in module.named_modules()
            for kind, hooks in vars(part).items()
            if kind.endswith("_hooks") or "_hooks_" in kind
        },
        "global hooks": {
            k: len(v) for k, v in vars(torch_modules).items() if k.startswith("_global") and hasattr(v, "keys")
        },
        "functions": [getattr(F, name) for name in PLACES] + [torch.matmul, torch.bmm, torch.einsum, torch.softmax],
        "methods": [Tensor.softmax, Tensor.matmul, Tensor.__matmul__, Tensor.mul, Tensor.__mul__],
        "classes' own": [(kind.forward, kind.__call__) for kind in CLASSES],
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "modes": torch.overrides._get_current_function_mode_stack(),
        "threads": torch._C._is_multithreading_enabled(),
        "stance": None if dynamo is None else dynamo._stance,
        "implementations": implementations(module),
        "asked for": [getattr(config, "output_attentions", None) for config in configs(module)],
        "seam": mode._OPEN.get(),
    }


def configs(module: nn.Module) -> list[Any]:
    return list({id(part.config): part.config for part in module.modules() if hasattr(part, "config")}.values())


def implementations(module: nn.Module) -> list[str | None]:
    """Which attention each part is set to run."""
    return [getattr(config, "_attn_implementation", None) for config in configs(module)]


def batch_of(model: Model, texts: list[str], side: str | None = None) -> Batch:
    """Rows of unequal length, padded as the model bears it."""
    read = [model.read({"text": text}, False) for text in texts]
    longest, where = max(len(tokens.ids) for tokens in read), side or (*model.sides, "right")[0]

    def pad(values: tuple[int, ...] | list[int], filler: int) -> list[int]:
        rest = [filler] * (longest - len(values))
        return [*values, *rest] if where == "right" else [*rest, *values]

    ids = torch.tensor([pad(tokens.ids, model.blank_ids.get("pad", 0)) for tokens in read])
    mask = torch.tensor([pad([1] * len(tokens.ids), 0) for tokens in read])
    kinds = torch.tensor([pad(tokens.kinds, 0) for tokens in read]) if read[0].kinds else None
    return Batch.of(ids, kinds, mask, where)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", EVERY)
def test_looking_changes_no_output_and_no_gradient(name: str) -> None:
    model = EVERY[name]()
    for texts in ([TEXTS[0]], TEXTS):
        batch = batch_of(model, texts)
        before = state(model.module)
        with model.resting():
            x = model.embed(batch.ids).requires_grad_()
            plain = model.run(batch, x)
            (expected,) = torch.autograd.grad(plain.sum(), x)
            seen: list[Attention] = []
            with watched(Watch(seen.append), model.module):
                found = model.run(batch, x)
                (gradient,) = torch.autograd.grad(found.sum(), x)
                with torch.no_grad():
                    silent = model.run(batch)
        torch.testing.assert_close(found, plain, rtol=0, atol=1e-5)
        torch.testing.assert_close(silent, plain, rtol=0, atol=1e-5)
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
        assert len(seen) == 2 * len(model.attentions)
        assert bool(seen) == (name in ATTENDS)
        assert state(model.module) == before


class BoomError(Exception):
    """Raised by tests inside a forward pass."""


def boom(*_: object) -> None:
    raise BoomError


@pytest.mark.parametrize("name", EVERY)
def test_nothing_remains_after_an_exception(name: str) -> None:
    model = EVERY[name]()
    batch, watch = batch_of(model, TEXTS[:1]), Watch(lambda seen: None)
    leaves = [part for part in model.module.modules() if not list(part.children())]
    for part in (leaves[len(leaves) // 2], leaves[-1]):
        handle = part.register_forward_hook(boom)
        try:
            before = state(model.module)
            with pytest.raises(BoomError), watched(watch, model.module):
                model.run(batch)
            assert state(model.module) == before
        finally:
            handle.remove()
    before = state(model.module)
    with pytest.raises(BoomError), watched(watch, model.module):
        boom(model.run(batch))
    assert state(model.module) == before
    if name in ATTENDS:
        with pytest.raises(BoomError), watched(Watch(boom), model.module):
            model.run(batch)
        assert state(model.module) == before


@pytest.mark.parametrize("name", ATTENDS)
def test_attention_and_change_attention_leave_the_model_as_it_was(name: str) -> None:
    model = EVERY[name]()
    batch = batch_of(model, TEXTS[:1])
    model.module.train()
    next(model.module.parameters()).requires_grad_(False)
    try:
        before = state(model.module)
        saliently.attention(model, TEXTS)
        assert state(model.module) == before
        model.module.eval()
        before = state(model.module)
        with saliently.change_attention(model, saliently.Uniform()):
            model.run(batch)
            saliently.explain(model, TEXTS[0], "gradient")
        assert state(model.module) == before
        with pytest.raises(BoomError), saliently.change_attention(model, saliently.Uniform()):
            boom(model.run(batch))
        assert state(model.module) == before
        with pytest.raises(BoomError), saliently.change_attention(model, boom):  # type: ignore[arg-type]
            model.run(batch)
        assert state(model.module) == before
    finally:
        model.module.eval().requires_grad_(True)


@pytest.mark.parametrize("name", ATTENDS)
def test_a_failed_pass_inside_the_block_does_not_disturb_the_next(name: str) -> None:
    model = EVERY[name]()
    batch, seen = batch_of(model, TEXTS), list[Attention]()
    parts = [part for part in model.module.modules() if part is not model.module]
    with model.resting(), torch.no_grad():
        for register in ("register_forward_hook", "register_forward_pre_hook"):
            for part in (model.embedding, parts[-1], model.module):
                handle = getattr(part, register)(boom)
                with ExitStack() as stack:
                    stack.callback(handle.remove)
                    stack.enter_context(watched(Watch(seen.append), model.module))
                    for _ in range(2):
                        with pytest.raises(BoomError):
                            model.run(batch)
                    handle.remove()
                    seen.clear()
                    model.run(batch)
                assert [each.index for each in seen] == list(range(len(model.attentions)))
                assert [each.name for each in seen] == [place.name.partition("#")[0] for place in model.attentions]
                assert [each.cross for each in seen] == [place.cross for place in model.attentions]


def test_a_pass_that_was_interrupted_does_not_make_other_models_seen() -> None:
    """torch runs no hook after a KeyboardInterrupt."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    model, other, seen = tiny.bert(), tiny.gpt2(), list[Attention]()
    batch, others = batch_of(model, TEXTS), batch_of(other, TEXTS)
    handle = model.embedding.register_forward_hook(interrupt)
    with ExitStack() as stack, torch.no_grad():
        stack.callback(handle.remove)
        stack.enter_context(watched(Watch(seen.append), model.module))
        with pytest.raises(KeyboardInterrupt):
            model.run(batch)
        handle.remove()
        model.run(batch)
        other.run(others)
    assert [one.index for one in seen] == [0, 1]


# What is read: the weights that transformers' own eager implementation computes.


@pytest.mark.parametrize("name", sorted(zoo.HAS_EAGER))
def test_attention_is_the_eager_one(name: str) -> None:
    model = EVERY[name]()
    own = [
        getattr(part.config, "_attn_implementation", None) for part in model.module.modules() if hasattr(part, "config")
    ]
    together = saliently.attention(model, TEXTS)
    for text, padded in zip(TEXTS, together, strict=True):
        batch = batch_of(model, [text])
        expected = zoo.eager_attentions(model, batch.ids, batch.mask, batch.kinds)
        for maps in (saliently.attention(model, text), padded):
            assert list(maps.layers) == [place.name for place in model.attentions]
            assert maps.tokens.ids == tuple(batch.ids[0].tolist())
            for found, weights in zip(maps.layers.values(), expected, strict=True):
                assert found.dtype == np.float32
                np.testing.assert_allclose(found, weights[0].double().numpy(), rtol=0, atol=1e-5)
    after = [
        getattr(part.config, "_attn_implementation", None) for part in model.module.modules() if hasattr(part, "config")
    ]
    assert after == own


@pytest.mark.parametrize("name", ATTENDS)
def test_real_queries_give_padding_nothing_and_the_model_runs_its_own_implementation(name: str) -> None:
    model = EVERY[name]()
    before = implementations(model.module)
    for side in model.sides:
        batch, seen, during = batch_of(model, TEXTS, side), list[Attention](), list[Any]()

        def look(one: Attention, seen: list[Attention] = seen, during: list[Any] = during) -> None:
            seen.append(one)
            during.append(implementations(model.module))

        with torch.no_grad(), watched(Watch(look), model.module):
            model.run(batch)
        assert all(each == before for each in during)
        padding, several = batch.mask == 0, 0
        assert padding.any()
        for one in seen:
            if one.weights.shape[-1] != batch.ids.shape[1]:
                assert name == "funnel"  # pools its tokens
                continue
            queries = batch.mask.bool()[:, None, :, None] if one.weights.shape[-2] == batch.ids.shape[1] else None
            to_padding = one.weights.masked_fill(~padding[:, None, None], 0.0)
            real = to_padding if queries is None else to_padding.masked_fill(~queries, 0.0)
            several += 1
            shifted = name in ("t5", "bart") and one.name.startswith(("decoder", "model.decoder")) and not one.cross
            assert shifted or bool((real == 0).all()), one.name
            sums = one.weights.sum(-1)
            real_sums = sums if queries is None else sums[queries[..., 0].expand_as(sums)]
            torch.testing.assert_close(real_sums, torch.ones_like(real_sums), rtol=0, atol=1e-5)
        assert several


# How attention may be written: in one call, or out by the model.


def _heads(x: Tensor) -> Tensor:
    """(R, T, 16) to (R, 2, T, 8)."""
    return x.unflatten(-1, (2, 8)).transpose(1, 2)


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, *x.shape[-2:])


PRODUCTS = {
    "softmax @": lambda s, v: torch.softmax(s, -1) @ v,
    "softmax module": lambda s, v: torch.matmul(nn.Softmax(-1)(s), v),
    "wider softmax": lambda s, v: torch.matmul(F.softmax(s, -1, dtype=torch.float64).to(v.dtype), v),
    "dropped out": lambda s, v: torch.matmul(F.dropout(s.softmax(-1), 0.5, False), v),
    "flattened after": lambda s, v: torch.bmm(_flat(s.softmax(-1)), _flat(v)).view(v.shape),
    "flattened before": lambda s, v: torch.bmm(_flat(s).softmax(-1), _flat(v)).view(v.shape),
    "einsum": lambda s, v: torch.einsum("bhqk, bhke -> bhqe", s.softmax(-1), v),
    "einsum, heads last": lambda s, v: torch.einsum("nhij,njhe->nihe", [s.softmax(-1), v.transpose(1, 2)]).transpose(
        1, 2
    ),
    "with a sink": lambda s, v: torch.cat([s, s[..., :1] * 0], -1).softmax(-1)[..., :-1] @ v,
    "in place": lambda s, v: s.softmax(-1).masked_fill_(s.isinf(), 0.0) @ v,
    "fused": lambda s, v: F.scaled_dot_product_attention(torch.zeros_like(v), torch.zeros_like(v), v, s),
}
SUMS = {
    "unsqueeze *": lambda w, x: (w.unsqueeze(-1) * x).sum(1),
    "None *": lambda w, x: (w[..., None] * x).sum(1),
    "* from the right": lambda w, x: (x * w[:, :, None]).sum(1),
    "torch.mul": lambda w, x: torch.mul(x, w.unsqueeze(2)).sum(1),
    "bmm": lambda w, x: torch.bmm(w[:, None], x)[:, 0],
    "@": lambda w, x: (w.unsqueeze(1) @ x).squeeze(1),
}


class Written(nn.Module):
    """Two heads of attention, or one additive one, written out with the user's own product."""

    def __init__(self, product: str) -> None:
        super().__init__()
        self.product = product
        self.embed, self.query, self.head = nn.Embedding(100, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def weights(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(R, 2, T, T), or (R, 1, 1, T)."""
        return self.scores(ids, mask).softmax(-1)

    def scores(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embed(ids)
        if self.product in SUMS:
            return self.query(x).tanh().sum(-1).masked_fill(mask == 0, -torch.inf)[:, None, None]
        found = _heads(self.query(x)) @ _heads(x).transpose(-1, -2)
        return found.masked_fill(mask[:, None, None] == 0, -torch.inf)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x, scores = self.embed(ids), self.scores(ids, mask)
        if self.product in SUMS:
            return self.head(SUMS[self.product](scores[:, 0, 0].softmax(-1), x))
        mixed = PRODUCTS[self.product](scores, _heads(x)).transpose(1, 2).flatten(2)
        real = mask[..., None].to(x.dtype)
        return self.head((mixed * real).sum(1) / real.sum(1))


def plain(make: Any, embedding: str = "embed", dtype: torch.dtype = torch.float32) -> Model:
    module = tiny.seeded(make, dtype, 2.0)
    return saliently.wrap(module, tiny.read_words, embedding=embedding, labels=tiny.LABELS)


@pytest.mark.parametrize("product", [*PRODUCTS, *SUMS])
def test_attention_written_out_is_seen_and_changed(product: str) -> None:
    model = plain(lambda: Written(product))
    module: Any = model.module
    batch = batch_of(model, ["one two three four", "five six", "seven"])
    expected = module.weights(batch.ids, batch.mask)
    seen: list[Attention] = []
    with torch.no_grad(), watched(Watch(seen.append), module):
        own = model.run(batch)
    assert [each.name for each in seen] == [""]
    if product != "with a sink":
        torch.testing.assert_close(seen[0].weights, expected, rtol=0, atol=1e-6)
    assert seen[0].weights.shape == expected.shape
    assert seen[0].value.shape[:2] == expected.shape[:2]
    # What the model goes on with is the same function of other weights.
    first = torch.zeros_like(expected)
    first[..., 0] = 1.0
    with torch.no_grad(), watched(Watch(change=lambda one: one.weights), module):
        torch.testing.assert_close(model.run(batch), own, rtol=0, atol=1e-5)
    with torch.no_grad(), watched(Watch(change=lambda one: first), module):
        found = model.run(batch)
    torch.testing.assert_close(found, module.head(module.embed(batch.ids[:, 0])), rtol=0, atol=1e-5)


def test_products_that_mix_nothing_by_a_softmax_are_no_attention() -> None:
    class Gated(nn.Module):
        """Experts chosen by a softmax, probabilities multiplied, and a product of words."""

        def __init__(self) -> None:
            super().__init__()
            self.embed, self.router, self.head = nn.Embedding(100, 16), nn.Linear(16, 4), nn.Linear(16, 3)
            self.experts = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            x = self.embed(ids) * mask[..., None]
            share, chosen = self.router(x).softmax(-1).topk(2, -1)
            mixed = sum(
                (share * (chosen == i)).sum(-1, keepdim=True) * expert(x) for i, expert in enumerate(self.experts)
            )
            every = self.router(x).softmax(-1)
            mixed = mixed + sum(every[..., i : i + 1] * expert(x) for i, expert in enumerate(self.experts))
            mixed = mixed + every[..., 0, None] * x + every[..., 1].unsqueeze(-1) * x
            plain = (x @ x.transpose(1, 2)) @ x + (every @ every.transpose(1, 2)).sum(-1, keepdim=True)
            return self.head((mixed + plain * x.softmax(-1).mean()).sum(1)).softmax(-1).log()

    assert plain(Gated).attentions == ()


# What torch would run in one piece.


@pytest.mark.parametrize("norm_first", [False, True])
def test_fused_encoder_layers_run_in_parts_inside_and_fused_after(
    norm_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = EVERY["transformer-encoder-norm-first" if norm_first else "transformer-encoder"]()
    batch = batch_of(model, TEXTS)
    with torch.no_grad():
        expected = model.run(batch)
        monkeypatch.setattr(torch, "_transformer_encoder_layer_fwd", boom)
        with pytest.raises(BoomError):
            model.run(batch)
        with saliently.change_attention(model, lambda seen: seen.weights.roll(1, 1)) as acted:
            changed = model.run(batch)
        seen: list[Attention] = []
        with watched(Watch(seen.append), model.module):
            found = model.run(batch)
        with pytest.raises(BoomError):
            model.run(batch)
    assert len(seen) == acted.seen == acted.changed == 2
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (changed - expected).abs().max() > 1e-3


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
def test_torch_s_attention_alone_is_seen(need_weights: bool, average: bool) -> None:
    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(100, 16), nn.Linear(16, 3)
            self.attend = nn.MultiheadAttention(16, 4, batch_first=True, dropout=0.3)

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            x = self.embed(ids)
            causal = torch.ones(2 * [ids.shape[1]], dtype=torch.bool).triu(1)
            mixed, self.kept = self.attend(x, x, x, mask == 0, need_weights, causal, average_attn_weights=average)
            return self.head(mixed[:, 0] + mixed.amax(1))

    model = plain(Alone)
    batch = batch_of(model, ["one two three four", "five six"])
    seen: list[Attention] = []
    with torch.no_grad():
        expected, kept = model.run(batch), model.module.kept
        with watched(Watch(seen.append), model.module):
            torch.testing.assert_close(model.run(batch), expected, rtol=0, atol=1e-5)
        given = model.module.kept
    assert [(each.name, each.cross) for each in seen] == [("attend", False)]
    assert [place.causal for place in model.attentions] == [True]
    if need_weights:
        own = seen[0].weights.mean(1) if average else seen[0].weights
        torch.testing.assert_close(own, kept, rtol=0, atol=1e-6)
        torch.testing.assert_close(given, kept, rtol=0, atol=1e-6)


def test_a_scripted_part_is_named() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(100, 16)
            with warnings.catch_warnings(action="ignore"):  # torch would rather have scripts exported
                self.tail = torch.jit.script(nn.Linear(16, 3))

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            return self.tail((self.embed(ids) * mask[..., None]).sum(1))

    model = plain(Half)
    before = state(model.module)
    for ask in (
        lambda: saliently.attention(model, "one two"),
        lambda: saliently.explain(model, "one two", "attention"),
        lambda: saliently.explain(model, "one two", "cp-lrp"),
        lambda: saliently.change_attention(model, saliently.Uniform()).__enter__(),
    ):
        with pytest.raises(saliently.ModelError, match="'tail' is scripted"):
            ask()
    assert state(model.module) == before
    assert saliently.explain(model, "one two", "gradient-x-input").scores.any()


class Checkpointed(nn.Module):
    """torch's encoder, whose layers are computed again for a backward pass."""

    def __init__(self, again: bool) -> None:
        super().__init__()
        self.stack, self.again = zoo.Stack(False), again

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.stack.embed(ids) + self.stack.places(torch.arange(ids.shape[1], device=ids.device))
        for layer in self.stack.encoder.layers:

            def run(x: Tensor, layer: nn.Module = layer) -> Tensor:
                found: Tensor = layer(x, src_key_padding_mask=mask == 0)
                return found

            x = checkpoint(run, x, use_reentrant=False) if self.again else run(x)
        real = mask[..., None].to(x.dtype)
        mean: Tensor = self.stack.head((x * real).sum(1) / real.sum(1))
        return mean


def test_what_a_checkpoint_computes_is_read_once_a_forward_pass() -> None:
    once, again = (plain(lambda each=each: Checkpointed(each), "stack.embed") for each in (False, True))
    text = "one two three four"
    for ours, theirs in zip(
        saliently.attention(again, text).layers.items(), saliently.attention(once, text).layers.items(), strict=True
    ):
        assert ours[0] == theirs[0]
        np.testing.assert_allclose(ours[1], theirs[1], rtol=0, atol=1e-6)
    seen: list[Attention] = []
    batch = batch_of(again, [text])
    x = again.embed(batch.ids).requires_grad_()
    with watched(Watch(seen.append), again.module):
        again.run(batch, x)
        assert [each.index for each in seen] == [0, 1]
        again.run(batch, x)
        assert [each.index for each in seen] == [0, 1, 0, 1]


@pytest.mark.parametrize("recipe", ["gradient-x-input", "cp-lrp", "gradient-rollout"])
def test_what_a_checkpoint_would_compute_again_with_other_attention_is_refused(recipe: str) -> None:
    model = plain(lambda: Checkpointed(True), "stack.embed")
    with (
        pytest.raises(saliently.ModelError, match="checkpoint"),
        saliently.change_attention(model, saliently.Uniform()),
    ):
        saliently.explain(model, "one two three four", recipe)


def test_a_compiled_part_is_seen_and_runs_compiled_after() -> None:
    runs = [0]

    def backend(graph: torch.fx.GraphModule, example: list[Tensor]) -> Any:
        def run(*args: Any) -> Any:
            runs[0] += 1
            return graph(*args)

        return run

    class Fast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stack = zoo.Stack(False)
            self.layer = torch.compile(self.stack.encoder.layers[0], backend=backend)

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            return self.stack.head(self.layer(self.stack.embed(ids), src_key_padding_mask=mask == 0)[:, 0])

    model = plain(Fast, "stack.embed")
    batch = batch_of(model, ["one two three"])
    with torch.no_grad():
        expected = model.run(batch)
        compiled = runs[0]
        assert compiled
        before = state(model.module)
        weights = saliently.attention(model, "one two three")
        with saliently.change_attention(model, saliently.Uniform()) as acted:
            changed = model.run(batch)
        assert (state(model.module), runs[0]) == (before, compiled)
        torch.testing.assert_close(model.run(batch), expected, rtol=0, atol=1e-5)
        assert runs[0] > compiled
    assert (len(weights.layers), acted.changed) == (1, 1)
    assert (changed - expected).abs().max() > 1e-3


# The block itself.


def test_one_watch_inside_another_sees_what_the_outer_one_changed() -> None:
    model = tiny.bert()
    batch = batch_of(model, TEXTS[:1])
    inner: list[Attention] = []
    outer: list[Attention] = []

    def even(one: Attention) -> Tensor:
        return torch.full_like(one.weights, 1 / one.weights.shape[-1])

    with torch.no_grad(), watched(Watch(outer.append, even), model.module):
        with watched(Watch(inner.append, lambda one: one.weights * 2), model.module):
            model.run(batch)
        assert (len(outer), len(inner)) == (0, 2)
        assert all(bool((one.weights == 2 / batch.ids.shape[1]).all()) for one in inner)
        model.run(batch)
        assert (len(outer), len(inner)) == (2, 2)
        assert all(bool((one.weights == 1 / batch.ids.shape[1]).all()) for one in outer)


def test_other_threads_and_other_models_are_not_seen() -> None:
    model, other = tiny.bert(), tiny.gpt2()
    batch, others = batch_of(model, TEXTS[:1]), batch_of(other, TEXTS[:1])
    found: list[Tensor] = []

    def work() -> None:
        with torch.no_grad():
            found.append(model.run(batch))

    with torch.no_grad():
        expected, theirs = model.run(batch), other.run(others)
        with saliently.change_attention(model, saliently.Uniform()) as acted:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            assert torch.equal(other.run(others), theirs)
            assert acted.seen == 0
            assert (model.run(batch) - expected).abs().max() > 1e-4
            assert acted.seen == 2
    assert torch.equal(found[0], expected)


def test_another_thread_may_run_the_model_in_the_middle_of_a_pass() -> None:
    model = EVERY["t5"]()
    batch, names, places = batch_of(model, TEXTS[:1]), list[str](), list[int]()

    def look(one: Attention) -> None:
        names.append(one.name)
        places.append(one.index)
        thread = threading.Thread(target=model.run, args=(batch,))
        thread.start()
        thread.join()

    with torch.no_grad(), watched(Watch(look), model.module):
        model.run(batch)
    assert names == [place.name for place in model.attentions]
    assert places == list(range(len(names)))


def test_nothing_of_a_forward_pass_is_kept() -> None:
    model = tiny.bert()
    batch = batch_of(model, TEXTS[:1])
    kept: list[Any] = []
    with torch.no_grad(), watched(Watch(lambda one: kept.append(weakref.ref(one.weights))), model.module) as _:
        model.run(batch)
        gc.collect()
        assert [each() for each in kept] == [None, None]


def test_the_runner_passes_through_a_seam_once_a_row() -> None:
    """Every forward pass that a method makes is seen: as many as its checks count."""
    model, rows = tiny.bert(), [0]
    tokens = model.read({"text": TEXTS[0]}, False)
    runner = Runner(model, [tokens], Target(), Budget(2048))

    def look(one: Attention) -> None:
        if one.index == 0:
            rows[0] += len(one.weights)

    with model.resting(), watched(Watch(look), model.module):
        runner.values(runner.everything())
        runner.values(runner.nothing())
    assert rows[0] == runner.forward_rows[0] == 2
