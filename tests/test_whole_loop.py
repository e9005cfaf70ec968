"""The `run` of every stage, in one process, with small random models and settings that the default does not have."""

import json
import random
from pathlib import Path

import polars as pl
import pytest
import torch
from ruamel.yaml import YAML
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, BertConfig, BertModel, PreTrainedTokenizerFast

from rlrf4rec import paths
from rlrf4rec.alignment.pairs import token_pairs
from rlrf4rec.cli import run_stage
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.params import load, recipes
from rlrf4rec.params.rounds import set_rounds, write_rounds
from rlrf4rec.prompting.prompts import named
from rlrf4rec.prompting.template import own_part, read
from rlrf4rec.tables.rewards import PAIRS
from rlrf4rec.tables.texts import PROMPTS
from rlrf4rec.tables.vectors import load_tensors
from studies import run_study

ROOT = Path(__file__).parent.parent
TEMPLATES = ROOT / "src" / "rlrf4rec" / "templates"
USERS, ITEMS = 36, 60
GENRES = "Action", "Comedy", "Drama", "War"


def write_models(folder, kind="llama"):
    """An LLM and an encoder of two layers with one tokenizer, which has learned its merges from the templates."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet, special = pre_tokenizers.ByteLevel.alphabet(), ["<p>", "<e>"]
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator([(TEMPLATES / "movies.txt").read_text()], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<p>", eos_token="<e>")
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "initializer_range": 0.2, "pad_token_id": 0}
    more = {"num_key_value_heads": 2, "max_position_embeddings": 2048, "eos_token_id": 1}
    llm = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes, **heads, **more))
    for name, weights in llm.named_parameters():
        if name.endswith(".bias"):  # Qwen2's attention has them, and they begin as zeros
            torch.nn.init.normal_(weights, std=0.2)
    for name, model in (
        ("llm", llm),
        ("encoder", BertModel(BertConfig(**sizes, **heads, max_position_embeddings=256))),
    ):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def write_shop(folder):
    """Ratings that follow a taste for genres, as CSV."""
    rng = random.Random(0)
    taste = {genre: rng.sample(range(USERS), USERS // 2) for genre in GENRES}
    genre = {item: rng.choice(GENRES) for item in range(ITEMS)}
    rows = []
    for user in range(USERS):
        for at, item in enumerate(rng.sample(range(ITEMS), 44)):
            rating = rng.choice([4, 5]) if user in taste[genre[item]] else rng.choice([1, 2, 3, 4])
            rows.append(f"u{user},i{item},{rating},{1000 + at}")
    folder.mkdir()
    (folder / "interactions.csv").write_text("\n".join(["user,item,rating,timestamp", *rows]) + "\n")
    about = [f"i{item},Title {item},{1970 + item // 2},{genre[item]}" for item in range(ITEMS)]
    (folder / "items.csv").write_text("\n".join(["item,title,year,genres", *about]) + "\n")


SMALL = {
    "interactions": {
        "format": "table",
        "columns": {name: name for name in ("user", "item", "rating", "timestamp", "title", "year", "genres")}
        | {"texts": []},
        "final_list": None,
        "min_interactions": 20,
    },
    "split": {"folds": 3, "validation_share": 0.3, "max_lists": 3},
    "prompt": {"liked": 2, "disliked": 1, "max_tokens": 1500},
    "sample": {"n": 3, "max_tokens": 8, "batch_users": 8, "redraws": 1, "dtype": "float32"},
    "knowledge": {"max_tokens": 6, "dtype": "float32"},
    "reward": {"other_lists": 4},
    "tune_reward": {"n_trials": 2, "max_epochs": 3},
    "train_reward": {"seeds": 2, "judge_seeds": 2},
    "pair": {"max_pairs": 6},
    "dpo": {"precision": "float32", "lora_rank": 4, "lora_alpha": 8},
    "tune_dpo": {"n_trials": 1, "pairs": 3, "holdout_users": 4, "samples": 2},
    "train_ranker": {"seeds": 2, "epochs": 2},
    "watch": {"kl_users": 2, "bootstrap": 100},
    "evaluate": {"bootstrap": 100},
    "probe": {"items": 4, "lines": 4, "dtype": "float32"},
    "learning_curve": {"pairs": [2, 4], "users": 3, "samples": 2, "bootstrap": 100},
    "backbones": ["prm"],
    "protocols": ["uniform", "retrieved"],
}


def write_params(folder, changes, recipe=None):
    """params.yaml with one round and the blocks of `SMALL`, or with a recipe, and then those of `changes`, one over the
    other."""
    yaml = YAML()
    params = yaml.load((ROOT / "params.yaml").read_text())
    if recipe:
        params, _ = recipes.resolve(recipe, params)
    else:
        set_rounds(params, 1)
    local = {"source": "folder", "path": "", "revision": None, "sha256": None}
    params["fetch_dataset"].update({**local, "name": str(folder / "shop")})
    params["content"]["dataset"] = str(folder / "shop")
    for name in ("llm", "encoder"):
        params["fetch_models"][name].update({**local, "name": str(folder / "source" / name)})
        params["content"][name] = str(folder / "source" / name)
    for block, values in [*({} if recipe else SMALL).items(), *changes.items()]:
        if isinstance(values, dict):
            params[block].update(values)
        else:
            params[block] = values
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(params, file)


def run_loop():
    """What dvc.yaml lists, in the order of its dependencies."""
    loop = load().loop
    for stage in ("fetch_dataset", "fetch_models", "interactions", "split", "knowledge", "prompt"):
        run_stage(stage, [])
    for text in ("none", "items", "template"):
        run_stage("encode", [text])
    write("base", loop.samples["base"])
    run_stage("tune_reward", ["base"])
    for name, r in loop.rounds.items():
        for stage in ("train_reward", "score", "pair"):
            run_stage(stage, [name, r.texts])
        if name == "round1":
            run_stage("tune_dpo", [name])
        run_stage("train_dpo", [name, r.policy])
        for text, samples in loop.samples.items():
            if samples.policy == name:
                write(text, samples)
    for knowledge, inputs in loop.rankers.items():
        run_stage("train_ranker", [knowledge, inputs.text, inputs.beside, inputs.items])
    for stage in ("evaluate", "watch"):
        run_stage(stage, [])


def write(text, samples):
    """Texts of a policy and their vectors."""
    run_stage("sample", [text, samples.policy, samples.users])
    run_stage("encode", [text])


def metrics(stage, entry=None):
    return json.loads(paths.metrics(stage, entry).read_text())


@pytest.fixture
def place(tmp_path, monkeypatch, request):
    """An empty folder with data set, models and what params name."""
    kind, write_data = getattr(request, "param", ("llama", write_shop))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_models(tmp_path / "source", kind)
    write_data(tmp_path / "shop")
    (tmp_path / "src" / "rlrf4rec").mkdir(parents=True)
    (tmp_path / "src" / "rlrf4rec" / "templates").symlink_to(TEMPLATES)
    return tmp_path


def test_two_rounds_from_the_policy_before_with_users_that_tune_and_rank(place):
    """`reference: previous`, `tuning_users: shared`, lists of `uniform`, facts of the LLM, another net and reward."""
    changes = {
        "split": {"tuning_users": "shared", "protocol": "uniform"},
        "knowledge": {"items": "llm"},
        "reward_model": {"net": "dlcm"},
        "reward": {"kind": "smooth"},
        "sample": {"n": 4},
        "pair": {"max_pairs": 11, "per_user": 2},
        "dpo": {"reference": "previous"},
    }
    write_params(place, changes)
    write_rounds(Path("params.yaml"), 2)
    run_loop()
    users = pl.read_parquet(paths.FOLD_USERS)
    assert set(users.filter(pl.col("fold") == "train")["role"]) == {"both"}
    assert set(pl.read_parquet(paths.lists("development"))["protocol"]) == {"uniform"}
    texts = pl.read_parquet(paths.texts("items"))["text"]
    assert texts.n_unique() > ITEMS // 2
    rewards = pl.read_parquet(paths.rewards("round2"))
    assert rewards["reward"].equals(rewards["smooth"].alias("reward"))
    as_it_was_told()
    pairs = PAIRS.read(paths.pairs("round1"))
    assert set(pairs["user"].value_counts()["count"]) == {1, 2}
    assert not rewards["judged"].equals(rewards["reward"].alias("judged"))
    # A policy is its own reference before its first step, so the loss begins at log 2 in both rounds.
    for name in ("round1", "round2"):
        first = pl.read_csv(paths.plot("train_dpo", name)).row(0, named=True)
        assert first["loss"] == pytest.approx(0.6931, abs=2e-3)
    judged = metrics("train_reward", "round2")["models"]
    assert {duty: list(found) for duty, found in judged.items()} == {
        duty: ["A-0", "A-1", "B-0", "B-1"] for duty in ("label", "judge")
    }
    nets = {duty: load_tensors(paths.reward_models("round2", duty))[1]["net"] for duty in paths.DUTIES}
    assert nets == {"label": "dlcm", "judge": "prm"}
    gains = metrics("evaluate")["reward_gain"]
    assert list(gains) == ["round1", "round2"]
    assert gains["round2"]["development"]["ndcg"]["seeds"] == 2
    assert metrics("evaluate")["family"]["reward gain of round2"]["p_holm"] > 0
    run_stage("train_policy", ["sft"])
    first = pl.read_csv(paths.plot("train_policy", "sft")).row(0, named=True)
    assert (first["margin"], first["loss"] > 1) == (pytest.approx(0, abs=1e-3), True)  # in nats a token, not log 2
    assert (paths.policy("sft") / "adapter_model.safetensors").exists()


def as_it_was_told():
    """Prompts lie with the tokens that the tokenizer gives, with their parts, and with the ratings in them."""
    tokenizer, words = load_tokenizer(paths.LLM), read(TEMPLATES / "movies.txt").domain
    prompts = PROMPTS.read(paths.PROMPTS)
    for row in prompts.iter_rows(named=True):
        assert tokenizer.encode(row["prompt"]) == row["tokens"]
        examples, own = (part["text"] for part in row["parts"])
        assert examples + own == row["prompt"]
        liked, disliked = ([r for r in row["ratings"] if r["liked"] == side] for side in (True, False))
        assert own == own_part(named(liked, words), named(disliked, words))
        assert row["ratings"] == disliked + liked
    pairs = PAIRS.read(paths.pairs("round1"))
    tokens = dict(prompts.select("user", "tokens").iter_rows())
    assert [pair.prompt for pair in token_pairs(pairs, prompts, 2048)] == [tokens[user] for user in pairs["user"]]


def test_with_the_base_llm_as_reference_a_second_round_does_not_begin_at_it(place):
    """TRL's engine, retrieved lists, hidden titles, marginal rewards of the paper's kind, and the study's stages."""
    changes = {
        "split": {"protocol": "retrieved"},
        "knowledge": {"items": "none"},
        "prompt": {"titles": "masked"},
        "reward_model": {"net": "setrank", "texts": "llm", "beside": "template"},
        "reward": {"kind": "ndcg"},
        "sample": {"n": 8, "redraws": 4},
        "tune_dpo": {"holdout_users": 2},
        "dpo": {"engine": "trl", "epochs": 3},
        "train_dpo": {"learning_rate": 0.02},
    }
    write_params(place, changes)
    write_rounds(Path("params.yaml"), 2)
    run_loop()
    assert set(pl.read_parquet(paths.lists("development"))["protocol"]) == {"retrieved"}
    assert pl.read_parquet(paths.texts("items"))["text"].unique().to_list() == ["item"]
    prompts = pl.read_parquet(paths.PROMPTS)["prompt"]
    assert not any("Title" in prompt for prompt in prompts)
    assert all("Liked: Movie" in prompt for prompt in prompts)
    as_it_was_told()
    rewards = pl.read_parquet(paths.rewards("round1"))
    assert rewards["reward"].equals(rewards["ndcg"].alias("reward"))
    told = [load_tensors(paths.reward_models(name, duty))[1] for name in ("round1", "round2") for duty in paths.DUTIES]
    assert [of["beside"] for of in told] == ["template"] * 4
    first, second = (pl.read_csv(paths.plot("train_dpo", name))["loss"][0] for name in ("round1", "round2"))
    assert first == pytest.approx(0.6931, abs=2e-3)
    assert abs(second - first) > 0.001
    run_study()
    study = json.loads(paths.CONTROLS.read_text())
    assert list(study) == ["uniform", "retrieved"]
    assert set(study["uniform"]["rankers"]) == {f"prm-{kind}" for kind in load().controls}
    of_base = study["uniform"]["rankers"]["prm-base"]
    assert {name for name, of in of_base.items() if "seeds" in of} == {"ndcg@5", "map@5"} & of_base.keys()
    assert all("mean" in of for of in of_base.values())
    assert metrics("reliability")["nets"].keys() == {"match", "dlcm", "prm", "setrank"}
