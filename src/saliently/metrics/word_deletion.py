"""Word deletion: how accuracy falls, or rises, while words go in the order of an explanation (Arras et al. 2016, 2017).

Of texts that the model gets right words go in decreasing order of their relevance for the right class, so that accuracy
falls the faster the better the order is; of those that it gets wrong in increasing order, so that it rises as what
speaks against the right class is gone.

N texts, W words, K deletions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from saliently.erase import check_blank
from saliently.errors import RecipeError, SaliencyError
from saliently.metrics.intervals import share_figure
from saliently.metrics.measure import Asking, Named, by_text, check_model, together
from saliently.metrics.ranked import Ranked
from saliently.metrics.sheets import Asker, Sheet
from saliently.models.base import Model
from saliently.packing import Budget
from saliently.reports import Lines
from saliently.types import Explanation, Target

Floats = NDArray[np.float64]

CONTROL = "random order"


@dataclass(frozen=True, eq=False)
class Deleting:
    """How words are deleted.

    Attributes:
        most: K, how many go; texts of no more words are left out, so that a curve is about the same texts all along.
        blank: what stands in their place; published with "delete".
        controls: random orders for each text. seed: of all chance. budget: tokens a batch. tick: told of rows run.
    """

    most: int = 5
    blank: str = "delete"
    controls: int = 5
    seed: int = 0
    budget: Budget = field(default_factory=lambda: Budget(2048))
    tick: Callable[[int], None] = lambda rows: None


@dataclass(frozen=True, eq=False)
class Deleted:
    """What word deletion gave. Attributes: lines, of texts first right and first wrong, as far as there are any;
    failures, position of a text -> why the model could not be asked about it."""

    lines: tuple[Lines, ...]
    failures: Mapping[int, SaliencyError]


def word_deletion(
    model: Model,
    explained: Mapping[str, Sequence[Explanation | None]],
    labels: Sequence[int],
    deleting: Deleting = Deleting(),
) -> Deleted:
    """Accuracy after 0 to K deletions, by method, with its 95 % interval over texts, and a random order as control.

    `explained`: by method, (N,) explanations of the texts for their right classes, `labels` (N,). A class counts as
    predicted where its logit is above all others, so that a tie is wrong. Departures: words go by token ids; the
    authors set the vectors to 0 (2016) or delete (2017), and keep texts of ten words or more.

    Raises:
        RecipeError: a model that doesn't choose one class a text, or is not the one that was explained; explanations of
            other classes; an unknown blank; no text is long enough.
    """
    check(model, deleting)
    texts = by_text(explained)
    for at, named in texts.items():
        _check_label(at, _one(named), labels)
    asking = Asking((), (deleting.blank,), budget=deleting.budget)
    check_model(model, [_one(named) for named in texts.values()], asking)
    long = {at: named for at, named in texts.items() if len(_one(named).tokens.pieces_of) > deleting.most}
    if not long:
        raise RecipeError(f"{deleting.most} deletions were asked for; no text has more words. Ask for fewer.")
    found: dict[str, dict[int, Floats]] = {name: {} for name in (*explained, CONTROL)}
    failures: dict[int, SaliencyError] = {}
    for some in together(long):
        for at, name, right in _rights(model, some, deleting, failures):
            found[name][at] = right
    left_out = len(texts) - len(long)
    notes = (f"Left out: {left_out} texts of {deleting.most} words or fewer.",) if left_out else ()
    lines = []
    # Curves are of the same texts for all, so that no method looks good by having failed on the hard ones.
    common = set.intersection(*(set(each) for each in found.values() if each)) if any(found.values()) else set[int]()
    if len(common) < len(long) - len(failures):
        notes = (*notes, f"By all methods {len(common)} of {len(long)} texts are explained; the curves are of these.")
    for predicted in (True, False):
        group = {
            name: [each[at] for at in sorted(common & set(each)) if _one(texts[at]).target.predicted == predicted]
            for name, each in found.items()
        }
        if any(group.values()):
            lines.append(_lines(predicted, group, deleting, notes))
    return Deleted(tuple(lines), failures)


def _one(named: Named) -> Explanation:
    return next(iter(named.values()))


def _rights(
    model: Model, texts: Mapping[int, Named], deleting: Deleting, failures: dict[int, SaliencyError]
) -> Iterator[tuple[int, str, Floats]]:
    """Position, method or control, and (K + 1,) the share of its orders that leave the right class predicted."""
    sheets, places = {}, {}
    for at, named in texts.items():
        meant = _one(named)
        # Above all others is above the next best: one number says whether a row is right.
        sheets[at] = Sheet(meant, Target(meant.target.index, "next", "logit"))
        for name, orders in _orders(named, deleting).items():
            places[at, name] = [
                sheets[at].add(_going(order if meant.target.predicted else order[::-1], deleting.most))
                for order in orders
            ]
    asker = Asker(model, deleting.blank, deleting.budget, deleting.tick)
    answers = dict(zip(sheets, asker.answers(list(sheets.values())), strict=True))
    for (at, name), rows in places.items():
        answer = answers[at]
        if isinstance(answer, SaliencyError):
            failures[at] = answer
        else:
            yield at, name, np.mean([answer.values[row] > 0 for row in rows], axis=0)


def _orders(named: Named, deleting: Deleting) -> dict[str, list[NDArray[np.int64]]]:
    """Numbers of the words, most relevant first, by method; of the control several."""
    ranked = {name: Ranked.of(each, deleting.seed) for name, each in named.items()}
    first = next(iter(ranked.values()))
    chance = [first.at_random(draw, deleting.seed).order for draw in range(deleting.controls)]
    return {name: [words.order] for name, words in ranked.items()} | ({CONTROL: chance} if chance else {})


def _going(order: NDArray[np.int64], most: int) -> Floats:
    """(K + 1, W) rows in which the first 0 to K words of an order are gone."""
    keep = np.ones((most + 1, len(order)))
    for k in range(1, most + 1):
        keep[k, order[:k]] = 0.0
    return keep


def _lines(predicted: bool, group: Mapping[str, Sequence[Floats]], deleting: Deleting, notes: tuple[str, ...]) -> Lines:
    """The curves of the texts that the model gets right at first, or of those that it gets wrong."""
    which, order, good = ("right", "decreasing", "falls") if predicted else ("wrong", "increasing", "rises")
    curves = {}
    for name, rights in group.items():
        figures = [share_figure(each, deleting.seed, deleting.blank) for each in np.array(rights).T]
        curves[name] = tuple((float(k), each) for k, each in enumerate(figures) if each is not None)
    return Lines(
        f"Word deletion, texts that are {which} at first",
        "words deleted",
        "accuracy",
        {name: curve for name, curve in curves.items() if curve},
        (
            f"Words go in {order} order of relevance for the right class: the better the order, the faster it {good}.",
            *notes,
        ),
    )


def check(model: Model, deleting: Deleting) -> None:
    """Raise RecipeError for what fits no text."""
    check_blank(deleting.blank)
    # Functions of texts give a score a class, on whatever scale.
    chooses = model.link == "softmax" or (model.link == "none" and not model.vectors)
    if model.find is not None or not chooses or len(model.labels) < 2:
        raise RecipeError(
            f"Word deletion was asked of {model.name}; it counts right classes, and this model does not choose one "
            "class for a text. Measure deletion."
        )
    if type(deleting.most) is not int or deleting.most < 1:
        raise RecipeError(f"{deleting.most!r} deletions were asked for; give a whole number from 1 up.")


def _check_label(at: int, explanation: Explanation, labels: Sequence[int]) -> None:
    if at >= len(labels) or explanation.target.index != labels[at]:
        right = "none" if at >= len(labels) else str(labels[at])
        raise RecipeError(
            f"Relevance for the right class was asked for; at position {at} {explanation.target.label} was explained, "
            f"and the label is {right}. Explain each text with its label as target."
        )
