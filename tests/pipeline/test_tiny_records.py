"""A study that is spread over clones: what was sampled and scored in one is in Git, and another goes on from it."""

import pytest

from .conftest import outputs, pieces_of, ran, run, set_params, tiny_repository

pytestmark = pytest.mark.timeout(1800)
ARMS = "studies/arms/dvc.yaml"
SEARCHES_NOTHING = {"tune_dpo": {"n_trials": 0}, "arms": {"policies": [1]}}  # as the recipe of a study has it


def test_an_empty_clone_goes_on_from_what_is_committed_and_samples_and_scores_none_of_it_again(assets, tmp_path):
    """No cache, no store and no remote: only what Git holds. Pairs are trained on with the prompts made again."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    tiny_repository(first, assets)
    set_params(first, SEARCHES_NOTHING)
    done = ran(run(first, "dvc", "repro", f"{ARMS}:pair@1").stdout)
    kept = {"sample@base", "tune_reward", "studies/arms/base/dvc.yaml:sample@1"}
    kept |= {f"{ARMS}:{stage}@1" for stage in ("score", "pair")}
    assert kept < done
    run(first, "git", "add", "-A")
    run(first, "git", "commit", "-qm", "as far as it came")
    held = run(first, "git", "ls-files", "data", "studies/arms").stdout.split()
    assert {path for path in held if path.endswith(".parquet")} == {
        "data/texts/base/texts.parquet",
        "studies/arms/texts/base-1/texts.parquet",
        "studies/arms/score/tuned-1/rewards.parquet",
        *(f"studies/arms/pair/tuned-1/{name}.parquet" for name in ("pairs", "skipped")),
    }

    run(tmp_path, "git", "clone", "-q", str(first), str(second))
    log = run(second, "dvc", "repro", f"{ARMS}:train_dpo@1").stdout
    again = ran(log)
    assert not again & kept
    assert not pieces_of(second, "sample")
    assert " sampled now" not in log
    assert {f"{ARMS}:train_dpo@1", "score@round1", "pair@round1"} <= again - done
    for lock in ("dvc.lock", "studies/arms/dvc.lock", "studies/arms/base/dvc.lock"):
        before, after = (outputs((folder / lock).read_text()) for folder in (first, second))
        assert {place: after[place] for place in before} == before, lock
    assert all((second / path).read_bytes() == (first / path).read_bytes() for path in held if path.endswith("parquet"))
