"""Layers that keep nothing for the backward pass but what comes in, and are run again when it comes to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from saliently.errors import ModelError


@contextmanager
def checkpointed(module: nn.Module, name: str) -> Iterator[None]:
    """Inside the block each layer is checkpointed: memory of one layer at a time, for a third more computing.

    transformers' own switch works in training mode alone. The layers' `forward` is shadowed on the objects, and only
    inside the block.

    Raises:
        ModelError: the module has no list of layers of one kind.
    """
    layers = list(dict.fromkeys(_layers(module)))
    if not layers:
        raise ModelError(
            f"Checkpoints were asked for; {name} has no list of layers of one kind, between which they could be. Leave "
            "checkpoint out, and use a smaller budget."
        )
    with ExitStack() as stack:
        for layer in layers:
            stack.callback(_put_back, layer, layer.__dict__.get("forward"))
            layer.forward = _again(layer.forward)
        yield


def _put_back(layer: nn.Module, own: Callable[..., Any] | None) -> None:
    """A forward of the object's own, as accelerate gives one, or none."""
    if own is None:
        del layer.forward
    else:
        layer.forward = own


def _again(forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*given: Any, **named: Any) -> Any:
        return checkpoint(forward, *given, use_reentrant=False, preserve_rng_state=False, **named)

    return run


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """Elements of the outermost lists of modules of one kind."""
    for part in module.children():
        if isinstance(part, nn.ModuleList) and len(part) > 1 and len({type(each) for each in part}) == 1:
            yield from part
        else:
            yield from _layers(part)
