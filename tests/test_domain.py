"""A new domain is one file: its words reach prompts, profiles, the encoder's texts, the question and the measures."""

import re
from pathlib import Path

import pytest

from rlrf4rec.errors import ParamsError
from rlrf4rec.prompting import domain, template
from rlrf4rec.prompting.domain import Domain
from rlrf4rec.prompting.prompts import masked, named, template_text
from rlrf4rec.texts import genres
from rlrf4rec.texts.statistics import content_words

FOLDER = Path(domain.__file__).parent.parent / "templates"
TEAS = """version: 3
domain: teas
factors: kinds
item: Tea
rating: {title}, {genres} [{year}]
description: {title}: {genres}
own words: tea, teas
no plural: green
genre oolong: blue
---
Disliked: Mint, herbal
Liked: Assam, black
Taste: likes black teas

Disliked: {disliked}
Liked: {liked}
Taste:
--- masked
Disliked: Tea 1, herbal
Liked: Tea 2, black
Taste: likes black teas
--- question
Tea: {item}
Facts:
"""
CUP = {"item": "s", "title": "Sencha", "year": None, "genres": "Green|Oolong", "rating": 5.0, "position": 6}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "teas.txt").write_text(TEAS)
    return tmp_path / "teas.txt"


def test_the_words_of_a_new_domain_are_taken_everywhere(path):
    found = template.read(path)
    teas = found.domain
    assert named([CUP], teas) == "Sencha, Green, Oolong"
    assert named(masked([CUP], teas), teas) == "Tea 7, Green, Oolong"
    assert template_text([CUP], {}, teas) == "likes green, oolong teas"
    assert teas.described("Sencha", 2001, "Green") == "Sencha: Green"
    assert content_words("Teas of the green kind", teas.own_words) == {"green", "kind"}
    assert genres.named("blue ones, not greens", ["Oolong", "Green"], teas) == ({"Oolong"}, set())
    assert found.write(named([CUP], teas), "").endswith("\n\nDisliked: -\nLiked: Sencha, Green, Oolong\nTaste:")
    found = domain.read(path, "knowledge.template")
    assert (found.domain, found.question) == (teas, "Tea: {item}\nFacts:")


def test_masked_titles_have_examples_of_their_own(path):
    assert template.read(path).examples.startswith("Disliked: Mint")
    assert (
        template.read(path, "masked").examples
        == "Disliked: Tea 1, herbal\nLiked: Tea 2, black\nTaste: likes black teas"
    )
    path.write_text(TEAS.replace(TEAS[TEAS.index("--- masked") : TEAS.index("--- question")], ""))
    assert template.read(path).examples.startswith("Disliked: Mint")
    missing = r"teas.txt: no section '--- masked' .* for prompt.titles: masked; .* titles as `Tea 1`"
    with pytest.raises(ParamsError, match=missing):
        template.read(path, "masked")


@pytest.mark.parametrize(
    ("year", "kinds", "shown", "described"),
    [
        (1995, "War|Action", "Heat (1995; War, Action)", "Heat (1995). War, Action"),
        (None, "War", "Heat (War)", "Heat. War"),
        (1995, "", "Heat (1995)", "Heat (1995)"),
        (None, "", "Heat", "Heat"),
    ],
)
def test_what_is_unknown_is_left_out_with_its_punctuation(year, kinds, shown, described):
    for words in (Domain("films"), template.read(FOLDER / "movies.txt").domain):
        assert words.rated("Heat", year, kinds) == shown
        assert words.described("Heat", year, kinds) == described


@pytest.mark.parametrize("title", ["Heat (; )", "{year}", "Why? (", "M*A*S*H (1970).", "{", "So; "])
def test_a_title_is_never_taken_for_a_form(title):
    assert Domain("films").rated(title, None, "") == title
    assert Domain("films").rated(title, None, "{title}") == f"{title} ({{title}})"
    assert Domain("films").described(title, 1995, "") == f"{title} (1995)"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("--- question", "--- answer", r"section 'answer' is none of masked, question"),
        ("{title}: {genres}", "{genres}", r"line 6: .* must hold \{title\}, and may hold \{year\} and \{genres\}"),
        ("{title}: {genres}", "{title} {rating}", r"line 6: .* may hold \{year\} and \{genres\}"),
        ("{title}: {genres}", "{title} {", r"line 6: .* must hold \{title\}"),
        ("item: Tea\n", "thing: Tea\n", r"line 4: 'thing: Tea' is none of version, .*, item, .*, genre NAME: value"),
        ("genre oolong: blue", "genre oolong:", r"line 9: 'genre oolong:' is none of"),
    ],
)
def test_a_line_or_section_that_can_not_be_one_is_named(path, old, new, words):
    path.write_text(TEAS.replace(old, new, 1))
    with pytest.raises(ParamsError, match=rf"teas.txt: {words}"):
        template.read(path)


@pytest.mark.parametrize("name", ["movies", "books", "products", "generic"])
def test_a_domain_of_the_repository_has_its_question_about_an_item(name):
    """With three examples in the form in which the item itself is put."""
    found = domain.read(FOLDER / f"{name}.txt", "knowledge.template")
    *examples, own = found.question.split("\n\n")
    words = found.domain
    assert own == f"{words.item}: {{item}}\nFacts:"
    assert found.question.count("{") == 1
    assert len(examples) == 3
    for example in examples:
        asked, facts = example.splitlines()
        title, year, kinds = re.fullmatch(rf"{words.item}: (.+) \((?:(\d+); )?(.+)\)", asked).groups()
        assert asked == f"{words.item}: {words.rated(title, year, kinds.replace(', ', '|'))}"
        assert re.fullmatch(r"Facts: [^;]+(; [^;]+)?; for .+", facts)
