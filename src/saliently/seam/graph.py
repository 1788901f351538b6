"""After the forward pass: did every operation pass through the seam?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.autograd.function import BackwardCFunction

from saliently.errors import ModelError

VIEWS = frozenset(
    "View UnsafeView ReshapeAlias Permute Transpose T Expand Clone ToCopy Unsqueeze Squeeze Alias Slice Select Split "
    "SplitWithSizes Unbind AsStrided Unfold Contiguous Repeat Copy CopySlices AsStridedScatter Flip Roll Movedim "
    "Diagonal Narrow Chunk UnsafeSplit Unflatten Tile AccumulateGrad Detach Lift".split()
)
LINEAR = frozenset(
    "Add Sub Rsub Neg Sum Mean Cat Stack Addmm Addmv Addbmm Linear MkldnnLinear Convolution ConvolutionOverrideable "
    "Index IndexSelect IndexAdd IndexPut IndexFill Gather Scatter ScatterAdd Embedding MaskedFill Where MaskedScatter "
    "MaskedSelect ConstantPadNd Pad Cumsum Max Amax Maximum Min Amin Minimum Abs Topk Sort Trace Triu Tril Zeros "
    "NativeDropout FusedDropout Dropout RepeatInterleave Put Take SelectScatter SliceScatter Foreach "
    "Sgn Div Relu AvgPool1D AvgPool2D AdaptiveAvgPool1D AdaptiveAvgPool2D MaxPool2DWithIndices UpsampleNearest1D "
    "GroupedMm Real ViewAsReal ViewAsComplex Complex Einsum PackPaddedSequence PadSequence Fft".split()
)
PRODUCTS = frozenset("Mul Mm Bmm Baddbmm Mv Dot Addcmul SumproductPair".split())
FUSED = frozenset(
    "ScaledDotProductFlashAttention ScaledDotProductFlashAttentionForCpu ScaledDotProductEfficientAttention "
    "ScaledDotProductCudnnAttention ScaledDotProductFusedAttentionOverrideable ScaledDotProductAttentionMath".split()
)
ACTIVATIONS = frozenset(
    "Gelu Silu Tanh Sigmoid LeakyRelu PreluKernel Elu Softplus Hardtanh Hardswish Mish Exp Expm1 Log Log1p Erf Sin Cos "
    "Pow LogSigmoid Glu Hardsigmoid Softshrink".split()
)
"""Names of the autograd nodes that relevance may pass through, less "Backward" and a number. What is not linear passes
by a rule's own node in its place; a softmax between two of them, and torch's fused attention behind some."""


def check(value: Tensor, x: Tensor, plain: bool) -> None:
    """Raise ModelError where the value depends on x, the input, through an operation that no rule has seen, or on
    something else that asks for a gradient and would be taken for a part of the input.

    With `plain`, activations and products of two things that depend on the input may pass on by their gradient; else
    nothing but a rule's own operation may stand for an activation, and a rule must have set each factor's share.
    """
    known = VIEWS | LINEAR | PRODUCTS | FUSED | (ACTIVATIONS if plain else frozenset())
    for node in _nodes(value.grad_fn):
        kind = _kind(node)
        if _is_ours(node):
            continue
        if kind == "AccumulateGrad" and node.variable is not x:
            raise ModelError(
                f"Relevance was to be sent back to the word vectors; the forward pass uses a tensor of shape "
                f"{tuple(node.variable.shape)} as well that asks for a gradient and is no parameter of the model. Make "
                "it one, or call requires_grad_(False) on it."
            )
        factors = [below for below, _ in node.next_functions if below is not None]
        counted = kind == "SafeSoftmax" or (kind == "Softmax" and _is(_source(factors[0]), "_Entering"))
        if isinstance(node, BackwardCFunction) or (kind not in known and not counted):
            raise ModelError(
                f"Relevance was to be sent back through {node.name()}; no rule of layer-wise relevance propagation has "
                "seen that operation: it has a backward pass of its own, or runs where the pass can't be looked into. "
                "Use gradient-x-input, integrated-gradients or occlusion on this model."
            )
        if not plain and kind in PRODUCTS and len(factors) > 1 and not all(map(_is_shared, factors[-2:])):
            raise ModelError(
                f"Relevance was to be sent back through {node.name()}, a product of two parts that depend on the "
                "input; it ran where the pass can't be looked into (scripted, or a function of its own), so that "
                "nothing says how they share. Use gradient-x-input, integrated-gradients or occlusion on this model."
            )


def _nodes(start: Any) -> Iterator[Any]:
    """Every node of the graph once."""
    seen, waiting = {start}, [start]
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        yield node
        for below, _ in node.next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                waiting.append(below)


def _kind(node: Any) -> str:
    """`"MulBackward0"` -> `"Mul"`."""
    return re.sub(r"(Backwards?)?\d*$", "", str(node.name()).split("::")[-1])


def _is_shared(node: Any) -> bool:
    """Does this factor of a product come from where its share was set?"""
    return _is(_source(node), "_Scaled")


def _source(node: Any) -> Any:
    """Where a tensor comes from, but for views."""
    while _kind(node) in VIEWS and len(node.next_functions) == 1 and node.next_functions[0][0] is not None:
        node = node.next_functions[0][0]
    return node


def _is(node: Any, kind: str) -> bool:
    """Is it a rule's own operation of that kind?"""
    return _is_ours(node) and _kind(node) == kind


def _is_ours(node: Any) -> bool:
    """Is it a rule's own operation? Names alone don't tell."""
    made: Any = type(node)
    return isinstance(node, BackwardCFunction) and made._forward_cls.__module__.startswith("saliently.seam.")
