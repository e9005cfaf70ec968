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
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from rlrf4rec.errors import ParamsError
from rlrf4rec.prompting import domain
from rlrf4rec.prompting.domain import Domain

OWN = "\n\nDisliked: {disliked}\nLiked: {liked}\nTaste:"
PLACEHOLDER = re.compile(r"\{([^{}\n]*)\}")
KNOWN = ["disliked", "liked"]
LABELS = {"candidate", "future", "item", "label", "later", "list", "next", "target", "test"}


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
    return f"\n\nDisliked: {own_ratings(liked, disliked)}\nTaste:"  # no title is taken for a placeholder


def own_ratings(liked: str, disliked: str) -> str:
    """The ratings in it, without the words around them.

    >>> own_ratings("Heat; Hours", "")
    '-\\nLiked: Heat; Hours'
    """
    return f"{disliked or '-'}\nLiked: {liked}"


def read(path: Path, titles: str = "shown") -> Template:
    """Read and check a template; ParamsError with line or placeholder when it can't be one.

    With `titles` masked its examples are those of the file's section `masked`.
    """
    file = domain.read(path, "prompt.template")
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
