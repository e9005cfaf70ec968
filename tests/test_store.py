import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import torch

from rlrf4rec import cli, closure, files, store

ROOT = Path(__file__).parent.parent


def pieces(state):
    return sorted(p for p in (state / ".rlrf4rec" / "store").glob("*/*/*") if p.is_file())


def table(*numbers):
    return pl.DataFrame({"number": numbers, "value": [n * 0.5 for n in numbers]})


def test_rows_of_several_runs_lie_on_one_shelf(state):
    one, two = (store.Rows("kind", "key", ["number"]) for _ in range(2))
    assert one.load() is None
    one.add(table(1, 2))
    two.add(table(2, 3))
    one.flush()
    two.flush()
    assert one.load().sort("number").equals(table(1, 2, 3))
    assert store.Rows("kind", "other", ["number"]).load() is None
    assert len(pieces(state)) == 2


def test_equal_work_of_two_runs_is_one_file(state):
    for _ in range(2):
        rows = store.Rows("kind", "key", ["number"])
        rows.add(table(1))
        rows.flush()
    assert len(pieces(state)) == 1


def test_rows_are_written_once_enough_time_has_passed(state, monkeypatch):
    rows = store.Rows("kind", "key", ["number"])
    rows.add(table(1))
    assert pieces(state) == []
    monkeypatch.setattr(store, "EVERY", 0.0)
    rows.add(table(2))
    assert rows.load().height == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_piece_is_thrown_away(state, capsys, damage):
    rows = store.Rows("kind", "key", ["number"])
    for number in (1, 2):
        rows.add(table(number))
        rows.flush()
    broken = pieces(state)[0]
    content = broken.read_bytes()
    broken.write_bytes({"cut": content[:-9], "changed": content[:40] + b"x" + content[41:], "empty": b""}[damage])
    assert rows.load().height == 1
    assert "damaged; thrown away" in capsys.readouterr().err
    assert not broken.exists()


def test_tensors_of_the_highest_rank_stay(state):
    assert store.load_tensors("kind", "key") is None
    for rank in (3, 1, 12):
        store.save_tensors("kind", "key", {"x": torch.full((2,), float(rank))}, {"rank": str(rank)}, rank)
    tensors, metadata = store.load_tensors("kind", "key")
    assert tensors["x"].tolist() == [12.0, 12.0]
    assert metadata == {"rank": "12"}
    assert len(pieces(state)) == 1


def test_cleaning_keeps_what_was_used_last(state, monkeypatch):
    monkeypatch.setattr(store, "GB", 1)
    for age, key in ((30, "old"), (20, "middle"), (10, "new")):
        rows = store.Rows("kind", key, ["number"])
        rows.add(table(1))
        rows.flush()
        shelf = state / ".rlrf4rec" / "store" / "kind" / key
        os.utime(shelf, (time.time() - age, time.time() - age))
    size = store.shelves()[0].size
    store.Rows("kind", "old", ["number"]).load()  # now the one used last
    assert store.clean(2 * size) == (1, size)
    assert [shelf.path.name for shelf in store.shelves()] == ["old", "new"]
    assert store.clean(0) == (2, 2 * size)
    assert store.shelves() == []


def test_the_command_shows_and_cleans(state, monkeypatch, capsys):
    rows = store.Rows("sample", "key", ["number"])
    rows.add(table(1))
    rows.flush()
    monkeypatch.setattr(sys, "argv", ["rlrf4rec", "store"])
    assert cli.main() == 0
    assert "sample" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["rlrf4rec", "store", "--gc", "--max-gb", "0"])
    assert cli.main() == 0
    assert "removed 1 pieces of work" in capsys.readouterr().out
    assert pieces(state) == []


def test_a_stage_keeps_the_store_to_its_size_by_itself(stage, tmp_path):
    """As it ends; what was used longest ago goes."""
    for age, key in ((30, "old"), (20, "middle"), (10, "new")):
        put("kind", key, 1)
        shelf = tmp_path / ".rlrf4rec" / "store" / "kind" / key
        os.utime(shelf, (time.time() - age, time.time() - age))
    size = store.shelves()[0].size
    for left, names in ((3, ["new", "middle", "old"]), (2, ["new", "middle"]), (0.5, [])):
        params = re.sub(r"  max_gb: .*", f"  max_gb: {left * size / store.GB:.12f}", (ROOT / "params.yaml").read_text())
        (tmp_path / "params.yaml").write_text(params)
        assert stage(lambda: "done") == 0
        assert [shelf.path.name for shelf in store.shelves()] == names


def test_a_piece_is_on_the_disk_before_it_has_its_name(state, monkeypatch):
    seen, real = [], store.sync

    def watch(path):
        seen.append((path.is_dir(), [piece.name.endswith(".parquet") for piece in pieces(state)]))
        real(path)

    monkeypatch.setattr(store, "sync", watch)
    put("kind", "key", 1)
    assert seen == [(False, [False]), (True, [True])]


def put(kind, key, number):
    rows = store.Rows(kind, key, ["number"])
    rows.add(table(number))
    rows.flush()


@pytest.mark.parametrize("gone", ["the piece", "the shelf"])
def test_what_another_run_cleans_away_while_it_is_read_is_not_there(state, monkeypatch, gone):
    for number in (1, 2):
        put("rows", "key", number)
    store.save_tensors("tensors", "key", {"x": torch.ones(1)}, {})
    shelf, real, first = state / ".rlrf4rec" / "store", store.sha256, []

    def hashed(path):
        found = real(path)
        first.append(path)
        if gone == "the shelf":
            shutil.rmtree(shelf / path.parent.parent.name)
        elif len(first) == 1 or path.suffix == ".safetensors":
            path.unlink()
        return found

    monkeypatch.setattr(store, "sha256", hashed)
    found = store.Rows("rows", "key", ["number"]).load()
    assert (found is None) if gone == "the shelf" else (found.height == 1)
    assert store.load_tensors("tensors", "key") is None


def test_a_shelf_that_another_run_cleans_away_while_it_is_filled_is_filled_again(state, monkeypatch):
    real, seen = store.sync, []

    def cleaned(path):
        if not seen:
            store.clean(0)
        seen.append(path)
        if path.exists():
            real(path)

    monkeypatch.setattr(store, "sync", cleaned)
    put("kind", "key", 1)
    assert store.Rows("kind", "key", ["number"]).load().equals(table(1))
    assert len(seen) == 3  # the first try, then piece and shelf


KNOWN, OTHER = "9c" * 32, "0f" * 32


@pytest.fixture
def kept(state, monkeypatch):
    """A piece of work, a journal and two downloads, 10 bytes each, the downloads used last."""
    monkeypatch.setattr(store, "GB", 1)
    folder = state / ".rlrf4rec"
    files = ["store/kind/key/1-x.parquet", "studies/tune_dpo-1.log", f"downloads/{KNOWN}", f"downloads/{OTHER}"]
    for age, name in enumerate(reversed(files)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"0123456789")
        for path in (folder / name, (folder / name).parent):
            os.utime(path, (time.time() - age, time.time() - age))
    return folder


def left():
    return [(shelf.kind, shelf.path.name) for shelf in store.shelves()]


def test_journals_and_downloads_are_bounded_too(kept):
    every = [("downloads", OTHER), ("downloads", KNOWN), ("studies", "tune_dpo-1.log"), ("kind", "key")]
    assert left() == every
    assert store.clean(40) == (0, 0)
    assert store.clean(39) == (1, 10)
    assert left() == every[:3]
    assert store.clean(20) == (1, 10)
    assert left() == every[:2]
    assert store.clean(0) == (2, 20)


def test_a_download_that_no_params_name_goes_first(kept):
    assert store.clean(40, {KNOWN}) == (1, 10)
    assert ("downloads", OTHER) not in left()
    assert store.clean(30, set()) == (1, 10)
    assert [kind for kind, _ in left()] == ["studies", "kind"]


def test_what_a_run_is_at_stays(kept):
    with store.alone(KNOWN), store.alone("tune_dpo-1"):
        assert store.clean(0, set()) == (2, 20)
    assert left() == [("downloads", KNOWN), ("studies", "tune_dpo-1.log")]


def test_gc_keeps_downloads_of_params_and_recipes(kept, tmp_path, monkeypatch, capsys):
    root = closure.PACKAGE.parent.parent
    text = (root / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(re.sub(r"sha256: 9c\w+", f"sha256: {KNOWN}", text))
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "a.yaml").write_text(f"about: x\nset:\n  fetch_dataset.sha256: {'ab' * 32}\n")
    named = kept / "downloads" / ("ab" * 32)
    named.write_bytes(b"0123456789")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["rlrf4rec", "store", "--gc", "--max-gb", "99"])
    assert cli.main() == 0
    out = capsys.readouterr().out
    assert "removed 1 pieces of work" in out
    assert re.search(r"downloads +2 pieces of work", out)
    assert re.search(r"studies +1 pieces of work", out)
    assert sorted(path.name for path in named.parent.iterdir()) == sorted([KNOWN, "ab" * 32])


def test_digest_tells_contents_apart():
    x = torch.arange(4.0)
    same = [store.digest({"a": x.clone(), "b": [1, "t"]}) for _ in range(2)]
    assert same[0] == same[1]
    others = [
        {"a": x.double(), "b": [1, "t"]},
        {"a": x.view(2, 2), "b": [1, "t"]},
        {"a": x + 1e-7, "b": [1, "t"]},
        {"a": x, "b": [1, "u"]},
        {"a": x, "c": [1, "t"]},
        {"a": x, "b": [[1], "t"]},
    ]
    assert len({same[0], *(store.digest(other) for other in others)}) == 7
    assert store.digest(["a", "b"]) != store.digest(["ab"])
    assert store.digest(x, x) != store.digest(x)


HOLDS = (
    "import sys, time; from rlrf4rec import store\nwith store.alone('study'): print('in', flush=True); time.sleep(60)"
)


def test_one_process_waits_for_the_other_and_a_killed_one_frees_the_lock(state):
    environment = {**os.environ, "DVC_ROOT": str(state)}
    with subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, env=environment) as first:
        first.stdout.readline()
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        second = subprocess.Popen([sys.executable, "-c", HOLDS], env=environment, **pipes)
        assert b"another run is at it" in second.stderr.readline()
        time.sleep(0.5)
        assert second.poll() is None
        first.kill()
        assert second.stdout.readline() == b"in\n"
        second.kill()
        second.communicate()


def test_what_a_killed_process_left_half_written_is_swept(tmp_path):
    code = (
        "import os, signal, pathlib; from rlrf4rec import files\n"
        "with files.atomic(pathlib.Path('out') / 'x.json') as t:\n"
        " t.write_text('{')\n os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    left = list((tmp_path / "out").iterdir())
    assert len(left) == 1
    assert left[0].name.endswith(".partial")
    with files.atomic(tmp_path / "out" / "mine.json") as mine:
        mine.write_text("{}")
        assert files.sweep(tmp_path) == 1  # not what this living process is writing
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.json"]


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        files.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("module", "holds"),
    [
        (
            "stages.sample",
            {"sampling/nucleus.py", "sampling/shared_attention.py", "llm/models.py", "seeds.py", "tables/texts.py"},
        ),
        (
            "stages.tune_dpo",
            {"judging/judge.py", "alignment/tune.py", "alignment/trl_engine.py", "encoding/encoder.py"},
        ),
        ("retraining.parallel", {"ranking/nets.py", "ranking/losses.py", "metrics/ranking.py", "workers.py"}),
        ("reward.rewards", {"metrics/ranking.py", "ranking/nets.py", "seeds.py"}),
    ],
)
def test_an_identity_covers_all_that_is_imported(module, holds, monkeypatch):
    """An edit in any of these files makes other pieces of work; so does a new version of a library."""
    before = store.code(module, threads=1)
    found = {path.relative_to(closure.PACKAGE).as_posix() for path in closure.files(module)}
    assert holds <= found
    real, other = store.sha256, set()
    for name in found:
        monkeypatch.setattr(store, "sha256", lambda path, n=name: "x" if path == closure.PACKAGE / n else real(path))
        other.add(store.code(module, threads=1))
    assert len(other | {before}) == len(found) + 1


def test_an_identity_of_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"no module language\.sampler"):
        store.code("language.sampler")


def test_every_identity_in_the_code_is_of_a_module_that_there_is():
    names = [
        n for path in closure.PACKAGE.rglob("*.py") for n in re.findall(r'store\.code\("([\w.]+)"', path.read_text())
    ]
    assert len(names) >= 9
    assert all(closure.files(name) for name in names)
