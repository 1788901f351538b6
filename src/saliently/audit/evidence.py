"""Marked evidence: how much of what an explanation counts in favour of a prediction lies on the words that decide it?

Meant for texts where the label can rest on the marked words alone, as where a sentence is joined with another of an
unrelated source (Pruthi et al. 2020, "Learning to Deceive with Attention-Based Explanations", who look at how much
attention falls on such words; the same is measured here of every method).

N texts, W words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from saliently import erase
from saliently.audit.asked import RANDOM, WHOM, Asked, Floats, applicable, explained
from saliently.audit.evidence_parts import Flags, Parts, both, parts
from saliently.audit.phrases import share
from saliently.chunks import checked_tokens
from saliently.data import Row, labels_of, marked
from saliently.errors import RecipeError
from saliently.metrics.intervals import as_good_as_best, mean_figure, mean_of, paired_figure, share_figure
from saliently.metrics.ranked import Ranked, generator
from saliently.names import parse
from saliently.reports import Column, Figure, Report, Table, timed
from saliently.train import predicted
from saliently.types import Explanation, Tokens

BAR = 0.75
"""Share of positive mass on the evidence from which a method is said to find it."""
HALVES = "each part taken away whole"

_DRAWS = 20
"""Random scores of a text's words."""

LIMITS = (
    "Marked words are what people or an experiment put there as the evidence. What a method puts elsewhere may be its "
    "error, or the model's: a model may read words that decide nothing. The row of parts taken away whole tells which.",
    "Texts that the model gets wrong are left out, since there the evidence did not decide.",
    "A share of positive mass says nothing of the order of words within the evidence, nor of negative scores.",
    "Special tokens are no words: what a method puts there is in a column of its own, and in no other.",
)


@dataclass(frozen=True, eq=False)
class Found:
    """What a method made of N texts, a number a text; NaN where it could not be asked or has no positive score.

    Attributes:
        share: of the positive mass of all words, what lies on the evidence; without a sign all scores are positive.
        first: 1 if the strongest word is evidence, else 0.
        net: sum of all scores on the other words, over the same mass: near 0 where they cancel.
        special: what special tokens have of the positive mass of all tokens.
    """

    share: Floats
    first: Floats
    net: Floats
    special: Floats


@timed
def evidence(asked: Asked, rows: Sequence[Row]) -> Report:
    """Each method's share of positive mass on the marked words, where the model is right.

    Intervals are over texts. The control draws scores at random; its mean is the share of words that are evidence.

    Raises:
        RecipeError: rows without labels; none with evidence beside other words that the model gets right.
        ModelError: no method can be asked. InputError: a text can't be read.
    """
    asked = replace(asked, target=replace(asked.target, label=None))
    good, right = usable(asked, rows)
    asked, skipped = applicable(asked, good[0])
    tokens = [checked_tokens(asked.model, row.fields) for row in good]
    flags = [marked(each, row.evidence) for each, row in zip(tokens, good, strict=True)]
    found = {method: score(asked, explained(asked, method, good), good) for method in asked.methods}
    found[RANDOM] = at_random(asked, tokens, flags)
    chance = np.array([float(on.mean()) if both(on) else np.nan for on in flags])
    read = parts(asked, tokens, flags)
    notes = tuple(f"{method} was left out: {why}" for method, why in skipped.items())
    return Report(
        title="Marked evidence",
        question="How much of what a method counts for the prediction lies on the words that decide it?",
        whom=WHOM,
        verdict=_said(asked, found, read, chance),
        settings={
            "model": asked.model.name,
            "texts": len(rows),
            "accuracy": right,
            "used": len(good),
            "target": asked.target.of or asked.model.scale,
            "blank of parts": erase.default_blank(asked.model),
            "bar": BAR,
            "methods": list(asked.methods),
        },
        seed=asked.seed,
        tables=(_methods_table(asked, found, read, chance, notes), _parts_table(asked, read)),
        limits=LIMITS,
    )


def usable(asked: Asked, rows: Sequence[Row]) -> tuple[list[Row], float]:
    """Rows with evidence, and words beside it, that the model gets right; and its accuracy on all rows.

    Raises:
        RecipeError: there are none, or rows lack labels.
    """
    labels = labels_of(rows, "Marked evidence")
    right = np.array(predicted(asked.model, rows) if rows else []) == np.array(labels)
    good = [row for row, is_right in zip(rows, right, strict=True) if is_right and row.evidence]
    good = [row for row in good if both(marked(checked_tokens(asked.model, row.fields), row.evidence))]
    if not good:
        raise RecipeError(
            f"Texts with marked evidence that {asked.model.name} gets right were asked for; of {len(rows)} texts it "
            f"gets {int(right.sum())} right, and {sum(bool(row.evidence) for row in rows)} have evidence; it must "
            "leave some words aside. Give others."
        )
    return good, float(right.mean())


def score(asked: Asked, explanations: Sequence[Explanation | None], rows: Sequence[Row]) -> Found:
    """What one method's explanations put on the evidence of each text."""
    found = np.array(
        [
            [np.nan] * 4 if each is None else _one(asked, each, marked(each.tokens, row.evidence))
            for each, row in zip(explanations, rows, strict=True)
        ]
    )
    return Found(*found.T)


def _one(asked: Asked, explanation: Explanation, on: Flags) -> tuple[float, float, float, float]:
    """The four numbers of `Found` for one text."""
    words = Ranked.of(explanation, asked.seed)
    positive = np.maximum(words.scores, 0.0)
    mass = float(positive.sum())
    if mass == 0.0 or not both(on):
        return (np.nan, np.nan, np.nan, np.nan)
    special = sum(max(score, 0.0) for _, score in explanation.special())
    return (
        float(positive[on].sum()) / mass,
        float(on[words.order[0]]),
        float(words.scores[~on].sum()) / mass,
        special / (special + mass),
    )


def at_random(asked: Asked, tokens: Sequence[Tokens], flags: Sequence[Flags]) -> Found:
    """The same of scores drawn evenly between 0 and 1, the mean of several draws."""
    share, first = np.full(len(tokens), np.nan), np.full(len(tokens), np.nan)
    for i, (each, on) in enumerate(zip(tokens, flags, strict=True)):
        if both(on):
            scores = generator(asked.seed, each, 1).random((_DRAWS, len(on)))
            share[i] = (scores[:, on].sum(1) / scores.sum(1)).mean()
            first[i] = on[scores.argmax(1)].mean()
    none = np.full(len(tokens), np.nan)
    return Found(share, first, none, none)


def _methods_table(
    asked: Asked, found: Mapping[str, Found], read: Parts, chance: Floats, notes: tuple[str, ...]
) -> Table:
    """Methods by their share, best first."""
    columns = (
        Column("on evidence", "share of the positive mass of all words that lies on the evidence", "higher"),
        Column("over chance", "that, less the share of words that are evidence, text by text", "higher"),
        Column("first word", "share of texts whose strongest word is evidence", "higher"),
        Column("rest, net", "sum of the scores of all other words, as a share of the positive mass"),
        Column("special", "share of the positive mass of all tokens that lies on special tokens"),
    )
    seed = asked.seed
    order = sorted(found, key=lambda name: -mean_of(found[name].share))
    table: dict[str, tuple[Figure | None, ...]] = {}
    for name in order:
        each = found[name]
        signed = name != RANDOM and parse(name).quantity == "saliency"
        table[name] = (
            mean_figure(each.share, seed),
            paired_figure(each.share, chance, seed),
            share_figure(each.first, seed),
            mean_figure(each.net, seed) if signed else None,
            mean_figure(each.special, seed),
        )
    blank = erase.default_blank(asked.model)
    whole = mean_figure(read.share, seed, blank), paired_figure(read.share, chance, seed, blank)
    table[HALVES] = (*whole, None, None, None)
    marks: dict[str, str] = {name: parse(name).quantity for name in asked.methods if parse(name).quantity != "saliency"}
    best = as_good_as_best({name: found[name].share for name in asked.methods if name not in marks}, True, seed)
    marks |= dict.fromkeys(best, "best saliency") | {RANDOM: "control", HALVES: "the model itself"}
    said = f"{np.nanmean(chance):.0%} of the words are evidence. Intervals are 95 %, by bootstrap over texts."
    return Table("Positive mass on the evidence", columns, table, marks, (said, *notes))


def _parts_table(asked: Asked, read: Parts) -> Table:
    """Does the model itself read the evidence alone?"""
    blank = erase.default_blank(asked.model)
    column = Column("probability", "of the class that is predicted for the whole text", None, "probability")
    if asked.model.link == "none":
        column = Column("output", "the model's number for the class that is predicted for the whole text")
    named = {"whole text": read.whole, "evidence alone": read.alone, "other words alone": read.rest}
    table = {name: (mean_figure(each, asked.seed, blank),) for name, each in named.items()}
    return Table("What the model reads", (column,), table)


def _said(asked: Asked, found: Mapping[str, Found], read: Parts, chance: Floats) -> tuple[str, ...]:
    """The verdict: the best saliency method against the bar, and attention beside it."""
    by_quantity = {
        kind: [name for name in asked.methods if parse(name).quantity == kind] for kind in ("saliency", "attention")
    }
    means = {name: mean_of(each.share) for name, each in found.items()}
    best = {kind: max(names, key=means.__getitem__) for kind, names in by_quantity.items() if names}
    said = []
    if "saliency" in best:
        low = share(found[best["saliency"]].share, asked.seed)
        met = means[best["saliency"]] >= BAR
        said.append(
            f"{best['saliency']} puts {low} of its positive mass on the evidence, where chance gives "
            f"{np.nanmean(chance):.0%}; that {'reaches' if met else 'misses'} the bar of {BAR:.0%}."
        )
        own = share(read.share, asked.seed)
        at_all = mean_of(read.share) >= BAR
        if not met and not np.isnan(read.share).all():
            said.append(
                f"When each part is taken away whole, {own} of what the model loses is the evidence's: "
                + ("the model reads little else, and the method puts more elsewhere." if at_all else "it reads more.")
            )
    if "attention" in best:
        said.append(
            f"Of methods of attention {best['attention']} puts most there: "
            f"{share(found[best['attention']].share, asked.seed)}."
        )
    return tuple(said)
