"""Whether an encoder can serve here, and what of a sentence-transformers folder is kept beside its weights.

BERT's kind with the mean over the tokens needs nothing beside them.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlrf4rec import workers
from rlrf4rec.encoding.encoder import Encoder, positions
from rlrf4rec.encoding.making import MODULES, PARTS, PROMPTS, load_making, load_modules
from rlrf4rec.errors import ModelError, explain
from rlrf4rec.files import write_json
from rlrf4rec.llm.models import load_encoder
from rlrf4rec.llm.tokenizer import load_tokenizer

TRIED = 128  # tokens of a text for an encoder without a table of positions
WITH_WEIGHTS = ("Dense", "LayerNorm")


@dataclass(frozen=True)
class Asked:
    """How a folder says that its vectors are made. modules: kinds and folders, none for the mean over the tokens."""

    modules: list[tuple[str, str]] = field(default_factory=list)
    prompts: dict[str, str] = field(default_factory=dict)
    prompt: str | None = None
    length: int | None = None
    lower: bool = False


def asked(source: Path) -> Asked:
    """What an encoder's folder asks for; ModelError when that can't be made here."""
    modules = _modules(source)
    for kind, inside in modules:
        folder = source / inside
        if kind in WITH_WEIGHTS and not (folder / "model.safetensors").is_file():
            raise ModelError(
                f"{source.name}: {inside}/model.safetensors is missing, and weights are read from safetensors alone"
            )
        if kind == "Dense":
            config = _read(folder / "config.json") or {}
            if not str(config.get("activation_function", "torch.")).startswith("torch."):
                raise ModelError(
                    f"{source.name}: {inside}/config.json asks for the activation {config['activation_function']!r}, "
                    "and only PyTorch's are computed here"
                )
    said = _read(source / PROMPTS) or {}
    if said.get("model_type", "SentenceTransformer") != "SentenceTransformer":
        raise ModelError(f"{source.name}: a {said['model_type']}, not an encoder of sentences")
    prompts, prompt = said.get("prompts") or {}, said.get("default_prompt_name")
    if prompt is not None and prompt not in prompts:
        raise ModelError(f"{source.name}: {PROMPTS}: its default prompt {prompt!r} is none of its prompts")
    own: dict[str, Any] = {}
    for path in sorted(source.glob("sentence_*_config.json")):
        own |= _read(path)
    for key, only in (("transformer_task", "feature-extraction"), ("module_output_name", "token_embeddings")):
        if own.get(key, only) != only:
            raise ModelError(f"{source.name}: its {key} is {own[key]!r}, and only {only!r} is computed here")
    kept = [] if all(_mean(source, *module) for module in modules) else modules
    if len({"", *(inside for _, inside in kept)}) <= len(kept):
        raise ModelError(f"{source.name}: {MODULES}: each module after the first needs a folder of its own")
    return Asked(kept, prompts, prompt, own.get("max_seq_length"), bool(own.get("do_lower_case")))


def _modules(source: Path) -> list[tuple[str, str]]:
    """Kinds and folders of what follows the encoder."""
    entries = _read(source / MODULES)
    if entries is None:
        return [("Pooling", path.parent.name) for path in sorted(source.glob("*_Pooling/config.json"))]
    try:
        found = [(str(entry["type"]), str(entry["path"])) for entry in entries]
    except (KeyError, TypeError):
        raise ModelError(f"{source.name}: {MODULES} is no list of modules, each with its type and path") from None
    for place, (kind, inside) in enumerate(found):
        own, last = kind.startswith("sentence_transformers."), kind.split(".")[-1]
        if not own or (last != "Transformer" if place == 0 else last not in PARTS):
            raise ModelError(
                f"{source.name}: {MODULES} asks for a layer {last!r}, which is not computed here: {', '.join(PARTS)} "
                "after a Transformer are"
            )
        if inside and (Path(inside).name != inside or inside == ".."):
            raise ModelError(f"{source.name}: {MODULES}: {inside!r} is no folder beside it")
    if found and found[0][1]:
        raise ModelError(
            f"{source.name}: its weights lie in {found[0][1]}, and what follows them beside it; put the files of "
            f'{found[0][1]} beside {MODULES} and write "" for its path there'
        )
    return [(kind.split(".")[-1], inside) for kind, inside in found[1:]]


def _mean(source: Path, kind: str, inside: str) -> bool:
    """Whether the mean over a text's tokens, scaled to length 1, is what the module makes or leaves as it is."""
    config = _read(source / inside / "config.json") or {}
    modes = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    if "pooling_mode" in config:
        modes = [f"pooling_mode {config['pooling_mode']}"]
    mean = all(mode in ("pooling_mode_mean_tokens", "pooling_mode mean") for mode in modes)
    return kind == "Normalize" or (kind == "Pooling" and mean and config.get("include_prompt", True))


def _read(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path.parent.name}/{path.name}: no JSON: {error}") from None


def keep(asked: Asked, source: Path, target: Path, tokenizer: Any) -> None:
    """Write into `target` what the folder asks for beside its weights; its length and case go into the tokenizer."""
    try:
        made = load_modules(source, asked.modules)
    except Exception as error:  # readers of broken model files raise anything
        said = " ".join(str(error).split())
        raise explain(error) or ModelError(f"{source.name}: its modules can't be read: {said}") from None
    for module, (_, inside) in zip(made, asked.modules, strict=True):
        (target / inside).mkdir()
        module.save(str(target / inside))  # type: ignore[operator]
    if made:
        modules = [("Transformer", ""), *asked.modules]
        entries = [{"path": inside, "type": f"sentence_transformers.models.{kind}"} for kind, inside in modules]
        listed = [{"idx": i, "name": str(i), **entry} for i, entry in enumerate(entries)]
        (target / MODULES).write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")
    if asked.prompts:
        write_json(target / PROMPTS, {"prompts": asked.prompts, "default_prompt_name": asked.prompt})
    if asked.length is not None:
        tokenizer.model_max_length = asked.length
    if asked.lower:
        from tokenizers.normalizers import Lowercase, Sequence

        own = tokenizer.backend_tokenizer.normalizer
        tokenizer.backend_tokenizer.normalizer = Sequence([Lowercase(), *([own] if own else [])])


def check(folder: Path, name: str) -> None:
    """ModelError unless the encoder that is kept in `folder` gives vectors of a short text and of its longest one."""
    model, tokenizer = load_encoder(folder), load_tokenizer(folder)
    kind = model.config.model_type
    if tokenizer.pad_token is None:
        raise ModelError(f"{name}: its tokenizer has no pad token, so texts can't be encoded in batches")
    longest = min(positions(model) or TRIED, tokenizer.model_max_length)
    texts = ["a film", "film " * longest]
    try:
        making = load_making(folder, tokenizer, None)
        with workers.one_thread():
            vectors = [vector for _, vector in Encoder(model, tokenizer, texts, longest, None, making).encode([0, 1])]
    except Exception as error:  # what an unknown architecture raises can be anything
        said = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:200]
        raise explain(error) or ModelError(
            f"{name}: models of type {kind!r} are not supported as encoders: {said}; take one of BERT's kind"
        ) from None
    if not all(abs(sum(value * value for value in vector) - 1.0) < 1e-3 for vector in vectors):
        raise ModelError(f"{name}: its vectors are no numbers; take another encoder, or fetch its weights again")
