"""What all experiments have in common: clear errors, copies one at a time, and chance that comes from the seed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import saliently
from saliently.audit import retrained, sanity, shortcuts
from saliently.audit.asked import Asked
from saliently.audit.cues import lessons
from saliently.audit.depths import DEPTHS, cost
from saliently.audit.experiments import EXPERIMENTS, Experiment, Given
from saliently.audit.planted import Planting, planted_shortcuts
from saliently.audit.retrained import Sizes
from saliently.audit.roar import roar
from saliently.audit.sanity import Scrambling
from saliently.audit.whole import Wishes, audit
from saliently.errors import RecipeError, SaliencyError
from saliently.models.base import Model
from saliently.train import Training
from tests import tiny
from tests.test_shortcuts import rows

ON_TEXTS = [each for each in EXPERIMENTS if each.needs == "model and data"]


@pytest.mark.parametrize("experiment", ON_TEXTS, ids=lambda each: each.name)
def test_no_texts_is_one_clear_error(experiment: Experiment) -> None:
    with pytest.raises(SaliencyError, match=r"there are none|none of 0|found 0|0 texts"):
        experiment.run(Given(saliently.load("bilstm")))


def _one_at_a_time(made: Callable[..., Any]) -> tuple[Callable[..., Any], list[int]]:
    """The same function, and how many of the modules that it made earlier were alive at each call."""
    modules: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def make(*args: Any) -> Any:
        gc.collect()
        alive.append(sum(module() is not None for module in modules))
        model: Model = made(*args)
        modules.append(weakref.ref(model.module))
        return model

    return make, alive


def test_sanity_holds_one_scrambled_copy_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    make, alive = _one_at_a_time(sanity.scrambled)
    monkeypatch.setattr(sanity, "scrambled", make)
    sanity.sanity(Asked(tiny.bert(), ("gradient",)), rows(4), Scrambling(texts=2, labels=False))
    assert len(alive) > 4
    assert not any(alive)


def test_roar_holds_one_retrained_copy_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    make, alive = _one_at_a_time(retrained.copied)
    monkeypatch.setattr(retrained, "copied", make)
    sizes = Sizes(train=20, test=10, shares=(0.2, 0.5, 0.8), training=Training(epochs=1))
    roar(Asked(tiny.bert(), ("gradient",)), rows(30), sizes)
    assert len(alive) > 4
    assert not any(alive)


def test_other_seeds_have_other_copies(tmp_path: Path) -> None:
    """Copy 2 of seed 0 must not be copy 1 of seed 1, neither in the experiment nor in an audit."""
    seeds: list[int] = []

    def split(model: Model, rows: Any, kind: str, seed: int, sizes: Any) -> Any:
        seeds.append(seed)
        if len(seeds) % 3:
            return real(model, rows, kind, seed, sizes)
        raise RecipeError("enough")

    real, model = shortcuts.split, saliently.load("bilstm")
    sizes = shortcuts.Sizes(train=10, test=10, training=Training(epochs=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shortcuts, "split", split)
        for seed in (0, 1):
            with pytest.raises(RecipeError, match="enough"):
                planted_shortcuts(Asked(model, ("gradient",), seed), rows(), Planting(("single token",), 3, sizes))
    assert len(set(seeds)) == len(seeds) == 6
    works = [audit(model, rows(), tmp_path / str(seed), Wishes("tiny", seed=seed)).work for seed in (0, 1)]
    assert len({work._seed(copy) for work in works for copy in range(3)}) == 6


def test_an_audit_takes_its_texts_in_a_random_order(tmp_path: Path) -> None:
    """So that the first few of them are a sample too."""
    plans = [
        audit(saliently.load("bilstm"), rows(), tmp_path / str(seed), Wishes("tiny", seed=seed)).work.some
        for seed in (0, 1, 0)
    ]
    assert plans[0] == plans[2] != plans[1]
    assert list(plans[0]) != sorted(plans[0])


def test_a_cue_with_decoys_costs_more_to_teach() -> None:
    assert lessons("single token") == lessons("ordered pair") == 3  # both labels have both words of a pair
    assert lessons("token in context") == 4
    one = replace(DEPTHS["tiny"], cues=("single token",))
    more = cost(replace(one, cues=("token in context",)), 20) - cost(one, 20)
    assert more == one.seeds * one.epochs * 3 * one.train
