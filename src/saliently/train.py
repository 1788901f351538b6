"""The one training loop: a copy of a model, taught labels; or, of a language model, responses.

R rows of a batch, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from saliently import erase, packing
from saliently.chunks import checked_tokens
from saliently.data import Row, labels_of
from saliently.errors import NumberError, RecipeError
from saliently.models.base import Model
from saliently.packing import Budget, Pack, Shelf
from saliently.questions import Questions
from saliently.runner import Runner
from saliently.shared import Shared
from saliently.types import Target, Tokens

_BASE_RATE, _BASE_WIDTH, _RECURRENT_RATE = 5e-5, 768, 2e-3


@dataclass(frozen=True)
class Training:
    """How to train.

    Attributes:
        epochs: most rounds through the data. batch: rows of a step.
        rate: of AdamW, rising over at most 20 steps and falling to a tenth by a cosine; None for 5e-5 x 768 / the width
            of word vectors (narrow models take larger steps), and 2e-3 for recurrent nets.
        decay: of weights. clip: largest norm of a gradient. seed: of the order of rows and of dropout.
    """

    epochs: int = 3
    batch: int = 32
    rate: float | None = None
    decay: float = 0.01
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or (self.rate is not None and not self.rate > 0):
            raise RecipeError(f"{self!r} was asked for; epochs and batch start at 1, and the rate is above 0.")

    def resolved(self, model: Model) -> Training:
        """With the rate written out."""
        if self.rate is not None:
            return self
        if any(isinstance(part, nn.RNNBase) for part in model.module.modules()):
            return replace(self, rate=_RECURRENT_RATE)
        width = model.embed(torch.zeros(1, dtype=torch.long, device=model.device)).shape[-1]
        return replace(self, rate=_BASE_RATE * _BASE_WIDTH / width)


@dataclass(frozen=True)
class Watch:
    """Who is told while a model trains: tick, of the rows of each step; enough, asked after each epoch, may end it."""

    tick: Callable[[int], None] = lambda rows: None
    enough: Callable[[int], bool] = lambda epoch: False


def train(
    model: Model,
    rows: Sequence[Row],
    training: Training = Training(),
    teacher: Model | None = None,
    watch: Watch = Watch(),
) -> None:
    """Teach the model itself, in place, the rows' labels; a language model their responses. Make a copy first.

    Rows without a label are taught what the teacher says, by its probabilities, so that a copy of it stays what it was
    but for what the labelled rows ask. All weights move. Texts over the model's limit are cut. The global generator of
    torch is left as it was.

    Raises:
        RecipeError: a row has no label, and there is no teacher. InputError: a text can't be read. NumberError: the
        loss left the numbers.
    """
    tokens = [checked_tokens(model, row.fields) for row in rows]
    _teach(_Lesson.of(model, tokens, rows, teacher), tokens, training, watch)


def train_on(
    model: Model,
    tokens: Sequence[Tokens],
    labels: Sequence[int],
    training: Training = Training(),
    watch: Watch = Watch(),
) -> None:
    """Teach a classifier the labels of inputs that were read before, such as those with other ids in the place of some
    words; else as `train`.

    Raises:
        RecipeError: it is no classifier. NumberError: the loss left the numbers.
    """
    rows = [Row({}, label) for label in labels]
    _teach(_Lesson.of(model, list(tokens), rows, None), tokens, training, watch)


def _teach(lesson: _Lesson, tokens: Sequence[Tokens], training: Training, watch: Watch) -> None:
    """The loop."""
    model = lesson.model
    chosen = training.resolved(model)
    assert chosen.rate is not None
    order = np.random.default_rng(chosen.seed)
    weights = [weight for weight in model.module.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=chosen.rate, weight_decay=chosen.decay)
    steps = chosen.epochs * -(-len(tokens) // chosen.batch)
    rising = min(20, max(1, steps // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / rising) * (0.55 + 0.45 * float(np.cos(np.pi * min(1.0, step / steps)))),
    )
    device = [model.device] if model.device.type == "cuda" else []
    with model.lock, torch.random.fork_rng(device):
        torch.manual_seed(chosen.seed)
        for epoch in range(chosen.epochs):
            model.module.train()
            for pack in _batches(tokens, order, chosen.batch):
                loss = lesson.loss(pack)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                _check(loss, model)
                nn.utils.clip_grad_norm_(weights, chosen.clip)
                optimizer.step()
                schedule.step()
                watch.tick(len(pack))
            model.module.eval()
            if watch.enough(epoch):
                break
        optimizer.zero_grad()


def accuracy(model: Model, rows: Sequence[Row], budget: int = 2048) -> tuple[bool, ...]:
    """Of each row: is its label what the model predicts?

    Raises:
        RecipeError: a row has no label. InputError: a text can't be read.
    """
    return tuple(
        found == label for found, label in zip(predicted(model, rows, budget), labels_of(rows, "Accuracy"), strict=True)
    )


def predicted(model: Model, rows: Sequence[Row], budget: int = 2048) -> list[int]:
    """The label that the model predicts for each row's text; of a language model the token.

    Raises:
        InputError: a text can't be read. NumberError: the model gives no number there.
    """
    inputs = [checked_tokens(model, row.fields) for row in rows]
    runner = Runner(model, inputs, Target(at=-1) if model.find is not None else Target(), Budget(budget))
    with model.resting():
        runner.values(runner.everything())
    if not np.isfinite(runner.questions.plain).all():
        raise NumberError(
            f"{model.name} was asked what it predicts; of some texts it gives NaN or infinity. Look for such weights, "
            "or compute in a wider dtype."
        )
    pins = [runner.questions.pinned(i) for i in range(len(inputs))]
    return [-1 if pin is None or not pin.predicted else pin.index for pin in pins]


@dataclass(frozen=True, eq=False)
class _Lesson:
    """Texts with what is to be learnt about them. Attributes: model; shelf, shared, their rows; goals (N, C),
    probabilities of labels; questions, of a language model, which ask for its responses."""

    model: Model
    shelf: Shelf
    shared: Shared
    goals: Tensor | None
    questions: Questions | None

    @staticmethod
    def of(model: Model, tokens: list[Tokens], rows: Sequence[Row], teacher: Model | None) -> _Lesson:
        shelf = Shelf.fill(tokens, model)
        shared = Shared.of({i: erase.everything(each) for i, each in enumerate(tokens)}, tokens, alone=True)
        if model.find is None:
            return _Lesson(model, shelf, shared, _goals(model, tokens, rows, teacher), None)
        if model.scale != "log-probability":
            raise RecipeError(
                f"Training was asked of {model.name}; classifiers and language models can be trained, and it is "
                "neither."
            )
        wanted = Target(of="log-probability", at=slice(None))
        _, questions = Questions.find(model, tokens, wanted, False)
        return _Lesson(model, shelf, shared, None, questions)

    def loss(self, pack: Pack) -> Tensor:
        """Mean negative log-probability, in nats: of labels, or of whole responses."""
        places = self.shelf.places(pack, self.shared.blocks, False)
        if self.goals is not None:
            logits = self.model.run(self.shelf.batch(pack, places, self.model.device)).float()
            goals = self.goals[torch.from_numpy(pack.example).to(self.goals.device)]
            if self.model.link == "sigmoid":
                return nn.functional.binary_cross_entropy_with_logits(logits, goals)
            return nn.functional.cross_entropy(logits, goals)
        assert self.questions is not None
        lines = self.shared.lines(pack)
        wanted = self.questions.wanted(lines, len(pack))
        outputs = self.model.run(self.shelf.batch(pack, places, self.model.device, wanted))
        return -self.questions.evaluate(lines, outputs).mean()


def _goals(model: Model, tokens: list[Tokens], rows: Sequence[Row], teacher: Model | None) -> Tensor:
    """(N, C) 1 at a row's label; where it has none, the teacher's probabilities."""
    if model.link == "none":
        raise RecipeError(
            f"Training was asked of {model.name}, whose output is a number; labels are taught to classifiers."
        )
    goals = torch.zeros(len(rows), len(model.labels), device=model.device)
    if teacher is None:
        labels_of(rows, "Training")
    open_ = [i for i, row in enumerate(rows) if row.label is None]
    for i, row in enumerate(rows):
        if row.label is not None:
            goals[i, row.label] = 1.0
    if open_ and teacher is not None:
        said = outputs(teacher, [tokens[i] for i in open_])
        goals[open_] = said.sigmoid() if model.link == "sigmoid" else said.softmax(-1)
    return goals


def outputs(model: Model, tokens: list[Tokens], budget: int = 2048) -> Tensor:
    """(N, C) float32 logits of a classifier at texts, in evaluation mode."""
    found = torch.zeros(len(tokens), len(model.labels), device=model.device)
    if not tokens:
        return found
    shelf, blocks = Shelf.fill(tokens, model), {i: erase.everything(each) for i, each in enumerate(tokens)}
    with model.resting(), torch.no_grad():
        for pack in packing.cut(packing.lengths(blocks, False), budget, model):
            batch = shelf.batch(pack, shelf.places(pack, blocks, False), model.device)
            found[torch.from_numpy(pack.example).to(found.device)] = model.run(batch).float()
    return found


def _batches(tokens: Sequence[Tokens], order: np.random.Generator, size: int) -> Iterator[Pack]:
    """All rows once, in a new order; texts of like length together within stretches of it, to save padding."""
    lengths = np.array([len(each.ids) for each in tokens], np.int64)
    shuffled = order.permutation(len(tokens))
    stretches = [shuffled[at : at + 8 * size] for at in range(0, len(tokens), 8 * size)]
    packs = []
    for stretch in stretches:
        near = stretch[np.argsort(lengths[stretch], kind="stable")]
        packs += [near[at : at + size] for at in range(0, len(near), size)]
    for which in order.permutation(len(packs)):
        rows = packs[which].astype(np.int64)
        yield Pack(rows, np.zeros(len(rows), np.int64), lengths[rows])


def _check(loss: Tensor, model: Model) -> None:
    if not bool(torch.isfinite(loss)):
        raise NumberError(
            f"{model.name} was to be trained; its loss became {float(loss.detach())}. Give a smaller rate, or a "
            "model in float32."
        )
