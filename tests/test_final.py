"""Final users: who they are, and that they change nothing of the others."""

from pathlib import Path

import polars as pl
import pytest
from dataset import DEFAULT, tables, write

from rlrf4rec import paths
from rlrf4rec.errors import ParamsError
from rlrf4rec.params import load
from rlrf4rec.stages import final_split, split
from rlrf4rec.tables.contract import ContractError
from rlrf4rec.tables.interactions import INTERACTIONS, ITEMS
from rlrf4rec.tables.split import FINAL, FINAL_USERS, FOLD_USERS, LISTS

PARAMS = Path(__file__).parent.parent / "params.yaml"
COUNT, CATALOGUE = 40, 30
INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data set of 40 users with ten ratings each, in an empty folder."""
    rated = [(u, (u * 7 + k * 3) % CATALOGUE, 1 + (u + k) % 5, 100 + k) for u in range(COUNT) for k in range(10)]
    inter = INTER + "".join(f"u{u}\t{i}\t{rating}\t{time}\n" for u, i, rating, time in rated)
    item = ITEM + "".join(f"{i}\tTitle {i}\t1990\tDrama\n" for i in range(CATALOGUE))
    write(tmp_path / "given", {"x.inter": inter, "x.item": item})
    monkeypatch.chdir(tmp_path)
    return tmp_path / "given"


def drawn(raw):
    return set(raw.users["user"]), set(raw.final["user"])


def test_every_user_is_final_in_one_part_and_of_the_run_in_all_others(folder):
    everyone = set(tables(folder, users=None).users["user"])
    found = [drawn(tables(folder, users=None, final_folds=4, final_fold=fold)) for fold in range(4)]
    assert sorted(user for _, final in found for user in final) == sorted(everyone)
    assert all(kept == everyone - final for kept, final in found)


def test_the_others_are_drawn_as_if_there_were_no_final_users(folder):
    whole = tables(folder, users=None, final_folds=4, final_fold=3)
    some, more = (tables(folder, users=n, final_folds=4, final_fold=3) for n in (12, 20))
    for raw in (some, more):
        assert raw.final.equals(whole.final)
        assert raw.items.equals(whole.items)
    assert drawn(some)[0] < drawn(more)[0] < drawn(whole)[0]
    inter = (folder / "x.inter").read_text().splitlines(keepends=True)
    others = [line for line in inter[1:] if line.split("\t")[0] not in drawn(some)[1]]
    (folder / "x.inter").write_text("".join([inter[0], *others]))
    without = tables(folder, users=12)
    assert without.interactions.equals(some.interactions)
    assert without.users.equals(some.users)
    final = len(drawn(some)[1])
    assert 4 < some.counts["final_users"] == final < 16
    assert some.counts["users_not_drawn"] == COUNT - final - 12
    assert some.counts["interactions_of_final_users"] == some.final.height == 10 * final
    assert some.counts["interactions_read"] == some.interactions.height + 10 * final + 10 * (COUNT - final - 12)


def written(folder, final_folds, protocol="popularity"):
    """The tables of the stages interactions and split; params of the lists."""
    raw = tables(folder, users=20, final_folds=final_folds, final_fold=1)
    INTERACTIONS.write(raw.interactions, paths.INTERACTIONS)
    INTERACTIONS.write(raw.final, paths.FINAL_INTERACTIONS)
    ITEMS.write(raw.items, paths.ITEMS)
    how = {"validation_share": 0.2, "list_length": 6, "protocol": protocol, "window": 5}
    p = load(PARAMS).split.model_copy(update=how)
    split.run(1, p)
    return p


@pytest.mark.parametrize("protocol", ["uniform", "popularity", "retrieved"])
def test_lists_of_final_users_lie_apart_and_the_split_of_the_others_is_the_same_bytes(folder, protocol):
    p = written(folder, 4, protocol)
    before = {path: path.read_bytes() for path in paths.SPLIT.rglob("*.parquet")}
    final_split.run(1, p)
    assert {path: path.read_bytes() for path in paths.SPLIT.rglob("*.parquet")} == before
    users, others = FINAL_USERS.read(paths.FINAL_USERS), FOLD_USERS.read(paths.FOLD_USERS)
    assert users.height == len(drawn(tables(folder, users=None, final_folds=4, final_fold=1))[1]) > 4
    assert not set(users["user"]) & set(others["user"])
    lists = LISTS.read(paths.lists(FINAL, paths.FINAL_SPLIT))
    assert set(lists["user"]) <= set(users["user"])
    assert set(lists["protocol"]) == {protocol}
    candidates = pl.read_parquet(paths.candidates(paths.FINAL_SPLIT))
    assert candidates.equals(lists.select(candidates.columns))
    with_labels = [path for path in paths.FINAL_SPLIT.rglob("*.parquet") if "label" in pl.read_parquet_schema(path)]
    assert with_labels == [paths.lists(FINAL, paths.FINAL_SPLIT)]


def test_no_user_of_the_run_may_be_final_and_none_that_is_final_of_a_fold(folder):
    p = written(folder, None)
    with pytest.raises(ParamsError, match=r"no user is final: set interactions.final_folds"):
        final_split.run(1, p)
    users = FOLD_USERS.read(paths.FOLD_USERS)
    final = users.with_columns(fold=pl.lit(FINAL), role=pl.lit("none"), half=pl.lit("-"))
    with pytest.raises(ContractError, match="fold"):
        FOLD_USERS.check(final, paths.FOLD_USERS)
    with pytest.raises(ContractError, match="fold"):
        FINAL_USERS.check(users, paths.FINAL_USERS)


def test_the_default_params_keep_users_apart():
    p = load(PARAMS).interactions
    assert (p.final_folds, p.final_list) == (4, "ml-100k")
    assert DEFAULT.final_folds is None, "tests of the others have none"
