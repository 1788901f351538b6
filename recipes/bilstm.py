"""`python -m recipes.bilstm --teacher ...`: train a BiLSTM with tanh attention on the lesson of the BERT."""

from collections import Counter
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from recipes import card, sst
from recipes.corpus import MASK
from recipes.distil import Plan, Student, distil
from recipes.lessons import Course, course, parser
from saliently.models.bilstm import AttentionClassifier, AttentionConfig, save, word_tokenizer

WORDS = 7_990
SPECIAL = 4
LABELS = ("NEGATIVE", "POSITIVE")
UNKNOWN = "<unk>"
UNKNOWN_RATE = 0.02  # of words, in training: else only masks would be unknown


class SmallLstm(Student):
    """The classifier of the attention debate. What the teacher saw as masked is an unknown word to it."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        torch.manual_seed(seed)
        config = AttentionConfig(tokenizer.get_vocab_size(), len(LABELS), 100, 96, "lstm", "tanh")
        self.model = AttentionClassifier(config)
        torch.nn.init.normal_(self.model.embedding.weight, std=0.1)
        self.tokenizer, self.state_size = tokenizer, config.state_size
        self.unknown = tokenizer.token_to_id(UNKNOWN)

    def rows(self, texts: tuple[str, ...]) -> list[list[int]]:
        """Ids with <sos> and <eos>."""
        known = [text.replace(MASK, UNKNOWN) for text in texts]
        return [found.ids for found in self.tokenizer.encode_batch(known)]

    def word_starts(self, ids: list[int]) -> list[int]:
        """Every word is one id."""
        return list(range(1, len(ids) - 1))

    def study(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and states, with some words unknown and some values of embeddings and states dropped."""
        hidden = (torch.rand(ids.shape) < UNKNOWN_RATE) & (ids >= SPECIAL)
        ids = ids.masked_fill(hidden, self.unknown)
        drop = torch.nn.functional.dropout
        states = self.model.encoder(drop(self.model.embedding(ids), 0.1), mask)
        dropped = drop(states, 0.1)
        return self.model.decide(dropped, self.model.weigh(dropped, mask)), states

    def answer(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.model(ids, mask)
        return logits


def vocabulary(lesson: Course, data: Path | None) -> list[str]:
    """The words that the treebank uses most, or that the teacher feels most strongly about."""
    split = word_tokenizer(()).pre_tokenizer.pre_tokenize_str
    sentences = [sst.plain(tree[-1].words) for tree in sst.trees("train", data)]
    sentences += [sst.natural(tree[-1].words) for tree in sst.trees("train", data)]
    counts = Counter(word for sentence in sentences for word, _ in split(sentence))
    single = {text: at for at, text in enumerate(lesson.texts) if text and " " not in text}
    margins = lesson.lesson.logits[:, 1] - lesson.lesson.logits[:, 0]
    usual = float(torch.tensor(margins[list(single.values())]).median())

    def worth(word: str) -> float:
        feeling = abs(float(margins[single[word]]) - usual) if word in single else 1.0
        return (counts[word] / 2 + 0.5) * (0.5 + feeling)  # every sentence was counted in two forms

    words = {word for word in counts.keys() | single.keys() if len(split(word)) == 1}
    return sorted(words - {MASK.lower()}, key=lambda word: (-worth(word), word))[:WORDS]


def main() -> None:
    """Train, and write the folder and its card."""
    options = parser(main.__doc__ or "")
    options.add_argument("--out", type=Path, default=card.SHIPPED / "bilstm")
    options.add_argument("--epochs", type=int, default=4)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    lesson = course(chosen, with_reviews=False)
    tokenizer = word_tokenizer(vocabulary(lesson, chosen.data))
    student = SmallLstm(tokenizer, chosen.seed)
    plan = Plan(chosen.epochs, 3072, 3e-3, 0.5, 0.3, chosen.seed)
    distil(student, lesson, plan, chosen.cache / "bilstm.pt")
    save(student.model, tokenizer, chosen.out, LABELS)
    card.write(chosen.out, "recipes.bilstm", plan, chosen.data)


if __name__ == "__main__":
    main()
