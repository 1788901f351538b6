"""Occlusion again: one text at a time, by plain calls of the model, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import saliently
from tests import tiny

TEXT = "A gorgeous, witty, seductive movie."


def ask(ids: list[int], label: int) -> float:
    """The logit of a list of ids."""
    with torch.no_grad():
        return float(tiny.bert(torch.float64).module(torch.tensor([ids])).logits[0, label])


def tokens() -> tuple[list[int], list[int], int]:
    """Ids, places of the words, predicted label."""
    model = tiny.bert(torch.float64)
    read = model.read({"text": TEXT}, False)
    ids = list(read.ids)
    label = int(model.module(torch.tensor([ids])).logits.argmax())
    return ids, [i for i, span in enumerate(read.spans) if span is not None], label


@pytest.mark.parametrize("window", [1, 2, 3, 50])
def test_occlusion_by_mask(window: int) -> None:
    ids, words, label = tokens()
    mask = tiny.bert(torch.float64).blank_ids["mask"]
    expected = np.zeros(len(ids))
    for start in range(max(1, len(words) - window + 1)):
        inside = words[start : start + window]
        drop = ask(ids, label) - ask([mask if i in inside else token for i, token in enumerate(ids)], label)
        for i in inside:
            expected[i] += drop / window
    found = saliently.explain(tiny.bert(torch.float64), TEXT, f"occlusion(blank='mask', window={window})")
    np.testing.assert_allclose(found.scores, expected, atol=1e-12)
    nothing = ask([mask if i in words else token for i, token in enumerate(ids)], label)
    assert found.nothing[0] == pytest.approx(nothing)
    assert found.checks.residual == pytest.approx(expected.sum() - (ask(ids, label) - nothing))


def test_omission_deletes_the_id_and_later_words_move_up() -> None:
    ids, words, label = tokens()
    expected = [ask(ids, label) - ask(ids[:i] + ids[i + 1 :], label) if i in words else 0.0 for i in range(len(ids))]
    found = saliently.explain(tiny.bert(torch.float64), TEXT, "omission")
    assert found.method == "occlusion(blank='delete')"
    np.testing.assert_allclose(found.scores, expected, atol=1e-12)
    assert found.nothing[0] == pytest.approx(ask([token for i, token in enumerate(ids) if i not in words], label))


@pytest.mark.parametrize("blank", ["zero", "mean", "pad"])
def test_occlusion_by_a_vector(blank: str) -> None:
    ids, words, label = tokens()
    model = tiny.bert(torch.float64)
    table = model.embedding.weight.detach()
    vector = {"zero": torch.zeros(32), "mean": table.mean(0), "pad": table[model.blank_ids["pad"]]}[blank]

    def ask_vectors(x: torch.Tensor) -> float:
        with torch.no_grad():
            return float(model.module(inputs_embeds=x[None]).logits[0, label])

    x = table[ids]
    expected = np.zeros(len(ids))
    for i in words:
        without = x.clone()
        without[i] = vector
        expected[i] = ask_vectors(x) - ask_vectors(without)
    found = saliently.explain(model, TEXT, f"occlusion(blank={blank!r})")
    np.testing.assert_allclose(found.scores, expected, atol=1e-12)


def test_importance_of_dimensions_and_words_is_the_mean_relative_drop() -> None:
    model, texts = tiny.linear_bag(torch.float64), ["good film", "bad film", "a good bad film"]
    table, weight, bias = (p.detach() for p in (model.embedding.weight, model.module.weight, model.module.bias))
    ids = [list(model.read({"text": text}, False).ids) for text in texts]

    def log_p(x: torch.Tensor, label: int) -> float:
        return float((x.sum(0) @ weight + bias).log_softmax(-1)[label])

    labels = [1, 0, 1]
    found = saliently.importance(model, texts, "dimension", labels=labels)
    for dimension in (0, 7, 15):
        shares = []
        for row, label in zip(ids, labels, strict=True):
            without = table[row].clone()
            without[:, dimension] = 0
            shares.append((log_p(table[row], label) - log_p(without, label)) / abs(log_p(table[row], label)))
        row = next(row for row in found.rows if row.item == str(dimension))
        assert row.relative == pytest.approx(np.mean(shares))
        assert row.times == len(texts)
    words = saliently.importance(model, texts, labels=labels)
    drops = []
    for at, label in ((0, 1), (2, 1)):
        place = texts[at].split().index("good")
        without = table[ids[at]].clone()
        without[place] = 0
        drops.append(log_p(table[ids[at]], label) - log_p(without, label))
    row = next(row for row in words.rows if row.item == "good")
    assert (row.times, row.drop) == (2, pytest.approx(np.mean(drops)))
    assert row.error == pytest.approx(np.std(drops, ddof=1) / np.sqrt(2))
