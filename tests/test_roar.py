"""Remove and retrain: what a copy can learn when words are gone."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from random import Random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliently
from saliently.audit.asked import RANDOM, Asked
from saliently.audit.retrained import Lab, Sizes, order, without
from saliently.audit.roar import roar
from saliently.chunks import checked_tokens
from saliently.data import Row
from saliently.errors import ModelError, RecipeError
from saliently.models.base import Model
from saliently.models.copying import copied
from saliently.train import Training, predicted, train, train_on
from tests import tiny

PAD, MASK = 0, 1
GOOD, BAD = ("fine", "glad"), ("poor", "dire")
FILLERS = tuple(f"w{i}" for i in range(30))
WORDS = (*GOOD, *BAD, *FILLERS)


class Bag(nn.Module):
    """Logits are the sum of what each word adds."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(2 + len(WORDS), 8)
        self.output = nn.Linear(8, 2)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = self.output((self.embed(ids) * mask[..., None]).sum(1))
        return logits


def read(text: str) -> tuple[list[int], list[tuple[int, int] | None]]:
    found = list(re.finditer(r"\S+", text))
    known = [word.group() if word.group() in WORDS else FILLERS[0] for word in found]
    return [2 + WORDS.index(word) for word in known], [word.span() for word in found]


def fresh() -> Model:
    """Knows nothing; its blanks add nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Bag().eval()
    with torch.no_grad():
        module.embed.weight[:2] = 0.0
    return saliently.wrap(module, read, embedding="embed", labels=("bad", "good"), blank_ids={"mask": MASK, "pad": PAD})


def texts(many: int, both: bool) -> list[Row]:
    """Ten words, of which one decides the label, or two that say the same."""
    chance = Random(5)
    found = []
    for i in range(many):
        cues = (GOOD if i % 2 else BAD)[: 2 if both else 1]
        words = [*chance.choices(FILLERS, k=10 - len(cues)), *cues]
        chance.shuffle(words)
        found.append(Row({"text": " ".join(words)}, i % 2))
    return found


@cache
def taught() -> Model:
    model = fresh()
    train(model, texts(300, False), Training(epochs=12, rate=0.02))
    return model


SIZES = Sizes(200, 100, (0.1, 0.2), training=Training(epochs=6, rate=0.02))
IG = "gradient-x-input"


def test_words_that_decide_leave_nothing_to_learn() -> None:
    """One word of ten decides the label; without it a copy is at chance, without a random one it is not."""
    report = roar(Asked(taught(), (IG,), 1), texts(300, False), SIZES)
    curves = {name: dict(points) for name, points in report.lines[0].curves.items()}
    (name,) = set(curves) - {RANDOM}
    assert curves[name][0.0].value == 1.0
    assert curves[name][0.1].value < 0.65
    assert curves[RANDOM][0.1].value > 0.85
    (row,) = report.tables[0].rows.values()
    assert row[0] is not None
    assert row[0].low is not None
    assert row[0].low > 0.15
    assert name in report.verdict[0]
    assert "no method" not in report.verdict[0]
    assert report.settings["start"] == "given"
    assert report.settings["blank"] == "mask"


def test_words_that_decide_nothing_cost_nothing() -> None:
    """A method that names the words against the label is no better than chance."""
    asked = Asked(taught(), (IG,), 1)
    lab = Lab.of(asked, texts(300, False), SIZES)
    ranking = [each[::-1] for each in order(asked, IG, lab.whole, 0)]
    _, right = lab.step(lab.less(lab.whole, ranking, 0.0, 0.2), 0)
    assert right.mean() == 1.0


def test_two_words_that_say_the_same_are_found_one_after_the_other() -> None:
    """The model knows one of them. The other is learnt when that one is gone, and only who asks again finds it."""
    model = copied(taught(), "one of two")
    with torch.no_grad():
        model.embedding.weight[[2 + WORDS.index(word) for word in (GOOD[1], BAD[1])]] = 0.0
    longer = replace(SIZES, training=Training(epochs=12, rate=0.03))
    lab = Lab.of(Asked(model, (IG,), 1), texts(300, True), longer)
    once, again = lab.curves(IG)
    assert again[0].tolist() == once[0].tolist()
    assert once[0].mean() > 0.95
    assert once[1].mean() > 0.9
    assert again[1].mean() < 0.65


@pytest.mark.parametrize("blank", ["mask", "pad", "delete"])
def test_all_blanks_and_starts(blank: str) -> None:
    small = replace(SIZES, train=40, test=20, shares=(0.1,), blank=blank, start="scrambled", seeds=2)
    report = roar(Asked(taught(), (IG,)), texts(60, False), small)
    figure = report.tables[0].rows[next(iter(report.tables[0].rows))][0]
    assert figure is not None
    assert (figure.n, figure.blank) == (20, blank)
    assert report.to_dict()["settings"]["training"]["rate"] == 0.02


def test_a_scrambled_start_has_forgotten_the_label_and_keeps_the_words() -> None:
    model = taught()
    lab = Lab.of(Asked(model, (IG,)), texts(60, False), replace(SIZES, start="scrambled"))
    lab = replace(lab, sizes=replace(lab.sizes, training=Training(epochs=1, rate=1e-9)))
    copy, _ = lab.step(lab.whole, 0)
    assert torch.allclose(copy.embedding.weight, model.embedding.weight, atol=1e-6)
    assert not torch.equal(copy.module.output.weight, model.module.output.weight)


def test_the_model_itself_stays_and_two_runs_are_one() -> None:
    model = taught()
    before = {name: weight.clone() for name, weight in model.module.state_dict().items()}
    small = replace(SIZES, train=40, test=20)
    first, second = (roar(Asked(model, (IG,)), texts(60, False), small).to_dict() for _ in range(2))
    assert all(torch.equal(weight, before[name]) for name, weight in model.module.state_dict().items())
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


@pytest.mark.parametrize("blank", [4, None])
def test_taking_words_away(blank: int | None) -> None:
    model = tiny.bert()
    tokens = checked_tokens(model, {"text": "A gorgeous, witty movie."})
    pieces = tokens.pieces_of
    unit = max(pieces, key=lambda each: len(pieces[each]))
    less = without(tokens, [unit], blank)
    others = [i for i in range(len(tokens.ids)) if i not in pieces[unit]]
    assert len(pieces[unit]) > 1
    assert set(less.pieces_of) == set(pieces) - {unit}
    if blank is None:
        assert less.ids == tuple(tokens.ids[i] for i in others)
        assert len({len(each) for each in (less.ids, less.kinds, less.spans, less.units, less.pieces)}) == 1
    else:
        assert [less.ids[i] for i in pieces[unit]] == [blank] * len(pieces[unit])
        assert [less.ids[i] for i in others] == [tokens.ids[i] for i in others]
    assert without(tokens, [], blank) is tokens


def test_what_is_gone_is_not_asked_about_again() -> None:
    """Erased inputs are explained by their ids: occlusion of what is left, with the blank in its place."""
    asked = Asked(taught(), (IG,))
    tokens = checked_tokens(asked.model, {"text": "w1 fine w2 w3"})
    fine = sorted(tokens.pieces_of)[1]
    less = without(tokens, [fine], MASK)
    (ranked,) = order(asked, "occlusion(blank='mask')", [less], 0)
    assert sorted(ranked) == [unit for unit in sorted(tokens.pieces_of) if unit != fine]
    (first, *_), *_ = order(asked, "occlusion(blank='mask')", [tokens], 0)
    assert first == fine


def test_steps_take_the_next_words_alone() -> None:
    lab = Lab.of(Asked(taught(), (IG,)), texts(30, False), SIZES)
    inputs = lab.whole
    for before, share, left in ((0.0, 0.1, 9), (0.1, 0.2, 8), (0.2, 0.55, 4)):
        inputs = lab.less(inputs, order(lab.asked, RANDOM, inputs, 0), before, share)
        assert {len(each.pieces_of) for each in inputs} == {left}
        assert {each.ids.count(MASK) for each in inputs} == {10 - left}


def test_a_text_keeps_one_word() -> None:
    lab = Lab.of(Asked(taught(), (IG,)), [Row({"text": f"w{i}"}, 1) for i in range(6)], replace(SIZES, blank="delete"))
    assert lab.less(lab.whole, [sorted(each.pieces_of) for each in lab.whole], 0.0, 0.5) == lab.whole


def test_labels_may_be_missing() -> None:
    rows = [Row(row.fields) for row in texts(60, False)]
    lab = Lab.of(Asked(taught(), (IG,)), rows, SIZES)
    assert lab.train == 40
    assert len(lab.test_labels) == 20
    assert set(lab.labels) == {0, 1}


def test_training_on_ids_is_training_on_texts() -> None:
    rows = texts(60, False)
    models = [fresh(), fresh()]
    chosen = Training(epochs=2, rate=0.02)
    train(models[0], rows, chosen)
    train_on(
        models[1], [checked_tokens(models[1], row.fields) for row in rows], [row.label or 0 for row in rows], chosen
    )
    for name, weight in models[0].module.state_dict().items():
        assert torch.equal(weight, models[1].module.state_dict()[name])
    assert np.array_equal(predicted(models[0], rows), predicted(models[1], rows))


def test_what_can_not_be_asked() -> None:
    with pytest.raises(RecipeError, match="rising"):
        Sizes(shares=(0.5, 0.2))
    with pytest.raises(RecipeError, match="'given' or 'scrambled'"):
        Sizes(seeds=0)
    with pytest.raises(RecipeError, match=r"found 3\. Give some hundreds"):
        roar(Asked(taught(), (IG,)), texts(3, False), SIZES)
    with pytest.raises(RecipeError, match="'mask', 'pad', 'delete'"):
        roar(Asked(taught(), (IG,)), texts(30, False), replace(SIZES, blank="zero"))
    with pytest.raises(ModelError, match="classifiers"):
        Lab.of(Asked(replace(taught(), link="none"), (IG,)), texts(30, False), SIZES)


def test_texts_that_come_again_are_not_counted() -> None:
    """A test set of no text would end in a crash, after all of the training."""
    rows = [Row({"text": f"w{i % 2} fine"}, i % 2) for i in range(8)]
    with pytest.raises(RecipeError, match=r"Different texts .* found 2"):
        Lab.of(Asked(taught(), (IG,)), rows, SIZES)
