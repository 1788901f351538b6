"""Any function from texts to scores, by methods that take words away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import saliently
from saliently.listed import METHODS, Row
from saliently.models.function import Words, wrap_function
from saliently.names import parse
from saliently.types import Target
from tests import tiny

TEXT = "  A gorgeous, witty, seductive movie \n"
WEIGHTS = {"gorgeous": 2.0, "witty": 1.5, "seductive": 0.5, "movie": -0.25, ",": 0.0, "A": 0.125}


class Counting:
    """Adds up weights of words; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: list[str]) -> list[list[float]]:
        self.asked += texts
        return [[sum(w for word, w in WEIGHTS.items() for _ in range(text.count(word))), 1.0] for text in texts]


@pytest.mark.parametrize("blank", ["delete", "mask"])
def test_on_a_sum_over_words_occlusion_is_each_word_s_weight(blank: str) -> None:
    function = Counting()
    model = wrap_function(function, ["good", "bad"], mask="___")
    found = saliently.explain(model, TEXT, f"occlusion(blank={blank!r})", "good")
    assert {unit.text: unit.score for unit in found.words()} == pytest.approx(WEIGHTS)
    assert found.values == (pytest.approx(sum(WEIGHTS.values())),)
    assert TEXT in function.asked, "the unchanged text is asked as it is"
    assert "".join(unit.text for unit in found.units()) == TEXT
    assert found.target.describe() == "the output of good"
    assert ("A gorgeous, witty, ___ movie" if blank == "mask" else "A gorgeous, witty, movie") in {
        " ".join(text.split()) for text in function.asked
    }


def test_the_default_blank_is_the_mask_or_deletion() -> None:
    assert saliently.explain(wrap_function(Counting(), ["a", "b"]), TEXT, "occlusion").blank == "delete"
    assert saliently.explain(wrap_function(Counting(), ["a", "b"], mask="_"), TEXT, "occlusion").blank == "mask"


def test_a_batch_is_its_rows_and_a_recipe_makes_no_difference_between_texts() -> None:
    model, texts = wrap_function(Counting(), ["good", "bad"]), [TEXT, "witty", "A movie, a movie!"]
    for text, one in zip(texts, saliently.explain(model, texts, "occlusion", "good"), strict=True):
        alone = saliently.explain(wrap_function(Counting(), ["good", "bad"]), text, "occlusion", "good")
        np.testing.assert_allclose(one.scores, alone.scores, atol=1e-12)


def test_a_scikit_learn_pipeline() -> None:
    texts, labels = ["good fun film", "bad dull film", "so good", "so bad", "fun", "dull"], [1, 0, 1, 0, 1, 0]
    classifier = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, labels)
    model = wrap_function(classifier.predict_proba, ["bad", "good"])
    found = saliently.explain(model, "a good, fun but dull film", "occlusion", "good")
    assert found.values[0] == pytest.approx(classifier.predict_proba(["a good, fun but dull film"])[0, 1])
    scores = {unit.text: unit.score for unit in found.words()}
    assert scores["good"] > 0 > scores["dull"]
    assert scores["a"] == pytest.approx(0, abs=1e-12), "too short a word for the vectorizer"


@pytest.mark.parametrize("row", METHODS, ids=[row.name for row in METHODS])
def test_what_needs_word_vectors_says_so_before_the_function_is_asked(row: Row) -> None:
    function = Counting()
    model = wrap_function(function, ["a", "b"])
    if row.name == "context-cite":  # a function gives numbers, and no odds
        with pytest.raises(saliently.RecipeError, match="explains log-odds"):
            saliently.explain(model, TEXT, row.name)
        return
    if not parse(row.name).vectors:
        assert np.isfinite(saliently.explain(model, TEXT, row.name).scores).all()
        return
    with pytest.raises(saliently.ModelError, match="a function of texts; it needs the word vectors"):
        saliently.explain(model, TEXT, row.name)
    assert not function.asked


def test_blanks_and_a_mask_that_are_not_there() -> None:
    model = wrap_function(Counting(), ["a", "b"])
    for blank in ("zero", "mean"):
        with pytest.raises(saliently.SaliencyError, match=r"Word vectors were asked for|can't be listed"):
            saliently.explain(model, TEXT, f"occlusion(blank={blank!r})")
    with pytest.raises(saliently.RecipeError, match="no mask"):
        saliently.explain(model, TEXT, "occlusion(blank='mask')")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda texts: [0.5] * len(texts),
        lambda texts: [[0.5, 0.5, 0.5]] * len(texts),
        lambda texts: [[0.5, 0.5]],
        lambda texts: [[0.5, 0.5]] * (len(texts) + 1),
        lambda texts: None,
        lambda texts: [["good", "bad"]] * len(texts),
        lambda texts: torch.zeros(len(texts)),
    ],
)
def test_a_function_that_gives_something_else(wrong: Any) -> None:
    with pytest.raises(saliently.ModelError, match=r"Scores of shape \(\d+, 2\) were asked of"):
        saliently.explain(wrap_function(wrong, ["a", "b"]), TEXT, "occlusion")


def test_tensors_with_gradients_and_numbers_that_are_none() -> None:
    model = wrap_function(lambda texts: torch.ones(len(texts), 2, requires_grad=True) * len(texts[0]), ["a", "b"])
    assert saliently.explain(model, "so good", "occlusion").values == (7.0,)
    broken = wrap_function(lambda texts: [[float("nan"), 0.0]] * len(texts), ["a", "b"])
    with pytest.raises(saliently.NumberError):
        saliently.explain(broken, "so good", "occlusion")
    with pytest.raises(saliently.RecipeError, match="a number, not a class"):
        saliently.explain(model, "so good", "occlusion", Target(of="probability"))
    with pytest.raises(saliently.ModelError, match="A function of texts and its labels"):
        wrap_function(Counting(), [])


@pytest.mark.parametrize("text", tiny.CORPUS)
def test_any_text_comes_back_whole_and_in_words(text: str) -> None:
    reader = Words()
    tokens = reader({"text": text}, False)
    assert reader.text(tokens.ids, "") == text
    assert "".join(reader.known[i] for i in tokens.ids) == text
    assert all(span is not None and tokens.text(span).strip() for span in tokens.spans)
