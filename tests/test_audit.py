"""The audit: the same table however often it is interrupted, a plan that is made once, and a verdict from the
figures."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliently
from saliently.audit import units
from saliently.audit.asked import RANDOM, fingerprint
from saliently.audit.depths import DEPTHS, cost, fitting
from saliently.audit.tables import foreign
from saliently.audit.verdict import Evidence, sentences, standing
from saliently.audit.whole import Audit, Wishes, audit
from saliently.data import Row
from saliently.errors import ModelError, RecipeError
from saliently.models.base import Model
from saliently.view.report_record import report_dict
from tests import tiny, writers
from tests.test_shortcuts import rows

METHODS = ("gradient", "occlusion", "attention")
WISHES = Wishes("tiny", methods=METHODS)


@pytest.fixture(scope="module")
def model() -> Model:
    return saliently.load("bilstm")


ODD = [Row({"text": text}) for text in ("", "x", "\U0001f600 \u202eabc", "film " * 300)]
TEXTS = [*rows(), *ODD]
"""Any text will do, and none needs a label."""


@pytest.fixture(scope="module")
def whole(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """An audit that nobody interrupted."""
    done = audit(model, TEXTS, tmp_path_factory.mktemp("whole"), WISHES)
    done.run()
    return done


def plain(report: Any) -> dict[str, Any]:
    return {key: value for key, value in report_dict(report).items() if key != "seconds"}


class Killed(BaseException):
    """Nothing catches this."""


def test_interrupted_at_random_five_times_it_ends_with_the_same_json(
    model: Model, whole: Audit, tmp_path: Path
) -> None:
    chance, ran, kills = Random(0), list[str](), 0
    names = [unit.name for unit in whole.work.units()]
    fuse = [chance.randrange(1, 400)]

    def tick(count: int) -> None:
        fuse[0] -= count
        if kills < 5 and fuse[0] < 0:
            raise Killed

    while True:
        try:
            report = audit(model, TEXTS, tmp_path, WISHES, tick).run(
                lambda unit, new: ran.append(unit.name) if new else None
            )
            break
        except Killed:
            kills += 1
            fuse[0] = chance.randrange(1, 3000)
    assert kills == 5
    assert ran == names  # each unit was finished once: what was lost is the one that was running
    assert plain(report) == plain(whole.report())
    # A result that is removed later is made again, though the weights that it needs were tidied away.
    again = audit(model, TEXTS, tmp_path, WISHES)
    (lost,) = [name for name in names if name.startswith("find") and name.endswith("attention")]
    again.work.folder._place(lost).unlink()
    assert not list(tmp_path.rglob("*.safetensors"))
    ran.clear()
    found = again.run(lambda unit, new: ran.append(unit.name) if new else None)
    assert ran == [lost]
    assert plain(found) == plain(report)


def test_every_figure_carries_what_it_rests_on(whole: Audit) -> None:
    record = plain(whole.report())
    figures = [each for table in record["tables"] for row in table["rows"] for each in row["figures"] if each]
    assert len(figures) > 20
    for figure in figures:
        assert {"value", "low", "high", "n", "blank", "seed", "version"} <= set(figure)
        assert figure["n"] > 0
        assert figure["version"] == saliently.__version__
    erased = [
        each
        for table in record["tables"]
        if "by blank" in table["title"]
        for row in table["rows"]
        for each in row["figures"]
    ]
    assert all(each["blank"] in ("zero", "delete", "pad") for each in erased)


def test_the_table_has_every_method_a_control_and_a_verdict_that_names_them(whole: Audit) -> None:
    report = whole.report()
    first = report.tables[0]
    assert list(first.rows)[-1] == RANDOM
    assert len(first.rows) == len(METHODS) + 1
    assert all(each.relies for each in whole.work.reliances().values())
    assert len(report.verdict) == 2
    assert any(method in report.verdict[0] for method in METHODS)
    assert any(note.startswith("text 61 was left out") for note in first.notes)
    assert report.settings["weights"] == fingerprint(whole.work.asked.model)


def test_another_question_does_not_go_on_in_the_same_folder(model: Model, whole: Audit) -> None:
    folder = whole.work.folder.path
    with pytest.raises(RecipeError, match="begun with another wishes"):
        audit(model, TEXTS, folder, Wishes("tiny", methods=METHODS, seed=1))
    with pytest.raises(RecipeError, match="begun with another texts"):
        audit(model, TEXTS[:-1], folder, WISHES)
    with pytest.raises(RecipeError, match="begun with another weights"):
        audit(saliently.load("default"), TEXTS, folder, WISHES)


def test_a_time_becomes_a_plan_once(model: Model, tmp_path: Path) -> None:
    wishes = Wishes("quick", 3.0, METHODS)
    first = audit(model, rows(), tmp_path, wishes)
    saved = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    again = audit(model, rows(), tmp_path, wishes)
    assert first.work.depth == again.work.depth
    assert saved["depth"]["texts"] == first.work.depth.texts


def test_more_time_is_a_deeper_plan_and_too_little_is_refused(model: Model) -> None:
    depth = DEPTHS["quick"]
    sizes = [cost(fitting(depth, model, rows(), minutes), 20) for minutes in (5.0, 500.0)]
    assert sizes[0] <= sizes[1]
    with pytest.raises(RecipeError, match="the smallest takes about"):
        fitting(depth, model, rows(), 1e-4)
    assert cost(depth.times(0.5), 20) < cost(depth, 20) < cost(depth.times(2.0), 20)


def test_who_can_not_be_audited_says_so(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="it is of classifiers"):
        audit(writers.gpt2(), rows(), tmp_path)
    with pytest.raises(RecipeError, match="Give 40 at least"):
        audit(model, rows()[:10], tmp_path)
    with pytest.raises(RecipeError, match="Did you mean 'quick'"):
        Wishes("quik")
    with pytest.raises(RecipeError, match="above 0"):
        Wishes(minutes=0)


def test_a_method_that_can_not_be_asked_is_left_out_and_said(model: Model, tmp_path: Path) -> None:
    made = audit(model, rows(), tmp_path, Wishes("tiny", methods=("gradient", "integrated-gradients(blank='mask')")))
    assert made.work.asked.methods == ("gradient",)
    assert set(made.skipped) == {"integrated-gradients(blank='mask')"}


def evidence(found: float, over: float, scrambled: float, n: int = 60) -> Evidence:
    noise = np.random.default_rng(0).normal(0, 0.02, n)
    return Evidence(np.full(n, found), over + noise, scrambled + noise)


def test_the_verdict_trusts_who_passes_all_and_ties_are_ties() -> None:
    found = {"a": evidence(1.0, 0.3, 0.1), "b": evidence(1.0, 0.3, 0.1), "attention": evidence(0.5, 0.1, 0.2)}
    stood = standing(found, 0)
    assert set(stood.best) == {"a", "b"}
    assert stood.passed == ()
    assert stood.fallen == {"attention": "finds planted cues less often"}
    said = " ".join(sentences(stood, found, True, 0))
    assert "can't be told from it" in said
    assert "attention finds 50%" in said


def test_a_method_that_passes_and_gains_less_is_not_best() -> None:
    found = {"a": evidence(1.0, 0.3, 0.1), "b": evidence(1.0, 0.2, 0.1)}
    stood = standing(found, 0)
    assert stood.best == ("a",)
    assert stood.passed == ("b",)
    assert "b passes all tests too" in sentences(stood, found, True, 0)[1]


def test_a_method_that_ignores_the_weights_or_loses_to_chance_is_not_trusted() -> None:
    found = {"fake": evidence(1.0, 0.3, 0.9), "weak": evidence(1.0, -0.01, 0.1)}
    stood = standing(found, 0)
    assert stood.best == stood.passed == ()
    assert stood.fallen == {
        "fake": "hardly changes when the weights are scrambled",
        "weak": "is no better than a random order at erasure",
    }
    assert sentences(stood, found, True, 0)[0].startswith("No method passed")
    assert sentences(stood, found, False, 0)[0].startswith("No explanation could be tested")


def test_gains_are_by_blanks_that_no_method_was_made_with(whole: Audit) -> None:
    assert foreign(whole.work) == ["delete"]  # occlusion was made with zero vectors
    first = whole.report().tables[0]
    gain = [column.name for column in first.columns].index("erasure: gain")
    assert {row[gain].blank for name, row in first.rows.items() if name != RANDOM and row[gain]} == {"delete"}  # type: ignore[union-attr]
    mine = replace(whole.work, asked=replace(whole.work.asked, methods=("occlusion(blank='delete')", "lrp")))
    assert foreign(mine) == list(whole.work.depth.blanks), "all are somebody's"


def test_a_copy_that_does_not_rely_on_its_cue_is_not_counted(model: Model, whole: Audit, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(whole.work.folder.path, folder)
    (file,) = (folder / "units").glob("teach*.json")
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "planted": 0.6}), encoding="utf-8")
    report = audit(model, TEXTS, folder, WISHES).report()
    assert report.verdict[0].startswith("No explanation could be tested on planted cues")
    assert any("is not counted: that copy does not rely on all of its cue" in note for note in report.tables[0].notes)
    assert all(row[0] is None for row in report.tables[0].rows.values())


def test_weights_of_copies_are_gone_when_all_is_done(whole: Audit) -> None:
    assert not list(whole.work.folder.path.rglob("*.safetensors"))


def test_what_could_not_be_measured_is_not_said_to_fail() -> None:
    nothing = np.full(60, np.nan)
    found = {
        "a": replace(evidence(1.0, 0.3, 0.1), scrambled=nothing),
        "b": replace(evidence(1.0, 0.3, 0.1), over=nothing),
    }
    assert standing(found, 0).fallen == {
        "a": "could not be compared with its scores on scrambled weights",
        "b": "could not be measured at erasure",
    }


def test_another_label_than_the_first_method_s_is_left_out(model: Model) -> None:
    one, other = (saliently.explain(model, "a good film", "gradient", label) for label in model.labels)
    named = {"a": [one, None, None], "b": [other, other, None], "c": [one, one, None]}
    units._same_labels(named)
    assert named == {"a": [one, None, None], "b": [None, other, None], "c": [one, None, None]}


class Doubled(nn.Module):
    """No table that can be listed, and a weight without dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.scale = nn.Embedding(100, 8), nn.Parameter(torch.tensor(2.0))

    def forward(self, ids: Tensor) -> Tensor:
        return self.table(ids) * self.scale


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.output = Doubled(), nn.Linear(8, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = self.output((self.embed(ids) * mask[..., None]).sum(1).tanh())
        return logits


@pytest.mark.parametrize("depth", ["tiny", "full"])
def test_an_embedding_that_can_t_be_listed_leaves_one_part_out(depth: str, tmp_path: Path) -> None:
    odd = saliently.wrap(Odd().eval(), tiny.read_words, embedding="embed", labels=tiny.LABELS)
    made = audit(odd, rows(), tmp_path, Wishes(depth, methods=("gradient",)))
    assert made.work.depth.moved == 0
    assert made.work.depth.blanks == ("zero", "delete")  # there is no mean over the vocabulary, and no mask
    assert "can't be listed" in made.skipped["max-sensitivity"]
    assert not [unit for unit in made.work.units() if unit.name.startswith("move")]


def test_cues_that_can_t_be_planted_are_told_before_any_work(model: Model, tmp_path: Path) -> None:
    texts = [Row({"text": f"\u8fd9\u90e8\u7535\u5f71\u5f88\u597d {number}"}) for number in range(45)]
    with pytest.raises(RecipeError, match=r"none can be planted in these.*spaces between words"):
        audit(model, texts, tmp_path, WISHES)
    assert not list(tmp_path.rglob("*.json"))
