"""Text to tokens by a tokenizer of the `tokenizers` library, with every token's place in the user's own text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from saliently.errors import InputError
from saliently.types import Span, Tokens
from saliently.units import group

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


@dataclass(frozen=True, eq=False)
class TokenizerReader:
    """Reads one text field.

    Attributes:
        tokenizer: a copy of our own, so that the user's is never changed.
        specials: spellings of special tokens. Typed by a user they are text and are read as such.
        limit: most tokens the model takes, or None.
        segments: does the model take segment ids?
        unknown: the id of the token for unknown text, or None.
    """

    tokenizer: Tokenizer
    specials: tuple[str, ...] = ()
    limit: int | None = None
    segments: bool = False
    unknown: int | None = None

    @staticmethod
    def over(
        tokenizer: Tokenizer, specials: Sequence[str], limit: int | None, segments: bool, unknown: int | None = None
    ) -> TokenizerReader:
        """A reader with a copy of `tokenizer` that neither cuts nor pads, and takes typed special tokens for text."""
        copy = type(tokenizer).from_str(tokenizer.to_str())
        copy.no_truncation()
        copy.no_padding()
        copy.encode_special_tokens = True
        return TokenizerReader(copy, tuple(specials), limit, segments, unknown)

    def __call__(self, fields: Mapping[str, str], truncate: bool) -> Tokens:
        """Tokens of the one field.

        Raises:
            InputError: other fields than `text`; no text; not Unicode; longer than the limit and not `truncate`.
        """
        text = only_text(fields)
        found = self.tokenizer.encode(text)
        kept, truncated = found, None
        if self.limit is not None and len(found.ids) > self.limit:
            if not truncate:
                raise too_long(len(found.ids), self.limit)
            truncated, kept = (len(found.ids), self.limit), self._cut(text, self.limit)
        spans = [
            None if special else Span("text", *offsets)
            for special, offsets in zip(kept.special_tokens_mask, kept.offsets, strict=True)
        ]
        check_some_token(text, spans)
        tokens = group(fields, *self._only_words(kept), spans)
        kinds = tuple(kept.type_ids) if self.segments else ()
        return replace(tokens, kinds=kinds, truncated=truncated, notes=self._notes(text, truncated))

    def _only_words(self, found: Encoding) -> tuple[list[int], list[str]]:
        """Ids and spellings, where text never has the id of a special token.

        Some vocabularies (Unigram) hold the spellings of special tokens as pieces, which would end the text early.
        """
        ids, pieces = list(found.ids), list(found.tokens)
        controls = {self.tokenizer.token_to_id(special) for special in self.specials}
        for at, special in enumerate(found.special_tokens_mask):
            if not special and ids[at] in controls and self.unknown is not None:
                ids[at], pieces[at] = self.unknown, self.tokenizer.id_to_token(self.unknown) or pieces[at]
        return ids, pieces

    def _cut(self, text: str, limit: int) -> Encoding:
        copy = type(self.tokenizer).from_str(self.tokenizer.to_str())
        copy.encode_special_tokens = True
        copy.enable_truncation(limit)
        return copy.encode(text)

    def _notes(self, text: str, truncated: tuple[int, int] | None) -> tuple[str, ...]:
        said = []
        if truncated:
            said.append(f"Cut from {truncated[0]} to {truncated[1]} tokens, the model's limit; the rest was not seen.")
        if typed := [special for special in self.specials if special in text]:
            said.append(f"{', '.join(typed)} in the text was read as text, not as a special token.")
        return tuple(said)


def only_text(fields: Mapping[str, str]) -> str:
    """The field `text`, checked.

    Raises:
        InputError: other or missing fields, no text, a lone surrogate.
    """
    if set(fields) != {"text"}:
        raise InputError(f"Fields {', '.join(fields) or 'none'} were given; this model reads one field: text.")
    text = fields["text"]
    if not isinstance(text, str):
        raise InputError(f"A text was asked for; found {type(text).__name__} {text!r:.40}. Give a string.")
    if not text.strip():
        raise InputError(f"A text was asked for; this one is empty{', but for spaces' * bool(text)}. Give some words.")
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


def too_long(found: int, limit: int) -> InputError:
    """The error of a text over the model's limit."""
    return InputError(
        f"The text has {found} tokens with special ones; the model takes {limit}. Shorten it, or allow a cut with "
        "truncate=True (--truncate), which is marked in the result."
    )
