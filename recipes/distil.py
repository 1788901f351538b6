"""The one training loop: a student learns the teacher's logits, its states at words, and labels by people."""

import math
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.lessons import Course
from recipes.teacher import padded


@dataclass(frozen=True)
class Plan:
    """How long and how hard to train."""

    epochs: int
    tokens_a_batch: int
    learning_rate: float
    state_weight: float  # of the loss on states; it falls to 0 with the learning rate
    label_weight: float  # of the cross-entropy with labels by people
    seed: int


class Student(ABC):
    """A small model, the texts in its own tokens, and what it shows of itself to the loss."""

    model: nn.Module
    state_size: int

    @abstractmethod
    def rows(self, texts: tuple[str, ...]) -> list[list[int]]:
        """The ids of each text."""

    @abstractmethod
    def word_starts(self, ids: list[int]) -> list[int]:
        """The positions in `ids` at which words start."""

    @abstractmethod
    def study(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, 2) and states (B, T, state_size) in training; may disturb its input."""

    @abstractmethod
    def answer(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, 2) in use."""


@dataclass(frozen=True, eq=False)
class Desk:
    """What a run of training holds: the student's rows, the scale of the teacher's states, a layer."""

    rows: list[list[int]]
    starts: list[list[int]]
    mean: Tensor
    scale: Tensor
    projection: nn.Linear  # thrown away afterwards

    @staticmethod
    def of(student: Student, course: Course) -> "Desk":
        """Prepare for training on `course`."""
        rows = student.rows(course.texts)
        first = course.lesson.starts
        # A text of masks alone has no states in the lesson.
        taught = [first[at + 1] > first[at] for at in range(len(rows))]
        starts = [student.word_starts(row) if known else [] for row, known in zip(rows, taught, strict=True)]
        wrong = [at for at, found in enumerate(starts) if len(found) != first[at + 1] - first[at]]
        if wrong:
            raise ValueError(f"Student and teacher count words differently: {len(wrong)} texts, {wrong[:5]}")
        sample = torch.from_numpy(np.array(course.lesson.states[::97])).float()
        projection = nn.Linear(student.state_size, sample.shape[1])
        return Desk(rows, starts, sample.mean(0), sample.std(0) + 1e-3, projection)


def distil(student: Student, course: Course, plan: Plan, kept: Path) -> None:
    """Train. The student ends with the weights that were best on SST-2 dev; `kept` holds the best so far."""
    torch.manual_seed(plan.seed)
    rng, desk = random.Random(plan.seed), Desk.of(student, course)
    parameters = [*student.model.parameters(), *desk.projection.parameters()]
    optimiser = torch.optim.AdamW(parameters, plan.learning_rate, weight_decay=0.01, fused=True)
    lengths = [len(row) for row in desk.rows]
    total = plan.epochs * sum(1 for _ in _batches(lengths, plan.tokens_a_batch, random.Random(0)))
    best, step, began = 0.0, 0, time.time()
    for epoch in range(plan.epochs):
        for group in _batches(lengths, plan.tokens_a_batch, rng):
            rate = min(1.0, step / (0.03 * total)) * (1 - step / total) if step < total else 0.0
            optimiser.param_groups[0]["lr"] = plan.learning_rate * rate
            student.model.train()
            losses = _losses(student, desk, course, group)
            loss = losses[0] + plan.state_weight * rate * losses[1] + plan.label_weight * losses[2]
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            step += 1
            if step % 500 == 0 or step == total:
                found, now = accuracy(student, course.dev), f"{time.time() - began:.0f}s"
                if found >= best:
                    best = found
                    torch.save(student.model.state_dict(), kept)
                shown = " ".join(f"{value.item():.3f}" for value in losses)
                print(f"{epoch} {step}/{total} {now} loss {shown} dev {found:.4f}", flush=True)
    student.model.load_state_dict(torch.load(kept, weights_only=True))


def _losses(student: Student, desk: Desk, course: Course, group: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean squared errors of logits and of states, and cross-entropy with labels."""
    ids, mask = padded([desk.rows[at] for at in group])
    logits, states = student.study(ids, mask)
    wanted = torch.from_numpy(course.lesson.logits[group])
    first = course.lesson.starts
    pairs = [(line, word) for line, at in enumerate(group) for word in desk.starts[at]]
    shown = [course.lesson.states[first[at] : first[at + 1]] for at in group]
    goal = (torch.from_numpy(np.concatenate(shown)).float() - desk.mean) / desk.scale
    lines, words = torch.tensor(pairs).reshape(-1, 2).T
    guess = desk.projection(states[lines, words])
    labels = torch.tensor([-100 if course.labels[at] is None else course.labels[at] for at in group])
    known = functional.cross_entropy(logits, labels, reduction="sum") / max(1, len(group))
    apart = functional.mse_loss(guess, goal) if pairs else goal.sum()  # a batch may hold texts of masks alone
    return functional.mse_loss(logits, wanted), apart, known


def _batches(lengths: list[int], tokens: int, rng: random.Random) -> Iterator[list[int]]:
    """All rows once, in groups of similar length that hold about `tokens` tokens each, in random order."""
    noisy = [length * rng.uniform(0.9, 1.1) for length in lengths]
    groups: list[list[int]] = [[]]
    longest = 0
    for row in sorted(range(len(lengths)), key=noisy.__getitem__):
        longest = max(longest, lengths[row])
        if longest * (len(groups[-1]) + 1) > tokens and groups[-1]:
            groups.append([])
            longest = lengths[row]
        groups[-1].append(row)
    rng.shuffle(groups)
    return iter(groups)


@torch.inference_mode()
def accuracy(student: Student, pairs: list[tuple[str, int]]) -> float:
    """Share of `(text, label)` pairs that the student gets right."""
    student.model.eval()
    rows, right = student.rows(tuple(text for text, _ in pairs)), 0
    for at in range(0, len(rows), 64):
        predicted = student.answer(*padded(rows[at : at + 64])).argmax(1)
        right += int((predicted == torch.tensor([label for _, label in pairs[at : at + 64]])).sum())
    return right / len(pairs) if pairs else math.nan
