"""Files of YAML and JSON, of a revision or of the workspace; each fault is an InputError that names the file.

Nothing in them is trusted: a document nested too deeply for its parser, or that holds itself, is a fault as well.
"""

import io
import json
import re
from typing import Any

from rlrf4rec.errors import InputError

DEEPEST = 200  # parts in parts; libyaml's reader ends the whole process where there are very many
BRACKET = re.compile(rb"[\[\]{}]")
STEPS = re.compile(rb"(?:[-?:][ \t]+){%d}|^ {%d}" % (DEEPEST, 10 * DEEPEST), re.MULTILINE)


def of_yaml(content: bytes, where: str) -> Any:
    """What a YAML file holds; `where` names it in the message."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if _too_deep(content):
        raise InputError(f"{where} is not valid YAML: more than {DEEPEST} parts in each other")
    try:
        found = YAML(typ="safe").load(io.BytesIO(content))
        _check_ends(found, set(), set())
    except (YAMLError, ValueError, TypeError, RecursionError) as error:  # of a date that is none, a key that is a list
        raise InputError(f"{where} is not valid YAML: {error}") from None
    return found


def _too_deep(content: bytes) -> bool:
    """Whether more parts may be in each other than anyone writes, by brackets, by marks in a line, or by its indent."""
    depth = 0
    for bracket in BRACKET.finditer(content):
        depth = depth + 1 if bracket[0] in b"[{" else max(0, depth - 1)  # those in a comment close none
        if depth > DEEPEST:
            return True
    return STEPS.search(content) is not None


def _check_ends(content: Any, above: set[int], done: set[int]) -> None:
    """ValueError where a part holds itself, by an alias of YAML: what walks through it would never end."""
    if not isinstance(content, dict | list) or id(content) in done:
        return
    if id(content) in above:
        raise ValueError("a part of it holds itself")
    above.add(id(content))
    for inner in content.values() if isinstance(content, dict) else content:
        _check_ends(inner, above, done)
    above.remove(id(content))
    done.add(id(content))


def of_json(content: bytes, where: str) -> dict[str, Any]:
    """What a JSON file holds, which has to be keys with values."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid JSON: {error}") from None
    return mapping(found, where)


def mapping(content: Any, where: str) -> dict[str, Any]:
    """The content itself where it is keys with values."""
    if not isinstance(content, dict):
        raise InputError(f"{where} holds {type(content).__name__} where keys with values are expected")
    return content
