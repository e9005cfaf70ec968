"""What makes a vector of a text's hidden states: the mean over its tokens, or what the encoder's folder asks for.

That is computed by modules of sentence-transformers, which takes long to import: only where they are asked for.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlrf4rec.errors import InputError, ParamsError

MODULES, PROMPTS = "modules.json", "config_sentence_transformers.json"  # as sentence-transformers has them
PARTS = ("Pooling", "Dense", "LayerNorm", "Normalize")  # modules that may follow the encoder


@dataclass(frozen=True)
class Making:
    """From a text to a vector of length 1: what is put before the text, and what follows the hidden states.

    modules: of sentence-transformers, in their order; none: the mean over the tokens. prompt_tokens: of `prompt`, with
    what the tokenizer puts before it.
    """

    modules: tuple[torch.nn.Module, ...] = ()
    prompt: str = ""
    prompt_tokens: int = 0

    def vectors(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Vectors of texts, [texts, width]. hidden: float32 [texts, tokens, hidden]; mask: [texts, tokens]."""
        if self.modules:
            features: dict[str, Any] = {
                "token_embeddings": hidden,
                "attention_mask": mask,
                "prompt_length": self.prompt_tokens,
            }
            for module in self.modules:
                features = module(features)
            pooled: Tensor = features["sentence_embedding"]
        else:
            weights = mask[..., None].float()
            pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        return torch.nn.functional.normalize(pooled, dim=-1)


MEAN = Making()


def load_making(folder: Path, tokenizer: Any, prompt: str | None) -> Making:
    """What the encoder's folder asks for, with its prompt of this name; None: with its default one, if it has one.

    ParamsError for a name that the encoder doesn't have.
    """
    try:
        entries = _read(folder / MODULES) or []
        modules = load_modules(folder, [(entry["type"].split(".")[-1], entry["path"]) for entry in entries[1:]])
        known = _read(folder / PROMPTS) or {"prompts": {}, "default_prompt_name": None}
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"{folder}: no encoder: {error}; run `dvc repro fetch_models`") from None
    name, prompts = prompt or known["default_prompt_name"], known["prompts"]
    if name is not None and name not in prompts:
        has = f"it has {', '.join(map(repr, prompts))}" if prompts else "it has none: set this to null"
        raise ParamsError(f"encode.prompt: the encoder has no prompt named {name!r}; {has}")
    text = prompts[name] if name is not None else ""
    return Making(modules, text, _length(tokenizer, text))


def load_modules(folder: Path, entries: list[tuple[str, str]]) -> tuple[torch.nn.Module, ...]:
    """Modules of sentence-transformers from a folder; entries: kinds of `PARTS` and the folders inside."""
    if not entries:
        return ()
    from sentence_transformers.sentence_transformer import modules

    return tuple(
        getattr(modules, kind).load(str(folder), subfolder=inside, local_files_only=True).eval()
        for kind, inside in entries
    )


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _length(tokenizer: Any, prompt: str) -> int:
    """Tokens of a prompt as they stand before a text: without those that the tokenizer closes it with."""
    if not prompt:
        return 0
    tokens = tokenizer(prompt)["input_ids"]
    return len(tokens) - (tokens[-1] in tokenizer.all_special_ids)
