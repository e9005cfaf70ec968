"""What a model must be to be kept: whole, and one whose next tokens or vectors are here what they are by itself."""

import shutil

import polars as pl
import pytest
import torch
import transformers
from good_tables import rows
from made_up_gguf import written
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, RobertaConfig, RobertaModel
from words import words

from rlrf4rec import paths, store
from rlrf4rec.conversion.convert import convert
from rlrf4rec.encoding.encoder import Encoder, cut, encode_texts, positions, reach
from rlrf4rec.errors import InputError, ModelError
from rlrf4rec.files import sha256
from rlrf4rec.llm.models import load_encoder, load_llm
from rlrf4rec.llm.tokenizer import closes
from rlrf4rec.params import Encode, FetchModels, Llm, Model
from rlrf4rec.stages import encode, fetch_models
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.texts import ITEM_TEXTS

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def reweigh(folder, change):
    """Change the tensors of a model folder in place."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


def without(name):
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t: {f"module.{k}": v for k, v in t.items()},
            r"it lacks 'lm_head.weight' \(of 21\), it has 'module.lm_",
        ),
        (without("model.norm.weight"), r"LlamaForCausalLM: it lacks 'model.norm.weight' \(of 1\)"),
        (lambda t: t | {"v_head.weight": torch.zeros(1, 32)}, r"it has 'v_head.weight' \(of 1\)"),
        (lambda t: t | {"model.norm.weight": torch.ones(31)}, r"'model.norm.weight' has the shape \(31,\) for \(32,\)"),
    ],
)
def test_an_llm_whose_weights_are_not_whole_is_refused_and_nothing_is_drawn_or_dropped(llm, tmp_path, change, words):
    reweigh(llm, change)
    with pytest.raises(ModelError, match=words):
        convert(llm, tmp_path / "out", torch.float32, True)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=words):
        load_llm(llm, torch.float32)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lacks": ["blk.1.ffn_up"]}, "it lacks 'model.layers.1.mlp.up_proj.weight'"),
        ({"layers": 3}, "it has 'blk.2.attn_k.weight', 9280 numbers in all that have no place in it"),
        ({"more": ["blk.1.odd"]}, "it has 'blk.1.odd.weight', 8 numbers in all"),
    ],
)
def test_a_gguf_file_is_read_whole_or_not_at_all(tmp_path, monkeypatch, change, said):
    tokenizer = words(tmp_path / "words")
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *given, **options: tokenizer)
    written(tmp_path / "x.gguf")
    convert(tmp_path, tmp_path / "out", torch.float32, True, "x.gguf")
    written(tmp_path / "y.gguf", **change)
    with pytest.raises(ModelError, match=f"y.gguf: .* not those of a LlamaForCausalLM: {said}"):
        convert(tmp_path, tmp_path / "two", torch.float32, True, "y.gguf")
    assert not (tmp_path / "two").exists()


def test_a_tied_head_need_not_be_there(llama, tmp_path):
    config = llama().config
    config.tie_word_embeddings = True
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "tied")
    assert "lm_head.weight" not in load_file(tmp_path / "tied" / "model.safetensors")
    model = load_llm(tmp_path / "tied", torch.float32)
    assert torch.equal(model.lm_head.weight, model.model.embed_tokens.weight)
    config.tie_word_embeddings = False
    config.save_pretrained(tmp_path / "tied")
    with pytest.raises(InputError, match=r"it lacks 'lm_head\.weight'"):
        load_llm(tmp_path / "tied", torch.float32)


def test_an_encoder_keeps_its_body_alone_and_nothing_of_that_may_lack(tmp_path):
    """The pooler and the head of another task have no part in its vectors."""
    config = BertConfig(vocab_size=64, **SMALL)
    BertForMaskedLM(config).save_pretrained(tmp_path / "bert")  # has no pooler
    words(tmp_path / "bert")
    for name in ("one", "two"):
        convert(tmp_path / "bert", tmp_path / name, torch.float32, False)
    given, one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("bert", "one", "two"))
    assert set(one) == set(two) == {name.removeprefix("bert.") for name in given if name.startswith("bert.")}
    assert all(
        torch.equal(value, two[name]) and torch.equal(value, given[f"bert.{name}"]) for name, value in one.items()
    )
    assert load_encoder(tmp_path / "one").pooler is None
    layer = "encoder.layer.0.output.dense.weight"
    for name, change, said in (
        ("bert", without(f"bert.{layer}"), f"it lacks '{layer}'"),
        ("bert", lambda t: t | {"bert.encoder.layer.1.output.dense.weight": torch.zeros(16, 16)}, "layer.1.output"),
        ("one", without(layer), f"it lacks '{layer}'"),
        ("one", lambda t: t | {"more.weight": torch.zeros(2)}, "it has 'more.weight'"),
    ):
        shutil.rmtree(tmp_path / "broken", ignore_errors=True)
        shutil.copytree(tmp_path / name, tmp_path / "broken")
        reweigh(tmp_path / "broken", change)
        with pytest.raises(ModelError, match=said):
            convert(tmp_path / "broken", tmp_path / "out", torch.float32, False)


def test_a_tokenizer_that_closes_prompts_is_refused(llm, tmp_path):
    assert not closes(words(tmp_path / "open"))
    assert closes(words(llm, closed=True))
    with pytest.raises(ModelError, match=r"llm: its tokenizer closes every prompt with 'w2', .*post_processor"):
        convert(llm, tmp_path / "out", torch.float32, True)
    assert not (tmp_path / "out").exists()


def test_what_can_encode_no_texts_is_refused(encoder, llm, tmp_path):
    words(encoder, pad_token=None)
    with pytest.raises(ModelError, match="encoder: its tokenizer has no pad token"):
        convert(encoder, tmp_path / "one", torch.float32, False)
    t5 = transformers.T5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    for kind, said in ((transformers.T5Model, "an encoder-decoder model"), (transformers.T5EncoderModel, "it lacks")):
        shutil.rmtree(tmp_path / "t5", ignore_errors=True)
        kind(t5).save_pretrained(tmp_path / "t5")
        words(tmp_path / "t5")
        with pytest.raises(ModelError, match=f"t5: .*{said}"):
            convert(tmp_path / "t5", tmp_path / "two", torch.float32, False)
    for weight, said in ((torch.nan, "its weights 'embed_tokens.weight' are not finite"), (3e38, "its vectors are no")):
        reweigh(llm, lambda tensors, weight=weight: {name: torch.full_like(t, weight) for name, t in tensors.items()})
        transformers.LlamaModel.from_pretrained(llm).save_pretrained(tmp_path / "odd")
        words(tmp_path / "odd")
        with pytest.raises(ModelError, match=f"odd: .*{said}"):
            convert(tmp_path / "odd", tmp_path / "three", torch.float32, False)


def test_a_text_is_cut_where_the_encoder_has_no_more_positions(encoder, tmp_path):
    """RoBERTa's first position stands behind that of padding: of 24 it has 22 for a text."""
    roberta = RobertaConfig(vocab_size=64, max_position_embeddings=24, pad_token_id=1, **SMALL)
    RobertaModel(roberta).save_pretrained(tmp_path / "roberta")
    words(tmp_path / "roberta", pad_token="w1")
    for folder, size in ((encoder, 24), (tmp_path / "roberta", 22)):
        convert(folder, tmp_path / "kept", torch.float32, False)
        model, tokenizer = load_encoder(tmp_path / "kept"), words(tmp_path / "kept", pad_token="w1")
        assert positions(model) == size
        assert (reach(model, tokenizer, 128), reach(model, tokenizer, 9)) == (size, 9)
        texts = [" ".join(["w5", "w6"] * n) for n in (1, 11, 12, 50)]
        assert cut(tokenizer, texts, size) == sum(2 * n > size for n in (1, 11, 12, 50))
        one, two = (encode_texts(model, tokenizer, texts, limit, 4, "test", None) for limit in (128, size))
        assert torch.equal(one, two)
        with pytest.raises((IndexError, RuntimeError)):  # what would be without
            model(torch.full((1, size + 1), 5))


def test_the_stage_says_how_many_texts_it_cut(encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    convert(encoder, paths.ENCODER, torch.float32, False)
    ITEMS.write(rows({"item": "1"}, {"item": "2"}, title="Heat", year=1995, genres=""), paths.ITEMS)
    texts = rows({"item": "1", "text": "w5 " * 24}, {"item": "2", "text": "w5 " * 25}, sample=0)
    ITEM_TEXTS.write(texts.select("item", "sample", "text"), paths.texts("items"))
    wrote = f"wrote {paths.vectors('items')}, 2 texts"
    for limit, said in ((128, "1 of them cut at 24"), (9, "2 of them cut at 9")):
        done = encode.run(Encode(prompt=None, max_tokens=limit, batch=2), "items")
        assert done == f"{wrote}, {said} tokens, of 2 of 2 items"
    texts = texts.with_columns(text=pl.lit("w5"))
    ITEM_TEXTS.write(texts.select("item", "sample", "text"), paths.texts("items"))
    assert encode.run(Encode(prompt=None, max_tokens=128, batch=2), "items") == f"{wrote} of 2 of 2 items"


def test_a_killed_encoding_goes_on_with_the_batches_that_are_missing(encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rlrf4rec.store.EVERY", 0.0)
    convert(encoder, paths.ENCODER, torch.float32, False)
    items = [str(number) for number in range(1, 7)]
    ITEMS.write(rows(*({"item": item} for item in items), title="Heat", year=1995, genres=""), paths.ITEMS)
    texts = rows(*({"item": item, "text": "w5 w9 " * int(item)} for item in items), sample=0)
    ITEM_TEXTS.write(texts.select("item", "sample", "text"), paths.texts("items"))
    settings, encoded, real = Encode(prompt=None, max_tokens=128, batch=2), [], Encoder.encode
    encode.run(settings, "items")
    whole = paths.vectors("items").read_bytes()
    paths.vectors("items").unlink()
    store.clean(0)

    def counted(self, batch, last=9):
        if len(encoded) == last:
            raise KeyboardInterrupt
        encoded.append(len(batch))
        return real(self, batch)

    monkeypatch.setattr(Encoder, "encode", lambda self, batch: counted(self, batch, 1))
    with pytest.raises(KeyboardInterrupt):
        encode.run(settings, "items")
    assert not paths.vectors("items").exists()
    monkeypatch.setattr(Encoder, "encode", counted)
    encode.run(settings, "items")
    assert encoded == [2, 2, 2]  # six texts, none of them twice
    assert paths.vectors("items").read_bytes() == whole


def test_nothing_is_written_unless_both_models_can_serve(llm, encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run():
        given = {"source": "folder", "path": "", "revision": None, "sha256": None}
        params = FetchModels(llm=Model(name=str(llm), **given), encoder=Model(name=str(encoder), **given))
        return fetch_models.run(params, Llm(device="cpu", quantization="none", trust_remote_code=None))

    words(encoder, pad_token=None)
    with pytest.raises(ModelError, match="no pad token"):
        run()
    assert not [path for path in (tmp_path / "models").rglob("*") if path.is_file()]
    words(encoder)
    assert run() == (
        f"wrote {paths.LLM} and {paths.ENCODER}; SHA-256 of what was fetched: "
        f"llm {sha256(llm)}, encoder {sha256(encoder)}"
    )
    made = {path.name for path in paths.LLM.parent.iterdir()}
    assert made == {"llm", "encoder"}
