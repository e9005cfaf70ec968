"""Prompt templates: few-shot examples, and where the user's ratings go; the prompt of a domain's file (see `domain`).

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
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from rlrf4rec.errors import ParamsError
from rlrf4rec.prompting import domain
from rlrf4rec.prompting.domain import Domain

BEFORE, BEHIND = "\n\nDisliked: ", "\nTaste:"  # of the ratings in it
OWN = f"{BEFORE}{{disliked}}\nLiked: {{liked}}{BEHIND}"
PLACEHOLDER = re.compile(r"\{([^{}\n]*)\}")
KNOWN = ["disliked", "liked"]
LABELS = {"candidate", "development", "final", "future", "item", "label", "later", "list", "next", "target", "test"}


@dataclass(frozen=True)
class Template:
    """`version` counts up when the words change; `prefix` is the forced beginning of every answer."""

    version: int
    domain: Domain
    examples: str
    prefix: str

    def write(self, liked: str, disliked: str) -> str:
        """The prompt of a user whose ratings are these."""
        return f"{self.examples}{own_part(liked, disliked)}{self.prefix}"


def own_part(liked: str, disliked: str) -> str:
    """What a prompt says of its user, up to where the answer begins."""
    return f"{BEFORE}{disliked or '-'}\nLiked: {liked}{BEHIND}"  # no title is taken for a placeholder


def ratings_of(own: str) -> str:
    """The ratings in an own part, without the words around them.

    >>> ratings_of(own_part("Heat; Hours", ""))
    '-\\nLiked: Heat; Hours'
    """
    return own.removeprefix(BEFORE).removesuffix(BEHIND)


def read(path: Path, titles: str = "shown", texts: Iterable[str] = ()) -> Template:
    """Read and check a template; ParamsError with line or placeholder when it can't be one.

    With `titles` masked its examples are those of the file's section `masked`. texts: names of the items' texts.
    """
    file = domain.read(path, "prompt.template", texts)
    for name in PLACEHOLDER.findall(file.prompt):
        if name not in KNOWN:
            raise ParamsError(f"prompt.template: {path}: {_stranger(name)}")
    examples, own, prefix = file.prompt.rstrip("\n").rpartition(OWN)
    if not own or "{" in examples + prefix or "\n" in prefix:
        raise ParamsError(
            f"prompt.template: {path}: it must end with the user's own part, {OWN.strip()!r}, after an empty line, "
            "and with a forced beginning of the answer behind it, if any"
        )
    if not examples.strip():
        raise ParamsError(f"prompt.template: {path}: no example stands before the user's own part")
    if titles == "masked":
        examples = file.masked
        if not examples:
            raise ParamsError(
                f"prompt.template: {path}: no section '--- masked' with examples for prompt.titles: masked; "
                f"write one at its end, with titles as `{file.domain.item} 1`"
            )
    return Template(file.version, file.domain, examples.rstrip(), prefix.rstrip())


def _stranger(name: str) -> str:
    if any(word.rstrip("s0123456789") in LABELS for word in name.lower().split("_")):
        return f"{{{name}}} would show what is to be ranked; a prompt may hold {{liked}} and {{disliked}}, the history"
    near = get_close_matches(name, KNOWN, 1, 0.0)[0]
    return f"unknown placeholder {{{name}}}; the nearest is {{{near}}} (there are {{disliked}} and {{liked}})"
