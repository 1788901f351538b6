"""Hybrid documents: does the word that explains a document's label stem from a sentence of that label?

Poerner et al. 2018, "Evaluating neural network explanation methods using hybrid documents and morphosyntactic
agreement". Texts are shuffled and joined; whatever makes the model give the joined document a label should lie in a
text that has this label by itself. Departures: a text's label is the model's own where none is known; documents are
short enough for the model, where the paper cuts them; the random baseline is exact, the share of words that would be a
hit.

N documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from saliently.audit.asked import RANDOM, WHOM, Asked, Floats, applicable, explained
from saliently.audit.phrases import share
from saliently.chunks import checked_tokens
from saliently.data import Row, marked
from saliently.errors import ModelError, RecipeError
from saliently.metrics.intervals import as_good_as_best, mean_of, paired_figure, share_figure
from saliently.metrics.ranked import Ranked
from saliently.names import parse
from saliently.reports import Column, Figure, Report, Table, timed
from saliently.train import predicted
from saliently.types import Explanation, Span

FIRST, LAST = "first word", "last word"
"""Baselines that know nothing but the place."""
_FITTING = 0.95
"""Share of documents that the model must be able to take whole."""

LIMITS = (
    "A hit is a word of the right text, not the right word: where many texts of a document have its label, chance is "
    "good already.",
    "Documents are joined texts that nobody wrote; how the model reads them may differ from how it reads a text.",
    "A model may weigh one text against another; the strongest word may then lie where the label does not.",
)


@dataclass(frozen=True)
class Sizes:
    """How much to join. Attributes: documents, most of them; per, texts of a document, 10 as published; fewer where the
    model takes no document as long."""

    documents: int = 200
    per: int = 10

    def __post_init__(self) -> None:
        if self.documents < 1 or self.per < 2:
            raise RecipeError(f"{self!r} was asked for; give one document and two texts for each at least.")


@dataclass(frozen=True, eq=False)
class Document:
    """Joined texts. Attributes: text; parts, where each stands; labels, of each."""

    text: str
    parts: tuple[Span, ...]
    labels: tuple[int, ...]

    @staticmethod
    def of(texts: Sequence[str], labels: Sequence[int]) -> Document:
        """Joined by spaces."""
        parts, at = list[Span](), 0
        for text in texts:
            parts.append(Span("text", at, at + len(text)))
            at += len(text) + 1
        return Document(" ".join(texts), tuple(parts), tuple(labels))

    def row(self, label: int) -> Row:
        """With the texts of that label as its evidence."""
        spans = zip(self.parts, self.labels, strict=True)
        return Row({"text": self.text}, label, tuple(span for span, own in spans if own == label))


@timed
def hybrid(asked: Asked, rows: Sequence[Row], sizes: Sizes = Sizes()) -> Report:
    """How often the strongest word for the predicted label lies in a text of that label, by method.

    Documents whose predicted label no text has are left out, and counted. Intervals are over documents.

    Raises:
        ModelError: it is no classifier of single texts, or no method can be asked of it. RecipeError: too few rows; no
            document fits; in none a text has the predicted label. InputError: a text can't be read.
    """
    asked = replace(asked, target=replace(asked.target, label=None))
    documents, per, too_long = joined(asked, rows, sizes)
    asked, skipped = applicable(asked, documents[0].row(0))
    said = predicted(asked.model, [Row({"text": each.text}) for each in documents])
    every = [each.row(label) for each, label in zip(documents, said, strict=True)]
    good = [row for row in every if row.evidence]
    if not good:
        raise RecipeError(
            f"Documents with a text of the predicted label were asked for; of {len(every)} there is none. Give more "
            "texts, of all labels."
        )
    flags = [marked(checked_tokens(asked.model, row.fields), row.evidence) for row in good]
    chance = np.array([on.mean() for on in flags])
    baselines = {RANDOM: chance, FIRST: np.array([on[0] for on in flags], float)}
    baselines[LAST] = np.array([on[-1] for on in flags], float)
    hits = {method: hit(asked, explained(asked, method, good), good) for method in asked.methods}
    notes = (
        f"{len(every)} documents of {per} texts; left out are {len(every) - len(good)} without a text of the predicted "
        "label.",
        *([f"{too_long} more did not fit the model and were left out."] if too_long else []),
        *(f"{method} was left out: {why}" for method, why in skipped.items()),
    )
    return Report(
        title="Hybrid documents",
        question="Of texts that were joined, does the strongest word for the label lie in one that has it?",
        whom=WHOM,
        verdict=_said(asked, hits, baselines, notes[0]),
        settings={
            "model": asked.model.name,
            "texts": len(rows),
            "labels": "given" if all(row.label is not None for row in rows) else "predicted where none is given",
            "per document": per,
            "documents": len(every),
            "too long": too_long,
            "without such a text": len(every) - len(good),
            "target": asked.target.of or asked.model.scale,
            "methods": list(asked.methods),
        },
        seed=asked.seed,
        tables=(_table(asked, hits, baselines, notes),),
        limits=LIMITS,
    )


def joined(asked: Asked, rows: Sequence[Row], sizes: Sizes) -> tuple[list[Document], int, int]:
    """Documents of shuffled texts, each text once; of how many texts; and how many more did not fit the model.

    Of so many texts that nearly all documents fit.

    Raises:
        RecipeError: even two texts are too long, or there are too few. ModelError: the model is none of single texts.
    """
    model = asked.model
    if any(set(row.fields) != {"text"} for row in rows) or model.find is not None or model.link == "none":
        raise ModelError(
            f"Texts were to be joined and given to {model.name}; that takes a classifier of single texts, and a text a "
            "row."
        )
    said = predicted(model, rows) if any(row.label is None for row in rows) else [0] * len(rows)
    labels = [one if row.label is None else row.label for row, one in zip(rows, said, strict=True)]
    order = Random(asked.seed).sample(range(len(rows)), len(rows))
    for per in range(min(sizes.per, len(rows)), 1, -1):
        starts = range(0, len(rows) - per + 1, per)[: sizes.documents]
        groups = [order[start : start + per] for start in starts]
        every = [Document.of([rows[i].text for i in group], [labels[i] for i in group]) for group in groups]
        fit = [each for each in every if checked_tokens(model, {"text": each.text}).truncated is None]
        if len(fit) >= _FITTING * len(every):
            return fit, per, len(every) - len(fit)
    raise RecipeError(
        f"Documents of two texts at least were asked for, short enough for {model.name}; {len(rows)} texts gave none. "
        "Give more texts, or shorter ones."
    )


def hit(asked: Asked, explanations: Sequence[Explanation | None], rows: Sequence[Row]) -> Floats:
    """(N,) 1 where the strongest word lies in the evidence, else 0; NaN where there is no explanation."""
    found = [
        np.nan if each is None else float(marked(each.tokens, row.evidence)[Ranked.of(each, asked.seed).order[0]])
        for each, row in zip(explanations, rows, strict=True)
    ]
    return np.array(found, np.float64)


def _table(asked: Asked, hits: Mapping[str, Floats], baselines: Mapping[str, Floats], notes: tuple[str, ...]) -> Table:
    """Methods by their hits, best first, then what knows nothing of the model."""
    columns = (
        Column("hits", "share of documents whose strongest word lies in a text of the predicted label", "higher"),
        Column("over chance", "that, less the share of words that would be a hit, document by document", "higher"),
    )
    order = sorted(hits, key=lambda name: -mean_of(hits[name]))
    table: dict[str, tuple[Figure | None, ...]] = {
        name: (share_figure(values, asked.seed), paired_figure(values, baselines[RANDOM], asked.seed))
        for name, values in [*((name, hits[name]) for name in order), *baselines.items()]
    }
    marks: dict[str, str] = {name: parse(name).quantity for name in order if parse(name).quantity != "saliency"}
    best = as_good_as_best(hits, True, asked.seed)
    marks |= {name: f"best, {marks[name]}" if name in marks else "best" for name in best}
    return Table("Hits", columns, table, marks | dict.fromkeys(baselines, "control"), notes)


def _said(asked: Asked, hits: Mapping[str, Floats], baselines: Mapping[str, Floats], made: str) -> tuple[str, ...]:
    """The verdict: the best, who is as good, and what chance gives."""
    first, *others = as_good_as_best(hits, True, asked.seed) or ("no method",)
    if first not in hits:
        return ("No document could be explained.",)
    tied = f"{', '.join(others)} can't be told from it" if others else "no other method is as good"
    at_all = ", ".join(f"{name} {mean_of(values):.0%}" for name, values in baselines.items())
    attention = "; ".join(f"{name} {mean_of(hits[name]):.0%}" for name in hits if parse(name).quantity == "attention")
    return (
        f"{first} hits a text of the predicted label in {share(hits[first], asked.seed)} of the documents; {tied}. "
        f"Without the model: {at_all}.{f' By attention: {attention}.' if attention else ''}",
        made,
    )
