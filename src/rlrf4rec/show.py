"""`rlrf4rec show-prompt USER`: what the LLM gets about a user, to the character, and what it does not get.

The prompt goes to standard output, what is said about it to standard error, so that the prompt can be piped.
"""

import os
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TextIO

import polars as pl
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rlrf4rec import paths
from rlrf4rec.errors import ParamsError
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.params import Params, Prompt, load
from rlrf4rec.prompting.domain import Domain
from rlrf4rec.prompting.fitting import fitting
from rlrf4rec.prompting.plain import control_words, plain
from rlrf4rec.prompting.prompts import Rating, by_liking, masked, named, telling
from rlrf4rec.prompting.template import read
from rlrf4rec.tables.interactions import ITEMS, USERS, text_names
from rlrf4rec.tables.split import HISTORY
from rlrf4rec.tables.texts import PROMPTS

PLAIN_WIDTH = 120  # in files and pipes, unless COLUMNS says otherwise
NAMES = {  # of the parts of a prompt
    "form": "form of the chat",
    "examples": "examples",
    "own": "own part",
    "end": "form of the chat, forced beginning",
}
STYLES = {"form": "cyan", "examples": "dim", "own": "bold", "end": "cyan"}


@dataclass(frozen=True)
class Shown:
    """A user's prompt of so many ratings.

    parts: (part, text, tokens) as the table has them. left_out: (reason, count, ratings); the last is empty where they
    are not to be told. stale: whether params and template now make another prompt.
    """

    user: str
    ratings: int
    parts: list[tuple[str, str, int]]
    left_out: list[tuple[str, int, str]]
    stale: bool

    @property
    def prompt(self) -> str:
        """The whole text."""
        return "".join(text for _, text, _ in self.parts)


def show_prompt(user: str) -> None:
    """Print the prompt that lies in the table of prompts, and what is to be said about it."""
    p = load()
    shown = look_up(user, p)
    whole = sum(count for *_, count in shown.parts)
    asked = (
        f"{p.sample.n} answers are sampled, each of at most {p.sample.max_tokens} tokens, "
        f"until {', '.join(map(repr, p.sample.stop))}"
    )
    print_prompt(shown, sys.stdout)
    print_about(shown, f"{whole} tokens of at most {p.prompt.max_tokens} (prompt.max_tokens); {asked}", sys.stderr)


def look_up(user: str, p: Params) -> Shown:
    """What is to be shown of a user; ParamsError for one without prompt, InputError for a missing table."""
    prompts = PROMPTS.read(paths.PROMPTS)
    found = prompts.filter(pl.col("user") == user).to_dicts()
    if not found:
        near = get_close_matches(user, prompts["user"].to_list(), 3, 0.0)
        raise ParamsError(f"show-prompt: no user {user!r} among {prompts.height}; the nearest are {', '.join(near)}")
    row = found[0]
    items = ITEMS.read(paths.ITEMS)
    template = read(Path(p.prompt.template), p.prompt.titles, text_names(items))
    tokenizer = load_tokenizer(paths.LLM, p.llm.trust_remote_code is not None)
    own = HISTORY.read(paths.HISTORY).filter(pl.col("user") == user)
    items, _ = plain(items, control_words(tokenizer))
    history = own.join(items, on="item", how="left", maintain_order="left").to_dicts()
    now, _ = fitting(user, template, history, p.prompt, tokenizer)
    stale = now["prompt"] != row["prompt"]
    of_all = USERS.read(paths.USERS).filter(pl.col("user") == user)["interactions"].sum()
    later = (
        f"after the history (at most split.history_length = {p.split.history_length}): what lists are made of",
        int(of_all) - len(history),
        "",
    )
    kept = {rating["item"] for rating in row["ratings"]}
    out = [later] if stale else [*left_out(history, p.prompt, kept, template.domain), later]
    parts = [(part["part"], part["text"], part["token_count"]) for part in row["parts"]]
    return Shown(user, len(kept), parts, out, stale)


def left_out(history: list[Rating], prompt: Prompt, kept: set[str], domain: Domain) -> list[tuple[str, int, str]]:
    """Ratings of the history whose items are not among `kept`, by reason: (reason, count, ratings)."""
    rated = masked(history, domain) if prompt.titles == "masked" else history
    asked = telling(rated, prompt.liked, prompt.disliked)
    reasons = (
        f"at or above the user's mean, beyond the {prompt.liked} highest (prompt.liked)",
        f"below the user's mean, beyond the {prompt.disliked} lowest (prompt.disliked)",
        f"cut so that the prompt has at most {prompt.max_tokens} tokens (prompt.max_tokens)",
    )
    groups = [[row for row in all_ if row not in some] for all_, some in zip(by_liking(rated), asked, strict=True)]
    groups.append([row for some in asked for row in some if row["item"] not in kept])
    return [(why, len(rows), named(rows, domain)) for why, rows in zip(reasons, groups, strict=True) if rows]


def print_prompt(shown: Shown, stream: TextIO) -> None:
    """The prompt as it is; on a terminal the examples are dim, the user's own part is bold, and what is around them is
    of a colour."""
    if not stream.isatty():
        print(shown.prompt, file=stream, flush=True)
        return
    text = Text()
    for part, piece, _ in shown.parts:
        text.append(piece, STYLES[part])
    Console(file=stream, markup=False, emoji=False, highlight=False).print(text, soft_wrap=True)


def print_about(shown: Shown, tokens: str, stream: TextIO) -> None:
    """How many tokens each part has, and what was left out and why."""
    fixed = None if stream.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH
    console = Console(file=stream, width=fixed, markup=False, emoji=False, highlight=False)
    console.print()
    console.print(f"user {shown.user}: {tokens}", style="bold")
    console.print(_table([(str(count), NAMES[part]) for part, _, count in shown.parts]))
    console.print(f"ratings left out ({shown.ratings} are shown)", style="bold")
    console.print(_table([(str(count), f"{why}{': ' * bool(rows)}{rows}") for why, count, rows in shown.left_out]))
    if shown.stale:
        words = "params or template have changed since: `dvc repro prompt` will write another prompt"
        console.print(words, style="bold red")


def _table(rows: list[tuple[str, str]]) -> Padding:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*map(Text, row))
    return Padding(table, (0, 0, 0, 2))
