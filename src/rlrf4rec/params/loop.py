"""The block `loop`: all that there is more than one of, and how its parts must fit together."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlrf4rec.params.types import Block, Text


class Round(Block):
    """A round of feedback: the policy that it tunes, and the texts of that policy that it scores."""

    policy: Text
    texts: Text


class Samples(Block):
    """What a policy writes, and for whom: see `tables.split.USERS`."""

    policy: Text
    users: Literal["all", "evaluated", "tuning"]


class RankerInputs(Block):
    """The knowledge of re-rankers, in two places of the user and of items: vectors, by their place in data."""

    text: Text
    beside: Text
    items: Text


class Loop(Block):
    """The rounds, what policies write in them, what is encoded, and the knowledge of re-rankers."""

    rounds: Annotated[dict[str, Round], Field(min_length=1)]
    samples: dict[str, Samples]
    texts: list[Text]
    rankers: Annotated[dict[str, RankerInputs], Field(min_length=1)]

    @property
    def policies(self) -> list[str]:
        """Names of the policies whose texts are evaluated, the untuned one first."""
        return [name for name, samples in self.samples.items() if samples.users != "tuning"]

    @model_validator(mode="after")
    def _chain(self) -> "Loop":
        expected = ["base", *(f"round{i + 1}" for i in range(len(self.rounds)))]
        advice = "write the loop with `rlrf4rec rounds T`"
        if {name: r.policy for name, r in self.rounds.items()} != dict(zip(expected[1:], expected, strict=False)):
            raise ValueError(f"rounds must chain {' -> '.join(expected)}; {advice}")
        if self.policies != expected or any(self.samples[name].policy != name for name in expected):
            raise ValueError(f"samples must be of the policies {', '.join(expected)} in their order; {advice}")
        for name, r in self.rounds.items():
            if r.texts not in self.samples or self.samples[r.texts].policy != r.policy:
                raise ValueError(f"rounds.{name}.texts: {r.texts!r} are no samples of {r.policy}; {advice}")
            if self.samples[r.texts].users == "evaluated":
                raise ValueError(f"rounds.{name}.texts: {r.texts!r} are not those of tuning users; {advice}")
        if missing := [n for n in ("none", "items", "template", *self.samples) if n not in self.texts]:
            raise ValueError(f"texts has no entry {missing[0]}; {advice}")
        known = [f"encode/{source}" for source in self.texts]
        for name, given in self.rankers.items():
            if strange := [place for place in (given.text, given.beside, given.items) if place not in known]:
                raise ValueError(f"rankers.{name}: {strange[0]!r} is none of {', '.join(known)}, as texts names them")
        if missing := [p for p in ("base", expected[-1]) if p not in self.rankers]:
            raise ValueError(f"rankers has no entry {missing[0]}; {advice}")
        return self
