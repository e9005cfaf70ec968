"""Prompts of users, and the same profiles as template texts without any LLM."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from rlrf4rec.params import Prompt
from rlrf4rec.prompting.fitting import fitting
from rlrf4rec.prompting.prompts import genre_shares, template_text
from rlrf4rec.prompting.template import Template
from rlrf4rec.tables.texts import PROMPT

NOBODY = "user"  # a text that says nothing of its user


@dataclass(frozen=True)
class Written:
    """Prompts and template texts in the order of the users, and how many prompts lost ratings."""

    prompts: pl.DataFrame
    templates: pl.DataFrame
    shortened: int


def write(
    order: pl.DataFrame, told: pl.DataFrame, usual: pl.DataFrame, template: Template, prompt: Prompt, tokenizer: Any
) -> Written:
    """Prompts and texts of the users `order`, from histories with the items' columns.

    told: histories of these users; usual: of those whose shares of genres are the usual ones, train users.
    """
    shares = genre_shares(usual)
    rows, texts, shortened = [], [], 0
    for (user,), frame in told.group_by("user", maintain_order=True):
        ratings = frame.to_dicts()
        row, cut = fitting(str(user), template, ratings, prompt, tokenizer)
        shortened += cut
        rows.append(row)
        texts.append({"user": user, "sample": 0, "text": template_text(ratings, shares, template.domain)})
    prompts = order.join(pl.DataFrame(rows, schema=PROMPT), on="user", how="inner", maintain_order="left")
    templates = order.join(pl.DataFrame(texts), on="user", how="inner", maintain_order="left")
    return Written(prompts, templates, shortened)
