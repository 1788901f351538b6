"""Attention through layers, slow and plain: path by path, cut by cut, entry by entry.

`edges` writes down the network of Abnar and Zuidema 2020; `relevances` goes by the rules of Chefer et al. 2021.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from scipy.optimize import linprog

from saliently.methods.heads import Heads, Layer
from saliently.seam.places import Place

Node = tuple[str, int, int]
"""A stack, how many attentions made it, and a position; ("token", 0, i) and ("start", 0, 0) are inputs."""
SOURCE: Node = ("source", 0, 0)
Edges = dict[Node, dict[Node, float]]


def layer(seed: int, size: tuple[int, int, int], kind: str = "encoder", sharp: float = 4.0) -> Layer:
    """Random attention, nearly all of it on few tokens where `sharp` is large, with a random gradient."""
    generator = torch.Generator().manual_seed(seed)
    weights = (sharp * torch.randn(size, generator=generator, dtype=torch.float64)).softmax(-1)
    place = Place(f"{kind}.{seed}", kind == "cross", kind != "encoder", False, size[1] > 1, size[0])
    return Layer(place, weights, torch.randn(size, generator=generator, dtype=torch.float64))


def encoder(seed: int, layers: int, tokens: int, queries: list[float] | None = None) -> Heads:
    stack = tuple(layer(100 * seed + i, (2, tokens, tokens)) for i in range(layers))
    shares = queries or [1.0] + [0.0] * (tokens - 1)
    return Heads(stack, torch.tensor(shares, dtype=torch.float64))


def encoder_decoder(seed: int, tokens: int) -> Heads:
    """Two layers each."""
    kinds = ["encoder", "encoder", "decoder", "cross", "decoder", "cross"]
    stack = tuple(layer(100 * seed + i, (2, tokens, tokens), kind) for i, kind in enumerate(kinds))
    return Heads(stack, torch.tensor([0.0] * (tokens - 1) + [1.0], dtype=torch.float64))


def mean(one: Layer, q: int, k: int) -> float:
    """The mean over heads."""
    return sum(float(head[q][k]) for head in one.weights) / len(one.weights)


def edges(heads: Heads) -> Edges:
    """Who reads whom, and how much, with the source above."""
    tokens, found, counts = heads.layers[0].weights.shape[-1], Edges(), {"encoder": 0, "decoder": 0}

    def at(stack: str, i: int) -> Node:
        if counts[stack]:
            return (stack, counts[stack], i)
        moved = i - (stack == "decoder")
        return ("token", 0, moved) if moved >= 0 else ("start", 0, 0)

    for one in heads.layers:
        kind = one.place.name.partition(".")[0]
        stack = "encoder" if kind == "encoder" else "decoder"
        new: Edges = {(stack, counts[stack] + 1, q): {} for q in range(one.weights.shape[1])}
        for (q, reads), k in itertools.product(enumerate(new.values()), range(tokens)):
            half = 1.0 if one.weights.shape[1] == 1 < tokens else 0.5
            read = at("encoder" if kind == "cross" else stack, k)
            reads[read] = reads.get(read, 0.0) + half * mean(one, q, k)
            if k == q and half < 1:
                reads[at(stack, q)] = reads.get(at(stack, q), 0.0) + half
        counts[stack] += 1
        found |= new
    found[SOURCE] = {}
    for q, share in enumerate(heads.queries.tolist()):  # one node for all that count: the mean of what they read
        for read, weight in found.pop((stack, counts[stack], q)).items():
            found[SOURCE][read] = found[SOURCE].get(read, 0.0) + share * weight
    return found


def inputs(heads: Heads) -> list[Node]:
    tokens = [("token", 0, i) for i in range(heads.layers[0].weights.shape[-1])]
    return [*tokens, ("start", 0, 0)] if any(one.place.decoder for one in heads.layers) else tokens


def paths(heads: Heads) -> list[float]:
    """For each input the sum over all ways to it from the source of the products of their weights."""

    def walk(node: Node, sink: Node, reads: Edges) -> float:
        if node == sink:
            return 1.0
        return sum(weight * walk(read, sink, reads) for read, weight in reads.get(node, {}).items())

    return [walk(SOURCE, sink, edges(heads)) for sink in inputs(heads)]


def smallest_cuts(heads: Heads) -> list[float]:
    """For each input the smallest sum of weights that part it from the source when cut, of all cuts there are."""
    reads = edges(heads)
    flat = [(a, b, weight) for a, each in reads.items() for b, weight in each.items()]

    def cuts(sink: Node) -> Iterator[float]:
        # An input that is not the sink leads nowhere, so it costs least on the side of the source.
        free = [node for node in reads if node != SOURCE]
        for sides in itertools.product([False, True], repeat=len(free)):
            below = {node for node, side in zip(free, sides, strict=True) if side} | {sink}
            yield sum(weight for a, b, weight in flat if a not in below and b in below)

    return [min(cuts(sink)) for sink in inputs(heads)]


def programs(heads: Heads) -> list[float]:
    """For each input the largest flow, as a linear program."""
    reads = edges(heads)
    flat = [(a, b, weight) for a, each in reads.items() for b, weight in each.items()]
    found = []
    for sink in inputs(heads):
        inner = [node for node in {*reads, *inputs(heads)} if node not in (SOURCE, sink)]
        kept = [[float(b == node) - float(a == node) for a, b, _ in flat] for node in inner]
        gain = [-float(b == sink) for _, b, _ in flat]
        best = linprog(gain, A_eq=kept, b_eq=[0.0] * len(inner), bounds=[(0, w) for _, _, w in flat])
        found.append(-float(best.fun))
    return found


# The paper's rules on lists of lists.

Matrix = list[list[float]]


def times(a: Matrix, b: Matrix) -> Matrix:
    return [[sum(row[k] * b[k][j] for k in range(len(b))) for j in range(len(b[0]))] for row in a]


def plus(a: Matrix, b: Matrix) -> Matrix:
    return [[x + y for x, y in zip(left, right, strict=True)] for left, right in zip(a, b, strict=True)]


def one(size: int) -> Matrix:
    return [[float(i == j) for j in range(size)] for i in range(size)]


def normalised(relevance: Matrix) -> Matrix:
    """Eq. 8 and 9."""
    size = len(relevance)
    found = one(size)
    for i in range(size):
        rest = [relevance[i][j] - float(i == j) for j in range(size)]
        for j in range(size):
            found[i][j] += rest[j] / sum(rest) if sum(rest) > 0 else 0.0
    return found


def pushing(each: Layer) -> Matrix:
    """Eq. 5."""
    assert each.gradient is not None
    heads, many, keys = each.weights.shape
    pairs = [
        [list(zip(each.weights[:, q, k], each.gradient[:, q, k], strict=True)) for k in range(keys)]
        for q in range(many)
    ]
    return [[sum(max(0.0, float(w * g)) for w, g in pair) / heads for pair in row] for row in pairs]


def relevances(heads: Heads) -> tuple[Matrix, Matrix, Matrix]:
    """R_ee, R_dd and R_de, by Eq. 6, 7 and 10."""
    size = heads.layers[0].weights.shape[-1]
    ee, dd, de = one(size), one(size), [[0.0] * size for _ in range(size)]
    for each in heads.layers:
        push = pushing(each)
        if each.place.cross:
            turned = [list(column) for column in zip(*normalised(dd), strict=True)]
            de = plus(de, times(times(turned, push), normalised(ee)))
        elif each.place.decoder:
            de, dd = plus(de, times(push, de)), plus(dd, times(push, dd))
        else:
            ee = plus(ee, times(push, ee))
    return ee, dd, de


def gradient_rollout(heads: Heads) -> list[float]:
    """What the method says it gives, from R."""
    ee, dd, de = relevances(heads)
    size, found = len(ee), [0.0] * len(ee)
    for (q, share), t in itertools.product(enumerate(heads.queries.tolist()), range(size)):
        if any(each.place.decoder for each in heads.layers):
            found[t] += share * de[q][t]
            if t + 1 < size:
                found[t] += share * (dd[q][t + 1] - float(q == t + 1))
        else:
            found[t] += share * (ee[q][t] - float(q == t))
    return found
