"""Axioms: which of the properties that an explanation could be asked for does each method keep?

Sundararajan et al. 2017 (sensitivity, implementation invariance, linearity, symmetry, completeness); Shapley 1953
(dummy). Measured on networks of a few numbers, where a violation can be told from a property of the model. What the
literature says of each method is written down in `EXPECTED`, so that one that does otherwise is noticed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from saliently.api import explain
from saliently.audit.asked import RANDOM, Floats
from saliently.audit.axiom_measures import AXIOMS, Scores
from saliently.audit.axiom_networks import COMPLETE, IMPLEMENTED, Asked
from saliently.audit.phrases import listed
from saliently.errors import RecipeError, SaliencyError
from saliently.methods.base import Method
from saliently.methods.seeds import seed_of
from saliently.names import parse
from saliently.reports import Column, Figure, Report, Table, timed

METHODS = (
    "gradient",
    "gradient-x-input",
    "integrated-gradients(blank='zero', tolerance=0.0001)",
    "lrp",
    "occlusion(blank='zero')",
    "shapley(blank='zero')",
    "banzhaf(blank='zero')",
    RANDOM,
)
"""One of each family that can be asked of a formula; attention needs a network that pays some."""

KEPT = 0.01
"""A violation up to here is rounding, or the error of a quadrature."""

_BRACKETS = "factors of a product share equally, so that brackets decide (arXiv 2510.18810)"
_SLOPE = "behind a bend the slope is 0 (Sundararajan et al. 2017)"

EXPECTED: Mapping[str, Mapping[str, str]] = {
    "gradient": {
        "sensitivity(a)": _SLOPE,
        "linearity": "the norm of a sum is not the sum of norms",
    },
    "gradient-x-input": {
        "sensitivity(a)": _SLOPE,
        "completeness": "a tangent misses what bends (Ancona et al. 2018)",
    },
    "integrated-gradients": {},
    "lrp": {
        "sensitivity(a)": "on ReLU nets it is gradient x input (Ancona et al. 2018), and a bias takes the rest",
        "dummy": "as invariance: what cancels in the value need not cancel in shares",
        "symmetry": "as invariance: words that are alike may stand in different brackets",
        "invariance": f"{_BRACKETS}, and a gate takes nothing (Sundararajan et al. 2017; Arras et al. 2017)",
        "completeness": "biases absorb what is due to them (Bach et al. 2015)",
    },
    "occlusion": {"completeness": "each word is taken away beside all others (Ancona et al. 2018)"},
    "shapley": {},
    "banzhaf": {"completeness": "it is not efficient (Banzhaf 1965)"},
    RANDOM: {each.name: "it does not look" for each in AXIOMS if each.name != "sensitivity(a)"},
}
"""Method -> axioms that it fails, with the reason; all others it should keep. Any number but 0 keeps sensitivity(a)."""

LIMITS = (
    "Formulas of a few numbers: a method that keeps an axiom here may break it elsewhere, by rounding or by a rule "
    "that no formula used; one that fails here fails.",
    "Keeping axioms does not make an explanation right: they rule out, and methods that keep the same ones differ.",
    "Attention, norms and depth are not here, and neither are methods that need them.",
    "Against the zero vector alone; other blanks ask other questions.",
)


@timed
def axioms(methods: Sequence[str] = METHODS, seed: int = 0) -> Report:
    """Every method on every network; some seconds.

    Args:
        methods: recipes, and "random" for a control. `seed`: of the control and of the weights of sums.

    Raises:
        RecipeError: no methods, or one that is not known.
    """
    if not methods:
        raise RecipeError("Axioms were to be measured of no methods; give one at least.")
    notes = list[str]()
    asked = {name: None if name == RANDOM else parse(name) for name in dict.fromkeys(methods)}
    rows = {name: _row(name, method, seed, notes) for name, method in asked.items()}
    table = Table(
        "Largest violation of each axiom; 0 is kept",
        tuple(Column(each.name, each.said, "lower") for each in AXIOMS),
        rows,
        {name: _mark(method, rows[name]) for name, method in asked.items()},
        (f"Up to {KEPT} counts as kept.", *(_reasons(method) for method in _known(asked)), *notes),
    )
    return Report(
        title="Axioms",
        question="Which axioms of explanation does each method keep, and which does it fail as the literature says?",
        whom="For developers who choose a method by what it promises, or change one and want to see what it keeps.",
        verdict=_verdict(asked, rows),
        settings={"methods": list(asked), "kept": KEPT, "networks for completeness": len(COMPLETE)},
        seed=seed,
        tables=(table, _two_nets(asked, seed)),
        limits=LIMITS,
    )


Row = tuple[Figure | None, ...]


def _two_nets(asked: Mapping[str, Method | None], seed: int) -> Table:
    """Scores of the first pair: the example of the paper, to be read beside it."""
    one, other = IMPLEMENTED[0]
    columns = [
        Column(f"x{i} of {n}", f"score of x{i} in {net.name}") for n, net in ((1, one), (2, other)) for i in (0, 1)
    ]
    rows: dict[str, Row] = {}
    for name, method in asked.items():
        try:
            found = [float(score) for net in (one, other) for score in _scorer(method, seed)(net)]
        except SaliencyError:
            continue
        rows[name] = tuple(Figure(score, n=1, blank=_blank(method)) for score in found)
    return Table(
        f"One function computed in two ways, at {one.values}",
        tuple(columns),
        rows,
        {RANDOM: "control"} if RANDOM in rows else {},
        ("Integrated gradients and Shapley values are (1.5, -0.5) of both (Sundararajan et al. 2017, figure 7).",),
    )


def _row(name: str, method: Method | None, seed: int, notes: list[str]) -> Row:
    """The largest violation of each axiom; None where it is not asked of such a method, or can't be."""
    found: list[Figure | None] = []
    scores = _scorer(method, seed)
    for axiom in AXIOMS:
        if axiom.amounts and method is not None and method.quantity != "saliency":
            found.append(None)
            continue
        try:
            violations = axiom.violations(scores, seed)
        except SaliencyError as error:
            notes.append(f"{name} could not be asked about {axiom.name}: {error}")
            found.append(None)
            continue
        found.append(Figure(max(violations), n=len(violations), blank=_blank(method)))
    return tuple(found)


def _scorer(method: Method | None, seed: int) -> Scores:
    """Scores of a method, or of the control: numbers between -1 and 1 that go by the name of the network. Axioms share
    networks, and each is asked about once."""
    known: dict[int, tuple[Asked, Floats]] = {}  # with the network itself, so that no other gets its number

    def scores(asked: Asked) -> Floats:
        if id(asked) not in known:
            known[id(asked)] = (
                asked,
                (
                    np.random.default_rng(seed_of(seed, asked.name)).uniform(-1, 1, len(asked.text.split()))
                    if method is None
                    else np.asarray(explain(asked.model, asked.text, method).by_token, np.float64)
                ),
            )
        return known[id(asked)][1]

    return scores


def _blank(method: Method | None) -> str | None:
    return ", ".join(method.blanks) if method is not None and method.blanks else None


def _kind(method: Method | None) -> str:
    return RANDOM if method is None else method.name


def _known(asked: Mapping[str, Method | None]) -> list[str]:
    return [kind for kind in dict.fromkeys(_kind(method) for method in asked.values() if method) if EXPECTED.get(kind)]


def _reasons(kind: str) -> str:
    """Why a kind of method is expected to fail what it is expected to fail."""
    return f"{kind} should fail " + "; ".join(f"{axiom}: {why}" for axiom, why in EXPECTED[kind].items()) + "."


def _failed(row: Row) -> list[str]:
    pairs = zip(AXIOMS, row, strict=True)
    return [axiom.name for axiom, figure in pairs if figure is not None and figure.value > KEPT]


def _surprises(method: Method | None, row: Row) -> tuple[list[str], list[str]]:
    """Axioms that it failed and should keep, and that it kept and should fail."""
    expected, failed = EXPECTED.get(_kind(method)), _failed(row)
    if expected is None:
        return [], []
    asked = [axiom.name for axiom, figure in zip(AXIOMS, row, strict=True) if figure is not None]
    return (
        [name for name in failed if name not in expected],
        [name for name in asked if name in expected and name not in failed],
    )


def _mark(method: Method | None, row: Row) -> str:
    if not any(row):
        return "not asked"
    if any(_surprises(method, row)):
        return "not as expected"
    failed = len(_failed(row))
    return "control" if method is None else f"fails {failed}" if failed else "keeps all"


def _verdict(asked: Mapping[str, Method | None], rows: Mapping[str, Row]) -> tuple[str, ...]:
    whole = [name for name, method in asked.items() if method and any(rows[name]) and not _failed(rows[name])]
    known = {name: method for name, method in asked.items() if _kind(method) in EXPECTED}
    fallen = [
        f"{name} fails {listed([each for each in _failed(rows[name]) if each in EXPECTED[_kind(method)]])}"
        for name, method in known.items()
        if method is not None and any(each in EXPECTED[_kind(method)] for each in _failed(rows[name]))
    ]
    said = [
        f"Every axiom that can be asked of it is kept by {listed(whole)}." if whole else "No method keeps them all."
    ]
    said += [f"As the literature says, {'; '.join(fallen)}."] if fallen else []
    odd = []
    for name, method in known.items():
        more, less = _surprises(method, rows[name])
        odd += [f"{name} fails {listed(more)}, which it should keep"] if more else []
        odd += [f"{name} keeps {listed(less)}, which it should fail"] if less else []
    unknown = [name for name in asked if name not in known]
    said.append(f"Not as expected: {'; '.join(odd)}." if odd else "Nothing came out otherwise than expected.")
    return (*said, *([f"What to expect of {listed(unknown)} is not written down."] if unknown else []))
