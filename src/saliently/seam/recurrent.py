"""Recurrent layers step by step, in calls that rules can be written for.

torch computes a whole LSTM, GRU or plain RNN in one call. `unrolled` gives the same outputs from plain torch calls:

    LSTM   i, f, g, o = W [x; h] + b     c = sigmoid(f) * c + sigmoid(i) * tanh(g)     h = sigmoid(o) * tanh(c)
    GRU    r, z = sigmoid(W [x; h] + b)     n = tanh(W_in x + b_in + r * (W_hn h + b_hn))     h = (1 - z) * n + z * h
    RNN    h = tanh(W [x; h] + b), or relu

Source: the formulas in torch's documentation of nn.LSTM (with its projection of h), nn.GRU and nn.RNN.

Departures: W joins the weights of input and state, and b their two biases, so that a gate's pre-activation is one
linear map of d + e inputs, as the relevance rules of Arras et al. 2017 take it. No dropout between layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saliently.errors import ModelError

State = tuple[Tensor, ...]
"""(h,), or (h, c) of an LSTM, with a row for each sequence."""

Step = Callable[[Tensor, State], State]

FUSED = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
CELLS = frozenset({"lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"})


def unrolled(name: str, args: Sequence[Any]) -> Any:
    """What torch's function `name` (of FUSED or CELLS) gives for these positional arguments, computed step by step.

    Raises:
        ModelError: dropout between layers is on; its noise can't be repeated.
    """
    if name in CELLS:
        x, hx, *weights = args
        state = step_of(name.removesuffix("_cell"), Weights(*weights))(x, tuple(hx) if name == "lstm_cell" else (hx,))
        return state if name == "lstm_cell" else state[0]
    call = _Call.read(name, args)
    if call.train and call.dropout > 0 and call.layers > 1:
        raise ModelError(
            f"A forward pass of {name} step by step was asked for; it has dropout {call.dropout} between its layers, "
            "and the model is in training mode. Call .eval() on the model first."
        )
    return _stacked(call)


@dataclass(frozen=True)
class Weights:
    """The parameters of one direction of one layer, as torch lays them out; `w_hr` projects the h of an LSTM."""

    w_ih: Tensor
    w_hh: Tensor
    b_ih: Tensor | None = None
    b_hh: Tensor | None = None
    w_hr: Tensor | None = None

    @property
    def joined(self) -> tuple[Tensor, Tensor | None]:
        """(weight of [x; h], bias)."""
        bias = None if self.b_ih is None or self.b_hh is None else self.b_ih + self.b_hh
        return torch.cat([self.w_ih, self.w_hh], dim=1), bias


def step_of(name: str, weights: Weights) -> Step:
    """The function that takes one step."""
    if name == "lstm":
        return _lstm(weights)
    return _gru(weights) if name == "gru" else _rnn(weights, torch.tanh if name == "rnn_tanh" else torch.relu)


def _lstm(weights: Weights) -> Step:
    weight, bias = weights.joined
    project = weights.w_hr

    def step(x: Tensor, state: State) -> State:
        h, c = state
        i, f, g, o = F.linear(torch.cat([x, h], dim=-1), weight, bias).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h if project is None else F.linear(h, project), c

    return step


def _gru(weights: Weights) -> Step:
    weight, bias = weights.joined
    size = 2 * weights.w_hh.shape[1]
    gates, gates_bias = weight[:size], None if bias is None else bias[:size]
    new_x, new_x_bias = weights.w_ih[size:], None if weights.b_ih is None else weights.b_ih[size:]
    new_h, new_h_bias = weights.w_hh[size:], None if weights.b_hh is None else weights.b_hh[size:]

    def step(x: Tensor, state: State) -> State:
        (h,) = state
        r, z = torch.sigmoid(F.linear(torch.cat([x, h], dim=-1), gates, gates_bias)).chunk(2, dim=-1)
        n = torch.tanh(F.linear(x, new_x, new_x_bias) + r * F.linear(h, new_h, new_h_bias))
        return ((1 - z) * n + z * h,)

    return step


def _rnn(weights: Weights, activation: Callable[[Tensor], Tensor]) -> Step:
    weight, bias = weights.joined

    def step(x: Tensor, state: State) -> State:
        return (activation(F.linear(torch.cat([x, state[0]], dim=-1), weight, bias)),)

    return step


@dataclass(frozen=True)
class _Call:
    """The arguments of a fused call, for either of its two forms."""

    name: str
    steps: Sequence[Tensor]  # by time, each (rows, size); packed input has fewer rows later on
    packed: bool
    hx: State  # each (layers * directions, rows, size)
    weights: Sequence[Weights]  # by layer, then direction
    layers: int
    dropout: float
    train: bool
    batch_first: bool

    @classmethod
    def read(cls, name: str, args: Sequence[Any]) -> _Call:
        """(x, hx, weights, has_biases, ..., batch_first) or (data, batch_sizes, hx, weights, has_biases, ...)."""
        packed = not isinstance(args[3], bool)
        if packed:
            data, sizes, hx, flat, has_biases, layers, dropout, train, bidirectional = args
            steps, batch_first = data.split(sizes.tolist()), False
        else:
            x, hx, flat, has_biases, layers, dropout, train, bidirectional, batch_first = args
            steps = x.unbind(1 if batch_first else 0)
        count = len(flat) // (layers * (2 if bidirectional else 1))
        weights = [_weights(flat[start : start + count], has_biases) for start in range(0, len(flat), count)]
        state = tuple(hx) if name == "lstm" else (hx,)
        return cls(name, steps, packed, state, weights, layers, dropout, train, batch_first)


def _weights(flat: Sequence[Tensor], has_biases: bool) -> Weights:
    if has_biases:
        return Weights(*flat)
    return Weights(flat[0], flat[1], w_hr=flat[2] if len(flat) == 3 else None)


def _stacked(call: _Call) -> State:
    """All layers: (outputs, last h), of an LSTM with the last c too."""
    directions = len(call.weights) // call.layers
    steps, finals = call.steps, []
    for layer in range(call.layers):
        ways = []
        for way in range(directions):
            number = layer * directions + way
            step, start = step_of(call.name, call.weights[number]), tuple(entry[number] for entry in call.hx)
            outputs, final = (_backward if way else _forward)(step, steps, start)
            ways.append(outputs)
            finals.append(final)
        steps = ways[0] if directions == 1 else [torch.cat(pair, dim=-1) for pair in zip(*ways, strict=True)]
    joined = torch.cat(list(steps)) if call.packed else torch.stack(list(steps), 1 if call.batch_first else 0)
    return joined, *(torch.stack(entries) for entries in zip(*finals, strict=True))


def _forward(step: Step, steps: Sequence[Tensor], state: State) -> tuple[list[Tensor], State]:
    """(outputs by time, last state of each row); rows end from the last on."""
    outputs, ended = [], []
    for x in steps:
        if len(x) < len(state[0]):
            ended.append(tuple(entry[len(x) :] for entry in state))
            state = tuple(entry[: len(x)] for entry in state)
        state = step(x, state)
        outputs.append(state[0])
    if ended:
        state = tuple(torch.cat(pieces) for pieces in zip(state, *reversed(ended), strict=True))
    return outputs, state


def _backward(step: Step, steps: Sequence[Tensor], start: State) -> tuple[list[Tensor], State]:
    """The same from the end; rows come in when the time of their last step has come."""
    outputs: list[Tensor] = []
    state = tuple(entry[:0] for entry in start)
    for x in reversed(steps):
        rows = len(state[0])
        if rows < len(x):
            state = tuple(torch.cat([now, new[rows : len(x)]]) for now, new in zip(state, start, strict=True))
        state = step(x, state)
        outputs.append(state[0])
    return outputs[::-1], state
