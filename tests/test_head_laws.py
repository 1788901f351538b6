"""Laws that hold on every head, on two architectures each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import saliently
from saliently.models.base import Model
from saliently.types import Target
from tests import tiny
from tests.test_answers import PAIR, answerer
from tests.test_choices import chooser
from tests.test_embedder import wrapped
from tests.test_place_heads import MASKED, TEXT, decoder, filler, other_filler, tagger
from tests.test_translators import bart, t5
from tests.writers import gpt2, llama

CHOICES = {"context": "The film is bad", "choices": ["so good", "so bad"]}
GIVEN = {"prompt": "The film is", "response": " so bad"}
SOURCE = {"source": "The film is bad", "target": "so good"}
SENTENCES = {"text": "The film is bad", "other": "so good"}
CASES: dict[str, tuple[Callable[[], Model], Any, Target]] = {
    "classifier bert": (lambda: tiny.bert(torch.float32), TEXT, Target()),
    "classifier gpt2": (lambda: tiny.gpt2(torch.float32), TEXT, Target()),
    "tagger bert": (tagger, TEXT, Target(at=1)),
    "tagger gpt2": (decoder, TEXT, Target(at=1)),
    "filler bert": (filler, MASKED, Target()),
    "filler roberta": (other_filler, MASKED, Target()),
    "answerer bert": (lambda: answerer("bert"), PAIR, Target()),
    "answerer roberta": (lambda: answerer("roberta"), PAIR, Target()),
    "chooser bert": (lambda: chooser("bert"), CHOICES, Target()),
    "chooser roberta": (lambda: chooser("roberta"), CHOICES, Target()),
    "writer gpt2": (gpt2, GIVEN, Target()),
    "writer llama": (llama, GIVEN, Target()),
    "translator bart": (bart, SOURCE, Target()),
    "translator t5": (t5, SOURCE, Target()),
    "embedder bert": (wrapped, SENTENCES, Target()),
    "embedder distilbert": (lambda: wrapped("distilbert"), SENTENCES, Target()),
}
every_case = pytest.mark.parametrize("case", CASES)


@every_case
def test_integrated_gradients_is_complete(case: str) -> None:
    make, text, target = CASES[case]
    found = saliently.explain(make(), text, "ig(blank='zero', most=1024)", target)
    assert found.nothing is not None
    change = found.values[0] - found.nothing[0]
    assert abs(found.scores.sum() - change) <= 0.01 * abs(change)


@every_case
def test_occlusion_by_field_takes_a_whole_field_away(case: str) -> None:
    """With one field that is all that there is: the change from nothing."""
    make, text, target = CASES[case]
    options = saliently.Options(units="field")
    found = saliently.explain(make(), text, "occlusion(blank='zero', by='unit')", target, options=options)
    scored = [unit for unit in found.units() if unit.score is not None]
    assert [unit.field for unit in scored] == list(found.tokens.fields)
    if len(scored) == 1:
        assert found.nothing is not None
        assert scored[0].score == pytest.approx(found.values[0] - found.nothing[0], abs=1e-5)


@every_case
@pytest.mark.parametrize("recipe", ["gradient-x-input", "ig(blank='zero', steps=3)", "occlusion(blank='zero')"])
def test_a_word_that_is_nothing_already_scores_0(case: str, recipe: str) -> None:
    """A word whose vector is that of the blank."""
    make, text, target = CASES[case]
    model = make()
    tokens = model.read(text if isinstance(text, dict) else {"text": text}, False)
    at = next(i for i in range(len(tokens.ids)) if tokens.words[i])
    weight = next(model.embedding.parameters())
    before = weight.detach()[tokens.ids[at]].clone()
    same = [i for i, token in enumerate(tokens.ids) if token == tokens.ids[at]]
    try:
        with torch.no_grad():
            weight[tokens.ids[at]] = 0.0
        found = saliently.explain(model, text, recipe, target)
    finally:
        with torch.no_grad():
            weight[tokens.ids[at]] = before
    assert found.scores[same] == pytest.approx([0.0] * len(same), abs=1e-5)
    assert abs(found.scores).max() > 1e-4


@every_case
def test_words_and_special_tokens_make_the_total(case: str) -> None:
    make, text, target = CASES[case]
    found = saliently.explain(make(), text, "gradient-x-input", target)
    parts = [unit.score or 0.0 for unit in found.words()] + [score for _, score in found.special()]
    assert found.checks.total == pytest.approx(sum(parts), abs=1e-6)
