"""Saying in one line what is wrong with a param and what is allowed instead."""

import difflib
from typing import Any, Literal, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def explain(root: type[BaseModel], error: Any) -> str:
    """One line for an error of pydantic's on the model `root`: key, what is wrong, what is allowed."""
    place = tuple(error["loc"])
    key = ".".join(str(part) for part in place) or "params"
    if error["type"] == "extra_forbidden":
        known = list(_fields(root, place[:-1]))
        near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.0)
        parent = ".".join(str(part) for part in place[:-1])
        nearest = ".".join([*([parent] if parent else []), *near])
        field = _fields(root, place[:-1]).get(near[0]) if near else None
        return f"{key}: unknown key; the nearest valid one is {nearest} ({_range(field)})"
    if error["type"] == "missing":
        return f"{key}: missing; it takes {_range(_field(root, place))}"
    if error["type"] == "value_error":
        return f"{key}: {error['ctx']['error']}"
    shown = f"{error['input']!r}"
    hint = "; write it without quotes and with a decimal point" if isinstance(error["input"], str) else ""
    allowed = _range(_field(root, place))
    return f"{key}: {shown} is not allowed; it takes {allowed}{hint if 'number' in allowed else ''}"


def _fields(root: type[BaseModel], place: tuple[Any, ...]) -> dict[str, FieldInfo]:
    model: Any = root
    for part in place:
        field = model.model_fields.get(part)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return {}
        model = field.annotation
    return dict(model.model_fields)


def _field(root: type[BaseModel], place: tuple[Any, ...]) -> FieldInfo | None:
    for end in range(len(place), 0, -1):
        if field := _fields(root, place[: end - 1]).get(place[end - 1]):
            return field
    return None


def _range(field: FieldInfo | None) -> str:
    """The values that a field takes, in words: `a number, > 0, <= 1, or null`."""
    if field is None:
        return "a mapping"
    return _words(field.annotation, list(field.metadata))


def _words(annotation: Any, metadata: list[Any]) -> str:
    names = {int: "a whole number", float: "a number", str: "text", type(None): "null", bool: "true or false"}
    if hasattr(annotation, "__metadata__"):
        inner, *more = get_args(annotation)
        flat = [m for extra in more for m in getattr(extra, "metadata", [extra])]
        return _words(inner, metadata + flat)
    signs = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
    bounds = [f"{sign} {getattr(m, name)}" for m in metadata for name, sign in signs if hasattr(m, name)]
    if annotation in names:
        return ", ".join([names[annotation], *bounds])
    parts = get_args(annotation)
    origin = getattr(annotation, "__origin__", None)
    if origin is Literal:
        return " | ".join(str(p) for p in parts)
    if origin is list:
        pair = any(getattr(m, "max_length", None) == 2 for m in metadata)
        return f"{'[low, high], each' if pair else 'a list of'} {_words(parts[0], [])}"
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "a mapping"
    return " or ".join(_words(p, metadata if p is not type(None) else []) for p in parts)
