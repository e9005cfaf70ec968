"""The whole loop with small random models, and then the final users: looked at once, by what the loop has made."""

import json
import random
import re
from pathlib import Path

import polars as pl
import pytest
from breakages import broken
from test_looks import git
from test_whole_loop import USERS, metrics, place, run_loop, write_params

from rlrf4rec import paths
from rlrf4rec.cli import run_stage
from rlrf4rec.errors import InputError, RLRFError
from rlrf4rec.inputs import read_tables
from rlrf4rec.looking.scores import scores
from rlrf4rec.params import load
from rlrf4rec.retraining.material import material
from rlrf4rec.tables.vectors import load_tensors, save_tensors

__all__ = ["place"]
TOPS = "data", "models", "metrics"


def prepare():
    """What studies/final lists, but for the look."""
    for stage in ("final_split", "final_prompt"):
        run_stage(stage, [])
    for name, samples in load().loop.samples.items():
        run_stage("sample", [f"final_{name}", samples.policy, "final"])
    for stage in ("final_encode", "final_score"):
        run_stage(stage, [])


def commit(message):
    git("add", "params.yaml", "src")
    git("commit", "-qm", message)
    return git("rev-parse", "HEAD")


def files(top):
    return [path for path in Path(top).rglob("*") if path.is_file()]


def users_in(path):
    """Users that a table names."""
    if path.suffix == ".parquet" and "user" in pl.read_parquet_schema(path):
        return set(pl.read_parquet(path)["user"])
    if path.suffix == ".csv" and "user" in path.read_text().partition("\n")[0].split(","):
        return set(pl.read_csv(path)["user"])
    return set()


def test_weights_of_a_protocol_with_a_first_stage_give_their_scores_again(place):
    write_params(place, {"split": {"protocol": "retrieved"}})
    run_loop()
    trained, again = before_and_after_loading("template")
    assert len(trained) == 2 * load().train_ranker.seeds * len(load().backbones)
    assert [key for key, values in trained.items() if not values.equal(again[key])] == []


def test_final_users_are_in_nothing_of_the_run_and_looked_at_by_the_committed_one(place, capsys, monkeypatch):
    marginal = {"texts": "llm", "beside": "template"}
    write_params(place, {"interactions": {"users": None, "final_folds": 4}, "reward_model": marginal})
    run_loop()
    git("init", "-q")
    head = commit("the run")
    final = set(pl.read_parquet(paths.FINAL_INTERACTIONS)["user"])
    assert len(final) == USERS // 4
    before = {path: path.read_bytes() for top in TOPS for path in files(top)}
    assert sum(bool(users_in(path)) for path in before) > 15
    raw = [path for path in before if paths.RAW in path.parents]
    assert {path for path in before if users_in(path) & final} - {*raw} == {paths.FINAL_INTERACTIONS}
    texts = {path: before[path].decode() for path in before if path.suffix in (".json", ".csv") and path not in raw}
    texts = {path: text for path, text in texts.items() if not path.is_relative_to("models/pretrained")}
    assert len(texts) > 20
    assert not [path for path, text in texts.items() if final & set(re.findall(r"\bu\d+\b", text))]
    trained, again = before_and_after_loading("round1_template")
    assert [key for key, values in trained.items() if not values.equal(again[key])] == []

    prepare()
    labels = paths.lists("final", paths.FINAL_SPLIT)
    content = labels.read_bytes()
    labels.unlink()
    candidates = paths.candidates(paths.FINAL_SPLIT)
    assert [way for way in STRANGE if refused_without_a_look(candidates, way, "final_score")] == STRANGE
    monkeypatch.setattr("rlrf4rec.progress.EVERY", 0.0)
    capsys.readouterr()
    run_stage("final_score", [])  # needs no label
    kinds = len(load().loop.rankers)
    assert f"final_score, lists of all final users by kind: {kinds} of {kinds}, " in capsys.readouterr().err
    with pytest.raises(InputError, match=r"final/lists.parquet"):
        run_stage("final", [])
    assert not paths.LOOKS.exists()
    labels.write_bytes(content)
    refused = [path for path, way in UNLABELLED.items() if refused_without_a_look(path, way)]
    assert refused == list(UNLABELLED)
    run_stage("final", [])
    found, evaluated = metrics("final"), metrics("evaluate")
    assert (found["look"], found["commit"]) == (1, head)
    assert set(found["reward_gain"]["round1"]) == {"final"}
    assert found["rankers"].keys() == evaluated["rankers"].keys()
    assert found["family"].keys() == evaluated["family"].keys()
    assert 5 < len(users_in(paths.FINAL_HEADLINE)) == found["final_users"]
    assert users_in(paths.FINAL_HEADLINE) <= final

    once = paths.LOOKS.read_bytes()
    run_stage("final", [])
    assert paths.LOOKS.read_bytes() == once, "the same was seen again"
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("min_gap: 0.0", "min_gap: 0.1"))
    with pytest.raises(RLRFError, match=r"final: params.yaml is not as HEAD has it"):
        run_stage("final", [])
    assert paths.LOOKS.read_bytes() == once
    second = commit("another gap")
    run_stage("final", [])
    assert paths.LOOKS.read_bytes() == once, "another commit, and the same scores, texts and models"
    assert metrics("final")["commit"] == head
    scored = paths.final_scores("template")
    tensors, about = load_tensors(scored)
    save_tensors(scored, {**tensors, "more": next(iter(tensors.values())).clone()}, about)
    run_stage("final", [])
    table, again = pl.read_csv(paths.LOOKS), metrics("final")
    assert table.select("commit", "look").rows() == [(head, 1), (second, 2)]
    assert json.loads(table["params"][1]) == {"pair.min_gap": [0.0, 0.1]}
    for name, one in found["family"].items():
        two = again["family"][name]
        assert (two["difference"], two["low"]) == (one["difference"], one["low"])
        assert [two[key] for key in ("p", "p_holm")] == pytest.approx([min(1, 3 * one[k]) for k in ("p", "p_holm")])
    others = {path for path, content in before.items() if path.read_bytes() != content}
    assert not {path for path in others if "cost" not in path.parts}, "nothing of the run is written again"


UNLABELLED = {  # what a look reads besides labels, and how it is broken
    paths.final_scores("template"): "not finite",
    paths.final_scores("base"): "narrow",
    paths.reward_models("round1", "judge"): "not finite",
    paths.vectors(f"{paths.OF_FINAL}round1"): "narrow",
    paths.vectors(f"{paths.OF_FINAL}template"): "not finite",
    paths.candidates(paths.FINAL_SPLIT): "row gone",
    paths.FINAL_HISTORY: "half",
    paths.POPULARITY: "row gone",
}


STRANGE = ["other fold", "other item", "no rows", "half"]


def refused_without_a_look(path, way, stage="final"):
    """Whether it refuses a file that is broken in one way, and has written nothing; the file is put right again."""
    good = path.read_bytes()
    path.write_bytes(broken(good, path.suffix, way, random.Random(0)))
    try:
        run_stage(stage, [])
    except InputError as error:
        return str(path) in str(error) and not paths.LOOKS.exists() and not paths.metrics("final").exists()
    finally:
        path.write_bytes(good)
    return False


def before_and_after_loading(knowledge):
    """Scores of development users' lists: those that training wrote, and those of the weights that it saved."""
    params, given = load(), load().loop.rankers[knowledge]
    known = material(read_tables(), given.text, given.beside, given.items)
    path, lists, p = paths.ranker(knowledge), known.candidates, params.train_ranker
    again = scores(path, known.item_features, known.texts, lists, params.backbones, p, params.seed, "development")
    kept, _ = load_tensors(paths.scores(knowledge))
    return {key: kept[key] for key in again}, again
