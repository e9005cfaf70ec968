from pathlib import Path

import polars as pl
import pytest
from good_tables import prompt_row

from rlrf4rec.errors import RLRFError
from rlrf4rec.tables.contract import ContractError
from rlrf4rec.tables.interactions import INTERACTIONS, ITEMS
from rlrf4rec.tables.results import metrics_table
from rlrf4rec.tables.rewards import KINDS, PAIRS, REWARDS, check_pair_sources
from rlrf4rec.tables.split import FOLD_USERS, LISTS, PROTOCOLS
from rlrf4rec.tables.texts import PROMPT, PROMPTS, TEXTS

PATH = Path("some/file.parquet")


def texts():
    return pl.DataFrame(
        {
            "user": ["a", "a"],
            "sample": [0, 1],
            "text": ["x", "y"],
            "policy": ["base", "base"],
            "tokens": [[1, 2], [3]],
            "token_count": [2, 1],
            "stop": ["stop", "length"],
            "redraws": [0, 0],
            "log_prob": [-1.5, None],
            "temperature": [1.0, 1.0],
            "top_k": [0, 0],
            "top_p": [0.9, 0.9],
            "max_tokens": [3, 3],
            "seed": [1, 1],
        }
    )


def lists():
    return pl.DataFrame(
        {
            "user": ["u"] * 3,
            "list": [0] * 3,
            "position": [0, 1, 2],
            "item": ["i", "j", "k"],
            "label": [1, 0, 0],
            "real": [True, False, False],
            "begins": [10] * 3,
            "activity": [2] * 3,
            "protocol": ["popularity"] * 3,
        }
    )


def prompts(**changes):
    return pl.DataFrame([{**prompt_row("u", "own", [1, 2, 3]), **changes}], schema=PROMPT)


def pairs():
    return pl.DataFrame(
        {
            "user": ["u", "v"],
            "half": ["A", "B"],
            "chosen_sample": [0, 1],
            "rejected_sample": [1, 0],
            "chosen": ["good", "good"],
            "rejected": ["bad", "bad"],
            "chosen_tokens": [[1, 2], [1]],
            "rejected_tokens": [[3], [2]],
            "chosen_log_prob": [-1.5, -0.5],
            "rejected_log_prob": [-2.5, -0.1],
            "chosen_reward": [0.5, 0.6],
            "rejected_reward": [0.1, 0.2],
            "gap": [0.4, 0.4],
            "judged_gap": [0.1, -0.1],
        }
    )


def test_a_valid_table_comes_back_as_it_was(tmp_path):
    path = tmp_path / "texts.parquet"
    TEXTS.write(texts(), path)
    assert TEXTS.read(path).equals(texts())
    LISTS.check(lists(), PATH)
    PAIRS.check(pairs(), PATH)


@pytest.mark.parametrize(
    ("table", "frame", "words"),
    [
        (TEXTS, texts().with_columns(text=pl.lit(" ")), ["column text", "no text is blank", "user='a'", "2 row"]),
        (TEXTS, texts().with_columns(stop=pl.lit("end")), ["column stop", "isin", "row 0: 'end'"]),
        (TEXTS, texts().with_columns(extra=1), ["column_in_schema", "extra"]),
        (TEXTS, texts().drop("seed"), ["column_in_dataframe", "seed"]),
        (TEXTS, texts().with_columns(sample=pl.lit(0, pl.Int64)), ["uniqueness"]),
        (TEXTS, texts().with_columns(pl.col("sample").cast(pl.Int32)), ["column sample", "Int64"]),
        (TEXTS, texts().with_columns(top_p=float("nan")), ["column top_p"]),
        (TEXTS, texts().with_columns(token_count=pl.lit(5, pl.Int64)), ["token_count is the number of tokens"]),
        (TEXTS, texts().filter(pl.col("sample") == 1), ["same number of texts"]),
        (LISTS, lists().with_columns(item=pl.lit("i")), ["no item is twice in a list"]),
        (LISTS, lists().with_columns(label=pl.lit(0, pl.Int64)), ["every list has a positive"]),
        (LISTS, lists().with_columns(real=pl.lit(False)), ["a positive is real"]),
        (LISTS, lists().with_columns(position=pl.Series([0, 1, 5])), ["positions count from 0"]),
        (PAIRS, pairs().with_columns(chosen_reward=pl.lit(0.05)), ["chosen reward > rejected reward", "user='u'"]),
        (PAIRS, pairs().with_columns(chosen_tokens=pl.col("rejected_tokens")), ["chosen and rejected differ"]),
        (PAIRS, pairs().with_columns(prompt=pl.lit("Liked: Heat")), ["column_in_schema", "prompt"]),
        (PROMPTS, prompts(prompt="own."), ["column parts", "the parts make up the prompt", "user='u'"]),
        (PROMPTS, prompts(tokens=[1, 2]), ["column parts", "the parts make up the prompt and its tokens"]),
        (PROMPTS, prompts(parts=[]), ["column parts"]),
        (PROMPTS, prompts(ratings=[]), ["column ratings", "at least one rating"]),
        (PROMPTS, prompts(ratings=[{"item": "i", "title": None, "liked": True}]), ["column ratings", "with title"]),
        (TEXTS, texts().with_columns(log_prob=pl.lit(0.1)), ["column log_prob"]),
        (PAIRS, pairs().with_columns(gap=pl.lit(0.0)), ["column gap"]),
        (
            PAIRS,
            pairs().with_columns(user=pl.lit("u"), chosen_sample=pl.lit(0, pl.Int64)),
            ["uniqueness", '"user":"u"'],
        ),
        (PAIRS, pairs().with_columns(user=pl.lit("u"), rejected_sample=pl.lit(1, pl.Int64)), ["rejected at most once"]),
        (
            PAIRS,
            pairs().with_columns(
                user=pl.lit("u"), rejected=pl.Series(["bad", "good"]), chosen=pl.Series(["good", "x"])
            ),
            ["column chosen", "no text of a user is chosen and rejected", "chosen='good'"],
        ),
        (
            FOLD_USERS,
            pl.DataFrame(
                {"user": ["a", "a"], "fold": ["train", "development"], "role": ["rank", "none"], "half": ["-", "-"]}
            ),
            ["column user", "field_uniqueness"],
        ),
        (
            FOLD_USERS,
            pl.DataFrame({"user": ["a"], "fold": ["development"], "role": ["tune"], "half": ["A"]}),
            ["only train users tune or rank"],
        ),
        (
            FOLD_USERS,
            pl.DataFrame({"user": ["a"], "fold": ["train"], "role": ["tune"], "half": ["-"]}),
            ["tuning users, and only they, have a half"],
        ),
        (
            ITEMS,
            pl.DataFrame({"item": ["1"], "title": [""], "year": [1990], "genres": [""]}),
            ["column title", "str_length"],
        ),
        (
            INTERACTIONS,
            pl.DataFrame({"user": ["u", "u"], "item": ["1", "2"], "rating": [1.0, 2.0], "timestamp": [9, 3]}),
            ["ordered by user, then time"],
        ),
    ],
)
def test_a_broken_contract_names_file_column_rule_rows_and_advice(table, frame, words):
    with pytest.raises(ContractError) as error:
        table.check(frame, PATH)
    for word in ("some/file.parquet", "What to do", *words):
        assert word in str(error.value)


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize(
    ("spoilt", "rule"),
    [
        (lists().with_columns(label=pl.lit(0, pl.Int64)), "every list has a positive, but for those of uniform"),
        (lists().with_columns(item=pl.lit("i")), "no item is twice in a list, but for those of uniform"),
    ],
)
def test_only_a_protocol_that_does_not_check_its_lists_may_have_such(name, spoilt, rule):
    frame = spoilt.with_columns(protocol=pl.lit(name))
    if name == "uniform":
        assert LISTS.check(frame, PATH).equals(frame)
    else:
        with pytest.raises(ContractError, match=rule):
            LISTS.check(frame, PATH)


def test_rewards_must_be_finite():
    row = {"user": "u", "sample": 0, "fold": "train", "lists": 1, **dict.fromkeys(KINDS, 0.5)}
    good = pl.DataFrame([{**row, "reward": -1.0, "judged": -1.0}])
    REWARDS.check(good, PATH)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ContractError, match="column reward"):
            REWARDS.check(good.with_columns(reward=bad), PATH)


def test_a_broken_table_is_not_written_and_the_old_one_stays(tmp_path):
    path = tmp_path / "texts.parquet"
    TEXTS.write(texts(), path)
    before = path.read_bytes()
    with pytest.raises(ContractError):
        TEXTS.write(texts().with_columns(text=pl.lit("")), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["texts.parquet"]


def test_a_missing_or_broken_file_says_which_stage_to_run(tmp_path):
    with pytest.raises(RLRFError, match="dvc repro sample"):
        TEXTS.read(tmp_path / "none.parquet")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 this is not parquet")
    with pytest.raises(RLRFError, match=r"broken\.parquet: not a readable Parquet file"):
        TEXTS.read(broken)


def test_each_half_must_give_a_pair():
    check_pair_sources(pairs(), PATH)
    with pytest.raises(ContractError, match="half='B'"):
        check_pair_sources(pairs().filter(pl.col("half") == "A"), PATH)


def test_metrics_lie_between_0_and_1():
    table = metrics_table([5], per_list=False)
    row = {"backbone": "prm", "knowledge": "none", "seed": 0, "user": "u"}
    names = ("ndcg", "map", "kar_map", "hr", "mrr")
    table.check(pl.DataFrame([{**row, **{f"{n}@5": 0.5 for n in names}}]), PATH)
    with pytest.raises(ContractError, match="ndcg@5"):
        table.check(pl.DataFrame([{**row, **{f"{n}@5": 1.5 for n in names}}]), PATH)
