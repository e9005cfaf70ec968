"""A prompt shows the user's history and nothing else.

Candidate lists hold no item of the history (`tables.split.check_history`), so a prompt that holds nothing but the
history can't show what is to be ranked. That is why this check needs no list, whose labels must not come near the LLM.
The few-shot examples may name any title: they are the same for all users, and so say nothing of a user.
"""

import re
from typing import Any

from rlrf4rec.errors import RLRFError
from rlrf4rec.prompting.prompts import describe, parts

LIKED = "\nLiked: "
SHOWN = 80  # characters of a stranger in the message


def check(user: str, prompt: str, history: list[dict[str, Any]]) -> None:
    """RLRFError when the user's own part of a prompt holds anything but ratings of `history`, as they are shown."""
    own = parts(prompt)[1]
    disliked, mark, liked = own.partition(LIKED)
    known = {describe(str(row["title"]), row["year"], str(row["genres"])) for row in history}
    strange = stranger(liked, known) or ("" if disliked == "-" else stranger(disliked, known))
    if strange or not mark:
        raise RLRFError(
            f"prompt: user {user}: the prompt shows {(strange or own)[:SHOWN]!r}, which is nothing of their history "
            "and could be what is to be ranked; no prompt is written; run `dvc repro split`, then look at the template"
        )


def stranger(text: str, known: set[str]) -> str:
    """What `text` goes on with where it stops being names of `known` parted by semicolons; empty if nowhere."""
    rest, longest = text, sorted(known, key=len, reverse=True)
    while rest:
        found = next((name for name in longest if rest == name or rest.startswith(f"{name}; ")), None)
        if found is None:
            return "" if _mixed(text, longest) else rest
        rest = rest[len(found) + 2 :]
    return ""


def _mixed(text: str, names: list[str]) -> bool:
    """The same to the end of all ways to part `text`: names can hold semicolons and begin with one another."""
    one = "|".join(map(re.escape, names))
    return re.fullmatch(f"(?:{one})(?:; (?:{one}))*", text) is not None
