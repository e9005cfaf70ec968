"""Templates of prompts: those of the repository, a user's own, and the ways in which one can be wrong."""

import re
from pathlib import Path

import pytest

from rlrf4rec.errors import ParamsError
from rlrf4rec.params import Prompt
from rlrf4rec.prompting import template
from rlrf4rec.prompting.domain import Domain
from rlrf4rec.prompting.fitting import as_chat, fitting

FOLDER = Path(template.__file__).parent.parent / "templates"
HEAD = "version: 2\ndomain: teas\nfactors: taste, origin\n---\n"
EXAMPLES = "Disliked: Mint\nLiked: Assam; Ceylon\nTaste: likes black teas"
NAMES = ["movies", "books", "products", "generic"]
OWN = "\n\nDisliked: {disliked}\nLiked: {liked}\nTaste:"


def written(tmp_path, text):
    (tmp_path / "t.txt").write_text(text)
    return template.read(tmp_path / "t.txt")


@pytest.mark.parametrize("titles", ["shown", "masked"])
@pytest.mark.parametrize("name", NAMES)
def test_a_template_of_the_repository_has_examples_in_the_form_of_the_own_part(name, titles):
    found = template.read(FOLDER / f"{name}.txt", titles)
    assert found.version >= 1
    assert found.domain.factors
    examples = found.examples.split("\n\n")
    assert len(examples) == 3
    for example in examples:
        labels = [line.split(":")[0] for line in example.splitlines()]
        assert labels == ["Disliked", "Liked", "Taste"]
        assert example.splitlines()[2].startswith("Taste: likes ")


@pytest.mark.parametrize("name", NAMES)
def test_an_example_s_answer_speaks_of_the_factors_as_its_own_ratings_write_them(name):
    found = template.read(FOLDER / f"{name}.txt")
    for example in found.examples.split("\n\n"):
        disliked, liked, answer = [line.partition(": ")[2] for line in example.splitlines()]
        likes, _, dislikes = answer.removeprefix("likes ").partition("; not ")
        kinds, mark, rest = likes.partition(f" {found.domain.items}")
        assert mark
        assert set(kinds.split(", ")) <= facts(liked)
        assert set(dislikes.split(", ")) <= facts(disliked) - set(kinds.split(", "))
        years = sorted(fact for fact in facts(liked) if fact.isdecimal())
        assert rest == (f" of {years[0]} to {years[-1]}" if "years" in found.domain.factors else rest)
        assert bool(rest) == ("years" in found.domain.factors or "use" in found.domain.factors)


def facts(ratings):
    """What stands in the brackets of ratings."""
    return {fact.lower() for inside in re.findall(r"\(([^)]*)\)", ratings) for fact in re.split("[;,] ", inside)}


@pytest.mark.parametrize("name", NAMES)
def test_masked_examples_are_those_that_are_shown_with_numbers_for_titles(name):
    shown, masked = (template.read(FOLDER / f"{name}.txt", titles) for titles in ("shown", "masked"))
    for before, after in zip(shown.examples.split("\n\n"), masked.examples.split("\n\n"), strict=True):
        numbers = [title for title, _ in rated(after)]
        assert sorted(numbers) == [f"{masked.domain.item} {i + 1}" for i in range(len(numbers))]
        assert [facts for _, facts in rated(before)] == [facts for _, facts in rated(after)]
        assert before.splitlines()[2] == after.splitlines()[2]


@pytest.mark.parametrize("name", NAMES)
def test_a_masked_prompt_holds_no_title(name):
    """Neither one of the user nor one of the examples; those of the user are the examples' own here."""
    made = template.read(FOLDER / f"{name}.txt", "masked")
    titles = [title for title, _ in rated(template.read(FOLDER / f"{name}.txt").examples)]
    about = {"year": None, "genres": "Kind"}
    history = [
        {"rating": 5.0 - i % 2, "position": i, "title": t, "item": str(i), **about} for i, t in enumerate(titles)
    ]
    prompt = Prompt(template="t", chat=False, titles="masked", liked=7, disliked=3, max_tokens=5000)
    row, cut = fitting("u", made, history, prompt, Chat())
    assert (len(row["ratings"]), cut) == (len(titles) - len(titles) // 2 + 3, False)
    assert [title for title in titles if title.lower() in row["prompt"].lower()] == []
    assert f"Liked: {made.domain.item} 1 (Kind); {made.domain.item} 3 (Kind)" in row["prompt"]


def rated(examples):
    """Titles of examples with what stands in their brackets."""
    return re.findall(r"[:;] ([^;()]+) \(([^)]*)\)", examples)


def test_a_prompt_ends_where_the_llm_goes_on(tmp_path):
    found = written(tmp_path, HEAD + EXAMPLES + OWN + "\n")
    assert (found.version, found.domain, found.prefix) == (2, Domain("teas", ("taste", "origin")), "")
    assert found.write("Sencha (Green)", "") == f"{EXAMPLES}\n\nDisliked: -\nLiked: Sencha (Green)\nTaste:"


def test_a_forced_beginning_stands_at_the_end(tmp_path):
    found = written(tmp_path, HEAD + EXAMPLES + OWN + " likes\n")
    assert found.prefix == " likes"
    assert found.write("a", "b").endswith("Disliked: b\nLiked: a\nTaste: likes")


def test_a_title_is_never_taken_for_a_placeholder(tmp_path):
    found = written(tmp_path, HEAD + EXAMPLES + OWN)
    assert found.write("{disliked}", "{liked}").endswith("Disliked: {liked}\nLiked: {disliked}\nTaste:")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            HEAD + EXAMPLES + OWN.replace("{liked}", "{likes}"),
            r"unknown placeholder \{likes\}; .* is \{liked\}",
        ),
        (HEAD + EXAMPLES + OWN + " {candidates}", r"\{candidates\} would show what is to be ranked"),
        (HEAD + EXAMPLES + "{next_item}" + OWN, r"\{next_item\} would show what is to be ranked"),
        (HEAD + EXAMPLES + "{test_lists2}" + OWN, r"would show what is to be ranked"),
        (HEAD + EXAMPLES, r"it must end with the user's own part"),
        (HEAD + OWN.lstrip() + "\n\n" + EXAMPLES, r"it must end with the user's own part"),
        (HEAD + EXAMPLES + OWN + "\nAnswer:", r"it must end with the user's own part"),
        (HEAD + OWN, r"no example stands before"),
        (EXAMPLES + OWN, r"no line '---' between version, domain, factors and the prompt"),
        (HEAD.replace("factors: taste, origin\n", "") + EXAMPLES + OWN, r"no factors before '---'"),
        (HEAD.replace("version: 2", "version: two") + EXAMPLES + OWN, r"version 'two' is no number"),
        (
            HEAD.replace("domain", "topic") + EXAMPLES + OWN,
            r"line 2: 'topic: teas' is none of version, domain",
        ),
    ],
)
def test_a_template_that_can_not_be_one_is_refused(tmp_path, text, words):
    with pytest.raises(ParamsError, match=words):
        written(tmp_path, text)


def test_a_missing_file_and_another_encoding_are_named(tmp_path):
    with pytest.raises(ParamsError, match=r"none.txt: .*No such file"):
        template.read(tmp_path / "none.txt")
    (tmp_path / "t.txt").write_bytes((HEAD + EXAMPLES + OWN).replace("Mint", "Maté").encode("latin-1"))
    with pytest.raises(ParamsError, match=r"t.txt: 'utf-8' codec"):
        template.read(tmp_path / "t.txt")


class Chat:
    """A tokenizer of a chat model: a token a character, `<s>` at the beginning of every text."""

    bos_token, bos_token_id, chat_template = "<s>", 1, "there is one"

    def __init__(self, begins=True):
        self.begins = begins

    def encode(self, text):
        return [1] * self.begins + [ord(c) for c in text]

    def get_chat_template(self):
        return self.chat_template

    def apply_chat_template(self, messages, chat_template, tokenize, add_generation_prompt):
        assert (tokenize, add_generation_prompt, messages[0]["role"]) == (False, True, "user")
        return f"<s>[user]{messages[0]['content']}[assistant]"


def test_a_chat_has_the_forced_beginning_in_the_answer_and_one_token_of_the_beginning():
    assert as_chat("Taste:", " likes", Chat()) == ("[user]", "[assistant]likes")
    assert as_chat("Taste:", "", Chat(begins=False)) == ("<s>[user]", "[assistant]")


def test_without_a_chat_template_there_is_no_chat():
    tokenizer = Chat()
    tokenizer.chat_template = None
    with pytest.raises(ParamsError, match=r"prompt.chat: this LLM's tokenizer has no chat template; set it to false"):
        as_chat("Taste:", "", tokenizer)


@pytest.mark.parametrize("chat", [False, True])
def test_the_tokens_of_a_chat_count_too(chat):
    prompt = Prompt(template="t", chat=chat, titles="shown", liked=1, disliked=1, max_tokens=500)
    rating = {"rating": 4.0, "position": 0, "title": "Heat", "year": 1995, "genres": "War", "item": "h"}
    made = template.Template(1, Domain("films"), "ex", "")
    row, _ = fitting("u", made, [rating], prompt, Chat())
    assert row["prompt"].startswith("[user]ex" if chat else "ex")
    assert row["tokens"] == Chat().encode(row["prompt"])
    assert [part["part"] for part in row["parts"]] == (
        ["form", "examples", "own", "end"] if chat else ["examples", "own"]
    )
    assert "".join(part["text"] for part in row["parts"]) == row["prompt"]
    assert sum(part["token_count"] for part in row["parts"]) == len(row["tokens"])
