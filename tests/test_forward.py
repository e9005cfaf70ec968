"""An LLM is taken only when it says the same here as by itself: small random models of many kinds."""

import pytest
import torch
import transformers

from rlrf4rec.conversion import forward
from rlrf4rec.errors import ModelError
from rlrf4rec.llm.models import context

BASE = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
HEADS = {"head_dim": 8}
GEMMA = {**HEADS, "query_pre_attn_scalar": 8}
OLD = {"vocab_size": 96, "initializer_range": 0.3, "hidden_size": 32}
GPT2 = {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "initializer_range": 0.3}


def kept(tmp_path, name, settings):
    """A small random model of this kind, as a folder, and its type."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, f"{name}Config")(**settings))
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model", model.config.model_type


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Llama", BASE),
        ("Qwen2", BASE),
        ("Qwen3", BASE | HEADS),
        ("Gemma", BASE | HEADS),
        ("Gemma3Text", BASE | GEMMA | {"num_hidden_layers": 6, "sliding_window": 28}),  # the last layer has no window
        ("Mistral", BASE | {"sliding_window": 28}),
        ("Phi3", BASE),
        ("GPT2", GPT2),
    ],
)
def test_an_llm_that_says_the_same_here_as_by_itself_is_taken(tmp_path, name, settings):
    folder, kind = kept(tmp_path, name, settings)
    assert 0.0 <= forward.check(folder, "m", kind) <= 1e-3


@pytest.mark.parametrize(
    ("name", "settings", "path"),
    [
        ("Cohere", BASE | {"logit_scale": 0.0625}, "the sampler is .* nats"),
        ("Gemma2", BASE | GEMMA | {"attn_logit_softcapping": 1.0, "final_logit_softcapping": 3.0}, "the sampler is"),
        (
            "Gemma3Text",
            BASE | GEMMA | {"sliding_window": 27},
            "the sampler fails .*its context is shorter",
        ),
        ("Llama", BASE | {"max_position_embeddings": 27}, "the sampler fails .*its context is shorter than any prompt"),
        ("StableLm", BASE, "the sampler fails"),
        ("Bloom", OLD | {"n_layer": 2, "n_head": 4}, "the sampler fails"),
        ("Falcon", OLD | {"num_hidden_layers": 2, "num_attention_heads": 4}, "the sampler can't give its layers"),
        ("Mamba", OLD | {"num_hidden_layers": 2, "state_size": 8}, "the sampler fails"),
        ("Lfm2", BASE | {"layer_types": ["conv", "full_attention"]}, "the sampler is"),
    ],
)
def test_an_llm_that_would_say_something_else_here_is_refused_by_its_type(tmp_path, name, settings, path):
    folder, kind = kept(tmp_path, name, settings)
    with pytest.raises(ModelError, match=rf"m: models of type '{kind}' are not supported: {path}"):
        forward.check(folder, "m", kind)


@pytest.mark.parametrize("path", ["DPO's reference", "DPO's policy"])
def test_dpo_is_looked_at_as_well_with_an_adapter_and_without(tmp_path, monkeypatch, path):
    llm, _ = kept(tmp_path, "Llama", BASE)
    real = forward._packed

    def wrong(model, pairs):
        reference, policy = real(model, pairs)
        return (reference + 0.1, policy) if path == "DPO's reference" else (reference, policy + 0.1)

    forward.check(llm, "m", "llama")
    monkeypatch.setattr(forward, "_packed", wrong)
    with pytest.raises(ModelError, match=f"'llama' are not supported: {path} is 0.025 nats per token off"):
        forward.check(llm, "m", "llama")


def test_a_prompt_must_fit_a_window_that_is_not_computed(llama):
    mistral = transformers.MistralForCausalLM(transformers.MistralConfig(**BASE | {"sliding_window": 99}))
    assert context(mistral) == 99
    assert context(llama()) == 256
    qwen = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**BASE | {"sliding_window": 99}))
    assert context(qwen) == 256  # it has the setting and does not use it
