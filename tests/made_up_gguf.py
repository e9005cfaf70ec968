"""A small GGUF file."""

import string

import gguf
import numpy as np

TOKENS = ["<unk>", "<s>", "</s>", "Ġ", *string.ascii_letters, ":", ".", ",", ";", "-", "_", "ab", "!"]


def written(path, layers=2, more=(), lacks=(), tokenizer=False):
    """A small GGUF file of a Llama of 2 layers, with tensors for `layers` of them; of letters, with `tokenizer`."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(8)
    writer.add_vocab_size(64)
    if tokenizer:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(TOKENS)
        writer.add_token_types([1] * len(TOKENS))
        writer.add_token_merges(["a b"])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
    shapes = {"token_embd": (64, 32), "output_norm": (32,), "rope_freqs": (4,)} | dict.fromkeys(more, (8,))
    wide = {"attn_q": 32, "attn_k": 16, "attn_v": 16, "attn_output": 32, "ffn_gate": 64, "ffn_up": 64}
    for block in range(layers):
        shapes |= {f"blk.{block}.{name}": (rows, 32) for name, rows in wide.items()}
        shapes |= {f"blk.{block}.attn_norm": (32,), f"blk.{block}.ffn_norm": (32,), f"blk.{block}.ffn_down": (32, 64)}
    for name in sorted(set(shapes) - set(lacks)):
        writer.add_tensor(f"{name}.weight", np.full(shapes[name], 0.1, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
