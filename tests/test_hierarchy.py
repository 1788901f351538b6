"""Sentences first, then the words of those that matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliently
from saliently.methods.hierarchy import HierarchicalOcclusion
from saliently.methods.removal import Occlusion
from saliently.models.base import Model
from tests import tiny

KINDS = ["bert", "gpt2", "llama", "t5", "bilstm", "linear_bag"]
TEXT = "A gorgeous, witty, seductive movie."
MORE = "Never have I seen a more charming scene! And I don't think she'd like this film."


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", [("sentence", "word"), ("paragraph", "sentence", "word"), ("word",)])
def test_with_all_opened_it_is_occlusion_by_unit(kind: str, levels: tuple[str, ...]) -> None:
    model = tiny.models(torch.float64)[kind]()
    text = f"{MORE} {TEXT}\n\nIt's so bad!\n\nso good"
    blank = "mask" if "mask" in model.blank_ids else "zero"
    unit = saliently.explain(model, text, Occlusion(blank, by="unit"))
    found = saliently.explain(model, text, HierarchicalOcclusion(blank, levels, share=1.0))
    np.testing.assert_allclose(found.scores, unit.scores, atol=1e-10)
    assert found.checks.residual == pytest.approx(unit.checks.residual)
    assert found.nothing == pytest.approx(unit.nothing)


def test_three_levels_by_hand() -> None:
    """Five paragraphs; only one matters, and in it one sentence."""
    model, text = _loud(), "a b. c d.\n\ne f. X Y! g h.\n\ni j.\n\nk l.\n\nm."
    found = saliently.explain(model, text, HierarchicalOcclusion("zero", ("paragraph", "sentence", "word"), 0.5))
    assert found.checks.notes == ("1 of 5 paragraphs were opened.", "1 of 3 sentences were opened.")
    scores = {unit.text.strip(): unit.score for unit in found.words() if unit.score}
    assert scores == {"X": pytest.approx(5.0), "Y": pytest.approx(5.0)}
    assert found.checks.forward_rows == 2 + 5 + 3 + len("X Y !".split())
    coarse = saliently.explain(model, text, HierarchicalOcclusion("zero", ("paragraph", "sentence"), 0.5))
    inside = [unit.score for unit in coarse.words() if unit.text in ("X", "Y", "!")]
    assert inside == [pytest.approx(10 / 3)] * 3


def _loud() -> Model:
    """Counts capital letters, five each, and takes five off for each digit."""

    class Loud(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(3, 1)
            with torch.no_grad():
                self.embed.weight[:, 0] = torch.tensor([-5.0, 0.0, 5.0])

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            total = (self.embed(ids)[..., 0] * mask).sum(1)
            return torch.stack([total, torch.zeros_like(total)], -1)

    def signs(text: str) -> tuple[list[int], list[tuple[int, int]]]:
        places = [i for i, sign in enumerate(text) if not sign.isspace()]
        return [1 + text[i].isupper() - text[i].isdigit() for i in places], [(i, i + 1) for i in places]

    return saliently.wrap(Loud(), signs, embedding="embed", labels=["loud", "not"])


def test_a_text_of_2000_words_takes_clearly_fewer_rows_than_occlusion() -> None:
    sentence = " ".join("abcdefghij") + ". "
    text = sentence * 90 + "a b X Y c. " + sentence * 90
    found = saliently.explain(_loud(), text, HierarchicalOcclusion("zero"))
    whole = saliently.explain(_loud(), text, Occlusion("zero"))
    assert len(found.words()) > 1900
    assert whole.checks.forward_rows == 2 + len(found.words())
    assert found.checks.forward_rows == 2 + 181 + 6
    np.testing.assert_allclose(found.scores, whole.scores)


def test_units_of_the_user_s_own_are_the_last_level() -> None:
    options = saliently.Options(units={"text": [(0, 11), (11, 18)]})
    model = tiny.bert(torch.float64)
    found = saliently.explain(model, TEXT, HierarchicalOcclusion("mask", share=1.0), options=options)
    unit = saliently.explain(model, TEXT, Occlusion("mask", by="unit"), options=options)
    np.testing.assert_allclose(found.scores, unit.scores, atol=1e-10)
    assert len(found.words()) == 3


def test_a_unit_over_the_end_of_a_sentence_belongs_where_it_begins() -> None:
    """Every unit is scored as a whole, and every token once."""
    text = "Good a. Y bad."
    options = saliently.Options(units={"text": [(5, 9)]})  # "a. Y", which holds the end of the first sentence
    found = saliently.explain(_loud(), text, HierarchicalOcclusion("zero", share=0.5), options=options)
    scores = [(unit.text, unit.score) for unit in found.words()]
    assert scores == [("Good ", pytest.approx(5.0)), ("a. Y", pytest.approx(5.0)), (" bad.", 0.0)]
    assert found.checks.notes == ("1 of 2 sentences were opened.",)


def test_words_that_cancel_are_seen_where_all_is_opened() -> None:
    shut = saliently.explain(_loud(), "X 3. Y a.", HierarchicalOcclusion("zero", share=0.99))
    assert [unit.score for unit in shut.words()] == [0.0, 0.0, 0.0, 5.0, 0.0, 0.0]
    opened = saliently.explain(_loud(), "X 3. Y a.", HierarchicalOcclusion("zero", share=1.0))
    assert [unit.score for unit in opened.words()] == [5.0, -5.0, 0.0, 5.0, 0.0, 0.0]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("text", ["bad", "so bad", "One. Two. Three.", "no ends here at all"])
def test_short_texts_and_deletion(share: float, text: str) -> None:
    """A model without special tokens, from which everything may be deleted."""
    if text == "bad":
        with pytest.raises(saliently.NumberError, match="choose another blank"):
            saliently.explain(_loud(), "X", HierarchicalOcclusion("delete", share=share))
        text = "X y"
    found = saliently.explain(_loud(), text, HierarchicalOcclusion("delete", share=share))
    assert found.nothing is None
    assert found.scores.sum() == pytest.approx(5.0 * sum(sign.isupper() for sign in text))


def test_where_no_sentence_matters_none_is_opened() -> None:
    found = saliently.explain(_loud(), "a b. c d.", HierarchicalOcclusion("zero"), "loud")
    assert found.checks.notes == ("0 of 2 sentences were opened.",)
    assert not found.scores.any()


def test_brackets_of_a_sentence_alone_take_no_row_twice() -> None:
    """The only sentence is the whole text, and the only word of a sentence that sentence."""
    found = saliently.explain(_loud(), "a b c", HierarchicalOcclusion("zero", share=1.0))
    assert found.checks.forward_rows == 2 + 3
    single = saliently.explain(_loud(), "X\nY\nz", HierarchicalOcclusion("zero", share=1.0))
    assert single.checks.forward_rows == 2 + 3
    assert single.scores.tolist() == [5.0, 5.0, 0.0]
