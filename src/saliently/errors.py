"""Everything that saliently raises on purpose.

    SaliencyError               the root: catch this one
    ├── InputError              the text or data can't be used: empty, too long, not Unicode
    ├── RecipeError             a method, parameter, blank or target that does not exist or does not fit
    ├── ModelError              the model can't be loaded, wrapped or asked: wrong head, no such folder, unsafe weights
    ├── NumberError             the model or the method gave NaN or infinity
    ├── MissingExtraError       a feature needs a package that is not installed; names the command that installs it
    └── SomeFailed              several inputs were asked for and some failed; holds the explanations that were finished

Every message says what was asked, what was found and what to do, in one or two sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from saliently.types import Explanation


class SaliencyError(Exception):
    """The root of all errors that saliently raises on purpose."""


class InputError(SaliencyError):
    """The text or the data can't be used."""


class RecipeError(SaliencyError):
    """A method, parameter, blank or target does not exist, or does not fit this model."""


class ModelError(SaliencyError):
    """The model can't be loaded, wrapped or asked."""


class NumberError(SaliencyError):
    """The model or the method gave NaN or infinity."""


class MissingExtraError(SaliencyError):
    """A feature needs a package that is not installed."""


class SomeFailed(SaliencyError):
    """Some of several inputs failed; nothing that was finished is lost.

    Attributes:
        finished: position in the input -> its explanation.
        failures: position in the input -> its error.
    """

    def __init__(self, finished: Mapping[int, Explanation], failures: Mapping[int, SaliencyError]) -> None:
        self.finished = dict(finished)
        self.failures = dict(failures)
        first, error = next(iter(self.failures.items()))
        super().__init__(
            f"{len(self.failures)} of {len(self.failures) + len(self.finished)} inputs failed; the first is number "
            f"{first}: {error} The others are in `.finished`."
        )


class SaliencyWarning(UserWarning):
    """Category of every warning that saliently gives."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`"gradeint", ["gradient"]` -> `" Did you mean 'gradient'?"`; an empty string when nothing is near."""
    by_case = {name.lower(): name for name in known}
    near = get_close_matches(word.lower(), list(by_case), n=1)
    return f" Did you mean {by_case[near[0]]!r}?" if near else ""
