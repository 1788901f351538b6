"""Toys with known answers: how far is each method from what it should say, where that is known?

Arras et al. 2019 (sums), Hao 2020 (the counter), De Cao et al. 2020 (counting digits), and games with known Shapley
values. The networks are small, and trained or set by hand on the spot; see `saliently.toys`.
"""

from __future__ import annotations

from collections.abc import Sequence

from saliently.audit.asked import RANDOM
from saliently.audit.phrases import listed
from saliently.audit.toy_figures import Compared, counter_table, counting_table, exact_table, sums_table
from saliently.errors import RecipeError
from saliently.methods.base import Method
from saliently.names import parse
from saliently.reports import Report, Table, timed
from saliently.toys import counting, sums

METHODS = (
    "gradient",
    "gradient-x-input",
    "integrated-gradients(blank='zero', tolerance=0.001)",
    "lrp",
    "lrp(epsilon=0.001)",
    "occlusion(blank='zero')",
    RANDOM,
)
"""Relevance propagation twice: with the stabiliser of the papers, and without, as is the default here."""

FOUND, FAILED = 0.95, 0.8
"""Correlations, in the right direction, from which a method has found the numbers, and below which it has failed."""

QUESTION = "How far are the scores of each method from the right ones, on networks small enough that these are known?"
WHOM = (
    "For developers who choose a method, or change one, and want to see first that it works where the answer is known."
)
LIMITS = (
    "A method that fails here can't be trusted on what the toy has; one that passes may still fail on a large model.",
    "All of them are tiny, and recurrent or bags of words; nothing here says anything of attention, norms or depth.",
    "On the sums, right is what the task needs; a network that is right to 0.01 may still do it in another way.",
    "The sums' marks, 1 and -1, and all training are ours, not the papers': published figures can be met in kind, "
    "not to the digit.",
    "Numbers inside the networks of the sums are small, some 0.05, so that a stabiliser takes more than elsewhere.",
    "The closed forms of the counter tell what a method is, not whether that is a good explanation.",
    "The zero vector was never seen in training, as is so for most blanks: occlusion's failure is partly the blank's.",
)


@timed
def toy(methods: Sequence[str] = METHODS, seed: int = 0, networks: int = 5, texts: int = 100) -> Report:
    """All toys, all methods: below a minute on one core.

    Args:
        methods: recipes, and "random" for a control.
        seed: of training, texts and intervals.
        networks: how many are trained for each of addition and subtraction; the paper has 50.
        texts: how many each figure is over.

    Raises:
        RecipeError: no methods, networks or texts. ModelError: training failed with this seed, or a method does not fit
            the toys.
    """
    if not methods or networks < 1 or texts < 2:
        raise RecipeError(
            f"toy was asked for with {len(methods)} methods, {networks} networks and {texts} texts; give at least one "
            "method, one network and two texts."
        )
    compared = Compared({name: _parsed(name) for name in methods}, seed)
    trained = sums.networks(networks, seed)
    add, subtract = (sums_table(compared, operation, models, texts) for operation, models in trained.items())
    count = counter_table(compared, texts)
    others = counting_table(compared, counting.network(seed), texts), exact_table(compared)
    return Report(
        title="Toys with known answers",
        question=QUESTION,
        whom=WHOM,
        verdict=(
            _sums_said(compared, "addition", add),
            _sums_said(compared, "subtraction", subtract),
            *_lost_said(count),
        ),
        settings={"methods": list(methods), "networks": networks, "texts": texts},
        seed=seed,
        tables=(add, subtract, count, *others),
        limits=LIMITS,
    )


def _parsed(name: str) -> Method | None:
    return None if name == RANDOM else parse(name)


def _sums_said(compared: Compared, operation: sums.Operation, table: Table) -> str:
    """Which saliency methods found both numbers, and which missed one, by what the table says."""
    signs = 1.0, 1.0 if table.columns[1].better == "higher" else -1.0
    worst: dict[str, float] = {}
    for name, (first, second, _) in table.rows.items():
        method = compared.methods[name]
        if method is not None and method.quantity == "saliency":
            both = zip(signs, (first, second), strict=True)
            worst[name] = min(0.0 if each is None else sign * each.value for sign, each in both)
    good = [f"{name} ({value:.3f})" for name, value in worst.items() if value >= FOUND]
    bad = [f"{name} ({value:.2f})" for name, value in worst.items() if value < FAILED]
    return (
        f"On {operation}, both numbers are found, with a correlation of at least {FOUND}, by {listed(good)}; one is "
        f"missed, with a correlation below {FAILED}, by {listed(bad)}. In brackets the lower of the two correlations."
    )


def _lost_said(table: Table) -> list[str]:
    """Who gives nothing to letters that mattered."""
    shares = {name: lost.value for name, (_, lost) in table.rows.items() if lost is not None}
    if not shares:
        return []
    bad = [f"{name} ({share:.0%})" for name, share in shares.items() if share > 0]
    good = [name for name, share in shares.items() if share == 0 and name != RANDOM]
    return [
        f"On the counter, letters up to an equal count are given a score of 0 by {listed(bad)}, and never by "
        f"{listed(good)}; the network counts them like any other."
    ]
