"""Names of torch calls by the kind of operation they are."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ACTIVATIONS = _names(
    "relu relu6 leaky_relu prelu gelu silu mish elu selu celu hardswish hardtanh tanh tanhshrink softshrink hardshrink "
    "softsign erf sin sinh asin asinh atan atanh tan expm1 log1p square threshold clamp clip clamp_min clamp_max"
)
"""Elementwise functions that are 0 at 0: what comes out is all due to what went in."""

GATES = _names(
    "sigmoid hardsigmoid logsigmoid softplus exp exp2 cos cosh acos acosh erfc log log2 log10 logaddexp __rpow__"
)
"""Elementwise functions that are not 0 at 0: they open and shut, and have nothing of their input to pass on."""

NORMALISERS = _names("rsqrt sqrt reciprocal std norm vector_norm linalg_norm linalg_vector_norm")
"""What other numbers are divided by, or multiplied with, so that their size is 1."""

MATRIX_PRODUCTS = _names("matmul mm bmm mv dot inner outer tensordot")
"""Calls that are linear in each of two tensors, and add up."""

PRODUCTS = MATRIX_PRODUCTS | _names("mul multiply einsum")
"""Calls that are linear in each of their tensors."""

DIVISIONS = _names("div divide true_divide __rdiv__ __rtruediv__")
ADDITIONS = _names("add sub subtract __rsub__ rsub")
CONVOLUTIONS = _names("conv1d conv2d conv3d")
RECURRENT = _names("lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell")
