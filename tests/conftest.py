import logging

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(f"{name}.utilities.rank_zero").setLevel(logging.ERROR)
torch.set_num_threads(1)


@pytest.fixture
def llama():
    """A small causal LM with grouped heads; with large weights, so that its distributions are far from flat."""

    def make(attention="sdpa", vocabulary=64):
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            initializer_range=0.3,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
            attn_implementation=attention,
        )
        return LlamaForCausalLM(config).eval()

    return make


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A small repository of its own in an empty folder, for `rlrf4rec compare`."""
    from compared import begin

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    begin(tmp_path)
    return tmp_path
