"""Damaged GGUF files: each ends in our own error, within a memory and a time that a small file may take."""

import pytest
from made_up_gguf import TOKENS

from rlrf4rec.errors import ModelError

from .exploring import ANY, ONE, earlier, edits, explored
from .fuzz_gguf import limited, made
from .fuzz_readers import edited

MADE, LEAST = 300, 200  # inputs, and how many of them have to be refused


@pytest.fixture
def model(tmp_path):
    """The header of a good file, what follows it, and a reader of the two."""
    return made(tmp_path)


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_damaged_header_is_an_error_of_ours(model, tmp_path):
    header, _, read = model
    read(header)
    with limited():
        found = explored(
            (MADE, LEAST), edits(ANY | ONE), lambda given: read(edited(header, given)), earlier(tmp_path / "earlier")
        )
    assert found


def test_a_file_that_is_cut_short_is_refused_and_nothing_is_written(model, tmp_path):
    """As half of a copy is. The last bytes of all are those of a tensor."""
    header, data, read = model
    for end in (0, 3, 8, 20, len(header) // 2, len(header) - 40):
        with pytest.raises(ModelError, match=r"x\.gguf: not a model that transformers can read"):
            read(header[:end], b"")
    for end in (0, 100, len(data) // 2, len(data) - 1):
        with pytest.raises(ModelError, match=r"x\.gguf: not a model that transformers can read"):
            read(header, data[:end])
    assert not (tmp_path / "out").exists()


def test_a_length_that_the_file_has_not_is_told_at_once(model):
    """The library would read that many numbers, from beyond the end of the file."""
    header, _, read = model
    count = len(TOKENS).to_bytes(8, "little")
    at = header.index(b"tokenizer.ggml.token_type") + len(b"tokenizer.ggml.token_type") + 8
    assert header[at : at + 8] == count
    with pytest.raises(ModelError, match="more follows than the file has"):
        read(header[:at] + (1 << 40).to_bytes(8, "little") + header[at + 8 :])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("llama.block_count", 1 << 30, "asks for 1073741824 layers, but has"),
        ("llama.embedding_length", 1 << 20, "asks for a model of"),
        ("llama.feed_forward_length", 1 << 28, "asks for a model of"),
    ],
)
def test_a_model_larger_than_its_weights_is_refused_before_it_is_made(model, key, value, said):
    header, _, read = model
    at = header.index(key.encode()) + len(key) + 4
    with limited(), pytest.raises(ModelError, match=said):
        read(header[:at] + value.to_bytes(4, "little") + header[at + 4 :])
