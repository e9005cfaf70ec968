import logging
import shutil
import signal
import threading
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rlrf4rec import machine

for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(f"{name}.utilities.rank_zero").setLevel(logging.ERROR)
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread_is_left():
    """A test that leaves another number behind makes those after it go other ways."""
    yield
    left = torch.get_num_threads()
    torch.set_num_threads(1)
    assert left == 1


@pytest.fixture(params=[1, 2])
def threads(request):
    """This process has so many threads."""
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def state(tmp_path_factory, monkeypatch):
    """The store of a test is its own."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("DVC_ROOT", str(folder))
    monkeypatch.delenv("COLUMNS", raising=False)  # set in pytest's own processes; what is printed goes by it
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # given back: a stopped command silences it
    return folder


@pytest.fixture(params=["float32", "bfloat16"])
def arithmetic(request):
    """Each arithmetic that this machine has in hardware."""
    if request.param == "bfloat16" and not machine.bfloat16_in_hardware("cpu"):
        pytest.skip("this machine only emulates bfloat16")
    return request.param


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
def llm(llama, tmp_path):
    """The small LLM with a tokenizer, as a folder."""
    from words import words

    llama().save_pretrained(tmp_path / "llm")
    words(tmp_path / "llm")
    return tmp_path / "llm"


@pytest.fixture
def encoder(tmp_path):
    """A small text encoder of 24 positions with a tokenizer, as a folder."""
    from transformers import BertConfig, BertModel
    from words import words

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=64, max_position_embeddings=24, **sizes)).save_pretrained(tmp_path / "encoder")
    words(tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A small repository of its own in an empty folder, for `rlrf4rec compare`."""
    from compared import begin

    monkeypatch.chdir(tmp_path)
    begin(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def prepared_run(tmp_path_factory):
    """A tiny repository with a committed run, for `rlrf4rec reproduce`."""
    from again import prepare

    folder = tmp_path_factory.mktemp("prepared")
    prepare(folder)
    return folder


@pytest.fixture
def reproduce(prepared_run, tmp_path, monkeypatch):
    """`rlrf4rec reproduce` in a copy of it."""
    from again import in_copy

    return in_copy(prepared_run, tmp_path, monkeypatch)


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """`rlrf4rec interactions` in an empty folder with the committed params and a body of the test's own."""
    from rlrf4rec.cli import main
    from rlrf4rec.stages import interactions

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr("sys.argv", ["rlrf4rec", "interactions"])
    shutil.copy(Path(__file__).parent.parent / "params.yaml", tmp_path)
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}

    def call(body):
        monkeypatch.setattr(interactions, "run", lambda interactions: body())
        return main()

    yield call
    for each, handler in handlers.items():
        signal.signal(each, handler)
