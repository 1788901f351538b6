"""python -m bench.generation [--rounds N] [--budget N]: what it costs to explain a response.

A decoder of GPT-2's kind with 6 layers and random weights, a prompt of 200 tokens and a response of 50. Each token of
the response is explained, or all of it as one number. That is held against passes of the plain module over the same
ids, whose weights ask for no gradient, against Inseq, and against itself without reuse of what rows begin with.
Exits 1 if a bar is missed, and where something can't be measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import saliently
from bench import clock
from saliently.models.base import Model

WORDS, PROMPT, RESPONSE = 8_000, 200, 50
SIZE = {"n_layer": 6, "n_embd": 384, "n_head": 6, "n_positions": 512}
NEAR = 1e-4
"""Most that Inseq's scores may be from ours, norm over norm, for both to be called the same."""

Run = Callable[[], object]


class Line(NamedTuple):
    """One row of the table: `above` takes at most, or with `least` at least, `bar` times as long as `below`."""

    name: str
    above: Run
    against: str
    below: Run
    bar: float
    least: bool = False

    def met(self, ratio: float) -> bool:
        """Is that ratio of times within the bar?"""
        return ratio >= self.bar if self.least else ratio <= self.bar


def decoder() -> tuple[GPT2LMHeadModel, PreTrainedTokenizerFast]:
    """A decoder with random weights, always the same; words are w1, w2, ..."""
    known = {"<end>": 0, **{f"w{i}": i for i in range(1, WORDS)}}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = dict.fromkeys(("pad_token", "bos_token", "eos_token", "unk_token"), "<end>")
    config = GPT2Config(vocab_size=WORDS, **SIZE, bos_token_id=0, eos_token_id=0, pad_token_id=0)
    torch.manual_seed(0)
    return GPT2LMHeadModel(config).eval(), PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def given() -> dict[str, str]:
    """A prompt and a response of the lengths above."""
    words = [f"w{1 + i * 7919 % (WORDS - 1)}" for i in range(PROMPT + RESPONSE)]
    return {"prompt": " ".join(words[:PROMPT]), "response": " ".join(words[PROMPT:])}


def bare(module: nn.Module, ids: Tensor, tokens: range, lean: bool) -> None:
    """Forward and backward, once, for the summed log-probability of these tokens of ids (1, T); `lean` leaves out the
    logits of all other places."""
    at = torch.tensor(tokens)
    x = module.get_input_embeddings()(ids).detach().requires_grad_()
    if lean:
        logits = module(inputs_embeds=x, use_cache=False, logits_to_keep=at - 1).logits[0]
    else:
        logits = module(inputs_embeds=x, use_cache=False).logits[0, at - 1]
    torch.autograd.grad(logits.log_softmax(-1)[torch.arange(len(at)), ids[0, at]].sum(), x)


def passes(model: Model, ids: Tensor, lean: bool, together: bool) -> Run:
    """One pass for the whole response, or one for each of its tokens."""
    response = range(PROMPT, PROMPT + RESPONSE)
    asked = [response] if together else [range(at, at + 1) for at in response]

    def run() -> None:
        with model.resting():
            for tokens in asked:
                bare(model.module, ids, tokens, lean)

    return run


def explaining(model: Model, text: dict[str, str], recipe: str, budget: int) -> tuple[Run, Run]:
    """Explain each token of the response, and all of it as one number."""
    options = saliently.Options(budget=budget)
    return (
        lambda: saliently.explain_each(model, text, recipe, options=options),
        lambda: saliently.explain(model, text, recipe, options=options),
    )


def over_passes(model: Model, text: dict[str, str], budget: int) -> list[Line]:
    """What is measured against passes of the plain module."""
    ids = torch.tensor([model.read(text, False).ids])
    assert ids.shape[1] == PROMPT + RESPONSE, ids.shape
    each, whole = explaining(model, text, "gradient-x-input", budget)
    name, many = f"gradient-x-input, each of {RESPONSE} tokens", f"{RESPONSE} passes"
    return [
        Line(name, each, f"{many}, all logits", passes(model, ids, False, False), 0.65),
        Line(name, each, f"{many}, the logits of one place", passes(model, ids, True, False), 0.65),
        Line(
            "gradient-x-input, the whole response",
            again(whole),
            f"1 pass, the logits of {RESPONSE} places",
            again(passes(model, ids, True, True)),
            1.2,
        ),
    ]


def over_inseq(model: Model, tokenizer: PreTrainedTokenizerFast, text: dict[str, str], budget: int) -> Line | str:
    """Inseq's time over ours; or why it can't be measured, or compared."""
    try:
        from bench.inseq_calls import InputXGradient, distance
    except ModuleNotFoundError as error:
        return f"Inseq can't be measured: {error}. pip install -c constraints.txt -e '.[bench]'"
    rival = InputXGradient(model.module, tokenizer)
    ours = torch.from_numpy(saliently.explain_each(model, text, "gradient-x-input").scores)
    far = distance(rival(**text), ours)
    if not far <= NEAR:
        return f"Inseq can't be compared: its scores are {far:.1e} from ours, norm over norm; {NEAR} is the most."
    each, _ = explaining(model, text, "gradient-x-input", budget)
    name, against = f"Inseq's input_x_gradient, {RESPONSE} steps", f"gradient-x-input, each of {RESPONSE} tokens"
    return Line(name, lambda: rival(**text), against, each, 1.5, least=True)


def over_no_reuse(model: Model, text: dict[str, str], budget: int) -> Line | str:
    """Taking each token away, with and without reuse of what comes before it in the row; or why there is no reuse."""
    if model.prefixes is None:
        return "Reuse of prefixes can't be measured: the model has none."
    recipe = "occlusion(blank='zero')"
    _, with_ = explaining(model, text, recipe, budget)
    _, without = explaining(replace(model, prefixes=None), text, recipe, budget)
    return Line(f"{recipe}, {PROMPT + RESPONSE} tokens", with_, "the same, no prefix reused", without, 0.75)


def again(run: Run, times: int = 20) -> Run:
    """The same so many times, where once is too short to be timed."""
    return lambda: [run() for _ in range(times)]


def main() -> None:
    """Measure and print; exit 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.generation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=saliently.Options().budget)
    options = parser.parse_args()
    module, tokenizer = decoder()
    model, text = saliently.wrap(module, tokenizer), given()
    lines: list[Line | str] = [
        *over_passes(model, text, options.budget),
        over_inseq(model, tokenizer, text, options.budget),
        over_no_reuse(model, text, options.budget),
    ]
    table, met, missing = Table("what", "against", "ratio", "bar"), True, []
    for line in lines:
        if isinstance(line, str):
            missing.append(line)
            continue
        seconds = clock.in_turns({line.name: line.above, line.against: line.below}, options.rounds)
        ratio = clock.ratio(seconds[line.name], seconds[line.against])
        table.add_row(line.name, line.against, f"{ratio:.2f}", f"{'>=' if line.least else '<='} {line.bar}")
        met = met and line.met(ratio)
    console = Console(width=120)
    console.print(f"{PROMPT} + {RESPONSE} tokens, {options.rounds} rounds, {torch.get_num_threads()} threads", table)
    console.print(*missing, "All bars are met." if met and not missing else "A bar is missed.", sep="\n")
    sys.exit(not met or bool(missing))


if __name__ == "__main__":
    main()
