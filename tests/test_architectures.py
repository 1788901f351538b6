"""Every architecture of the zoo keeps the contract, and other families work without a line of their own.

A method that can't serve an architecture says so; `REFUSED` lists these, so that none is lost or won unnoticed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import saliently
from saliently.models.base import Model
from tests import zoo
from tests.test_seam import batch_of, state

EVERY = zoo.ZOO | zoo.OTHERS
RECIPES = [
    "gradient-x-input",
    "lrp",
    "attn-lrp",
    "decompx",
    "attention",
    "attention-rollout",
    "gradient-rollout",
    "alti",
]
TEXTS = ["A gorgeous, witty, seductive movie.", "It's so bad that it's good", "bad"]

_UNSEEN = {"bloom": "GeLUFunctionBackward"}
_NO_ATTENTION = {
    **dict.fromkeys(("mamba", "lstm", "gru"), "a forward pass shows none"),
    "funnel": "to be read by tokens",
}
REFUSED: dict[str, dict[str, str]] = {
    "lrp": _UNSEEN,
    "attn-lrp": _UNSEEN,
    "decompx": {"funnel": "avg_pool2d"},
    "attention": _NO_ATTENTION,
    "attention-rollout": _NO_ATTENTION,
    "gradient-rollout": _NO_ATTENTION,
    "alti": _NO_ATTENTION
    | {
        "t5": "alti was asked of",
        "bart": "alti was asked of",
        "bilstm": "alti was asked of",
        "mobilebert": "can't be found in",
        "funnel": "5 queries|12 queries",
    },
}
"""Recipe -> name -> what the ModelError says."""


def cases(refused: bool) -> Iterator[tuple[str, str]]:
    for recipe in RECIPES:
        for name in EVERY:
            if (name in REFUSED.get(recipe, {})) == refused:
                yield name, recipe


def plain_logits(model: Model, text: str) -> torch.Tensor:
    with model.resting(), torch.no_grad():
        return model.run(batch_of(model, [text]))[0]


@pytest.mark.parametrize(("name", "recipe"), [*cases(refused=False)])
def test_one_finite_score_a_token_of_the_model_s_own_value(name: str, recipe: str) -> None:
    model = EVERY[name]()
    before = state(model.module)
    for text in TEXTS:
        found, logits = saliently.explain(model, text, recipe), plain_logits(model, text)
        assert found.scores.shape == (len(found.tokens.ids),)
        assert np.isfinite(found.scores).all()
        assert np.abs(found.scores).sum() > 0
        assert found.target.index == int(logits.argmax())
        assert found.values[0] == pytest.approx(float(logits.max()), abs=1e-5)
    assert state(model.module) == before


@pytest.mark.parametrize(("name", "recipe"), [*cases(refused=False)])
def test_a_batch_of_unequal_texts_is_its_rows(name: str, recipe: str) -> None:
    model = EVERY[name]()
    before = state(model.module)
    for text, one in zip(TEXTS, saliently.explain(model, TEXTS, recipe), strict=True):
        alone = saliently.explain(model, text, recipe)
        np.testing.assert_allclose(one.scores, alone.scores, rtol=0, atol=1e-5 * max(1, np.abs(alone.scores).max()))
        assert one.values == pytest.approx(alone.values, abs=1e-5)
    assert state(model.module) == before


@pytest.mark.parametrize(("name", "recipe"), [*cases(refused=True)])
def test_what_can_t_be_served_is_one_clear_error(name: str, recipe: str) -> None:
    model = EVERY[name]()
    before = state(model.module)
    for _ in range(2):
        with pytest.raises(saliently.ModelError, match=REFUSED[recipe][name]):
            saliently.explain(model, TEXTS[0], recipe)
    assert state(model.module) == before


def test_the_list_of_the_refused_names_architectures_and_recipes_that_exist() -> None:
    assert set(REFUSED) <= set(RECIPES)
    assert {name for names in REFUSED.values() for name in names} <= set(EVERY)
    assert not set(zoo.OTHERS) & set(zoo.ZOO)
    assert len(zoo.OTHERS) >= 3


# No family has a line of its own.

SHARED = frozenset({"BertPreTokenizer"})
"""A splitter of words for anyone, whatever its name."""
WORDS = frozenset({"opt", "phi"})
"""Families whose names are ordinary names in code; only as a string do they mean the family."""


def families() -> frozenset[str]:
    """`model_type` of every transformers model in the zoo, with and without the number of its version."""
    kinds = {
        part.config.model_type
        for make in EVERY.values()
        for part in make().module.modules()
        if hasattr(part, "config") and hasattr(part.config, "model_type")
    }
    squashed = {re.sub(r"[-_]", "", kind.removesuffix("_text")) for kind in kinds}
    return frozenset(squashed | {stem for kind in squashed if len(stem := re.sub(r"v?\d+$", "", kind)) > 2})


def named_in(source: str, known: frozenset[str]) -> set[str]:
    """Families that code names: in its identifiers, and in strings of one word."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        spelled = [getattr(node, field, None) for field in ("id", "attr", "arg", "name", "asname", "module")]
        for each in filter(lambda one: isinstance(one, str) and one not in SHARED, spelled):
            found |= _families(each, known - WORDS)  # type: ignore[arg-type]
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not re.search(r"\s", node.value):
            found |= _families(node.value, known)
    return found


def _families(spelled: str, known: frozenset[str]) -> set[str]:
    """`"XLNetConfig"` -> `{"xlnet"}`: runs of words within a name that are one."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", spelled)]
    runs = {"".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)}
    return runs & known


def test_no_line_of_the_source_names_a_family() -> None:
    known = families()
    assert {"bert", "gpt", "gpt2", "llama", "xlnet", "t5", "gptneox", "deberta", "opt", "phi", "funnel"} <= known
    for source in (
        "if config.model_type == 'bert': pass",
        "from transformers import XLNetModel",
        "from transformers.models.llama.modeling_llama import LlamaAttention",
        "kind = 'phi3'",
        "def for_gpt2(x): return x",
        "x = isinstance(m, t.GPTNeoXModel)",
        "x = model.deberta",
    ):
        assert named_in(source, known), source
    for source in ('"""As in BERT."""', "x = phi + opt", "raise E('a BERT model was asked for')", "adopt = options"):
        assert not named_in(source, known), source
    folder = Path(saliently.__file__).parent
    sources: dict[str, Any] = {str(path): path.read_text(encoding="utf-8") for path in folder.rglob("*.py")}
    assert len(sources) > 30
    assert {path: found for path, text in sources.items() if (found := named_in(text, known))} == {}
