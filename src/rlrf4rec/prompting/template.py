"""Prompt templates: a file with what it is for, few-shot examples, and where the user's ratings go.

    version: 1
    domain: films
    factors: genres, years
    ---
    Disliked: ...
    Liked: ...
    Taste: ...

    Disliked: {disliked}
    Liked: {liked}
    Taste:

The examples stand in the form of the last paragraph, the user's own part. What follows its `Taste:` is forced: every
answer goes on from there, and it is no part of the text.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from rlrf4rec.errors import ParamsError

FIELDS = "version", "domain", "factors"
OWN = "\n\nDisliked: {disliked}\nLiked: {liked}\nTaste:"
PLACEHOLDER = re.compile(r"\{([^{}\n]*)\}")
KNOWN = ["disliked", "liked"]
LABELS = {"candidate", "future", "item", "label", "later", "list", "next", "target", "test"}


@dataclass(frozen=True)
class Template:
    """`version` counts up when the words change; `domain` is what items are called, `factors` what answers speak of."""

    version: int
    domain: str
    factors: tuple[str, ...]
    examples: str
    prefix: str

    def write(self, liked: str, disliked: str) -> str:
        """The prompt of a user whose ratings are these."""
        own = f"Disliked: {disliked or '-'}\nLiked: {liked}\nTaste:"  # no title is taken for a placeholder
        return f"{self.examples}\n\n{own}{self.prefix}"


def read(path: Path) -> Template:
    """Read and check a template; ParamsError with line or placeholder when it can't be one."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"prompt.template: {path}: {error}") from None
    head, mark, body = text.partition("\n---\n")
    if not mark:
        raise ParamsError(f"prompt.template: {path}: no line '---' between {', '.join(FIELDS)} and the prompt")
    fields = _fields(head, path)
    for name in PLACEHOLDER.findall(body):
        if name not in KNOWN:
            raise ParamsError(f"prompt.template: {path}: {_stranger(name)}")
    examples, own, prefix = body.rstrip("\n").rpartition(OWN)
    if not own or "{" in examples + prefix or "\n" in prefix:
        raise ParamsError(
            f"prompt.template: {path}: it must end with the user's own part, {OWN.strip()!r}, after an empty line, "
            "and with a forced beginning of the answer behind it, if any"
        )
    if not examples.strip():
        raise ParamsError(f"prompt.template: {path}: no example stands before the user's own part")
    factors = tuple(part.strip() for part in fields["factors"].split(",") if part.strip())
    return Template(int(fields["version"]), fields["domain"], factors, examples.rstrip(), prefix.rstrip())


def _fields(head: str, path: Path) -> dict[str, str]:
    """The lines `name: value` before the prompt."""
    found = {}
    for number, line in enumerate(head.splitlines(), 1):
        name, mark, value = line.partition(":")
        if not mark or name.strip() not in FIELDS or not value.strip():
            raise ParamsError(f"prompt.template: {path}: line {number}: {line!r} is none of {', '.join(FIELDS)}: value")
        found[name.strip()] = value.strip()
    if missing := [name for name in FIELDS if name not in found]:
        raise ParamsError(f"prompt.template: {path}: no {missing[0]} before '---'")
    if not found["version"].isdecimal():
        raise ParamsError(f"prompt.template: {path}: version {found['version']!r} is no number")
    return found


def _stranger(name: str) -> str:
    if any(word.rstrip("s0123456789") in LABELS for word in name.lower().split("_")):
        return f"{{{name}}} would show what is to be ranked; a prompt may hold {{liked}} and {{disliked}}, the history"
    near = get_close_matches(name, KNOWN, 1, 0.0)[0]
    return f"unknown placeholder {{{name}}}; the nearest is {{{near}}} (there are {{disliked}} and {{liked}})"
