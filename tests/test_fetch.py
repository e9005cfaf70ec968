"""Every source that can stand in the place of the default wheels."""

import hashlib
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rlrf4rec.conversion.convert import convert
from rlrf4rec.errors import FetchError, ModelError, RLRFError
from rlrf4rec.files import read_json, sha256
from rlrf4rec.llm.models import load_llm
from rlrf4rec.params import FetchDataset, FetchModels, Llm, Model
from rlrf4rec.stages import fetch_dataset, fetch_models
from rlrf4rec.stages.fetch_models import _source

COMMIT = "c0ffee" + 34 * "0"


def model(source, name, path="", revision=None, sha256=None):
    return Model(source=source, name=str(name), path=path, revision=revision, sha256=sha256)


def test_a_folder_and_a_gguf_file_are_taken_where_they_lie(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "x.gguf").write_bytes(b"GGUF")
    assert _source(model("folder", tmp_path / "m"), tmp_path, "k")[:2] == (tmp_path / "m", None)
    assert _source(model("folder", tmp_path, "m"), tmp_path, "k")[:2] == (tmp_path / "m", None)


def test_of_a_gguf_file_nothing_beside_it_is_read(tmp_path):
    """A tokenizer's files there would decide, and neither the hash nor what DVC watches has them."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "x.gguf").write_bytes(b"GGUF")
    (tmp_path / "m" / "tokenizer_config.json").write_text("{}")
    (tmp_path / "t").mkdir()
    folder, name, found = _source(model("gguf", tmp_path / "m" / "x.gguf"), tmp_path / "t", "k")
    assert (folder.name, name, found) == ("m", "x.gguf", sha256(tmp_path / "m" / "x.gguf"))
    assert [(p.name, p.read_bytes()) for p in folder.iterdir()] == [("x.gguf", b"GGUF")]


def test_a_missing_or_strange_path_is_named(tmp_path):
    with pytest.raises(RLRFError, match="does not exist"):
        _source(model("folder", tmp_path / "none"), tmp_path, "fetch_models.llm")
    (tmp_path / "x.bin").write_bytes(b"x")
    with pytest.raises(RLRFError, match=r"neither a model folder nor a \.gguf file"):
        _source(model("gguf", tmp_path / "x.bin"), tmp_path, "k")
    with pytest.raises(RLRFError, match="SHA-256"):
        _source(model("gguf", tmp_path / "x.bin", sha256="0" * 64), tmp_path, "k")


def test_a_hub_id_is_asked_for_with_its_revision_and_a_failure_is_one_line(tmp_path, monkeypatch):
    import huggingface_hub

    asked = {}

    def snapshot(name, **options):
        asked.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert _source(model("hub", "org/model", revision=COMMIT), tmp_path, "k")[:2] == (tmp_path, None)
    assert asked["name"] == "org/model"
    assert asked["revision"] == COMMIT
    assert asked["allow_patterns"] == ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]  # no pickle, no code
    assert "consolidated*" in asked["ignore_patterns"]
    _source(model("hub", "org/model", revision=COMMIT), tmp_path, "k", trusted=True)
    assert asked["allow_patterns"][-1] == "*.py"
    (tmp_path / "x.Q4.gguf").write_bytes(b"GGUF")
    source = _source(model("hub", "org/model", "x.Q4.gguf", COMMIT), tmp_path, "k")
    assert source[:2] == (tmp_path, "x.Q4.gguf")
    assert asked["allow_patterns"] == ["x.Q4.gguf"]
    with pytest.raises(RLRFError, match=r"k.path: 'sub' is not in org/model at c0ffee"):
        _source(model("hub", "org/model", "sub", COMMIT), tmp_path, "k")

    def fails(name, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(RLRFError, match=r"could not get org/model at c0ffee\d+ from the hub: no route to host"):
        _source(model("hub", "org/model", revision=COMMIT), tmp_path, "k")


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the hub: what it gives, and the notes that its library leaves beside it, with the time."""
    import huggingface_hub

    def snapshot(name, local_dir, **options):
        notes = Path(local_dir) / ".cache" / "huggingface" / "download" / "config.json.metadata"
        notes.parent.mkdir(parents=True)
        notes.write_text(str(time.time_ns()))
        for file in ("config.json", "x.inter"):
            (Path(local_dir) / file).write_text("{}")
        return str(local_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)


# Of the names and hashes of what the stand-in gives, as `files.sha256` has it for a folder.
EMPTY = hashlib.sha256(b"{}").hexdigest()
GIVEN = hashlib.sha256(f"config.json {EMPTY}\nx.inter {EMPTY}\n".encode()).hexdigest()


def test_what_the_hub_gave_has_its_hash_checked_before_it_is_used(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t").mkdir()
    right = model("hub", "org/model", revision=COMMIT, sha256=GIVEN)
    assert _source(right, tmp_path / "t", "k") == (tmp_path / "t", None, GIVEN)
    monkeypatch.setattr(fetch_models, "convert", lambda *_: pytest.fail("it was read"))
    wrong = right.model_copy(update={"sha256": "0" * 64})
    llm = Llm(device="cpu", quantization="none", trust_remote_code=None)
    with pytest.raises(FetchError, match=rf"SHA-256 is {GIVEN}, but fetch_models.llm.sha256 says {'0' * 64}"):
        fetch_models.run(FetchModels(llm=wrong, encoder=right), llm)
    assert not [path for path in (tmp_path / "models").rglob("*") if path.is_file()]


def test_a_data_set_of_the_hub_with_another_hash_leaves_the_former_one(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = FetchDataset(source="hf", name="org/shop", path="", revision=COMMIT, sha256=GIVEN)
    fetch_dataset.run(params)
    assert read_json(Path("metrics/fetch_dataset.json"))["source_sha256"] == GIVEN
    before = sorted(path for path in Path("data").rglob("*"))
    with pytest.raises(FetchError, match=rf"SHA-256 is {GIVEN}, but fetch_dataset.sha256 says {'0' * 64}"):
        fetch_dataset.run(params.model_copy(update={"sha256": "0" * 64}))
    assert sorted(path for path in Path("data").rglob("*")) == before


def test_a_broken_model_folder_is_an_error_of_ours(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(RLRFError, match="not a model that transformers can read"):
        convert(tmp_path, tmp_path / "out", torch.float32, True)
    with pytest.raises(RLRFError, match="no causal language model"):
        load_llm(tmp_path, torch.float32)


def test_a_model_is_written_as_safetensors_without_generation_defaults(llama, tmp_path, monkeypatch):
    from transformers import AutoTokenizer

    class Tokenizer:
        def encode(self, text, add_special_tokens=True):
            return [1] * add_special_tokens + [5, 6]

        def save_pretrained(self, target):
            (target / "tokenizer.json").write_text("{}")

    llama().save_pretrained(tmp_path / "in")
    (tmp_path / "in" / "generation_config.json").write_text('{"temperature": 0.2, "do_sample": true}')
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *a, **k: Tokenizer())
    convert(tmp_path / "in", tmp_path / "out", torch.bfloat16, True)
    assert load_file(tmp_path / "out" / "model.safetensors")["model.norm.weight"].dtype == torch.bfloat16
    assert not (tmp_path / "out" / "generation_config.json").exists()


def test_a_dataset_folder_is_copied_and_a_missing_one_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for name in ("x.inter", "x.item", "notes.md"):
        (tmp_path / "mine" / name).write_text(name)
    params = FetchDataset(source="folder", name="mine", path="", revision=None, sha256=None)
    fetch_dataset.run(params)
    assert sorted(p.name for p in (tmp_path / "data/raw/dataset").iterdir()) == ["x.inter", "x.item"]
    with pytest.raises(RLRFError, match="other does not exist"):
        fetch_dataset.run(params.model_copy(update={"name": "other"}))


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + 64 * "a" + "\nsize 538090408\n"


@pytest.mark.parametrize(
    ("files", "gguf", "said"),
    [
        ({"config.json": "{}", "model.safetensors": POINTER}, None, "m: model.safetensors is a pointer of Git LFS, .*"),
        ({"x.gguf": POINTER}, "x.gguf", r"m/x.gguf: x.gguf is a pointer of Git LFS, .* run `git lfs pull`"),
        ({"config.json": "{}", "1_Pooling/config.json": POINTER}, None, "m: 1_Pooling/config.json is a pointer"),
        (
            {"adapter_config.json": "{}", "adapter_model.safetensors": ""},
            None,
            "m: an adapter alone .* give a whole model: merge the adapter into its base",
        ),
        (
            {"adapter_config.json": "{}", "config.json": "{}", "model.safetensors": ""},
            None,
            "m: adapter_config.json beside config.json: .* take adapter_config.json out; else merge it",
        ),
    ],
)
@pytest.mark.parametrize("causal", [True, False])
def test_a_pointer_of_git_lfs_and_an_adapter_are_no_models(tmp_path, files, gguf, said, causal):
    for name, text in files.items():
        path = tmp_path / "m" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with pytest.raises(ModelError, match=said):
        convert(tmp_path / "m", tmp_path / "out", torch.float32, causal, gguf)
    assert not (tmp_path / "out").exists()
