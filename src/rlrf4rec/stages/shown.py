"""Stage shown (study): the profile as a template text of what a prompt shows of its user, not of the whole history."""

from pathlib import Path

import polars as pl

from rlrf4rec import paths
from rlrf4rec.params import Prompt
from rlrf4rec.prompting import domain
from rlrf4rec.prompting.prompts import genre_shares, profile
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.split import FOLD_USERS, HISTORY
from rlrf4rec.tables.texts import PROMPTS, TEMPLATES

NAME = "template_shown"


def run(prompt: Prompt) -> str:
    """Write the texts; returns the closing line. What is usual are shares in the histories of all train users."""
    users, words = FOLD_USERS.read(paths.FOLD_USERS), domain.read(Path(prompt.template), "prompt.template").domain
    history = HISTORY.read(paths.HISTORY).join(ITEMS.read(paths.ITEMS), on="item", how="left", maintain_order="left")
    usual = genre_shares(history.join(users.filter(pl.col("fold") == "train").select("user"), on="user", how="semi"))
    rows = []
    for user, ratings in PROMPTS.read(paths.PROMPTS).select("user", "ratings").iter_rows():
        liked, disliked = ([r for r in ratings if r["liked"] == side] for side in (True, False))
        rows.append({"user": user, "sample": 0, "text": profile(liked, disliked, usual, words)})
    TEMPLATES.write(pl.DataFrame(rows), paths.texts(NAME))
    return f"wrote {paths.texts(NAME)}, {len(rows)} texts"
