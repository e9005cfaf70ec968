"""Scores of re-rankers as evaluations read them: refused with what makes them again."""

import pytest
import torch

from rlrf4rec import paths
from rlrf4rec.errors import InputError
from rlrf4rec.evaluation.lists import read_scores
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.tables.vectors import save_tensors

ROWS, LONG = 2, 3
LISTS = Lists(
    user=torch.tensor([0, 1]),
    number=torch.tensor([0, 0]),
    item=torch.tensor([[0, 1, 2], [2, 1, 0]]),
    label=torch.tensor([[1, 0, 0], [0, 1, 0]]),
    activity=torch.zeros(ROWS),
)


def saved(path, **broken):
    """Scores of two backbones with one seed each, finite but for those that are given."""
    names = ("dlcm/0/own", "dlcm/0/permuted", "prm/0/own")
    scores = {name: broken.get(name.replace("/", "_"), torch.rand(ROWS, LONG)) for name in names}
    save_tensors(path, scores, {"lists": LISTS.identity()})
    return {"base": path}


@pytest.mark.parametrize(
    ("path", "mend"),
    [
        (paths.scores("base"), "dvc repro --force train_ranker"),
        (paths.arm(2, "base", "rated"), "dvc repro --force studies/arms/dvc.yaml:arm@2"),
        (paths.control("rated", "base"), "dvc repro --force studies/controls/dvc.yaml:control@base"),
        (paths.final_scores("base"), "dvc repro --force studies/final/dvc.yaml:final_score"),
    ],
)
def test_scores_that_are_no_numbers_are_refused_with_what_makes_them_again(tmp_path, monkeypatch, path, mend):
    monkeypatch.chdir(tmp_path)
    files = saved(path, dlcm_0_own=torch.tensor([[0.1, float("nan"), 0.2], [0.0, 0.1, 0.2]]))
    with pytest.raises(InputError, match="scores dlcm/0/own are not finite") as told:
        read_scores(files, ["dlcm"], 1, ("own",), LISTS)
    assert f"`{mend}`" in str(told.value)
    assert str(told.value).startswith(str(path))


def test_scores_that_nobody_asks_for_are_in_nobody_s_way(tmp_path, monkeypatch):
    """A training that has diverged of a backbone that is no longer evaluated."""
    monkeypatch.chdir(tmp_path)
    odd = torch.full((ROWS, LONG), float("inf"))
    files = saved(paths.scores("base"), prm_0_own=odd, dlcm_0_permuted=odd.clone())
    found = read_scores(files, ["dlcm"], 1, ("own",), LISTS)["own"]
    assert found["dlcm", "base", 0].isfinite().all()
