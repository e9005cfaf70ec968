"""What an LLM has memorised of a data set: completion of titles, of lines, and of years. Greedy, no training.

Shapes: R rows of a batch, T tokens of the longest row.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlrf4rec.errors import RLRFError

COLUMNS = ("user_id", "item_id", "rating", "timestamp")


@dataclass(frozen=True)
class Cut:
    """A text cut in two: an LLM that knows it goes on from `begin` with `end`."""

    begin: str
    end: str


def halves(line: str, title: str) -> Cut | None:
    """A line `Title (Year; Genres)` cut after the first half of the title's words; None below two words.

    >>> halves("The Usual Suspects (1995; Crime)", "The Usual Suspects")
    Cut(begin='The Usual', end=' Suspects')
    """
    parts = title.split(" ")
    if len(parts) < 2 or not line.startswith(title):
        return None
    begin = " ".join(parts[: (len(parts) + 1) // 2])
    return Cut(begin, title[len(begin) :])


def raw_lines(path: Path) -> list[tuple[str, str, str, str]]:
    """User, item, rating and timestamp of every line of an `.inter` file, as written and in the file's order."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            header = {name.split(":")[0]: name for name in reader.fieldnames or []}
            if missing := [name for name in COLUMNS if name not in header]:
                raise RLRFError(f"{path}: no column {missing[0]!r}; its columns are {', '.join(header)}")
            return [tuple(row[header[name]] for name in COLUMNS) for row in reader]  # type: ignore[misc]
    except (OSError, UnicodeDecodeError) as error:
        raise RLRFError(f"{path}: not readable ({error}); run `dvc repro fetch_dataset`") from None


@torch.inference_mode()
def greedy(model: PreTrainedModel, tokenizer: Any, prompts: Sequence[str], new_tokens: int, batch: int) -> list[str]:
    """The LLM's most probable next `new_tokens` tokens of each prompt, as text."""
    texts: list[str] = []
    for first in range(0, len(prompts), batch):
        rows = [tokenizer.encode(prompt) for prompt in prompts[first : first + batch]]
        tokens, mask = _padded(rows, left=True)
        out = model.generate(  # type: ignore[operator]
            input_ids=tokens.to(model.device),
            attention_mask=mask.to(model.device),
            do_sample=False,
            max_new_tokens=new_tokens,
            pad_token_id=0,
        )
        texts += [str(tokenizer.decode(row, skip_special_tokens=True)) for row in out[:, tokens.shape[1] :].tolist()]
    return texts


@torch.inference_mode()
def log_probs(model: PreTrainedModel, tokenizer: Any, cuts: Sequence[Cut], batch: int) -> list[tuple[float, int]]:
    """Log-probability in nats of each `end` after its `begin`, and its number of tokens."""
    found: list[tuple[float, int]] = []
    for first in range(0, len(cuts), batch):
        some = cuts[first : first + batch]
        begins = [tokenizer.encode(cut.begin) for cut in some]
        ends = [tokenizer.encode(cut.end, add_special_tokens=False) for cut in some]
        tokens, mask = _padded([b + e for b, e in zip(begins, ends, strict=True)], left=False)
        hidden = model.base_model(
            input_ids=tokens.to(model.device), attention_mask=mask.to(model.device), use_cache=False
        ).last_hidden_state
        for row, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            places = hidden[row, len(begin) - 1 : len(begin) + len(end) - 1]
            logits = torch.log_softmax(model.get_output_embeddings()(places).float(), dim=-1)
            each = logits.gather(1, torch.tensor(end, device=logits.device)[:, None])
            found.append((float(each.sum()), len(end)))
    return found


def _padded(rows: list[list[int]], left: bool) -> tuple[Tensor, Tensor]:
    """Tokens and mask [R, T] of rows of unlike length."""
    width = max(len(row) for row in rows)
    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        begin = width - len(row) if left else 0
        tokens[i, begin : begin + len(row)] = torch.tensor(row)
        mask[i, begin : begin + len(row)] = 1
    return tokens, mask


def begins_with(completion: str, expected: str) -> bool:
    """Whether a completion goes on exactly with `expected` (white space at the start apart) and ends the word there.

    >>> begins_with(" Suspects (1995", " Suspects"), begins_with("2425", "242")
    (True, False)
    """
    found, wanted = completion.lstrip(), expected.lstrip()
    rest = found[len(wanted) : len(wanted) + 1]
    return found.startswith(wanted) and not rest.isalnum()


def share(values: Sequence[bool]) -> float:
    """Share of true values, 0 .. 1; 0 without any."""
    return sum(values) / len(values) if values else 0.0
