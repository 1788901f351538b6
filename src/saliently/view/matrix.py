"""One explanation for each output: outputs down, the words of the input across."""

from __future__ import annotations

from saliently.matrices import Matrix
from saliently.types import Pinned, join_notes
from saliently.view.ink import UNSIGNED, Ink
from saliently.view.nodes import Document, Facts, Heat, Mark, Sentence, Text, sentence
from saliently.view.parts import MEANING, provenance
from saliently.view.spell import number


def matrix_parts(matrix: Matrix) -> Document:
    """Everything a reader should see of the outputs of one text."""
    first = matrix[0]
    alerts = [
        sentence(f"Check failed for {each.target.describe()}. {said}", "alert")
        for each in matrix
        for said in each.checks.failed
    ]
    return Document(
        (
            sentence(f"Which words did each of {len(matrix)} outputs depend on?", "question"),
            *alerts,
            Facts(
                (
                    ("outputs", f"the {first.target.of} of each{_against(first.target)}"),
                    ("method", first.method),
                    ("scores", MEANING[first.quantity]),
                )
            ),
            _legend(matrix),
            _heat(matrix),
            *(sentence(said) for said in join_notes(*(each.checks.notes for each in matrix))),
            sentence(provenance(first), "small"),
        )
    )


def _against(target: Pinned) -> str:
    others = {
        None: "",
        "rest": " against all others",
        "mean": " less the mean of all others",
        "next": " less the next best",
    }
    return others.get(target.against, f" less that of {target.against}")


def largest(matrix: Matrix) -> float:
    """The largest magnitude of a word in any row: what colours are shares of."""
    return max(Ink.of(each).largest for each in matrix)


def _legend(matrix: Matrix) -> Sentence:
    quantity, most = matrix[0].quantity, largest(matrix)
    scaled = f"Strength is a share of the largest score of a word in all rows, {number(most, False)}."
    if quantity in UNSIGNED:
        return Sentence((Mark(UNSIGNED[quantity], 1.0, False), Text(f". {scaled}")), "legend")
    samples = (Mark("raises", 1.0, True), Text(" or "), Mark("lowers", -1.0, True))
    return Sentence((*samples, Text(f" the output of the row. {scaled}")), "legend")


def field_starts(matrix: Matrix) -> tuple[int, ...]:
    """Columns with which a field of the input begins, but for the first."""
    fields = [unit.field for unit in matrix[0].words()]
    return tuple(i for i in range(1, len(fields)) if fields[i] != fields[i - 1])


def _heat(matrix: Matrix) -> Heat:
    heads = tuple(unit.text for unit in matrix[0].words())
    signed, most = matrix[0].quantity not in UNSIGNED, largest(matrix)
    rows = []
    for each in matrix:
        ink = Ink(signed, most)
        name = each.target.label if each.target.at is None else f"{each.target.label}, {each.target.at}"
        marks = [
            ink.mark(ink.number(unit.score or 0.0), unit.score or 0.0, f"{unit.text}: {ink.number(unit.score or 0.0)}")
            for unit in each.words()
        ]
        rows.append((name, number(each.values[0], signed=False), tuple(marks)))
    fields = list(dict.fromkeys(unit.field for unit in matrix[0].words()))
    across = f"words of {', then '.join(fields)}" if len(fields) > 1 else "words of the text"
    return Heat(f"Outputs down, {across} across", heads, tuple(rows), field_starts(matrix))
