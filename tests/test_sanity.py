"""Scrambled weights, moved word vectors: what must change does, and what must not does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

import saliently
from saliently.audit.asked import Asked, explained, explained_again
from saliently.audit.moved import Moves, max_sensitivity, moved
from saliently.audit.sanity import Scrambling, passes, sanity
from saliently.audit.scrambled import alike, parts, scrambled, similarity, stages
from saliently.data import Row
from saliently.errors import ModelError
from saliently.methods.base import Method, Scores
from saliently.metrics.intervals import mean_figure
from saliently.models.base import Model
from saliently.reports import versions
from saliently.runner import Runner
from saliently.train import Training
from saliently.types import Quantity
from tests import tiny, writers

TEXTS = [Row({"text": f"{first} {second} {third} movie , but the story is {fourth} ."})
         for first in ("a gorgeous", "the dull", "one more")
         for second in ("and witty", "long", "quiet")
         for third, fourth in (("french", "thin"), ("little", "true"))]  # fmt: skip


@dataclass(frozen=True, repr=False)
class WordLength(Method):
    """A fake that never looks at the weights: longer words score more."""

    name: ClassVar[str] = "word-length"
    quantity: ClassVar[Quantity] = "sensitivity"

    def __call__(self, runner: Runner) -> list[Scores]:
        runner.values(runner.everything())
        return [
            Scores(
                torch.tensor([0.0 if span is None else float(span.end - span.start) for span in tokens.spans]).double()
            )
            for tokens in runner.inputs
        ]

    def rows(self, tokens: int) -> int:
        return 1


@pytest.mark.parametrize("name", ["default", "bilstm"])
def test_gradient_methods_pass_and_a_fake_that_ignores_the_weights_fails(name: str) -> None:
    model = saliently.load(name)
    copy = scrambled(model, [part for part, _ in parts(model)], 0)
    asked = Asked(model)
    for method in ("gradient", "gradient-x-input", "integrated-gradients(blank='zero')", "lrp"):
        assert passes(similarity(asked, copy, method, TEXTS), 0), method
    fake = [
        [each for _, each in saliently.stream(which, [row.fields for row in TEXTS], WordLength(), "POSITIVE")]
        for which in (model, copy)
    ]
    same = np.array([alike(one, other) for one, other in zip(*fake, strict=True)])
    np.testing.assert_allclose(same, 1.0)
    assert not passes(same, 0)


@pytest.mark.parametrize("kind", ["bert", "llama", "bilstm", "linear_bag"])
def test_every_weight_belongs_to_one_part_and_word_vectors_go_last(kind: str) -> None:
    model = tiny.models(torch.float32)[kind]()
    found = parts(model)
    weights = [id(w) for _, modules in found for part in modules for w in part.parameters(recurse=False)]
    assert set(weights) == {id(w) for w in model.module.parameters()}
    assert any(part is model.embedding for part in found[-1][1])


def test_scrambling_shuffles_what_is_named_and_nothing_else() -> None:
    model = tiny.models(torch.float32)["bert"]()
    name = parts(model)[0][0]
    copy = scrambled(model, [name], 0)
    changed = {
        key
        for (key, one), other in zip(model.module.state_dict().items(), copy.module.state_dict().values(), strict=True)
        if not torch.equal(one, other)
    }
    assert changed
    assert all(key.startswith(name) for key in changed)
    for key in changed:
        one, other = (each.module.state_dict()[key].flatten().sort().values for each in (model, copy))
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    again = scrambled(model, [name], 0)
    assert all(torch.equal(a, b) for a, b in zip(copy.module.parameters(), again.module.parameters(), strict=True))


def test_stages_cascade_or_stand_alone() -> None:
    model = tiny.models(torch.float32)["bert"]()
    cascade, alone = stages(model, "cascading"), stages(model, "independent")
    assert [len(names) for _, names in cascade] == list(range(1, len(cascade) + 1))
    assert all(len(names) == 1 for _, names in alone)


def test_the_report_has_both_orders_and_the_labels() -> None:
    model = saliently.load("bilstm")
    report = sanity(Asked(model, ("gradient", "lrp")), TEXTS, Scrambling(texts=8, training=Training(epochs=2)))
    assert [lines.title for lines in report.lines] == ["Scrambled from the output back", "Scrambled one part at a time"]
    assert [column.name for column in report.tables[0].columns] == ["all scrambled", "random labels"]
    assert set(report.tables[0].marks.values()) == {"passes"}
    assert report.verdict == ("All 2 methods pass: their explanations change with the weights.",)
    assert report.versions == versions()


def logits(model: Model, text: str) -> float:
    return saliently.explain(model, text, "gradient", "glad").values[0]


def test_word_vectors_move_inside_the_block_alone_and_blanks_stay() -> None:
    model = tiny.models(torch.float64)["bert"]()
    before, blank = logits(model, "A good film."), model.embed(torch.tensor([model.blank_ids["mask"]]))
    with moved(model, 0.5, 0):
        assert logits(model, "A good film.") != pytest.approx(before, abs=1e-9)
        torch.testing.assert_close(model.embed(torch.tensor([model.blank_ids["mask"]])), blank, rtol=0, atol=0)
    assert logits(model, "A good film.") == pytest.approx(before, abs=1e-12)


def test_max_sensitivity_is_the_largest_relative_change_and_grows_with_the_move() -> None:
    model = tiny.models(torch.float64)["bert"]()
    texts = [Row({"text": "A good film."}), Row({"text": "A bad, long story."})]
    asked = Asked(model, ("gradient-x-input",))
    none, little, more = (
        max_sensitivity(asked, "gradient-x-input", texts, Moves(2, radius)).scores for radius in (0.0, 0.01, 0.3)
    )
    np.testing.assert_allclose(none, 0.0, atol=1e-12)
    assert (little > 0).all()
    assert (more > little).all()
    (plain,) = explained(asked, "gradient-x-input", texts[:1])
    assert plain is not None
    with moved(model, 0.3, 0):
        (one,) = explained_again(asked, "gradient-x-input", texts[:1], [plain])
    with moved(model, 0.3, 1):
        (two,) = explained_again(asked, "gradient-x-input", texts[:1], [plain])
    assert one is not None
    assert two is not None
    first = np.array([unit.score for unit in plain.words()])
    sizes = [
        np.linalg.norm(np.array([u.score for u in each.words()]) - first) / np.linalg.norm(first) for each in (one, two)
    ]
    assert more[0] == pytest.approx(max(sizes))


def test_an_interval_that_reaches_the_bound_does_not_pass() -> None:
    values = np.array([0.0, 1.0] * 10)
    figure = mean_figure(values, 0)
    assert figure is not None
    assert figure.high is not None
    assert figure.high > 0.5
    assert not passes(values, 0)
    assert passes(np.zeros(5), 0)


def test_a_language_model_has_no_labels_to_deal_out() -> None:
    texts = [Row({"prompt": f"A {word} film", "response": " is good."}) for word in ("good", "bad", "long")]
    model = writers.gpt2()
    report = sanity(Asked(model, ("gradient",)), texts, Scrambling(texts=2))
    assert [column.name for column in report.tables[0].columns] == ["all scrambled"]


def test_how_much_of_the_random_labels_was_learnt_is_said() -> None:
    report = sanity(Asked(saliently.load("bilstm"), ("gradient",)), TEXTS, Scrambling(3, training=Training(epochs=1)))
    assert any("gives" in note and "the label it was taught" in note for note in report.tables[0].notes)


def test_what_can_t_be_compared_neither_passes_nor_fails() -> None:
    """A text of one word ranks nothing."""
    rows = [Row({"text": word}) for word in ("good", "bad", "dull", "witty", "film")]
    report = sanity(Asked(tiny.bert(), ("gradient", "lrp")), rows, Scrambling(texts=5, labels=False))
    assert report.verdict[0].startswith("No method could be compared")
    assert not report.tables[0].marks
    assert sum("can be ranked" in note for note in report.tables[0].notes) == 2


def test_random_labels_are_random_where_all_texts_are_predicted_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    taught: list[Row] = []
    monkeypatch.setattr("saliently.audit.sanity.train", lambda copy, lessons, *rest: taught.extend(lessons))
    rows = [Row({"text": "a good film"})] * 20
    sanity(Asked(tiny.bert(), ("gradient",)), rows, Scrambling(texts=2))
    assert {row.label for row in taught} == set(range(len(tiny.bert().labels)))


def test_a_function_of_texts_has_no_weights_to_scramble() -> None:
    function = saliently.wrap_function(lambda texts: [[float(len(text)), 0.0] for text in texts], ["a", "b"])
    with pytest.raises(ModelError, match="has none that are known"):
        sanity(Asked(function, ("occlusion",)), TEXTS[:3])
