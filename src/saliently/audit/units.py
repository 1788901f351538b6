"""The units of an audit: what is run, in what order, and what each leaves behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from safetensors.torch import load_model, save_model

from saliently.api import stream
from saliently.audit import moved, scrambled, shortcuts
from saliently.audit.asked import RANDOM, Asked, Floats, rows_of
from saliently.audit.cues import lessons
from saliently.audit.depths import Depth
from saliently.audit.shortcuts import Sizes, Split
from saliently.chunks import checked_tokens
from saliently.data import Row
from saliently.errors import SaliencyError
from saliently.metrics.erasure import Comprehensiveness, Sufficiency
from saliently.metrics.measure import Asking, measure
from saliently.models.base import Model
from saliently.models.copying import copied
from saliently.packing import Budget
from saliently.train import Training, Watch
from saliently.types import Explanation
from saliently.view.record import from_dict, to_dict
from saliently.work import Folder, Unit

_CHUNK = 50
METRICS = (Comprehensiveness(), Sufficiency())


@dataclass(frozen=True, eq=False)
class Work:
    """What an audit does. Attributes: asked, with the methods that can be asked; rows, all texts; some, numbers of
    those that are explained; depth; folder; tick, told of rows."""

    asked: Asked
    rows: Sequence[Row]
    some: Sequence[int]
    depth: Depth
    folder: Folder
    tick: Callable[[int], None]

    def tidy(self) -> None:
        """Remove the weights of taught copies, which no unit needs once all are done."""
        for cue in self.depth.cues:
            for seed in range(self.depth.seeds):
                self.folder.file(f"teach {cue} {seed}.safetensors").unlink(missing_ok=True)

    def units(self) -> list[Unit]:
        """All units, in order."""
        return [*self._explaining(), *self._erasing(), *self._planting(), *self._scrambling(), *self._moving()]

    def explanations(self, method: str) -> list[Explanation | None]:
        """Of the texts that are explained, in order; None where that failed."""
        found: list[Explanation | None] = []
        for place in self._chunks():
            found += [
                None if "error" in each else from_dict(each) for each in self.folder.result(_named(method, place))
            ]
        return found

    def errors(self) -> list[str]:
        """Why texts could not be explained, the same reason once."""
        results = [
            each
            for m in self.asked.methods
            for place in self._chunks()
            for each in self.folder.result(_named(m, place))
        ]
        return list(dict.fromkeys(each["error"] for each in results if "error" in each))

    def erased(self, blank: str, metric: str, method: str, kind: str) -> Floats:
        """(N,) what a metric gave for a blank and a method: kind "values" or "control"."""
        found = [self.folder.result(f"erase {blank} {place.start}") for place in self._chunks()]
        return np.concatenate([_floats(each[kind][metric][method]) for each in found])

    def planted(self, cue: str, method: str, kind: str) -> Floats:
        """(N,) "precision" or "rank" on the planted texts of all copies that rely on that cue."""
        relying = [seed for seed in range(self.depth.seeds) if self._reliance(cue, seed).relies]
        results = [self.folder.result(f"find {cue} {seed} {method}") for seed in relying]
        return np.concatenate([np.empty(0), *(_floats(each[kind]) for each in results)])

    def reliances(self) -> Mapping[str, shortcuts.Reliance]:
        """Whether each copy relies on its cue."""
        return {
            f"{cue}, copy {seed + 1}": self._reliance(cue, seed)
            for cue in self.depth.cues
            for seed in range(self.depth.seeds)
        }

    def _reliance(self, cue: str, seed: int) -> shortcuts.Reliance:
        return shortcuts.Reliance(**self.folder.result(f"teach {cue} {seed}"))

    def _seed(self, copy: int) -> int:
        """Of one copy: audits with other seeds have other copies."""
        return 1000 * self.asked.seed + copy

    def again(self, what: str, method: str) -> Floats:
        """(N,) of "scramble" or "move"; empty where that was left out."""
        name = f"{what} {method}"
        return _floats(self.folder.result(name)) if self.folder.done(name) else np.empty(0)

    @cached_property
    def tokens(self) -> int:
        """Of a typical text."""
        sizes = sorted(len(checked_tokens(self.asked.model, self.rows[i].fields).ids) for i in self.some)
        return sizes[len(sizes) // 2]

    def _chunks(self) -> list[range]:
        return [range(at, min(at + _CHUNK, len(self.some))) for at in range(0, len(self.some), _CHUNK)]

    def _explaining(self) -> Iterator[Unit]:
        for method in self.asked.methods:
            for place in self._chunks():
                rows = rows_of(method, self.tokens) * len(place)
                yield Unit(_named(method, place), rows, lambda m=method, p=place: self._explain(m, p))  # type: ignore[misc]

    def _explain(self, method: str, place: range) -> list[dict[str, Any]]:
        texts = [self.rows[self.some[i]].fields for i in place]
        found = stream(self.asked.model, texts, method, self.asked.target, options=self.asked.options)
        return [{"error": str(each)} if isinstance(each, SaliencyError) else to_dict(each) for _, each in found]

    def _erasing(self) -> Iterator[Unit]:
        for blank in self.depth.blanks:
            for place in self._chunks():
                rows = 8 * len(place) * (len(self.asked.methods) + self.depth.controls)
                yield Unit(f"erase {blank} {place.start}", rows, lambda b=blank, p=place: self._erase(b, p))  # type: ignore[misc]

    def _erase(self, blank: str, place: range) -> dict[str, Any]:
        named = {
            method: [None if "error" in each else from_dict(each) for each in self.folder.result(_named(method, place))]
            for method in self.asked.methods
        }
        _same_labels(named)
        budget = Budget(self.asked.options.budget)
        asking = Asking(METRICS, (blank,), None, self.depth.controls, self.asked.seed, budget, self.tick)
        found = measure(self.asked.model, named, asking)
        return {
            kind: {
                metric.name: {method: _plain(table[repr(metric), blank, method]) for method in named}
                for metric in METRICS
            }
            for kind, table in (("values", found.values), ("control", found.control))
        }

    def _planting(self) -> Iterator[Unit]:
        sizes = self._sizes
        for cue in self.depth.cues:
            for seed in range(self.depth.seeds):
                rows = sizes.train * lessons(cue) * 3 * 3  # a backward pass counts as two; most stop after three epochs
                yield Unit(f"teach {cue} {seed}", rows, lambda c=cue, s=seed: self._teach(c, s))  # type: ignore[misc]
                for method in (RANDOM, *self.asked.methods):
                    rows = sizes.test * (1 if method == RANDOM else rows_of(method, self.tokens))
                    yield Unit(
                        f"find {cue} {seed} {method}",
                        rows,
                        lambda c=cue, s=seed, m=method: self._find(c, s, m),  # type: ignore[misc]
                    )

    @property
    def _sizes(self) -> Sizes:
        return Sizes(self.depth.train, self.depth.test, Training(epochs=self.depth.epochs))

    def _teach(self, kind: str, seed: int) -> dict[str, Any]:
        self._models.clear()  # before another copy takes memory
        made = self._split(kind, seed)
        copy = shortcuts.teach(
            self.asked.model, made, self._seed(seed), self._sizes, Watch(lambda rows: self.tick(3 * rows))
        )
        place = self.folder.file(f"teach {kind} {seed}.safetensors")
        partly = place.with_suffix(".part")
        save_model(copy.module, str(partly))
        os.replace(partly, place)
        return asdict(shortcuts.reliance(self.asked.model, copy, made))

    def _find(self, kind: str, seed: int, method: str) -> dict[str, Any]:
        made, copy = self._split(kind, seed), self._copy(kind, seed)
        found = shortcuts.score(replace(self.asked, model=copy), method, made)
        return {"precision": _plain(found.precision), "rank": _plain(found.rank)}

    def _split(self, kind: str, seed: int) -> Split:
        if (kind, seed) not in self._splits:
            self._splits[kind, seed] = shortcuts.split(self.asked.model, self.rows, kind, self._seed(seed), self._sizes)
        return self._splits[kind, seed]

    def _copy(self, kind: str, seed: int) -> Model:
        def read() -> Model:
            weights = self.folder.file(f"teach {kind} {seed}.safetensors")
            if not weights.is_file():  # they were tidied away, and then a result was removed
                self._teach(kind, seed)
            copy = copied(self.asked.model, f"{self.asked.model.name} with a {kind}")
            load_model(copy.module, str(weights))
            return copy

        return self._model(f"{kind} {seed}", read)

    def _scrambling(self) -> Iterator[Unit]:
        for method in self.asked.methods:
            rows = self._few(self.depth.scrambled) * rows_of(method, self.tokens)
            yield Unit(f"scramble {method}", rows, lambda m=method: self._scramble(m))  # type: ignore[misc]

    def _scramble(self, method: str) -> list[float | None]:
        model = self.asked.model
        names = [name for name, _ in scrambled.parts(model)]
        copy = self._model("scrambled", lambda: scrambled.scrambled(model, names, self.asked.seed))
        rows = [self.rows[i] for i in self.some[: self.depth.scrambled]]
        before = self.explanations(method)[: len(rows)]
        return _plain(scrambled.similarity(self.asked, copy, method, rows, before))

    def _moving(self) -> Iterator[Unit]:
        for method in self.asked.methods if self.depth.moved else ():
            rows = self.depth.draws * self._few(self.depth.moved) * rows_of(method, self.tokens)
            yield Unit(f"move {method}", rows, lambda m=method: self._move(m))  # type: ignore[misc]

    def _move(self, method: str) -> list[float | None]:
        rows = [self.rows[i] for i in self.some[: self.depth.moved]]
        before = self.explanations(method)[: len(rows)]
        return _plain(moved.max_sensitivity(self.asked, method, rows, moved.Moves(self.depth.draws), before).scores)

    def _few(self, many: int) -> int:
        return min(many, len(self.some))

    @cached_property
    def _models(self) -> dict[str, Model]:
        return {}

    def _model(self, name: str, make: Callable[[], Model]) -> Model:
        """A copy that several units need, made when the first asks for it; the last one alone is held."""
        if name not in self._models:
            self._models.clear()
            self._models[name] = make()
        return self._models[name]

    @cached_property
    def _splits(self) -> dict[tuple[str, int], Split]:
        return {}


def _same_labels(named: Mapping[str, list[Explanation | None]]) -> None:
    """Leave out explanations of another label than the first method's: where two are as good as equal, rounding may
    have predicted another one."""
    for at, row in enumerate(zip(*named.values(), strict=True)):
        labels = [each.target.index for each in row if each is not None]
        for explanations in named.values():
            each = explanations[at]
            if each is not None and each.target.index != labels[0]:
                explanations[at] = None


def _named(method: str, place: range) -> str:
    return f"explain {method} {place.start}"


def _plain(values: Floats) -> list[float | None]:
    return [None if np.isnan(each) else float(each) for each in values]


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if each is None else each for each in values], np.float64)
