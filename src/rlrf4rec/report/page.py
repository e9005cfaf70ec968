"""The page: one HTML file that asks for nothing from outside the repository. Jinja2 escapes whatever it is given.

What it looks like is in `page.html.j2` and `style.css` beside this module.
"""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rlrf4rec.report.blocks import Section

ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(title: str, sections: Sequence[Section], footer: str = "") -> str:
    """The whole page as HTML."""
    page = ENVIRONMENT.get_template("page.html.j2").render(title=title, sections=sections, footer=footer)
    return page.lstrip()
