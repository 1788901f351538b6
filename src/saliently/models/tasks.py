"""What models of transformers are made for: the head decides what they read, what they are asked, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from saliently.errors import ModelError
from saliently.models.answers import at_answer
from saliently.models.choosing import MOST_CHOICES, at_choice
from saliently.models.forward import Choices, Forward, Next, Span, Translation, Whole
from saliently.models.heads import Find, at_mask, at_response, at_word
from saliently.types import Link, Scale


@dataclass(frozen=True)
class Task:
    """A kind of head.

    Attributes: endings, what the name of such a class ends with; auto, the class of transformers that loads it; given,
    an input made of a text; vocabulary, is its output a number for each token? scale, what is explained unless the
    user names another; forward, how it is called.
    """

    endings: tuple[str, ...]
    auto: str
    given: Callable[[str], Mapping[str, Any]]
    vocabulary: bool = False
    scale: Scale = "logit"
    forward: type[Forward] = Whole


def _text(text: str) -> Mapping[str, str]:
    return {"text": text}


def _pair(first: str, second: str) -> Callable[[str], Mapping[str, str]]:
    return lambda text: {first: text, second: text}


def _choice(text: str) -> Mapping[str, Any]:
    return {"context": text, "choices": [text, text]}


CLASSIFIER = Task(("ForSequenceClassification",), "AutoModelForSequenceClassification", _text)
TAGGER = Task(("ForTokenClassification",), "AutoModelForTokenClassification", _text)
FILLER = Task(("ForMaskedLM",), "AutoModelForMaskedLM", _text, vocabulary=True)
ANSWERER = Task(("ForQuestionAnswering",), "AutoModelForQuestionAnswering", _pair("question", "context"), forward=Span)
CHOOSER = Task(("ForMultipleChoice",), "AutoModelForMultipleChoice", _choice, forward=Choices)
WRITER = Task(
    ("ForCausalLM", "LMHeadModel"), "AutoModelForCausalLM", _pair("prompt", "response"), True, "log-probability", Next
)
TRANSLATOR = Task(
    ("ForConditionalGeneration", "MTModel"),
    "AutoModelForSeq2SeqLM",
    _pair("source", "target"),
    True,
    "log-probability",
    Translation,
)
TASKS = (CLASSIFIER, TAGGER, FILLER, ANSWERER, CHOOSER, WRITER, TRANSLATOR)
"""All that can be explained."""


def task_of(name: str, config: Any, kind: str | None = None) -> Task:
    """The task of a model, by the class it has or was saved from.

    Raises:
        ModelError: another, or none; transformers would invent a head at random.
    """
    kinds = [kind] if kind else list(config.architectures or [])
    found = next((task for task in TASKS for each in kinds if each.endswith(task.endings)), None)
    if found is None or (found is TRANSLATOR and not config.is_encoder_decoder):
        endings = ", ...".join(ending for task in TASKS for ending in task.endings)
        raise ModelError(
            f"A model that can be explained was asked for, one of ...{endings}; {name} is "
            f"{', '.join(kinds) or 'a model without a head'}. Load one with such a head, or fine-tune this one first."
        )
    return found


def labels_of(task: Task, config: Any, vocabulary: Mapping[str, int]) -> tuple[str, ...]:
    """Names of the outputs: the labels, or all tokens, with a space where their spelling has a sign for one."""
    if task is ANSWERER:
        return ("start", "end")
    if task is CHOOSER:
        return tuple(f"choice {k}" for k in range(MOST_CHOICES))
    if not task.vocabulary:
        return tuple(config.id2label[i] for i in range(config.num_labels))
    spelled = {i: piece for piece, i in vocabulary.items()}
    size = config.get_text_config().vocab_size
    names = (spelled.get(i, f"[{i}]") for i in range(size))
    return tuple(names) if task is FILLER else tuple(name.replace("Ġ", " ").replace("▁", " ") for name in names)


def link_of(task: Task, config: Any) -> Link:
    """By the problem that the configuration names; one output without a name is a label by itself, as pipelines of
    transformers take it, and its logit is the number itself."""
    if task is not CLASSIFIER:
        return "softmax"
    if config.problem_type == "regression":
        return "none"
    return "sigmoid" if config.problem_type == "multi_label_classification" or config.num_labels == 1 else "softmax"


def find_of(task: Task, name: str, mask: int | None) -> Find | None:
    """How the place that is asked for is found."""
    if task is FILLER:
        if mask is None:
            raise ModelError(
                f"A masked language model was given, {name}; its tokenizer has no mask. Give the one it learnt with."
            )
        return at_mask(mask)
    found: Mapping[Task, Find] = {
        TAGGER: at_word,
        ANSWERER: at_answer,
        CHOOSER: at_choice,
        WRITER: at_response,
        TRANSLATOR: at_response,
    }
    return found.get(task)


def forward_of(task: Task, module: nn.Module, embedding: nn.Module, pad: int) -> Forward:
    """How such a module is called."""
    if task is CHOOSER:
        return Choices(module, embedding, pad, MOST_CHOICES)
    return task.forward(module, embedding, pad)
