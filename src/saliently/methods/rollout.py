"""Attention through all layers: how much of each input token could have come to the explained position.

The layers make a network. Its nodes are positions at the output of a layer, and what a node reads, its attention and
its own residual, are its edges. T tokens of one input, I input nodes: the tokens, and behind them a decoder's start
token, if there is one. Q nodes that read.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor

from saliently.checks import Checks
from saliently.errors import ModelError
from saliently.methods.base import Method, Scores
from saliently.methods.heads import Heads, Layer, read
from saliently.runner import Runner
from saliently.types import Quantity

_UNIT = 2**30
"""What a capacity of 1 is in whole numbers: as fine as 32 bits hold, which scipy computes in."""

_EDGES = 2**15
"""Most edges of copies that are solved at a time: more are no faster."""


@dataclass(frozen=True, eq=False)
class Step:
    """One attention in the network. Attributes: decoder, whose nodes it makes; own (Q, K), what they read of the nodes
    before them in their stack; other (Q, T), what they read of the encoder's nodes, if they look there."""

    decoder: bool
    own: Tensor
    other: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Network:
    """The attention of one input as a network. Attributes: steps, from the bottom up; queries (Q,), shares of the nodes
    of the last step in the explained number."""

    steps: tuple[Step, ...]
    queries: Tensor

    @property
    def tokens(self) -> int:
        """T."""
        return self.steps[0].own.shape[1]

    @property
    def both(self) -> bool:
        """Is there a decoder beside an encoder?"""
        return any(step.decoder for step in self.steps)

    def bottom(self) -> dict[bool, Tensor]:
        """Decoder or not -> (T, I) which input node its lowest nodes are.

        A decoder reads the encoder's tokens again, each one place later, behind a start token. A token is one input
        node, whichever stack reads it.
        """
        if not self.both:
            return {False: torch.eye(self.tokens, dtype=torch.float64)}
        places = torch.eye(self.tokens + 1, dtype=torch.float64)
        return {False: places[:-1], True: places.roll(1, 0)[:-1]}


def network(heads: Heads) -> Network:
    """The network of one input.

    Raises:
        ModelError: something attends after all tokens were mixed into one.
    """
    check_followed(heads)
    return Network(tuple(_step(layer, in_decoder(layer, heads)) for layer in heads.layers), heads.queries)


def check_followed(heads: Heads) -> None:
    """Raise ModelError unless every attention but the last mixes tokens into as many."""
    mixed = next((layer.place.name for layer in heads.layers[:-1] if not layer.place.whole), None)
    if mixed is not None:
        raise ModelError(
            f"Attention was to be followed through all layers; {mixed!r} mixes the tokens into one, and attention is "
            "paid after it. Use attention(layer=...), which looks at one."
        )


def in_decoder(layer: Layer, heads: Heads) -> bool:
    """Does it make nodes of a decoder beside an encoder?

    With no encoder before it, what looks at other states only looks at states that were made anew. What has one query
    for all tokens of the encoder makes a node of no decoder.
    """
    beside = any(not each.place.decoder for each in heads.layers)
    return beside and layer.place.decoder and (layer.place.whole or not layer.place.cross)


def _step(layer: Layer, decoder: bool) -> Step:
    """The mean over heads, with the residual: rows of A + I that sum to 1."""
    shares = layer.weights.mean(0).double()
    if not layer.place.whole:
        return Step(decoder, shares)
    residual, total = torch.eye(len(shares), dtype=shares.dtype), shares.sum(1, keepdim=True) + 1
    if decoder and layer.place.cross:
        return Step(decoder, residual / total, shares / total)
    return Step(decoder, (shares + residual) / total)


class ThroughLayers(Method):
    """A method that follows attention from the explained position down to the input."""

    def rows(self, tokens: int) -> int:
        return 1

    def __call__(self, runner: Runner) -> list[Scores]:
        return [self._score(network(heads)) for heads in read(runner)]

    def _score(self, layers: Network) -> Scores:
        shares = self.shares(layers)
        if not layers.both:
            return Scores(shares)
        note = f"{float(shares[-1]):.0%} of it leads to the decoder's start token, no part of the text."
        return Scores(shares[:-1], checks=Checks(notes=(note,)))

    @abstractmethod
    def shares(self, layers: Network) -> Tensor:
        """(I,) shares of the input nodes."""


@dataclass(frozen=True, repr=False)
class AttentionRollout(ThroughLayers):
    """Attention: how attention would mix the input tokens into the explained position, if it did nothing but mix.

    Abnar and Zuidema 2020, Section 3. A layer is the mean over its heads plus the identity for the residual, rows
    divided by their sums; the product of all layers tells how much of each input token is at each position. The row is
    that of the query that the explained number depends on (the first token in BERT, the last in GPT-2); the mean over
    rows where it depends on several, as behind mean pooling. Shares between 0 and 1 that sum to 1, special tokens
    included; it knows nothing of values, of feed-forward layers, or of which class is explained.

    Departures: the paper has encoders alone. In an encoder-decoder a decoder's position reads one half itself, one half
    the encoder's last states. Its input are the tokens behind a start token; what comes from a token by way of the
    encoder and of the decoder is added up, and what comes from the start token is in a note. Where one learned query
    reads recurrent states, there is no residual, and the result is the attention itself.
    """

    name: ClassVar[str] = "attention-rollout"
    quantity: ClassVar[Quantity] = "attention"

    def shares(self, layers: Network) -> Tensor:
        states = layers.bottom()
        for step in layers.steps:
            mixed = step.own @ states[step.decoder]
            states[step.decoder] = mixed if step.other is None else mixed + step.other @ states[False]
        return layers.queries @ states[layers.steps[-1].decoder]


@dataclass(frozen=True, repr=False)
class AttentionFlow(ThroughLayers):
    """Attention: the most that could flow from each input token to the explained position, attention being the pipes.

    Abnar and Zuidema 2020, Section 3. The network is that of `attention-rollout`, the weights of its edges are
    capacities, and the raw score of an input token is the maximum flow between it and the explained position, one
    problem a token. As in the authors' code the flows are divided by their sum: shares between 0 and 1 that sum to 1,
    special tokens included. A flow has a choice of ways, so that it is wider than rollout and flatter over the tokens.

    Departures: where the explained number depends on several positions, as behind mean pooling, they are one source
    with the mean of their rows as capacities. Capacities are rounded to multiples of 2^-30, which moves a flow by at
    most that times half the number of edges in a cut: in practice 1e-8. Encoder-decoders and recurrent nets are taken
    as by `attention-rollout`. Time grows with the cube of the number of tokens: as much as a forward pass for 30,
    some seconds for 300, half a minute for 500.
    """

    name: ClassVar[str] = "attention-flow"
    quantity: ClassVar[Quantity] = "attention"

    def shares(self, layers: Network) -> Tensor:
        flows = max_flows(layers)
        return flows / flows.sum().clamp(min=1 / _UNIT)


def max_flows(layers: Network) -> Tensor:
    """(I,) the maximum flow between the explained position and each input node.

    The problems of all input nodes have the inner nodes in common; what these pass on to the node whose turn it is goes
    into a sink. Small ones are solved several at a time, as copies side by side: a call has a price of its own.
    """
    edges, source = _edges(layers)
    readers, sources, capacities = (np.concatenate(each) for each in zip(*edges, strict=True))
    capacities = np.rint(capacities * _UNIT).astype(np.int32)
    inputs = layers.tokens + layers.both
    down = np.zeros((source + 1, inputs), np.int32)  # what each node passes on to each input node at once
    low = sources < inputs
    np.add.at(down, (readers[low], sources[low]), capacities[low])
    inner, nodes = ~low & (capacities > 0), np.arange(source - inputs)
    capacities = np.concatenate((capacities[inner], np.ones_like(nodes, np.int32)))
    readers = np.concatenate((readers[inner] - inputs, nodes))
    sources = np.concatenate((sources[inner] - inputs, np.full_like(nodes, len(nodes))))
    graph = csr_matrix((capacities, (readers, sources)), shape=(len(nodes) + 1, len(nodes) + 1))
    many = max(1, _EDGES // max(1, graph.nnz))
    found = [_flows(graph, down[inputs:-1, at : at + many].T) for at in range(0, inputs, many)]
    return torch.from_numpy(np.concatenate(found) + down[-1]).double() / _UNIT


def _flows(graph: csr_matrix, down: np.ndarray) -> np.ndarray:
    """(G,) maximum flows through G copies of a graph.

    N inner nodes. The last row of the graph (N + 1, N + 1) is what the source of all flows reads, its last column the
    sink. down (G, N), what each inner node passes on to the sink in each copy.
    """
    copies, nodes = down.shape
    ends, top = graph.indptr[1:], graph.indptr[nodes]
    offset = np.arange(copies, dtype=np.int32)[:, None]
    source, sink = copies * nodes, copies * nodes + 1
    reads = np.where(graph.indices[:top] == nodes, sink, graph.indices[:top] + offset * nodes)
    capacities = np.tile(graph.data[:top], (copies, 1))
    capacities[:, ends[:-1] - 1] = down  # of all that a node reads, the sink has the highest number
    starts = (graph.indptr[:-1] + offset * top)[:, :nodes].ravel()
    after = copies * ends[-1]
    joined = csr_matrix(
        (
            np.concatenate((capacities.ravel(), np.tile(graph.data[top:], copies))),
            np.concatenate((reads.ravel(), (graph.indices[top:] + offset * nodes).ravel())),
            np.concatenate((starts, [copies * top, after, after])),
        ),
        shape=(sink + 1, sink + 1),
    )
    flow = maximum_flow(joined, source, sink, method="dinic").flow
    own = slice(flow.indptr[source], flow.indptr[source + 1])
    return np.bincount(flow.indices[own] // max(1, nodes), flow.data[own], copies)


class Edges(NamedTuple):
    """Who reads, what is read, and with what capacity: one of each an edge."""

    readers: np.ndarray
    sources: np.ndarray
    capacities: np.ndarray


def _edges(layers: Network) -> tuple[list[Edges], int]:
    """All edges, and the node that stands for the explained position; input nodes come first."""
    nodes = {decoder: places.argmax(1).numpy() for decoder, places in layers.bottom().items()}
    count, found = layers.tokens + layers.both, list[Edges]()
    for step in (*layers.steps[:-1], _source(layers)):
        made = np.arange(count, count + len(step.own))
        count += len(made)
        found.append(_between(made, nodes[step.decoder], step.own))
        if step.other is not None:
            found.append(_between(made, nodes[False], step.other))
        nodes[step.decoder] = made
    return found, count - 1


def _source(layers: Network) -> Step:
    """The last step with all nodes that count made one."""
    last = layers.steps[-1]
    other = None if last.other is None else (layers.queries @ last.other)[None]
    return Step(last.decoder, (layers.queries @ last.own)[None], other)


def _between(readers: np.ndarray, sources: np.ndarray, capacities: Tensor) -> Edges:
    to, of = np.meshgrid(readers, sources, indexing="ij")
    return Edges(to.ravel(), of.ravel(), capacities.numpy().ravel())
