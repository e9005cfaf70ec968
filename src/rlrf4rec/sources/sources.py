"""Sources of knowledge, by name. A new one is a file, a line here, and its name in `studies/controls/dvc.yaml`."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from rlrf4rec.errors import entry
from rlrf4rec.sources import activity, best_of_n, items_mean, no_items, profile, profile_shown, years
from rlrf4rec.sources.given import SourceInputs


@dataclass(frozen=True)
class Source:
    """Vectors [rows, samples, width] about users, or about items: as many rows as their table has, in its order."""

    make: Callable[[SourceInputs], Tensor]
    about: str = "user"


SOURCES = {
    "no_items": Source(no_items.make, about="item"),
    "activity": Source(activity.make),
    "years": Source(years.make),
    "profile": Source(profile.make),
    "profile_shown": Source(profile_shown.make),
    "items_mean": Source(items_mean.make),
    "best_of_n": Source(best_of_n.make),
}


def source(name: str) -> Source:
    """The source of a name; ParamsError when there is none."""
    return entry(SOURCES, name, "source")
