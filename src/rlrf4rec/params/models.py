"""Blocks of params that say where the models are, what runs them, what may start and what is kept."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlrf4rec.params.types import Block, Hash, Text


class Model(Block):
    """Where a model comes from; `path` lies inside the wheel or folder, `revision` pins a hub id.

    A GGUF file that several wheels have in parts: lists in `name` and `path`, in the order of the parts.
    `sha256`: of the wheel, of the folder or file, of what the hub gave (the part `path`), of a file whose parts were
    joined; null: not checked.
    """

    source: Literal["wheel", "folder", "gguf", "hub"]
    name: Text | list[Text]
    path: str | list[Text]
    revision: str | None
    sha256: Hash | None

    @model_validator(mode="after")
    def _parts(self) -> "Model":
        lists = [part if isinstance(part, list) else None for part in (self.name, self.path)]
        if lists != [None, None]:
            if self.source != "wheel" or None in lists or len(self.name) != len(self.path) or not self.name:
                raise ValueError("only wheels can have parts: as many of them in `name` as of their files in `path`")
            if not all(".gguf" in part for part in self.path):
                raise ValueError("parts are joined to a GGUF file: each name in `path` must have .gguf in it")
            if self.sha256 is None:
                raise ValueError("parts need `sha256`, of the joined file: in another order they are another file")
        return self

    @model_validator(mode="after")
    def _pinned(self) -> "Model":
        if self.source == "hub" and not re.fullmatch("[0-9a-f]{40}", self.revision or ""):
            raise ValueError("a hub model needs `revision`, the 40 digits of a commit: a branch or a tag can change")
        if self.source != "hub" and self.revision:
            raise ValueError(f"`revision` pins a hub id; with source: {self.source} set it to null")
        return self


class FetchModels(Block):
    """The LLM and the sentence encoder."""

    llm: Model
    encoder: Model


class Llm(Block):
    """How every stage that runs the LLM loads it.

    `trust_remote_code` is off unless it names the model itself: code that a model brings along can do anything.
    """

    device: Literal["auto", "cpu", "cuda"]
    quantization: Literal["none", "4bit"]
    trust_remote_code: Text | None


class Price(Block):
    """What a million tokens cost, in any currency."""

    prompt: Annotated[float, Field(ge=0)]
    completion: Annotated[float, Field(ge=0)]


class Endpoint(Block):
    """An OpenAI-compatible server that samples the texts of the `policies` named; the others are sampled here.

    `policies`: the server's name of the model that writes a policy's texts. `retries` after a busy server or a lost
    connection. Nothing is asked when it could cost more than `max_cost`. The key is ENDPOINT_API_KEY's value.
    """

    policies: dict[str, Text]
    url: Annotated[str, Field(pattern="^https?://")]
    api: Literal["completions", "chat"]
    concurrency: Annotated[int, Field(ge=1, le=256)]
    retries: Annotated[int, Field(ge=0, le=20)]
    timeout: Annotated[float, Field(gt=0)]
    price: Price
    max_cost: Annotated[float, Field(ge=0)] | None


class Estimate(Block):
    """With `refuse`, the LLM's stages end before any work when they can't fit the machine's memory or disk."""

    refuse: bool


class Store(Block):
    """Finished pieces of long work: at most `max_gb` of them, written when `seconds` have passed since the last."""

    max_gb: Annotated[float, Field(gt=0)]
    seconds: Annotated[float, Field(ge=0, le=3600)]
