"""The classifier of the attention debate: padding is nothing, attention falls on words, a folder gives it back."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from saliently.errors import ModelError
from saliently.models.bilstm import AttentionClassifier, AttentionConfig, load_folder, save, word_tokenizer

KINDS = list(itertools.product(("lstm", "average", "cnn"), ("tanh", "dot")))
WORDS = ("a", "bad", "good", "film", "not", ",", "!")
LENGTHS = (9, 2, 3, 6, 9)


def classifier(encoder: str, attention: str) -> AttentionClassifier:
    torch.manual_seed(3)
    config = AttentionConfig(len(WORDS) + 4, 2, 6, 8, encoder, attention)  # type: ignore[arg-type]
    return AttentionClassifier(config).eval()


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    width = max(LENGTHS)
    ids = torch.randint(1, len(WORDS) + 4, (len(LENGTHS), width), generator=generator)
    mask = (torch.arange(width) < torch.tensor(LENGTHS)[:, None]).long()
    return ids * mask, mask


@pytest.mark.parametrize(("encoder", "attention"), KINDS)
def test_a_batch_is_its_rows(encoder: str, attention: str) -> None:
    model = classifier(encoder, attention)
    ids, mask = batch()
    wider = torch.nn.functional.pad(ids, (0, 5)), torch.nn.functional.pad(mask, (0, 5))
    with torch.no_grad():
        together, padded, weights = model(ids, mask), model(*wider), model.attend(ids, mask)
        for row, length in enumerate(LENGTHS):
            alone = ids[row : row + 1, :length], mask[row : row + 1, :length]
            torch.testing.assert_close(together[row], model(*alone)[0], atol=1e-6, rtol=0)
            torch.testing.assert_close(weights[row, :length], model.attend(*alone)[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(together, padded, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("encoder", "attention"), KINDS)
def test_what_stands_in_the_padding_does_not_matter(encoder: str, attention: str) -> None:
    model = classifier(encoder, attention)
    ids, mask = batch()
    with torch.no_grad():
        torch.testing.assert_close(model(ids, mask), model(ids + 5 * (1 - mask), mask), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("encoder", "attention"), KINDS)
def test_attention_falls_on_words_alone(encoder: str, attention: str) -> None:
    model = classifier(encoder, attention)
    ids, mask = batch()
    weights = model.attend(ids, mask).detach()
    torch.testing.assert_close(weights.sum(1), torch.ones(len(LENGTHS)))
    for row, length in enumerate(LENGTHS):
        assert weights[row, length:].eq(0).all()
        if length > 2:
            assert weights[row, 0] == 0
            assert weights[row, length - 1] == 0
            assert weights[row, 1 : length - 1].gt(0).all()


def test_a_text_without_words_attends_to_its_ends() -> None:
    model = classifier("lstm", "tanh")
    ids, mask = torch.tensor([[2, 3, 0]]), torch.tensor([[1, 1, 0]])
    weights = model.attend(ids, mask)[0]
    assert weights[:2].gt(0).all()
    assert weights[2] == 0
    assert model(ids, mask).isfinite().all()


@pytest.mark.parametrize(("encoder", "attention"), KINDS)
def test_forward_is_its_three_steps(encoder: str, attention: str) -> None:
    model = classifier(encoder, attention)
    ids, mask = batch()
    states = model.encode(ids, mask)
    assert states.shape == (*ids.shape, model.config.state_size)
    assert model.decide(states, model.attend(ids, mask)).equal(model(ids, mask))


@pytest.mark.parametrize(("encoder", "attention"), KINDS)
def test_a_hook_can_put_embeddings_in_and_gets_their_gradient(encoder: str, attention: str) -> None:
    model = classifier(encoder, attention)
    ids, mask = batch()
    plain = model(ids, mask).detach()
    seen: list[Tensor] = []

    def swap(_module: torch.nn.Module, _inputs: tuple[Tensor], output: Tensor) -> Tensor:
        seen.append(output.detach().clone().requires_grad_())
        return seen[-1]

    handle = model.embedding.register_forward_hook(swap)
    logits = model(ids, mask)
    handle.remove()
    assert len(seen) == 1
    assert logits.detach().equal(plain)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), seen[0], create_graph=True)
    assert gradient[mask.bool()].ne(0).any(-1)[2:].any()
    assert gradient[~mask.bool()].eq(0).all()
    (second,) = torch.autograd.grad(gradient.square().sum(), seen[0])  # integrated Hessians need it
    assert second.isfinite().all()
    assert second.ne(0).any()


def test_offsets_cut_the_text() -> None:
    tokenizer = word_tokenizer(WORDS)
    text = "A  GOOD film, isn't it!"
    encoding = tokenizer.encode(text)
    assert encoding.tokens[0] == "<sos>"
    assert encoding.tokens[-1] == "<eos>"
    pieces = [text[start:end] for start, end in encoding.offsets[1:-1]]
    assert pieces == ["A", "GOOD", "film", ",", "isn", "'", "t", "it", "!"]
    assert encoding.tokens[1:5] == ["a", "good", "film", ","]
    assert encoding.tokens[5] == "<unk>"
    assert tokenizer.token_to_id("<pad>") == 0
    assert tokenizer.encode("").tokens == ["<sos>", "<eos>"]


@pytest.mark.parametrize(("encoder", "attention"), KINDS)
def test_a_folder_gives_the_model_back(encoder: str, attention: str, tmp_path: Path) -> None:
    model = classifier(encoder, attention).half().float()  # the folder stores halves
    save(model, word_tokenizer(WORDS), tmp_path, ("NEGATIVE", "POSITIVE"))
    again, tokenizer, labels = load_folder(tmp_path)
    ids, mask = batch()
    assert labels == ("NEGATIVE", "POSITIVE")
    assert again.config == model.config
    assert not again.training
    assert {value.dtype for value in again.state_dict().values()} == {torch.float32}
    assert again(ids, mask).equal(model(ids, mask))
    assert tokenizer.encode("not bad").ids == word_tokenizer(WORDS).encode("not bad").ids


def test_a_folder_of_something_else_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not found"):
        load_folder(tmp_path)
    save(classifier("lstm", "dot"), word_tokenizer(WORDS), tmp_path, ("NEGATIVE", "POSITIVE"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelError, match="model_type"):
        load_folder(tmp_path)


def test_a_shape_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ModelError, match="average"):
        classifier("gru", "tanh")
    with pytest.raises(ModelError, match="divides"):
        AttentionClassifier(AttentionConfig(5, 2, 3, 6, "cnn", "tanh"))
