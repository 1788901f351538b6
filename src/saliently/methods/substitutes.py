"""Other words that could stand in a word's place: any of the vocabulary, or what a masked language model expects.

T tokens of a text, K words that could stand in a place, V words of the vocabulary, P rows of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from saliently import erase
from saliently.errors import InputError, ModelError, RecipeError
from saliently.models import loading
from saliently.models.base import Model
from saliently.models.choosing import ChoiceReader
from saliently.models.embedder import TwoReader
from saliently.models.heads import Spot, Term
from saliently.models.language import LanguageReader
from saliently.models.reading import TokenizerReader
from saliently.models.translation import TranslationReader
from saliently.packing import Budget
from saliently.passes import Pass, Path
from saliently.runner import Runner
from saliently.types import Target, Tokens


class Candidates(NamedTuple):
    """What could stand in a token's place.

    Attributes: ids (K,), likeliest first; chances (K,), which sum to 1; covered, the probability that they have
    together among all words of the language model.
    """

    ids: Tensor
    chances: Tensor
    covered: float


@dataclass(frozen=True, eq=False)
class Filler:
    """A masked language model, and which of the words that it expects are taken.

    Attributes: lm; model, into whose texts they are put; most, how many words for a place; least, what each must have
    of the probability; own, may the word that stands there be one of them?
    """

    lm: Model
    model: Model
    most: int
    least: float = 0.0
    own: bool = True

    @cached_property
    def allowed(self) -> Tensor:
        """(V,) True at the outputs of the language model that may stand in a text."""
        known = ordinary(self.model)[: len(self.lm.labels)]
        return torch.nn.functional.pad(known, (0, len(self.lm.labels) - len(known)))

    def words(self, inputs: Sequence[Tokens], budget: Budget) -> dict[int, dict[int, Candidates]]:
        """id of a text's Tokens -> its tokens that can be taken away -> what could stand there instead, by what the
        language model says with that token masked and all others as they are.

        Raises:
            InputError: a text is longer than the language model takes.
        """
        texts = list({id(tokens): tokens for tokens in inputs}.values())
        lm = replace(self.lm, find=_each_word)
        runner = Runner(lm, [self._as_read(tokens) for tokens in texts], Target(), budget, each=True)
        places = [(id(tokens), token) for tokens in texts for token, word in enumerate(tokens.words) if word]
        blocks = {}
        for i, (_, token) in enumerate(places):
            blocks[i] = erase.everything(runner.inputs[i])
            blocks[i][0, token] = 0.0
        found: dict[int, dict[int, Candidates]] = {id(tokens): {} for tokens in texts}
        with lm.resting():
            for reading in runner.through(blocks, self._read, Path("mask"), backward=False):
                text, token = places[reading.example]
                found[text][token] = reading.part
        return found

    def _as_read(self, tokens: Tokens) -> Tokens:
        """The text as the language model takes it."""
        reader = self.lm.read
        assert isinstance(reader, TokenizerReader)
        if reader.limit is not None and len(tokens.ids) > reader.limit:
            raise InputError(
                f"The text has {len(tokens.ids)} tokens; the masked language model {self.lm.name} takes "
                f"{reader.limit}. Shorten the text, or give another one as lm."
            )
        return replace(tokens, kinds=tokens.kinds if reader.segments else (), streams=())

    def _read(self, one: Pass) -> list[Candidates]:
        one.x.requires_grad_(False)
        with torch.no_grad():
            one.values()
        assert one.logits is not None
        logits = one.logits[:, 0]
        chances = (logits.float() if logits.device.type == "mps" else logits.double()).softmax(-1)
        allowed = self.allowed.to(chances.device).expand_as(chances).clone()
        if not self.own:
            allowed.scatter_(1, one.batch.ids.gather(1, one.batch.found(before=False)), False)
        many = min(self.most, int(allowed.sum(1).min()))
        top, ids = chances.masked_fill(~allowed, 0.0).topk(many)
        return [self._kept(*each) for each in zip(top.cpu(), ids.cpu(), strict=True)]

    def _kept(self, chances: Tensor, ids: Tensor) -> Candidates:
        """Those with enough of the probability, the likeliest in any case."""
        many = max(1, int((chances >= self.least).sum()))
        kept = chances[:many].double()
        # A model that expects nothing but special tokens gives all words a probability of 0 in floating point.
        shares = kept.clamp(min=torch.finfo(torch.float32).tiny)
        return Candidates(ids[:many], shares / shares.sum(), float(kept.sum()))


def filler_of(model: Model, lm: str | None) -> Model:
    """The masked language model that is to stand by: `lm`, or without a name the model itself.

    Raises:
        ModelError: it is no masked language model, or has another vocabulary.
        RecipeError: no name, and the model is none itself.
    """
    if lm is None:
        if not _fills(model):
            raise RecipeError(
                f"Words that could stand in a text were asked of {model.name}, which is no masked language model. Name "
                "one that reads the same tokens with lm=: a folder, or a name on the Hugging Face hub."
            )
        return model
    weights = (weight.dtype for weight in model.module.parameters() if weight.is_floating_point())
    found = loading.load(lm, device=model.device, dtype=next(weights, torch.float32))
    if not _fills(found):
        raise ModelError(
            f"A masked language model was asked for with lm={lm!r}; that is {type(found.module).__name__}. Give one "
            "of ...ForMaskedLM."
        )
    _check_same(model, found)
    return found


def vocabulary(model: Model) -> Mapping[str, int] | None:
    """Spelling -> id of the model's tokens; None where a reader of the user's own can't say."""
    reader = _text_reader(model)
    return None if reader is None else reader.tokenizer.get_vocab()


def ordinary(model: Model, tokens: Tokens | None = None) -> Tensor:
    """(V,) True at ids that may stand in a text: those with a word vector that are no special token, neither by the
    tokenizer, nor as a mask or padding, nor in this text.

    Raises:
        RecipeError: the vocabulary can't be listed, or there is none.
    """
    size, reader = erase.vocabulary_size(model), _text_reader(model)
    known = set(range(size)) if size is not None and reader is None else set((vocabulary(model) or {}).values())
    special = set(model.blank_ids.values())
    if reader is not None:
        special |= {i for each in reader.specials if (i := reader.tokenizer.token_to_id(each)) is not None}
    if tokens is not None:
        special |= {i for i, word in zip(tokens.ids, tokens.words, strict=True) if not word}
    ids = [i for i in known - special if size is None or i < size]
    if not ids:
        raise RecipeError(
            f"Other words were to be put into a text; {model.name} embeds with {type(model.embedding).__name__}, whose "
            "vocabulary can't be listed. Use a method that takes words away, such as occlusion."
        )
    found = torch.zeros(size or max(ids) + 1, dtype=torch.bool)
    found[ids] = True
    return found


def seen(tokens: Tokens, spot: Spot) -> Tensor:
    """(T,) True at the words that the explained place can depend on: in a response those before it, else all."""
    words = erase.words(tokens)
    if tokens.response is None:
        return words
    return words & (torch.arange(len(words)) <= max(term.token for term in spot.terms))


def _text_reader(model: Model) -> TokenizerReader | None:
    reader = model.read
    several = (LanguageReader, TranslationReader, ChoiceReader, TwoReader)
    inner = reader.text if isinstance(reader, several) else reader
    return inner if isinstance(inner, TokenizerReader) else None


def _fills(model: Model) -> bool:
    """Is it a masked language model? Only their readers take a mask for one."""
    return isinstance(model.read, TokenizerReader) and model.read.mask is not None


def _check_same(model: Model, lm: Model) -> None:
    """Raise ModelError where an id is another word to the language model than to the model."""
    ours, theirs = vocabulary(model), vocabulary(lm)
    if ours is None:
        raise ModelError(
            f"A masked language model with the vocabulary of {model.name} was asked for; the reader of that model "
            "can't say which word an id stands for. Wrap the model with its tokenizer."
        )
    assert theirs is not None
    other = sorted(piece for piece in {*ours, *theirs} if ours.get(piece) != theirs.get(piece))
    if other:
        raise ModelError(
            f"A masked language model with the vocabulary of {model.name} was asked for; {lm.name} has {len(other)} "
            f"tokens that one of both has not, or under another id, such as {other[0]!r}. Give one with the same "
            "tokenizer."
        )


def _each_word(model: Model, tokens: Tokens, target: Target, each: bool) -> tuple[Spot, ...]:
    """The places of all tokens that can be taken away."""
    return tuple(Spot((Term(token),)) for token, word in enumerate(tokens.words) if word)
