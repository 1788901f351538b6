"""Where in a model attention is paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from saliently.errors import ModelError

if TYPE_CHECKING:
    from saliently.seam.watch import Attention


@dataclass(frozen=True)
class Place:
    """One attention of a model.

    Attributes:
        name: of the submodule, as `named_modules` spells it; a submodule that runs again counts on: `name#2`.
        cross: it looks at the states of another stack.
        decoder: it belongs to a decoder that has an encoder beside it.
        causal: it looks back only.
        whole: every query can be told apart; not so for the single query of additive attention.
        heads: how many heads.
    """

    name: str
    cross: bool
    decoder: bool
    causal: bool
    whole: bool
    heads: int


def places(seen: Sequence[Attention], longer: Sequence[Attention]) -> tuple[Place, ...]:
    """Of one forward pass, in order; `longer` is a pass over a longer text.

    Raises:
        ModelError: another text shows another number of attentions.
    """
    if len(seen) != len(longer):
        raise ModelError(
            f"The attentions of a model were to be told apart; one text shows {len(seen)} of them and another "
            f"{len(longer)}. Use a method that needs only gradients or removals."
        )
    names = [each.name for each in seen]
    decoders = tuple({_stack(each.name) for each in seen if each.cross})
    return tuple(
        Place(
            name=name if (again := names[:i].count(name)) == 0 else f"{name}#{again + 1}",
            cross=each.cross,
            decoder=name.startswith(decoders) if decoders else False,
            causal=each.weights.shape[-2] > 1 and not bool(each.weights.triu(1).any()),
            whole=each.weights.shape[-2] > 1 and _grows(each, longer[i]),
            heads=each.weights.shape[1],
        )
        for i, (name, each) in enumerate(zip(names, seen, strict=True))
    )


def _grows(seen: Attention, longer: Attention) -> bool:
    """Has it more queries in a longer text?"""
    same = seen.weights.shape[-1] == longer.weights.shape[-1]
    return same or seen.weights.shape[-2] != longer.weights.shape[-2]


def _stack(name: str) -> str:
    """`"decoder.block.0.layer.1.EncDecAttention"` -> `"decoder.block."`: what its layers' names begin with."""
    parts = name.split(".")
    first = next((i for i, part in enumerate(parts) if part.isdecimal()), len(parts) - 1)
    return ".".join(parts[:first]) + "."
