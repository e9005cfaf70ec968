import io
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from good_tables import rows

from rlrf4rec import paths, replicates
from rlrf4rec.cli import main
from rlrf4rec.errors import RLRFError
from rlrf4rec.files import atomic, read_json, write_csv, write_json
from rlrf4rec.llm.models import UNTUNED
from rlrf4rec.params import Prompt, load
from rlrf4rec.progress import Progress
from rlrf4rec.prompting.domain import Domain, natural_title
from rlrf4rec.prompting.fitting import fitting
from rlrf4rec.prompting.prompts import telling, template_text
from rlrf4rec.prompting.template import Template
from rlrf4rec.seeds import derive
from rlrf4rec.stages import knowledge, sample
from rlrf4rec.tables import interactions, vectors

ROOT = Path(__file__).parent.parent


def test_progress_prints_plain_lines_with_the_time_left():
    out, now = io.StringIO(), [0.0]
    progress = Progress(10, "work", out, lambda: now[0])
    for _ in range(4):
        now[0] += 10.0
        progress.advance(1, "loss 0.5")
    assert out.getvalue().splitlines() == [
        "work: 2 of 10, 20 s, about 80 s left; loss 0.5",
        "work: 4 of 10, 40 s, about 60 s left; loss 0.5",
    ]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_shows_a_bar_on_a_terminal():
    out = Terminal()
    progress = Progress(4, "work", out)
    for _ in range(4):
        progress.advance()
    progress.close()
    assert "work" in out.getvalue()
    assert "%|" in out.getvalue()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, {"a": 0.1 + 0.2})
    assert json.loads(path.read_text()) == {"a": 0.3}

    def fails():
        with atomic(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fails()
    assert read_json(path) == {"a": 0.3}
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_json_and_csv_errors(tmp_path):
    with pytest.raises(RLRFError, match="missing"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(RLRFError, match="not valid JSON"):
        read_json(tmp_path / "bad.json")
    write_csv(tmp_path / "t.csv", [{"a": 1, "b": 0.5}])
    assert (tmp_path / "t.csv").read_text() == "a,b\n1,0.5\n"


def test_seeds_descend_by_name():
    assert derive(1, "a") == derive(1, "a")
    assert len({derive(1, "a"), derive(1, "b"), derive(2, "a"), derive(1, "a", 0), derive(1, "a", 1)}) == 5
    assert 0 <= derive(0) < 2**31


USERS, ITEMS = pl.Series("user", ["a", "b"]), pl.Series("item", ["x", "y", "z"])


def test_vectors_must_belong_to_the_tables(tmp_path):
    path = tmp_path / "encode" / "x" / "v.safetensors"
    texts = torch.ones(2, 4, 3)
    vectors.write_texts(path, texts, USERS)
    assert torch.equal(vectors.read_texts(path, USERS), texts)
    with pytest.raises(RLRFError, match=r"do not belong to the 2 users.*dvc repro encode"):
        vectors.read_texts(path, USERS.reverse())
    vectors.write_texts(path, torch.full((2, 4, 3), torch.nan), USERS)
    with pytest.raises(RLRFError, match="not finite"):
        vectors.read_texts(path, USERS)
    path.write_bytes(b"junk")
    with pytest.raises(RLRFError, match="not a readable safetensors file"):
        vectors.read_texts(path, USERS)
    with pytest.raises(RLRFError, match="missing"):
        vectors.read_texts(tmp_path / "none", USERS)


def test_vectors_that_nobody_has_are_asked_for_by_nobody(tmp_path):
    path = tmp_path / "encode" / "x" / "v.safetensors"
    texts = torch.ones(2, 4, 3)
    texts[1] = torch.nan
    vectors.write_texts(path, texts, USERS)
    assert torch.equal(vectors.read_texts(path, USERS, [0])[0], texts[0])
    with pytest.raises(RLRFError, match=r"not finite, those of user 'b' and 0 more.*dvc repro encode"):
        vectors.read_texts(path, USERS, [0, 1])


def row(title, rating, position, year=1990, genres="Action|War"):
    return {
        "item": title,
        "title": title,
        "rating": float(rating),
        "position": position,
        "year": year,
        "genres": genres,
    }


def test_titles_and_descriptions():
    assert natural_title("Usual Suspects, The") == "The Usual Suspects"
    assert natural_title("Me, Myself") == "Me, Myself"
    assert Domain("films").rated("Heat", 1995, "Action|Crime") == "Heat (1995; Action, Crime)"
    assert Domain("films").rated("Heat", None, "") == "Heat"
    assert Domain("films").described("Heat", 1995, "Action|Crime") == "Heat (1995). Action, Crime"


def test_the_most_telling_ratings_are_the_highest_and_the_lowest_in_time_order():
    history = [row("a", 3, 0), row("b", 5, 1), row("c", 2, 2), row("d", 1, 3), row("e", 5, 4), row("f", 4, 5)]
    liked, disliked = telling(history, 2, 1)
    assert [r["title"] for r in liked] == ["b", "e"]
    assert [r["title"] for r in disliked] == ["d"]
    assert [[r["title"] for r in rows] for rows in telling(history, 9, 9)] == [["b", "e", "f"], ["a", "c", "d"]]


def test_the_template_names_genres_against_the_usual_and_the_era():
    history = [row("a", 5, 0, 1980, "War"), row("b", 5, 1, 1990, "War|Drama"), row("c", 1, 2, 2000, "Comedy|Drama")]
    assert template_text(history, {"Drama": 0.9}, Domain("films")) == "likes war, drama films of 1980; not comedy"
    assert template_text([row("a", 5, 0, None, "")], {}, Domain("films")) == "likes all kinds of films"
    assert template_text([row("a", 5, 0, 1990, "War")], {}, Domain("books")) == "likes war books of 1990"


EXAMPLES = Template(1, Domain("films", item="Movie"), "ex", "")


class Tokenizer:
    """A token a word."""

    def encode(self, text):
        return [len(word) for word in text.split()]


def test_a_prompt_too_long_loses_disliked_ratings_first():
    history = [row("a", 3, 0, None, ""), row("b", 5, 1, None, ""), row("c c c", 1, 2, None, "")]

    def prompt(max_tokens):
        return Prompt.model_construct(
            template="t", chat=False, titles="shown", liked=3, disliked=3, max_tokens=max_tokens
        )

    whole, cut = fitting("u", EXAMPLES, history, prompt(100), Tokenizer())
    assert (len(whole["ratings"]), cut) == (3, False)
    less, cut = fitting("u", EXAMPLES, history, prompt(8), Tokenizer())
    assert (len(less["ratings"]), cut) == (2, True)
    assert "Disliked: -" in less["prompt"]
    assert "Liked: a; b" in less["prompt"]
    with pytest.raises(RLRFError, match="user u: even one rating"):
        fitting("u", EXAMPLES, history, prompt(3), Tokenizer())


def test_a_masked_prompt_names_no_title():
    prompt = Prompt(template="t", chat=False, titles="masked", liked=3, disliked=3, max_tokens=100)
    row_of_user, _ = fitting("u", EXAMPLES, [row("Heat", 5, 0), row("Hate", 1, 1)], prompt, Tokenizer())
    assert "Disliked: Movie 2 (1990; Action, War)\nLiked: Movie 1 (1990; Action, War)" in row_of_user["prompt"]


def test_the_command_line_prints_one_line_for_a_mistake(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["rlrf4rec", "split"])
    assert main() == 2
    error = capsys.readouterr().err
    assert error.startswith("rlrf4rec split: error: params.yaml: missing")
    assert "Traceback" not in error


@pytest.fixture
def small_llm(llm, tmp_path, monkeypatch):
    """The small LLM where stages look for it: Llama's 256 positions; of a sliding window no more is computed either."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(llm, paths.LLM)
    write_json(paths.policy("base") / UNTUNED, {"adapter": None})
    for where in ("rlrf4rec.sampling.sampler", "rlrf4rec.stages.sample"):
        monkeypatch.setattr(f"{where}.stop_tokens", lambda *_: frozenset())
    params = load(ROOT / "params.yaml")
    return params.model_copy(update={"llm": params.llm.model_copy(update={"device": "cpu"})})


def test_a_question_about_an_item_must_fit_the_llm_s_context(small_llm):
    template = str(ROOT / small_llm.knowledge.template)
    asked = {"items": "llm", "max_tokens": 250, "dtype": "float32", "template": template}
    interactions.ITEMS.write(rows({"item": "1"}, title="Heat", year=1995, genres="Action"), paths.ITEMS)
    with pytest.raises(
        RLRFError,
        match=r"^knowledge: the longest question and max_tokens make 3\d\d tokens, more than the LLM's context of 256; "
        r"lower knowledge.max_tokens, or shorten the question in knowledge.template$",
    ):
        knowledge.run(1, small_llm.knowledge.model_copy(update=asked), small_llm.llm)


def test_a_prompt_must_fit_the_llm_s_context(small_llm):
    """The longest one counts, to the last token."""
    asked = small_llm.sample.model_copy(update={"max_tokens": 6, "n": 1, "dtype": "float32"})
    prompts = pl.DataFrame({"tokens": [[5] * 251, [5] * 9]})
    with pytest.raises(
        RLRFError,
        match=r"^sample: the longest prompt and max_tokens make 257 tokens, more than the LLM's context of 256; "
        r"lower prompt.max_tokens or sample.max_tokens$",
    ):
        sample._from_here(prompts, asked, small_llm.llm, "base", "all", 1)
    drawn, _ = sample._from_here(pl.DataFrame({"tokens": [[5] * 250, [5] * 9]}), asked, small_llm.llm, "base", "all", 1)
    assert drawn.height == 2


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("tuned-2", ("tuned", "2")),
        ("rule_years-10", ("rule_years", "10")),
        ("round1", ("round1", None)),
        ("ml-1m", ("ml-1m", None)),
        ("tuned-0", ("tuned-0", None)),
        ("a-b-2", ("a-b-2", None)),
    ],
)
def test_a_name_tells_arm_and_policy(name, found):
    assert replicates.parts(name) == found
