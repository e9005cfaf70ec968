"""`show-prompt`: the prompt to the character, its tokens by part, and what is left out by reason."""

import io
import json
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest
from tokenizers import AddedToken

from rlrf4rec import paths, show
from rlrf4rec.cli import main
from rlrf4rec.params import load
from rlrf4rec.stages import prompt as stage
from rlrf4rec.tables.interactions import ITEMS, USERS
from rlrf4rec.tables.split import FOLD_USERS, HISTORY

ROOT = Path(__file__).parent.parent
RATINGS = {"a": [5.0, 5.0, 4.0, 1.0, 2.0], "ab": [3.0]}  # means 3.4 and 3


class Letters:
    """A token a letter, and one at the beginning of every text."""

    bos_token, bos_token_id, chat_template = "<s>", 1, "there is one"
    added_tokens_decoder = {1: AddedToken("<s>", special=True), 2: AddedToken("X", special=False)}

    def encode(self, text):
        return [1, *map(ord, text)]

    def get_chat_template(self):
        return self.chat_template

    def apply_chat_template(self, messages, chat_template, tokenize, add_generation_prompt):
        return f"<s>[user]{messages[0]['content']}[assistant]"


@pytest.fixture
def params(tmp_path, monkeypatch):
    """A folder with tables of two users; the prompts are written with these changes of the params."""
    monkeypatch.chdir(tmp_path)
    for module in (show, stage):
        monkeypatch.setattr(module, "load_tokenizer", lambda *_: Letters())
    (tmp_path / "t.txt").write_text(
        "version: 1\ndomain: films\nfactors: genres\n---\nDisliked: X\nLiked: Y\nTaste: likes z\n\n"
        "Disliked: {disliked}\nLiked: {liked}\nTaste:"
    )
    users = list(RATINGS)
    fold = {"fold": ["train", "development"], "role": ["rank", "none"], "half": ["-", "-"]}
    FOLD_USERS.write(pl.DataFrame({"user": users, **fold}), paths.FOLD_USERS)
    USERS.write(pl.DataFrame({"user": users, "interactions": [9, 1]}), paths.USERS)
    titles = [f"T{i}" for i in range(5)]
    years = pl.Series([None] * 5, dtype=pl.Int64)
    ITEMS.write(pl.DataFrame({"item": titles, "title": titles, "year": years, "genres": [""] * 5}), paths.ITEMS)
    rows = [(u, i, f"T{i}", r, i) for u, ratings in RATINGS.items() for i, r in enumerate(ratings)]
    HISTORY.write(pl.DataFrame(rows, ["user", "position", "item", "rating", "timestamp"], orient="row"), paths.HISTORY)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    change("prompt:\n  template: src/rlrf4rec/templates/movies.txt", "prompt:\n  template: t.txt")

    def write(liked=2, disliked=1, max_tokens=1024, chat="false"):
        change(
            "  liked: 7\n  disliked: 3\n  max_tokens: 1024",
            f"  liked: {liked}\n  disliked: {disliked}\n  max_tokens: {max_tokens}",
        )
        change("  chat: false", f"  chat: {chat}")
        p = load()
        stage.run(p.prompt, p.llm)
        return p

    return write


def change(old, new):
    path = Path("params.yaml")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def call(monkeypatch, user):
    monkeypatch.setattr(sys, "argv", ["rlrf4rec", "show-prompt", user])
    return main()


EXAMPLES = "Disliked: X\nLiked: Y\nTaste: likes z"
OWN = "\n\nDisliked: T3\nLiked: T0; T1\nTaste:"


def test_the_prompt_is_printed_to_the_character_and_what_is_said_of_it_elsewhere(params, monkeypatch, capsys):
    params()
    assert call(monkeypatch, "a") == 0
    out, err = capsys.readouterr()
    assert out == EXAMPLES + OWN + "\n"
    lines = [" ".join(line.split()) for line in err.splitlines() if line.strip()]
    assert lines == [
        f"user a: {1 + len(EXAMPLES + OWN)} tokens of at most 1024 (prompt.max_tokens); "
        "5 answers are sampled, each of at most 28 tokens, until '\\n'",
        f"{1 + len(EXAMPLES)} examples",
        f"{len(OWN)} own part",
        "ratings left out (3 are shown)",
        "1 at or above the user's mean, beyond the 2 highest (prompt.liked): T2",
        "1 below the user's mean, beyond the 1 lowest (prompt.disliked): T4",
        "4 after the history (at most split.history_length = 30): what lists are made of",
    ]


def test_what_the_limit_of_tokens_cuts_is_a_reason_of_its_own(params):
    p = params(disliked=2, max_tokens=len(EXAMPLES + OWN) + 1)
    shown = show.look_up("a", p)
    assert (shown.ratings, shown.prompt) == (3, EXAMPLES + OWN)
    reasons = {why.split(" (")[0].split(",")[0]: (count, rows) for why, count, rows in shown.left_out}
    assert reasons == {
        "at or above the user's mean": (1, "T2"),
        f"cut so that the prompt has at most {p.prompt.max_tokens} tokens": (1, "T4"),
        "after the history": (4, ""),
    }
    every = sum(count for _, count, _ in shown.left_out) + shown.ratings
    assert every == 9  # none is lost


@pytest.mark.parametrize("limit", range(len(EXAMPLES + OWN) - 3, len(EXAMPLES + OWN) + 12))
def test_every_rating_is_shown_or_left_out_for_a_reason(params, limit):
    shown = show.look_up("a", params(liked=3, disliked=2, max_tokens=limit))
    assert sum(count for _, count, _ in shown.left_out) + shown.ratings == 9
    titles = [t for _, _, rows in shown.left_out for t in rows.split("; ") if t]
    assert sorted(titles + [t for t in RATINGS_OF_A if t in shown.prompt]) == RATINGS_OF_A


RATINGS_OF_A = [f"T{i}" for i in range(5)]


def test_a_title_that_holds_a_control_token_is_made_plain_and_counted(params, monkeypatch):
    params()
    items = ITEMS.read(paths.ITEMS).with_columns(pl.col("title").replace("T0", "A<s>B<s>").replace("T2", "X<s >"))
    ITEMS.write(items, paths.ITEMS)
    p = load()
    told = stage.run(p.prompt, p.llm)
    assert told.endswith(", 1 items with control tokens of the LLM in what is told of them made plain")
    assert json.loads(paths.metrics("prompt").read_text())["items_with_control_tokens"] == 1
    shown = show.look_up("a", p)
    assert shown.prompt.endswith("\nLiked: A< s>B< s>; T1\nTaste:")
    assert not shown.stale


@pytest.mark.parametrize("chat", ["false", "true"])
def test_the_tokens_of_the_parts_add_up(params, chat):
    shown = show.look_up("a", params(chat=chat))
    assert sum(count for *_, count in shown.parts) == len(Letters().encode(shown.prompt))
    form = ["form", "examples", "own", "end"]
    assert [name for name, *_ in shown.parts] == (form if chat == "true" else form[1:3])
    assert "".join(text for _, text, _ in shown.parts) == shown.prompt
    if chat == "true":
        assert [count for *_, count in shown.parts] == [1 + len("[user]"), len(EXAMPLES), len(OWN), len("[assistant]")]


def test_a_forced_beginning_counts_apart(params):
    path = Path("t.txt")
    path.write_text(path.read_text() + " likes")
    shown = show.look_up("a", params())
    assert shown.parts[-1] == ("end", " likes", len(" likes"))


def test_a_prompt_that_other_params_have_made_is_shown_and_said_to_be_old(params, monkeypatch, capsys):
    params()
    change("  liked: 2", "  liked: 1")
    assert call(monkeypatch, "a") == 0
    out, err = capsys.readouterr()
    assert out == EXAMPLES + OWN + "\n"
    assert "params or template have changed since: `dvc repro prompt` will write another prompt" in err
    assert "beyond" not in err


def test_an_unknown_user_is_told_the_nearest(params, monkeypatch, capsys):
    params()
    assert call(monkeypatch, "abc") == 2
    assert "no user 'abc' among 2; the nearest are ab, a\n" in capsys.readouterr().err


def test_on_a_terminal_the_parts_are_told_apart_and_no_line_is_broken(params):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    prompt = params() and EXAMPLES + OWN.replace("T0", "T0" * 200)
    parts = [("examples", EXAMPLES, 1), ("own", prompt.removeprefix(EXAMPLES), 1)]
    long = show.Shown("a", 3, parts, [], False)
    stream = Terminal()
    show.print_prompt(long, stream)
    drawn = stream.getvalue()
    assert drawn.count("\n") == prompt.count("\n") + 1
    assert "T0" * 200 in drawn
