"""What an audit says in two sentences, from its figures alone, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from saliently.audit.asked import Floats
from saliently.audit.phrases import listed, share, with_interval
from saliently.audit.scrambled import PASSES
from saliently.metrics.intervals import as_good_as_best, mean_figure, share_figure


@dataclass(frozen=True, eq=False)
class Evidence:
    """What speaks for a method. Attributes, a number a text: found, precision on planted cues; over, comprehensiveness
    over a random order; scrambled, similarity after scrambling."""

    found: Floats
    over: Floats
    scrambled: Floats


@dataclass(frozen=True)
class Standing:
    """Where methods stand.

    Attributes:
        best: of those that pass all tests, the one of the largest gain at erasure, and those that can't be told from
        it. passed: the others that pass all tests: as good as the best at planted cues, better than a random order at
            erasure, and changed with the weights.
        fallen: why the rest do not.
    """

    best: tuple[str, ...]
    passed: tuple[str, ...]
    fallen: Mapping[str, str]


def standing(evidence: Mapping[str, Evidence], seed: int) -> Standing:
    """Judge all methods by the same rules."""
    finders = as_good_as_best({name: each.found for name, each in evidence.items()}, True, seed)
    fallen: dict[str, str] = {}
    for name, each in evidence.items():
        over, scrambled = mean_figure(each.over, seed), mean_figure(each.scrambled, seed)
        if over is None:
            fallen[name] = "could not be measured at erasure"
        elif (over.low if over.low is not None else over.value) <= 0:
            fallen[name] = "is no better than a random order at erasure"
        elif scrambled is None:
            fallen[name] = "could not be compared with its scores on scrambled weights"
        elif (scrambled.high if scrambled.high is not None else scrambled.value) >= PASSES:
            fallen[name] = "hardly changes when the weights are scrambled"
        elif name not in finders:
            fallen[name] = "finds planted cues less often"
    good = {name: evidence[name].over for name in finders if name not in fallen}
    best = as_good_as_best(good, True, seed)
    return Standing(best, tuple(name for name in good if name not in best), fallen)


def sentences(stood: Standing, evidence: Mapping[str, Evidence], relied: bool, seed: int) -> tuple[str, ...]:
    """The verdict."""
    if not relied:
        return (
            "No explanation could be tested on planted cues: the taught copies did not come to rely on them, so what "
            "is below is erasure alone, which can't tell a good explanation from an unusual text.",
            "Give more texts, or a time to train longer, before trusting any row.",
        )
    if not stood.best:
        why = "; ".join(f"{name} {reason}" for name, reason in list(stood.fallen.items())[:3])
        return (
            f"No method passed all tests on this model ({why}).",
            "Read the columns, and don't rely on one explanation alone.",
        )
    best = stood.best[0]
    found, over = share_figure(evidence[best].found, seed), mean_figure(evidence[best].over, seed)
    assert found is not None
    assert over is not None
    said = (
        f"Trust {best} first: it ranked the planted words on top in {with_interval(found)} of the places, taking away "
        f"the words it names costs the model {with_interval(over, '.2f')} more than a random order does, and it "
        "changed when the weights were scrambled."
    )
    if stood.best[1:]:
        rest = f"On these texts {listed(stood.best[1:])} can't be told from it"
    elif stood.passed:
        rest = f"{listed(stood.passed)} {'passes' if len(stood.passed) == 1 else 'pass'} all tests too, and gain less"
    else:
        rest = "On these texts no other method passes all tests"
    attention = [name for name in evidence if name.startswith("attention")]
    where = "; ".join(f"{name} finds {share(evidence[name].found, seed)}" for name in attention)
    return (said, f"{rest} ({found.n} planted and {over.n} erased texts){f'; {where}' if where else ''}.")
