"""Where and how models are loaded: device, four bits, a model's own code, adapters, precision."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from rlrf4rec.alignment.packed import NAME
from rlrf4rec.alignment.policy import check_settings, load_policy_for_training, new_policy, save_adapter
from rlrf4rec.conversion.convert import convert
from rlrf4rec.errors import InputError, RLRFError
from rlrf4rec.llm.models import Place, load_encoder, load_llm, load_policy
from rlrf4rec.llm.tokenizer import load_tokenizer

CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM

with (Path(__file__).parent / "MARKER").open("a") as file:
    file.write("ran")

class OwnConfig(LlamaConfig):
    model_type = "own"

class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture
def folder(llm):
    """The small LLM with a tokenizer, as a folder."""
    return llm


@pytest.fixture
def own_code(folder, monkeypatch, tmp_path):
    """The same LLM as one that brings its own code; the code leaves a mark when it runs."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    (folder / "own.py").write_text(CODE.replace('Path(__file__).parent / "MARKER"', f'Path("{tmp_path}") / "MARKER"'))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "architectures": ["OwnForCausalLM"]}
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnForCausalLM"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_machine_without_a_gpu_runs_on_the_cpu_and_says_what_it_lacks(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Place.of("auto", "none", None) == Place.of("cpu", "none", None) == Place("cpu", False, False)
    with pytest.raises(RLRFError, match=r"llm.device: cuda, but PyTorch finds no GPU"):
        Place.of("cuda", "none", None)
    with pytest.raises(RLRFError, match=r"llm.quantization: 4bit needs a GPU"):
        Place.of("auto", "4bit", None)


def test_four_bits_want_a_gpu_and_bitsandbytes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Place.of("auto", "none", "org/x") == Place("cuda", False, True)
    with pytest.raises(RLRFError, match=r"llm.quantization: 4bit needs a GPU, and the LLM would run on the CPU"):
        Place.of("cpu", "4bit", None)
    monkeypatch.setattr("rlrf4rec.llm.models.find_spec", lambda name: None)
    with pytest.raises(RLRFError, match=r"needs bitsandbytes, which is not installed; .* extra `quantization`"):
        Place.of("auto", "4bit", None)
    monkeypatch.setattr("rlrf4rec.llm.models.find_spec", lambda name: name)
    assert Place.of("auto", "4bit", None).four_bit


def test_four_bits_are_asked_for_as_nf4_and_nothing_is_cast_or_merged(folder, llama, tmp_path, monkeypatch):
    from transformers import AutoModelForCausalLM

    asked, real = {}, AutoModelForCausalLM.from_pretrained

    def load(path, **options):
        asked.update(options)
        return real(path, **{k: v for k, v in options.items() if k not in ("quantization_config", "device_map")})

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", load)
    four = Place("cpu", True, False)  # as if a CPU could: what is asked for is looked at, and the adapter's place
    save_adapter(new_policy(llama(), 4, 8, 0.0, 0), folder, tmp_path / "adapter")
    model = load_policy(folder, tmp_path / "adapter", torch.bfloat16, "sdpa", four)
    assert asked["quantization_config"].bnb_4bit_quant_type == "nf4"
    assert asked["quantization_config"].bnb_4bit_compute_dtype == torch.bfloat16
    assert asked["dtype"] == torch.bfloat16
    assert asked["device_map"] == {"": "cpu"}
    assert any("lora_A" in name for name, _ in model.named_parameters())  # beside the weights, not merged
    assert model.base_model is model.model  # what the sampler calls


def test_a_model_s_own_code_does_not_run_unless_it_is_trusted(own_code, tmp_path):
    marker = tmp_path / "MARKER"
    for load in (
        lambda: load_llm(own_code, torch.float32),
        lambda: convert(own_code, tmp_path / "out", torch.float32, True),
        lambda: convert(own_code, tmp_path / "out", torch.float32, False),
    ):
        with pytest.raises(RLRFError, match=r"brings its own code, which is not run; .*llm.trust_remote_code"):
            load()
    assert not marker.exists()
    convert(own_code, tmp_path / "out", torch.float32, True, trusted=True)
    assert marker.exists()
    assert (tmp_path / "out" / "own.py").is_file()  # what is kept can be loaded without the source
    shutil.rmtree(own_code)
    with pytest.raises(RLRFError, match="brings its own code"):
        load_llm(tmp_path / "out", torch.float32)
    model = load_llm(tmp_path / "out", torch.float32, "sdpa", Place(trusted=True))
    assert type(model).__name__ == "OwnForCausalLM"


def test_code_that_lies_in_another_repository_is_refused(own_code, tmp_path):
    config = json.loads((own_code / "config.json").read_text())
    config["auto_map"]["AutoModelForCausalLM"] = "someone/else--own.OwnForCausalLM"
    (own_code / "config.json").write_text(json.dumps(config))
    with pytest.raises(RLRFError, match=r"its code lies in another repository \(someone/else\)"):
        convert(own_code, tmp_path / "out", torch.float32, True, trusted=True)


def test_weights_that_are_pickles_are_refused_by_name(folder, tmp_path):
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(RLRFError, match=r"llm: only pytorch_model.bin, a pickle, .*take a model whose weights are"):
        convert(folder, tmp_path / "out", torch.float32, True)
    with pytest.raises(RLRFError, match="no causal language model"):
        load_llm(folder, torch.float32)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(RLRFError, match="llm: no weights"):
        convert(folder, tmp_path / "out", torch.float32, True)


def test_a_damaged_weight_file_is_an_error_of_ours(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(RLRFError, match="no causal language model"):
        load_llm(folder, torch.float32)


def test_an_adapter_is_never_read_from_a_pickle(folder, llama, tmp_path):
    adapter = tmp_path / "adapter"
    save_adapter(new_policy(llama(NAME), 4, 8, 0.0, 0), folder, adapter)
    torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    for load in (
        lambda: load_policy(folder, adapter, torch.float32),
        lambda: load_policy_for_training(llama(), adapter),
    ):
        with pytest.raises(RLRFError, match=r"adapter_model.safetensors: missing; .*never from a pickle"):
            load()
    with pytest.raises(RLRFError, match="elsewhere: missing; run its stage"):
        load_policy(folder, tmp_path / "elsewhere", torch.float32)


def test_an_adapter_sits_on_the_layers_that_are_named(llama):
    def layers(policy):
        return {name.split(".")[-4] for name, p in policy.named_parameters() if p.requires_grad}

    assert layers(new_policy(llama(), 4, 8, 0.0, 0, ["q_proj", "v_proj"])) == {"q_proj", "v_proj"}
    linear = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert layers(new_policy(llama(), 4, 8, 0.0, 0)) == linear
    for name in ("w_pack", "lm_head", "embed_tokens"):
        with pytest.raises(RLRFError, match=rf"dpo.lora_target: '{name}' is no linear layer .* it has down_proj, gate"):
            new_policy(llama(), 4, 8, 0.0, 0, ["q_proj", name])


def test_an_adapter_that_was_made_with_other_settings_is_not_tuned_on(folder, llama, tmp_path):
    """From the second round on the adapter brings its own rank: the params must not say another one."""
    save_adapter(new_policy(llama(), 4, 8, 0.1, 0), folder, tmp_path / "round1")
    tuned = load_policy_for_training(llama(), tmp_path / "round1")
    check_settings(tuned, tmp_path / "round1", 4, 8, 0.1)
    for name, settings in (("rank", (8, 8, 0.1)), ("alpha", (4, 16, 0.1)), ("dropout", (4, 8, 0.0))):
        with pytest.raises(RLRFError, match=rf"dpo.lora_{name}: .*round1, was made with"):
            check_settings(tuned, tmp_path / "round1", *settings)


def test_an_adapter_on_named_layers_is_saved_in_the_same_format(llama, folder, tmp_path):
    save_adapter(new_policy(llama(), 4, 8, 0.0, 0, ["v_proj", "q_proj"]), folder, tmp_path / "adapter")
    assert json.loads((tmp_path / "adapter/adapter_config.json").read_text())["target_modules"] == ["q_proj", "v_proj"]
    load_policy(folder, tmp_path / "adapter", torch.float32)


def test_in_bfloat16_the_positions_stay_exact(folder, llama, tmp_path):
    """A rotary frequency that is rounded to bfloat16 turns far positions by a wrong angle."""
    whole = llama().model.rotary_emb.inv_freq
    save_adapter(new_policy(llama(), 4, 8, 0.0, 0), folder, tmp_path / "adapter")
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "no_adapter.json").write_text("{}")
    for adapter in (tmp_path / "adapter", tmp_path / "base"):
        model = load_policy(folder, adapter, torch.bfloat16)
        assert model.dtype == torch.bfloat16
        assert all(p.dtype == torch.bfloat16 for p in model.parameters())
        assert torch.equal(model.model.rotary_emb.inv_freq, whole)


def test_a_missing_tokenizer_is_named(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RLRFError, match=r"(?s)empty: no tokenizer: .*fetch_models"):
        load_tokenizer(tmp_path / "empty")


LAYER = "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight"
BEYOND = "base_model.model.model.layers.2.mlp.up_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: {name: value for name, value in t.items() if name != LAYER}, rf"it lacks '{LAYER}' \(of 1\)"),
        (lambda t: t | {BEYOND: t[LAYER].clone()}, rf"the LLM has no place for '{BEYOND}' \(of 1\)"),
        (
            lambda t: {f"module.{name}": value for name, value in t.items()},
            "it lacks .*, the LLM has no place for 'mod",
        ),
        (lambda t: t | {LAYER: torch.zeros(4, 31)}, "no adapter of this LLM: .*size mismatch"),
        (
            lambda t: t | {LAYER: t[LAYER] * torch.nan},
            rf"its weights '{LAYER}' are not finite, .* has diverged",
        ),
    ],
)
def test_an_adapter_that_is_not_whole_is_refused_wherever_one_is_read(folder, llama, tmp_path, change, said):
    adapter = tmp_path / "adapter"
    save_adapter(new_policy(llama(), 4, 8, 0.0, 0), folder, adapter)
    path = adapter / "adapter_model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})
    for load in (
        lambda: load_policy(folder, adapter, torch.float32),
        lambda: load_policy_for_training(llama(), adapter),
    ):
        with pytest.raises(InputError, match=f"(?s)adapter.*: .*{said}.*; run the stage"):
            load()


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_a_model_with_a_weight_that_is_no_number_is_refused_wherever_one_is_read(folder, tmp_path, value):
    small = BertConfig(vocab_size=16, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    encoder = tmp_path / "encoder"
    BertModel(small).save_pretrained(encoder)
    for place, name, load in (
        (folder, "model.norm.weight", lambda: load_llm(folder, torch.bfloat16)),
        (encoder, "embeddings.LayerNorm.weight", lambda: load_encoder(encoder)),
    ):
        load()
        tensors = load_file(place / "model.safetensors")
        tensors[name][3] = value
        save_file(tensors, place / "model.safetensors", {"format": "pt"})
        with pytest.raises(InputError, match=f"{place.name}: .*'{name}' are not finite .*run `dvc repro fetch_models`"):
            load()


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_tokenizer_of_another_kind_of_json_is_refused(tmp_path, name):
    (tmp_path / name).write_text("[1]")
    with pytest.raises(InputError, match=rf"{name}: expected a JSON object, found list"):
        load_tokenizer(tmp_path)
