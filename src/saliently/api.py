"""load, explain, compare: the one loop from texts to explanations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import overload

import torch

from saliently import targets
from saliently.chunks import Options, Text, chunks
from saliently.errors import ModelError, NumberError, SaliencyError, SomeFailed
from saliently.matrices import Matrix
from saliently.methods.base import Method, Scores
from saliently.methods.heads import check_one_text
from saliently.metrics.agreement import agreement
from saliently.models.base import Model
from saliently.models.loading import load, wrap
from saliently.names import parse
from saliently.packing import Budget
from saliently.reports import versions
from saliently.runner import Runner
from saliently.types import Comparison, Explanation, Target, Tokens, join_notes
from saliently.windows import Windowed, explained

__all__ = ["Options", "compare", "explain", "explain_each", "load", "stream", "stream_each", "wrap"]


@overload
def explain(
    model: Model | str | Path,
    text: Text,
    method: str | Method = ...,
    target: str | int | Target | None = ...,
    *,
    against: str | int | None = ...,
    options: Options = ...,
) -> Explanation: ...
@overload
def explain(
    model: Model | str | Path,
    text: list[Text] | list[str] | tuple[Text, ...],
    method: str | Method = ...,
    target: str | int | Target | None = ...,
    *,
    against: str | int | None = ...,
    options: Options = ...,
) -> list[Explanation]: ...
def explain(
    model: Model | str | Path,
    text: Text | list[Text] | list[str] | tuple[Text, ...],
    method: str | Method = "integrated-gradients",
    target: str | int | Target | None = None,
    *,
    against: str | int | None = None,
    options: Options = Options(),
) -> Explanation | list[Explanation]:
    """Which parts of the text did this prediction depend on?

    Args:
        model: what `load` or `wrap` gave, or a name for `load`.
        text: one text, which gives one Explanation, or several, which give a list in the same order.
        method: a recipe such as "occlusion(blank='zero')"; `saliently methods` lists them.
        target: the label to explain, None for the class that the model predicts, or a Target for another scale.
        against: another label, "rest" or "mean" for the others, "next" for the best of them: explain the difference.
        options: truncation, memory, progress.

    Returns:
        Scores are in units of the target: logits unless the Target says otherwise, nats for language models.

    Raises:
        InputError, RecipeError, ModelError, NumberError: with one text.
        SomeFailed: some of several texts failed; holds what was finished.
    """
    # What is no list at all is taken for one text, and refused as such.
    single = isinstance(text, (str, bytes, Mapping)) or not isinstance(text, Iterable)
    texts: Sequence[Text] = [text] if single else text  # type: ignore[list-item, assignment]
    found = dict(stream(model, texts, method, target, against=against, options=options))
    failures = {i: result for i, result in sorted(found.items()) if isinstance(result, SaliencyError)}
    finished = {i: result for i, result in sorted(found.items()) if isinstance(result, Explanation)}
    if failures:
        raise failures[0] if single else SomeFailed(finished, failures)
    return finished[0] if single else list(finished.values())


def stream(
    model: Model | str | Path,
    texts: Iterable[Text],
    method: str | Method = "integrated-gradients",
    target: str | int | Target | None = None,
    *,
    against: str | int | None = None,
    options: Options = Options(),
) -> Iterator[tuple[int, Explanation | SaliencyError]]:
    """Like `explain`, but gives (position, result) in order as they are finished; a text that fails gives its error.

    Texts are taken from the iterable a chunk at a time, so that it may be long or endless.

    Raises:
        RecipeError, ModelError: what is wrong for every text is raised at once.
    """
    asked = load(model) if isinstance(model, (str, Path)) else model
    for at, found in _stream(_job(asked, method, wanted_of(asked, target, against), options), texts, options):
        yield at, found if isinstance(found, SaliencyError) else found[0]


def explain_each(
    model: Model | str | Path,
    text: Text,
    method: str | Method = "integrated-gradients",
    target: str | int | Target | None = None,
    *,
    against: str | int | None = None,
    options: Options = Options(),
) -> Matrix:
    """One explanation for each output of a text: each token of a response, the tag of each word, each mask.

    All come from the passes that one would need: gradients of all outputs from one forward pass, removals from the
    same rows. `target` and the rest are as for `explain`.

    Raises:
        ModelError: the model gives one output for a whole text.
        InputError, RecipeError, NumberError: as `explain`.
    """
    (_, found), *_ = stream_each(model, [text], method, target, against=against, options=options)
    if isinstance(found, SaliencyError):
        raise found
    return found


def stream_each(
    model: Model | str | Path,
    texts: Iterable[Text],
    method: str | Method = "integrated-gradients",
    target: str | int | Target | None = None,
    *,
    against: str | int | None = None,
    options: Options = Options(),
) -> Iterator[tuple[int, Matrix | SaliencyError]]:
    """Like `explain_each`, of many texts: (position, result) in order; a text that fails gives its error.

    Raises:
        RecipeError, ModelError: what is wrong for every text is raised at once.
    """
    asked = load(model) if isinstance(model, (str, Path)) else model
    if asked.find is None:
        raise ModelError(
            f"An explanation of each output was asked for; {asked.name} gives one output for a whole text. Use explain."
        )
    job = _job(asked, method, wanted_of(asked, target, against), options)
    for at, found in _stream(replace(job, each=True), texts, options):
        yield at, found if isinstance(found, SaliencyError) else _matrix(found)


def _matrix(found: _Found) -> Matrix | SaliencyError:
    """All outputs of a text, or the first error among them."""
    error = next((each for each in found if isinstance(each, SaliencyError)), None)
    return error or Matrix(tuple(each for each in found if isinstance(each, Explanation)))


def wanted_of(model: Model, target: str | int | Target | None, against: str | int | None) -> Target:
    """The user's target, if the model can have it."""
    wanted = target if isinstance(target, Target) else Target(target)
    wanted = wanted if against is None else replace(wanted, against=against)
    targets.check(wanted, model.labels, model.link)
    return wanted


_Found = list["Explanation | SaliencyError"]
"""Of one text: what each of its questions gave."""


def _stream(job: _Job, texts: Iterable[Text], options: Options) -> Iterator[tuple[int, _Found | SaliencyError]]:
    """(position, what its questions gave), in order; a text that fails whole gives its error."""
    for chunk in chunks(job.model, texts, job.method.rows, options):
        good = {at: tokens for at, tokens in chunk.items() if isinstance(tokens, Tokens)}
        results = dict(zip(good, _explain(job, list(good.values())), strict=True)) if good else {}
        for at, tokens in chunk.items():
            if isinstance(tokens, Windowed):
                yield at, _in_windows(job, tokens)
            else:
                yield at, tokens if isinstance(tokens, SaliencyError) else results[at]


def served(model: Model, method: Method) -> Method:
    """The method, if such a model can serve it."""
    if method.vectors and not model.vectors:
        raise ModelError(
            f"{method!r} was asked of {model.name}, a function of texts; it needs the word vectors of a model. Use "
            "occlusion, which only takes words away."
        )
    if method.quantity == "attention":
        check_one_text(model)
    return method


def compare(
    model: Model | str | Path,
    text: Text,
    methods: Sequence[str | Method] = ("gradient", "gradient-x-input", "integrated-gradients", "occlusion"),
    target: str | int | Target | None = None,
    *,
    against: str | int | None = None,
    options: Options = Options(),
) -> Comparison:
    """Several methods on one text and one target, with how far they rank its words alike.

    Raises:
        As `explain`.
    """
    asked = load(model) if isinstance(model, (str, Path)) else model
    chosen = [parse(method) for method in methods]
    found = tuple(explain(asked, text, method, target, against=against, options=options) for method in chosen)
    return Comparison(found, agreement(found))


@dataclass(frozen=True, eq=False)
class _Job:
    """What is asked of every text."""

    model: Model
    method: Method
    target: Target
    budget: Budget
    tick: Callable[[int], None]
    report: Callable[[float], None]
    each: bool = False


def _job(model: Model, method: str | Method, target: Target, options: Options) -> _Job:
    """What is asked, with every default that depends on the model written out."""
    chosen = served(model, parse(method)).resolved(model)
    budget = Budget(options.budget, options.checkpoint, options.seconds)
    return _Job(model, chosen, chosen.asks(model, target), budget, options.tick, options.error)


def _explain(job: _Job, inputs: list[Tokens]) -> list[_Found | SaliencyError]:
    """One chunk: all inputs together, each with its own results or error.

    An error in the middle may be due to one of them (too long for the memory, say), so both halves are tried again.
    """
    method = job.method
    try:
        runner = Runner(job.model, inputs, job.target, job.budget, job.tick, job.each, job.report)
        with job.model.resting():
            answers = method(runner)
    except SaliencyError as error:
        half = len(inputs) // 2
        return [*_explain(job, inputs[:half]), *_explain(job, inputs[half:])] if half else [error]
    found: dict[int, _Found] = {}
    for i, answer in enumerate(answers):
        found.setdefault(id(runner.inputs[i]), []).append(_finish(runner, i, method, answer))
    return [found[id(tokens)] for tokens in inputs]


def _in_windows(job: _Job, text: Windowed) -> _Found | SaliencyError:
    """A text over the model's limit; such a model gives one output for a text, so that there is one question."""

    def each(target: Target, windows: list[Tokens]) -> list[Explanation | SaliencyError]:
        answers = _explain(replace(job, target=target), windows)
        return [answer if isinstance(answer, SaliencyError) else answer[0] for answer in answers]

    plain = Runner(job.model, text.windows, Target(), job.budget, job.tick)
    found = explained(text, plain, job.method, job.target, each)
    return found if isinstance(found, SaliencyError) else [found]


def _finish(runner: Runner, i: int, method: Method, answer: Scores) -> Explanation | SaliencyError:
    pinned, tokens, checks = runner.questions.pinned(i), runner.inputs[i], answer.checks
    assert pinned is not None, "a method must look at the unchanged input"
    try:
        targets.check_pinned(pinned)
        _check_numbers(runner, i, method, answer)
    except SaliencyError as error:
        return error
    sums = method.quantity == "saliency" or (method.quantity == "interaction" and answer.nothing is not None)
    total = float(answer.values.sum()) if sums else None
    change = None if answer.nothing is None else runner.questions.plain[i] - answer.nothing
    checks = replace(
        checks,
        total=total,
        change=change,
        residual=total - change if total is not None and change is not None and checks.gap is None else None,
        forward_rows=runner.forward_rows[i],
        gradient_rows=runner.gradient_rows[i],
        ids=tokens.ids,
        notes=join_notes(tokens.notes, checks.notes),
    )
    return Explanation(
        tokens=tokens,
        method=repr(method),
        quantity=method.quantity,
        outputs=(pinned,),
        scores=answer.values.numpy(),
        values=(runner.questions.plain[i],),
        nothing=None if answer.nothing is None else (answer.nothing,),
        grouping=method.grouping,
        blank=", ".join(method.blanks) if method.blanks else None,
        checks=checks,
        model=runner.model.name,
        versions=versions(),
    )


def _check_numbers(runner: Runner, i: int, method: Method, answer: Scores) -> None:
    """Raise NumberError where the model or the method left the finite numbers."""
    pinned, value = runner.questions.pinned(i), runner.questions.plain[i]
    assert pinned is not None
    if not isfinite(value):
        raise NumberError(
            f"{pinned.describe().capitalize()} was asked of {runner.model.name}; the model gives {value} here. "
            "Look for NaN or infinite weights, or compute in a wider dtype."
        )
    if not (bool(torch.isfinite(answer.values).all()) and isfinite(answer.nothing or 0.0)):
        raise NumberError(
            f"{method!r} was asked for; some of its scores are NaN or infinite, though the model's answer {value:.4g} "
            "is not. Compute in a wider dtype, or choose another blank: one that deletes every token, or the "
            "place that is asked about, leaves nothing to ask."
        )
