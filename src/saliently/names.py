"""Every method in one line of plain text, and recipes: `"occlusion(blank='zero')"` to a method and back.

Listing methods loads no torch; a test holds each row against its class.
"""

from __future__ import annotations

import ast
from dataclasses import fields, replace
from importlib import import_module
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from saliently.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    from saliently.methods.base import Method


class Row(NamedTuple):
    """One method: its name in recipes, its class, and what a reader needs to choose it."""

    name: str
    where: str
    quantity: str
    passes: str
    completeness: str
    paper: str
    aliases: tuple[str, ...] = ()


METHODS = (
    Row(
        "gradient",
        "saliently.methods.gradient:Gradient",
        "sensitivity",
        "1 backward",
        "none",
        "Simonyan et al. 2014; Li et al. 2016a",
    ),
    Row(
        "gradient-x-input",
        "saliently.methods.gradient:GradientXInput",
        "saliency",
        "1 backward",
        "on linear models",
        "Denil et al. 2015",
        ("gxi", "input-x-gradient"),
    ),
    Row(
        "smoothgrad",
        "saliently.methods.gradient:SmoothGrad",
        "that of `over`",
        "`samples` backward",
        "none",
        "Smilkov et al. 2017",
    ),
    Row(
        "integrated-gradients",
        "saliently.methods.path:IntegratedGradients",
        "saliency",
        "9 backward or more, as the gap asks",
        "to a tolerance, reported",
        "Sundararajan et al. 2017",
        ("ig",),
    ),
    Row(
        "lrp",
        "saliently.methods.relevance:LRP",
        "saliency",
        "1 backward",
        "where nothing is kept by biases or softmaxes; reported",
        "Bach et al. 2015; Arras et al. 2017; Ali et al. 2022; Achtibat et al. 2024",
        ("cp-lrp", "attn-lrp"),
    ),
    Row(
        "decompx",
        "saliently.methods.decomposition:DecompX",
        "saliency",
        "1 forward with a part for each token",
        "exact, but for bias='none'",
        "Modarressi et al. 2023",
    ),
    Row(
        "attention",
        "saliently.methods.attention:AttentionWeights",
        "attention",
        "1 forward",
        "shares of 1",
        "Bahdanau et al. 2015; Bastings and Filippova 2020, Eq. 1",
    ),
    Row(
        "attention-rollout",
        "saliently.methods.rollout:AttentionRollout",
        "attention",
        "1 forward",
        "shares of 1",
        "Abnar and Zuidema 2020",
        ("rollout",),
    ),
    Row(
        "attention-flow",
        "saliently.methods.rollout:AttentionFlow",
        "attention",
        "1 forward, and a maximum flow for each token",
        "shares of 1",
        "Abnar and Zuidema 2020",
        ("flow",),
    ),
    Row(
        "attention-x-gradient",
        "saliently.methods.attention_gradient:AttentionXGradient",
        "attention",
        "1 backward",
        "none",
        "Serrano and Smith 2019",
    ),
    Row(
        "gradient-rollout",
        "saliently.methods.attention_gradient:GradientRollout",
        "attention",
        "1 backward",
        "none",
        "Chefer et al. 2021",
        ("chefer", "gae"),
    ),
    Row(
        "value-zeroing",
        "saliently.methods.zeroing:ValueZeroing",
        "attention",
        "tokens + 1 forward",
        "shares of 1",
        "Mohebbi et al. 2023",
    ),
    Row(
        "value-weighted-norms",
        "saliently.methods.norms:ValueWeightedNorms",
        "attention",
        "1 forward with a part for each token in attention",
        "shares of 1",
        "Kobayashi et al. 2020",
        ("value-norms",),
    ),
    Row(
        "globenc",
        "saliently.methods.norms:GlobEnc",
        "attention",
        "1 forward with a part for each token in attention",
        "shares of 1",
        "Modarressi et al. 2022",
    ),
    Row(
        "alti",
        "saliently.methods.norms:Alti",
        "attention",
        "1 forward with a part for each token in attention",
        "shares of 1",
        "Ferrando et al. 2022",
    ),
    Row(
        "hierarchical-occlusion",
        "saliently.methods.hierarchy:HierarchicalOcclusion",
        "saliency",
        "segments + words of those that matter + 2 forward",
        "where words add up; residual reported",
        "Li et al. 2016b",
    ),
    Row(
        "input-marginalization",
        "saliently.methods.marginal:InputMarginalization",
        "saliency",
        "up to 64 words a token forward",
        "none; residual reported",
        "Kim et al. 2020",
        ("input-marginalisation",),
    ),
    Row(
        "reagent",
        "saliently.methods.reagent:ReAGent",
        "sensitivity",
        "155 to 860 forward",
        "shares of 1",
        "Zhao et al. 2024",
    ),
    Row(
        "minimal-erasure",
        "saliently.methods.minimal:MinimalErasure",
        "selection",
        "2^words forward up to 12 words, then words^2 at most",
        "none",
        "Li et al. 2016b",
    ),
    Row(
        "shapley",
        "saliently.methods.shapley:Shapley",
        "saliency",
        "2^words forward up to 12 words, then as the error asks",
        "exact",
        "Shapley 1953; Lundberg and Lee 2017; Covert and Lee 2021",
    ),
    Row(
        "owen",
        "saliently.methods.shapley:Owen",
        "saliency",
        "about words^2 / 1.4 forward, or as the error asks",
        "exact",
        "Owen 1977; Winter 1989",
    ),
    Row(
        "banzhaf",
        "saliently.methods.shapley:Banzhaf",
        "saliency",
        "2^words forward up to 12 words, then as the error asks",
        "where words add up; residual reported",
        "Banzhaf 1965; Wang and Jia 2023",
    ),
    Row(
        "lime",
        "saliently.methods.surrogates:Lime",
        "saliency",
        "`samples` forward, equal ones once",
        "none; residual and fit reported",
        "Ribeiro et al. 2016",
    ),
    Row(
        "limsse",
        "saliently.methods.surrogates:Limsse",
        "saliency",
        "7 words forward",
        "none; residual and fit reported",
        "Poerner et al. 2018",
    ),
    Row(
        "context-cite",
        "saliently.methods.surrogates:ContextCite",
        "saliency",
        "`ablations` + 2 forward",
        "none; fit reported",
        "Cohen-Wang et al. 2024",
    ),
    Row(
        "integrated-hessians",
        "saliently.methods.hessian:IntegratedHessians",
        "interaction",
        "9 nodes or more, as the gap asks, of words + 1 backward each",
        "to a tolerance, reported",
        "Janizek et al. 2020",
        ("ih",),
    ),
    Row(
        "shapley-interaction",
        "saliently.methods.pairs:ShapleyInteraction",
        "interaction",
        "2^words forward up to 12 words, then as the error asks",
        "exact, but for index='sii'",
        "Grabisch and Roubens 1999; Bord et al. 2023; Dhamdhere et al. 2020; Tsai et al. 2023",
    ),
    Row(
        "banzhaf-interaction",
        "saliently.methods.pairs:BanzhafInteraction",
        "interaction",
        "2^words forward up to 12 words, then as the error asks",
        "none; residual reported",
        "Grabisch and Roubens 1999",
    ),
    Row(
        "pairwise-occlusion",
        "saliently.methods.pairs:PairwiseOcclusion",
        "interaction",
        "words^2 / 2 forward",
        "where words add up by twos; residual reported",
        "Janizek et al. 2020",
    ),
    Row(
        "archipelago",
        "saliently.methods.pairs:Archipelago",
        "interaction",
        "words^2 forward",
        "none; of groups the residual is reported",
        "Tsang et al. 2020",
    ),
    Row(
        "occlusion",
        "saliently.methods.removal:Occlusion",
        "saliency",
        "tokens + 2 forward",
        "where words add up; residual reported",
        "Li et al. 2016b; Kadar et al. 2017 (blank='delete')",
        ("omission",),
    ),
)

_BY_NAME = {name: row for row in METHODS for name in (row.name, *row.aliases)}
_PRESETS = {"omission": {"blank": "delete"}, "cp-lrp": {"variant": "cp"}, "attn-lrp": {"variant": "attn"}}


def parse(recipe: str | Method) -> Method:
    """A method from its recipe: a name, with parameters in brackets where they differ from the defaults.

    `parse(repr(method)) == method`. A method passes through. Values are Python literals; nothing is evaluated.

    Raises:
        RecipeError: no such method or parameter, or a value that does not fit.
    """
    if not isinstance(recipe, str):
        return _method(recipe)
    name, given = _split(recipe)
    if name not in _BY_NAME:
        raise RecipeError(
            f"Method {name!r} was asked for; there are {', '.join(row.name for row in METHODS)}."
            f"{did_you_mean(name, _BY_NAME)}"
        )
    module, _, kind = _BY_NAME[name].where.partition(":")
    method: type[Method] = getattr(import_module(module), kind)
    hints = get_type_hints(method)
    known = [f.name for f in fields(method)]  # type: ignore[arg-type]
    for key, value in given.items():
        if key not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise RecipeError(f"Parameter {key!r} was given to {name}; {takes}.{did_you_mean(key, known)}")
        if not _fits(value, hints[key]):
            raise RecipeError(
                f"{name} was asked for with {key}={value!r}; a value of type {_spell(hints[key])} fits there."
            )
    return method(**{**_PRESETS.get(name, {}), **given})


def _method(given: object) -> Method:
    from saliently.methods.base import Method

    if not isinstance(given, Method):
        raise RecipeError(f"A recipe or a method was asked for; found {given!r:.60}. Give a name such as 'occlusion'.")
    return given


def with_blank(method: Method, blank: str) -> Method:
    """The same method with another blank; several are joined by commas.

    Raises:
        RecipeError: the method takes no blank, or not this one.
    """
    if "blank" not in [f.name for f in fields(method)]:  # type: ignore[arg-type]
        raise RecipeError(f"Blank {blank!r} was asked of {method.name}; it takes no word away, so it has no blank.")
    names = tuple(name.strip() for name in blank.split(","))
    if len(names) > 1 and not _fits(names, get_type_hints(type(method))["blank"]):
        raise RecipeError(f"Blanks {blank!r} were asked of {method.name}; it takes one blank at a time.")
    return replace(method, blank=names[0] if len(names) == 1 else names)  # type: ignore[type-var]


def _fits(value: object, hint: Any) -> bool:
    """Is a literal of the type that a method's field asks for?"""
    kind, inside = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if kind is Literal:
        return value in inside
    if kind in (Union, UnionType):
        return any(_fits(value, each) for each in inside)
    if kind is tuple:
        return isinstance(value, tuple) and bool(value) and all(_fits(each, inside[0]) for each in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))


def _spell(hint: Any) -> str:
    """`str | None` -> "str or None"."""
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(_spell, get_args(hint)))
    return "None" if hint is NoneType else hint.__name__ if isinstance(hint, type) else str(hint)


def _split(recipe: str) -> tuple[str, dict[str, Any]]:
    """`"ig(steps=64)"` -> `("ig", {"steps": 64})`. Names hold hyphens, so only the brackets are Python."""
    name, bracket, rest = recipe.strip().partition("(")
    if not bracket:
        return name.strip(), {}
    try:
        call = ast.parse(f"recipe({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(word.arg is None for word in call.keywords):
            raise ValueError
        given = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError):
        raise RecipeError(
            f"Recipe {recipe!r} was asked for; it can't be read. Write name(parameter=value, ...) with plain values, "
            "such as integrated-gradients(blank='zero', steps=64)."
        ) from None
    # A method is hashable, so its fields are.
    return name.strip(), {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
