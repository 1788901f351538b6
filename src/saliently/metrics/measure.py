"""Metrics of many explanations, each with its control, from one stream of packed rows.

N texts, W words, R rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from saliently.erase import check_blank, vocabulary_size
from saliently.errors import RecipeError, SaliencyError
from saliently.metrics.base import Metric
from saliently.metrics.ranked import Ranked
from saliently.metrics.sheets import Asker, Sheet
from saliently.models.base import Model
from saliently.models.reading import check_length
from saliently.packing import Budget
from saliently.questions import Questions
from saliently.runner import Runner
from saliently.types import Explanation, Pinned, Target

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Key = tuple[str, str, str]
"""Metric, blank, method."""
Named = dict[str, Explanation]
"""Explanations of one text, by method."""

_TEXTS, _TOKENS = 64, 2048  # together at most, for the memory that their rows take
_LOOKED_AT = 8
"""Texts that are asked about first, to see whether the model is the one that was explained."""
_ALIKE = 0.05
"""Explained numbers that differ by no more, or by that share, may be of one model in two number formats."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What metrics gave.

    Attributes:
        values: (N,) by metric, blank and method: a number a text; NaN where there is none.
        control: (N,) the same for words in a random order, the mean of several draws.
        failures: position of a text -> why the model could not be asked about it.
    """

    values: dict[Key, Floats] = field(default_factory=dict)
    control: dict[Key, Floats] = field(default_factory=dict)
    failures: dict[int, SaliencyError] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Asking:
    """How to measure.

    Attributes:
        metrics: what to measure. blanks: what stands where words are taken away, one table each.
        target: the question, where a text has several places; else the one that the explanations answer.
        controls: random orders for each text. seed: of all chance. budget: tokens a batch. tick: told of rows run.
    """

    metrics: Sequence[Metric]
    blanks: Sequence[str] = ("mask",)
    target: Target | None = None
    controls: int = 5
    seed: int = 0
    budget: Budget = field(default_factory=lambda: Budget(2048))
    tick: Callable[[int], None] = lambda rows: None


def measure(model: Model, explained: Mapping[str, Sequence[Explanation | None]], asking: Asking) -> Measured:
    """Each metric, for each blank, of each method's explanations of the same texts.

    `explained`: by method, (N,) explanations of the same texts in the same order; None where one is missing. The texts
    are run by the token ids of their explanations, never read again. A text without words has no numbers. Where a
    model or a decoder that looks back only is asked at a place, words behind it can't matter, and are left alone: to
    take them would cost nothing, so that a random order which takes them would seem worse than it is.

    Raises:
        RecipeError: explanations of one position are about different texts or labels; they are of another model; a
            target is missing, or another than was explained; a blank or a scale that there is not, or that does not
            fit the model or a metric.
    """
    _check(model, asking)
    texts = by_text(explained)
    check_model(model, [_one(named) for named in texts.values()], asking)
    many = max((len(each) for each in explained.values()), default=0)
    found = Measured()
    for key in ((repr(m), blank, name) for m in asking.metrics for blank in asking.blanks for name in explained):
        found.values[key], found.control[key] = np.full(many, np.nan), np.full(many, np.nan)
    for some in together(texts):
        for blank in asking.blanks:
            _fill(found, model, some, asking, blank)
    return found


def together(texts: Mapping[int, Named]) -> Iterator[dict[int, Named]]:
    """Texts that are asked about together; those of one label, which share a question, stand side by side."""
    some: dict[int, Named] = {}
    tokens = 0
    for at, named in sorted(texts.items(), key=lambda each: (_one(each[1]).target.index, each[0])):
        many = len(_one(named).tokens.ids)
        if some and (len(some) == _TEXTS or tokens + many > _TOKENS):
            yield some
            some, tokens = {}, 0
        some[at], tokens = named, tokens + many
    if some:
        yield some


def _check(model: Model, asking: Asking) -> None:
    """Raise RecipeError for what fits no text."""
    for blank in asking.blanks:
        check_blank(blank)
        soft = next((metric for metric in asking.metrics if metric.soft), None)
        if soft is not None and (blank == "delete" or not model.vectors):
            raise RecipeError(
                f"{soft!r} was asked for with blank {blank!r} of {model.name}; it keeps words in part, and "
                + (
                    "a word can't be deleted by half. Choose 'mask' or 'zero'."
                    if model.vectors
                    else "this model has no word vectors. Leave the metric out."
                )
            )
    if asking.target is None and model.find is not None:
        raise RecipeError(f"{model.name} gives outputs at several places; which one was explained? Give the target.")


def check_model(model: Model, explanations: Sequence[Explanation], asking: Asking) -> None:
    """Raise RecipeError where the model gives other numbers at some of these texts than were explained."""
    size = vocabulary_size(model)
    for each in explanations[:_LOOKED_AT]:
        told, known = each.values[0], size is None or max(each.tokens.ids) < size
        try:
            now = _now(model, each, asking) if known else float("nan")
        except SaliencyError:
            continue  # such as a text that is too long, of which its metrics tell
        if not abs(now - told) <= _ALIKE * max(1.0, abs(told)):  # so that NaN is another number too
            found = f"it gives {now:.4g} there" if known else "it has not all of these tokens"
            raise RecipeError(
                f"Explanations of {each.model or 'a model'} were to be measured on {model.name}; one is of "
                f"{each.target.describe()} as {told:.4g}, and {found}. Give the model that was explained."
            )


def _now(model: Model, explanation: Explanation, asking: Asking) -> float:
    """The explained number, asked again."""
    check_length(model.read, explanation.tokens)
    pinned = explanation.target
    question = Target(pinned.index, _against(pinned), pinned.of, None if asking.target is None else asking.target.at)
    runner = Runner(model, [explanation.tokens], question, asking.budget)
    with model.resting():
        return float(runner.values(runner.everything())[0][0])


def by_text(explained: Mapping[str, Sequence[Explanation | None]]) -> dict[int, Named]:
    """Position -> the explanations of that text by method; positions without any, and texts without words, left out.

    Raises:
        RecipeError: methods explained other texts, or other labels, or not as many.
    """
    if len({len(each) for each in explained.values()}) > 1:
        raise RecipeError(
            "Explanations of the same texts were asked for; there are "
            f"{', '.join(f'{len(each)} by {name}' for name, each in explained.items())}. Put None where one is missing."
        )
    texts: dict[int, Named] = {}
    for name, explanations in explained.items():
        for at, each in enumerate(explanations):
            if each is not None and each.tokens.pieces_of:
                texts.setdefault(at, {})[name] = each
    for at, named in texts.items():
        _check_same(at, named)
    return dict(sorted(texts.items()))


def _check_same(at: int, named: Named) -> None:
    first, *others = named.values()
    for other in others:
        same = first.tokens.ids == other.tokens.ids and first.tokens.units == other.tokens.units
        if not same or other.target.index != first.target.index:
            what = f"the label, {first.target.label} and {other.target.label}" if same else "the text"
            raise RecipeError(
                f"Explanations of the same texts and questions were asked for; at position {at} {first.method} and "
                f"{other.method} differ in {what}. Explain them again, with one target."
            )


def _one(named: Named) -> Explanation:
    return next(iter(named.values()))


@dataclass(frozen=True, eq=False)
class _Reading:
    """A metric of some words; of which methods; -1, or the number of a random order."""

    metric: Metric
    words: Ranked
    names: tuple[str, ...]
    draw: int


def _readings(named: Named, asking: Asking, seen: Flags) -> Iterator[_Reading]:
    """Every metric of every method, and its controls; none where no word can matter."""
    ranked = {name: Ranked.of(each, asking.seed, seen) for name, each in named.items()}
    for metric in asking.metrics if seen.any() else ():
        for name, words in ranked.items():
            yield _Reading(metric, words, (name,), -1)
        for draw in range(asking.controls if metric.controlled else 0):
            if metric.ranks:  # one random order for all methods
                words = next(iter(ranked.values())).at_random(draw, asking.seed)
                yield _Reading(metric, words, tuple(ranked), draw)
                continue
            for name, words in ranked.items():
                yield _Reading(metric, words.shuffled(draw, asking.seed), (name,), draw)


def _fill(found: Measured, model: Model, texts: Mapping[int, Named], asking: Asking, blank: str) -> None:
    """Ask for all rows of all metrics together, then let each read its own."""
    sheets: dict[tuple[int, str], Sheet] = {}
    waiting = []
    for at, named in texts.items():
        seen = _seen(model, _one(named), asking)
        for each in _readings(named, asking, seen):
            question = _question(model, each, named, asking.target)
            key = (at, repr(question))
            if key not in sheets:
                sheets[key] = Sheet(each.words.explanation, question)
            keep = each.metric.keeps(each.words)
            every = np.ones((len(keep), len(seen)))
            every[:, seen] = keep
            waiting.append((key, each, keep, sheets[key].add(every)))
    answered = Asker(model, blank, asking.budget, asking.tick).answers(list(sheets.values()))
    answers = dict(zip(sheets, answered, strict=True))
    draws: dict[tuple[Key, int], list[float]] = {}
    for key, each, keep, places in waiting:
        answer, (at, _) = answers[key], key
        if isinstance(answer, SaliencyError):
            found.failures[at] = answer
            continue
        score = each.metric.score(each.words, keep, answer.values[places], answer.ends)
        for name in each.names:
            where = (repr(each.metric), blank, name)
            if each.draw < 0:
                found.values[where][at] = score
            else:
                draws.setdefault((where, at), []).append(score)
    for (where, at), scores in draws.items():
        found.control[where][at] = float(np.mean(scores))


def _seen(model: Model, explanation: Explanation, asking: Asking) -> Flags:
    """(W,) of each word: can it matter at the place that is asked about?"""
    tokens, pieces = explanation.tokens, explanation.tokens.pieces_of
    if model.find is None or asking.target is None:
        return np.ones(len(pieces), bool)
    # The second text of an encoder-decoder is the decoder's.
    back = set(tokens.streams[1] if tokens.streams else range(len(tokens.ids)) if model.causal else ())
    _, questions = Questions.find(model, [tokens], asking.target, False)
    last = max(term.token for term in questions.spots[0].terms)
    firsts = [pieces[unit][0] for unit in sorted(pieces)]
    return np.array([first <= last or first not in back for first in firsts], bool)


def _question(model: Model, reading: _Reading, named: Named, target: Target | None) -> Target:
    """What a metric asks about a text: the number that was explained, or one for all methods that explained it."""
    metric, pinned = reading.metric, reading.words.explanation.target
    classes = model.scale == "logit" and model.link != "none"
    of = pinned.of if metric.amounts else metric.scale or ("probability" if classes else model.scale)
    if target is not None and model.find is not None:
        return Target(target.label, target.against, of, target.at)
    against = _against(pinned)
    if not metric.amounts and any(_against(each.target) != against for each in named.values()):
        against = None  # some methods set the label against the next best themselves
    return Target(pinned.index, against, of)


def _against(pinned: Pinned) -> str | int | None:
    return pinned.against if pinned.against_index is None else pinned.against_index
