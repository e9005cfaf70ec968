"""The parts of `make same` that decide; the whole runs two tiny pipelines and is tried by hand."""

from .same import first_unequal, md5, rewritten

OLD, NEW = b"old\n", b"new\n"
ENTRY = {
    "cmd": "rlrf4rec pair",
    "deps": [
        {"path": "data/x", "hash": "md5", "md5": "1" * 32, "size": 1},
        {"path": "src/a.py", "hash": "md5", "md5": md5(OLD), "size": len(OLD)},
    ],
    "outs": [{"path": "data/pair", "md5": "2" * 32}],
}


def test_the_first_stage_that_differs_is_named_with_its_outputs():
    base = {("a", "x"): "1", ("b", "y"): "1", ("b", "z"): "1", ("c", "w"): "1"}
    assert first_unequal(base, dict(base), ["a", "b", "c"]) is None
    here = {**base, ("b", "z"): "2", ("c", "w"): "2"}
    assert first_unequal(base, here, ["a", "b", "c"]) == ("b", ["z"])
    assert first_unequal(base, {**base, ("c", "new"): "1"}, ["a", "b", "c"]) == ("c", ["new"])


def test_only_the_code_of_an_entry_is_rewritten():
    was, now = {"src/a.py": OLD}.get, {"src/a.py": NEW, "src/b.py": OLD}.get
    made = rewritten(ENTRY, ["src/a.py", "src/b.py"], was, now)
    assert made["deps"] == [
        ENTRY["deps"][0],
        {"path": "src/a.py", "hash": "md5", "md5": md5(NEW), "size": 4},
        {"path": "src/b.py", "hash": "md5", "md5": md5(OLD), "size": 4},
    ]
    assert (made["cmd"], made["outs"]) == (ENTRY["cmd"], ENTRY["outs"])
    assert ENTRY["deps"][1]["md5"] == md5(OLD)


def test_code_that_is_no_longer_a_dependency_goes():
    assert rewritten(ENTRY, [], {"src/a.py": OLD}.get, {}.get)["deps"] == ENTRY["deps"][:1]


def test_an_entry_that_the_base_had_not_run_is_left():
    assert rewritten(ENTRY, ["src/a.py"], {"src/a.py": NEW}.get, {"src/a.py": NEW}.get) is None
    assert rewritten(ENTRY, ["src/a.py"], {}.get, {"src/a.py": NEW}.get) is None
