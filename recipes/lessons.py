"""`python -m recipes.lessons --teacher ...`: take the teacher's lesson; both recipes read it."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from recipes import corpus, reviews, sst, teacher

CACHE = Path.home() / ".cache" / "saliently-recipes"
LONGEST_BLANK = 64


@dataclass(frozen=True, eq=False)
class Course:
    """What a student learns from: texts, labels by people, a teacher's lesson; SST-2 dev to choose by."""

    texts: tuple[str, ...]
    labels: tuple[int | None, ...]
    lesson: teacher.Lesson
    dev: list[tuple[str, int]]


def course(options: argparse.Namespace, with_reviews: bool) -> Course:
    """The course named on the command line, with or without sentences of reviews beyond the treebank."""
    texts = corpus.build(sst.trees("train", options.data), teacher.lexicon(options.teacher), options.seed)
    taken = teacher.lesson(texts.texts, options.teacher, options.cache)
    if with_reviews:
        known = set(texts.texts)
        more = tuple(text for text in reviews.sentences(options.data, options.seed) if text not in known)
        taken = teacher.joined([taken, teacher.lesson(more, options.teacher, options.cache)])
        texts = corpus.Corpus((*texts.texts, *more), (*texts.labels, *[None] * len(more)))
    return _with_blanks(texts, taken, sst.sst2("dev", options.data))


def _with_blanks(texts: corpus.Corpus, taken: teacher.Lesson, dev: list[tuple[str, int]]) -> Course:
    """Add texts of masks alone, with logits of 0: explanations start from such a text, and it says nothing.

    The teacher calls it positive, as it happens. These texts have no states to learn.
    """
    blanks = tuple(" ".join([corpus.MASK] * length) for length in range(LONGEST_BLANK))
    logits = np.concatenate([taken.logits, np.zeros((len(blanks), 2), np.float32)])
    starts = np.concatenate([taken.starts, np.repeat(taken.starts[-1:], len(blanks))])
    lesson = teacher.Lesson(logits, taken.states, starts)
    return Course((*texts.texts, *blanks), (*texts.labels, *[None] * len(blanks)), lesson, dev)


def parser(description: str) -> argparse.ArgumentParser:
    """The options that all recipes share."""
    result = argparse.ArgumentParser(description=description)
    sst.data_argument(result)
    result.add_argument("--teacher", required=True, help="BERT fine-tuned on SST-2: folder or hub name")
    result.add_argument("--cache", type=Path, default=CACHE, help="where the teacher's lesson is kept")
    result.add_argument("--seed", type=int, default=1)
    result.add_argument("--threads", type=int, default=1)
    return result


def main() -> None:
    """Take the lesson."""
    options = parser(main.__doc__ or "").parse_args()
    torch.set_num_threads(options.threads)
    taken = course(options, with_reviews=True)
    print(f"{len(taken.texts)} texts, {len(taken.lesson.states)} words")


if __name__ == "__main__":
    main()
