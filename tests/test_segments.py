"""Scores of sentences, paragraphs, fields and the user's own segments."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import saliently
from saliently.cli import app
from saliently.models.base import Model
from saliently.types import Segments
from saliently.view.record import from_dict, to_dict
from tests import tiny
from tests.writers import gpt2

TEXT = 'The film is bad.  "It isn\'t even funny!" A witty, lovely end\nby 3.5% of viewers.\n\nSo good. 映画。とても'
SENTENCES = [
    "The film is bad.  ",
    '"It isn\'t even funny!" ',
    "A witty, lovely end\n",
    "by 3.5% of viewers.\n\n",
    "So good. ",
    "映画。",
    "とても",
]


def model() -> Model:
    return tiny.bert(torch.float32)


def explained(units: Segments, recipe: str = "gradient-x-input") -> saliently.Explanation:
    return saliently.explain(model(), TEXT, recipe, options=saliently.Options(units=units))


def test_sentences_and_paragraphs_part_the_text() -> None:
    found = explained("sentence")
    assert [unit.text for unit in found.units()] == SENTENCES
    assert len(explained("paragraph").units()) == 2
    assert [unit.text for unit in explained("field").units()] == [TEXT]


@pytest.mark.parametrize("units", ["sentence", "paragraph", "field", {"text": [(0, 16), (18, 41)]}])
def test_a_segment_has_the_sum_of_its_tokens(units: Segments) -> None:
    plain, found = explained("word"), explained(units)
    assert np.array_equal(plain.scores, found.scores)
    words = sum(unit.score or 0.0 for unit in plain.words())
    assert sum(unit.score or 0.0 for unit in found.words()) == pytest.approx(words, abs=1e-6)
    assert "".join(unit.text for unit in found.units()) == TEXT
    assert from_dict(json.loads(json.dumps(to_dict(found)))).units() == found.units()


def test_own_segments_are_cut_as_given() -> None:
    found = explained({"text": [(4, 8), (12, 15)]})
    assert [unit.text for unit in found.units()][:4] == ["The ", "film", " is ", "bad"]


def test_a_token_over_two_segments_belongs_to_that_of_its_first_letter() -> None:
    """A cut within "film" leaves the whole token on the left."""
    found = saliently.explain(
        model(), "The film", "gradient-x-input", options=saliently.Options(units={"text": [(0, 6), (6, 8)]})
    )
    total = sum(found.scores[1:-1])
    assert sum(unit.score or 0.0 for unit in found.words()) == pytest.approx(total, abs=1e-6)


@pytest.mark.parametrize("blank", ["zero", "mask", "delete"])
def test_a_unit_is_taken_away_at_once(blank: str) -> None:
    """One pass a sentence, and the number that a plain pass gives without it."""
    found = explained("sentence", f"occlusion(blank={blank!r}, by='unit')")
    assert found.checks.forward_rows == len(SENTENCES) + 2
    asked, ids = model(), torch.tensor([found.tokens.ids])
    for n, unit in enumerate(found.words()):
        mine = torch.tensor([other == n for other in found.tokens.units])
        with torch.no_grad():
            if blank == "delete":
                rest = ids[:, ~mine]
                logits = asked.module(input_ids=rest).logits
            else:
                x = asked.embed(ids).clone()
                x[0, mine] = 0.0 if blank == "zero" else asked.embed(torch.tensor(asked.blank_ids["mask"]))
                logits = asked.module(inputs_embeds=x).logits
        without = float(logits[0, found.target.index])
        assert unit.score == pytest.approx(found.values[0] - without, abs=1e-5)


def test_by_unit_on_words_takes_whole_words() -> None:
    pieces = explained("word", "occlusion(blank='zero')")
    words = explained("word", "occlusion(blank='zero', by='unit')")
    assert words.checks.forward_rows == len(words.words()) + 2
    assert words.checks.forward_rows < pieces.checks.forward_rows


@pytest.mark.parametrize("text", ["a film. ", " . ", "a film.  \n\n ", "\n\na. b.\t"])
@pytest.mark.parametrize("units", ["sentence", "paragraph", "field"])
def test_spaces_at_the_ends(text: str, units: Segments) -> None:
    found = saliently.explain(tiny.gpt2(), text, "occlusion", options=saliently.Options(units=units))
    assert "".join(unit.text for unit in found.units()) == text
    assert sum(unit.score or 0.0 for unit in found.words()) == pytest.approx(float(found.scores.sum()), abs=1e-6)


def test_messages_are_fields() -> None:
    given = {"prompt": "The film is long", "response": " so bad"}
    found = saliently.explain(gpt2(), given, "occlusion(by='unit')", options=saliently.Options(units="field"))
    assert [unit.field for unit in found.words()] == ["prompt", "response"]


@pytest.mark.parametrize(
    ("units", "said"),
    [
        ({"text": [(0, 5), (4, 8)]}, "not overlap"),
        ({"text": [(3, 3)]}, "must hold some"),
        ({"text": [(0, 5000)]}, "must hold some"),
        ({"context": [(0, 5)]}, "the input has text"),
    ],
)
def test_segments_that_do_not_fit_are_refused(units: Segments, said: str) -> None:
    with pytest.raises(saliently.InputError, match=said):
        explained(units)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(saliently.RecipeError, match="there are 'word', 'sentence'"):
        saliently.Options(units="line")  # type: ignore[arg-type]
    for units in (5, None, True, ["a"], {}, {"text": "sentence"}, {"text": 5}, {"text": [(0,)]}, {"text": [(0, 1.5)]}):
        with pytest.raises(saliently.RecipeError, match="in characters"):
            saliently.Options(units=units)  # type: ignore[arg-type]
    with pytest.raises(saliently.RecipeError, match="window"):
        saliently.parse("occlusion(by='unit', window=2)")
    with pytest.raises(saliently.RecipeError, match="by"):
        saliently.parse("occlusion(by='line')")


def test_the_command_line(tmp_path: Path) -> None:
    asked = model()
    asked.module.save_pretrained(tmp_path / "bert")
    tiny.wordpiece().save_pretrained(tmp_path / "bert")
    given = ["explain", "So good. So bad.", "--model", str(tmp_path / "bert"), "--units", "sentence", "--json"]
    found = CliRunner().invoke(app, [*given, "--method", "occlusion(by='unit')"])
    assert found.exit_code == 0, found.output
    assert [word["text"] for word in json.loads(found.stdout)["words"]] == ["So good. ", "So bad."]
