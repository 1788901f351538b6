"""What there is to see of an explanation, as a tree of nodes: the question first, then the answer."""

from __future__ import annotations

from collections.abc import Sequence

from saliently.types import Explanation, Pinned, Unit
from saliently.view.ink import UNSIGNED, Ink
from saliently.view.interactions import interaction_parts
from saliently.view.nodes import Bars, Document, Facts, Items, Mark, Passage, Sentence, Strip, Text, sentence
from saliently.view.spell import number, percent, which

MEANING = {
    "saliency": "saliency: what a word added to the target, with a sign",
    "sensitivity": "sensitivity: how fast the target changes with a word; no sign, no share of a total",
    "attention": "attention: a weight inside the model, not importance",
    "selection": "selection: which words were kept",
    "interaction": "interaction: what words add together, with a sign",
}

PLURAL = {"logit": "logits", "nat": "nats"}

STRONGEST = 10  # words in the ranking


def explanation_parts(explanation: Explanation) -> Document:
    """Everything a reader should see: the question, and what speaks against the answer, come first."""
    ink = Ink.of(explanation)
    return Document(
        (
            sentence(explanation.question, "question"),
            *(sentence(f"Check failed. {said}", "alert") for said in explanation.checks.failed),
            Facts(_facts(explanation)),
            _legend(explanation, ink),
            *_reading(explanation),
            *_passages(explanation, ink),
            *_specials(explanation, ink),
            *(interaction_parts(explanation) if explanation.quantity == "interaction" else ()),
            *_ranking(explanation, ink),
            sentence("Checks", "heading"),
            Items(_checks(explanation)),
            sentence(provenance(explanation), "small"),
        )
    )


def target_sentence(pinned: Pinned) -> str:
    """`"the logit of POSITIVE, which the model predicts"`; a number that is no label is not predicted."""
    if pinned.of == "output":
        return pinned.describe()
    return f"{pinned.describe()}, {'which' if pinned.predicted else 'not what'} the model predicts"


def provenance(explanation: Explanation) -> str:
    """`"my-model · saliently 0.1.0, torch 2.13.0"`."""
    versions = ", ".join(f"{name} {version}" for name, version in explanation.versions.items())
    return " · ".join(part for part in (explanation.model or "unnamed model", versions) if part)


def titles(explanation: Explanation) -> tuple[str, ...]:
    """(U,) for each unit its number and the tokens that it is made of; empty for a gap."""
    ink = Ink.of(explanation)
    pieces: dict[int, list[str]] = {}
    for piece, unit, score in zip(
        explanation.tokens.pieces, explanation.tokens.units, explanation.by_token, strict=True
    ):
        if unit is not None:
            pieces.setdefault(unit, []).append(f"{piece} {ink.number(float(score))}")
    return tuple(
        _title(unit.score, pieces[i], explanation.grouping, ink) if unit.score is not None else ""
        for i, unit in enumerate(explanation.units())
    )


def _title(score: float, pieces: Sequence[str], grouping: str, ink: Ink) -> str:
    said = f"{ink.number(score)}, {percent(abs(ink.share(score)))} of the largest. "
    if len(pieces) == 1:
        return f"{said}Token: {pieces[0].rpartition(' ')[0]}"
    return f"{said}{grouping.capitalize()} of {len(pieces)} tokens: {', '.join(pieces)}"


def _facts(explanation: Explanation) -> tuple[tuple[str, str], ...]:
    rows: list[tuple[str, str]] = []
    nothing: Sequence[float | None] = explanation.nothing or [None] * len(explanation.values)
    for pinned, value, without in zip(explanation.outputs, explanation.values, nothing, strict=True):
        rows += [("target", target_sentence(pinned)), ("value", number(value, signed=False))]
        if without is not None:
            words = f"with every word blanked ({explanation.blank})" if explanation.blank else "with every word blanked"
            rows[-1] = ("value", f"{rows[-1][1]}; {words} {number(without, signed=False)}")
    unit = explanation.target.unit
    scale = f", in {PLURAL.get(unit, unit)}" if explanation.quantity in ("saliency", "interaction") else ""
    return (*rows, ("method", explanation.method), ("scores", f"{MEANING[explanation.quantity]}{scale}"))


def _legend(explanation: Explanation, ink: Ink) -> Sentence:
    if not ink.largest:
        return sentence("No word has a score other than zero.", "legend")
    top = explanation.top(1)[0]
    scaled = f"Strength is a word's share of the largest score, {ink.number(top.score or 0.0)}; numbers are raw."
    if not ink.signed:
        return Sentence((Mark(UNSIGNED[explanation.quantity], 1.0, False), Text(f". {scaled}")), "legend")
    what = explanation.target.describe()
    samples = (Mark("raises", 1.0, True), Text(" or "), Mark("lowers", -1.0, True))
    counted = " A word's score is what it adds by itself and half of what each pair with it adds."
    inside = counted if explanation.quantity == "interaction" else ""
    return Sentence((*samples, Text(f" {what}.{inside} {scaled}")), "legend")


def _reading(explanation: Explanation) -> tuple[Sentence, ...]:
    """What a reader should know about the text before reading it."""
    return tuple(sentence(said) for said in explanation.tokens.notes)


def _passages(explanation: Explanation, ink: Ink) -> tuple[Passage, ...]:
    inlines: dict[str, list[Text | Mark]] = {field: [] for field in explanation.tokens.fields}
    for unit, title in zip(explanation.units(), titles(explanation), strict=True):
        shown = Text(unit.text) if unit.score is None else ink.mark(unit.text, unit.score, title)
        inlines[unit.field].append(shown)
    return tuple(Passage(field, field if len(inlines) > 1 else None, tuple(shown)) for field, shown in inlines.items())


def _specials(explanation: Explanation, ink: Ink) -> tuple[Strip, ...]:
    items = tuple((ink.mark(piece, score), ink.number(score)) for piece, score in explanation.special())
    return (Strip("special tokens", items),) if items else ()


def _ranking(explanation: Explanation, ink: Ink) -> tuple[Bars, ...]:
    words = explanation.words()
    names = [(word.field, word.text) for word in words]
    several = len(explanation.tokens.fields) > 1
    rows: list[tuple[Mark, str, str]] = []
    for i in _order(words)[:STRONGEST]:
        score = words[i].score or 0.0
        rows.append((ink.mark(words[i].text, score), ink.number(score), which(names, i, several)))
    caption = f"Strongest {len(rows)} of {len(words)} words" if len(rows) < len(words) else "Words by strength"
    return (Bars(caption, tuple(rows)),) if rows else ()


def _order(words: Sequence[Unit]) -> list[int]:
    """Positions of words, strongest first; ties in order of the text."""
    return sorted(range(len(words)), key=lambda i: -abs(words[i].score or 0.0))


def _checks(explanation: Explanation) -> tuple[str, ...]:
    checks = explanation.checks
    rows = ((checks.forward_rows, "forward only"), (checks.gradient_rows, "forward and backward"))
    spent = ", ".join(f"{count} input{'s' if count > 1 else ''} {how}" for count, how in rows if count)
    above = explanation.tokens.notes
    said = tuple(each for each in checks.sentences() if each not in above) or ("This method has no check of its own.",)
    return (*said, f"Cost: {spent}.") if spent else said
