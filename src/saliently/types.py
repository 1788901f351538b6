"""The nouns: what goes in, what was asked, what came out. Plain data; no torch, no model.

T is the number of tokens of one input, U the number of its parts (words, and the gaps between them).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from saliently.checks import Checks
from saliently.errors import RecipeError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Quantity = Literal["sensitivity", "saliency", "attention", "selection", "interaction"]
Scale = Literal["logit", "probability", "log-probability", "log-odds", "output"]
Link = Literal["softmax", "sigmoid", "none"]
"""How a model's numbers become probabilities: one label of all, each label by itself, or not at all (regression)."""
At = int | str | slice | None
"""A place in a text: a word, a number, or a slice of numbers."""
Grouping = Literal["sum", "l2", "mean", "max"]
SegmentName = Literal["word", "sentence", "paragraph", "field"]
Segments = SegmentName | Mapping[str, Sequence[tuple[int, int]]]
"""What gets a score: units by name, or the user's own as characters [start, end) by field."""

# How the scores of a word's pieces become the word's score. Only "sum" keeps totals.
GROUPINGS: Mapping[str, Any] = {
    "sum": lambda scores: float(scores.sum()),
    "l2": lambda scores: float(np.sqrt(np.square(scores).sum())),
    "mean": lambda scores: float(scores.mean()),
    "max": lambda scores: float(scores.max()),
}


class Span(NamedTuple):
    """Characters [start, end) of one field of the user's own text."""

    field: str
    start: int
    end: int


class Unit(NamedTuple):
    """A piece of the user's text with its score; None where no token covers it. Joined in order, units are the text."""

    text: str
    field: str
    start: int
    end: int
    score: float | None


class Pair(NamedTuple):
    """Two words and what they add together, over what each adds by itself: both entries of the matrix."""

    first: Unit
    second: Unit
    score: float


@dataclass(frozen=True)
class Tokens:
    """One input after the tokenizer.

    Attributes:
        fields: the user's own text by field name, untouched.
        ids: (T,) what the model is given.
        pieces: (T,) the tokenizer's own spelling of each token.
        spans: (T,) which characters a token covers; None for a special token.
        units: (T,) index into `parts` of the word that the token is a piece of; None for a special token.
        parts: (U,) words and gaps; in order they partition the text of every field.
        kinds: (T,) segment ids, for models that take them; else empty.
        notes: what a reader should know about the reading (cut at a limit, special spellings typed by the user).
        truncated: (length found, length kept) when the text was cut on the user's wish, else None.
        response: number of the first token of what a language model says, else None.
        streams: numbers of the tokens of each text that the model reads apart from the others; empty if it reads one.
    """

    fields: Mapping[str, str]
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    spans: tuple[Span | None, ...]
    units: tuple[int | None, ...]
    parts: tuple[Span, ...]
    kinds: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    truncated: tuple[int, int] | None = None
    response: int | None = None
    streams: tuple[tuple[int, ...], ...] = ()

    @property
    def words(self) -> tuple[bool, ...]:
        """(T,) True where a token stands for the user's text, so that it can be taken away; special tokens stay."""
        return tuple(span is not None for span in self.spans)

    @property
    def pieces_of(self) -> dict[int, list[int]]:
        """Index into `parts` -> numbers of the tokens that are pieces of that unit; units without any are left out."""
        found: dict[int, list[int]] = {}
        for token, unit in enumerate(self.units):
            if unit is not None:
                found.setdefault(unit, []).append(token)
        return found

    def text(self, span: Span) -> str:
        """The characters of a span."""
        return self.fields[span.field][span.start : span.end]

    def response_text(self, start: int, end: int) -> str:
        """What tokens [start, end) of the response stand for; the spelling of the first if they have no characters."""
        first = (self.response or 0) + start
        spans = [span for span in self.spans[first : first + end - start] if span is not None]
        return self.text(spans[0]._replace(end=spans[-1].end)) if spans else self.pieces[first]


@dataclass(frozen=True)
class Target:
    """The question as the user puts it: which number of the model's output is to be explained.

    Attributes:
        label: a label's name or index; None for the class that the model predicts.
        against: another label, "rest" for all others together, "mean" for the mean of all others (what LRP calls a
            contrastive start), or "next" for the largest of all others, whichever that is in a text and in each of its
            variants, so that the sign is the decision: the difference is explained. A label that is called so itself is
            named by its index.
        of: the scale: "logit", "probability", "log-probability" or "log-odds" (nats; of a response p / (1 - p) of the
            whole); by default the logit, for language models the log-probability, and for regression "output", the
            number itself.
        at: for heads that give an output at every place, which one: a word or its number, the number of a mask, a token
            of a response or a slice of them, a part of its text, an answer as it stands in the context.
    """

    label: str | int | None = None
    against: str | int | None = None
    of: Scale | None = None
    at: At = None

    def __post_init__(self) -> None:
        if self.of is not None and self.of not in get_args(Scale):
            raise RecipeError(
                f"Target scale {self.of!r} was asked for; there are 'logit', 'probability', 'log-probability' and "
                "'log-odds'."
            )


@dataclass(frozen=True)
class Pinned:
    """The question as it is asked: one class, fixed from the plain forward pass before anything is perturbed.

    With `of="logit"`: the logit, less the logit of `against`, or less the log-sum-exp of all others for "rest" (then
    it is the log-odds). With "probability" and "log-probability" (nats): the same differences of those numbers, where
    "rest" is the probability of any other class.
    """

    index: int
    label: str
    of: Scale
    against_index: int | None = None
    against: str | None = None  # a label, "rest", "mean" or "next"
    predicted: bool = True  # is this the class that the model predicts?
    at: str | None = None  # what the explained place is called, where there are several

    def describe(self) -> str:
        """`"the logit of POSITIVE"`, `"the probability of yes less that of no"`."""
        rest = f" less that of {self.against}" if self.against is not None else ""
        if self.against == "rest":
            rest = " against all other classes"
        if self.against == "mean":
            rest = " less the mean of all other classes"
        if self.against == "next":
            rest = " less that of the next best class"
        return f"the {self.of} of {self.label}{'' if self.at is None else f' at {self.at}'}{rest}"

    @property
    def unit(self) -> str:
        """What one step of a score is: logit, nat, probability, or one of the model's own output."""
        return {"log-probability": "nat", "log-odds": "nat"}.get(self.of, self.of)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Which parts of one input a prediction depended on, with what is needed to judge the answer.

    Attributes:
        tokens: the input.
        method: the recipe, e.g. `"integrated-gradients(blank='zero')"`; `saliently.parse` makes it a method again.
        quantity: what kind of number the scores are; never compare different ones.
        outputs: the explained numbers, pinned; one for a class.
        scores: (T,) float64, raw and signed, in units of the target (for saliency). Of interactions (T, T), symmetric:
            the diagonal is what a token adds by itself, and what a pair adds together is shared by its two entries, so
            that sums over words keep the total.
        values: f at the input, one an output. nothing: f with every word blanked, or None if the method needs none.
        grouping: how pieces become words.
        blank: what stood where a word was taken away, or None if nothing was.
        checks: what speaks for or against this result.
        model: name of the model. versions: of saliently, torch and transformers.
    """

    tokens: Tokens
    method: str
    quantity: Quantity
    outputs: tuple[Pinned, ...]
    scores: NDArray[np.float64]
    values: tuple[float, ...]
    nothing: tuple[float, ...] | None
    grouping: Grouping = "sum"
    blank: str | None = None
    checks: Checks = field(default_factory=Checks)
    model: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> Pinned:
        """The explained number, where there is one."""
        return self.outputs[0]

    @property
    def question(self) -> str:
        """In one sentence: what was asked, measured how, against what, and for whom the answer is."""
        what = self.target.describe()
        asked = {
            "sensitivity": f"How fast does {what} change when a word changes a little?",
            "saliency": f"How much did each word add to {what}"
            + (f", against the same text with words taken away (blank: {self.blank})?" if self.blank else "?"),
            "attention": f"How much weight does the model's attention put on each word while computing {what}?",
            "selection": f"Which few words decide {what}?",
            "interaction": f"How much do pairs of words add together to {what}"
            + (f", against the same text with words taken away (blank: {self.blank})?" if self.blank else "?"),
        }[self.quantity]
        return f"{asked} Measured by {self.method}, to tell developers what {self.model or 'the model'} relies on."

    @property
    def by_token(self) -> NDArray[np.float64]:
        """(T,) a score a token: of interactions what it adds by itself, and half of what each pair with it adds."""
        return self.scores if self.scores.ndim == 1 else self.scores.sum(1)

    def units(self) -> tuple[Unit, ...]:
        """Words and unscored gaps in order; their texts join to the user's text, field by field."""
        pieces, scores, join = self.tokens.pieces_of, self.by_token, GROUPINGS[self.grouping]
        return tuple(
            Unit(self.tokens.text(part), *part, join(scores[pieces[i]]) if i in pieces else None)
            for i, part in enumerate(self.tokens.parts)
        )

    def words(self) -> tuple[Unit, ...]:
        """The scored units, in order of the text."""
        return tuple(unit for unit in self.units() if unit.score is not None)

    def top(self, k: int = 5) -> tuple[Unit, ...]:
        """The k words of largest magnitude, largest first; ties in order of the text."""
        return tuple(sorted(self.words(), key=lambda unit: -abs(unit.score or 0.0))[:k])

    def pairs(self) -> NDArray[np.float64]:
        """(W, W) of interactions: sums of the scores of words' tokens, in the order of `words()`.

        Raises:
            RecipeError: the method measures no interactions.
        """
        if self.quantity != "interaction":
            raise RecipeError(
                f"What pairs of words do together was asked for; {self.method} measures {self.quantity}. Use a method "
                "of interactions: integrated-hessians, shapley-interaction, archipelago."
            )
        pieces = self.tokens.pieces_of
        rows = np.zeros((len(pieces), len(self.tokens.ids)))
        for word, unit in enumerate(sorted(pieces)):
            rows[word, pieces[unit]] = 1.0
        return rows @ self.scores @ rows.T

    def top_pairs(self, k: int = 5) -> tuple[Pair, ...]:
        """The k pairs of words that do most together, largest magnitude first; ties in order of the text.

        Raises:
            RecipeError: the method measures no interactions.
        """
        words, together = self.words(), 2 * self.pairs()
        first, second = np.triu_indices(len(words), 1)
        strongest = np.argsort(-np.abs(together[first, second]), kind="stable")[:k]
        return tuple(
            Pair(words[i], words[j], float(together[i, j]))
            for i, j in zip(first[strongest], second[strongest], strict=True)
        )

    def special(self) -> tuple[tuple[str, float], ...]:
        """The special tokens with their scores; with the words they make the total."""
        spelled = zip(self.tokens.pieces, self.tokens.spans, self.by_token, strict=True)
        return tuple((piece, float(score)) for piece, span, score in spelled if span is None)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values; `saliently.load_explanation` reads it back."""
        from saliently.view.record import to_dict

        return to_dict(self)

    def show(self, width: int | None = None) -> None:
        """Print a picture to the terminal, in colour where it has colour."""
        from saliently.view.text import show

        show(self, width)

    def save(self, path: str | Path) -> None:
        """Write `.html` (one file, no network), `.json`, `.jsonl`, `.png` or `.svg`, by the ending of the name.

        Raises:
            RecipeError: any other ending.
            MissingExtraError: `.png` or `.svg` without matplotlib.
        """
        from saliently.view.files import save

        save(self, path)

    def _repr_html_(self) -> str:
        from saliently.view.page import fragment

        return fragment(self)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several methods on one text and one target.

    Attributes:
        explanations: (M,) one a method.
        agreement: (M, M) Kendall's tau-b of the words' magnitudes, NaN where a method ranks nothing.
    """

    explanations: tuple[Explanation, ...]
    agreement: NDArray[np.float64]

    def show(self, width: int | None = None) -> None:
        """Print the methods side by side."""
        from saliently.view.text import show_comparison

        show_comparison(self, width)

    def save(self, path: str | Path) -> None:
        """Write `.html` or `.json`, by the ending of the name."""
        from saliently.view.files import save_comparison

        save_comparison(self, path)

    def _repr_html_(self) -> str:
        from saliently.view.page import comparison_fragment

        return comparison_fragment(self)


def join_notes(*notes: Sequence[str]) -> tuple[str, ...]:
    """Several lists of notes as one, each sentence once, in order."""
    return tuple(dict.fromkeys(sentence for some in notes for sentence in some))
