"""A domain is one file: its words, the prompt, and what else the LLM is told of its items.

    version: 1
    domain: films
    factors: genres, years
    item: Movie
    rating: {title} ({year}; {genres})
    description: {title} ({year}). {genres}. {texts}
    own words: film, films, movie, movies
    no plural: war, action
    genre sci-fi: science fiction, scifi
    ---
    the prompt (see `template`)
    --- masked
    its few-shot examples where titles are masked
    --- question
    what the LLM is asked about an item, `{item}`

The first three lines and the prompt must be there. `{texts}` are the columns of `interactions.columns.texts`, as
`price: 4, brand: Acme`; one of them alone is `{price}`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from string import Formatter

from rlrf4rec.errors import ParamsError

FIELDS = "version", "domain", "factors"
MORE = "item", "rating", "description", "own words", "no plural"
BODY = "\n---\n"
GENRE = "genre "
SECTIONS = "masked", "question"
TEXTS = "texts"  # all of them
FACTS = "title", "year", "genres", TEXTS
Texts = Sequence[Mapping[str, str | None]]  # of an item, each with its name and its value, null where there is none
ARTICLES = ("The", "A", "An", "Le", "La", "Les", "Il", "Das", "Der", "Die", "El", "L'")


@dataclass(frozen=True)
class Domain:
    """Words of a domain.

    items, item: what many are called, and what stands before the number of one whose title is masked. factors: what
    answers speak of. rating, description: an item as prompts show it, and as the encoder reads it. own_words: those
    that say nothing of a user, in lower case. genre_words: genre in lower case -> what else names it beside its plural,
    which those of `no_plural` do not have.
    """

    items: str
    factors: tuple[str, ...] = ()
    item: str = "Item"
    rating: str = "{title} ({year}; {genres})"
    description: str = "{title} ({year}). {genres}"
    own_words: frozenset[str] = frozenset()
    no_plural: frozenset[str] = frozenset()
    genre_words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def rated(self, title: str, year: int | None, genres: str, texts: Texts | None = None) -> str:
        """An item as prompts show it; what is unknown is left out.

        >>> Domain("films").rated("Heat", 1995, "Action|Crime"), Domain("films").rated("Heat", None, "")
        ('Heat (1995; Action, Crime)', 'Heat')
        """
        return _filled(self.rating, title, year, genres, texts)

    def described(self, title: str, year: int | None, genres: str, texts: Texts | None = None) -> str:
        """An item's text for the encoder; what is unknown is left out."""
        return _filled(self.description, title, year, genres, texts)


def natural_title(title: str) -> str:
    """Put a trailing article first: `Usual Suspects, The` becomes `The Usual Suspects`."""
    for article in ARTICLES:
        if title.endswith(f", {article}"):
            return f"{article} {title[: -len(article) - 2]}"
    return title


def _filled(form: str, title: str, year: int | None, genres: str, texts: Texts | None) -> str:
    facts = {"title": natural_title(title), "year": str(year or ""), "genres": genres.replace("|", ", ")}
    told = {str(text["name"]): text["value"] or "" for text in texts or ()}
    facts |= told | {TEXTS: ", ".join(f"{name}: {value}" for name, value in told.items() if value)}
    return _without(form, frozenset(name for name, fact in facts.items() if not fact)).format(**facts)


@cache
def _without(form: str, unknown: frozenset[str]) -> str:
    """A form without these facts and without the punctuation that would stand alone."""
    if not unknown:
        return form
    for name in unknown:
        form = re.sub(rf"(?<=[)}}])([^\w{{}}()]*){{{re.escape(name)}}}[^\w{{}}()]*(?={{)", r"\1", form)
        form = form.replace(f"{{{name}}}", "")
    form = re.sub(r" *\([^\w{]*\)", "", form)
    form = re.sub(r"\([^\w{(]+", "(", form)
    form = re.sub(r"(?<=\})[^\w{})]+\)", ")", form)
    return re.sub(r"[^\w})]+$", "", form)


@dataclass(frozen=True)
class File:
    """What a domain's file holds; `version` counts up when its words change, a section that it lacks is empty."""

    version: int
    domain: Domain
    prompt: str
    masked: str
    question: str


def read(path: Path, param: str, texts: Iterable[str] = ()) -> File:
    """Read a domain's file, which `param` names; ParamsError with line or section when it can't be one.

    texts: names of the items' texts, which it may show.
    """
    text = read_text(path, param)
    head, mark, body = text.partition(BODY)
    if not mark:
        raise ParamsError(f"{param}: {path}: no line '---' between {', '.join(FIELDS)} and the prompt")
    fields, genre_words = _fields(head, f"{param}: {path}", list(texts))
    prompt, *rest = re.split(r"^--- *(\w*)$", body, flags=re.MULTILINE)
    sections = dict(zip(rest[::2], (section.strip() for section in rest[1::2]), strict=True))
    for name in sections:
        if name not in SECTIONS:
            raise ParamsError(f"{param}: {path}: section {name!r} is none of {', '.join(SECTIONS)}")
    forms = {name: fields[name] for name in ("rating", "description", "item") if name in fields}
    own, alone = (frozenset(_listed(fields.get(name, ""))) for name in ("own words", "no plural"))
    domain = Domain(
        fields["domain"],
        _listed(fields["factors"]),
        own_words=own,
        no_plural=alone,
        genre_words=genre_words,
        **forms,
    )
    return File(int(fields["version"]), domain, prompt, sections.get("masked", ""), sections.get("question", ""))


def read_text(path: Path, param: str) -> str:
    """The text of a file that `param` names; ParamsError when it can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{param}: {path}: {error}") from None


def _fields(head: str, place: str, texts: list[str]) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """The lines `name: value` before the prompt, and those of genres."""
    found: dict[str, str] = {}
    genres: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(head.splitlines(), 1):
        name, mark, value = (part.strip() for part in line.partition(":"))
        if mark and value and name.startswith(GENRE):
            genres[name.removeprefix(GENRE)] = _listed(value)
            continue
        if not mark or name not in (*FIELDS, *MORE) or not value:
            known = ", ".join((*FIELDS, *MORE, f"{GENRE}NAME"))
            raise ParamsError(f"{place}: line {number}: {line!r} is none of {known}: value")
        if name in ("rating", "description") and (wrong := _no_form(value, texts)):
            raise ParamsError(f"{place}: line {number}: {line!r} {wrong}")
        found[name] = value
    if missing := [name for name in FIELDS if name not in found]:
        raise ParamsError(f"{place}: no {missing[0]} before '---'")
    if not found["version"].isdecimal():
        raise ParamsError(f"{place}: version {found['version']!r} is no number")
    return found, genres


def _no_form(value: str, texts: list[str]) -> str:
    """Why an item can't be shown so; empty where it can."""
    try:
        names = [name for _, name, _, _ in Formatter().parse(value) if name is not None]
    except ValueError:  # a brace that stands alone
        names = []
    strange = [name for name in names if name not in (*FACTS, *texts)]
    if "title" in names and not strange:
        return ""
    columns = f"interactions.columns.texts ({', '.join(texts) or 'none'})"
    rule = f"must hold {{title}}, and may hold {{year}} and {{genres}}, {{{TEXTS}}} and the names of {columns}"
    near = [(name, get_close_matches(name, [*FACTS, *texts], 1, 0.0)[0]) for name in strange[:1]]
    return rule + "".join(f"; {{{name}}} is none of these, the nearest is {{{nearest}}}" for name, nearest in near)


def _listed(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())
