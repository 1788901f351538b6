"""What every method promises on every kind of model. A new row in `listed.METHODS` is tested by being there."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliently
from saliently.listed import METHODS
from saliently.methods.base import Method
from saliently.models.base import Model
from saliently.models.batch import Batch
from saliently.names import parse
from saliently.types import Explanation
from saliently.view.record import from_dict, to_dict
from tests import tiny
from tests.snapshot import snapshot

# Every method as it comes (with fewer samples, where it takes thousands), and every variant that runs other code.
SMALL = {
    "lime": "lime(samples=100)",
    "shapley": "shapley(exact=7, most=128)",
    "banzhaf": "banzhaf(exact=7, most=128)",
    "shapley-interaction": "shapley-interaction(exact=7, most=128)",
    "banzhaf-interaction": "banzhaf-interaction(exact=7, most=128)",
    "reagent": "reagent(probes=2, least=3, most=10)",
    "integrated-hessians": "integrated-hessians(blank='zero', steps=3)",
}
# What needs a masked language model besides the model has its own tests.
RECIPES = [
    *(SMALL.get(row.name, row.name) for row in METHODS if row.name != "input-marginalization"),
    "shapley(how='permutation', most=100)",
    "owen(tree='clauses', most=100, blank='mean')",
    "shapley-interaction(index='fsii', by='token', most=160)",
    "archipelago(groups=2)",
    "gradient(norm='l1')",
    "gradient(norm='squared-l2')",
    "gradient(norm='mean')",
    "smoothgrad(over='gradient-x-input', samples=3)",
    "integrated-gradients(blank='zero', steps=4)",
    "integrated-gradients(blank='mean')",
    "integrated-gradients(blank=('zero', 'mean'), steps=3)",
    "occlusion(blank='zero')",
    "occlusion(blank='mean', window=3)",
    "occlusion(blank='delete')",
    "attn-lrp",
    "lrp(variant='ali')",
    "lrp(rule='gamma', bias='zero')",
    "lrp(rule='z-plus', epsilon=0.01)",
    "lrp(rule='alpha-beta', bias='share')",
    "lrp(gates='half')",
    "attention(layer=0, head=0)",
]
TEXTS = [
    "A gorgeous, witty, seductive movie.",
    "bad",
    "Never have I seen a more charming scene, and I don't think she'd like this film!",
    "It's so bad that it's good",
]
KINDS = ["bert", "gpt2", "llama", "t5", "bilstm", "linear_bag"]


def model(kind: str, dtype: torch.dtype = torch.float32) -> Model:
    return tiny.models(dtype)[kind]()


def texts_for(kind: str, recipe: str) -> list[str]:
    """Deleting the only token of a text without special tokens leaves nothing to ask; an error test has that case."""
    return [text for text in TEXTS if not ("delete" in recipe and " " not in text)]


# What a method can't be asked of a model, by the method's name: a clear error says so.
REFUSED = {row.name: {"linear_bag"} for row in METHODS if row.quantity == "attention"}
for _name in ("value-zeroing", "value-weighted-norms", "globenc", "alti"):
    REFUSED[_name] |= {"t5", "bilstm"}


def served(kind: str, recipe: str) -> bool:
    return kind not in REFUSED.get(parse(recipe).name, set())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = [name for name in ("kind", "recipe") if name in metafunc.fixturenames]
    if names == ["kind", "recipe"]:
        metafunc.parametrize(names, [(kind, recipe) for kind in KINDS for recipe in RECIPES if served(kind, recipe)])
    elif names:
        metafunc.parametrize(names[0], KINDS if names == ["kind"] else RECIPES)


def test_what_a_method_can_t_do_it_says() -> None:
    refused = [(kind, name) for name, kinds in REFUSED.items() for kind in kinds]
    assert refused
    for kind, name in refused:
        with pytest.raises(saliently.ModelError, match=r"was asked of .* Use "):
            saliently.explain(model(kind), TEXTS[0], name)


def test_one_score_a_token_all_finite_and_the_whole_recipe_on_the_result(kind: str, recipe: str) -> None:
    text = TEXTS[0]
    found = saliently.explain(model(kind), text, recipe)
    assert found.scores.shape == (len(found.tokens.ids),) * (2 if found.quantity == "interaction" else 1)
    assert found.scores.dtype == np.float64
    assert np.isfinite(found.scores).all()
    assert np.abs(found.scores).sum() > 0 or found.quantity == "selection"  # where nothing flips the decision
    assert "".join(unit.text for unit in found.units()) == text
    assert found.quantity == parse(recipe).quantity
    assert found.checks.ids == found.tokens.ids
    assert found.checks.forward_rows + found.checks.gradient_rows > 0
    again = saliently.explain(model(kind), text, found.method)
    assert again.method == found.method
    assert (again.scores == found.scores).all()


def test_a_batch_is_its_rows(kind: str, recipe: str) -> None:
    # Rules that divide by sums, which may be near 0, multiply rounding.
    asked = model(kind, torch.float64 if "lrp(" in recipe else torch.float32)
    for side in asked.sides:
        padded = dataclasses.replace(asked, sides=(side,))
        texts = texts_for(kind, recipe)
        together = saliently.explain(padded, texts, recipe)
        for text, one in zip(texts, together, strict=True):
            alone = saliently.explain(asked, text, recipe)
            near = 1e-5 * max(1, np.abs(alone.scores).max())
            if "integrated" in recipe and "steps" not in recipe and np.abs(one.scores - alone.scores).max() > near:
                # Where f has a kink, rounding decides which piece of the path is cut next: other nodes, same integral.
                assert np.linalg.norm(one.scores - alone.scores) <= 0.01 * np.linalg.norm(alone.scores)
            else:
                np.testing.assert_allclose(one.scores, alone.scores, rtol=0, atol=near)
                assert one.checks.nodes == alone.checks.nodes
            assert one.values == pytest.approx(alone.values, abs=1e-5)


def test_the_value_is_the_model_s_own(kind: str, recipe: str) -> None:
    asked, text = model(kind), TEXTS[2]
    tokens = asked.read({"text": text}, False)
    ids = torch.tensor([tokens.ids])
    kinds = torch.tensor([tokens.kinds]) if tokens.kinds else None
    logits = asked.run(Batch.of(ids, kinds))[0].detach()
    found = saliently.explain(asked, text, recipe)
    chances = logits.double().log_softmax(-1)
    others = chances.masked_fill(chances == chances.max(), -torch.inf).logsumexp(-1)
    first, second = logits.topk(2).values
    numbers = {
        ("logit", None): first,
        ("logit", "next"): first - second,
        ("log-odds", None): chances.max() - others,
        ("probability", None): chances.max().exp(),
    }
    assert found.target.index == int(logits.argmax())
    assert found.values[0] == pytest.approx(float(numbers[found.target.of, found.target.against]), abs=1e-5)


@pytest.mark.parametrize("fails", [False, True])
def test_a_model_comes_out_as_it_went_in(kind: str, recipe: str, fails: bool) -> None:
    asked = model(kind)
    asked.module.train()
    next(asked.module.parameters()).requires_grad_(False)
    before = snapshot(asked.module)
    try:
        if fails:

            def broken(batch: Batch) -> Tensor:
                asked.forward(batch)
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                saliently.explain(dataclasses.replace(asked, forward=broken), TEXTS[0], recipe)
        else:
            saliently.explain(asked, TEXTS[0], recipe)
        assert snapshot(asked.module) == before
    finally:
        asked.module.eval().requires_grad_(True)


def test_the_recipe_is_the_method(recipe: str) -> None:
    method = parse(recipe)
    assert parse(repr(method)) == method
    assert hash(method) == hash(parse(repr(method)))
    resolved = method.resolved(model("bert"))
    assert parse(repr(resolved)) == resolved


def test_json_gives_the_explanation_back(kind: str, recipe: str) -> None:
    found = saliently.explain(model(kind), TEXTS[0], recipe)
    back = from_dict(json.loads(json.dumps(to_dict(found))))
    for field in dataclasses.fields(Explanation):
        ours, theirs = getattr(found, field.name), getattr(back, field.name)
        assert (ours == theirs).all() if field.name == "scores" else ours == theirs, field.name


def test_the_target_stays_the_class_of_the_unchanged_text(kind: str, recipe: str) -> None:
    """Explaining the predicted class by name is the same as explaining the predicted class."""
    asked = model(kind)
    free = saliently.explain(asked, TEXTS[2], recipe)
    named = saliently.explain(asked, TEXTS[2], recipe, target=free.target.label)
    np.testing.assert_allclose(free.scores, named.scores, rtol=0, atol=1e-12)


def test_every_row_of_the_list_tells_the_truth_about_its_class() -> None:
    for row in METHODS:
        method = parse(row.name)
        assert method.name == row.name
        assert row.quantity in (method.quantity, "that of `over`")
        for alias in row.aliases:
            assert type(parse(alias)) is type(method)
    listed = {type(parse(row.name)) for row in METHODS}
    assert listed == {kind for kind in final_methods(Method) if kind.__module__.startswith("saliently.")}


def final_methods(kind: type) -> list[type]:
    below = kind.__subclasses__()
    return [kind] if not below else [each for child in below for each in final_methods(child)]


def test_rows_that_can_t_be_padded_run_with_their_like() -> None:
    """A module that knows no mask never sees padding."""

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(100, 8)
            self.seen: list[tuple[int, int]] = []

        def forward(self, ids: Tensor) -> Tensor:
            self.seen.append(tuple(ids.shape))  # type: ignore[arg-type]
            return self.embed(ids).mean(1)[:, :3]

    module = tiny.seeded(Mean, torch.float32)
    asked = saliently.wrap(module, tiny.read_words, embedding="embed", labels=tiny.LABELS)
    texts = ["one two three", "one", "four five six", "seven"]
    together = saliently.explain(asked, texts, "gradient-x-input")
    assert sorted(module.seen) == [(2, 1), (2, 3)]
    for text, one in zip(texts, together, strict=True):
        np.testing.assert_allclose(one.scores, saliently.explain(asked, text, "gradient-x-input").scores, atol=1e-6)
