"""Models of sentence vectors: two texts, each read by itself, and how much alike their vectors are.

R rows, M tokens of one text, D embedding dimensions, H dimensions of a sentence vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from saliently.errors import ModelError, did_you_mean
from saliently.models.base import Model
from saliently.models.batch import Batch, Part
from saliently.models.forward import Forward, takes
from saliently.models.huggingface import known, limit_of
from saliently.models.reading import TokenizerReader, checked
from saliently.types import Tokens, join_notes
from saliently.units import group

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Pooling = Literal["mean", "cls", "last"]
Similarity = Literal["cosine", "dot"]

FIELDS = ("text", "other")
_SHORT, _LONG = "good", "good, bad and good or bad"
_NEAR = 1e-5
"""How far padding may move a similarity, as a share of it: rounding."""
_LEAST = 1e-8
"""The least length that a vector is divided by, as in `torch.cosine_similarity`."""


def wrap_embedder(
    module: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pooling: Pooling = "mean",
    similarity: Similarity = "cosine",
    name: str | None = None,
) -> Model:
    """A model of sentence vectors that is in memory already; module and tokenizer stay as they are.

    It reads {"text": ..., "other": ...}, each by itself with its special tokens. The explained number is how much alike
    the vectors of the two are, as it is: the cosine of their angle, from -1 to 1, or their dot product. Tokens of both
    texts get a score.

    Args:
        module: a transformers model without a head, such as BertModel, which gives `last_hidden_state` (R, M, H).
        pooling: the vector of a text is the mean of its tokens' states, special tokens included; the state of its first
            token ("cls"), or of its last. Layers that some models have behind that are not run; a normalisation there
            makes no difference to the cosine.
        similarity: "cosine" or "dot".

    Raises:
        ModelError: a model with a head, with a decoder beside its encoder, or of another kind; a tokenizer without a
            fast form; an unknown pooling or similarity.
    """
    _check_choice("Pooling", pooling, get_args(Pooling))
    _check_choice("Similarity", similarity, get_args(Similarity))
    _check_module(module, tokenizer)
    embedding = module.get_input_embeddings()
    pad = tokenizer.pad_token_id if module.config.pad_token_id is None else module.config.pad_token_id
    ids = {"mask": known(tokenizer.mask_token_id, embedding), "pad": known(pad, embedding)}
    forward = Embedder(module, embedding, ids["pad"] or 0, POOLINGS[pooling], similarity == "cosine")
    text = TokenizerReader.over(
        tokenizer.backend_tokenizer,
        tokenizer.all_special_tokens,
        limit_of(module, tokenizer),
        "token_type_ids" in tokenizer.model_input_names and "token_type_ids" in forward.takes,
        tokenizer.unk_token_id,
    )
    model = Model(
        name=name or module.config.name_or_path or type(module).__name__,
        module=module,
        embedding=embedding,
        read=TwoReader(text),
        forward=forward,
        labels=("similarity",),
        link="none",
        blank_ids={kind: token for kind, token in ids.items() if token is not None},
        scale="output",
        pieces=forward.pieces,
        given=lambda text: dict.fromkeys(FIELDS, text),
    )
    return model if _bears_padding(model) else replace(model, max_rows=1)


@dataclass(frozen=True, eq=False)
class TwoReader:
    """Reads two texts by themselves, one behind the other. Attributes: text, how one of them is read."""

    text: TokenizerReader

    def __call__(self, fields: Mapping[str, Any], truncate: bool) -> Tokens:
        """Tokens of the fields `text` and `other`, each with its special tokens; a stream for each.

        Raises:
            InputError: other fields; no text; not Unicode; one is longer than the model takes, and not `truncate`.
        """
        given = checked(fields, (FIELDS,))
        both = [replace(self.text, takes=((name,),))({name: text}, truncate) for name, text in given.items()]
        one, two = both
        tokens = group(given, one.ids + two.ids, one.pieces + two.pieces, one.spans + two.spans)
        cut = [each.truncated or (len(each.ids), len(each.ids)) for each in both]
        return replace(
            tokens,
            kinds=one.kinds + two.kinds,
            notes=join_notes(one.notes, two.notes),
            truncated=(cut[0][0] + cut[1][0], cut[0][1] + cut[1][1]) if one.truncated or two.truncated else None,
            streams=(tuple(range(len(one.ids))), tuple(range(len(one.ids), len(tokens.ids)))),
        )


class Embedder(Forward):
    """The similarity of the vectors of two texts. Each runs by itself, so that one's padding is not the other's."""

    def __init__(
        self, module: nn.Module, embedding: nn.Module, pad: int, pool: Callable[[Tensor, Tensor], Tensor], cosine: bool
    ) -> None:
        super().__init__(module, embedding, pad)
        self.pool, self.cosine = pool, cosine

    def pieces(self, batch: Batch) -> Sequence[Part]:
        return batch.part(0, self.pad), batch.part(1, self.pad)

    def outputs(self, batch: Batch) -> Tensor:
        one, two = (self._vector(part) for part in self.pieces(batch))
        # A product and a sum, which rules of relevance know, in the place of torch's one call.
        return (one * two).sum(-1, keepdim=True)

    def _vector(self, part: Part) -> Tensor:
        """(R, H) the vector of one text; NaN where none of it is left."""
        given: dict[str, Any] = {"input_ids": part.ids, "attention_mask": part.mask}
        if part.kinds is not None:
            given["token_type_ids"] = part.kinds
        if "use_cache" in self.takes:
            given["use_cache"] = False
        states: Tensor = self.module(**given, return_dict=True).last_hidden_state
        vector = self.pool(states, part.mask)
        if self.cosine:
            vector = vector / vector.norm(dim=-1, keepdim=True).clamp(min=_LEAST)
        gone = part.mask.sum(1, keepdim=True) == 0
        return vector.masked_fill(gone, torch.nan) if bool(gone.any()) else vector


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    """(R, H) of states (R, M, H), over real tokens."""
    real = mask[..., None].to(states.dtype)
    return (states * real).sum(1) / real.sum(1).clamp(min=1)


def _first(states: Tensor, mask: Tensor) -> Tensor:
    return states[:, 0]


def _last(states: Tensor, mask: Tensor) -> Tensor:
    at = (mask.sum(1) - 1).clamp(min=0)
    return states[torch.arange(len(at), device=at.device), at]


POOLINGS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"mean": _mean, "cls": _first, "last": _last}
"""From states (R, M, H) and a mask (R, M), padded on the right, to vectors (R, H)."""


def _check_choice(what: str, asked: object, there: Sequence[str]) -> None:
    if asked not in there:
        raise ModelError(
            f"{what} {asked!r} was asked for; there are {', '.join(map(repr, there))}.{did_you_mean(str(asked), there)}"
        )


def _check_module(module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ModelError unless these are an encoder or a decoder without a head, and a fast tokenizer."""
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    if not isinstance(module, PreTrainedModel) or not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ModelError(
            f"A transformers model and its tokenizer were asked for; found {type(module).__name__} and "
            f"{type(tokenizer).__name__}. Of a SentenceTransformer give the model inside, model[0].auto_model, and "
            "model.tokenizer."
        )
    if module.base_model is not module:
        raise ModelError(
            f"A model without a head was asked for, whose states are pooled; found {type(module).__name__}. Give "
            "module.base_model, or load it with AutoModel."
        )
    if "decoder_input_ids" in takes(module):
        raise ModelError(
            f"A model of one text was asked for; {type(module).__name__} has a decoder beside its encoder. Give "
            "module.get_encoder()."
        )
    if not tokenizer.is_fast:
        raise ModelError(
            f"A tokenizer that tells where its tokens stand in the text was asked for; found "
            f"{type(tokenizer).__name__}. Load it with AutoTokenizer, which gives the fast form."
        )


def _bears_padding(model: Model) -> bool:
    """Does padding leave the similarity of two short texts as it is? Not so in models that mix tokens without regard to
    the mask; their rows run one by one."""
    texts = [dict(zip(FIELDS, pair, strict=True)) for pair in ((_SHORT, _LONG), (_LONG, _SHORT))]
    try:
        alone = [Batch.one(model.read(each, True), model.device) for each in texts]
        with model.resting(), torch.no_grad():
            plain = torch.cat([model.run(each) for each in alone])
            together = model.run(_side_by_side(alone))
        near = max(_NEAR, torch.finfo(plain.dtype).eps ** 0.5) * max(1.0, float(plain.abs().max()))
        return bool((together - plain).abs().max() <= near)
    except Exception:
        return False  # what is wrong with reading or running is told when a text is asked for


def _side_by_side(rows: Sequence[Batch]) -> Batch:
    """Rows of as many tokens, whose texts are of different lengths."""
    ids = torch.cat([row.ids for row in rows])
    kinds = [row.kinds for row in rows if row.kinds is not None]
    longest = max(stream.shape[1] for row in rows for stream in row.streams)
    streams = [
        torch.cat([nn.functional.pad(row.streams[k], (0, longest - row.streams[k].shape[1]), value=-1) for row in rows])
        for k in range(len(FIELDS))
    ]
    return replace(Batch.of(ids, torch.cat(kinds) if kinds else None), streams=tuple(streams))
