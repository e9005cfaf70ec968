"""Writing a model and its tokenizer as safetensors, from a model folder or a GGUF file."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel

from rlrf4rec.conversion import encoders, forward, gguf_header
from rlrf4rec.errors import ModelError, explain
from rlrf4rec.llm.models import load_whole
from rlrf4rec.llm.tokenizer import closes, needs_code, own_code

LFS = b"version https://git-lfs.github.com/spec/"  # how a pointer begins, and a size that none reaches, in bytes
LFS_SIZE = 1024
ADAPTER = "adapter_config.json"


def convert(
    source: Path, target: Path, dtype: torch.dtype, causal: bool, gguf: str | None = None, trusted: bool = False
) -> None:
    """Write a model and its tokenizer as safetensors in `dtype`, from a folder or a GGUF file in it.

    A GGUF model is dequantised in float32 into a fresh model without quantisation settings, which can be saved.
    `trusted`: code that lies in the folder may run. ModelError for weights that are pickles or not whole, and for a
    model that can't do its work here.
    """
    name = f"{source.name}/{gguf}" if gguf else source.name
    extra: dict[str, Any] = {"gguf_file": gguf} if gguf else {"use_safetensors": True}
    _check_files(source, name)
    if not gguf:
        _check(source, trusted)
    asked = None if causal else encoders.asked(source)
    auto = AutoModelForCausalLM if causal else AutoModel
    try:
        if gguf:
            _check_sizes(source, gguf, auto)
        model = load_whole(auto, source, dtype=torch.float32 if gguf else dtype, trust_remote_code=trusted, **extra)
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=trusted, **extra)
    except Exception as error:  # readers of broken model files raise anything
        raise explain(error) or ModelError(
            f"{name}: not a model that transformers can read: {error}; look at fetch_models in params.yaml"
        ) from None
    if causal and closes(tokenizer):
        raise ModelError(
            f"{name}: its tokenizer closes every prompt with {tokenizer.decode(tokenizer.encode('Taste:')[-1:])!r}, "
            "and the LLM would write what follows an ended text; take that out of its files (add_eos_token, "
            "post_processor)"
        )
    if not causal and model.config.is_encoder_decoder:
        raise ModelError(f"{name}: an encoder-decoder model; take one whose encoder stands alone, BERT's kind")
    if gguf:
        _check_places(source / gguf, name, model)
        config = model.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        config._name_or_path = ""
        fresh = auto.from_config(config)
        fresh.load_state_dict(model.state_dict())
        model = fresh
    model.generation_config = GenerationConfig() if causal else None  # type: ignore[assignment]
    model.to(dtype).save_pretrained(target)  # type: ignore[arg-type]
    if asked:
        encoders.keep(asked, source, target, tokenizer)
    tokenizer.save_pretrained(target)
    (target / "generation_config.json").unlink(missing_ok=True)  # every setting of the sampler is a param
    if causal:
        kind = model.config.model_type
        del model  # it is loaded again as it is kept
        forward.check(target, name, kind, trusted)
    else:
        encoders.check(target, name)


def _check_files(source: Path, name: str) -> None:
    """ModelError when files are pointers of Git LFS, or when the folder holds an adapter.

    Of an adapter transformers would load whatever model its configuration names, from wherever that is.
    """
    for path in sorted([*source.glob("*"), *source.glob("*/*")]):
        if path.is_file() and path.stat().st_size < LFS_SIZE and path.read_bytes().startswith(LFS):
            raise ModelError(
                f"{name}: {path.relative_to(source)} is a pointer of Git LFS, not the file itself; run `git lfs pull` "
                "where it was cloned, or fetch it from there again"
            )
    adapter, whole = source / ADAPTER, (source / "config.json").exists()
    if adapter.exists() and not whole:
        raise ModelError(
            f"{name}: an adapter alone ({ADAPTER} and no config.json); give a whole model: merge the adapter into its "
            "base (PEFT's merge_and_unload) and save that"
        )
    if adapter.exists():
        raise ModelError(
            f"{name}: {ADAPTER} beside config.json: is the adapter merged into the weights or not? If it is, or isn't "
            f"meant, take {ADAPTER} out; else merge it (PEFT's merge_and_unload) and save that"
        )


def _check(source: Path, trusted: bool) -> None:
    """ModelError when the folder's weights are no safetensors, or when it wants code that may not run."""
    if not any(source.glob("*.safetensors")):
        pickles = [path.name for suffix in ("bin", "pt", "pth") for path in sorted(source.glob(f"*.{suffix}"))]
        found = f"only {pickles[0]}, a pickle, which can run code when it is read" if pickles else "no weights"
        raise ModelError(f"{source.name}: {found}; take a model whose weights are .safetensors, or a GGUF file")
    if own_code(source):
        if not trusted:
            raise ModelError(needs_code(source.name))
        for reference in _references(source):
            if "--" in reference:
                raise ModelError(
                    f"{source.name}: its code lies in another repository ({reference.split('--')[0]}), where it can "
                    "change; take a copy of the model with the code beside it"
                )


def _check_sizes(source: Path, gguf: str, auto: Any) -> None:
    """ValueError where a GGUF file is damaged, or asks for a larger model than it has weights for.

    What a file lacks would be drawn at random and only then told: of a wrong size more than the machine has.
    """
    from gguf import GGUFReader

    gguf_header.check(source / gguf)
    reader = GGUFReader(source / gguf)
    given = sum(int(tensor.n_elements) for tensor in reader.tensors)
    config = AutoConfig.from_pretrained(source, gguf_file=gguf, local_files_only=True)
    layers = config.get_text_config().num_hidden_layers
    if layers > len(reader.tensors):
        raise ValueError(f"it asks for {layers} layers, but has {len(reader.tensors)} tensors in all")
    with torch.device("meta"):
        wanted = sum(parameter.numel() for parameter in auto.from_config(config).parameters())
    if wanted > 2 * given:  # a head that is tied to the embedding may be there once
        raise ValueError(f"it asks for a model of {wanted} numbers, but has {given}")


def _check_places(path: Path, name: str, model: PreTrainedModel) -> None:
    """ModelError when a GGUF file has weights that the model has no place for; transformers drops them in silence.

    They are counted, since tensors have other names there, and some are cut or joined on the way.
    """
    from gguf import MODEL_ARCH_NAMES, MODEL_TENSORS, TENSOR_NAMES, GGUFReader

    reader = GGUFReader(path)
    given = {t.name: int(t.n_elements) for t in reader.tensors if not t.name.startswith("rope_")}  # tables, made anew
    spare = sum(given.values()) - sum(parameter.numel() for parameter in model.parameters())
    if spare > 0:
        architecture = reader.fields["general.architecture"].contents()
        kinds = [kind for arch, own in MODEL_ARCH_NAMES.items() if own == architecture for kind in MODEL_TENSORS[arch]]
        blocks = range(model.config.num_hidden_layers)
        known = {TENSOR_NAMES[kind].format(bid=block) for kind in kinds for block in blocks}
        strange = [tensor for tensor in given if tensor.rsplit(".", 1)[0] not in known]
        found = repr(strange[0]) if strange else "more tensors than that"
        raise ModelError(
            f"{name}: its weights are not those of a {type(model).__name__}: it has {found}, {spare} numbers in all "
            "that have no place in it; take another file, or the model's folder with safetensors"
        )


def _references(source: Path) -> list[str]:
    """What the `auto_map` of a model's configuration points at."""
    found: list[str] = []
    for name in ("config.json", "tokenizer_config.json"):
        if (source / name).is_file():
            entries = json.loads((source / name).read_text(encoding="utf-8")).get("auto_map", {}).values()
            found += [str(part) for entry in entries for part in (entry if isinstance(entry, list) else [entry])]
    return found
