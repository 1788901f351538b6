"""Work in units: saved when done, gone on with, never mixed with another plan's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from saliently.errors import InputError, RecipeError
from saliently.work import Folder, Unit, run


def units(ran: list[str], fail: str = "") -> list[Unit]:
    def work(name: str) -> list[str]:
        if name == fail:
            raise KeyboardInterrupt
        ran.append(name)
        return [name]

    return [Unit(name, 1, lambda n=name: work(n)) for name in ("a", "b / c", "d")]  # type: ignore[misc]


def test_an_interrupted_run_goes_on_and_repeats_one_unit_at_most(tmp_path: Path) -> None:
    folder, ran = Folder(tmp_path / "work"), list[str]()
    folder.begin(lambda: {"size": 3}, {"model": "m"})
    with pytest.raises(KeyboardInterrupt):
        run(folder, units(ran, fail="b / c"))
    assert ran == ["a"]
    run(folder, units(ran))
    assert ran == ["a", "b / c", "d"]
    run(folder, units(ran))
    assert ran == ["a", "b / c", "d"]
    assert folder.result("b / c") == ["b / c"]


def test_who_listens_hears_what_ran_now(tmp_path: Path) -> None:
    folder, heard = Folder(tmp_path), list[tuple[str, bool]]()
    folder.begin(dict, {})
    run(folder, units([])[:1])
    run(folder, units([]), lambda unit, new: heard.append((unit.name, new)))
    assert heard == [("a", False), ("b / c", True), ("d", True)]


def test_a_plan_is_made_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.begin(lambda: {"size": 3}, {"model": "m"}) == {"size": 3, "model": "m"}
    assert folder.begin(lambda: {"size": 4}, {"model": "m"}) == {"size": 3, "model": "m"}


def test_a_folder_of_other_work_is_refused(tmp_path: Path) -> None:
    Folder(tmp_path).begin(dict, {"model": "m", "seed": 0})
    with pytest.raises(RecipeError, match="begun with another model, seed"):
        Folder(tmp_path).begin(dict, {"model": "n", "seed": 1})


def test_a_result_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.begin(dict, {})
    with pytest.raises(TypeError):
        folder.keep("a", object())
    assert not folder.done("a")
    assert [each.name for each in (tmp_path / "units").iterdir()] == []


def test_a_broken_result_says_which_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.begin(dict, {})
    folder.keep("a", [1])
    next((tmp_path / "units").iterdir()).write_text("[1", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.json; it can't be read"):
        folder.result("a")


def test_where_nothing_can_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="that failed"):
        Folder(tmp_path / "file" / "work").begin(dict, {})


def test_long_names_and_those_that_begin_alike_have_files_of_their_own(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.begin(dict, {})
    names = ["x" * 400 + end for end in ("a", "b", "/")]
    for name in names:
        folder.keep(name, name)
    assert [folder.result(name) for name in names] == names


def test_results_are_plain_json(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.begin(dict, {})
    folder.keep("é / ?", {"value": [1.5, None]})
    assert json.loads(next((tmp_path / "units").iterdir()).read_text(encoding="utf-8")) == {"value": [1.5, None]}
