"""The whole loop, run by `dvc repro` as a user runs it. One run in two folders serves all tests; here the first."""

import json
import shutil

import polars as pl
import pytest
import torch

from rlrf4rec import machine
from rlrf4rec.alignment import packed, reference
from rlrf4rec.alignment.module import reference_log_probs
from rlrf4rec.alignment.pairs import token_pairs
from rlrf4rec.alignment.policy import new_policy
from rlrf4rec.llm.models import DTYPES, load_llm
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.params import load
from rlrf4rec.sampling import nucleus
from rlrf4rec.sampling.generate import SamplingSettings, common_prefix, generate, prefix_cache
from rlrf4rec.sampling.shared_attention import NAME

from .conftest import hashes, outputs, planted, ran, restore, run, run_all, set_params

pytestmark = pytest.mark.timeout(1800)


def test_every_stage_runs_and_ends_with_its_line(clones):
    folders, log = clones
    stages = run(folders[0], "dvc", "stage", "list", "--name-only").stdout.split()
    assert ran(log) == set(stages)
    for stage in stages:
        name = stage.split("@")[0]
        assert any(line.startswith(name) and ": wrote " in line and line.endswith(" s") for line in log.splitlines())


def test_another_folder_and_three_kills_give_byte_equal_outputs(clones):
    one, two = (outputs(run(folder, "git", "show", "HEAD:dvc.lock").stdout) for folder in clones[0])
    assert {stage for stage, path in one if one[stage, path] != two.get((stage, path))} == set()
    assert one == two


def test_with_two_threads_texts_and_vectors_are_the_same_to_the_byte(clones, tmp_path):
    """LLM and encoder run in workers of one thread each, however many these are."""
    copy = tmp_path / "r"
    shutil.copytree(clones[0][0], copy, symlinks=True, ignore=shutil.ignore_patterns(".rlrf4rec", "cache"))
    run(copy, "chmod", "-R", "u+w", "data")
    made = "data/texts/base/texts.parquet", "data/encode/base/vectors.safetensors", "metrics/sample/base.json"
    before = [(copy / path).read_bytes() for path in made]
    for command in (("sample", "base", "base", "all"), ("encode", "base")):
        done = run(copy, "rlrf4rec", *command, threads=2).stdout
        assert command[0] == "encode" or " 0 sampled now" not in done
    assert [(copy / path).read_bytes() for path in made] == before


def test_a_planted_token_is_in_no_file_of_the_run(clones):
    """Every stage had it in its environment: logs, store, params, lock, metrics, tables and report are looked at."""
    folders, log = clones
    assert planted(folders[0], log) == []


def test_a_second_run_does_nothing(clones):
    again = run(clones[0][0], "dvc", "repro").stdout
    assert ran(again) == set()
    assert "up to date" in again


def test_a_clean_clone_has_nothing_to_run(clones, tmp_path):
    run(tmp_path, "git", "clone", "-q", str(clones[0][0]), "clean")
    assert ran(run(tmp_path / "clean", "dvc", "repro", "--dry", "--allow-missing").stdout) == set()


def test_tables_agree_with_each_other(clones):
    data = clones[0][0] / "data"
    users = pl.read_parquet(data / "split" / "people" / "users.parquet")
    texts = pl.read_parquet(data / "texts" / "base" / "texts.parquet")
    rewards = pl.read_parquet(data / "score" / "round1" / "rewards.parquet")
    pairs = pl.read_parquet(data / "pair" / "round1" / "pairs.parquet")
    skipped = pl.read_parquet(data / "pair" / "round1" / "skipped.parquet")
    assert texts.height == 2 * users.height
    tuning = users.filter(pl.col("role") == "tune")["user"]
    tuned = pl.read_parquet(data / "texts" / "round1" / "texts.parquet")  # for those whose texts are read afterwards
    assert set(tuned["user"]) == set(users["user"]) - set(tuning)
    with_lists = rewards.filter(pl.col("fold") == "train")["user"].unique()
    assert set(with_lists) <= set(tuning)
    assert set(pairs["user"]) | set(skipped["user"]) == set(with_lists)
    assert not set(pairs["user"]) & set(skipped["user"])
    per_list = pl.read_parquet(data / "evaluate" / "per_list.parquet")
    development = set(users.filter(pl.col("fold") == "development")["user"])
    assert set(per_list["user"]) <= development


def test_the_summary_is_short_and_both_headlines_stand_side_by_side(clones):
    summary = json.loads((clones[0][0] / "metrics" / "summary.json").read_text())
    assert sum(not isinstance(value, str) for value in summary.values()) <= 10
    assert {"reward_gain_ndcg5", "reward_gain_claim", "end_to_end_ndcg5", "end_to_end_claim"} <= set(summary)
    everything = json.loads((clones[0][0] / "metrics" / "evaluate.json").read_text())
    assert len(everything["rankers"]["prm-base"]["ndcg@5"]["seeds"]) == 2
    found = everything["differences"]["round1 - base"]
    assert set(found["all"]["ndcg@5"]) == {"difference", "low", "high", "p", "mde", "users", "seeds"}
    assert "p_holm" in everything["family"]["round1 - base"]
    assert set(everything["family"]["round1 - base"]["over_lists"]) == {"difference", "low", "high"}
    assert everything["trained_out"].keys() == everything["rankers"].keys()
    assert set(everything["personal"]) == {"base", "round1"}


def test_an_experiment_runs_what_depends_on_its_param_and_nothing_before(clones):
    folder = clones[0][0]
    before = hashes(folder)
    log = run(folder, "dvc", "exp", "run", "-n", "drawn", "-S", "evaluate.bootstrap=150").stdout
    assert ran(log) == {"evaluate", "report"}
    shown = run(folder, "dvc", "exp", "show", "--only-changed", "--csv").stdout
    assert "drawn" in shown
    diff = json.loads(run(folder, "dvc", "params", "diff", "HEAD", "--json").stdout)
    assert diff["params.yaml"]["evaluate.bootstrap"]["new"] == 150
    json.loads(run(folder, "dvc", "metrics", "diff", "HEAD", "--json").stdout)
    run(folder, "dvc", "plots", "diff", "HEAD", "--out", "plots_out")
    assert (folder / "plots_out" / "index.html").stat().st_size > 1000
    run(folder, "git", "clean", "-qfd", "plots_out")
    compared = json.loads(run(folder, "rlrf4rec", "compare", "HEAD", "drawn", "--json").stdout)
    assert "evaluate.bootstrap" in json.dumps(compared)
    run(folder, "git", "checkout", "-q", ".")
    run(folder, "dvc", "checkout", "dvc.yaml")
    assert hashes(folder) == before
    assert ran(run(folder, "dvc", "repro").stdout) == set()


def test_another_tuning_runs_what_depends_on_it_and_nothing_before(clones):
    """Of a change DVC tells beforehand the first stage alone: those after it are all that can come."""
    folder = clones[0][0]
    set_params(folder, {"train_dpo": {"beta": 0.05}})
    assert ran(run(folder, "dvc", "repro", "--dry").stdout) == {"train_dpo@round1"}
    run(folder, "git", "checkout", "-q", ".")
    after = {"train_dpo@round1", "sample@round1", "encode@round1", "train_ranker@round1"}
    after |= {"train_ranker@round1_template", "evaluate", "watch", "report"}
    dry = run(folder, "dvc", "repro", "--dry", "--force", "--downstream", "train_dpo@round1").stdout
    assert {stage for stage in ran(dry) if not stage.startswith("studies/")} == after


def test_the_smoke_recipe_is_what_ran_and_runs_as_an_experiment(clones):
    folder = clones[0][0]
    before = hashes(folder)
    printed = run(folder, "rlrf4rec", "exp", "smoke").stdout
    assert printed.startswith("smoke: ")
    assert ran(printed) == set()
    assert "smoke" in run(folder, "dvc", "exp", "list", "--name-only").stdout.split()
    assert hashes(folder) == before
    assert run(folder, "git", "status", "--porcelain").stdout == ""


def test_a_shown_prompt_is_the_one_that_was_sampled_from(clones):
    folder = clones[0][0]
    row = pl.read_parquet(folder / "data" / "prompt" / "prompts.parquet").row(0, named=True)
    shown = run(folder, "rlrf4rec", "show-prompt", row["user"])
    assert shown.stdout == row["prompt"] + "\n"
    assert f"user {row['user']}: {len(row['tokens'])} tokens of at most 1024" in shown.stderr
    unknown = run(folder, "rlrf4rec", "show-prompt", "nobody", check=False)
    assert unknown.returncode == 2
    assert "no user 'nobody' among" in unknown.stderr
    assert "it fits" in run(folder, "rlrf4rec", "estimate").stdout


def test_prompt_and_answer_are_parted_at_a_token(clones):
    """An answer's tokens are the same alone as behind its prompt: what a server wrote can be taken for sampled."""
    folder = clones[0][0]
    tokenizer = load_tokenizer(folder / "models" / "pretrained" / "llm")
    prompts = pl.read_parquet(folder / "data" / "prompt" / "prompts.parquet")
    texts = pl.read_parquet(folder / "data" / "texts" / "base" / "texts.parquet").join(prompts, on="user")
    for prompt, tokens, text in texts.select("prompt", "tokens_right", "text").iter_rows():
        assert tokenizer.encode(prompt) == tokens
        assert tokenizer.encode(f"{prompt} {text}") == tokens + tokenizer.encode(f" {text}")


def test_on_real_prompts_logits_and_texts_are_those_of_the_whole_text_at_once(clones):
    """The LLM with everything shared against transformers' own forward of prompt and text, at every new token."""
    folder = clones[0][0]
    llm, steps = folder / "models" / "pretrained" / "llm", 6
    plain, shared = load_llm(llm, torch.float32), load_llm(llm, torch.float32, NAME)
    prompts = pl.read_parquet(folder / "data" / "prompt" / "prompts.parquet")["tokens"].head(3).to_list()
    seen, head = [], shared.get_output_embeddings()
    head.register_forward_hook(lambda module, given, logits: seen.append(logits))
    uniform = torch.stack([nucleus.uniforms([(i, s) for s in range(2)], steps) for i in range(len(prompts))])
    prefix = prefix_cache(shared, prompts[0][: common_prefix(prompts)], steps)
    drawn = generate(shared, prompts, uniform, prefix, SamplingSettings(1.0, 0, 0.95, steps, frozenset()))
    for row, prompt in enumerate(prompts):
        for sample in range(2):
            text = drawn[row][sample]
            with torch.inference_mode():
                logits = plain(torch.tensor([prompt + text.tokens])).logits[0, len(prompt) - 1 : -1]
            exact = torch.log_softmax(logits, -1).gather(1, torch.tensor(text.tokens)[:, None]).sum()
            assert text.log_prob == pytest.approx(float(exact), abs=2e-3)
            own = torch.stack([step[2 * row + sample] for step in seen])
            assert torch.allclose(own, logits, atol=2e-3), (own - logits).abs().max()
            again = [
                int(nucleus.sample(logits[i][None], uniform[row, sample, i][None], 1.0, 0, 0.95)) for i in range(steps)
            ]
            assert again == text.tokens


def test_what_the_sampler_told_of_real_pairs_is_what_a_pass_of_the_llm_gives(clones):
    """In the arithmetic of the run; in bfloat16 the two round at other places."""
    folder = clones[0][0]
    kind = machine.said(json.loads((folder / "metrics" / "sample" / "base.json").read_text())).split()[0]
    llm = folder / "models" / "pretrained" / "llm"
    frame = pl.read_parquet(folder / "data" / "pair" / "round1" / "pairs.parquet").head(4)
    policy = new_policy(load_llm(llm, DTYPES[kind], packed.NAME), 4, 8, 0.0, 0)
    pairs = token_pairs(frame, pl.read_parquet(folder / "data" / "prompt" / "prompts.parquet"), 2048)
    sampled, computed = reference.sampler_log_probs(frame), reference_log_probs(policy, pairs, 2, kind, "test", None)
    limit = {"float32": 5e-3, "bfloat16": 0.5}[kind]
    assert (sampled.chosen - computed.chosen).abs().max() < limit
    assert (sampled.rejected - computed.rejected).abs().max() < limit
    assert sampled.chosen.max() < -1


def test_the_study_runs_on_the_outputs_of_the_default_run(clones):
    """A control without an LLM and the three with one, under retrieved lists; then what the study says of them."""
    folder = clones[0][0]
    controls = load(folder / "params.yaml").controls
    told = {name: controls[name].model_dump() for name in ("constant", "profile", "base", "round1")}
    set_params(folder, {"controls": told}, whole=True)
    stages = [("protocol", "retrieved"), ("source", "best_of_n"), ("source", "profile")]
    stages += [("control", name, *kind.values()) for name, kind in told.items()]
    log = run_all(folder, *stages, ("evaluate_controls",), ("report",))
    assert "NDCG@5 of round1 - base: retrieved" in log
    found = json.loads((folder / "studies" / "controls" / "metrics" / "evaluate_controls.json").read_text())
    assert set(found) == {"retrieved"}
    assert set(found["retrieved"]["orders"]) == {"random", "popularity", "first_stage", "rated_first", "oracle"}
    assert set(found["retrieved"]["personal"]) == set(told)
    assert "wrote data/report/index.html" in log
    assert "retrieved" in (folder / "data" / "report" / "index.html").read_text()
    run(folder, "git", "clean", "-qfd", "studies", "metrics")
    restore(folder)
