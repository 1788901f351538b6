"""The card beside a model's weights: where it comes from and what was measured. The recipe writes it."""

from dataclasses import asdict
from pathlib import Path

from recipes import sst
from recipes.distil import Plan

SHIPPED = Path(__file__).resolve().parents[1] / "src" / "saliently" / "shipped"
NAMES = ("default", "bilstm")

_CARD = """# {name}

{what} that tells NEGATIVE from POSITIVE English film reviews.

- **Data**: Stanford Sentiment Treebank (Socher et al. 2013), standard split: the phrases of the training trees
  and variants of them (words masked, left out, swapped; sentences joined), with logits of a teacher; labels by
  people where there are any. {more}The checkpoint was chosen on SST-2 dev.
- **Teacher**: a MiniLM (6 layers, 384 wide) fine-tuned on SST-2. Its weights are not in this folder, neither
  whole nor in part.
- **Made by**: `python -m {recipe} --teacher FOLDER`, seed {seed};
  {settings}.
- **Accuracy**: {accuracy:.4f} on SST-2 test ({right} of {total} sentences), {dev:.4f} on SST-2 dev, by
  `python -m recipes.evaluate` from the float16 files in this folder.
- **Twenty masked words** (`{mask}`) and nothing else get POSITIVE with probability {blank:.2f}.
- **Licence**: SST states no licence. The encoder that the teacher was fine-tuned from is Apache-2.0{words}.
  Only weights and a vocabulary are here, no texts.
- **Use**: examples and tests. It was trained on nothing but film reviews in English.
"""
_WHAT = {
    "recipes.default": "A small BERT",
    "recipes.bilstm": "A BiLSTM with tanh attention (Jain & Wallace 2019)",
}
_MORE = {
    "recipes.default": (
        "Sentences of IMDB reviews (training split of Kaushik et al. 2020,\n"
        "  Apache-2.0) with logits of the teacher, without labels. "
    ),
    "recipes.bilstm": "",
}
_MASK = {"recipes.default": "[MASK]", "recipes.bilstm": "<unk>"}
_WORDS = {
    "recipes.default": ",\n  and so is its vocabulary, of which the one here is a part",
    "recipes.bilstm": ",\n  and so is its vocabulary, from which some of the words here come",
}


def write(folder: Path, recipe: str, plan: Plan, data: Path | None) -> None:
    """Measure the model in `folder` and write its card.md."""
    # Imported here: evaluate reads this file for the shipped folders.
    from recipes.evaluate import probabilities, right

    pairs = {split: sst.sst2(split, data) for split in ("dev", "test")}
    found = {split: right(folder, pairs[split]) for split in pairs}
    settings = ", ".join(f"{key} {value}" for key, value in asdict(plan).items() if key != "seed")
    text = _CARD.format(
        name=folder.name,
        what=_WHAT[recipe],
        more=_MORE[recipe],
        recipe=recipe,
        seed=plan.seed,
        settings=settings.replace("_", " "),
        accuracy=found["test"] / len(pairs["test"]),
        right=found["test"],
        total=len(pairs["test"]),
        dev=found["dev"] / len(pairs["dev"]),
        words=_WORDS[recipe],
        mask=_MASK[recipe],
        blank=float(probabilities(folder, [" ".join([_MASK[recipe]] * 20)])[0, 1]),
    )
    (folder / "card.md").write_text(text, encoding="utf-8")
    print(text)
