"""Generated bad files of a run and bad templates of prompts: each ends in our own error.

What `check`, `compare`, `keep` and `reproduce` read is in Git, and may come from anyone's branch.
"""

import json

import pytest
from faults.exploring import ANY, ONE, earlier, edits, explored
from faults.fuzz_readers import edited
from faults.fuzz_runs import READ, run_readers
from hypothesis import strategies as st

from rlrf4rec import files, params
from rlrf4rec.errors import InputError, ParamsError
from rlrf4rec.revisions.documents import of_json, of_yaml

LEAST = 200  # inputs of each kind that have to be refused
MADE = {
    "lock of check": 300,
    "lock of compare": 300,
    "lock of reproduce": 900,
    "params of check": 600,
    "params of compare": 600,
    "dvc.yaml of check": 500,
    "dvc.yaml of compare": 500,
    "metrics of reproduce": 300,
    "users' values of compare": 300,
    "record of reproduce": 300,
    "looks": 500,
    "template": 400,
}
MARKS = [
    b"*x ",
    b"&x ",
    b"? ",
    b"!!set ",
    b"<<: ",
    b"---\n",
    b": ",
    b"- ",
    b"[",
    b"{",
    b'"\\0"',
    b"../",
    b"null",
    b"2020-99-99",
]


@pytest.mark.parametrize("name", READ)
def test_a_broken_file_of_a_run_is_an_error_of_ours(tmp_path, name):
    reader, untouched = run_readers(tmp_path)[name], earlier(tmp_path / "earlier")
    changes = edits(ANY | ONE | st.sampled_from(MARKS))
    assert explored((MADE[name], LEAST), changes, lambda given: reader.read(edited(reader.good, given)), untouched)


def test_every_broken_file_has_its_number_of_inputs():
    assert set(MADE) == set(READ)


HIDDEN = b"# " + b"]" * 50_000 + b"\na: " + b"[" * 50_000  # brackets of a comment close none


@pytest.mark.parametrize(
    "content", [b"a: &x {b: *x}", b"&x [*x]", b"[" * 100_000, b"- " * 100_000, b"a: 2020-99-99", HIDDEN]
)
def test_yaml_that_ends_in_no_error_of_yaml_s_own_is_refused(content, tmp_path):
    """Of some the reader in C would end the process."""
    with pytest.raises(InputError, match=r"^dvc\.lock is not valid YAML"):
        of_yaml(content, "dvc.lock")
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(ParamsError):
        params.load(tmp_path / "params.yaml")


def test_a_part_that_stands_in_two_places_is_no_fault():
    assert of_yaml(b"a: &x [1]\nb: *x", "params.yaml") == {"a": [1], "b": [1]}


def test_json_that_goes_too_deep_is_refused(tmp_path):
    deep = b"[" * 100_000
    with pytest.raises(InputError, match="evaluate is not valid JSON"):
        of_json(deep, "evaluate")
    (tmp_path / "x.json").write_bytes(deep)
    with pytest.raises(InputError, match="not valid JSON"):
        files.read_json(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({}, "KeyError"),
        ({"cmd": "x", "outs": [{"md5": "1"}]}, "KeyError"),
        ({"cmd": "x", "deps": None}, "TypeError"),
        ({"cmd": "x", "params": {"params.yaml": ["seed"]}}, "ValueError"),
        ({"cmd": "x", "outs": [{"path": "metrics/../../x"}]}, "outside of the repository"),
        ({"cmd": "x", "outs": [{"path": "/metrics/x"}]}, "outside of the repository"),
    ],
)
def test_a_lock_of_another_form_is_refused_by_every_reader(entry, said, tmp_path):
    """An output elsewhere would have whole folders read that are none of the repository's."""
    found = run_readers(tmp_path)
    lock = json.dumps({"stages": {"evaluate": entry}}).encode()
    for name in ("lock of check", "lock of compare", "lock of reproduce"):
        with pytest.raises(InputError, match=rf"dvc\.lock has not the form that DVC writes \(.*{said}"):
            found[name].read(lock)


def test_of_a_lock_no_code_outside_of_the_repository_is_read(tmp_path):
    reader = run_readers(tmp_path)["lock of compare"]
    lock = reader.good.replace(b"path: src/rlrf4rec/ranking", b"path: src/../../../../..")
    assert lock != reader.good
    (stale,) = reader.read(lock).stale.values()
    assert any("src/rlrf4rec/ranking" in one for one in stale)
