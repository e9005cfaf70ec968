"""`rlrf4rec reproduce --take`: which run of the workspace may stand for the committed one run again."""

import re
from pathlib import Path

import pytest
from again import clones, kept, ran_now, repro
from compared import call

from rlrf4rec import cli, store
from rlrf4rec.errors import InputError
from rlrf4rec.reproducing import records, runs
from rlrf4rec.search.study import run as search


def test_a_run_that_is_taken(reproduce, monkeypatch, capfd):
    monkeypatch.setenv("SHIFT", "0.02")
    repro("--force", "--no-run-cache")
    ran_now()
    assert reproduce("--take") == 1
    assert "3 equal, 0 within tolerance, 1 not reproduced" in capfd.readouterr().out
    assert records.read(Path())[records.OTHER]["how"] == "taken"
    assert clones() == []


def test_a_run_that_took_its_work_over_from_the_store_may_not_be_taken(reproduce, capfd):
    """Where the committed run was made, a forced one writes fresh logs, and computes nothing."""
    ran_now()
    kept("store/texts/key/1.parquet", 60)
    kept("downloads/0123", -3600)
    assert reproduce("--take") == 0  # one that was resumed in a clone
    old = kept("store/texts/key/0.parquet", -3600)
    with pytest.raises(
        InputError, match=r"texts/key/0.parquet was made at .*, before HEAD \(\w+\) had its dvc.lock"
    ) as e:
        reproduce("--take")
    advised = re.search("`rlrf4rec (store.*) && dvc repro --force --no-run-cache`", str(e.value))[1]
    args = cli._parser().parse_args(advised.split())
    assert args.gc
    store.clean(args.max_gb)
    assert not old.exists()
    assert reproduce("--take") == 0


def test_an_old_search_may_not_be_taken_though_its_journal_was_written_to(reproduce, monkeypatch):
    """Optuna writes a line into a journal whenever it opens it: the file's time says nothing of its trials."""
    ran_now()
    monkeypatch.setenv("DVC_ROOT", str(Path.cwd()))
    search("tune", "k" * 20, lambda trial: trial.suggest_float("x", 0, 1), 1, 1, 1, 1)
    (journal,) = Path(".rlrf4rec/studies").iterdir()
    lines = re.sub(r'("datetime_start": ?)"20..', r'\1"2001', journal.read_text())
    journal.write_text(lines)
    with pytest.raises(InputError, match=r"studies/tune-k+.log was made at 2001-.*, before HEAD"):
        reproduce("--take")


def test_a_workspace_without_a_lock_is_no_run(reproduce):
    ran_now()
    Path("dvc.lock").unlink()
    with pytest.raises(InputError, match=r"dvc.lock is missing: the workspace holds no finished run; run `dvc repro`"):
        reproduce("--take")
    with pytest.raises(InputError, match=r"dvc.lock is missing, so there is no finished run"):
        runs.of_folder(Path())


def test_what_may_not_be_taken(reproduce):
    """The committed run itself, that of other code, one that was never made here, an edited one."""
    with pytest.raises(InputError, match="evaluate has not run in this workspace"):
        reproduce("--take")
    ran_now(-3600)
    with pytest.raises(InputError, match=r"evaluate last ran here at .*, before HEAD \(\w+\) had its dvc.lock"):
        reproduce("--take")
    ran_now()
    Path("metrics/summary.json").write_text("{}")
    with pytest.raises(InputError, match=r"no finished run: metrics/summary.json: edited"):
        reproduce("--take")
    call("checkout", "metrics")
    Path("src/new.py").write_text("")
    with pytest.raises(InputError, match=r"the workspace is not HEAD \(\w+\): src/new.py differ"):
        reproduce("--take")
    Path("src/new.py").unlink()
    Path("params.yaml").write_text("seed: 2\n")
    with pytest.raises(InputError, match=r"the workspace is not HEAD \(\w+\): params.yaml differ"):
        reproduce("--take")
