"""Words in clauses, clauses in sentences, sentences in fields: the groups that punctuation makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from saliently.games.trees import Tree, halves, nested

_ENDS_SENTENCE = frozenset(".!?…。！？")  # noqa: RUF001
_ENDS_CLAUSE = frozenset(",;:()[]{}—–，、；：（）،؛«»")  # noqa: RUF001


def grown(names: Sequence[str], fields: Sequence[str], cut: bool) -> Tree:
    """The tree of some words, whose texts and fields are given in order: fields, sentences, clauses, words. With `cut`
    every group of more than two is cut in the middle again and again."""
    join = halves if cut else nested
    every = _runs(range(len(names)), lambda i: i + 1 < len(names) and fields[i] != fields[i + 1])
    return join([join([join(clauses) for clauses in _sentences(field, names, join)]) for field in every])


def _sentences(field: Sequence[int], names: Sequence[str], join: Callable[[Sequence[Tree]], Tree]) -> list[list[Tree]]:
    """The clauses of each sentence of a field."""
    sentences = _runs(field, lambda i: _is(names[i], _ENDS_SENTENCE))
    return [[join(clause) for clause in _runs(each, lambda i: _is(names[i], _ENDS_CLAUSE))] for each in sentences]


def _runs(numbers: Sequence[int], last: Callable[[int], bool]) -> list[list[int]]:
    """The numbers in runs; one ends with each that is a `last` one."""
    found: list[list[int]] = [[]]
    for i in numbers:
        found[-1].append(i)
        if last(i):
            found.append([])
    return [run for run in found if run]


def _is(word: str, signs: frozenset[str]) -> bool:
    bare = word.strip()
    return bool(bare) and all(sign in signs for sign in bare)
