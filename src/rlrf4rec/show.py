"""`rlrf4rec show-prompt USER`: what the LLM gets about a user, to the character, and what it does not get.

The prompt goes to standard output, what is said about it to standard error, so that the prompt can be piped.
"""

import os
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TextIO

import polars as pl
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rlrf4rec import paths
from rlrf4rec.errors import ParamsError
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.params import Params, Prompt, load
from rlrf4rec.prompting.fitting import fitting
from rlrf4rec.prompting.plain import control_words, plain
from rlrf4rec.prompting.prompts import ENDING, OWN_PART, by_liking, masked, named, telling
from rlrf4rec.prompting.template import Template, read
from rlrf4rec.tables.interactions import ITEMS, USERS
from rlrf4rec.tables.split import HISTORY
from rlrf4rec.tables.texts import PROMPTS

PLAIN_WIDTH = 120  # in files and pipes, unless COLUMNS says otherwise
Rating = dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """A user's prompt of so many ratings.

    places: where the examples begin, where they end, and where the user's own part ends, in characters.
    tokens: (part, count), parts in the prompt's order, adding up to the whole. left_out: (reason, count, ratings); the
    last is empty where they are not to be told. stale: whether params and template now make another prompt.
    """

    user: str
    prompt: str
    ratings: int
    places: tuple[int, int, int]
    tokens: list[tuple[str, int]]
    left_out: list[tuple[str, int, str]]
    stale: bool


def show_prompt(user: str) -> None:
    """Print the prompt that lies in the table of prompts, and what is to be said about it."""
    p = load()
    shown = look_up(user, p)
    whole = sum(count for _, count in shown.tokens)
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
    template, tokenizer = read(Path(p.prompt.template)), load_tokenizer(paths.LLM, p.llm.trust_remote_code is not None)
    own = HISTORY.read(paths.HISTORY).filter(pl.col("user") == user)
    items, _ = plain(ITEMS.read(paths.ITEMS), control_words(tokenizer))
    history = own.join(items, on="item", how="left", maintain_order="left").to_dicts()
    prompt = str(found[0]["prompt"])
    now, _ = fitting(user, template, history, p.prompt, tokenizer)
    stale = now["prompt"] != prompt
    places = parts_of(prompt, template)
    of_all = USERS.read(paths.USERS).filter(pl.col("user") == user)["interactions"].sum()
    later = (
        f"after the history (at most split.history_length = {p.split.history_length}): what lists are made of",
        int(of_all) - len(history),
        "",
    )
    out = [later] if stale else [*left_out(history, p.prompt, int(found[0]["items"])), later]
    return Shown(user, prompt, int(found[0]["items"]), places, count_tokens(prompt, places, tokenizer), out, stale)


def parts_of(prompt: str, template: Template) -> tuple[int, int, int]:
    """Where the examples begin and end, and where the user's own part ends, in characters.

    All that comes before the own part counts as examples where it does not hold those of the template.
    """
    own = prompt.rindex(OWN_PART)
    ends = prompt.find(ENDING, own)
    return max(0, prompt.find(template.examples)), own, len(prompt) if ends < 0 else ends + len(ENDING)


def count_tokens(prompt: str, places: tuple[int, int, int], tokenizer: Any) -> list[tuple[str, int]]:
    """Tokens of what stands before the examples, of them, of the own part and of what follows; none of none."""
    ends = [len(tokenizer.encode(prompt[:place])) if place else 0 for place in (*places, len(prompt))]
    names = ("form of the chat", "examples", "own part", "form of the chat, forced beginning")
    counts = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    return [(name, count) for name, count in zip(names, counts, strict=True) if count]


def left_out(history: list[Rating], prompt: Prompt, shown: int) -> list[tuple[str, int, str]]:
    """Ratings of the history that are not among the `shown` of the prompt, by reason: (reason, count, ratings)."""
    told = masked(history) if prompt.titles == "masked" else history
    asked = telling(told, prompt.liked, prompt.disliked)
    sizes = [(prompt.liked, n) for n in range(prompt.disliked, -1, -1)] + [(n, 0) for n in range(prompt.liked, 0, -1)]
    kept = next(rows for rows in (telling(told, *size) for size in sizes) if sum(map(len, rows)) == shown)
    reasons = (
        f"at or above the user's mean, beyond the {prompt.liked} highest (prompt.liked)",
        f"below the user's mean, beyond the {prompt.disliked} lowest (prompt.disliked)",
        f"cut so that the prompt has at most {prompt.max_tokens} tokens (prompt.max_tokens)",
    )
    groups = [_without(all_, some) for all_, some in zip(by_liking(told), asked, strict=True)]
    groups.append([row for all_, some in zip(asked, kept, strict=True) for row in _without(all_, some)])
    return [(why, len(rows), named(rows)) for why, rows in zip(reasons, groups, strict=True) if rows]


def _without(rows: list[Rating], others: list[Rating]) -> list[Rating]:
    positions = {row["position"] for row in others}
    return [row for row in rows if row["position"] not in positions]


def print_prompt(shown: Shown, stream: TextIO) -> None:
    """The prompt as it is; on a terminal the examples are dim and the user's own part is bold."""
    if not stream.isatty():
        print(shown.prompt, file=stream, flush=True)
        return
    before, examples, own = shown.places
    text = Text(shown.prompt)
    text.stylize("dim", 0, examples)
    text.stylize("bold", examples, own)
    text.stylize("cyan", 0, before)
    text.stylize("cyan", own)
    Console(file=stream, markup=False, emoji=False, highlight=False).print(text, soft_wrap=True)


def print_about(shown: Shown, tokens: str, stream: TextIO) -> None:
    """How many tokens each part has, and what was left out and why."""
    fixed = None if stream.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH
    console = Console(file=stream, width=fixed, markup=False, emoji=False, highlight=False)
    console.print()
    console.print(f"user {shown.user}: {tokens}", style="bold")
    console.print(_table([(str(count), name) for name, count in shown.tokens]))
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
