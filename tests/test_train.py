"""Copies and training: a copy has weights of its own, learns what it is told, and leaves everything else alone."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

import saliently
from saliently.chunks import checked_tokens
from saliently.data import Row
from saliently.errors import ModelError, NumberError, RecipeError
from saliently.models.base import Model
from saliently.models.copying import copied
from saliently.train import Training, Watch, accuracy, outputs, predicted, train
from tests import tiny, writers

KINDS = ["bert", "gpt2", "llama", "t5", "bilstm", "linear_bag"]
GOOD, BAD = ("glad", "sad")


def rows(many: int = 40) -> list[Row]:
    """Texts with a letter that decides their label."""
    chance = random.Random(0)
    found = []
    for _ in range(many):
        label = chance.choice([0, 2])
        words = chance.choices(["the", "film", "movie", "story", "and", "is"], k=5)
        words.insert(chance.randrange(6), "good" if label else "bad")
        found.append(Row({"text": " ".join(words)}, label))
    return found


def state(model: Model) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.module.state_dict().items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_answers_the_same_and_shares_no_weight(kind: str) -> None:
    model = tiny.models(torch.float64)[kind]()
    copy = copied(model, "copy")
    tokens = [checked_tokens(model, {"text": "A good film, a bad story."})]
    torch.testing.assert_close(outputs(copy, tokens), outputs(model, tokens), rtol=0, atol=0)
    with torch.no_grad():
        for weight in copy.module.parameters():
            weight.zero_()
    assert float(outputs(model, tokens).abs().max()) > 1e-3
    assert float(outputs(copy, tokens).std()) == pytest.approx(0, abs=1e-9)


def test_a_model_that_can_not_be_copied_says_so() -> None:
    with pytest.raises(ModelError, match="function of texts"):
        copied(saliently.wrap_function(lambda texts: [[len(text)] for text in texts], labels=["n"]), "copy")
    model = tiny.models(torch.float32)["bert"]()
    closed = replace(model, forward=lambda batch: model.forward(batch))
    with pytest.raises(ModelError, match="calls the original all the same"):
        copied(closed, "copy")


@pytest.mark.parametrize("kind", ["bert", "bilstm", "linear_bag"])
def test_a_copy_learns_its_labels_and_the_model_stays(kind: str) -> None:
    model = tiny.models(torch.float32)[kind]()
    before, chance, texts = state(model), torch.get_rng_state(), rows()
    copy = copied(model, "copy")
    train(copy, texts, Training(epochs=30, batch=8, rate=1e-2))
    assert np.mean(accuracy(copy, texts)) > 0.95 > np.mean(accuracy(model, texts))
    assert all(torch.equal(weight, before[name]) for name, weight in state(model).items())
    assert torch.equal(torch.get_rng_state(), chance)
    assert not copy.module.training


def test_training_is_the_same_for_one_seed_and_another_for_another() -> None:
    model, texts = tiny.models(torch.float32)["bert"](), rows(16)
    copies = []
    for seed in (1, 1, 2):
        copy = copied(model, "copy")
        train(copy, texts, Training(epochs=1, batch=8, rate=1e-3, seed=seed))
        copies.append(copy)
    tokens = [checked_tokens(model, texts[0].fields)]
    one, same, other = (outputs(copy, tokens) for copy in copies)
    torch.testing.assert_close(one, same, rtol=0, atol=0)
    assert float((one - other).abs().max()) > 1e-6


def test_without_labels_the_teacher_speaks() -> None:
    teacher, texts = tiny.models(torch.float32)["bert"](), [Row(row.fields) for row in rows(24)]
    student, chance = copied(teacher, "student"), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in student.module.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=chance))
    tokens = [checked_tokens(teacher, row.fields) for row in texts]
    aim = outputs(teacher, tokens).softmax(-1)
    far = float((outputs(student, tokens).softmax(-1) - aim).abs().mean())
    train(student, texts, Training(epochs=40, batch=8, rate=3e-3), teacher)
    assert float((outputs(student, tokens).softmax(-1) - aim).abs().mean()) < far / 4


def test_a_language_model_learns_its_responses() -> None:
    model = writers.gpt2()
    chance = random.Random(0)
    texts = [Row({"prompt": f"The film is {word}.", "response": f" {end}"}, 0)
             for word, end in (chance.choice([("good", "yes"), ("bad", "no")]) for _ in range(16))]  # fmt: skip
    copy = copied(model, "copy")
    train(copy, texts, Training(epochs=60, batch=8, rate=1e-2))
    assert np.mean(np.array(predicted(copy, texts)) >= 0) > 0.9


def test_enough_ends_it_and_ticks_count_rows() -> None:
    model, ticks, asked = copied(tiny.models(torch.float32)["bert"](), "copy"), list[int](), list[int]()

    def enough(epoch: int) -> bool:
        asked.append(epoch)
        return epoch == 1

    train(model, rows(20), Training(epochs=9, batch=8), None, Watch(ticks.append, enough))
    assert asked == [0, 1]
    assert sum(ticks) == 40


def test_what_is_wrong_is_one_sentence() -> None:
    model = tiny.models(torch.float32)["bert"]()
    with pytest.raises(RecipeError, match="needs labels; 1 of 2"):
        train(copied(model, "copy"), [Row({"text": "good"}, 0), Row({"text": "bad"})])
    with pytest.raises(NumberError, match="its loss became"):
        train(copied(model, "copy"), rows(40), Training(epochs=9, batch=8, rate=1e6))
    with pytest.raises(RecipeError, match="epochs and batch start at 1"):
        Training(epochs=0)


def test_a_model_that_gives_no_number_predicts_nothing() -> None:
    model = copied(tiny.models(torch.float32)["bert"](), "broken")
    with torch.no_grad():
        next(iter(model.module.parameters())).fill_(float("nan"))
    with pytest.raises(NumberError, match="asked what it predicts"):
        predicted(model, rows(3))
