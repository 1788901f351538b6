"""Recipes: `"occlusion(blank='zero')"` to a method and back."""

from __future__ import annotations

import ast
from dataclasses import fields, replace
from importlib import import_module
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from saliently.errors import RecipeError, did_you_mean
from saliently.listed import METHODS

if TYPE_CHECKING:
    from saliently.methods.base import Method


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
