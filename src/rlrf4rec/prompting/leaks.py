"""A prompt shows the user's history and nothing else.

Candidate lists hold no item of the history (`tables.split.check_history`), so a prompt that holds nothing but the
history can't show what is to be ranked. That is why this check needs no list, whose labels must not come near the LLM.
The few-shot examples may name any title: they are the same for all users, and so say nothing of a user.
"""

from typing import Any

from rlrf4rec.errors import RLRFError


def check(user: str, shown: list[dict[str, Any]], history: list[dict[str, Any]]) -> None:
    """RLRFError when a prompt is to show anything but ratings of `history`, as they are there."""
    strange = [row for row in shown if row not in history]
    if strange:
        raise RLRFError(
            f"prompt: user {user}: the prompt shows {strange[0]['title']!r}, which is nothing of their history "
            "and could be what is to be ranked; no prompt is written; run `dvc repro split`, then look at the template"
        )
