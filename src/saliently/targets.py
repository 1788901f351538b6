"""From the user's target to one number a row: pin it once, then read it off logits.

R rows, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import SupportsIndex

import torch
from torch import Tensor
from torch.nn import functional as F

from saliently.errors import RecipeError, did_you_mean
from saliently.types import Link, Pinned, Target

_LISTED = 40
OTHERS = ("rest", "mean", "next")
"""What stands for all classes but the one that is explained."""


def find_label(asked: str | int, labels: Sequence[str]) -> int:
    """Index of a label by name (any case, if that is unique) or by index.

    Raises:
        RecipeError: there is no such label.
    """
    if not isinstance(asked, str):
        # Also the whole numbers of numpy and torch; True is no label.
        if isinstance(asked, SupportsIndex) and not isinstance(asked, bool) and 0 <= index(asked) < len(labels):
            return index(asked)
    elif asked in labels:
        return list(labels).index(asked)
    else:
        same = [i for i, label in enumerate(labels) if label.lower() == asked.lower()]
        if len(same) == 1:
            return same[0]
        if asked.isdecimal():
            return find_label(int(asked), labels)
    some = f"{', '.join(labels[:_LISTED])}{' and more' if len(labels) > _LISTED else ''}"
    raise RecipeError(
        f"Label {asked!r} was asked for; the model has {some} (or 0 to {len(labels) - 1})."
        f"{did_you_mean(str(asked), labels)}"
    )


def check(target: Target, labels: Sequence[str], link: Link = "softmax") -> None:
    """Raise RecipeError where `target` names what the model does not have, before any pass is spent."""
    if link == "none" and target.of not in (None, "logit", "output"):
        raise RecipeError(
            f"The {target.of} was asked for; the model's output is a number, not a class. Leave `of` out."
        )
    if link != "none" and target.of == "output":
        raise RecipeError("The output itself was asked for; the model has classes. Ask for the logit or a probability.")
    if link == "sigmoid" and target.against in ("rest", "next"):
        raise RecipeError(
            f"Target against {target.against!r} was asked for; this model judges each label by itself, so the rest is "
            "no label. Name a label, or ask for the logit alone, which is the log-odds already."
        )
    if target.of == "log-odds" and target.against is not None:
        raise RecipeError(
            f"The log-odds against {target.against!r} were asked for; log-odds are against all the rest already. Leave "
            "`against` out, or ask for the log-probability."
        )
    label = None if target.label is None else find_label(target.label, labels)
    if target.against is None:
        return
    if target.against in OTHERS:
        if len(labels) < 2:
            raise RecipeError(
                f"Target against {target.against!r} was asked for; the model has one class, so there is no rest."
            )
    elif find_label(target.against, labels) == label:
        raise RecipeError(
            f"Target {labels[label]!r} against itself was asked for; that is always 0. Name another label."
        )


def pin(target: Target, logits: Tensor, labels: Sequence[str], link: Link = "softmax") -> Pinned:
    """Fix the class by the plain forward pass's logits (C,)."""
    predicted = int(logits.argmax())
    index = predicted if target.label is None else find_label(target.label, labels)
    against = None
    if target.against is not None and target.against not in OTHERS:
        against = find_label(target.against, labels)
    name = str(target.against) if target.against in OTHERS else None if against is None else labels[against]
    scale = "output" if link == "none" else target.of or "logit"
    return Pinned(index, labels[index], scale, against, name, predicted == index)


def check_pinned(pinned: Pinned) -> None:
    """Raise RecipeError where the class that the model predicts is the one it was to be set against."""
    if pinned.index == pinned.against_index:
        raise RecipeError(
            f"The predicted class against {pinned.label!r} was asked for; the model predicts {pinned.label!r} for this "
            "text, and a class against itself is always 0. Name the target too."
        )


def odds_of_all(odds: Tensor, question: Tensor, many: int) -> Tensor:
    """(Q,) log-odds of all of a question's terms together, in nats, from each one's (N,) log-odds and whose it is."""
    together = odds.new_zeros(many).index_add(0, question, F.logsigmoid(odds))
    return together - (-torch.expm1(together)).log()


_AT_ONCE = 2**22
"""Most logits that are held in double precision at a time; vocabularies are large."""


def evaluate(pinned: Sequence[Pinned], logits: Tensor, link: Link = "softmax") -> Tensor:
    """(R,) the explained number of each row, from logits (R, C); differentiable."""
    many = max(1, _AT_ONCE // logits.shape[-1])
    parts = [_evaluate(pinned[at : at + many], logits[at : at + many], link) for at in range(0, len(pinned), many)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _evaluate(pinned: Sequence[Pinned], logits: Tensor, link: Link) -> Tensor:
    # A confident model's log-probability is lost in float32; Apple's GPUs have no wider type.
    logits = logits.float() if logits.device.type == "mps" else logits.double()
    of, against = pinned[0].of, pinned[0].against
    if of == "log-odds":  # where p is near 1, what is left of it must not be rounded away
        of, against = "logit", "rest" if link == "softmax" else None
    index = torch.tensor([p.index for p in pinned], device=logits.device)[:, None]
    chances = {"softmax": lambda: logits.log_softmax(-1), "sigmoid": lambda: F.logsigmoid(logits)}
    scores = logits if of in ("logit", "output") else chances[link]()
    ours = scores.gather(1, index)[:, 0]
    if against is None:
        return ours.exp() if of == "probability" else ours
    if against == "mean":
        values = scores.exp() if of == "probability" else scores
        others = (logits != -torch.inf).scatter(1, index, False)  # -inf stands for a choice that a question has not
        mean = values.masked_fill(~others, 0.0).sum(-1) / others.sum(-1)
        return values.gather(1, index)[:, 0] - mean
    if against in ("rest", "next"):
        others = scores.scatter(1, index, -torch.inf)
        others = others.logsumexp(-1) if against == "rest" else others.amax(-1)
    else:
        other = torch.tensor([p.against_index for p in pinned], device=logits.device)[:, None]
        others = scores.gather(1, other)[:, 0]
    return ours.exp() - others.exp() if of == "probability" else ours - others
