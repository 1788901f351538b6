# ruff: noqa: RUF001 - letters of other scripts are meant
"""Texts that are longer than a model takes: windows put together, and long prompts as they are."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertForTokenClassification, LlamaConfig, LlamaForCausalLM
from typer.testing import CliRunner

import saliently
from saliently import Options
from saliently.chunks import chunks
from saliently.cli import app
from saliently.errors import InputError, RecipeError, SomeFailed
from saliently.models.base import Model
from saliently.models.reading import TokenizerReader
from saliently.types import Explanation, Target
from saliently.view.record import from_dict
from tests import tiny
from tests.test_packing import spied

WINDOWS = Options(windows=True)
LIMIT, ROOM = 18, 16
"""Tokens of a window, with special ones and without."""
ODD = "naïve cafe\u0301 😀 👩‍👩‍👧‍👦 🇩🇪\n\tהסרט היה 映画は हिन्दी \u200b\u00a0 ﬁne -- a\u0301\u0302b  Фильм "
SAMPLE = "A gorgeous, witty, seductive movie."


def short(model: Model, limit: int = LIMIT) -> Model:
    """The same model, whose reader takes fewer tokens."""
    assert isinstance(model.read, TokenizerReader)
    return replace(model, read=replace(model.read, limit=limit))


def wide(dtype: torch.dtype = torch.float64) -> Model:
    return short(tiny.bert(dtype))


def whole_words() -> list[str]:
    """Words that are one token each, whatever stands beside them."""
    tokenizer = tiny.wordpiece()
    found = (word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 2)
    return sorted(word for word in found if tokenizer.tokenize(word) == [word])


def long_text(words: int, seed: int = 0) -> str:
    return " ".join(random.Random(seed).choices(whole_words(), k=words))


def by_hand(text: str) -> list[str]:
    """The windows of a text of whole words, as texts of their own: every half a window one, to the end."""
    words = text.split()
    starts = [0]
    while starts[-1] + ROOM < len(words):
        starts.append(starts[-1] + ROOM // 2)
    return [" ".join(words[start : start + ROOM]) for start in starts]


def logits(model: Model, windows: list[str]) -> torch.Tensor:
    """(N, C) by plain forward passes."""
    tokenizer = tiny.wordpiece()
    with torch.no_grad():
        rows = [model.module(**tokenizer(window, return_tensors="pt")).logits[0] for window in windows]
    return torch.stack(rows)


# What is the same


@pytest.mark.parametrize("kind", tiny.models())
@pytest.mark.parametrize("method", ["gradient", "gradient-x-input", "occlusion(blank='zero')", "ig(steps=4)"])
def test_a_text_that_fits_is_explained_as_ever(kind: str, method: str) -> None:
    model = tiny.models()[kind]()
    with_, without = (saliently.explain(model, SAMPLE, method, options=o) for o in (WINDOWS, Options()))
    assert with_.to_dict() == without.to_dict()


def test_a_text_of_just_the_limit_is_one_input() -> None:
    found = saliently.explain(wide(), long_text(ROOM), "gradient-x-input", options=WINDOWS)
    assert not found.checks.notes
    assert found.checks.forward_rows == 0
    more = saliently.explain(wide(), long_text(ROOM + 1), "gradient-x-input", options=WINDOWS)
    assert "19 tokens was read in 2 windows of up to 18" in more.checks.notes[0]


def test_a_pair_that_fits_needs_no_windows() -> None:
    pair = {"premise": "so good", "hypothesis": "bad"}
    one, other = (saliently.explain(wide(), pair, "gradient", options=o) for o in (WINDOWS, Options()))
    assert one.to_dict() == other.to_dict()


# What the numbers are


@pytest.mark.parametrize("words", [17, 23, 24, 25, 40, 101])
def test_the_value_is_the_mean_of_plain_forward_passes(words: int) -> None:
    model, text = wide(), long_text(words)
    plain = logits(model, by_hand(text)).mean(0)
    found = saliently.explain(model, text, "gradient-x-input", options=WINDOWS)
    assert found.target.index == int(plain.argmax())
    assert found.target.predicted
    assert found.values[0] == pytest.approx(float(plain.max()), abs=1e-5)
    for label in range(3):
        named = saliently.explain(model, text, "gradient-x-input", label, options=WINDOWS)
        assert named.values[0] == pytest.approx(float(plain[label]), abs=1e-5)
        assert named.target.predicted == (label == int(plain.argmax()))


def test_all_windows_are_asked_for_the_class_of_their_mean() -> None:
    module, windows = tiny.bert_module(torch.float64), by_hand(text := long_text(101))
    with torch.no_grad():
        module.classifier.bias -= logits(saliently.wrap(module, tiny.wordpiece()), windows).mean(0)
        module.classifier.bias[1] += 1e-3
    model = short(saliently.wrap(module, tiny.wordpiece()))
    plain = logits(model, windows)
    assert len(set(plain.argmax(1).tolist())) > 1, "windows must disagree for this to say anything"
    found = saliently.explain(model, text, "gradient-x-input", Target(of="probability"), options=WINDOWS)
    assert found.values[0] == pytest.approx(float(plain.softmax(1).mean(0)[plain.mean(0).argmax()]), abs=1e-5)


@pytest.mark.parametrize(
    "method",
    [
        *(
            "gradient-x-input",
            "occlusion(blank='zero')",
            "occlusion(blank='delete')",
            "occlusion(blank='mask', window=3)",
        ),
        *("ig(steps=8)", "ig(blank=('mask', 'zero'))", "lrp", "attn-lrp", "decompx"),
        "smoothgrad(over='gradient-x-input', samples=3)",
    ],
)
def test_a_score_is_its_sum_over_windows_over_their_number(method: str) -> None:
    model, windows = wide(), by_hand(text := long_text(53))
    target = Target(2, against=0)
    found = saliently.explain(model, text, method, target, options=WINDOWS)
    apart = saliently.explain(model, windows, method, target)
    sums = np.zeros(len(text.split()) + 2)
    for n, each in enumerate(apart):
        start, inner = 1 + n * ROOM // 2, each.scores[1:-1]
        sums[start : start + len(inner)] += inner
        sums[[0, -1]] += each.scores[[0, -1]]
    near = 1e-6 * max(1.0, np.abs(found.scores).max())
    np.testing.assert_allclose(found.scores, sums / len(windows), rtol=0, atol=near)
    assert found.checks.total == pytest.approx(np.mean([each.scores.sum() for each in apart]), abs=near)
    assert found.scores.sum() == pytest.approx(found.checks.total, abs=near)
    checks, theirs = found.checks, [each.checks for each in apart]
    assert checks.gradient_rows == sum(each.gradient_rows for each in theirs)
    assert checks.forward_rows == sum(each.forward_rows for each in theirs) + len(windows)
    for merged, each in (
        (found.nothing, [e.nothing for e in apart]),
        ((checks.change,), [(c.change,) for c in theirs]),
    ):
        if merged is None or merged[0] is None:
            assert all(one is None or one[0] is None for one in each)
        else:
            assert merged[0] == pytest.approx(np.mean([one[0] for one in each if one and one[0] is not None]), abs=1e-6)
    if theirs[0].gap is not None:
        assert checks.gap == pytest.approx(max(each.gap or 0 for each in theirs), rel=1e-3, abs=1e-9)
        assert "worst window" in " ".join(checks.notes)
    if theirs[0].kept:
        assert sum(amount for _, amount in checks.kept) == pytest.approx(
            np.mean([sum(amount for _, amount in each.kept) for each in theirs]), abs=near
        )


def test_a_linear_model_s_scores_are_worked_out_by_hand() -> None:
    tokenizer = tiny.wordpiece()
    module = tiny.seeded(lambda: tiny.LinearBag(len(tokenizer)), torch.float64)
    reader = TokenizerReader.over(tokenizer.backend_tokenizer, tokenizer.all_special_tokens, 9, False)
    model = replace(tiny.linear_bag(torch.float64), module=module, embedding=module.embed, read=reader)
    model = replace(model, forward=lambda batch: module(batch.ids, batch.mask))
    ids = tokenizer(text := long_text(20))["input_ids"]
    # Of 9 tokens 7 are the text's; 6 of them make two halves: windows begin at words 0, 3, 6, 9, 12 and 15.
    times = np.array([6, *(sum(start <= word < start + 6 for start in range(0, 16, 3)) for word in range(20)), 6])
    adds = (module.embed.weight[ids] @ module.weight)[:, 1].detach().numpy()
    for method in ("gradient-x-input", "occlusion(blank='zero')", "ig(blank='zero', steps=2)"):
        found = saliently.explain(model, text, method, 1, options=WINDOWS)
        counted = np.where([span is not None or method == "gradient-x-input" for span in found.tokens.spans], times, 0)
        np.testing.assert_allclose(found.scores, adds * counted / 6, rtol=0, atol=1e-6)
        assert found.values[0] == pytest.approx(float((adds * times).sum() / 6 + module.bias[1].detach()), abs=1e-5)


# Texts


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "t5"])
def test_odd_unicode_is_whole_and_comes_back_from_json(kind: str) -> None:
    model, text = short(tiny.models()[kind]()), ODD * 9
    found = saliently.explain(model, text, "gradient-x-input", options=WINDOWS)
    assert "".join(unit.text for unit in found.units()) == text
    assert found.tokens.fields == {"text": text}
    assert found.tokens.truncated is None
    whole = replace(model.read, limit=None)({"text": text}, False)  # type: ignore[type-var]
    assert found.tokens == whole
    assert found.checks.ids == whole.ids
    back = from_dict(json.loads(json.dumps(found.to_dict())))
    assert back.to_dict() == found.to_dict()
    assert back.checks == found.checks


def test_special_tokens_that_a_user_typed_are_told_of_once() -> None:
    with pytest.warns(saliently.SaliencyWarning, match="read as text"):
        found = saliently.explain(
            wide(), long_text(30) + " [SEP] " + long_text(30), "gradient-x-input", options=WINDOWS
        )
    assert sum("read as text" in note for note in found.checks.notes) == 1


def test_a_batch_of_short_and_long_texts_is_each_alone() -> None:
    texts = ["so good", long_text(60), "", long_text(5), long_text(33, 1), {"premise": "a", "hypothesis": "b"}]
    model = wide()
    together = dict(saliently.stream(model, texts, "occlusion(blank='zero')", options=WINDOWS))
    assert list(together) == list(range(len(texts)))
    assert isinstance(together.pop(2), InputError)
    for at, found in together.items():
        assert isinstance(found, Explanation)
        alone = saliently.explain(model, texts[at], "occlusion(blank='zero')", options=WINDOWS)
        np.testing.assert_allclose(found.scores, alone.scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["gradient-x-input", "ig(steps=2)", "occlusion(blank='zero')"])
def test_thousands_of_words_keep_to_the_budget(method: str) -> None:
    seen: list[tuple[int, int]] = []
    many = 500 if "occlusion" in method else 5000
    model = spied(short(tiny.bert(), 64), seen)
    rows: list[int] = []
    options = Options(windows=True, budget=640, tick=rows.append)
    found = saliently.explain(model, long_text(many), method, options=options)
    assert len(found.scores) == many + 2
    assert np.isfinite(found.scores).all()
    assert max(rows * length for rows, length in seen) <= 640
    assert max(length for _, length in seen) == 64
    assert sum(rows) == sum(rows for rows, _ in seen) == found.checks.forward_rows + found.checks.gradient_rows
    assert found.checks.total == pytest.approx(found.scores.sum(), abs=1e-6)


@pytest.mark.usefixtures("data")
def test_a_real_model_reads_a_long_review(shared_model: Path, sentences: list[str]) -> None:
    model, text = saliently.load(shared_model), " ".join(sentences[:60])
    found = saliently.explain(model, text, "gradient-x-input", options=WINDOWS)
    ids = found.tokens.ids
    assert len(ids) > 1000
    starts = range(1, len(ids) - 1 - 255, 255)
    with torch.no_grad():
        rows = [model.module(torch.tensor([[ids[0], *ids[s : min(s + 510, len(ids) - 1)], ids[-1]]])) for s in starts]
    plain = torch.stack([row.logits[0] for row in rows]).mean(0)
    assert found.values[0] == pytest.approx(float(plain.max()), abs=1e-5)
    assert f"{len(starts)} windows of up to 512" in found.checks.notes[-1]


# What is refused


def test_only_saliencies_are_put_together() -> None:
    for method, quantity in (("gradient", "sensitivity"), ("attention", "attention"), ("value-zeroing", "attention")):
        with pytest.raises(RecipeError, match=f"gives a {quantity}, and only saliencies"):
            saliently.explain(wide(), long_text(30), method, options=WINDOWS)
    with pytest.raises(SomeFailed) as failed:
        saliently.explain(wide(), ["good", long_text(30)], "gradient", options=WINDOWS)
    assert list(failed.value.finished) == [0]


def test_other_models_and_pairs_are_refused_when_too_long() -> None:
    long = long_text(300)
    tagger: Any = BertForTokenClassification(tiny.bert_module().config)
    with pytest.raises(InputError, match=r"302 tokens were asked of .* takes 256; windows are for classifiers"):
        saliently.explain(saliently.wrap(tagger, tiny.wordpiece()), long, "lrp", Target(at=0), options=WINDOWS)
    with pytest.raises(InputError, match="Windows over premise and hypothesis of 304 tokens"):
        saliently.explain(tiny.bert(), {"premise": long, "hypothesis": "bad"}, "lrp", options=WINDOWS)


def test_windows_are_an_error_where_nothing_puts_them_together() -> None:
    with pytest.raises(InputError, match="62 tokens with special ones; the model takes 18"):
        saliently.attention(wide(), long_text(60), options=WINDOWS)
    (chunk,) = chunks(wide(), [long_text(60), "good"], lambda tokens: 1, WINDOWS)
    assert isinstance(chunk[0], InputError)


def test_what_can_t_be_is_said() -> None:
    with pytest.raises(RecipeError, match="truncate them as well"):
        Options(windows=True, truncate=True)
    with pytest.raises(InputError, match="they hold 1 of the text"):
        saliently.explain(short(tiny.bert(), 3), long_text(9), "lrp", options=WINDOWS)
    label = saliently.explain(wide(), long_text(50), "lrp", options=WINDOWS).target.label
    with pytest.raises(RecipeError, match="predicted class against"):
        saliently.explain(wide(), long_text(50), "lrp", against=label, options=WINDOWS)


# The command


def test_the_command_reads_long_texts_in_windows(model: str) -> None:
    rest = ("--model", model, "--json", "--method", "gradient-x-input")
    printed = CliRunner().invoke(app, ["explain", long_text(600), "--windows", *rest])
    record = json.loads(printed.stdout)
    assert "in 4 windows of up to 256" in " ".join(record["checks"]["notes"])
    theirs = saliently.explain(model, long_text(600), "gradient-x-input", options=WINDOWS)
    assert [word["score"] for word in record["words"]] == pytest.approx([word.score for word in theirs.words()])
    assert CliRunner().invoke(app, ["explain", long_text(600), *rest]).exit_code == 2
    both = CliRunner().invoke(app, ["compare", long_text(300), "--windows", *rest, "--method", "lrp"])
    assert len(both.stdout.splitlines()) == 2


# Long prompts


@pytest.mark.parametrize("method", ["gradient-x-input", "ig(steps=8)", "ig(tolerance=0.05)"])
def test_a_prompt_of_thousands_of_tokens_runs_row_by_row(method: str) -> None:
    tokenizer = tiny.unigram()
    size = {**tiny.SIZE, "max_position_embeddings": 8192, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = LlamaConfig(vocab_size=len(tokenizer), pad_token_id=0, bos_token_id=None, num_key_value_heads=1, **size)
    seen: list[tuple[int, int]] = []
    model = saliently.wrap(tiny.seeded(lambda: LlamaForCausalLM(config), torch.float32), tokenizer)
    asked = {"prompt": "the film is good and the music is bad " * 555, "response": "so good"}
    rows: list[int] = []
    found = saliently.explain(spied(model, seen), asked, method, options=Options(tick=rows.append))
    assert len(found.tokens.ids) > 5000
    assert {rows for rows, _ in seen} == {1}
    assert sum(rows) == len(seen) == (found.checks.nodes or 1)
    assert found.checks.nodes == {"gradient-x-input": None, "ig(steps=8)": 9}.get(method, found.checks.nodes)
    assert not found.checks.failed
    with torch.no_grad():
        plain = model.module(torch.tensor([found.tokens.ids])).logits[0].double().log_softmax(-1)
    first = found.tokens.response
    assert first is not None
    said = sum(float(plain[at - 1, found.tokens.ids[at]]) for at in range(first, len(found.tokens.ids)))
    assert found.values[0] == pytest.approx(said, abs=1e-5)
