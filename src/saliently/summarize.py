"""What a model goes by over a whole data set: words by their scores towards each class, and suspected shortcuts.

A shortcut is a word that decides though it should mean little (Bastings et al. 2022). What a word should mean is not
known here; what can be told is how much the model makes of it, and how exclusively it goes with one class. A word that
is high in both is a suspect, and its texts are for people to read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from saliently.api import Options, stream
from saliently.chunks import Text
from saliently.data import Row
from saliently.errors import InputError, RecipeError, SaliencyError
from saliently.metrics.intervals import counted_figure, mean_figure
from saliently.models.base import Model
from saliently.reports import Column, Figure, Report, Table, timed
from saliently.tally import Entry, Tally
from saliently.types import Explanation

WHOM = (
    "For developers who look for what their data taught a model that it should not have learnt, before others find it."
)

LIMITS = (
    "A suspect is a word to look at. Whether a word may decide is for people to say: words that mean their class are "
    "here for good reason, and among them those that do not.",
    "A word is counted by its spelling: what it means beside others, cues of several words and cues of style are not "
    "seen.",
    "Scores are as good as the method. What it is worth on this model is for an audit to say.",
    "Scores are of texts in which the class was the one explained, most often the one predicted: a word's score "
    "towards a class tells nothing of texts that were taken for another.",
    "Intervals are over occurrences as if they were independent; they are too narrow where a word comes often in one "
    "text.",
)

_SCORE = Column("score", "mean signed score of the word's occurrences towards the class; n is how often it occurs")
_SHARES = (
    Column("in class", "share of the texts of the class that hold the word"),
    Column("elsewhere", "share of all other texts that hold it"),
    Column(
        "log-odds", "of a text of the class to hold the word, over other texts; one is added to each count", None, "nat"
    ),
)
_SUSPICION = Column(
    "suspicion",
    "mean score x exclusivity, which is (a - b) / (a + b) for shares a in the class and b elsewhere, one added to each "
    "count: 1 for a word of this class alone, 0 for one that tells nothing of the class",
)


@dataclass(frozen=True)
class Wishes:
    """What a summary shows. Attributes: least, how often a word occurs at least; top, words a table; seed, of
    intervals."""

    least: int = 5
    top: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.least < 1 or self.top < 1:
            raise RecipeError(f"{self!r} was asked for; least and top start at 1.")


def summarize(
    model: Model,
    rows: Sequence[Row | Text],
    method: str = "integrated-gradients",
    wishes: Wishes = Wishes(),
    options: Options = Options(truncate=True),
) -> Report:
    """Explain the class that the model predicts for every text, and sum up. Texts are counted by their labels if all
    have one, else by what is predicted.

    Raises:
        InputError: no text can be explained. RecipeError, ModelError: what is wrong for every text. A text that can't
            be explained is in the notes, and does not count.
    """
    known = [_row(each) for each in rows]
    return gathered(model, known, explained(model, known, method, options), wishes)


Found = Mapping[int, Explanation | SaliencyError]
"""Position of a text -> its explanation, or why there is none."""


def explained(model: Model, rows: Sequence[Row], method: str, options: Options) -> Found:
    """Of each text: the class that the model predicts."""
    return dict(stream(model, [row.fields for row in rows], method, options=options))


def gathered(model: Model, rows: Sequence[Row], found: Found, wishes: Wishes) -> Report:
    """Sum up what `explained` gave.

    Raises:
        InputError: no text gave an explanation.
    """
    good = {at: each for at, each in found.items() if isinstance(each, Explanation)}
    errors = tuple(f"Text {at + 1} is left out: {each}" for at, each in found.items() if at not in good)
    if not good:
        raise InputError(f"Explanations to sum up were asked for; no text gave one. {' '.join(errors[:1])}".strip())
    named = [model.labels[label] for at in good if (label := rows[at].label) is not None]
    return summary(list(good.values()), named if len(named) == len(good) else None, wishes, errors)


@timed
def summary(
    explanations: Sequence[Explanation],
    labels: Sequence[str] | None = None,
    wishes: Wishes = Wishes(),
    errors: Sequence[str] = (),
) -> Report:
    """Sum up explanations that are there, such as saved ones.

    Args:
        labels: the class of each text, for counting; None for the class that was explained.
        errors: what to say of texts that are missing.

    Raises:
        InputError: no explanations; not as many labels. RecipeError: explanations by several methods.
    """
    _check(explanations)
    tally = Tally.of(explanations, labels)
    suspects = _suspects(tally, wishes)
    first = explanations[0]
    return Report(
        title=f"What {first.model or 'the model'} goes by",
        question="Which words count towards each class, and which of them may be shortcuts?",
        whom=WHOM,
        verdict=_verdict(tally, suspects, wishes),
        settings={
            **_asked(first),
            "texts": len(explanations),
            "classes counted by": "the class explained" if labels is None else "label",
            "least": wishes.least,
            "top": wishes.top,
        },
        seed=wishes.seed,
        tables=(
            _suspects_table(tally, suspects, _told(errors)),
            *(_class_table(tally, label, suspects, wishes) for label in tally.labels),
        ),
        limits=(*LIMITS, *([] if first.quantity == "saliency" else [_unsigned(first)])),
    )


Suspects = dict[Entry, Figure]
"""Words with their mean scores, the most suspect first."""


def _suspects(tally: Tally, wishes: Wishes) -> Suspects:
    """Words whose mean score is above 0 by its interval, and that are more frequent in the class than elsewhere."""
    suspicion = {entry: tally.suspicion(entry) for entry in tally.frequent(max(2, wishes.least))}
    found: Suspects = {}
    for entry in sorted(suspicion, key=lambda entry: (-suspicion[entry], entry)):
        if len(found) == wishes.top or not suspicion[entry]:
            break
        figure = mean_figure(tally.scores(entry), wishes.seed)
        if figure is not None and figure.low is not None and figure.low > 0:
            found[entry] = figure
    return found


def _suspects_table(tally: Tally, suspects: Suspects, notes: Sequence[str]) -> Table:
    rows = {}
    for entry, score in suspects.items():
        share = tally.exclusivity(entry)
        low, high = (None if end is None else end * share for end in (score.low, score.high))
        rows[_named(entry)] = (Figure(score.value * share, low, high, score.n), score, *_frequency(tally, entry))
    return Table(
        "Suspected shortcuts, the most suspect first",
        (_SUSPICION, _SCORE, *_SHARES),
        rows,
        notes=(
            "Behind each arrow stands the class; below are places where the word scores most, up to three a word. "
            "Intervals of suspicion are those of the score; counts are taken as they are.",
            *(f"{_named(entry)}: {' | '.join(tally.snippets(entry))}" for entry in suspects),
            *notes,
        ),
    )


def _class_table(tally: Tally, label: str, suspects: Suspects, wishes: Wishes) -> Table:
    """The words of highest mean score towards a class."""
    frequent = [entry for entry in tally.frequent(wishes.least) if entry.label == label]
    best = sorted(frequent, key=lambda entry: (-float(tally.scores(entry).mean()), entry))[: wishes.top]
    return Table(
        f"Words by their score towards {label}",
        (_SCORE, *_SHARES),
        {entry.word: (mean_figure(tally.scores(entry), wishes.seed), *_frequency(tally, entry)) for entry in best},
        {entry.word: "suspect" for entry in best if entry in suspects},
        (f"{len(frequent)} words occur at least {wishes.least} times in texts explained for {label}.",),
    )


def _frequency(tally: Tally, entry: Entry) -> tuple[Figure | None, Figure | None, Figure | None]:
    here, total, there, others = tally.counts(entry)
    return (
        counted_figure(here / total, total) if total else None,
        counted_figure(there / others, others) if others else None,
        Figure(tally.log_odds(entry), n=total + others) if total and others else None,
    )


def _verdict(tally: Tally, suspects: Suspects, wishes: Wishes) -> tuple[str, ...]:
    if len(tally.texts) < 2:
        return ("All texts are of one class, so that no word can be said to go with it.",)
    if not suspects:
        return (
            f"No word that occurs at least {wishes.least} times surely counts towards a class and is more frequent "
            "in it.",
        )
    said = []
    for entry, score in list(suspects.items())[:3]:
        here, total, there, others = tally.counts(entry)
        said.append(
            f"{entry.word!r} towards {entry.label} (mean score {score.value:.3g}, [{score.low:.3g}, {score.high:.3g}] "
            f"over {score.n} occurrences; in {here / max(1, total):.1%} of its texts and "
            f"{there / max(1, others):.1%} of others)"
        )
    return (f"Look first at {'; '.join(said)}.", "If such a word should not decide, read its texts below.")


def _named(entry: Entry) -> str:
    return f"{entry.word} → {entry.label}"


def _row(given: Row | Text) -> Row:
    return given if isinstance(given, Row) else Row({"text": given} if isinstance(given, str) else given)


def _told(errors: Sequence[str]) -> tuple[str, ...]:
    """The first errors, and how many more there are."""
    return (*errors[:3], *([f"{len(errors) - 3} more texts are left out."] if len(errors) > 3 else []))


def _check(explanations: Sequence[Explanation]) -> None:
    if not explanations:
        raise InputError("Explanations to sum up were asked for; there are none.")
    kinds: dict[str, list[str]] = {
        "by one method": [each.method for each in explanations],
        "of one model": [each.model for each in explanations],
        "of one kind of number": [_kind(each) for each in explanations],
    }
    for asked, found in kinds.items():
        if len(set(found)) > 1:
            raise RecipeError(
                f"Explanations {asked} were asked for; found {', '.join(sorted(set(found)))}. Sum up each by itself."
            )


def _kind(explanation: Explanation) -> str:
    """What its scores are, whatever the class."""
    against = explanation.target.against
    set_against = "" if against is None else f" against {against if against in ('rest', 'mean', 'next') else 'a class'}"
    return f"{explanation.quantity} for the {explanation.target.of}{set_against}"


def _asked(explanation: Explanation) -> dict[str, str]:
    return {
        "model": explanation.model,
        "method": explanation.method,
        "scores": f"{explanation.quantity}, in units of {explanation.target.unit}",
    }


def _unsigned(explanation: Explanation) -> str:
    return (
        f"{explanation.method} gives a {explanation.quantity}, not a signed amount: a word that speaks against a class "
        "counts like one that speaks for it. Take a saliency, such as lrp or integrated-gradients."
    )
