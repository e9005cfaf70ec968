"""The tiny run in the other folder: a second round after it, what breaks it, and what stops it."""

import json
import resource
import shutil
import signal
import subprocess
import time

import polars as pl
import psutil
import pytest

from rlrf4rec.files import contents, dvc_hash

from .conftest import LONG, below, environment, hashes, pieces_of, planted, ran, restore, run, set_params
from .remotes import in_folder, on_s3

pytestmark = pytest.mark.timeout(1800)


def test_a_second_round_leaves_the_first_alone(clones, tmp_path):
    """T = 2 on a finished run of T = 1: what is new runs, then nothing."""
    folder = tmp_path / "r"
    shutil.copytree(clones[0][1], folder, symlinks=True)
    before = hashes(folder)
    assert "T = 2" in run(folder, "rlrf4rec", "rounds", "2").stdout
    new = {f"{stage}@round2" for stage in ("train_reward", "score", "pair", "train_dpo", "sample", "encode")}
    new |= {"sample@round1_tuning", "encode@round1_tuning", "train_ranker@round2", "train_ranker@round2_template"}
    assert ran(run(folder, "dvc", "repro", threads=2).stdout) == new | {"evaluate", "watch", "report"}
    assert ran(run(folder, "dvc", "repro").stdout) == set()
    after = hashes(folder)
    ends = {"evaluate", "watch", "report"}
    assert {place for place, md5 in before.items() if after[place] != md5 and place[0] not in ends} == set()
    watched = json.loads((folder / "metrics" / "watch.json").read_text())
    assert list(watched) == ["base", "round1", "round2"]
    gains = json.loads((folder / "metrics" / "evaluate.json").read_text())["reward_gain"]
    assert list(gains) == ["round1", "round2"]
    page = (folder / "data" / "report" / "index.html").read_text()
    assert "round2" in page
    # From nothing, and in the other order: texts are not those that another set of users left.
    shutil.rmtree(folder / ".rlrf4rec" / "store" / "sample")
    run(folder, "dvc", "repro", "-f", "-s", "sample@round1_tuning", threads=2)
    run(folder, "dvc", "repro", "-f", "-s", "sample@round1", threads=2)
    assert hashes(folder) == after


AGAIN = {"fetch_dataset", "interactions", "split", "prompt", "evaluate", "report"}  # they read ratings


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.faults)])
def remote(request, tmp_path):
    if request.param == "folder":
        yield in_folder(tmp_path / "remote")
    else:
        with on_s3() as found:
            yield found


def test_a_pushed_run_is_pulled_and_what_holds_ratings_alone_is_made_again(clones, remote, tmp_path):
    """Equal to the byte, so that nothing after it runs. No study has run here."""
    folder, clone = clones[0][1], tmp_path / "clone"
    remote.join(folder)
    run(folder, "dvc", "push")
    run(folder, "dvc", "remote", "remove", "--local", "there")
    stored = {name.replace("/", "").removeprefix("filesmd5") for name in remote.stored()}
    unpushed = {path for stage, path in hashes(folder) if stage in AGAIN and path.startswith("data/")}
    unpushed -= {"data/texts/none"}  # says nothing of anyone
    held = {dvc_hash({"": content}) for path in unpushed for content in contents(folder / path).values()}
    assert len(held) > 15
    assert not held & stored
    assert {md5 for (_, path), md5 in hashes(folder).items() if path in unpushed}.isdisjoint(stored)

    run(tmp_path, "git", "clone", "-q", str(folder), str(clone))
    remote.join(clone)
    run(clone, "dvc", "pull", "--allow-missing")
    assert not any((clone / path).exists() for path in unpushed)
    lock = (clone / "dvc.lock").read_bytes()
    assert ran(run(clone, "dvc", "repro").stdout) == AGAIN
    assert (clone / "dvc.lock").read_bytes() == lock
    changed = run(clone, "git", "status", "--porcelain").stdout.splitlines()
    assert [line for line in changed if "metrics/cost/" not in line] == []
    run(clone, "dvc", "checkout", "--allow-missing")
    assert ran(run(clone, "dvc", "repro").stdout) == set()


def test_a_planted_token_is_in_no_file_of_a_run_with_kills(clones):
    folders, log = clones
    assert planted(folders[1], log) == []


def test_pairs_of_another_kind_of_reward_leave_sampling_alone(clones):
    folder = clones[0][1]
    set_params(folder, {"reward": {"kind": "ndcg"}})
    dry = ran(run(folder, "dvc", "repro", "--dry").stdout)
    assert dry == {"score@round1", "tune_dpo", "evaluate", "report"}  # what follows them runs if their outputs change
    run(folder, "git", "checkout", "-q", ".")


def test_a_misspelled_param_stops_before_any_work(clones):
    folder = clones[0][1]
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("  max_pairs: 6", "  max_pairs: 6\n  min_gapp: 0.1"))
    failed = run(folder, "dvc", "repro", check=False)
    assert failed.returncode
    assert "pair.min_gapp: unknown key; the nearest valid one is pair.min_gap" in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    run(folder, "git", "checkout", "-q", ".")
    # DVC takes a stage's outputs away before it starts the stage; its cache gives them back.
    assert ran(run(folder, "dvc", "repro").stdout) == set()
    assert (folder / "data" / "pair" / "round1" / "pairs.parquet").exists()


def test_a_corrupted_table_is_named_and_nothing_after_it_is_touched(clones):
    folder = clones[0][1]
    path = folder / "data" / "texts" / "base" / "texts.parquet"
    good = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(good[: len(good) // 2])
    failed = run(folder, "rlrf4rec", "encode", "base", check=False)
    assert failed.returncode == 4
    assert "data/texts/base/texts.parquet: not a readable Parquet file" in failed.stderr
    assert "Traceback" not in failed.stderr
    path.write_bytes(good)


def test_trl_trains_on_the_same_pairs_to_the_same_format(clones):
    folder = clones[0][1]
    set_params(folder, {"dpo": {"engine": "trl"}, "train_dpo": {"beta": 0.05}})
    pairs = folder / "data" / "pair" / "round1" / "pairs.parquet"
    pairs.chmod(0o644)
    pl.read_parquet(pairs).head(2).write_parquet(pairs)
    adapter = folder / "models" / "policy" / "round1"
    before = sorted(p.name for p in adapter.iterdir())
    log = run(folder, "rlrf4rec", "train_dpo", "round1", "base").stdout
    assert "2 pairs, 1 steps" in log
    assert "beta=0.05 (params.yaml)" in log
    assert "learning_rate" in log.split("beta=0.05")[1]
    assert sorted(p.name for p in adapter.iterdir()) == before
    restore(folder)


# Signals


def of_children():
    """CPU-seconds of all processes that this one has begun and that have ended, those below them among it."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def below_and(process):
    """CPU-seconds of a process that runs and of those that it has begun."""
    return sum(psutil.Process(process.pid).cpu_times()[:2]) + below(process)


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        (("sample", "base", "base", "all"), signal.SIGTERM, 143),
        (("train_dpo", "round1", "base"), signal.SIGTERM, 143),
        (("train_ranker", "base", "encode/base", "encode/none", "encode/items"), signal.SIGINT, 130),
    ],
    ids=["sample", "train_dpo", "train_ranker"],
)
def test_a_signal_ends_a_working_stage_within_seconds_and_what_is_finished_is_kept(clones, command, number, code):
    """With two threads: workers are ended too. A re-ranker is one piece of work, so it is waited for its workers."""
    folder, kind = clones[0][1], command[0]
    set_params(folder, LONG)
    before = pieces_of(folder, kind)
    before_it = of_children()
    with subprocess.Popen(
        ["rlrf4rec", *command],
        cwd=folder,
        env=environment(threads=2),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for _ in range(1200):
            assert process.poll() is None, process.communicate()[1][-2000:]
            if kind == "train_ranker" and len(psutil.Process(process.pid).children()) > 1:
                time.sleep(2.0)
                break
            if kind != "train_ranker" and pieces_of(folder, kind) - before:
                break
            time.sleep(0.1)
        worked = below_and(process)
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
        spent = of_children() - before_it - worked
    run(folder, "git", "checkout", "-q", ".")
    assert process.returncode == code
    assert spent < 5  # CPU-seconds: on a busy machine these take longer
    assert out == ""
    told = [line for line in err.splitlines() if "about" not in line]  # what the stage would take, and progress
    assert told == [f"rlrf4rec {kind}: stopped; finished work is kept, `dvc repro` goes on from it"]
    assert kind == "train_ranker" or pieces_of(folder, kind) - before
