"""Whether an encoder can serve here: a vector is the mean of a text's last hidden states, scaled to length 1."""

import json
from pathlib import Path
from typing import Any

from rlrf4rec import workers
from rlrf4rec.encoding.encoder import Encoder, positions
from rlrf4rec.errors import ModelError, explain
from rlrf4rec.llm.models import load_encoder
from rlrf4rec.llm.tokenizer import load_tokenizer

PARTS = {"Transformer", "Pooling", "Normalize"}  # modules of a sentence-transformers folder that are computed here
TRIED = 128  # tokens of a text for an encoder without a table of positions


def check_asked(source: Path) -> None:
    """ModelError when the folder, as sentence-transformers writes it, asks for another vector than is made here."""
    modules = _read(source / "modules.json") or []
    for module in modules:
        part = str(module["type"]).split(".")[-1]
        if part not in PARTS:
            raise ModelError(f"{source.name}: modules.json asks for a layer {part!r}, which is not computed here")
    pooling = {source / module["path"] for module in modules if str(module["type"]).endswith("Pooling")}
    for folder in sorted(pooling | {path.parent for path in source.glob("*_Pooling/config.json")}):
        config = _read(folder / "config.json") or {}
        modes = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
        modes += [f"pooling_mode {config['pooling_mode']}"] if isinstance(config.get("pooling_mode"), str) else []
        if strange := [mode for mode in modes if mode not in ("pooling_mode_mean_tokens", "pooling_mode mean")]:
            raise ModelError(
                f"{source.name}: {folder.name}/config.json asks for {strange[0]}, and vectors here are the mean over a "
                "text's tokens; take an encoder that was trained with mean pooling"
            )


def _read(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path.parent.name}/{path.name}: no JSON: {error}") from None


def check(folder: Path, name: str) -> None:
    """ModelError unless the encoder that is kept in `folder` gives vectors of a short text and of its longest one."""
    model, tokenizer = load_encoder(folder), load_tokenizer(folder)
    kind = model.config.model_type
    if tokenizer.pad_token is None:
        raise ModelError(f"{name}: its tokenizer has no pad token, so texts can't be encoded in batches")
    longest = positions(model) or TRIED
    texts = ["a film", "film " * longest]
    try:
        with workers.one_thread():
            vectors = [vector for _, vector in Encoder(model, tokenizer, texts, longest, None).encode([0, 1])]
    except Exception as error:  # what an unknown architecture raises can be anything
        said = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:200]
        raise explain(error) or ModelError(
            f"{name}: models of type {kind!r} are not supported as encoders: {said}; take one of BERT's kind"
        ) from None
    if not all(abs(sum(value * value for value in vector) - 1.0) < 1e-3 for vector in vectors):
        raise ModelError(f"{name}: its vectors are no numbers; take another encoder, or fetch its weights again")
