"""Recipes: `"occlusion(blank='zero')"` to a method and back, `"deletion(steps=10)"` to a metric."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from importlib import import_module
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from saliently.errors import RecipeError, did_you_mean
from saliently.listed import METHODS, METRICS, MetricRow, Row

if TYPE_CHECKING:
    from saliently.methods.base import Method
    from saliently.metrics.base import Metric

T = TypeVar("T")


class _Kind(NamedTuple):
    """What recipes are of. Attributes: what, in messages; rows; by_name, aliases too; presets, of aliases; example;
    elsewhere, what is found in another place, by name."""

    what: str
    rows: Sequence[Row] | Sequence[MetricRow]
    by_name: Mapping[str, Row] | Mapping[str, MetricRow]
    presets: Mapping[str, Mapping[str, Any]]
    example: str
    elsewhere: Mapping[str, str] = {}


_METHOD = _Kind(
    "Method",
    METHODS,
    {name: row for row in METHODS for name in (row.name, *row.aliases)},
    {"omission": {"blank": "delete"}, "cp-lrp": {"variant": "cp"}, "attn-lrp": {"variant": "attn"}},
    "integrated-gradients(blank='zero', steps=64)",
)
_METRIC = _Kind(
    "Metric",
    METRICS,
    {row.name: row for row in METRICS},
    {},
    "comprehensiveness(average='paper')",
    {"max-sensitivity": "saliently experiment stability", "word-deletion": "saliently experiment word-deletion"},
)


def parse(recipe: str | Method) -> Method:
    """A method from its recipe: a name, with parameters in brackets where they differ from the defaults.

    `parse(repr(method)) == method`. A method passes through. Values are Python literals; nothing is evaluated.

    Raises:
        RecipeError: no such method or parameter, or a value that does not fit.
    """
    if isinstance(recipe, str):
        method: Method = _made(recipe, _METHOD)
        return method
    from saliently.methods.base import Method as Known

    return _known(recipe, Known, "method", "occlusion")


def parse_metric(recipe: str | Metric) -> Metric:
    """A metric from its recipe, read as `parse` reads a method's; `parse_metric(repr(metric)) == metric`.

    Raises:
        RecipeError: no such metric or parameter, or a value that does not fit.
    """
    if isinstance(recipe, str):
        metric: Metric = _made(recipe, _METRIC)
        return metric
    from saliently.metrics.base import Metric as Known

    return _known(recipe, Known, "metric", "comprehensiveness")


def _known(given: T, kind: Any, what: str, example: str) -> T:
    if not isinstance(given, kind):
        raise RecipeError(f"A recipe or a {what} was asked for; found {given!r:.60}. Give a name such as {example!r}.")
    return given


def _made(recipe: str, kind: _Kind) -> Any:
    """The method or metric that a recipe names."""
    name, given = _split(recipe, kind.example)
    if name in kind.elsewhere:
        raise RecipeError(
            f"{kind.what} {name!r} was asked for; it is no number of one explanation. Use `{kind.elsewhere[name]}`."
        )
    if name not in kind.by_name:
        raise RecipeError(
            f"{kind.what} {name!r} was asked for; there are {', '.join(row.name for row in kind.rows)}."
            f"{did_you_mean(name, kind.by_name)}"
        )
    module, _, named = kind.by_name[name].where.partition(":")
    found = getattr(import_module(module), named)
    hints = get_type_hints(found)
    known = [f.name for f in fields(found)]
    for key, value in given.items():
        if key not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise RecipeError(f"Parameter {key!r} was given to {name}; {takes}.{did_you_mean(key, known)}")
        if not _fits(value, hints[key]):
            raise RecipeError(
                f"{name} was asked for with {key}={value!r}; a value of type {_spell(hints[key])} fits there."
            )
    return found(**{**kind.presets.get(name, {}), **given})


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


def _split(recipe: str, example: str) -> tuple[str, dict[str, Any]]:
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
            f"such as {example}."
        ) from None
    # A method is hashable, so its fields are.
    return name.strip(), {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
