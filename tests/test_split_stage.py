"""The stage `split` writes all of its tables or none: those of two runs never lie beside each other."""

import json
from pathlib import Path

import polars as pl
import pytest

from rlrf4rec import paths
from rlrf4rec.errors import RLRFError
from rlrf4rec.params import load
from rlrf4rec.stages import protocol, split
from rlrf4rec.tables import split as rules
from rlrf4rec.tables.contract import ContractError
from rlrf4rec.tables.interactions import INTERACTIONS, ITEMS

ROOT = Path(__file__).parent.parent


@pytest.fixture
def p(tmp_path, monkeypatch):
    """Params, in a folder with 48 users who have rated 16 of 40 items each."""
    monkeypatch.chdir(tmp_path)
    rows = [(f"u{u:02}", f"i{(u * 7 + k) % 40:02}", 5.0, 100 + k) for u in range(48) for k in range(16)]
    names = ["user", "item", "rating", "timestamp"]
    INTERACTIONS.write(pl.DataFrame(rows, names, orient="row"), paths.INTERACTIONS)
    ids = [f"i{i:02}" for i in range(40)]
    frame = pl.DataFrame({"item": ids, "title": ids, "genres": ""}).with_columns(year=pl.lit(None, pl.Int64))
    ITEMS.write(frame.select("item", "title", "year", "genres"), paths.ITEMS)
    return load(ROOT / "params.yaml")


def lying(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fail_at(monkeypatch, fold):
    """Lists of this fold break a contract."""
    check = rules.check_history

    def broken(lists, history, path):
        """As it is, but for one fold."""
        if path.name == paths.lists(fold).name and path.parent.name == paths.lists(fold).parent.name:
            raise ContractError(f"{path}: broken")
        check(lists, history, path)

    monkeypatch.setattr(rules, "check_history", broken)


def test_a_split_that_fails_late_leaves_what_was_there(p, monkeypatch):
    split.run(1, p.split)
    before, told = lying(paths.SPLIT), json.loads(paths.metrics("split").read_text())
    assert len(before) == 7
    fail_at(monkeypatch, "development")
    with pytest.raises(RLRFError, match="broken"):
        split.run(2, p.split)
    assert (lying(paths.SPLIT), json.loads(paths.metrics("split").read_text())) == (before, told)
    assert sorted(path.name for path in paths.SPLIT.parent.iterdir()) == ["interactions", "split"]


def test_the_lists_of_a_protocol_are_all_there_or_none(p, monkeypatch):
    split.run(1, p.split)
    fail_at(monkeypatch, "development")
    with pytest.raises(RLRFError, match="broken"):
        protocol.run(2, p.split, "uniform")
    assert not paths.protocol("uniform").exists()
