"""Texts that are longer than a classifier takes: explained in windows that overlap, and put together again.

T tokens of the whole text, N windows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from saliently.checks import Checks
from saliently.errors import InputError, RecipeError, SaliencyError
from saliently.methods.base import Method
from saliently.models.base import Model
from saliently.models.reading import TokenizerReader, limit_of
from saliently.passes import Pass
from saliently.runner import Runner
from saliently.types import Explanation, Target, Tokens, join_notes

Explain = Callable[[Target, list[Tokens]], list[Explanation | SaliencyError]]
"""Explains several inputs, each by itself."""

_BATCHES_AT_ONCE = 16


class Windowed(InputError):
    """A text over the model's limit, cut into windows; an error wherever windows can't be put together.

    Attributes:
        whole: the text as it would be read without a limit; special tokens stand at its ends only.
        windows: (N,) its windows. Each is an input of its own, with the special tokens around it; `fields` and `parts`
            are those of the whole text.
        starts: (N,) which token of the whole is the first of a window behind its leading special tokens.
    """

    def __init__(self, whole: Tokens, limit: int) -> None:
        """Windows of `limit` tokens with special ones, each half over the one before; the last one may be shorter.

        Raises:
            InputError: the limit leaves no room for two tokens of the text.
        """
        super().__init__(
            f"The text has {len(whole.ids)} tokens with special ones; the model takes {limit}. Windows over it are put "
            "together by explain, stream and compare; here, shorten it, or allow a cut with truncate=True."
        )
        words = [token for token, word in enumerate(whole.words) if word]
        self.first, self.end = words[0], words[-1] + 1
        room = limit - self.first - (len(whole.ids) - self.end)
        if room < 2:
            raise InputError(
                f"Windows of {limit} tokens, all that the model takes, were asked for; with special tokens around them "
                f"they hold {max(0, room)} of the text. Use a model that takes more."
            )
        # Of an odd number of tokens there is no half, and some tokens would count more often than their neighbours.
        half = room // 2
        self.whole, self.starts = whole, range(self.first, self.end - half, half)
        self.windows = [self._window(start, min(start + 2 * half, self.end)) for start in self.starts]

    def _window(self, start: int, end: int) -> Tokens:
        """Tokens [start, end) of the whole, with its special tokens around them."""
        whole = self.whole
        keep = [*range(self.first), *range(start, end), *range(self.end, len(whole.ids))]
        return replace(
            whole,
            ids=tuple(whole.ids[i] for i in keep),
            pieces=tuple(whole.pieces[i] for i in keep),
            spans=tuple(whole.spans[i] for i in keep),
            units=tuple(whole.units[i] for i in keep),
            kinds=tuple(whole.kinds[i] for i in keep) if whole.kinds else (),
            notes=(),
        )

    def whole_scores(self, found: Sequence[Explanation]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """(T,) each token's scores summed over the windows that hold it, over N; special tokens are in all of them."""
        total, ending = np.zeros(len(self.whole.ids)), len(self.whole.ids) - self.end
        for start, each in zip(self.starts, found, strict=True):
            inner = each.scores[self.first : len(each.scores) - ending]
            total[: self.first] += each.scores[: self.first]
            total[start : start + len(inner)] += inner
            total[self.end :] += each.scores[len(each.scores) - ending :]
        return total / len(found)


def read_whole(model: Model, fields: Mapping[str, str]) -> Tokens:
    """A text as it would be read without a limit.

    Raises:
        InputError: as the model's reader; the text is too long for a model, or of fields, that windows are not for.
    """
    reader = model.read
    if isinstance(reader, TokenizerReader) and model.find is None and set(fields) == {"text"}:
        return replace(reader, limit=None)(fields, False)
    tokens = reader(fields, True)
    if tokens.truncated is not None:
        raise InputError(
            f"Windows over {' and '.join(fields)} of {tokens.truncated[0]} tokens were asked of {model.name}, which "
            f"takes {tokens.truncated[1]}; windows are for classifiers of one text. Shorten it, or allow a cut with "
            "truncate=True (--truncate) instead."
        )
    return tokens


def check_fits(model: Model, whole: Tokens) -> None:
    """Raise Windowed for a text over the model's limit."""
    limit = limit_of(model.read)
    if limit is not None and len(whole.ids) > limit:
        raise Windowed(whole, limit)


def explained(
    text: Windowed, plain: Runner, method: Method, target: Target, explain: Explain
) -> Explanation | SaliencyError:
    """One explanation of the whole text, from explanations of its windows.

    The explained number is the mean over the windows of the target's number; the class, unless one was named, the one
    that the mean of the windows' logits predicts. A token's score is the sum of its scores in the windows that hold it,
    over the number of windows of the text, so that the sum of all scores is the mean of the windows' sums. Tokens in
    the middle of a text are in two windows, those near its ends in one. A word sees only its own windows, so that what
    words do together over a longer way is not in the scores, nor in the explained number.

    Args:
        plain: with the windows as its inputs, to ask for their logits.
        explain: how windows are explained with a target.

    Returns:
        The error of the first window that has one; a RecipeError for methods whose scores don't add up over windows.
    """
    if method.quantity != "saliency":
        return RecipeError(
            f"{method!r} was asked for over the windows of a text of {len(text.whole.ids)} tokens; it gives a "
            f"{method.quantity}, and only saliencies add up over windows. Use integrated-gradients or occlusion, say, "
            "or allow a cut with truncate=True (--truncate)."
        )
    try:
        predicted = int(_mean_logits(plain).argmax())
    except SaliencyError as error:
        return error
    same = replace(target, label=predicted) if target.label is None else target
    longest = max(len(window.ids) for window in text.windows)
    many = max(1, _BATCHES_AT_ONCE * plain.budget.tokens // (longest * method.rows(longest)))
    found: list[Explanation] = []
    for start in range(0, len(text.windows), many):
        for each in explain(same, text.windows[start : start + many]):
            if isinstance(each, SaliencyError):
                return each
            found.append(each)
    return _together(text, found, predicted)


def _mean_logits(plain: Runner) -> Tensor:
    """(C,) float64, over the inputs."""

    def look(one: Pass) -> list[Tensor]:
        one.x.requires_grad_(False)
        with torch.no_grad():
            one.values()
        assert one.logits is not None
        return list(one.logits.to("cpu", torch.float64))

    with plain.model.resting():
        rows = [each.part for each in plain.through(plain.everything(), look, backward=False)]
    return torch.stack(rows).mean(0)


def _together(text: Windowed, found: Sequence[Explanation], predicted: int) -> Explanation:
    first, scores = found[0], text.whole_scores(found)
    nothings = [each.nothing[0] for each in found if each.nothing is not None]
    value = float(np.mean([each.values[0] for each in found]))
    nothing = float(np.mean(nothings)) if len(nothings) == len(found) else None
    change = None if nothing is None else value - nothing
    return replace(
        first,
        tokens=text.whole,
        outputs=(replace(first.target, predicted=first.target.index == predicted),),
        scores=scores,
        values=(value,),
        nothing=None if nothing is None else (nothing,),
        checks=_checks(text, [each.checks for each in found], float(scores.sum()), change),
    )


def _checks(text: Windowed, found: Sequence[Checks], total: float, change: float | None) -> Checks:
    """Of the whole text: sums over windows of what was run, means of what scores add up to, else the worst."""
    many, gaps = len(found), [each.gap for each in found if each.gap is not None]
    said = [_note(text, many)]
    if gaps:
        said.append("The gap and the number of gradients are those of the worst window.")
    shares: dict[str, float] = {}
    for who, amount in (share for each in found for share in each.kept):
        shares[who] = shares.get(who, 0.0) + amount / many
    return Checks(
        total=total,
        change=change,
        gap=max(gaps, default=None),
        residual=total - change if change is not None and not gaps else None,
        tolerance=found[0].tolerance,
        nodes=max((each.nodes for each in found if each.nodes is not None), default=None),
        spread=max((each.spread for each in found if each.spread is not None), default=None),
        kept=tuple(shares.items()),
        forward_rows=sum(each.forward_rows for each in found) + many,  # once each for the class that is predicted
        gradient_rows=sum(each.gradient_rows for each in found),
        ids=text.whole.ids,
        notes=join_notes(text.whole.notes, said, *(each.notes for each in found)),
    )


def _note(text: Windowed, many: int) -> str:
    return (
        f"The text of {len(text.whole.ids)} tokens was read in {many} windows of up to {len(text.windows[0].ids)}, "
        "each half over the one before, and a word sees only its own windows. The explained number is the mean over "
        "the windows; a score is the sum over those that hold the token, divided by the number of all."
    )
