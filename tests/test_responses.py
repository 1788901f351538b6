"""Responses of language models: read behind a prompt, or generated; and what can't be read or asked for."""

from __future__ import annotations

from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

import saliently
from saliently.models.language import LanguageReader
from saliently.types import Explanation, Target, Tokens
from saliently.view.record import dumps, from_dict, to_dict
from tests import tiny
from tests.snapshot import snapshot
from tests.writers import WRITERS, gpt2, gpt2_module, llama, sentencepiece

TOKENIZERS = {"gpt2": tiny.byte_level, "llama": sentencepiece}
GIVEN = {"prompt": "A gorgeous, witty movie", "response": " is wonderful."}
CHARACTERS = st.characters(codec="utf-8")
APART = "The response was read by itself; as one text with its prompt it gives other tokens."


def read(name: str, prompt: str, response: str) -> Tokens:
    return WRITERS[name]().read({"prompt": prompt, "response": response}, False)


def joined(found: Explanation, field: str) -> str:
    return "".join(unit.text for unit in found.units() if unit.field == field)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("prompt", "response"),
    [
        ("A gorgeous, witty movie", " is wonderful."),
        ("A", " film"),
        ("A film\n", "is  two   spaces"),
        ("A film", "?!\n\nIt isn't."),
        ("😀", "👩‍👩‍👧‍👦 cried 😭 é"),
        ("Фильм", " очень хороший"),
        ("a", " \u200b b"),
    ],
)
def test_prompt_and_response_are_one_text_to_the_tokenizer(name: str, prompt: str, response: str) -> None:
    tokens = read(name, prompt, response)
    if APART not in tokens.notes:
        assert list(tokens.ids) == list(TOKENIZERS[name]()(prompt + response).input_ids)
    assert list(tokens.ids[: tokens.response]) == list(TOKENIZERS[name]()(prompt).input_ids)
    assert dict(tokens.fields) == {"prompt": prompt, "response": response}
    assert {span.field for span in tokens.spans[tokens.response :] if span} == {"response"}
    assert "".join(tokens.text(part) for part in tokens.parts) == prompt + response
    assert TOKENIZERS[name]().decode(list(tokens.ids[tokens.response :])).strip()


@pytest.mark.parametrize(
    ("name", "prompt", "response", "pieces"),
    [
        ("gpt2", "A movi", "e is", ("e", "Ġis")),
        ("gpt2", "A ", "film", ("f", "il", "m")),
        ("llama", "A movi", "e is", ("e", "▁is")),
        ("llama", "A ", "film", ("f", "i", "l", "m")),
        ("llama", "A ©", "® is", ("▁", "<unk>", "▁is")),  # unknown letters together are one token
    ],
)
def test_a_response_that_merges_with_its_prompt_is_read_apart(
    name: str, prompt: str, response: str, pieces: tuple[str, ...]
) -> None:
    tokens = read(name, prompt, response)
    assert tokens.notes == (APART,)
    assert tokens.pieces[tokens.response :] == pieces
    assert list(tokens.ids[: tokens.response]) == list(TOKENIZERS[name]()(prompt).input_ids)
    assert tokens.response_text(0, len(pieces)) == response


@settings(max_examples=150, deadline=None)
@given(
    st.text(CHARACTERS, min_size=1, max_size=20),
    st.text(CHARACTERS, min_size=1, max_size=20),
    st.sampled_from(sorted(WRITERS)),
)
@pytest.mark.filterwarnings("ignore::saliently.SaliencyWarning")
def test_any_text_is_read_whole_or_refused_in_a_sentence(prompt: str, response: str, name: str) -> None:
    if not prompt.strip() or not response.strip():
        with pytest.raises(saliently.InputError, match="is empty"):
            read(name, prompt, response)
        return
    tokens = read(name, prompt, response)
    first = tokens.response
    assert first is not None
    assert list(tokens.ids[:first]) == list(TOKENIZERS[name]()(prompt).input_ids)
    assert 0 < first < len(tokens.ids)
    spans = [span for span in tokens.spans[first:] if span is not None]
    assert len(spans) == len(tokens.ids) - first
    covered = {place for span in spans for place in range(span.start, span.end)}
    left = "".join(letter for place, letter in enumerate(response) if place not in covered)
    if name == "gpt2":  # every letter is in bytes; the other one leaves out what its normaliser drops
        assert not left.strip()
    assert "".join(tokens.text(part) for part in tokens.parts) == prompt + response


@pytest.mark.parametrize("name", WRITERS)
def test_special_tokens_that_are_typed_are_text(name: str) -> None:
    tokenizer = TOKENIZERS[name]()
    typed = " ".join(tokenizer.all_special_tokens)
    with pytest.warns(saliently.SaliencyWarning, match=r"<pad> in the text was read as text\."):
        tokens = read(name, f"A {typed}", f" is {typed}")
    words = [i for i, span in enumerate(tokens.spans) if span is not None]
    known = {tokenizer.convert_tokens_to_ids(each) for each in tokenizer.all_special_tokens} - {tokenizer.unk_token_id}
    assert not known & {tokens.ids[i] for i in words}


@pytest.mark.parametrize("field", ["prompt", "text"])
def test_the_note_on_typed_special_tokens_is_that_of_the_field(field: str) -> None:
    with pytest.warns(saliently.SaliencyWarning, match="read as text"):
        gpt2().read({field: "A <pad>", "response": " is"}, False)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "Fields none were given; this model reads text, or text and response, or prompt"),
        ({"response": "is"}, "Fields response were given"),
        ({"prompt": "A", "answer": "is"}, "Fields prompt, answer were given"),
        ({"prompt": "A", "text": "A"}, "Fields prompt, text were given"),
        ({"messages": [], "prompt": "A"}, "Fields messages, prompt were given"),
        ({"prompt": "", "response": "is"}, "this one (prompt) is empty. Give some words"),
        ({"prompt": "A", "response": ""}, "this one (response) is empty. Give some words"),
        ({"prompt": "A", "response": " \n "}, "this one (response) is empty, but for spaces"),
        ({"prompt": 5, "response": "is"}, "found int 5. Give a string"),
        ({"prompt": "A", "response": ["is"]}, "found list ['is']. Give a string"),
        ({"prompt": "A", "response": None}, "found NoneType None. Give a string"),
        ({"prompt": "A \ud800", "response": "is"}, "half a character (a lone surrogate) at place 2"),
        ({"prompt": "A", "response": "\udfff"}, "half a character (a lone surrogate) at place 0"),
    ],
)
@pytest.mark.parametrize("name", WRITERS)
def test_what_is_no_input_is_one_clear_error(name: str, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(saliently.InputError) as caught:
        saliently.explain(WRITERS[name](), fields, "gradient")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (Target(at=6), "Tokens 6 of the response were asked for; it has tokens 0 to 5"),
        (Target(at=-7), "Tokens -7 of the response were asked for"),
        (Target(at=True), "Tokens True of the response were asked for"),
        (Target(at=1.0), "Tokens 1.0 of the response were asked for"),  # type: ignore[arg-type]
        (Target(at=slice(9, None)), "Tokens slice(9, None, None) of the response were asked for"),
        (Target(at=slice("is", None)), "it has tokens 0 to 5"),
        (Target(at=slice(None, None, 0)), "it has tokens 0 to 5"),
        (Target(at="was"), "'was' was asked for in the response ' is wonderful.', which has it 0 times"),
        (Target(at="w"), None),
        (Target(at=""), "Give a part that it has once"),
        (Target("w"), "'w' was asked for at 6 tokens of the response; a label is of one token"),
        (Target(0), "0 was asked for at 6 tokens"),
        (Target(against="rest"), "'rest' was asked for at 6 tokens"),
        (Target(0, at=slice(0, 2)), "0 was asked for at 2 tokens"),
        (Target("no such token", at=0), "Label 'no such token' was asked for"),
        (Target(at=0, against=" is"), "against itself was asked for at token 0; that is always 0"),
        (Target(of="probability"), "The probability of 6 tokens of the response was asked for"),
    ],
)
def test_what_is_no_place_is_one_clear_error(target: Target, says: str | None) -> None:
    if says is None:
        assert saliently.explain(gpt2(), GIVEN, "gradient", target).target.index == gpt2().labels.index(" w")
        return
    with pytest.raises(saliently.RecipeError) as caught:
        saliently.explain(gpt2(), GIVEN, "gradient", target)
    assert says in str(caught.value)


def test_a_part_that_stands_there_twice_is_no_place() -> None:
    for response, at in ((" is as good as it is", "is"), (" aaa", "aa")):
        with pytest.raises(saliently.RecipeError, match="which has it 2 times"):
            saliently.explain(gpt2(), {"prompt": "A", "response": response}, "gradient", Target(at=at))


@pytest.mark.parametrize(
    ("at", "label"),
    [
        (None, "'is wonderful.'"),
        (slice(1, 3), "'wond'"),
        (slice(None, None, 5), "'is', '.'"),
        (slice(2, 0, -1), "'wond'"),
        ("derf", "'onderf'"),
    ],
)
def test_what_is_explained_has_a_name(at: Any, label: str) -> None:
    assert saliently.explain(gpt2(), GIVEN, "gradient", Target(at=at)).target.label == label


@pytest.mark.parametrize("name", WRITERS)
def test_a_prompt_of_one_token_is_a_prompt(name: str) -> None:
    model = WRITERS[name]()
    found = saliently.explain(model, {"prompt": "a", "response": " is good"}, "gradient", Target(at=0))
    assert np.abs(found.scores[: found.tokens.response]).sum() > 0
    assert not found.scores[found.tokens.response :].any()
    if found.tokens.spans[0] is None:
        assert np.isfinite(saliently.explain(model, {"prompt": "a", "response": " good"}, "omission").scores).all()
    else:  # nothing would stand before the response
        with pytest.raises(saliently.NumberError, match="choose another blank"):
            saliently.explain(model, {"prompt": "a", "response": " good"}, "omission")


@pytest.mark.parametrize("name", WRITERS)
def test_a_text_too_long_is_an_error_or_loses_its_beginning(name: str) -> None:
    model, cut = WRITERS[name](), saliently.Options(truncate=True)
    long = {"prompt": "A good film. " * 90, "response": " is bad."}
    for fields in (long, long["prompt"]):
        with pytest.raises(saliently.InputError, match="the model takes 256"):
            saliently.explain(model, fields, "gradient")
    found = saliently.explain(model, long, "gradient", options=cut)
    whole = model.read({"prompt": "A", "response": long["response"]}, False)
    tokens, starts = found.tokens, [i for i, span in enumerate(whole.spans[:1]) if span is None]
    assert len(tokens.ids) == tiny.LONGEST
    assert tokens.ids[: len(starts)] == whole.ids[: len(starts)]
    assert tokens.ids[tokens.response :] == whole.ids[whole.response :]
    assert tokens.truncated is not None
    assert f"The first {tokens.truncated[0] - 256} tokens of the prompt were cut off" in " ".join(tokens.notes)
    assert dict(tokens.fields) == long
    written = saliently.explain(model, long["prompt"], "gradient", options=cut)
    assert written.tokens.truncated is not None
    assert 1 <= len(written.tokens.ids) - (written.tokens.response or 0) <= 32
    assert len(written.tokens.ids) <= tiny.LONGEST
    with pytest.raises(saliently.InputError, match="nothing of the prompt would be left"):
        saliently.explain(model, {"prompt": "A b", "response": long["prompt"]}, "gradient", options=cut)


@pytest.mark.parametrize("name", WRITERS)
def test_a_response_is_generated_up_to_the_limit(name: str) -> None:
    model = WRITERS[name]()
    prompt = "a" + " a" * 400
    while len(TOKENIZERS[name]()(prompt).input_ids) > tiny.LONGEST - 5:
        prompt = prompt[:-2]
    tokens = model.read({"prompt": prompt}, False)
    assert len(tokens.ids) <= tiny.LONGEST
    assert 5 <= len(tokens.ids) - (tokens.response or 0) <= 7


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("prompt", ["A gorgeous", "a", "Überraschend schön", "😀", "Is it? "])
@pytest.mark.parametrize("field", ["prompt", "text"])
def test_a_generated_response_is_that_of_transformers(name: str, prompt: str, field: str) -> None:
    model, tokenizer = WRITERS[name](), TOKENIZERS[name]()
    found = saliently.explain(model, prompt if field == "text" else {field: prompt}, "gradient")
    tokens = found.tokens
    theirs = model.module.generate(  # type: ignore[operator]
        **tokenizer(prompt, return_tensors="pt", return_token_type_ids=False), max_new_tokens=32, do_sample=False
    )[0].tolist()
    assert list(tokens.ids) == theirs
    written = tokenizer.decode(theirs, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    before = tokenizer.decode(theirs[: tokens.response], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert before + joined(found, "response") == written
    assert tokens.fields["response"] == joined(found, "response")
    assert tokens.notes == ("The response was generated by the model, greedily, of at most 32 tokens.",)
    assert from_dict(to_dict(found)).tokens == tokens


def reader_of(ids: list[int], name: str = "gpt2") -> LanguageReader:
    """A reader whose model goes on with these ids, whatever stands before."""
    made = WRITERS[name]().read
    assert isinstance(made, LanguageReader)
    return LanguageReader(made.text, made.tokenizer, lambda before: ids)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 620), min_size=1, max_size=12), st.sampled_from(sorted(WRITERS)))
def test_any_ids_that_a_model_gives_are_text_or_special(ids: list[int], name: str) -> None:
    tokens = reader_of(ids, name)({"prompt": "A naïve 😀"}, False)
    tokenizer, text = TOKENIZERS[name](), tokens.fields["response"]
    first = tokens.response or 0
    assert list(tokens.ids[first:]) == ids
    before = tokenizer.decode(list(tokens.ids[:first]), skip_special_tokens=True)
    assert tokenizer.decode(list(tokens.ids), skip_special_tokens=True) == before + text
    spans = tokens.spans[first:]
    specials = set(tokenizer.all_special_ids)
    assert all(
        span is None for span, each in zip(spans, ids, strict=True) if each in specials or each >= len(tokenizer)
    )
    starts = [span.start for span in spans if span is not None]
    assert starts == sorted(starts)
    assert all(0 <= span.start < span.end <= len(text) for span in spans if span is not None)
    covered = {place for span in spans if span is not None for place in range(span.start, span.end)}
    assert covered == set(range(len(text)))


def test_halves_of_a_character_are_both_its_pieces() -> None:
    ids = list(tiny.byte_level()(" so 🧡 é").input_ids)
    tokens = reader_of(ids)({"prompt": "Loved it"}, False)
    assert tokens.fields["response"] == " so 🧡 é"
    halves = [
        i for i, span in enumerate(tokens.spans) if span and "🧡" in tokens.text(span) and span.field == "response"
    ]
    assert len(halves) > 1
    cut = reader_of(ids[: halves[1] - (tokens.response or 0)])({"prompt": "Loved it"}, False)
    assert cut.fields["response"].startswith(" so")
    assert cut.fields["response"].endswith("�")


def stopping() -> tuple[saliently.Model, PreTrainedTokenizerFast]:
    """A model that ends what it says: the first token that it would give is the end of a text."""
    backend = Tokenizer.from_str(tiny.byte_level().backend_tokenizer.to_str())
    backend.add_special_tokens(["<end>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<end>")
    module = gpt2_module(tokenizer, eos_token_id=tokenizer.eos_token_id)
    with torch.no_grad():
        given = torch.tensor([tokenizer("A film").input_ids])
        row = module.transformer(given).last_hidden_state[0, -1]
        module.lm_head.weight[tokenizer.eos_token_id] = 10 * row
    return saliently.wrap(module, tokenizer), tokenizer


def test_the_end_of_a_text_is_a_special_token_of_a_response() -> None:
    model, tokenizer = stopping()
    found = saliently.explain(model, "A film", "gradient-x-input")
    assert found.tokens.ids == (*tokenizer("A film").input_ids, tokenizer.eos_token_id)
    assert found.tokens.spans[-1] is None
    assert found.tokens.fields["response"] == ""
    assert found.target.label == "'<end>'"
    assert found.values[0] == pytest.approx(0, abs=1e-3)
    assert from_dict(to_dict(found)).tokens == found.tokens
    with pytest.raises(saliently.RecipeError, match="in the response '', which has it 0 times"):
        saliently.explain(model, "A film", "gradient", Target(at="film"))


def test_generating_leaves_a_model_as_it_was() -> None:
    module = gpt2_module(tiny.byte_level()).train()
    module.transformer.h[0].eval()
    module.generation_config.update(
        do_sample=True, temperature=3.0, num_return_sequences=2, return_dict_in_generate=True
    )
    model = saliently.wrap(module, tiny.byte_level())
    before, asked = snapshot(module), module.generation_config.to_dict()
    found = saliently.explain(model, "A gorgeous", "gradient")
    assert snapshot(module) == before
    assert module.generation_config.to_dict() == asked
    assert found.tokens.ids == saliently.explain(gpt2(), "A gorgeous", "gradient").tokens.ids


def test_a_model_that_can_t_generate_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    module = gpt2_module(tiny.byte_level()).train()

    def broken(*args: Any, **settings: Any) -> None:
        raise TypeError("no cache of this kind")

    monkeypatch.setattr(module, "generate", broken)
    model = saliently.wrap(module, tiny.byte_level())
    with pytest.raises(saliently.ModelError, match=r"none was given; that failed \(no cache of this kind\)"):
        saliently.explain(model, "A gorgeous", "gradient")
    assert module.training
    assert saliently.explain(model, GIVEN, "gradient").values


def test_texts_are_generated_one_thread_at_a_time() -> None:
    model = llama()
    texts = ["A gorgeous film", "The plot", "Is it good?"]
    expected = [saliently.explain(model, text, "lrp") for text in texts]
    failures: list[BaseException] = []

    def work(k: int) -> None:
        try:
            for _ in range(4):
                found = saliently.explain(model, texts[k], "lrp")
                assert found.tokens.ids == expected[k].tokens.ids
                np.testing.assert_allclose(found.scores, expected[k].scores, atol=1e-5)
        except BaseException as error:
            failures.append(error)

    threads = [Thread(target=work, args=(k,)) for k in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_record_keeps_the_response_and_older_ones_have_none() -> None:
    found = saliently.explain(llama(), GIVEN, "gradient")
    record = to_dict(found)
    assert record["response"] == found.tokens.response
    assert record["streams"] == []
    assert from_dict(record).tokens == found.tokens
    assert dumps(from_dict(record)) == dumps(found)
    old = {name: value for name, value in record.items() if name not in ("response", "streams")}
    assert (from_dict(old).tokens.response, from_dict(old).tokens.streams) == (None, ())
    several = from_dict({**record, "streams": [[0, 1], [0, 2, 3]]})
    assert several.tokens.streams == ((0, 1), (0, 2, 3))
    many = len(found.tokens.ids)
    for name, value in (("response", many), ("response", -1), ("streams", [[0, many]])):
        with pytest.raises(saliently.InputError, match=f"of {many}; the file was changed"):
            from_dict({**record, name: value})
    with pytest.raises(saliently.InputError, match="response should be a whole number"):
        from_dict({**record, "response": "three"})
