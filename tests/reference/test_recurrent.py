"""Recurrent layers step by step against torch's fused ones, and the open LSTM relevances against their identities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.overrides import TorchFunctionMode

from saliently.errors import ModelError
from saliently.seam.gradients import at_least_tiny, sloped
from saliently.seam.linear import Linear, LinearRule, propagate, split
from saliently.seam.recurrent import CELLS, FUSED, unrolled
from tests.reference import lrp

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
LENGTHS = torch.tensor([2, 7, 1, 4, 7])
KINDS: Mapping[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "tanh": nn.RNN, "relu": nn.RNN}


class StepByStep(TorchFunctionMode):
    """Answers fused calls by `unrolled`, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = 0

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func.__name__ in FUSED | CELLS:
            assert not kwargs
            self.answered += 1
            return unrolled(func.__name__, args)
        return func(*args, **(kwargs or {}))


@contextmanager
def step_by_step() -> Iterator[None]:
    with StepByStep() as mode:
        yield
    assert mode.answered


def tensors(found: Any) -> list[Tensor]:
    """All tensors in a result, in order."""
    if isinstance(found, PackedSequence):
        return [found.data]
    return [found] if isinstance(found, Tensor) else [tensor for part in found for tensor in tensors(part)]


def same(ours: Any, torchs: Any, dtype: torch.dtype) -> None:
    assert len(tensors(ours)) == len(tensors(torchs))
    for found, expected in zip(tensors(ours), tensors(torchs), strict=True):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE[dtype])


def layer(kind: str, dtype: torch.dtype, options: Mapping[str, Any]) -> nn.Module:
    torch.manual_seed(3)
    extra = {"nonlinearity": kind} if kind in ("tanh", "relu") else {}
    made: nn.Module = KINDS[kind](4, 5, **extra, **options).to(dtype).eval()
    return made


def start(kind: str, options: Mapping[str, Any], rows: int, dtype: torch.dtype) -> Any:
    """A first state that is not zero."""
    number = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    h = torch.randn(number, rows, options.get("proj_size", 5), dtype=dtype)
    return (h, torch.randn(number, rows, 5, dtype=dtype)) if kind == "lstm" else h


OPTIONS = [
    {"num_layers": layers, "bidirectional": both, "bias": bias, "batch_first": first}
    for layers in (1, 3)
    for both in (False, True)
    for bias in (True, False)
    for first in (True, False)
]
PROJECTED = [{**options, "proj_size": 3} for options in OPTIONS]
CASES = [(kind, options) for kind in KINDS for options in OPTIONS] + [("lstm", options) for options in PROJECTED]


def named(value: object) -> str | None:
    return " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("kind", "options"), CASES, ids=named)
def test_step_by_step_is_the_fused_call(kind: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    module = layer(kind, dtype, options)
    x = torch.randn(3, 7, 4, dtype=dtype)
    hx = start(kind, options, 3 if options["batch_first"] else 7, dtype)
    with torch.no_grad():
        expected, from_state = module(x), module(x, hx)
        with step_by_step():
            found, ours_from_state = module(x), module(x, hx)
    same(found, expected, dtype)
    same(ours_from_state, from_state, dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("kind", "options"), [case for case in CASES if case[1]["batch_first"]], ids=named)
def test_packed_rows_of_unequal_lengths(kind: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    module = layer(kind, dtype, options)
    x = torch.randn(len(LENGTHS), 7, 4, dtype=dtype)
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    hx = start(kind, options, len(LENGTHS), dtype)
    with torch.no_grad():
        expected, from_state = module(packed), module(packed, hx)
        with step_by_step():
            found, ours_from_state = module(packed), module(packed, hx)
    same(found, expected, dtype)
    same(ours_from_state, from_state, dtype)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["lstm", "gru", "tanh", "relu"])
def test_cells(kind: str, bias: bool) -> None:
    torch.manual_seed(3)
    cells: dict[str, Any] = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "tanh": nn.RNNCell, "relu": nn.RNNCell}
    extra = {"nonlinearity": kind} if kind in ("tanh", "relu") else {}
    cell = cells[kind](4, 5, bias=bias, **extra).double()
    for x in (torch.randn(3, 4).double(), torch.randn(4).double()):
        h = torch.randn(*x.shape[:-1], 5).double()
        state = (h, torch.randn_like(h)) if kind == "lstm" else h
        with torch.no_grad():
            expected, from_state = cell(x), cell(x, state)
            with step_by_step():
                found, ours_from_state = cell(x), cell(x, state)
        same(found, expected, torch.float64)
        same(ours_from_state, from_state, torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_the_fused_calls_too(kind: str) -> None:
    module = layer(kind, torch.float64, {"num_layers": 2, "bidirectional": True, "batch_first": True})
    x = torch.randn(len(LENGTHS), 7, 4, dtype=torch.float64, requires_grad=True)

    def gradient() -> Tensor:
        packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
        outputs, final = module(packed)
        (found,) = torch.autograd.grad(torch.stack([(part**2).sum() for part in tensors((outputs, final))]).sum(), x)
        return found

    expected = gradient()
    with step_by_step():
        found = gradient()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_layer_without_a_batch_dimension() -> None:
    module, x = layer("lstm", torch.float64, {"bidirectional": True}), torch.randn(6, 4, dtype=torch.float64)
    with torch.no_grad():
        expected = module(x)
        with step_by_step():
            same(module(x), expected, torch.float64)


def test_dropout_between_layers_is_refused_in_training() -> None:
    x = torch.randn(2, 3, 4)
    deep = nn.LSTM(4, 5, num_layers=2, dropout=0.5)
    with step_by_step(), pytest.raises(ModelError, match=r"dropout 0\.5 .* \.eval\(\)"):
        deep(x)
    deep.eval()
    expected = deep(x)
    with step_by_step():
        same(deep(x), expected, torch.float32)


# The open LSTM relevances.

E, D = 4, 6


def words_and_weights(seed: int) -> tuple[np.ndarray, tuple[lrp.Direction, lrp.Direction], np.ndarray]:
    """Word vectors (T, e), the weights of both directions, and of the output (3, 2d)."""
    rng = np.random.default_rng(seed)
    shapes = ((4 * D, E), (4 * D, D), (4 * D,), (4 * D,))
    left, right = (lrp.Direction(*(0.7 * rng.standard_normal(shape) for shape in shapes)) for _ in range(2))
    return rng.standard_normal((3 + seed, E)), (left, right), rng.standard_normal((3, 2 * D))


def torchs(directions: tuple[lrp.Direction, lrp.Direction]) -> nn.LSTM:
    """torch's LSTM with these weights."""
    module = nn.LSTM(E, D, bidirectional=True).double()
    arrays = [array for way in directions for array in (way.w_ih, way.w_hh, way.b_ih, way.b_hh)]
    with torch.no_grad():
        for parameter, array in zip(module.parameters(), arrays, strict=True):
            parameter.copy_(torch.from_numpy(array))
    return module


SETTINGS = [
    lrp.Settings(epsilon, factor, product, cells)
    for epsilon in (0.0, 0.001)
    for factor in (0.0, 1.0)
    for product in ("all", "half", "proportional")
    for cells in ("all", "own")
]


@pytest.mark.parametrize("seed", range(3))
def test_the_open_forward_pass_is_torchs(seed: int) -> None:
    x, directions, w_out = words_and_weights(seed)
    with torch.no_grad():
        h = torchs(directions)(torch.from_numpy(x)[:, None])[1][0].reshape(-1).numpy()
    score = lrp.lstm(x, directions, (w_out, 1), lrp.Settings()).score
    assert score == pytest.approx(float(w_out[1] @ h), abs=1e-12)


@pytest.mark.parametrize("settings", [one for one in SETTINGS if one.bias_factor == 1], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_with_shared_biases_all_relevance_arrives(settings: lrp.Settings, seed: int) -> None:
    """methods.md, identity 6: words and initial states together have the score."""
    found = lrp.lstm(*_arguments(seed), settings)
    sizes = np.abs(found.words).sum() + sum(np.abs(part).sum() for part in (*found.initial_h, *found.initial_c))
    assert found.total == pytest.approx(found.score, abs=1e-12 * max(1.0, sizes))


@pytest.mark.parametrize("seed", range(3))
def test_who_shares_a_cells_epsilon_matters_only_if_it_is_shared(seed: int) -> None:
    for epsilon, factor in ((0.0, 1.0), (0.001, 0.0)):
        ways = [lrp.lstm(*_arguments(seed), lrp.Settings(epsilon, factor, "all", cells)) for cells in ("all", "own")]
        np.testing.assert_allclose(ways[0].words, ways[1].words, rtol=1e-10, atol=1e-10)


def _arguments(seed: int) -> tuple[np.ndarray, tuple[lrp.Direction, lrp.Direction], tuple[np.ndarray, int]]:
    x, directions, w_out = words_and_weights(seed)
    return x, directions, (w_out, 1)


@pytest.mark.parametrize("seed", range(3))
def test_without_epsilon_it_is_a_modified_gradient_times_input(seed: int) -> None:
    """methods.md, identity 5: gates detached, tanh with the slope tanh(v) / v."""
    x, directions, w_out = words_and_weights(seed)
    words = torch.from_numpy(x).requires_grad_()

    def bent(v: Tensor) -> Tensor:
        return v * (torch.tanh(v) / v).detach()

    def last(weights: lrp.Direction, steps: Tensor) -> Tensor:
        w, b = (torch.from_numpy(part) for part in weights.joined)
        h = c = torch.zeros(D, dtype=torch.float64)
        for word in steps:
            i, f, g, o = (w @ torch.cat([word, h]) + b).chunk(4)
            c = torch.sigmoid(f).detach() * c + torch.sigmoid(i).detach() * bent(g)
            h = torch.sigmoid(o).detach() * bent(c)
        return h

    score = torch.from_numpy(w_out[1]) @ torch.cat([last(directions[0], words), last(directions[1], words.flip(0))])
    (grad,) = torch.autograd.grad(score, words)
    found = lrp.lstm(x, directions, (w_out, 1), lrp.Settings(epsilon=0.0, bias_factor=0.0))
    scale = np.abs(found.words).max()
    np.testing.assert_allclose(found.words, (grad * words).detach().numpy(), rtol=1e-10, atol=1e-12 * scale)


@pytest.mark.parametrize("factor", [0, 1])
@pytest.mark.parametrize("epsilon", [0.0, 0.001])
def test_rules_put_together_are_the_open_relevances(epsilon: float, factor: int) -> None:
    """The gradients of seam.linear and seam.gradients, composed by hand to LRP-all."""
    x, directions, (w_out, target) = _arguments(2)
    rule = LinearRule(epsilon=epsilon, bias="share" if factor else "absorb")
    words, zero = torch.from_numpy(x).requires_grad_(), torch.zeros(D, dtype=torch.float64)
    starts = [zero.clone().requires_grad_() for _ in range(4)]

    def weighted(a: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return propagate(a, nn.functional.linear(a, w, b), Linear(nn.functional.linear, w, b), rule, lambda *_: None)

    def last(weights: lrp.Direction, steps: Tensor, h: Tensor, c: Tensor) -> Tensor:
        w, b = (torch.from_numpy(part) for part in weights.joined)
        for word in steps:
            i, f, g, o = weighted(torch.cat([word, h]), w, b).chunk(4)
            parts = [sloped(c, torch.sigmoid(f) * c), sloped(g, torch.sigmoid(i) * torch.tanh(g))]
            c = split(parts, parts[0] + parts[1], rule, lambda *_: None)
            h = sloped(c, torch.sigmoid(o) * torch.tanh(c))
        return h

    ends = [last(directions[0], words, *starts[:2]), last(directions[1], words.flip(0), *starts[2:])]
    score = weighted(torch.cat(ends), torch.from_numpy(w_out), None)[target]
    grads = torch.autograd.grad(score, [words, *starts])
    found = [grad * at_least_tiny(part.detach()) for grad, part in zip(grads, [words, *starts], strict=True)]
    expected = lrp.lstm(x, directions, (w_out, target), lrp.Settings(epsilon, factor, "all", "own"))
    initial = [array for pair in zip(expected.initial_h, expected.initial_c, strict=True) for array in pair]
    scale = np.abs(expected.words).max()
    for ours, theirs in zip(found, [expected.words, *initial], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10 * scale)


# The counter LSTM.

TEXTS = ("a", "b", "aab", "aabbb", "abab", "aaaa", "bbaabab", "abbbbab")


@pytest.mark.parametrize("text", TEXTS)
def test_the_counter_counts(text: str) -> None:
    model, ids = lrp.counter(), torch.tensor([lrp.read(text)[0]])
    logits = model(ids, torch.ones_like(ids))[0]
    assert logits.tolist() == pytest.approx([0.0, lrp.counter_value(text)], abs=1e-12)
    padded = nn.functional.pad(ids, (0, 3))
    assert torch.equal(model(padded, (padded > 0).long())[0], logits)


@pytest.mark.parametrize("text", TEXTS)
def test_closed_forms_of_the_counter(text: str) -> None:
    """By autograd, by many small steps, by taking letters away, and by the open LSTM relevances."""
    model = lrp.counter()
    ids = torch.tensor(lrp.read(text)[0])
    x = model.embed(ids).detach().requires_grad_()

    def value(vectors: Tensor) -> Tensor:
        states: Tensor = model.lstm(vectors)[0]
        return states[..., -1, 0]

    (grad,) = torch.autograd.grad(value(x), x)
    np.testing.assert_allclose((grad * x).sum(1).detach(), lrp.counter_gradient_x_input(text), atol=1e-12)

    nodes, weights = np.polynomial.legendre.leggauss(60)
    along = (torch.from_numpy((nodes + 1) / 2)[:, None, None] * x.detach()).requires_grad_()
    (slopes,) = torch.autograd.grad(value(along).sum(), along)
    found = (torch.from_numpy(weights / 2)[:, None, None] * slopes).sum(0) * x
    np.testing.assert_allclose(found.sum(1).detach(), lrp.counter_integrated_gradients(text), atol=1e-9)

    kept = (1 - torch.eye(len(ids)))[:, :, None].double() * x
    np.testing.assert_allclose((value(x) - value(kept)).detach(), lrp.counter_occlusion(text), atol=1e-12)


@pytest.mark.parametrize("text", TEXTS)
def test_the_counter_loses_relevance_before_a_zero(text: str) -> None:
    """The open LSTM relevances with a small epsilon; the direction from the right has an output weight of 0."""
    model = lrp.counter()
    way = lrp.Direction(*(parameter.detach().numpy() for parameter in model.lstm.parameters()))
    x = model.embed(torch.tensor(lrp.read(text)[0])).detach().numpy()
    found = lrp.lstm(x, (way, way), (np.array([[1.0, 0.0]]), 0), lrp.Settings(epsilon=1e-9))
    np.testing.assert_allclose(found.words.sum(1), lrp.counter_lrp(text), atol=1e-6)
    heard = np.flatnonzero(lrp.counter_lrp(text))
    assert (text, heard.tolist()) != ("aabbb", []), "the last letter is heard"
    if text == "aabbb":
        assert heard.tolist() == [4]
    if text == "abab":
        assert heard.tolist() == []
