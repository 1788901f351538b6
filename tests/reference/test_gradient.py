"""Gradients again, by finite differences on word vectors, one number at a time, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import saliently
from tests import tiny

TEXT = "A gorgeous, witty movie."
STEP = 1e-5


def logit(ids: torch.Tensor, x: torch.Tensor, label: int) -> float:
    """The logit by transformers' own way to give word vectors, which saliently does not use."""
    with torch.no_grad():
        return float(tiny.bert(torch.float64).module(inputs_embeds=x).logits[0, label])


@pytest.fixture(scope="module")
def differences() -> tuple[np.ndarray, np.ndarray]:
    """(T, D) slope of the predicted logit in every dimension of every word vector, and the vectors."""
    model = tiny.bert(torch.float64)
    ids = torch.tensor([model.read({"text": TEXT}, False).ids])
    x = model.embed(ids)
    label = int(model.module(ids).logits.argmax())
    slopes = np.zeros(x.shape[1:])
    for token in range(x.shape[1]):
        for dimension in range(x.shape[2]):
            up, down = x.clone(), x.clone()
            up[0, token, dimension] += STEP
            down[0, token, dimension] -= STEP
            slopes[token, dimension] = (logit(ids, up, label) - logit(ids, down, label)) / (2 * STEP)
    return slopes, x[0].numpy()


@pytest.mark.parametrize(
    ("norm", "formula"),
    [
        ("l2", lambda g: np.sqrt((g**2).sum(1))),
        ("l1", lambda g: np.abs(g).sum(1)),
        ("squared-l2", lambda g: (g**2).sum(1)),
        ("mean", lambda g: g.sum(1) / g.shape[1]),
    ],
)
def test_gradient(norm: str, formula: object, differences: tuple[np.ndarray, np.ndarray]) -> None:
    found = saliently.explain(tiny.bert(torch.float64), TEXT, f"gradient(norm={norm!r})")
    expected = formula(differences[0])  # type: ignore[operator]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-6, atol=1e-6 * np.abs(differences[0]).max())


def test_the_mean_is_lost_behind_a_layer_norm_and_says_so() -> None:
    """A layer norm takes no notice of what all dimensions share, so the gradient has none of it."""
    encoder = saliently.explain(tiny.bert(torch.float64), TEXT, "gradient(norm='mean')")
    assert np.abs(encoder.scores).max() < 1e-12
    assert "cancels" in encoder.checks.notes[0]
    decoder = saliently.explain(tiny.llama(torch.float64), TEXT, "gradient(norm='mean')")
    assert np.abs(decoder.scores).max() > 1e-4
    assert decoder.checks.notes == ()


def test_gradient_x_input(differences: tuple[np.ndarray, np.ndarray]) -> None:
    slopes, x = differences
    found = saliently.explain(tiny.bert(torch.float64), TEXT, "gradient-x-input")
    expected = [sum(slopes[t, d] * x[t, d] for d in range(x.shape[1])) for t in range(len(x))]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_smoothgrad_averages_the_gradient_at_noisy_word_vectors() -> None:
    """On a model whose gradient is linear in the input, the mean over noise tends to the gradient itself, and the
    variance of a component is sigma^2 times the squared row of the Hessian over the number of samples."""
    model, samples = tiny.quadratic(), 4000
    plain = saliently.explain(model, "one two three", "gradient-x-input")
    smooth = saliently.explain(model, "one two three", f"smoothgrad(over='gradient', samples={samples}, noise=0.5)")
    exact = saliently.explain(model, "one two three", "gradient")
    assert not np.allclose(exact.scores, np.abs(plain.scores))
    np.testing.assert_allclose(smooth.scores, exact.scores, rtol=0.05)


@pytest.mark.parametrize("over", ["gradient", "gradient(norm='l1')", "gradient-x-input"])
def test_smoothgrad_without_noise_is_the_method_itself(over: str) -> None:
    model = tiny.bert(torch.float64)
    smooth = saliently.explain(model, TEXT, f"smoothgrad(over={over!r}, samples=2, noise=0.0)")
    np.testing.assert_allclose(smooth.scores, saliently.explain(model, TEXT, over).scores, rtol=1e-12)


def test_smoothgrad_depends_on_seed_and_text_alone() -> None:
    model, recipe = tiny.bert(torch.float64), "smoothgrad(samples=3, noise=0.5, seed={})"
    alone = saliently.explain(model, TEXT, recipe.format(1))
    among = saliently.explain(model, ["bad", TEXT, "The film is bad; it isn't even funny."], recipe.format(1))[1]
    np.testing.assert_allclose(among.scores, alone.scores, rtol=1e-9)
    assert np.abs(saliently.explain(model, TEXT, recipe.format(2)).scores - alone.scores).max() > 1e-3
