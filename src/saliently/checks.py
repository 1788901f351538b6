"""What speaks for or against a result, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass

REST = "the rest"
"""In `Checks.kept`, what is left of the explained number when everybody's share is taken off."""

_MOST_LOST, _LEAST_LOST = 0.01, 1e-6


def missed(total: float, change: float) -> float:
    """How far a total is from the change that it should be, as a share of it."""
    if change:
        return abs(total - change) / abs(change)
    return float("inf") if abs(total) > _LEAST_LOST else 0.0


@dataclass(frozen=True)
class Checks:
    """What speaks for or against a result; None where a check does not apply.

    Attributes:
        total: sum of all scores (saliency only), special tokens included.
        change: f(input) - f(nothing).
        gap: |total - change| / |change|, for methods that promise completeness; for several blanks that of the worst.
        residual: total - change, for methods that don't (occlusion): what words do together, missed or counted twice.
        tolerance: the gap, or the error, at which the method says it is good enough.
        error: for methods that sample: the largest standard error of what was sampled (of a word, or of a pair), as a
            share of |change|. errors: (T,) standard error of each token's score; of a word's it is the sum at most.
            None and empty where nothing was sampled.
        fit: for surrogates: their R^2, weighted as they were fitted.
        stability: for surrogates: mean Jaccard index of the strongest words between samples drawn again.
        nodes: gradient evaluations along the path, for this input; for several blanks the most for one.
        spread: for several blanks: mean over tokens of the standard deviation between them, over the mean |score|.
        kept: for methods that share the explained number out: who got how much of it, words and special tokens first,
            then those that are no input; the amounts sum to it.
        forward_rows, gradient_rows: inputs (rows of a batch) run forward only, and forward and backward.
        ids: the token ids that the model saw for the unchanged input.
        notes: sentences for a reader.
    """

    total: float | None = None
    change: float | None = None
    gap: float | None = None
    residual: float | None = None
    tolerance: float | None = None
    error: float | None = None
    errors: tuple[float, ...] = ()
    fit: float | None = None
    stability: float | None = None
    nodes: int | None = None
    spread: float | None = None
    kept: tuple[tuple[str, float], ...] = ()
    forward_rows: int = 0
    gradient_rows: int = 0
    ids: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[str, ...]:
        """One sentence for each check that failed; empty when all is well."""
        return (*self._incomplete(), *self._rough(), *self._lost())

    def _incomplete(self) -> tuple[str, ...]:
        if self.gap is None or self.tolerance is None or self.gap <= self.tolerance:
            return ()
        return (
            f"The scores sum to {self.total:.4g}, the change to be explained is {self.change:.4g}: a gap of "
            f"{self.gap:.1%}, over the tolerance of {self.tolerance:.1%}. Allow more steps, or read them as rough.",
        )

    def _rough(self) -> tuple[str, ...]:
        if self.error is None or self.tolerance is None or self.error <= self.tolerance:
            return ()
        return (
            f"The largest standard error is {self.error:.1%} of the change to be explained, over the tolerance of "
            f"{self.tolerance:.1%}. Allow more rows, or read the scores as rough.",
        )

    def _lost(self) -> tuple[str, ...]:
        """Relevance that nobody can be named for."""
        whole, rest = sum(amount for _, amount in self.kept), dict(self.kept).get(REST, 0.0)
        if abs(rest) <= max(_MOST_LOST * abs(whole), _LEAST_LOST):
            return ()
        largest = max(abs(amount) for _, amount in self.kept)
        return (
            f"Of {whole:.4g}, {rest:.4g} went nowhere that can be named, with amounts up to {largest:.2g} that cancel: "
            "an operation passed on more or less than it got, or rounding rules the scores. Try an epsilon above 0, "
            "another variant or a wider dtype.",
        )

    def sentences(self) -> tuple[str, ...]:
        """The checks in words, failures first."""
        said = list(self.failed)
        if self.gap is not None and not said:
            said.append(
                f"The scores sum to {self.total:.4g} of {self.change:.4g}: a gap of {self.gap:.2%}"
                + (" for the worst blank" if self.spread is not None else "")
                + (f" after {self.nodes} gradients." if self.nodes else ".")
            )
        if self.error is not None and not self._rough():
            said.append(f"Sampled: the largest standard error is {self.error:.2%} of the change to be explained.")
        if self.fit is not None:
            said.append(
                f"The surrogate explains {self.fit:.1%} of what it was fitted to (weighted R\N{SUPERSCRIPT TWO})."
            )
        if self.stability is not None:
            said.append(
                f"Samples drawn again agree on the strongest words to {self.stability:.0%} (mean Jaccard index)."
            )
        if self.residual is not None:
            said.append(
                f"The scores sum to {self.total:.4g}, the whole change is {self.change:.4g}: a residual of "
                f"{self.residual:.4g} is left, since what words do together is missed or counted twice."
            )
        if self.kept:
            shares = ", ".join(f"{who} {amount:.4g}" for who, amount in self.kept if abs(amount) >= 5e-5)
            said.append(
                f"Of {sum(amount for _, amount in self.kept):.4g} there went to: {shares or 'nobody anything'}."
            )
        if self.spread is not None:
            said.append(f"Between the blanks the scores spread by {self.spread:.0%} of their mean size.")
        return (*said, *self.notes)
