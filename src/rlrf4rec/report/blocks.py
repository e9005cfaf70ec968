"""What a page is made of. Sections give blocks, `page` draws them; no block holds HTML but that of `svg`."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from markupsafe import Markup

Tone = Literal["plain", "gain", "null", "loss"]


@dataclass(frozen=True)
class Note:
    """A paragraph; `tone` marks a verdict."""

    template: ClassVar[str] = "note"
    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    template: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class TableBlock:
    """Cells are text; the first cell of a row is its header, the first `words` columns are set flush left."""

    template: ClassVar[str] = "table"
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1


@dataclass(frozen=True)
class Beside:
    """Another page, shown here in a frame; `path` is relative to this page, and need not be there."""

    template: ClassVar[str] = "beside"
    title: str
    path: str


@dataclass(frozen=True)
class Figure:
    """A picture from `plots` and what to see in it."""

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Figures:
    """Pictures that stand side by side where there is room."""

    template: ClassVar[str] = "figures"
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Rated:
    """An item of a history."""

    title: str
    rating: str


@dataclass(frozen=True)
class ShownText:
    """A text about a user; `reward` is empty where none was measured."""

    role: str
    text: str
    reward: str


@dataclass(frozen=True)
class ListPlace:
    """One place of a list: what stood there before and after, and whether the user liked it."""

    before: str
    before_liked: bool
    after: str
    after_liked: bool


@dataclass(frozen=True)
class Person:
    """A validation user."""

    template: ClassVar[str] = "person"
    user: str
    history: tuple[Rated, ...]
    texts: tuple[ShownText, ...]
    gap: str
    places: tuple[ListPlace, ...]
    summary: str


PageBlock = Note | Heading | TableBlock | Beside | Figures | Person


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading of its own."""

    slug: str
    title: str
    blocks: tuple[PageBlock, ...]
