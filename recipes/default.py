"""`python -m recipes.default --teacher ...`: distil a small BERT from a larger one fine-tuned on SST-2.

The student starts from random weights. Its vocabulary is a part of the teacher's.
"""

import random
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertTokenizer

from recipes import card, neighbours, sst
from recipes.distil import Plan, Student, distil
from recipes.lessons import Course, course, parser
from recipes.teacher import starts_word

PIECES = 7_900
LAYERS = 2
MASKED_RATE = 0.05  # of pieces, in training, on top of the masks that the teacher saw
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LABELS = ("NEGATIVE", "POSITIVE")


class SmallBert(Student):
    """A BERT for two labels with `PIECES` word pieces."""

    def __init__(self, tokenizer: BertTokenizer, seed: int) -> None:
        config = BertConfig(
            vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=LAYERS, num_attention_heads=4,
            intermediate_size=512, max_position_embeddings=512, pad_token_id=0,
            hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.0,
            id2label=dict(enumerate(LABELS)), label2id={label: at for at, label in enumerate(LABELS)},
        )  # fmt: skip
        torch.manual_seed(seed)
        self.model = BertForSequenceClassification(config)
        neighbours.begin(self.model)
        self.tokenizer, self.state_size, self.rng = tokenizer, config.hidden_size, random.Random(seed)
        self.is_start = starts_word(tokenizer).tolist()

    def rows(self, texts: tuple[str, ...]) -> list[list[int]]:
        """Ids with [CLS] and [SEP]."""
        ids: list[list[int]] = self.tokenizer(list(texts))["input_ids"]
        return ids

    def word_starts(self, ids: list[int]) -> list[int]:
        """Where pieces stand that continue no word."""
        return [at for at, piece in enumerate(ids) if self.is_start[piece]]

    def study(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and what the last layer reads; now and then far from the start: it learns all positions."""
        positions = torch.arange(ids.shape[1])
        if self.rng.random() < 0.3:
            positions[1:] += self.rng.randrange(self.model.config.max_position_embeddings - ids.shape[1] + 1)
        hidden = (torch.rand(ids.shape) < MASKED_RATE) & (ids >= len(SPECIAL))
        ids = ids.masked_fill(hidden, SPECIAL.index("[MASK]"))
        output = self.model(ids, mask, position_ids=positions[None], output_hidden_states=True)
        return output.logits, output.hidden_states[-2]

    def answer(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.model(ids, mask).logits
        return logits


def vocabulary(teacher: str, lesson: Course, data: Path | None) -> dict[str, int]:
    """The pieces of the teacher's vocabulary that the treebank uses most or the teacher feels strongly about.

    All single characters of English text stay, so that few words are unknown.
    """
    tokenizer = AutoTokenizer.from_pretrained(teacher)
    roots = [tree[-1].words for tree in sst.trees("train", data)]
    sentences = [form(root) for root in roots for form in (sst.plain, sst.natural)]
    counts = Counter(piece for ids in tokenizer(sentences)["input_ids"] for piece in ids)
    single = {text: at for at, text in enumerate(lesson.texts) if " " not in text}
    margins = torch.from_numpy(lesson.lesson.logits @ [[-1.0], [1.0]])[:, 0]
    usual = margins[list(single.values())].median()

    def worth(piece: str) -> float:
        feeling = abs(float(margins[single[piece]] - usual)) if piece in single else 1.0
        return (counts[pieces[piece]] / 2 + 0.5) * (0.5 + feeling)  # every sentence was counted in two forms

    pieces = tokenizer.get_vocab()
    letters = [piece for piece in pieces if piece.isascii() and len(piece.removeprefix("##")) == 1]
    rest = sorted(pieces.keys() - {*SPECIAL, *letters}, key=lambda piece: (-worth(piece), piece))
    rest = [piece for piece in rest if not piece.startswith("[unused")]
    kept = [*SPECIAL, *sorted(letters), *rest][:PIECES]
    return {piece: at for at, piece in enumerate(kept)}


def main() -> None:
    """Train, and write the folder and its card."""
    options = parser(main.__doc__ or "")
    options.add_argument("--out", type=Path, default=card.SHIPPED / "default")
    options.add_argument("--epochs", type=int, default=1)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    lesson = course(chosen, with_reviews=True)
    pieces = vocabulary(chosen.teacher, lesson, chosen.data)
    tokenizer = BertTokenizer(vocab=pieces, do_lower_case=True, model_max_length=512)
    student = SmallBert(tokenizer, chosen.seed)
    plan = Plan(chosen.epochs, 3072, 1e-3, 1.0, 0.1, chosen.seed)
    distil(student, lesson, plan, chosen.cache / "default.pt")
    student.model.half().save_pretrained(chosen.out)
    tokenizer.save_pretrained(chosen.out)
    card.write(chosen.out, "recipes.default", plan, chosen.data)


if __name__ == "__main__":
    main()
