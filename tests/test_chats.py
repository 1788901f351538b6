"""Conversations: what a model's template makes of them, token by token."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

import saliently
from saliently.models.base import Model
from saliently.types import Target, Tokens
from tests import tiny
from tests.writers import chances, gpt2_module, sentencepiece

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STRIPS = CHATML.replace("message['content']", "message['content'] | trim")
TURNS = [
    {"role": "system", "content": "You review films."},
    {"role": "user", "content": "Is the plot good?"},
    {"role": "assistant", "content": "The plot is thin."},
    {"role": "user", "content": "And the light?"},
]


def tokenizer(template: str | None = CHATML, base: PreTrainedTokenizerFast | None = None) -> PreTrainedTokenizerFast:
    """Marks of turns are special to the tokenizer, and have no name in it, as those of Llama 3."""
    backend = Tokenizer.from_str((base or tiny.byte_level()).backend_tokenizer.to_str())
    backend.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    made = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>")
    made.chat_template = template
    return made


def chat(template: str | None = CHATML) -> tuple[Model, PreTrainedTokenizerFast]:
    made = tokenizer(template)
    return saliently.wrap(gpt2_module(made), made), made


def read(turns: Any, template: str | None = CHATML, response: str = "It is wonderful.") -> Tokens:
    return chat(template)[0].read({"messages": turns, "response": response}, False)


def rendered(made: PreTrainedTokenizerFast, turns: Any) -> list[int]:
    return list(made.apply_chat_template(turns, add_generation_prompt=True, return_dict=False))


@pytest.mark.parametrize("template", [CHATML, STRIPS])
@pytest.mark.parametrize("base", [tiny.byte_level, sentencepiece])
@pytest.mark.parametrize(
    "contents",
    [
        ("Is the plot good?", "No.", "And the light?"),
        (" spaces around \n", "\n\nlines\n\n", "two  spaces  "),
        ("user", "assistant", "im_start"),
        ("a", "a", "a"),
        ("s", "<", "|"),
        ("{{ messages }}", "{% endfor %}", "\\n"),
        ("👩‍👩‍👧‍👦 é", "e\u0301 ﷺ", "यह"),
        ("yes<|im_end|>", "<|im_start|>user", "<pad>"),
    ],
)
@pytest.mark.filterwarnings("ignore::saliently.SaliencyWarning")
def test_ids_are_the_template_s(template: str, base: Any, contents: tuple[str, ...]) -> None:
    made = tokenizer(template, base())
    model = saliently.wrap(gpt2_module(made), made)
    roles = ("user", "assistant", "user")
    turns = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
    tokens = model.read({"messages": turns, "response": "It is."}, False)
    expected = rendered(made, turns)
    assert list(tokens.ids[: tokens.response]) == expected
    assert made.decode(list(tokens.ids[tokens.response :])).strip() == "It is."
    seen = contents if template is CHATML else tuple(text.strip() for text in contents)
    assert dict(tokens.fields) == dict(zip(("user", "assistant", "user 2", "response"), (*seen, "It is."), strict=True))
    whole = made.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    starts = iter(starts_of(whole, seen))
    for field in list(tokens.fields)[:-1]:
        start = next(starts)
        covered = [i for i, span in enumerate(tokens.spans) if span is not None and span.field == field]
        offsets = made(whole, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        inside = [
            i for i, (a, b) in enumerate(offsets) if a < b and a < start + len(tokens.fields[field]) and b > start
        ]
        assert set(inside) <= set(covered)
        between = set(covered) - set(inside)  # spaces that the tokenizer leaves out of its offsets
        assert all(tokens.text(span).isspace() for i in between if (span := tokens.spans[i]) is not None)
    assert all(span is not None for span in tokens.spans[tokens.response :])


def starts_of(whole: str, contents: tuple[str, ...]) -> list[int]:
    """Where each message begins, by the text of ChatML."""
    at, found = 0, []
    for role, content in zip(("user", "assistant", "user"), contents, strict=True):
        at += len(f"<|im_start|>{role}\n")
        assert whole.startswith(content, at)
        found.append(at)
        at += len(f"{content}<|im_end|>\n")
    return found


def test_the_template_s_own_text_stays_and_messages_are_fields() -> None:
    model = chat()[0]
    found = saliently.explain(model, {"messages": TURNS, "response": "It is wonderful."}, "gradient-x-input")
    tokens = found.tokens
    assert list(tokens.fields) == ["system", "user", "assistant", "user 2", "response"]
    assert [tokens.fields[name] for name in list(tokens.fields)[:-1]] == [turn["content"] for turn in TURNS]
    assert "".join(unit.text for unit in found.units()) == "".join(tokens.fields.values())
    special = "".join(piece for piece, _ in found.special())
    assert special.count("<|im_start|>") == 5
    assert special.count("<|im_end|>") == 4
    assert special.endswith("assistantĊ")
    row = chances(model, tokens.ids)
    places = range(tokens.response or 0, len(tokens.ids))
    assert found.values[0] == pytest.approx(sum(float(row[at - 1, tokens.ids[at]]) for at in places), abs=1e-5)
    emptied = saliently.explain(model, {"messages": TURNS, "response": "It is wonderful."}, "omission")
    assert not any(score for _, score in emptied.special())


def test_messages_of_equal_text_are_told_apart() -> None:
    tokens = read([{"role": "user", "content": "Is it?"}, {"role": "user", "content": "Is it?"}])
    assert dict(tokens.fields) == {"user": "Is it?", "user 2": "Is it?", "response": "It is wonderful."}
    first, second = ([i for i, s in enumerate(tokens.spans) if s and s.field == name] for name in ("user", "user 2"))
    assert [tokens.ids[i] for i in first] == [tokens.ids[i] for i in second]
    assert max(first) < min(second)


@pytest.mark.parametrize("role", ["response", "user 2"])
def test_no_two_fields_have_one_name(role: str) -> None:
    turns = [{"role": name, "content": f"{name} says"} for name in ("user", role, "user")]
    tokens = read(turns)
    assert len(tokens.fields) == 4
    assert [text for name, text in tokens.fields.items() if name != "response"] == [turn["content"] for turn in turns]


def test_a_typed_mark_is_read_as_the_template_s_tokenizer_does_and_warned_of() -> None:
    model, made = chat()
    turns = [{"role": "user", "content": "Stop.<|im_end|> Go on."}]
    with pytest.warns(saliently.SaliencyWarning, match=r"<\|im_end\|> in the text was read by the chat template's"):
        found = saliently.explain(model, {"messages": turns, "response": "No.<|im_end|>"}, "gradient", Target(at=-1))
    assert list(found.tokens.ids[: found.tokens.response]) == rendered(made, turns)
    end = made.convert_tokens_to_ids("<|im_end|>")
    assert found.tokens.ids[-1] == end
    assert found.tokens.ids.count(end) == 3
    assert found.target.index == end
    with pytest.warns(saliently.SaliencyWarning, match=r"<\|im_end\|> in the text was read as text"):
        as_text = saliently.explain(model, {"prompt": "Stop.<|im_end|>", "response": "No."}, "gradient")
    assert end not in as_text.tokens.ids


def test_a_response_to_a_conversation_is_generated() -> None:
    model, made = chat()
    found = saliently.explain(model, {"messages": TURNS[:2]}, "gradient")
    given = torch.tensor([rendered(made, TURNS[:2])])
    theirs = model.module.generate(given, max_new_tokens=32, do_sample=False)  # type: ignore[operator]
    assert list(found.tokens.ids) == theirs[0].tolist()


MERGES = "{{ messages | map(attribute='content') | join(' ') | upper }}"
DROPS = CHATML.replace("{% for message in messages %}", "{% for message in messages[1:] %}")
TWICE = CHATML.replace("{{ message['content'] }}", "{{ message['content'] }} {{ message['content'] }}")
REFUSES = "{{ raise_exception('roles must alternate') }}"
BROKEN = "{{ messages"


@pytest.mark.parametrize(
    ("turns", "template", "says"),
    [
        (TURNS, None, "has no chat template. Give a prompt instead"),
        (TURNS, MERGES, "'You review films.' was looked for in the conversation"),
        (TURNS, DROPS, "'You review films.' was looked for in the conversation"),
        (TURNS, TWICE, "it is not there once and as it stands"),
        (TURNS, REFUSES, "the chat template of this model refuses them (roles must alternate)"),
        (TURNS, BROKEN, "the chat template of this model refuses them ("),
        ("Hello", CHATML, "found str 'Hello'. Give a list of"),
        ([], CHATML, "found list []. Give a list of"),
        (None, CHATML, "found NoneType None. Give a list of"),
        (["Hello"], CHATML, "found list ['Hello']. Give a list of"),
        ([{"role": "user"}], CHATML, "Give a list of"),
        ([{"role": "user", "text": "Hello"}], CHATML, "Give a list of"),
        ([{"role": "user", "content": "Hello", "name": "x"}], CHATML, "Give a list of"),
        ([{"role": "user", "content": ""}], CHATML, "this one (user) is empty"),
        ([{"role": "user", "content": " \n"}], CHATML, "this one (user) is empty, but for spaces"),
        ([{"role": "user", "content": None}], CHATML, "found NoneType None. Give a string"),
        ([{"role": "user", "content": [{"type": "text", "text": "Hello"}]}], CHATML, "found list [{'type': 'text'"),
        ([{"role": 5, "content": "Hello"}], CHATML, "found int 5. Give a string"),
        ([{"role": "user", "content": "half \ud800"}], CHATML, "half a character"),
    ],
)
def test_what_is_no_conversation_is_one_clear_error(turns: Any, template: str | None, says: str) -> None:
    with pytest.raises(saliently.InputError) as caught:
        read(turns, template)
    assert says in str(caught.value)


def test_a_conversation_over_the_limit_loses_words_and_no_marks() -> None:
    model, made = chat()
    turns = [{"role": "user", "content": "bad " * 300}, {"role": "user", "content": "Is it?"}]
    given = {"messages": turns, "response": "It is."}
    with pytest.raises(saliently.InputError, match="the model takes 256"):
        saliently.explain(model, given, "gradient")
    found = saliently.explain(model, given, "gradient", options=saliently.Options(truncate=True))
    whole = model.read({**given, "messages": turns[1:]}, False)
    assert len(found.tokens.ids) == tiny.LONGEST
    assert found.tokens.ids[-len(whole.ids) :] == whole.ids
    mark = made.convert_tokens_to_ids("<|im_start|>")
    assert found.tokens.ids.count(mark) == 3
    assert found.tokens.ids[0] == mark
