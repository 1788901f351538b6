"""Rows with other words in them, and the methods that go beyond taking one word away."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import BertForTokenClassification, PreTrainedTokenizerFast

import saliently
from saliently.methods import marginal
from saliently.methods.base import Method
from saliently.methods.hierarchy import HierarchicalOcclusion
from saliently.methods.marginal import InputMarginalization
from saliently.methods.minimal import MinimalErasure
from saliently.methods.reagent import ReAGent
from saliently.models import loading
from saliently.models.base import Model
from saliently.models.batch import Batch
from saliently.packing import Budget, Pack
from saliently.runner import Runner
from saliently.shared import Shared
from saliently.types import Target, Tokens
from tests import fillers, tiny
from tests.snapshot import snapshot
from tests.test_answers import answerer
from tests.test_choices import chooser
from tests.test_embedder import wrapped as embedder
from tests.test_heads import HEADS
from tests.test_heads import bert as headed
from tests.test_place_heads import bert as placed
from tests.test_translators import t5
from tests.writers import chances, gpt2

TEXT = "A gorgeous, witty, seductive movie."
TEXTS = [TEXT, "bad", "Never have I seen a more charming scene! And I don't think she'd like this film.", "so good"]
KINDS = ["bert", "gpt2", "llama", "t5", "bilstm", "linear_bag"]
GIVEN = {"prompt": "A gorgeous, witty movie", "response": " is wonderful."}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return fillers.saved(tmp_path_factory.mktemp("filler"), fillers.module())


def runner_of(model: Model, texts: list[str], seen: Callable[[int], None] = lambda rows: None) -> Runner:
    return Runner(model, [model.read({"text": text}, False) for text in texts], Target(), Budget(512), seen)


def others(model: Model, tokens: Tokens, rows: int, seed: int = 0) -> Tensor:
    """(rows, T) the ids, and below them rows with other words in them."""
    random = torch.Generator().manual_seed(seed)
    found = torch.tensor([tokens.ids]).repeat(rows, 1)
    drawn = torch.randint(8, model.embedding.num_embeddings, found.shape, generator=random)
    away = torch.tensor(tokens.words) & (torch.rand(found.shape, generator=random) < 0.6)
    away[0] = False
    return torch.where(away, drawn, found)


def plainly(model: Model, ids: Tensor, kinds: tuple[int, ...] = ()) -> Tensor:
    """(R, C) logits of rows of one length."""
    with torch.no_grad():
        return model.run(Batch.of(ids, torch.tensor([kinds]).expand_as(ids) if kinds else None)).double()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_with_other_words_are_what_the_model_says_of_those_words(kind: str) -> None:
    model = tiny.models(torch.float64)[kind]()
    runner = runner_of(model, TEXTS)
    swaps = {i: others(model, runner.inputs[i], 5, i) for i in (0, 2)}
    blocks = {i: torch.ones(5 if i in swaps else 1, len(tokens.ids)) for i, tokens in enumerate(runner.inputs)}
    found = runner.values(blocks, swaps=swaps)
    for i, tokens in enumerate(runner.inputs):
        expected = plainly(model, swaps.get(i, torch.tensor([tokens.ids])), tokens.kinds)
        pinned = runner.questions.pinned(i)
        assert pinned is not None
        assert pinned.index == int(expected[0].argmax())
        np.testing.assert_allclose(found[i], expected[:, pinned.index], atol=1e-9)
        assert len({round(value, 6) for value in found[i].tolist()}) == (5 if i in swaps else 1)


def test_a_row_with_other_words_may_be_blanked_as_well() -> None:
    model = tiny.bert(torch.float64)
    runner = runner_of(model, [TEXT])
    ids = others(model, runner.inputs[0], 3)
    keep = torch.ones(ids.shape)
    keep[1:, 3:5] = 0.0
    found = runner.values({0: keep}, "mask", swaps={0: ids})
    gone = ids.masked_fill(keep == 0, model.blank_ids["mask"])
    expected = plainly(model, gone)
    np.testing.assert_allclose(found[0], expected[:, int(expected[0].argmax())], atol=1e-9)


def test_the_class_is_pinned_by_the_text_s_own_words() -> None:
    model = tiny.linear_bag(torch.float64)
    runner = runner_of(model, ["so very bad"])
    rows = others(model, runner.inputs[0], 40)
    logits = plainly(model, rows)
    label = int(logits[0].argmax())
    other = rows[logits.argmax(1) != label][:1]
    assert len(other) == 1
    found = runner.values({0: torch.ones(other.shape)}, swaps={0: other})
    pinned = runner.questions.pinned(0)
    assert pinned is not None
    assert pinned.index == label
    assert runner.questions.plain[0] == pytest.approx(float(logits[0, label]), abs=1e-9)
    assert float(found[0][0]) == pytest.approx(float(plainly(model, other)[0, label]), abs=1e-9)


def test_questions_about_one_text_share_rows_with_the_same_words_only() -> None:
    model = saliently.wrap(placed(BertForTokenClassification, num_labels=4), tiny.wordpiece())
    tokens, ran = model.read({"text": TEXT}, False), []
    for same in (True, False):
        rows = 0

        def tick(more: int) -> None:
            nonlocal rows
            rows += more

        runner = Runner(model, [tokens], Target(), Budget(512), tick, each=True)
        many = len(runner.inputs)
        ids = {i: others(model, tokens, 4, 0 if same else i) for i in range(many)}
        found = runner.values({i: torch.ones(each.shape) for i, each in ids.items()}, swaps=ids)
        for i, each in ids.items():
            place, pinned = runner.questions.spots[i].terms[0].token, runner.questions.pinned(i)
            assert pinned is not None
            with torch.no_grad():
                expected = model.module(input_ids=each).logits[:, place, pinned.index]
            np.testing.assert_allclose(found[i], expected, atol=1e-4)
        ran.append(rows)
    assert ran == [4, 1 + 3 * many]


def test_a_row_with_other_words_is_not_the_unchanged_text() -> None:
    tokens = tiny.bert().read({"text": TEXT}, False)
    ids = others(tiny.bert(), tokens, 3)
    keep = torch.ones(4, len(tokens.ids))
    keep[3, 2] = 0.0
    for inputs in ([tokens], [tokens, tokens]):
        blocks = dict.fromkeys(range(len(inputs)), keep)
        shared = Shared.of(blocks, inputs, swaps={0: torch.cat([ids, ids[:1]])})
        rows = np.arange(len(shared.blocks[0]))
        lines = shared.lines(Pack(rows * 0, rows, rows * 0 + len(tokens.ids)))
        whole = {(e, r) for e, r, same in zip(lines.example, lines.row, lines.whole, strict=True) if same}
        assert whole == {(0, 0), *((1, row) for row in range(3) if len(inputs) == 2)}


def test_rows_of_a_language_model_with_other_words_are_run_whole() -> None:
    """Beside texts whose rows go on from their beginning."""
    model = gpt2()
    tokens = [model.read(GIVEN, False), model.read({**GIVEN, "prompt": "A dull and witty movie"}, False)]
    runner = Runner(model, tokens, Target(), Budget(512))
    ids = others(model, tokens[0], 8)
    ids[:, tokens[0].response :] = ids[0, tokens[0].response :]
    keep = torch.ones(9, len(tokens[1].ids))
    keep[torch.arange(1, 9), torch.arange(1, 9) % 4 + 1] = 0.0
    blanked = torch.ones(ids.shape)
    blanked[1:, 3] = 0.0
    found = runner.values({0: torch.ones(ids.shape), 1: keep}, "mean", swaps={0: ids})
    alone = Runner(model, tokens, Target(), Budget(512)).values({1: keep}, "mean")
    np.testing.assert_allclose(found[1], alone[1], atol=1e-5)
    both = runner.values({0: blanked}, "mean", swaps={0: ids})
    without = Runner(dataclasses.replace(model, prefixes=None), tokens, Target(), Budget(512))
    np.testing.assert_allclose(both[0], without.values({0: blanked}, "mean", swaps={0: ids})[0], atol=1e-5)
    first = tokens[0].response
    assert first is not None
    for row, value in zip(ids.tolist(), found[0], strict=True):
        expected = sum(float(chances(model, row)[at - 1, row[at]]) for at in range(first, len(row)))
        assert float(value) == pytest.approx(expected, abs=1e-4)


# The target against the next best class.


def test_the_next_best_class_is_found_anew_in_each_row() -> None:
    model = tiny.linear_bag(torch.float64)
    found = saliently.explain(model, TEXTS[2], "occlusion(blank='mask')", "glad", against="next")
    ids, seconds = torch.tensor(found.tokens.ids), set()
    for place, word in enumerate(found.tokens.words):
        rows = ids.repeat(2, 1)
        rows[1, place] = model.blank_ids["mask"]
        left = plainly(model, rows)
        margins = left[:, 2] - left[:, :2].max(1).values
        seconds.add(int(left[1, :2].argmax()))
        assert found.scores[place] == pytest.approx(float(margins[0] - margins[1]) if word else 0.0, abs=1e-9)
    assert seconds == {0, 1}
    assert found.target.describe() == "the logit of glad less that of the next best class"


@pytest.mark.parametrize("scale", ["logit", "probability", "log-probability"])
def test_against_the_next_best_class_on_each_scale(scale: Any) -> None:
    model = tiny.bert(torch.float64)
    found = saliently.explain(model, TEXT, "ig(tolerance=1e-3, most=8192)", Target("fine", "next", scale))
    logits = plainly(model, torch.tensor([found.tokens.ids]))[0]
    numbers = {"logit": logits, "probability": logits.softmax(0), "log-probability": logits.log_softmax(0)}[scale]
    assert found.values[0] == pytest.approx(float(numbers[1] - numbers[[0, 2]].max()))
    assert found.scores.sum() == pytest.approx(found.values[0] - found.nothing[0], rel=2e-3)


def test_where_no_class_can_be_next() -> None:
    several = saliently.wrap(*headed(**HEADS["several labels"]))
    with pytest.raises(saliently.RecipeError, match="against 'next' was asked for; this model judges each label"):
        saliently.explain(several, TEXT, "gradient", against="next")
    with pytest.raises(saliently.RecipeError, match="against 'next' was asked for; the model has one class"):
        saliently.explain(saliently.wrap(*headed(**HEADS["a number"])), TEXT, "gradient", against="next")


# What all four promise.


@cache
def made(name: str, lm: str = "") -> Method:
    return {
        "reagent": ReAGent(probes=2, least=3, most=6),
        "minimal": MinimalErasure(),
        "greedy": MinimalErasure(exact=0),
        "hierarchy": HierarchicalOcclusion(),
        "marginal": InputMarginalization(lm, most=5),
        "reagent with a language model": ReAGent(lm, probes=2, least=3, most=6),
    }[name]


SERVED = [
    *((name, kind) for name in ("reagent", "minimal", "greedy", "hierarchy") for kind in KINDS),
    ("marginal", "bert"),
    ("reagent with a language model", "bert"),
]


@pytest.mark.parametrize(("name", "kind"), SERVED)
def test_a_batch_is_its_rows(folder: str, name: str, kind: str) -> None:
    method, asked = made(name, folder), tiny.models()[kind]()
    for side in asked.sides:
        together = saliently.explain(dataclasses.replace(asked, sides=(side,)), TEXTS, method)
        for text, one in zip(TEXTS, together, strict=True):
            alone = saliently.explain(asked, text, method)
            np.testing.assert_allclose(one.scores, alone.scores, atol=1e-5 * max(1, np.abs(alone.scores).max()))
            assert np.isfinite(one.scores).all()
            assert one.values == pytest.approx(alone.values, abs=1e-5)
            assert len(one.checks.errors) == (len(one.scores) if "reagent" in name else 0)


@pytest.mark.parametrize(("name", "kind"), SERVED)
@pytest.mark.parametrize("fails", [False, True])
def test_a_model_comes_out_as_it_went_in(folder: str, name: str, kind: str, fails: bool) -> None:
    asked, method = tiny.models()[kind](), made(name, folder)
    asked.module.train()
    next(asked.module.parameters()).requires_grad_(False)
    before = snapshot(asked.module)

    def broken(batch: Batch) -> Tensor:
        if len(batch.ids) > 1:
            raise ZeroDivisionError
        return asked.forward(batch)

    try:
        if fails:
            with pytest.raises(ZeroDivisionError):
                saliently.explain(dataclasses.replace(asked, forward=broken), TEXT, method)
        else:
            saliently.explain(asked, TEXT, method)
        assert snapshot(asked.module) == before
    finally:
        asked.module.eval().requires_grad_(True)


def test_a_masked_language_model_that_explains_itself_comes_out_as_it_went_in() -> None:
    module = fillers.module().train()
    before = snapshot(module)
    saliently.explain(saliently.wrap(module, tiny.wordpiece()), "A [MASK] film", InputMarginalization(most=2))
    assert snapshot(module) == before


@pytest.mark.parametrize("name", ["reagent", "minimal", "hierarchy", "marginal", "reagent with a language model"])
def test_the_recipe_says_what_differs_and_the_result_says_it_all(folder: str, name: str) -> None:
    method = made(name, folder)
    found = saliently.explain(tiny.bert(), TEXT, method)
    assert eval(found.method.replace(method.name, type(method).__name__), _classes()) == method.resolved(tiny.bert())
    assert found.quantity == method.quantity
    assert method.rows(12) > 0
    assert saliently.explain(tiny.bert(), TEXT, method).scores.tolist() == found.scores.tolist()


def _classes() -> dict[str, Any]:
    kinds: tuple[type, ...] = (ReAGent, MinimalErasure, HierarchicalOcclusion, InputMarginalization)
    return {kind.__name__: kind for kind in kinds}


def test_a_question_that_a_method_can_t_answer_is_refused_before_anything_is_spent(folder: str) -> None:
    model, number = tiny.bert(), saliently.wrap(*headed(**HEADS["a number"]))
    for asked, method, target in (
        (model, ReAGent(), Target(of="logit")),
        (model, ReAGent(), Target(against="sad")),
        (number, ReAGent(), Target()),
        (model, MinimalErasure(), Target(against="sad")),
        (model, MinimalErasure(), Target(of="log-odds")),
        (number, MinimalErasure(), Target()),
        (saliently.wrap(*headed(**HEADS["two numbers"])), MinimalErasure(), Target()),
        (saliently.wrap(*headed(**HEADS["several labels"])), MinimalErasure(), Target(of="probability")),
        (model, InputMarginalization(), Target()),
    ):
        with pytest.raises(saliently.RecipeError, match=r"was asked for|were asked of|was asked of"):
            next(saliently.stream(asked, [TEXT], method, target))


def test_a_plan_refuses_what_the_explanation_would() -> None:
    for spend in (saliently.plan, saliently.explain):
        with pytest.raises(saliently.RecipeError, match="it explains log-odds"):
            spend(tiny.bert(), TEXT, "context-cite", Target(of="logit"))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: InputMarginalization(least=1.0),
        lambda: InputMarginalization(most=0),
        lambda: ReAGent(share=0.0),
        lambda: ReAGent(share=1.0),
        lambda: ReAGent(keep=0),
        lambda: ReAGent(probes=0),
        lambda: ReAGent(least=5, most=4),
        lambda: MinimalErasure(exact=-1),
        lambda: MinimalErasure(most=0),
        lambda: MinimalErasure(blank="mist"),
        lambda: HierarchicalOcclusion(levels=()),
        lambda: HierarchicalOcclusion(levels=("word", "sentence")),
        lambda: HierarchicalOcclusion(levels=("sentence", "letter")),
        lambda: HierarchicalOcclusion(levels=("word", "word")),
        lambda: HierarchicalOcclusion(share=1.1),
        lambda: HierarchicalOcclusion(blank="mist"),
    ],
)
def test_nonsense_is_refused(wrong: Callable[[], Method]) -> None:
    with pytest.raises(saliently.RecipeError, match="was asked for"):
        wrong()


# Input marginalisation.


def test_with_one_word_expected_it_is_substitution(tmp_path: Path) -> None:
    word = tiny.wordpiece().convert_tokens_to_ids("good")
    lm = fillers.saved(tmp_path, fillers.sure(word, torch.float64))
    model = tiny.bert(torch.float64)
    found = saliently.explain(model, "so good and so bad", InputMarginalization(lm))
    ids = torch.tensor(found.tokens.ids)
    rows = torch.stack([ids, *(ids.clone().index_fill_(0, torch.tensor(at), word) for at in range(len(ids)))])
    said = plainly(model, rows)[:, found.target.index]
    expected = torch.where(torch.tensor(found.tokens.words), said[0] - said[1:], 0.0)
    np.testing.assert_allclose(found.scores, expected, atol=1e-10)
    assert found.scores[found.tokens.ids.index(word)] == 0
    assert "have at least 100.0% of the probability" in found.checks.notes[0]
    assert found.checks.forward_rows == 2 + 4  # text, nothing, and each word but "good"


def test_a_language_model_that_expects_special_tokens_alone_still_gives_words(tmp_path: Path) -> None:
    lm = fillers.saved(tmp_path, fillers.sure(tiny.wordpiece().sep_token_id))
    found = saliently.explain(tiny.bert(), TEXT, InputMarginalization(lm))
    assert np.isfinite(found.scores).all()
    assert "have at least 0.0% of the probability" in found.checks.notes[0]


def test_the_language_model_is_loaded_once_for_all_texts(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def load(name: str, **how: Any) -> Model:
        loaded.append(name)
        return saliently.load(name, **how)

    monkeypatch.setattr(loading, "load", load)
    method = InputMarginalization(folder, most=30)
    found = saliently.explain(tiny.bert(), [TEXT] * 5, method, options=saliently.Options(budget=64))
    assert loaded == [folder]
    assert all((each.scores == found[0].scores).all() for each in found)
    assert "_fillers" not in vars(method)
    saliently.explain(tiny.bert(), TEXT, ReAGent(folder, probes=1, least=1, most=1))
    assert loaded == [folder, folder]


def test_rows_are_asked_a_part_at_a_time(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = InputMarginalization(folder, most=7)
    whole = saliently.explain(tiny.bert(torch.float64), TEXTS, method)
    monkeypatch.setattr(marginal, "_AT_ONCE", 200)
    parts = saliently.explain(tiny.bert(torch.float64), TEXTS, method)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-12)
        assert one.checks.forward_rows == other.checks.forward_rows


def test_a_model_without_a_mask_has_no_nothing(folder: str) -> None:
    spare = dataclasses.replace(tiny.bert(), blank_ids={"pad": tiny.bert().blank_ids["pad"]})
    found = saliently.explain(spare, TEXT, InputMarginalization(folder))
    assert found.nothing is None
    assert found.checks.residual is None
    np.testing.assert_allclose(found.scores, saliently.explain(tiny.bert(), TEXT, InputMarginalization(folder)).scores)


def longer() -> PreTrainedTokenizerFast:
    """The tokenizer of the tests with a word more."""
    backend = type(tiny.wordpiece().backend_tokenizer).from_str(tiny.wordpiece().backend_tokenizer.to_str())
    backend.add_tokens(["unheard-of"])
    return PreTrainedTokenizerFast(tokenizer_object=backend, **tiny.wordpiece().special_tokens_map)


def test_another_vocabulary_or_no_language_model_is_a_clear_error(folder: str, model: str, tmp_path: Path) -> None:
    lm = fillers.saved(tmp_path, fillers.module(longer()), longer())
    for method in (InputMarginalization(lm), ReAGent(lm)):
        with pytest.raises(saliently.ModelError, match=r"has 1 tokens that one of both has not.*'unheard-of'"):
            saliently.explain(tiny.bert(), TEXT, method)
    with pytest.raises(saliently.ModelError, match="that is BertForSequenceClassification"):
        saliently.explain(tiny.bert(), TEXT, InputMarginalization(model))
    with pytest.raises(saliently.RecipeError, match="which is no masked language model"):
        saliently.explain(tiny.bert(), TEXT, InputMarginalization())
    with pytest.raises(saliently.ModelError, match="can't say which word an id stands for"):
        saliently.explain(tiny.linear_bag(), TEXT, InputMarginalization(folder))


def test_a_text_over_the_language_model_s_limit_loses_no_other(tmp_path: Path) -> None:
    lm = fillers.saved(tmp_path, fillers.module(max_position_embeddings=16))
    with pytest.raises(saliently.SomeFailed) as caught:
        saliently.explain(tiny.bert(), ["so good", TEXTS[2]], InputMarginalization(lm))
    assert sorted(caught.value.finished) == [0]
    assert "the masked language model" in str(caught.value.failures[1])


def test_one_word(folder: str) -> None:
    for method in (InputMarginalization(folder), ReAGent(), MinimalErasure(), HierarchicalOcclusion()):
        found = saliently.explain(tiny.bert(torch.float64), "bad", method)
        assert len(found.words()) == 1
        assert np.isfinite(found.scores).all()
    assert saliently.explain(tiny.bert(), "bad", ReAGent()).words()[0].score == pytest.approx(1)


# ReAGent.


class OnlyOne(nn.Module):
    """The logit says whether one id is there; nothing else matters."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.size, self.embed = size, nn.Embedding(100, 2)
        with torch.no_grad():
            self.embed.weight.zero_()
            self.embed.weight[7, 0] = 2 * size

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        there = (self.embed(ids)[..., 0] * mask).sum(1) - self.size
        return torch.stack([there, -there], -1)


def planted(size: float = 3.0) -> Model:
    """Each letter is a word, and x the one that matters."""

    def read(text: str) -> tuple[list[int], list[tuple[int, int] | None]]:
        return [7 if word == "x" else 10 + i for i, word in enumerate(text)], [(i, i + 1) for i in range(len(text))]

    return saliently.wrap(OnlyOne(size), read, embedding="embed", labels=["there", "not"])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("place", [0, 4, 11])
def test_reagent_finds_a_planted_token(seed: int, place: int) -> None:
    text = "abcdefghijkl"
    found = saliently.explain(planted(), text[:place] + "x" + text[place + 1 :], ReAGent(seed=seed))
    assert found.target.label == "there"
    assert int(found.scores.argmax()) == place
    assert found.scores[place] > 0.9
    assert found.scores.sum() == pytest.approx(1)
    assert "5 stopped by themselves" in found.checks.notes[0]


def test_reagent_stops_by_itself_or_at_most_steps() -> None:
    model = tiny.bert()
    found = saliently.explain(model, TEXT, ReAGent(probes=1, least=2, most=2))
    assert found.checks.forward_rows == 1 + 2 + 1
    assert found.checks.errors == ()
    never = saliently.explain(model, TEXT, ReAGent(probes=1, least=1, most=9), _unlikely(model))
    assert "0 stopped by themselves, after 9 steps" in never.checks.notes[0]
    assert never.checks.forward_rows == 1 + 9 + 9


def _unlikely(model: Model) -> str:
    ids = torch.tensor([model.read({"text": TEXT}, False).ids])
    return model.labels[int(plainly(model, ids)[0].argmin())]


def test_reagent_of_a_model_that_judges_each_label_by_itself_stops_while_its_judgement_stands() -> None:
    """What speaks against a label has the least share and is replaced where it is checked, and then the label is on."""
    model = dataclasses.replace(planted(), link="sigmoid")
    there = saliently.explain(model, "abcdexfghijkl", ReAGent(), "there")
    assert int(there.scores.argmax()) == 5
    assert there.target.of == "probability"
    assert there.checks.forward_rows == 1 + 5 * (30 + 1)
    off = saliently.explain(model, "abcdexfghijkl", ReAGent(), "not")
    assert int(off.scores.argmin()) == 5
    assert off.checks.forward_rows > there.checks.forward_rows


def test_reagent_of_a_model_that_is_quite_sure() -> None:
    """A probability of 1, which falls to 0, has log-odds beyond all numbers."""
    found = saliently.explain(planted(1e4), "abcdexfghijkl", ReAGent())
    assert found.values == (1.0,)
    assert found.scores[5] == pytest.approx(1)
    assert np.isfinite(found.scores).all()


def test_reagent_of_each_token_of_a_response_runs_shared_rows_once() -> None:
    rows = 0

    def tick(more: int) -> None:
        nonlocal rows
        rows += more

    method = ReAGent(probes=2, least=5, most=5)
    every = saliently.explain_each(gpt2(), GIVEN, method, options=saliently.Options(tick=tick))
    assert rows < 0.7 * sum(each.checks.forward_rows for each in every)
    first = every[0].tokens.response
    assert first is not None
    for n, each in enumerate(every):
        assert not each.scores[first + n :].any()
        assert each.scores[: first + n].min() > 0
        alone = saliently.explain(gpt2(), GIVEN, method, Target(at=n))
        np.testing.assert_allclose(each.scores, alone.scores, atol=1e-5)
        assert each.values[0] == pytest.approx(np.exp(float(_log_probability(each.tokens.ids, first + n))), abs=1e-5)


def _log_probability(ids: tuple[int, ...], at: int) -> float:
    return float(chances(gpt2(), ids)[at - 1, ids[at]])


def test_words_are_drawn_evenly_from_the_vocabulary_and_never_special() -> None:
    """Neither padding nor mask, nor what is no word of this text, nor the token itself."""
    bag, seen = tiny.linear_bag(), list[Tensor]()

    def forward(batch: Batch) -> Tensor:
        seen.append(batch.ids.clone())
        return bag.forward(batch)

    def read(text: str) -> tuple[list[int], list[tuple[int, int] | None]]:
        return [*range(10, 10 + len(text)), 5], [*((i, i + 1) for i in range(len(text))), None]

    reader = saliently.wrap(bag.module, read, embedding="embed", labels=tiny.LABELS).read
    method = ReAGent(share=0.9, probes=20, least=40, most=40)
    saliently.explain(dataclasses.replace(bag, forward=forward, read=reader), "abcdefgh", method)
    rows = torch.cat(seen)
    assert bool((rows[:, -1] == 5).all())
    times = torch.bincount(rows[:, 0][rows[:, 0] != 10], minlength=100)
    assert set(times.nonzero()[:, 0].tolist()) == set(range(100)) - {0, 1, 5, 10}
    drawn = times[times > 0].double()
    assert float(drawn.std()) < 1.5 * float(drawn.mean()) ** 0.5


# Heads.


HEADED: dict[str, tuple[Callable[[], Model], Any, Target]] = {
    "tagger": (
        lambda: saliently.wrap(placed(BertForTokenClassification, num_labels=4), tiny.wordpiece()),
        TEXT,
        Target(at="witty"),
    ),
    "filler": (lambda: saliently.wrap(fillers.module(), tiny.wordpiece()), "A [MASK], witty movie.", Target()),
    "chooser": (lambda: chooser("bert"), {"context": "The film is bad.", "choices": ["so good", "bad"]}, Target()),
    "translator": (t5, {"source": "A witty movie", "target": "A film is good"}, Target(at=2)),
}


@pytest.mark.parametrize("head", HEADED)
@pytest.mark.parametrize("name", ["reagent", "minimal", "hierarchy"])
def test_every_head_is_served(head: str, name: str) -> None:
    """Alone as together with another input."""
    make, given, target = HEADED[head]
    model, method = make(), made(name)
    first, _ = saliently.explain(model, [given, given], method, target)
    found = saliently.explain(model, given, method, target)
    np.testing.assert_allclose(first.scores, found.scores, atol=1e-5)
    assert found.target.of == {"reagent": "probability"}.get(name, model.scale)
    assert found.target.against == {"minimal": "next"}.get(name)
    said = saliently.explain(model, given, "gradient", dataclasses.replace(target, of=found.target.of))
    if name != "minimal":
        assert found.values[0] == pytest.approx(said.values[0], abs=1e-5)
    if name == "reagent":
        assert found.scores.sum() == pytest.approx(1)
        assert (found.scores > 0).sum() > 2


def test_answers_and_sentence_vectors_are_no_single_decision() -> None:
    with pytest.raises(saliently.RecipeError, match="takes no label, no `against`"):
        saliently.explain(answerer("bert"), {"question": "What is it?", "context": TEXT}, MinimalErasure())
    for method in (MinimalErasure(), ReAGent()):
        with pytest.raises(saliently.RecipeError, match=r"was asked for with the output|whose output is a number"):
            saliently.explain(embedder(), {"text": TEXT, "other": "so good"}, method)
