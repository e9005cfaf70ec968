"""What lies in Git of a run, so that any clone goes on from it: texts, rewards, pairs, searches, and no ratings."""

import re

import good_tables
import polars as pl
import pytest
from test_dag import ALL, body

from rlrf4rec.alignment.pairs import token_pairs
from rlrf4rec.errors import RLRFError
from rlrf4rec.tables.rewards import PAIRS, REWARDS
from rlrf4rec.tables.texts import TEXTS

PROMPTS = pl.DataFrame({"user": ["v", "w", "u"], "tokens": [[1, 6], [1, 7], [1, 5]]})


def test_no_table_in_git_has_a_prompt_or_an_item():
    """Contracts are strict: a column that is not named here is in no file. Of a user there are texts and rewards."""
    columns = {name: set(table.schema.columns) for name, table in (("t", TEXTS), ("r", REWARDS), ("p", PAIRS))}
    said = {"user", "sample", "text", "policy", "tokens", "token_count", "stop", "redraws", "log_prob", "seed"}
    assert columns["t"] == said | {"temperature", "top_k", "top_p", "max_tokens"}
    assert columns["r"] == {"user", "sample", "fold", "lists", "reward", "judged", "ndcg", "map", "smooth", "personal"}
    sides = {f"{side}{what}" for side in ("chosen", "rejected") for what in ("", *SIDES)}
    assert columns["p"] == {"user", "half", "gap", "judged_gap"} | sides


SIDES = "_sample", "_tokens", "_log_prob", "_reward"


def test_a_stage_that_reads_pairs_depends_on_the_prompts_too():
    """`pair` alone reads none: what it writes is in Git."""
    for dag, stage in ALL:
        deps = body(dag, stage)["deps"]
        if any(re.search(r"/pair/", dep) for dep in deps):
            assert "data/prompt/prompts.parquet" in deps, stage
        if stage == "pair":
            assert not any(dep.startswith("data/prompt") for dep in deps)


def test_a_pair_gets_the_prompt_of_its_user():
    """Whatever the order of the prompts, and of more users than there are pairs of."""
    made = token_pairs(good_tables.PAIRS, PROMPTS, 10)
    assert [pair.prompt for pair in made] == [[1, 5], [1, 6]]
    assert [(pair.chosen, pair.rejected) for pair in made] == [([1, 2], [3]), ([1], [2])]


@pytest.mark.parametrize("prompts", [PROMPTS.head(2), PROMPTS.with_columns(tokens=pl.lit([], pl.List(pl.Int64)))])
def test_a_pair_of_a_user_without_prompt_is_named(prompts):
    with pytest.raises(RLRFError, match=r"pair of user u: the user has no prompt; run `dvc repro prompt pair`"):
        token_pairs(good_tables.PAIRS, prompts, 10)
