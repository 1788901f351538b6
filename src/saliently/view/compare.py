"""Several methods on one text, side by side: words down, methods across, and how far they agree."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from saliently.errors import RecipeError
from saliently.types import Comparison, Explanation
from saliently.view.ink import Ink
from saliently.view.nodes import Document, Facts, Head, Mark, Passage, Sentence, Table, Text, sentence
from saliently.view.parts import MEANING, provenance, target_sentence
from saliently.view.spell import number

AGREEMENT = "Kendall's tau-b of the words' magnitudes"
_READ_AGREEMENT = (
    "1 when two methods order the words alike, 0 when their orders have nothing to do with each other, "
    "\N{MINUS SIGN}1 when one reverses the other; n/a where a method gives every word the same score. "
    "Agreement is no proof that either is right."
)


def comparison_parts(comparison: Comparison) -> Document:
    """Explanations of one text by several methods, side by side.

    Raises:
        RecipeError: no explanation at all, or they are not about the same words.
    """
    explanations = comparison.explanations
    _same_words(explanations)
    first = explanations[0]
    return Document(
        (
            sentence(f"Which words matter for {first.target.describe()}, by each method?", "question"),
            *_alerts(explanations),
            Facts(_facts(explanations)),
            _legend(explanations),
            *(_passage(field, text, len(first.tokens.fields)) for field, text in first.tokens.fields.items()),
            _words(explanations),
            _agreement(comparison),
            sentence(f"{AGREEMENT}: {_READ_AGREEMENT}"),
            sentence(provenance(first), "small"),
        )
    )


def _same_words(explanations: Sequence[Explanation]) -> None:
    if not explanations:
        raise RecipeError("A comparison was asked for, but there is no explanation in it. Give at least one.")
    words = [[unit[:4] for unit in explanation.words()] for explanation in explanations]
    other = next((i for i, found in enumerate(words) if found != words[0]), None)
    if other is not None:
        raise RecipeError(
            f"A comparison needs the same words in each column; {explanations[other].method} has other words "
            f"than {explanations[0].method}. Explain the same text with the same model."
        )


def _alerts(explanations: Sequence[Explanation]) -> tuple[Sentence, ...]:
    """What a reader must know before comparing columns."""
    names = [_letter(i) for i in range(len(explanations))]
    failed = [
        f"Check failed for {name}. {said}"
        for name, explanation in zip(names, explanations, strict=True)
        for said in explanation.checks.failed
    ]
    kinds = list(dict.fromkeys(explanation.quantity for explanation in explanations))
    if len(kinds) > 1:
        failed.append(
            f"The columns hold different kinds of numbers ({', '.join(kinds)}): compare which words "
            "stand out, never the numbers of one kind with those of another."
        )
    targets = list(dict.fromkeys(explanation.target.describe() for explanation in explanations))
    if len(targets) > 1:
        failed.append(f"The columns are about different targets: {'; '.join(targets)}.")
    return tuple(sentence(said, "alert") for said in failed)


def _facts(explanations: Sequence[Explanation]) -> tuple[tuple[str, str], ...]:
    first = explanations[0]
    kinds = dict.fromkeys(MEANING[explanation.quantity] for explanation in explanations)
    return (
        ("target", target_sentence(first.target)),
        ("value", number(first.values[0], signed=False)),
        *((f"method {_letter(i)}", explanation.method) for i, explanation in enumerate(explanations)),
        *(("scores", kind) for kind in kinds),
    )


def _legend(explanations: Sequence[Explanation]) -> Sentence:
    signed = {Ink.of(explanation).signed for explanation in explanations}
    samples: list[Text | Mark] = []
    if True in signed:
        samples += [Mark("raises", 1.0, True), Text(" or "), Mark("lowers", -1.0, True), Text(" the target")]
    if False in signed:
        unsigned = (Mark("stronger", 1.0, False), Text(", where there is no sign"))
        samples += [Text("; "), *unsigned] if samples else list(unsigned)
    scaled = ". Strength is a share of the largest score of a word in the same column; numbers are raw."
    return Sentence((*samples, Text(scaled)), "legend")


def _passage(field: str, text: str, count: int) -> Passage:
    return Passage(field, field if count > 1 else None, (Text(text),) if text else ())


def _words(explanations: Sequence[Explanation]) -> Table:
    inks = [Ink.of(explanation) for explanation in explanations]
    columns = [
        [ink.mark(ink.number(unit.score or 0.0), unit.score or 0.0) for unit in explanation.words()]
        for ink, explanation in zip(inks, explanations, strict=True)
    ]
    names = [unit.text for unit in explanations[0].words()]
    heads = tuple(Head(_named(i, found), found.quantity) for i, found in enumerate(explanations))
    rows = tuple(zip(names, zip(*columns, strict=True), strict=True))
    return Table("Words in order of the text", "word", heads, rows)


def _agreement(comparison: Comparison) -> Table:
    explanations, agreement = comparison.explanations, comparison.agreement
    heads = tuple(Head(_letter(i)) for i in range(len(explanations)))
    rows = tuple(
        (_named(i, explanation), tuple(_agreed(float(agreement[i, j]), i == j) for j in range(len(heads))))
        for i, explanation in enumerate(explanations)
    )
    return Table(f"Agreement ({AGREEMENT})", "", heads, rows)


def _agreed(value: float, same: bool) -> Mark:
    """A method agrees with itself, which is not worth a colour."""
    return Mark(number(value), 0.0 if same or isnan(value) else value, True)


def _named(i: int, explanation: Explanation) -> str:
    """`"A integrated-gradients"`: the recipe in full stands among the facts."""
    return f"{_letter(i)} {explanation.method.partition('(')[0]}"


def _letter(i: int) -> str:
    """A, B, ... Z, A1, B1, ...: a name for a column that never gets cut."""
    return chr(ord("A") + i % 26) + (str(i // 26) if i >= 26 else "")
