"""The experiments by name, for the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from saliently.api import Options
from saliently.audit.asked import METHODS, Asked
from saliently.audit.axioms import axioms
from saliently.audit.deletion import deletion
from saliently.audit.evidence import evidence
from saliently.audit.hybrid import hybrid
from saliently.audit.invariance import invariance
from saliently.audit.planted import Planting, planted_shortcuts
from saliently.audit.roar import roar
from saliently.audit.sanity import sanity
from saliently.audit.sst_wiki import sst_wiki_experiment
from saliently.audit.stability import stability
from saliently.audit.toy import toy
from saliently.data import Row
from saliently.errors import RecipeError, did_you_mean
from saliently.models.base import Model
from saliently.reports import Report


@dataclass(frozen=True, eq=False)
class Given:
    """What the command was given. Attributes: model and rows, or a folder of data, where the experiment needs them;
    methods, or none for its own; cues, or none for all that fit; seed; tick, told of rows that run; told, of what is
    being done."""

    model: Model | None
    rows: Sequence[Row] = ()
    folder: Path | None = None
    methods: tuple[str, ...] = ()
    cues: tuple[str, ...] = ()
    seed: int = 0
    tick: Callable[[int], None] = field(default=lambda rows: None)
    told: Callable[[str], None] = field(default=lambda said: None)

    @property
    def asked(self) -> Asked:
        """The model with the methods to ask it by."""
        assert self.model is not None
        options = replace(Options(truncate=True), tick=self.tick)
        return Asked(self.model, self.methods or METHODS, self.seed, options=options)


@dataclass(frozen=True)
class Experiment:
    """Attributes: name; needs, "model and data", "model and folder" or "nothing"; said, what it asks; run."""

    name: str
    needs: str
    said: str
    run: Callable[[Given], Report]


def _small(given: Given, one: Callable[..., Report]) -> Report:
    """An experiment on networks of its own."""
    return one(given.methods, seed=given.seed) if given.methods else one(seed=given.seed)


_MODEL, FOLDER = "model and data", "model and folder"
EXPERIMENTS = (
    Experiment(
        "shortcuts",
        _MODEL,
        "does a method find words that a copy was taught to rely on?",
        lambda given: planted_shortcuts(given.asked, given.rows, Planting(given.cues), given.told),
    ),
    Experiment(
        "sanity",
        _MODEL,
        "do explanations change when weights are scrambled?",
        lambda given: sanity(given.asked, given.rows, told=given.told),
    ),
    Experiment(
        "invariance",
        _MODEL,
        "do they stay when nothing that matters changes?",
        lambda given: invariance(given.asked, given.rows),
    ),
    Experiment(
        "stability",
        _MODEL,
        "how far do scores move when word vectors move a little (max-sensitivity, Yeh et al. 2019)?",
        lambda given: stability(given.asked, given.rows, told=given.told),
    ),
    Experiment(
        "roar",
        _MODEL,
        "is a model trained without the words that a method names worse off?",
        lambda given: roar(given.asked, given.rows),
    ),
    Experiment(
        "hybrid",
        _MODEL,
        "does the strongest word stand in a text of the predicted class, among others?",
        lambda given: hybrid(given.asked, given.rows),
    ),
    Experiment(
        "evidence",
        _MODEL,
        "how much of the scores falls on the words that are marked as evidence?",
        lambda given: evidence(given.asked, given.rows),
    ),
    Experiment(
        "word-deletion",
        _MODEL,
        "how fast does accuracy fall while words go in the order of a method? Needs labels",
        lambda given: deletion(given.asked, given.rows),
    ),
    Experiment(
        "sst-wiki",
        FOLDER,
        "does a method find the half of a text that decides, after training on such texts (Pruthi et al. 2020)?",
        lambda given: sst_wiki_experiment(given.asked, given.folder or "", told=given.told),
    ),
    Experiment(
        "axioms", "nothing", "which axioms does a method keep, on small networks?", lambda given: _small(given, axioms)
    ),
    Experiment("toy", "nothing", "does it give the known answers of toy networks?", lambda given: _small(given, toy)),
)


def find(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        RecipeError: there is none.
    """
    known = {each.name: each for each in EXPERIMENTS}
    if name not in known:
        raise RecipeError(
            f"Experiment {name!r} was asked for; there are {', '.join(known)}.{did_you_mean(name, known)}"
        )
    return known[name]
