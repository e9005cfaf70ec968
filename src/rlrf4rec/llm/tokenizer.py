"""Loading a tokenizer from a local folder, and what to say of a model folder that can't be read."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoTokenizer
from transformers.utils import logging

from rlrf4rec.errors import InputError, RLRFError, explain
from rlrf4rec.files import check_json

UNREADABLE = (OSError, ValueError, KeyError, SafetensorError)
logging.disable_progress_bar()
logging.set_verbosity_error()


def load_tokenizer(folder: Path, trusted: bool = False) -> Any:
    """The tokenizer of a model folder; InputError when it is missing or broken."""
    check_json(*(folder / name for name in ("tokenizer.json", "tokenizer_config.json")))
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trusted)
    except UNREADABLE as error:
        raise unreadable(folder, "no tokenizer", error, trusted) from None


def closes(tokenizer: Any) -> bool:
    """Whether it puts tokens of its own behind a text: a prompt would then end before the LLM goes on with it."""
    plain, whole = tokenizer.encode("Taste:", add_special_tokens=False), tokenizer.encode("Taste:")
    return bool(whole[len(whole) - len(plain) :] != plain)


def unreadable(folder: Path, what: str, error: Exception, trusted: bool) -> RLRFError:
    """What to do with a model folder that can't be read, or what the machine lacks to read it."""
    if lacking := explain(error, folder):
        return lacking
    if own_code(folder) and not trusted:
        return InputError(needs_code(str(folder)))
    return InputError(f"{folder}: {what}: {error}; run `dvc repro fetch_models`")


def own_code(folder: Path) -> bool:
    """Whether a model's configuration asks to run code that lies beside it."""
    for name in ("config.json", "tokenizer_config.json"):
        try:
            if "auto_map" in json.loads((folder / name).read_text(encoding="utf-8")):
                return True
        except (OSError, ValueError):
            continue
    return False


def needs_code(name: str) -> str:
    """What to do with a model that brings its own code."""
    return (
        f"{name}: this model brings its own code, which is not run; read it, and if you trust it, "
        "set llm.trust_remote_code to the model's name in fetch_models.llm.name (an encoder's code never runs)"
    )
