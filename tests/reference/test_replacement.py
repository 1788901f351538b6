"""Methods that put other words into a text or take away sets of them, again: by plain calls, in float64."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import log2
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

import saliently
from saliently.methods.hierarchy import HierarchicalOcclusion
from saliently.methods.marginal import InputMarginalization
from saliently.methods.minimal import MinimalErasure
from saliently.methods.reagent import ReAGent
from saliently.methods.seeds import seed_of
from saliently.types import Explanation, Target, Tokens
from tests import fillers, tiny, writers

TEXT = "A gorgeous, witty movie. It's dull, and I liked it."
SHORT = "A gorgeous, witty movie."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("filler")
    fillers.saved(path, fillers.module(dtype=torch.float64))
    return path


def logits(ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return tiny.bert(torch.float64).module(torch.tensor([ids])).logits[0]


def ask(ids: list[int], label: int, scale: str = "logit") -> float:
    found = logits(ids)
    return float(found[label] if scale == "logit" else found.softmax(0)[label])


def read(text: str) -> tuple[Tokens, list[int], list[int], int]:
    """The tokens, their ids, the places of words, and the predicted label."""
    tokens = tiny.bert(torch.float64).read({"text": text}, False)
    ids = list(tokens.ids)
    return tokens, ids, [i for i, span in enumerate(tokens.spans) if span is not None], int(logits(ids).argmax())


def without(ids: list[int], gone: set[int] | list[int]) -> list[int]:
    mask = tiny.wordpiece().mask_token_id
    return [mask if i in gone else token for i, token in enumerate(ids)]


def expected_words(ids: list[int], place: int, least: float, most: int) -> dict[int, float]:
    """Words that the masked language model expects in a place, with their shares of the probability."""
    with torch.no_grad():
        said = fillers.module(dtype=torch.float64)(torch.tensor([without(ids, {place})])).logits[0, place].softmax(0)
    words = [int(w) for w in said.argsort(descending=True) if int(w) not in tiny.wordpiece().all_special_ids]
    kept = [w for w in words[:most] if said[w] >= least] or words[:1]
    return {w: float(said[w] / said[kept].sum()) for w in kept}


def test_input_marginalization_of_a_pair(folder: Path) -> None:
    """Both models know which text a token is of."""
    model, lm = tiny.bert(torch.float64), fillers.module(dtype=torch.float64)
    found = saliently.explain(
        model, {"premise": "so good", "hypothesis": "A movie."}, InputMarginalization(str(folder), most=3)
    )
    ids, kinds = list(found.tokens.ids), torch.tensor([found.tokens.kinds])
    assert set(found.tokens.kinds) == {0, 1}

    def said(given: list[int]) -> float:
        with torch.no_grad():
            return float(model.module(torch.tensor([given]), token_type_ids=kinds).logits[0, found.target.index])

    for place, word in enumerate(found.tokens.words):
        if word:
            with torch.no_grad():
                chances = lm(torch.tensor([without(ids, {place})]), token_type_ids=kinds).logits[0, place].softmax(0)
            order = chances.argsort(descending=True).tolist()
            kept = [w for w in order if w not in tiny.wordpiece().all_special_ids][:3]
            left = sum(float(chances[w]) * said([*ids[:place], w, *ids[place + 1 :]]) for w in kept)
            left /= float(chances[kept].sum())
            assert found.scores[place] == pytest.approx(said(ids) - left, abs=1e-4)  # words below `least` too


@pytest.mark.parametrize(("least", "most"), [(1e-5, 64), (0.02, 64), (0.0, 3), (0.999, 4)])
@pytest.mark.parametrize("scale", ["logit", "probability"])
def test_input_marginalization(folder: Path, least: float, most: int, scale: str) -> None:
    _, ids, words, label = read(SHORT)
    expected, counts = np.zeros(len(ids)), []
    for place in words:
        shares = expected_words(ids, place, least, most)
        left = sum(p * ask([*ids[:place], w, *ids[place + 1 :]], label, scale) for w, p in shares.items())
        expected[place] = ask(ids, label, scale) - left
        counts.append(len([w for w in shares if w != ids[place]]))
    method = InputMarginalization(str(folder), least, most)
    found = saliently.explain(tiny.bert(torch.float64), SHORT, method, Target(of=scale))  # type: ignore[arg-type]
    np.testing.assert_allclose(found.scores, expected, atol=1e-10)
    assert np.abs(expected[words]).max() > 1e-3
    assert found.nothing is not None
    assert found.nothing[0] == pytest.approx(ask(without(ids, words), label, scale))
    assert found.checks.residual == pytest.approx(expected.sum() - (found.values[0] - found.nothing[0]))
    assert found.checks.forward_rows == 2 + sum(counts)


def test_the_paper_s_weight_of_evidence_from_probabilities(folder: Path) -> None:
    """As its docstring says: logit2(p) - logit2(p - score)."""
    _, ids, words, label = read(SHORT)
    found = saliently.explain(
        tiny.bert(torch.float64), SHORT, InputMarginalization(str(folder)), Target(of="probability")
    )
    p = found.values[0]
    for place in words:
        shares = expected_words(ids, place, 1e-5, 64)
        left = sum(
            share * ask([*ids[:place], w, *ids[place + 1 :]], label, "probability") for w, share in shares.items()
        )
        evidence = log2(p / (1 - p)) - log2(left / (1 - left))
        other = p - found.scores[place]
        assert log2(p / (1 - p)) - log2(other / (1 - other)) == pytest.approx(evidence, abs=1e-8)


def test_input_marginalization_by_the_explained_model_itself() -> None:
    text = "A gorgeous, [MASK], seductive movie."
    module = fillers.module(dtype=torch.float64)
    found = saliently.explain(saliently.wrap(module, tiny.wordpiece()), text, InputMarginalization(most=5))
    ids, label = list(found.tokens.ids), found.target.index
    hole = ids.index(tiny.wordpiece().mask_token_id)

    def said(given: list[int]) -> float:
        with torch.no_grad():
            return float(module(torch.tensor([given])).logits[0, hole, label])

    for place, span in enumerate(found.tokens.spans):
        if span is None:
            assert found.scores[place] == 0
            continue
        shares = expected_words(ids, place, 1e-5, 5)
        left = sum(share * said([*ids[:place], w, *ids[place + 1 :]]) for w, share in shares.items())
        assert found.scores[place] == pytest.approx(said(ids) - left, abs=1e-10)


def masking() -> PreTrainedTokenizerFast:
    """Pieces of bytes, with a mask."""
    backend = Tokenizer.from_str(tiny.byte_level().backend_tokenizer.to_str())
    backend.add_special_tokens(["<mask>"])
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", mask_token="<mask>")


def test_input_marginalization_of_a_response(tmp_path: Path) -> None:
    """A decoder of any size, and a masked language model that reads the same pieces of bytes."""
    lm = fillers.module(masking())
    writer = saliently.wrap(writers.gpt2_module(masking()), masking())
    method = InputMarginalization(fillers.saved(tmp_path, lm, masking()), most=3)
    found = saliently.explain(writer, {"prompt": "A witty", "response": " film"}, method)
    ids, first, special = list(found.tokens.ids), found.tokens.response, masking().all_special_ids
    assert first is not None

    def said(given: list[int]) -> float:
        every = writers.chances(writer, given)
        return sum(float(every[at - 1, ids[at]]) for at in range(first, len(ids)))

    for place in range(len(ids)):
        holed = [*ids[:place], masking().mask_token_id, *ids[place + 1 :]]
        with torch.no_grad():
            chances = lm(torch.tensor([holed])).logits[0, place].double().softmax(0)
        order = [w for w in chances.argsort(descending=True).tolist() if w not in special]
        kept = [w for w in order[:3] if chances[w] >= 1e-5] or order[:1]
        left = sum(float(chances[w]) * said([*ids[:place], w, *ids[place + 1 :]]) for w in kept)
        assert found.scores[place] == pytest.approx(said(ids) - left / float(chances[kept].sum()), abs=1e-3)
    assert np.abs(found.scores).max() > 0.1


def slow_reagent(
    tokens: Tokens, method: ReAGent, drawn: Callable[[int, float], int], logits: Callable[[list[int]], torch.Tensor]
) -> np.ndarray:
    """One probe after the other, one row after the other: (probes, T) scores."""
    ids, words = list(tokens.ids), [i for i, span in enumerate(tokens.spans) if span is not None]
    label = int(logits(ids).argmax())
    p, every = float(logits(ids).softmax(0)[label]), []
    for probe in range(method.probes):
        random = torch.Generator().manual_seed(seed_of(method.seed, probe, tokens.ids))
        scores = torch.rand(len(ids), generator=random, dtype=torch.float64).tolist()
        for step in range(1, method.most + 1):
            chance, first, second = torch.rand(3, len(ids), generator=random, dtype=torch.float64).tolist()
            away = [i for i in words if chance[i] < method.share]
            other = [drawn(i, first[i]) if i in away else ids[i] for i in range(len(ids))]
            fall = p - float(logits(other).softmax(0)[label])
            for i in words:
                scores[i] += np.log((1 + fall) / (1 - fall)) * (1 if i in away else -1)
            best = sorted(words, key=lambda i: -scores[i])[: min(method.keep, max(1, len(words) // 2))]
            left = [drawn(i, second[i]) if i in words and i not in best else ids[i] for i in range(len(ids))]
            if step >= method.least and int(logits(left).argmax()) == label:
                break
        every.append([scores[i] if i in words else -np.inf for i in range(len(ids))])
    return np.array(every)


def shares(scores: np.ndarray) -> np.ndarray:
    powers: np.ndarray = np.exp(scores)
    return powers / powers.sum()


@pytest.mark.parametrize(
    "method",
    [
        ReAGent(probes=3, least=1),
        ReAGent(share=0.6, keep=2, probes=2, least=4, most=7),
        ReAGent(seed=9),
        ReAGent(keep=1),
    ],
)
@pytest.mark.parametrize("text", ["so very good , and no bad film at all", "so very good"])
def test_reagent_with_words_of_the_vocabulary(method: ReAGent, text: str) -> None:
    model = tiny.linear_bag(torch.float64)
    tokens = model.read({"text": text}, False)

    def drawn(place: int, chance: float) -> int:
        others = [w for w in range(2, 100) if w != tokens.ids[place]]
        return others[int(chance * len(others))]

    def logits(ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = model.module(torch.tensor([ids]), torch.ones(1, len(ids)))[0]
        return found

    expected = slow_reagent(tokens, method, drawn, logits)
    found = saliently.explain(model, text, method)
    np.testing.assert_allclose(found.scores, shares(expected.mean(0)), rtol=1e-8, atol=1e-12)
    slope, step = np.zeros_like(expected), 1e-6
    for place in range(len(tokens.ids)):
        moved = expected.mean(0)
        moved[place] += step
        rise = (shares(moved) - shares(expected.mean(0))) / step
        slope += (expected[:, place] - expected[:, place].mean())[:, None] * rise
    errors = slope.std(0, ddof=1) / np.sqrt(len(expected))
    np.testing.assert_allclose(found.checks.errors, errors, rtol=1e-4, atol=1e-7)
    assert found.scores.sum() == pytest.approx(1)


def test_reagent_with_words_that_a_masked_language_model_expects(folder: Path) -> None:
    tokens, ids, words, _ = read(SHORT)
    lm = fillers.module(dtype=torch.float64)
    with torch.no_grad():
        said = {i: lm(torch.tensor([without(ids, {i})])).logits[0, i].softmax(0) for i in words}
    barred = set(tiny.wordpiece().all_special_ids)

    def drawn(place: int, chance: float) -> int:
        order = [int(w) for w in said[place].argsort(descending=True) if int(w) not in {*barred, ids[place]}][:64]
        sums = (said[place][order] / said[place][order].sum()).cumsum(0)
        return order[min(int((sums <= chance).sum()), 63)]

    method = ReAGent(str(folder), probes=3, least=2, most=12)
    found = saliently.explain(tiny.bert(torch.float64), SHORT, method)
    np.testing.assert_allclose(
        found.scores, shares(slow_reagent(tokens, method, drawn, logits).mean(0)), rtol=1e-7, atol=1e-12
    )


def units_of(tokens: Tokens) -> dict[int, list[int]]:
    return tokens.pieces_of


def margin(ids: list[int], label: int) -> float:
    found = logits(ids)
    return float(found[label] - max(found[k] for k in range(len(found)) if k != label))


def marked(found: Explanation) -> set[int]:
    return {i for i, unit in enumerate(found.tokens.units) if found.scores[i] and unit is not None}


@pytest.mark.parametrize("text", [SHORT, "bad", "so good", "The film is bad; it isn't even funny.", "witty café scene"])
def test_minimal_erasure_is_the_smallest_set_of_all(text: str) -> None:
    tokens, ids, _, label = read(text)
    pieces = list(units_of(tokens).values())
    for size in range(1, len(pieces) + 1):
        sets = [[i for unit in some for i in unit] for some in combinations(pieces, size)]
        left = [margin(without(ids, gone), label) for gone in sets]
        if min(left) < 0:
            break
    found = saliently.explain(tiny.bert(torch.float64), text, MinimalErasure())
    assert found.values[0] == pytest.approx(margin(ids, label))
    if min(left) < 0:
        assert marked(found) == set(sets[int(np.argmin(left))])
        assert f"becomes {min(left):.4g}" in found.checks.notes[0]
    else:
        assert not found.scores.any()
        assert "all sets were tried" in found.checks.notes[0]


def by_hand(text: str, levels: tuple[str, ...], share: float) -> tuple[np.ndarray, int]:
    """Scores, and how many sentences were opened."""
    tokens, ids, words, label = read(text)
    starts = [0, text.index("It's"), len(text)] if "It's" in text else [0, len(text)]
    sentences = [
        [i for i in words if starts[n] <= tokens.spans[i].start < starts[n + 1]] for n in range(len(starts) - 1)
    ]
    plain = ask(ids, label)
    drops = [plain - ask(without(ids, sentence), label) for sentence in sentences]
    order = sorted(range(len(sentences)), key=lambda n: -abs(drops[n]))
    scores, opened, covered = np.zeros(len(ids)), 0, 0.0
    for n in order:
        if share == 1 or len(sentences) == 1 or covered < share * sum(map(abs, drops)):
            opened += 1
            for unit in units_of(tokens).values():
                if unit[0] in sentences[n]:
                    scores[unit] = (plain - ask(without(ids, unit), label)) / len(unit)
        else:
            scores[sentences[n]] = drops[n] / len(sentences[n])
        covered += abs(drops[n])
    return scores, opened


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("text", [TEXT, SHORT])
def test_hierarchical_occlusion(text: str, share: float) -> None:
    expected, opened = by_hand(text, ("sentence", "word"), share)
    found = saliently.explain(tiny.bert(torch.float64), text, HierarchicalOcclusion(share=share))
    np.testing.assert_allclose(found.scores, expected, atol=1e-12)
    assert found.checks.notes == (f"{opened} of {2 if text == TEXT else 1} sentences were opened.",)
