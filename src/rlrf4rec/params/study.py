"""Params of the studies."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlrf4rec.params.types import Arithmetic, Block, Count, Protocol, Rate, Text
from rlrf4rec.paths import ARM_POLICIES


class TrainPolicy(Block):
    """Study: supervised fine-tuning on the chosen texts. What is not named here are DPO's own hyperparameters."""

    sft_learning_rate: Rate
    sft_epochs: Count


class MatchPolicy(Block):
    """Study of arms: how policies are brought as far from the LLM as the tuned one.

    users: validation users on whose texts, two each, movement is measured; longest: most times a method's own epochs;
    tolerance: of KL, relative; floor: nats a text, below which a policy counts as not moved; precision: of measuring.
    """

    users: Annotated[int, Field(ge=2)]
    longest: Count
    tolerance: Annotated[float, Field(gt=0, le=0.5)]
    floor: Annotated[float, Field(gt=0)]
    precision: Arithmetic


OF_FINAL_USERS = ("encode/none", "encode/template")  # vectors about them that no LLM writes, by place in data


class Kind(Block):
    """Study of arms: the knowledge of re-rankers, and the users whose lists train them.

    text: an arm, whose texts differ from policy to policy, or vectors by their place in data; beside: such a place.
    learners: `ranking`, those whose labels tuned no LLM, or `train`, those beside them.
    """

    text: Text
    beside: Text
    learners: Literal["ranking", "train"]


class Arms(Block):
    """Study of arms: numbers of its policies, protocols of the lists, kinds of knowledge by name.

    final: the arms that a final look compares beside `base` (`make final-arms`): the final users get texts of them.
    """

    policies: Annotated[list[Count], Field(min_length=1)]
    protocols: Annotated[list[Protocol], Field(min_length=1)]
    final: Annotated[list[Text], Field(min_length=1)]
    kinds: dict[str, Kind]

    def final_texts(self) -> list[str]:
        """Arms of which final users get texts."""
        return ["base", *self.final]

    def final_kinds(self) -> dict[str, Kind]:
        """Kinds of knowledge that there is about final users too: texts of `final` and of base, and the profile."""
        known = {*self.final_texts(), *OF_FINAL_USERS}
        return {name: kind for name, kind in self.kinds.items() if {kind.text, kind.beside} <= known}

    @model_validator(mode="after")
    def _fitting(self) -> "Arms":
        if len(set(self.policies)) < len(self.policies):
            raise ValueError(f"policies: {self.policies} names one twice")
        if missing := [name for name in ("base", "tuned") if name not in self.kinds]:
            raise ValueError(f"kinds has no entry {missing[0]}, with which others are compared")
        if len({*self.final, "base"}) <= len(self.final):
            raise ValueError(f"final: {self.final} names one twice, or base, which is compared anyway")
        if unknown := [name for name in self.final if name not in self.kinds or self.kinds[name].text != name]:
            raise ValueError(f"final: {unknown[0]!r} is no arm among kinds")
        for name, kind in self.kinds.items():
            if "/" not in kind.text and kind.text not in ARM_POLICIES:
                raise ValueError(
                    f"kinds.{name}.text: {kind.text!r} is neither a place in data nor one of {', '.join(ARM_POLICIES)}"
                )
            if kind.learners == "train" and kind.text in ARM_POLICIES[1:]:
                raise ValueError(
                    f"kinds.{name}.learners: train, but {kind.text} writes no texts about the users that it was tuned "
                    f"on: set it to ranking, or text to {ARM_POLICIES[0]}"
                )
            if name in ARM_POLICIES and kind != Kind(text=name, beside="encode/none", learners="ranking"):
                raise ValueError(
                    f"kinds.{name}: what is claimed of it is about the texts {name} alone, beside encode/none, with "
                    "learners ranking; give what differs another name"
                )
        return self


class Probe(Block):
    """Study: how much of the data set the LLM knows by heart: items, years and rating lines that it is asked for."""

    items: Annotated[int, Field(ge=2)]
    years: Annotated[int, Field(ge=1)]
    lines: Annotated[int, Field(ge=2)]
    context: Annotated[int, Field(ge=1)]
    batch: Count
    dtype: Arithmetic


class LearningCurve(Block):
    """Study: held-out reward against the number of pairs; `equal_steps` repeats small parts to as many steps."""

    pairs: Annotated[list[Count], Field(min_length=1)]
    users: Count
    samples: Count
    repeats: Count
    equal_steps: bool
    bootstrap: Annotated[int, Field(ge=100)]


class Bench(Block):
    """Benchmarks: users and pairs of a measurement, how many times the arms run in turn, size of a large data set."""

    users: Annotated[int, Field(ge=8)]
    batch_users: Count
    pairs: Annotated[int, Field(ge=8)]
    turns: Annotated[int, Field(ge=1)]
    interactions: Count
    interacting_users: Count
