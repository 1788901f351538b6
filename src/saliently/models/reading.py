"""Text to tokens by a tokenizer of the `tokenizers` library, with every token's place in the user's own text."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from saliently.errors import InputError, SaliencyWarning
from saliently.types import Span, Tokens
from saliently.units import group

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

PAIR = ("premise", "hypothesis")
"""Names of the two texts of a pair, in the order in which models read them."""


@dataclass(frozen=True, eq=False)
class TokenizerReader:
    """Reads a text, or a pair of texts as the tokenizer joins them.

    Attributes:
        tokenizer: a copy of our own, so that the user's is never changed.
        specials: spellings of special tokens. Typed by a user they are text and are read as such.
        limit: most tokens the model takes, or None.
        segments: does the model take segment ids?
        unknown: the id of the token for unknown text, or None.
        mask: the one special token that a user may type, in masked language models.
        takes: names of the texts that it reads, in the order of the model.
    """

    tokenizer: Tokenizer
    specials: tuple[str, ...] = ()
    limit: int | None = None
    segments: bool = False
    unknown: int | None = None
    mask: str | None = None
    takes: tuple[tuple[str, ...], ...] = (("text",), PAIR)

    @staticmethod
    def over(
        tokenizer: Tokenizer,
        specials: Sequence[str],
        limit: int | None,
        segments: bool,
        unknown: int | None = None,
        mask: str | None = None,
    ) -> TokenizerReader:
        """A reader with a copy of `tokenizer` that neither cuts nor pads, and takes typed special tokens for text."""
        copy = type(tokenizer).from_str(tokenizer.to_str())
        copy.no_truncation()
        copy.no_padding()
        copy.encode_special_tokens = mask is None
        return TokenizerReader(copy, tuple(specials), limit, segments, unknown, mask)

    def __call__(self, fields: Mapping[str, str], truncate: bool) -> Tokens:
        """Tokens of the field `text`, or of the fields `premise` and `hypothesis`; or of others, by `takes`.

        Raises:
            InputError: other fields; no text; not Unicode; longer than the limit and not `truncate`.
        """
        given = checked(fields, self.takes if self.mask is None else (("text",),))
        self._check_typed(given)
        found = _encode(self.tokenizer, given)
        kept, truncated = found, None
        if self.limit is not None and len(found.ids) > self.limit:
            if not truncate:
                raise too_long(len(found.ids), self.limit)
            truncated, kept = (len(found.ids), self.limit), self._cut(given, self.limit)
        spans = self._spans(kept, list(given))
        for name, text in given.items():
            check_some_token(text, [span for span in spans if span is None or span.field == name])
        tokens = group(given, *self.only_words(kept), spans)
        kinds = tuple(kept.type_ids) if self.segments else ()
        return replace(tokens, kinds=kinds, truncated=truncated, notes=self._notes(given, truncated))

    def only_words(self, found: Encoding) -> tuple[list[int], list[str]]:
        """Ids and spellings, where text never has the id of a special token.

        Some vocabularies (Unigram) hold the spellings of special tokens as pieces, which would end the text early.
        """
        ids, pieces = list(found.ids), list(found.tokens)
        controls = {self.tokenizer.token_to_id(special) for special in self.specials if special != self.mask}
        for at, special in enumerate(found.special_tokens_mask):
            if not special and ids[at] in controls and self.unknown is not None:
                ids[at], pieces[at] = self.unknown, self.tokenizer.id_to_token(self.unknown) or pieces[at]
        return ids, pieces

    def _spans(self, found: Encoding, names: Sequence[str]) -> list[Span | None]:
        """Where each token stands; None for a special one, and for a mask."""
        mask = None if self.mask is None else self.tokenizer.token_to_id(self.mask)
        shut = [special or i == mask for special, i in zip(found.special_tokens_mask, found.ids, strict=True)]
        owners = [owner or 0 for owner in found.sequence_ids]
        return [None if shut[i] else Span(names[owners[i]], *offsets) for i, offsets in enumerate(found.offsets)]

    def _cut(self, given: Mapping[str, str], limit: int) -> Encoding:
        copy = type(self.tokenizer).from_str(self.tokenizer.to_str())
        copy.encode_special_tokens = self.mask is None
        copy.enable_truncation(limit)
        return _encode(copy, given)

    def _notes(self, given: Mapping[str, str], truncated: tuple[int, int] | None) -> tuple[str, ...]:
        said = []
        if truncated:
            said.append(f"Cut from {truncated[0]} to {truncated[1]} tokens, the model's limit; the rest was not seen.")
        if self.mask is None and (typed := self._typed(given)):
            said.append(f"{', '.join(typed)} in the text was read as text, not as a special token.")
            warnings.warn(said[-1], SaliencyWarning, stacklevel=2)
        return tuple(said)

    def _typed(self, given: Mapping[str, str]) -> list[str]:
        """Spellings of special tokens that a user typed."""
        return [special for special in self.specials if any(special in text for text in given.values())]

    def _check_typed(self, given: Mapping[str, str]) -> None:
        """Raise InputError where a text for a masked language model holds another special token than the mask."""
        if self.mask is not None and (others := [each for each in self._typed(given) if each != self.mask]):
            raise InputError(
                f"A text with {self.mask} was asked for; it holds {', '.join(others)} too, which this tokenizer would "
                "take for special tokens. Spell them in another way."
            )


def _encode(tokenizer: Tokenizer, given: Mapping[str, str]) -> Encoding:
    """A text, or two as the tokenizer joins them."""
    first, second = (*given.values(), None)[:2]
    return tokenizer.encode(str(first), second)


def checked(fields: Mapping[str, str], allowed: Sequence[tuple[str, ...]]) -> dict[str, str]:
    """The fields in the order in which a model reads them; `allowed` holds the sets of names that it takes.

    Raises:
        InputError: other or missing fields, no text, a lone surrogate.
    """
    names = next((names for names in allowed if set(names) == set(fields)), None)
    if names is None:
        takes = ", or ".join(" and ".join(names) for names in allowed)
        raise InputError(f"Fields {', '.join(fields) or 'none'} were given; this model reads {takes}.")
    return {name: _checked_text(fields[name], name) for name in names}


def _checked_text(text: object, name: str) -> str:
    """A text that can be read."""
    if not isinstance(text, str):
        raise InputError(f"A text was asked for; found {type(text).__name__} {text!r:.40}. Give a string.")
    if not text.strip():
        which = "" if name == "text" else f" ({name})"
        raise InputError(
            f"A text was asked for; this one{which} is empty{', but for spaces' * bool(text)}. Give some words."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"A Unicode text was asked for; found half a character (a lone surrogate) at place {error.start}. "
            "Decode the text with the encoding it was written in."
        ) from None
    return text


def check_some_token(text: str, spans: Sequence[Span | None]) -> None:
    """Raise InputError where a text gave no token of its own."""
    if all(span is None for span in spans):
        raise InputError(
            f"A text was asked for; {text!r:.40} is empty to this tokenizer, it gives no token. Give some words."
        )


def limit_of(reader: object) -> int | None:
    """Most tokens that a reader of texts gives; None without a limit, or of what reads otherwise."""
    return reader.limit if isinstance(reader, TokenizerReader) else None


def check_length(reader: object, tokens: Tokens) -> None:
    """Raise InputError for tokens that are more than their model takes at once, such as a text read in windows."""
    limit = limit_of(reader)
    if limit is not None and len(tokens.ids) > limit:
        raise too_long(len(tokens.ids), limit)


def too_long(found: int, limit: int) -> InputError:
    """The error of a text over the model's limit."""
    return InputError(
        f"The text has {found} tokens with special ones; the model takes {limit}. Shorten it, or allow a cut with "
        "truncate=True (--truncate), which is marked in the result."
    )
