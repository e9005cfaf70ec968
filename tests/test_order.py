"""Order in time: of ties the files' order, from there down to the prompt; and fractions of a second."""

import random
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from dataset import columns, tables, write
from hypothesis import given, settings
from hypothesis import strategies as st
from test_show import Letters

from rlrf4rec import paths
from rlrf4rec.errors import InputError
from rlrf4rec.files import read_json
from rlrf4rec.params import load
from rlrf4rec.report.provenance import flat
from rlrf4rec.stages import interactions, prompt, split
from rlrf4rec.tables.split import HISTORY
from rlrf4rec.tables.texts import PROMPTS

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"


def log(folder, times, **changes):
    """Lines in the order of the table, its times and the counts; one user, items whose ids fall from line to line."""
    ids = [f"i{9999 - line}" for line in range(len(times))]
    inter = INTER + "".join(f"u\t{item}\t5\t{time}\n" for item, time in zip(ids, times, strict=True))
    write(folder, {"x.inter": inter, "x.item": ITEM + "".join(f"{item}\tT\t\t\n" for item in ids)})
    raw = tables(folder, 1, **changes)
    return [ids.index(item) for item in raw.interactions["item"]], raw.interactions["timestamp"].to_list(), raw.counts


def test_fractions_of_a_second_count():
    raw = tables(Path(__file__).parent / "cases" / "fractional-timestamps")
    assert raw.interactions["item"].to_list() == ["i3", "i1", "i2", "i4"]
    assert raw.interactions["timestamp"].to_list() == [15000100, 15000200, 15000300, 15001100]
    assert raw.counts["timestamps_per_second"] == 1000


@pytest.mark.parametrize(
    ("times", "order", "seconds", "named"),
    [
        (["7", "5.0", "6."], [1, 2, 0], [5, 6, 7], {}),
        (["0.5", "1e-7", "5e-08", "0"], [3, 2, 1, 0], [0, 50, 100, 500_000_000], {"per_second": 1_000_000_000}),
        (["881250949.25", "881250949.125"], [1, 0], [881250949125, 881250949250], {"per_second": 1000}),
        (
            ["978300760001", "978300760000"],
            [1, 0],
            [978300760000, 978300760001],
            {"in_milliseconds": 2, "per_second": 1000},
        ),
        (
            ["2024-05-01 10:00:00.5", "2024-05-01T10:00:00.25Z", "1714557600"],
            [2, 1, 0],
            [1714557600000, 1714557600250, 1714557600500],
            {"as_text": 2, "per_second": 1000},
        ),
        (["1588687728000000", "978300760000000"], [1, 0], [978300760, 1588687728], {"in_microseconds": 2}),
    ],
)
def test_times_are_whole_in_the_fewest_parts_of_a_second_and_only_these_are_named(
    tmp_path, times, order, seconds, named
):
    found, stamps, counts = log(tmp_path, times)
    assert (found, stamps) == (order, seconds)
    told = {name.removeprefix("timestamps_"): n for name, n in counts.items() if name.startswith("timestamps")}
    assert told == named


@settings(max_examples=30, deadline=None)
@given(numbers=st.lists(st.decimals(0, 4_000_000_000, places=6), min_size=1, max_size=12))
def test_any_times_with_fractions_are_in_order_and_ties_in_that_of_the_file(tmp_path_factory, numbers):
    found, _, _ = log(tmp_path_factory.mktemp("log"), [f"{Decimal(number):f}" for number in numbers])
    assert found == sorted(range(len(numbers)), key=lambda line: numbers[line])


def test_a_time_below_zero_is_refused_even_by_a_fraction(tmp_path):
    with pytest.raises(InputError, match=r"x.inter: line 3, column timestamp: '-0.5' is before 1970"):
        log(tmp_path, ["0.5", "-0.5"])


def test_datetimes_of_parquet_keep_their_fractions(tmp_path):
    times = [datetime(2024, 5, 1, 10, 0, 0, part) for part in (300_000, 100_000, 200_000)]
    pl.DataFrame({"user": "u", "item": ["a", "b", "c"], "at": times}).write_parquet(tmp_path / "interactions.parquet")
    pl.DataFrame({"item": ["a", "b", "c"], "title": "T"}).write_parquet(tmp_path / "items.parquet")
    names = columns(user="user", item="item", rating=None, timestamp="at", title="title", year=None, genres=None)
    patterns = {"interactions": "interactions.parquet", "items": "items.parquet"}
    files = load(Path(__file__).parent.parent / "params.yaml").interactions.files.model_copy(update=patterns)
    raw = tables(tmp_path, 1, format="table", columns=names, files=files)
    assert raw.interactions["item"].to_list() == ["b", "c", "a"]
    assert raw.counts["timestamps_per_second"] == 1000


def test_of_very_many_ties_the_file_s_order_stays(tmp_path):
    pairs = [(f"u{user}", f"i{item}") for user in range(300) for item in range(1000)]
    random.Random(1).shuffle(pairs)
    inter = INTER + "".join(f"{user}\t{item}\t3\t9\n" for user, item in pairs)
    write(tmp_path, {"x.inter": inter, "x.item": ITEM + "".join(f"i{i}\tT\t\t\n" for i in range(1000))})
    assert tables(tmp_path).interactions.select("user", "item").rows() == sorted(pairs, key=lambda pair: pair[0])


def test_the_tied_share_is_of_interactions_that_share_their_time_with_another_of_the_user():
    rows = [("u", 1), ("u", 2), ("u", 2), ("v", 2), ("v", 3), ("v", 3)]
    frame = pl.DataFrame(rows, ["user", "timestamp"], orient="row")
    assert interactions.tied_share(frame.head(3)) == 2 / 3
    assert interactions.tied_share(frame) == 4 / 6
    assert interactions.tied_share(frame.head(1)) == 0


def test_ties_keep_the_file_s_order_down_to_the_prompt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prompt, "load_tokenizer", lambda *_: Letters())
    p = load(Path(__file__).parent.parent / "params.yaml")
    own = [f"i{90 - k}" for k in range(12)]  # two at a time, the larger id first
    inter = INTER + "".join(f"u{u:02}\t{item}\t5\t{100 + k // 2}\n" for k, item in enumerate(own) for u in range(48))
    item = ITEM + "".join(f"i{k}\tT{k}\t\t\n" for k in range(60, 91))
    write(paths.RAW, {"x.inter": inter, "x.item": item})
    interactions.run(p.seed, p.interactions.model_copy(update={"users": None, "final_folds": None}))
    split.run(p.seed, p.split)
    prompt.run(p.prompt.model_copy(update={"template": str(Path(__file__).parent.parent / p.prompt.template)}), p.llm)
    history = HISTORY.read(paths.HISTORY).filter(user="u07")
    assert history.select("position", "item").rows() == list(enumerate(own[:6]))
    written = PROMPTS.read(paths.PROMPTS).filter(user="u07")["prompt"].item()
    assert "\nLiked: T90; T89; T88; T87; T86; T85\n" in written
    told = read_json(paths.metrics("interactions"))
    assert told["tied_share"] == 1.0
    assert ("tied_share", 1.0) in flat(told)  # what the report shows
