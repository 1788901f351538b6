"""What an explanation will cost: counts that come true, memory that is near, and one short row that runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification
from typer.testing import CliRunner

import saliently
from saliently.cli import app
from saliently.listed import METHODS
from saliently.models.base import Model
from saliently.names import parse
from saliently.types import Target
from tests import tiny

TEXTS = [" ".join(["good bad", "A gorgeous, witty, seductive movie."][k % 2] for _ in range(1 + k)) for k in range(9)]
EXACT = [
    *("gradient", "gradient-x-input", "lrp", "attn-lrp", "ig(steps=5)", "ig(steps=5, blank='zero')", "occlusion"),
    *("occlusion(blank='zero', window=3)", "occlusion(window=400)", "omission", "attention"),
]


def counted(model: Model, texts: Any, recipe: str, target: Target, options: saliently.Options) -> tuple[int, int, bool]:
    """Rows and batches that an explanation really runs, and whether it takes gradients."""
    ticks: list[int] = []
    run = saliently.Options(options.truncate, options.budget, ticks.append, options.windows)
    found = saliently.explain(model, texts, recipe, target, options=run)
    return sum(ticks), len(ticks), all(each.checks.gradient_rows > 0 for each in found)


class Forwards:
    """Numbers of tokens of every forward pass of a module."""

    def __init__(self, model: Model) -> None:
        self.seen: list[int] = []
        self.handle = model.module.register_forward_hook(self.note, with_kwargs=True)

    def note(self, module: Any, args: Any, kwargs: Any, output: Any) -> None:
        given = args[0] if args else kwargs["input_ids"]
        self.seen.append(given.numel())


@pytest.mark.parametrize("recipe", EXACT)
@pytest.mark.parametrize("budget", [40, 2048])
def test_rows_and_batches_are_those_that_run(recipe: str, budget: int) -> None:
    model, options = tiny.bert(), saliently.Options(budget=budget)
    found = saliently.plan(model, TEXTS, recipe, options=options)
    assert (found.rows, found.batches, found.backward) == counted(model, TEXTS, recipe, Target(), options)
    lengths = [len(model.read({"text": text}, False).ids) for text in TEXTS]
    assert (found.texts, found.tokens, found.longest) == (len(TEXTS), sum(lengths), max(lengths))
    kept = [*model.module.parameters(), *model.module.buffers()]
    assert found.weights == sum(each.numel() * each.element_size() for each in kept)


@pytest.mark.parametrize("kind", ["gpt2", "t5", "bilstm", "linear_bag"])
@pytest.mark.parametrize("recipe", ["gradient", "ig(steps=3, blank='zero')", "occlusion(blank='zero')", "omission"])
def test_rows_are_those_that_run_in_other_models(kind: str, recipe: str) -> None:
    model, options = tiny.models()[kind](), saliently.Options(budget=64)
    found = saliently.plan(model, TEXTS[:5], recipe, options=options)
    assert (found.rows, found.batches, found.backward) == counted(model, TEXTS[:5], recipe, Target(), options)
    assert found.peak is not None
    assert found.peak > 0


def test_several_chunks_of_texts() -> None:
    texts, options = [TEXTS[k % 4] for k in range(300)], saliently.Options(budget=64)
    found = saliently.plan(tiny.bert(), texts, "gradient", options=options)
    assert (found.rows, found.batches, found.backward) == counted(tiny.bert(), texts, "gradient", Target(), options)


def test_windows_over_a_long_text() -> None:
    texts, options = ["good film " * 300, TEXTS[0]], saliently.Options(windows=True)
    found = saliently.plan(tiny.bert(), texts, "gradient-x-input", options=options)
    assert found.rows == counted(tiny.bert(), texts, "gradient-x-input", Target(), options)[0]
    assert not found.failures
    assert found.longest > tiny.LONGEST


# Without a language model of its own this one is for masked language models alone.
PLANNED = [row for row in METHODS if row.name != "input-marginalization"]


@pytest.mark.parametrize("row", PLANNED, ids=lambda row: row.name)
def test_every_method_has_a_plan_and_one_short_row_is_all_that_runs(row: Any) -> None:
    module = tiny.bert_module()
    model = saliently.wrap(module, tiny.wordpiece())
    text = "good bad " * 60
    forwards = Forwards(model)
    found = saliently.plan(model, [text, text], row.name)
    assert len(forwards.seen) <= 1
    assert max(forwards.seen) < 50, "no text of the user's runs"
    assert found.texts == 2
    assert found.rows >= 2
    assert parse(found.method).name == row.name
    assert module.get_input_embeddings().weight.requires_grad, "the module comes out as it went in"


def test_a_response_is_not_generated() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = tiny.byte_level()
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0, pad_token_id=0
    )
    model = saliently.wrap(tiny.seeded(lambda: GPT2LMHeadModel(config), torch.float32), tokenizer)
    forwards = Forwards(model)
    found = saliently.plan(model, [{"prompt": "A good"}, {"prompt": "A", "response": " bad film"}], "gradient")
    assert len(forwards.seen) <= 1
    assert (found.texts, found.generated, found.rows) == (2, 1, 2)
    prompt = model.read({"prompt": "A good", "response": " bad"}, False).response
    assert found.longest == (prompt or 0) + 32


def test_texts_that_can_t_be_read_are_told_and_left_out() -> None:
    texts: list[Any] = [TEXTS[0], "", "good film " * 300, 7, TEXTS[1]]
    found = saliently.plan(tiny.bert(), texts, "gradient")
    assert (found.texts, found.rows, sorted(found.failures)) == (2, 2, [1, 2, 3])
    with pytest.raises(saliently.SomeFailed) as caught:
        saliently.explain(tiny.bert(), texts, "gradient")
    assert {at: str(error) for at, error in found.failures.items()} == {
        at: str(error) for at, error in caught.value.failures.items()
    }
    nothing = saliently.plan(tiny.bert(), "", "gradient")
    assert (nothing.texts, nothing.rows, nothing.peak) == (0, 0, None)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"method": "gradeint"}, saliently.RecipeError, "Did you mean 'gradient'?"),
        ({"target": "good"}, saliently.RecipeError, "Label 'good' was asked for"),
        ({"target": "sad", "against": "sad"}, saliently.RecipeError, "against itself"),
        ({"model": "no/such/model"}, saliently.ModelError, "no such folder"),
    ],
)
def test_what_is_wrong_for_every_text_is_one_clear_error(given: dict[str, Any], error: Any, says: str) -> None:
    with pytest.raises(error, match=says.replace("?", r"\?")):
        saliently.plan(**{"model": tiny.bert(), "texts": TEXTS, **given})


def test_a_function_of_texts_runs_nothing() -> None:
    asked: list[str] = []

    def judge(texts: list[str]) -> Any:
        asked.extend(texts)
        return torch.zeros(len(texts), 2).numpy()

    model = saliently.wrap_function(judge, ["no", "yes"])
    before = len(asked)
    found = saliently.plan(model, TEXTS[:2], "occlusion")
    assert len(asked) == before
    assert (found.peak, found.weights) == (None, 0)
    with pytest.raises(saliently.ModelError, match="needs the word vectors"):
        saliently.plan(model, TEXTS[:2], "gradient")


def middling() -> Model:
    """Six layers of 256, for texts of 512 tokens."""
    config = BertConfig(
        vocab_size=len(tiny.wordpiece()),
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=8,
        intermediate_size=1024,
    )
    return saliently.wrap(BertForSequenceClassification(config), tiny.wordpiece())


def growth(recipe: str) -> tuple[int, int]:
    """Bytes planned for a pass, and those by which this process grew at most while it ran."""

    def held(key: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))

    torch.set_num_threads(1)
    model, text = middling(), "good " * 510
    found = saliently.plan(model, [text, text], recipe)
    saliently.explain(model, "good", recipe)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = held("VmRSS")
    saliently.explain(model, [text, text], recipe)
    assert found.peak is not None
    return found.peak, held("VmHWM") - before


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the kernel's count of peak memory")
@pytest.mark.parametrize("recipe", ["gradient", "lrp", "occlusion(window=500)"])
def test_memory_is_near_what_it_takes(recipe: str) -> None:
    code = f"from tests.test_plans import growth; print(*growth({recipe!r}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    planned, grew = map(int, done.stdout.split())
    assert 1 / 3 <= planned / grew <= 3, (planned, grew)


def test_the_command_prints_it_and_stops(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def spent(*given: Any, **named: Any) -> None:
        raise AssertionError("something was explained")

    monkeypatch.setattr("saliently.api.stream", spent)
    given = ["explain", *TEXTS[:3], "", "--model", model, "--method", "occlusion", "--plan"]
    found = CliRunner().invoke(app, given)
    assert found.exit_code == 0, found.output
    plan = saliently.plan(model, [*TEXTS[:3], ""], "occlusion")
    for said in (
        f"about {plan.rows}",
        f"about {plan.batches}, forward",
        "can't be read: 4",
        f"3, {plan.tokens} tokens",
    ):
        assert said in found.stdout
    record = json.loads(CliRunner().invoke(app, [*given, "--json"]).stdout)
    assert (record["rows"], record["batches"], list(record["failures"])) == (plan.rows, plan.batches, ["3"])
    assert record["peak"] == pytest.approx(plan.peak, rel=0.1)
    wrong = CliRunner().invoke(app, ["explain", "x", "--model", model, "--method", "gradeint", "--plan"])
    assert isinstance(wrong.exception, saliently.RecipeError)
