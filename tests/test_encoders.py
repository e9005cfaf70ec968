"""A sentence encoder's folder says how a vector is made: that is what is made, or it is refused by name."""

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import save_file
from words import words

from rlrf4rec.capacity import encoder_width
from rlrf4rec.conversion.convert import convert
from rlrf4rec.encoding.encoder import cut, encode_texts, reach
from rlrf4rec.encoding.making import load_making
from rlrf4rec.errors import InputError, ModelError, ParamsError
from rlrf4rec.files import contents
from rlrf4rec.llm.models import load_encoder
from rlrf4rec.llm.tokenizer import load_tokenizer

TEXTS = ["w5 w6 w7", "w8", "w9 w10 w11 w12 w13 w14"]
CLS = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
MEAN = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
PACKAGE = "sentence_transformers.models"
IDENTITY = "torch.nn.modules.linear.Identity"


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def asks(folder, pooling, *more, **said):
    """Let an encoder folder say how sentence-transformers would make its vectors. said: of its prompts."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), *more, ("9_Normalize", "Normalize")]
    entries = [
        {
            "idx": i,
            "name": str(i),
            "path": path,
            "type": kind if "." in kind else f"{PACKAGE}.{kind}",
        }
        for i, (path, kind) in enumerate(modules)
    ]
    write(folder / "modules.json", entries)
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 16, **pooling})
    if said:
        write(folder / "config_sentence_transformers.json", said)


def dense(folder, **changes):
    """A Dense layer from 16 to 3 numbers; returns its weights and its bias."""
    torch.manual_seed(1)
    weight, bias = torch.randn(3, 16), torch.randn(3)
    config = {"in_features": 16, "out_features": 3, "bias": True, "activation_function": IDENTITY, **changes}
    write(folder / "2_Dense" / "config.json", config)
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / "2_Dense" / "model.safetensors")
    return weight, bias


def kept(folder, tmp_path):
    """The folder as fetch_models keeps it."""
    shutil.rmtree(tmp_path / "kept", ignore_errors=True)
    (tmp_path / "kept").mkdir()
    convert(folder, tmp_path / "kept", torch.float32, False)
    return tmp_path / "kept"


def vectors(folder, prompt=None, max_tokens=128, texts=TEXTS, batch=2):
    model, tokenizer = load_encoder(folder), load_tokenizer(folder)
    making = load_making(folder, tokenizer, prompt)
    return encode_texts(model, tokenizer, texts, max_tokens, batch, "test", None, making)


def hidden(folder, text):
    """Hidden states of a text alone, [tokens, hidden]."""
    tokens = load_tokenizer(folder)([text], return_tensors="pt")
    with torch.no_grad():
        return load_encoder(folder)(**tokens).last_hidden_state[0]


def close(found, rows):
    """Whether the vectors are these, scaled to length 1."""
    return torch.allclose(found, torch.nn.functional.normalize(torch.stack(rows), dim=-1), atol=1e-6)


@pytest.mark.parametrize(
    ("pooling", "of"),
    [
        (CLS, lambda h: h[0]),
        ({"pooling_mode": "cls"}, lambda h: h[0]),
        ({"pooling_mode": "lasttoken"}, lambda h: h[-1]),
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False}, lambda h: h.amax(dim=0)),
        (MEAN | {"pooling_mode_max_tokens": True}, lambda h: torch.cat([h.amax(dim=0), h.mean(dim=0)])),
    ],
)
def test_a_pooling_that_is_not_the_mean_is_made_as_the_folder_says(encoder, tmp_path, pooling, of):
    asks(encoder, pooling)
    found = kept(encoder, tmp_path)
    made = vectors(found)
    assert close(made, [of(hidden(encoder, text)) for text in TEXTS])
    assert not close(made[:, :16], [hidden(encoder, text).mean(dim=0) for text in TEXTS])
    assert encoder_width(found) == made.shape[1]


def test_a_pooling_counts_without_a_list_of_modules(encoder, tmp_path):
    asks(encoder, CLS)
    (encoder / "modules.json").unlink()
    assert close(vectors(kept(encoder, tmp_path)), [hidden(encoder, text)[0] for text in TEXTS])


@pytest.mark.parametrize("pooling", [MEAN, {"pooling_mode": "mean"}, {}])
def test_of_an_encoder_with_the_mean_nothing_is_kept_but_its_weights_and_its_tokenizer(
    encoder, tmp_path, monkeypatch, pooling
):
    """Nor is the library imported, which takes long."""
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    plain = contents(kept(encoder, tmp_path))
    asks(encoder, pooling)
    assert contents(kept(encoder, tmp_path)) == plain
    assert set(plain) == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert close(vectors(tmp_path / "kept"), [hidden(encoder, text).mean(dim=0) for text in TEXTS])


def test_a_dense_layer_follows_the_pooling(encoder, tmp_path):
    asks(encoder, MEAN, ("2_Dense", "Dense"))
    for activation, function in ((IDENTITY, lambda x: x), ("torch.nn.modules.activation.Tanh", torch.tanh)):
        weight, bias = dense(encoder, activation_function=activation)
        made = vectors(kept(encoder, tmp_path))
        assert close(made, [function(weight @ hidden(encoder, text).mean(dim=0) + bias) for text in TEXTS])
    assert encoder_width(tmp_path / "kept") == 3


def test_a_prompt_stands_before_each_text_and_counts_in_the_limit(encoder, tmp_path):
    asks(encoder, CLS, prompts={"query": "w40 w41 ", "passage": "w42 "}, default_prompt_name="passage")
    found = kept(encoder, tmp_path)
    for name, text in ((None, "w42 "), ("passage", "w42 "), ("query", "w40 w41 ")):
        assert close(vectors(found, name), [hidden(encoder, text + each)[0] for each in TEXTS])
    tokenizer = load_tokenizer(found)
    assert [cut(tokenizer, TEXTS, limit, "w40 w41 ") for limit in (2, 3, 4, 5, 7, 8)] == [3, 2, 2, 1, 1, 0]
    assert close(
        vectors(found, "query", 4), [hidden(encoder, t)[0] for t in ("w40 w41 w5 w6", "w40 w41 w8", "w40 w41 w9 w10")]
    )
    with pytest.raises(
        InputError, match=r"encode.max_tokens: the encoder's prompt 'w40 w41 ' alone fills the 2 tokens"
    ):
        vectors(found, "query", 2)
    with pytest.raises(
        ParamsError, match=r"encode.prompt: the encoder has no prompt named 'question'; it has 'query', 'p"
    ):
        vectors(found, "question")
    asks(encoder, MEAN, prompts={"query": "w40 w41 "}, default_prompt_name=None)
    found = kept(encoder, tmp_path)
    assert not (found / "modules.json").exists()
    assert close(vectors(found), [hidden(encoder, text).mean(dim=0) for text in TEXTS])
    assert close(vectors(found, "query"), [hidden(encoder, f"w40 w41 {text}").mean(dim=0) for text in TEXTS])
    asks(encoder, MEAN | {"include_prompt": False})
    assert close(
        vectors(kept(encoder, tmp_path), "query"), [hidden(encoder, f"w40 w41 {t}")[2:].mean(dim=0) for t in TEXTS]
    )
    (encoder / "config_sentence_transformers.json").unlink()
    with pytest.raises(ParamsError, match="no prompt named 'query'; it has none: set this to null"):
        vectors(kept(encoder, tmp_path), "query")


def test_a_text_is_cut_at_the_length_that_the_encoder_was_made_for(encoder, tmp_path):
    long = ["w5 " * 30]
    for pooling in (MEAN, CLS):
        asks(encoder, pooling)
        write(encoder / "sentence_bert_config.json", {"max_seq_length": 7, "do_lower_case": False})
        found = kept(encoder, tmp_path)
        assert reach(load_encoder(found), load_tokenizer(found), 128) == 7
        assert torch.equal(vectors(found, texts=long), vectors(found, texts=["w5 " * 7]))
        assert torch.equal(vectors(found, texts=long, max_tokens=3), vectors(found, texts=["w5 " * 3]))


def test_an_encoder_of_lower_case_reads_lower_case(encoder, tmp_path):
    write(encoder / "sentence_bert_config.json", {"max_seq_length": 20, "do_lower_case": True})
    found = kept(encoder, tmp_path)
    assert torch.equal(vectors(found, texts=["W5 w6 W7"]), vectors(found, texts=["w5 w6 w7"]))


@pytest.mark.parametrize("side", ["left", "right"])
def test_vectors_are_those_of_sentence_transformers_itself(encoder, tmp_path, side):
    """Of the folder as it came, and of the one that is kept."""
    from sentence_transformers import SentenceTransformer

    words(encoder, padding_side=side, model_max_length=20)
    dense(encoder, activation_function="torch.nn.modules.activation.Tanh")
    for mode in ("cls", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"):
        prompts = {"prompts": {"query": "w40 w41 "}, "default_prompt_name": "query"}
        asks(encoder, {"pooling_mode": mode, "include_prompt": mode != "weightedmean"}, ("2_Dense", "Dense"), **prompts)
        found = kept(encoder, tmp_path)
        for folder in (encoder, found):
            theirs = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
            expected = theirs.encode(TEXTS, convert_to_tensor=True, show_progress_bar=False)
            assert torch.allclose(vectors(found, batch=3), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([("2_CNN", "CNN")], "modules.json asks for a layer 'CNN', which is not computed here: Pooling, Dense, "),
        ([("2_Pooling", "own_code.Pooling")], "asks for a layer 'Pooling', which is not computed"),
        ([("../2_Dense", "Dense")], r"'\.\./2_Dense' is no folder beside it"),
        ([("3_Dense", "Dense")], "3_Dense/model.safetensors is missing, and weights are read from safetensors alone"),
    ],
)
def test_layers_that_are_not_computed_here_are_refused(encoder, tmp_path, more, said):
    asks(encoder, MEAN, *more)
    with pytest.raises(ModelError, match=f"encoder: .*{said}"):
        kept(encoder, tmp_path)


def test_settings_that_are_not_followed_are_refused(encoder, tmp_path):
    prompts, length = "config_sentence_transformers.json", "sentence_bert_config.json"
    for name, content, said in (
        (prompts, {"model_type": "SparseEncoder"}, "a SparseEncoder, not an encoder of sentences"),
        (prompts, {"prompts": {}, "default_prompt_name": "query"}, "its default prompt 'query' is none of its prompts"),
        (length, {"transformer_task": "fill-mask"}, "its transformer_task is 'fill-mask', and only 'feature-"),
    ):
        write(encoder / name, content)
        with pytest.raises(ModelError, match=f"encoder: .*{said}"):
            kept(encoder, tmp_path)
        (encoder / name).unlink()
    asks(encoder, {"pooling_mode": "odd"})
    with pytest.raises(ModelError, match="encoder: its modules can't be read: Invalid pooling mode: 'odd'"):
        kept(encoder, tmp_path)
    asks(encoder, MEAN, ("2_Dense", "Dense"))
    dense(encoder, activation_function="os.system")
    with pytest.raises(ModelError, match=r"asks for the activation 'os.system', and only PyTorch's are computed"):
        kept(encoder, tmp_path)
    dense(encoder, out_features=4)
    with pytest.raises(ModelError, match=r"encoder: its modules can't be read: .*size mismatch"):
        kept(encoder, tmp_path)
    asks(encoder, CLS, ("", "Normalize"))
    with pytest.raises(ModelError, match=r"encoder: modules.json: each module after the first needs a folder of its"):
        kept(encoder, tmp_path)
    for content in ({"0": "Transformer"}, [{"type": f"{PACKAGE}.Transformer"}]):
        write(encoder / "modules.json", content)
        with pytest.raises(ModelError, match=r"encoder: modules.json is no list of modules, each with its type and pa"):
            kept(encoder, tmp_path)
    write(encoder / "modules.json", [{"path": "0_Transformer", "type": f"{PACKAGE}.Transformer"}])
    with pytest.raises(ModelError, match="encoder: its weights lie in 0_Transformer, and what follows them beside it"):
        kept(encoder, tmp_path)
