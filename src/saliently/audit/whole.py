"""The audit: which explanation can be trusted for this model?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

from saliently.audit import tables, units, verdict
from saliently.audit.asked import WHOM, Asked, applicable, fingerprint
from saliently.audit.cues import suited
from saliently.audit.depths import DEPTHS, Depth, fitting, read_depth
from saliently.audit.shortcuts import Sizes, split
from saliently.audit.units import Work
from saliently.data import Row, readable
from saliently.erase import vocabulary_size
from saliently.errors import ModelError, RecipeError, did_you_mean
from saliently.models.base import Model
from saliently.reports import Report, versions
from saliently.work import Folder, Unit, run

_TOLD = 8
"""How many of the things that were left out are named."""

LIMITS = (
    "Erasure shows the model texts that nobody wrote: a drop may come from the missing word or from the odd text. That "
    "is why it is set against random orders and asked with several blanks; neither removes the problem.",
    "Planted cues are simple, and rest on single words. A method that finds them may still miss what the model makes "
    "of whole sentences; one that misses them can hardly be trusted.",
    "Intervals are over texts, of this model and of these taught copies; other copies may differ by more.",
    "Scrambling weights tells only that a method looks at them; methods that pass may be wrong all the same.",
    "Nothing here says that an explanation is plausible to people, and plausibility would not make it faithful.",
    "All of it is about this model on texts like these.",
)


@dataclass(frozen=True)
class Wishes:
    """What the user asks of an audit. Attributes: depth, "quick" or "full"; minutes, a time to fit it into, by the
    speed found now; methods, other ones than the depth's; seed."""

    depth: str = "quick"
    minutes: float | None = None
    methods: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.depth not in DEPTHS:
            raise RecipeError(
                f"Depth {self.depth!r} was asked for; there are {', '.join(DEPTHS)}.{did_you_mean(self.depth, DEPTHS)}"
            )
        if self.minutes is not None and not self.minutes > 0:
            raise RecipeError(f"{self.minutes!r} minutes were given; give a number above 0.")


@dataclass(frozen=True, eq=False)
class Audit:
    """An audit that was planned. Attributes: work; wishes; skipped, methods that the model can't be asked by,
    texts that it can't read, and why."""

    work: Work
    wishes: Wishes
    skipped: dict[str, str] = field(default_factory=dict)

    def run(self, told: Callable[[Unit, bool], None] = lambda unit, new: None) -> Report:
        """Do what is not done yet, and report; `told` hears of each unit when it is done, and whether it ran now."""
        start = perf_counter()
        run(self.work.folder, self.work.units(), told)
        self.work.tidy()
        return replace(self.report(), seconds=perf_counter() - start)

    def report(self) -> Report:
        """The tables and the verdict, from the results in the folder alone."""
        work, seed = self.work, self.wishes.seed
        found = tables.evidence(work)
        order = tables.sorted_methods(found)
        stood = verdict.standing(found, seed)
        weak = [name for name, each in work.reliances().items() if not each.relies]
        relied = len(weak) < len(work.reliances())
        marks = {**dict.fromkeys(stood.passed, "passes"), **dict.fromkeys(stood.best, "best")} if relied else {}
        notes = [f"{what} was left out: {why}" for what, why in list(self.skipped.items())[:_TOLD]]
        if len(self.skipped) > _TOLD:
            notes.append(f"{len(self.skipped) - _TOLD} more were left out for such reasons.")
        notes += [f"{name} is not counted: that copy does not rely on all of its cue." for name in weak]
        notes += [f"A text could not be explained: {why}" for why in work.errors()[:3]]
        first = tables.main_table(work, order, marks)
        return Report(
            title=f"Audit of {work.asked.model.name}",
            question="Which explanation of this model's predictions can be trusted?",
            whom=WHOM,
            verdict=verdict.sentences(stood, found, relied, seed),
            settings=self.settings(),
            seed=seed,
            tables=(
                replace(first, notes=(*first.notes, *notes)),
                *(tables.blank_table(work, metric.name, order) for metric in units.METRICS),
                tables.copies_table(work.reliances()),
            ),
            limits=LIMITS,
        )

    def settings(self) -> dict[str, Any]:
        """Everything that was chosen."""
        work = self.work
        return {
            "model": work.asked.model.name,
            "weights": fingerprint(work.asked.model),
            "texts": len(work.rows),
            "explained": len(work.some),
            "depth": self.wishes.depth,
            "minutes": self.wishes.minutes,
            **{name: list(value) if isinstance(value, tuple) else value for name, value in asdict(work.depth).items()},
        }


def audit(
    model: Model,
    rows: Sequence[Row],
    folder: str | Path,
    wishes: Wishes = Wishes(),
    tick: Callable[[int], None] = lambda rows: None,
) -> Audit:
    """Plan an audit, or find the plan that is in the folder; `run` does the work and gives the report.

    Methods are tried on one text; those that the model can't be asked by are left out, and the report says so. With
    `minutes` the sizes of all parts come from the speed of a few rows; they are saved before the work, and used again
    when it goes on.

    Raises:
        ModelError: it is no classifier. RecipeError: too few texts; the folder is of another audit; no time for any.
    """
    if model.find is not None or model.link == "none" or len(model.labels) < 2:
        raise ModelError(
            f"An audit of {model.name} was asked for; it plants cues that decide a label, so it is of classifiers. Use "
            "`saliently evaluate` for other models."
        )
    good, bad = readable(model, rows)
    if len(good) < 40:
        raise RecipeError(
            f"Texts for an audit were asked for; found {len(good)} that can be read. Give 40 at least, 200 are good."
        )
    base = DEPTHS[wishes.depth]
    base = replace(base, methods=wishes.methods) if wishes.methods else base
    place = Folder(Path(folder))
    same = {
        "weights": fingerprint(model),
        "texts": sha256(
            repr([(sorted(row.fields.items()), row.label) for row in rows]).encode("utf-8", "backslashreplace")
        ).hexdigest()[:16],
        "wishes": {
            "depth": wishes.depth,
            "minutes": wishes.minutes,
            "methods": list(wishes.methods),
            "seed": wishes.seed,
        },
        "version": versions()["saliently"],
    }
    plan = place.begin(lambda: _plan(model, good, base, wishes), same)
    depth = read_depth(plan["depth"])
    asked = Asked(model, depth.methods, wishes.seed)
    asked = replace(asked, options=replace(asked.options, tick=tick))
    return Audit(Work(asked, good, plan["some"], depth, place, tick), wishes, {**plan["skipped"], **bad})


def _plan(model: Model, rows: Sequence[Row], depth: Depth, wishes: Wishes) -> dict[str, Any]:
    """What can be asked, how much of it, and of which texts."""
    asked, skipped = applicable(Asked(model, depth.methods, wishes.seed), rows[0])
    if len(depth.cues) > 1:
        depth = replace(depth, cues=suited(rows[0]))
    listed = vocabulary_size(model) is not None
    always = ("zero", "delete", *(["mean"] if listed else []))
    blanks = tuple(blank for blank in depth.blanks if blank in always or blank in model.blank_ids)
    depth = replace(depth, methods=asked.methods, blanks=blanks)
    depth, unfit = _plantable(model, rows, depth, wishes.seed)
    skipped |= unfit
    if wishes.minutes is not None:
        depth = fitting(depth, model, rows, wishes.minutes)
    if not listed:
        skipped["max-sensitivity"] = "the vocabulary of its embedding can't be listed, to move all word vectors"
        depth = replace(depth, moved=0)
    # In a random order, so that the first few of them are a sample too.
    some = Random(wishes.seed).sample(range(len(rows)), min(depth.texts, len(rows)))
    return {"depth": asdict(depth), "some": some, "skipped": skipped}


def _plantable(model: Model, rows: Sequence[Row], depth: Depth, seed: int) -> tuple[Depth, dict[str, str]]:
    """The depth with the cues that these texts can take, and why not the others: told before hours of work, not after.

    Raises:
        RecipeError: none can be planted.
    """
    sizes, unfit = Sizes(depth.train, depth.test), dict[str, str]()
    for cue in depth.cues:
        try:
            split(model, rows, cue, 1000 * seed, sizes)
        except RecipeError as error:
            unfit[cue] = str(error)
    cues = tuple(cue for cue in depth.cues if cue not in unfit)
    if not cues:
        raise RecipeError(f"An audit plants cues in texts; none can be planted in these. {next(iter(unfit.values()))}")
    return replace(depth, cues=cues), unfit
