"""What `check`, `compare` and `reproduce` read of a run, and templates of prompts: good content, and their readers."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import compared

from rlrf4rec.committed import check
from rlrf4rec.looking import looks
from rlrf4rec.prompting import template
from rlrf4rec.reproducing import records, runs
from rlrf4rec.revisions import locks, state
from rlrf4rec.revisions.git import Revision

from .fuzz_readers import Reader

ROOT = Path(__file__).parent.parent.parent
HERE = Revision("workspace", None)
GAIN = {"difference": 0.016, "low": 0.006, "high": 0.026, "p": 0.01, "p_holm": 0.01}
EVALUATE = {
    "metrics": {"k": [5]},
    "arithmetic": "float32 on avx2, 1 thread",
    "reward_gain": {"round1": {"development": {"ndcg": GAIN, "ndcg_personal_part": GAIN}}},
    "personal": {"base": {"all": {"ndcg@5": GAIN}}},
    "differences": {"base - constant": {"all": {"ndcg@5": GAIN}}},
    "family": {"reward gain of round1": GAIN},
}
SIDE = {"value": 0.016, "low": 0.006, "high": 0.026, "claimed": True}
RECORD = {
    "date": "2026-01-01",
    "commit": "0" * 40,
    "machine": {"cpu": "A CPU"},
    "arithmetic": {"committed": ["float32 on avx2, 1 thread"], "here": ["float32 on avx2, 2 threads"]},
    "classes": {"equal": 1},
    "other_claims": [],
    "numbers": {"reward gain of round1": {"committed": SIDE, "here": SIDE, "tolerance": 0.01, "class": "equal"}},
}
LOOKS = f"{','.join(looks.COLUMNS)}\n2026-01-01,{'0' * 40},236,ab,cd,1,\n2026-02-01,{'1' * 40},236,ab,ce,2,seed\n"


def checked(_: Path) -> object:
    """What `check` reads of the locks, and `reproduce --take` with it."""
    return locks.behind(Path()), locks.other_metrics(Path()), check.present(Path())


def compared_with(_: Path) -> object:
    """What `compare` reads of a revision, and `keep` with it."""
    return state.load(HERE)


def reproduced(_: Path) -> object:
    """What `reproduce` reads of both runs."""
    return runs.of_folder(Path())


def both(path: Path) -> object:
    """With its examples as they are, and with those for titles that are masked."""
    return template.read(path), template.read(path, "masked")


# By name: the file of a run that is broken, and who reads it.
READ: dict[str, tuple[str, Callable[[Path], object]]] = {
    "lock of check": ("dvc.lock", checked),
    "lock of compare": ("dvc.lock", compared_with),
    "lock of reproduce": ("dvc.lock", reproduced),
    "params of check": ("params.yaml", checked),
    "params of compare": ("params.yaml", compared_with),
    "dvc.yaml of check": ("dvc.yaml", checked),
    "dvc.yaml of compare": ("dvc.yaml", compared_with),
    "metrics of reproduce": ("metrics/evaluate.json", reproduced),
    "users' values of compare": ("metrics/per_user.csv", compared_with),
    "record of reproduce": (records.REPRODUCED.as_posix(), lambda _: records.read(Path())),
    "looks": ("metrics/looks.csv", looks.read),
    "template": ("template.txt", both),
}


def run_readers(folder: Path) -> dict[str, Reader]:
    """Each reader, in a run of its own below `folder`, which is changed to while it reads."""
    made = {}
    for number, (name, (broken, read)) in enumerate(READ.items()):
        place = folder / f"run{number}"
        place.mkdir()
        with contextlib.chdir(place):
            compared.write(compared.per_user(users=compared.USERS[:3]))
            Path("metrics/evaluate.json").write_text(json.dumps(EVALUATE))
            Path(records.REPRODUCED).write_text(json.dumps({records.SAME: RECORD}))
            Path("metrics/looks.csv").write_text(LOOKS)
            Path("template.txt").write_bytes((ROOT / "src/rlrf4rec/templates/movies.txt").read_bytes())
            made[name] = Reader(Path(broken).read_bytes(), _in(place, broken, read))
    return made


def _in(place: Path, broken: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def run(content: bytes) -> object:
        """Read the run with this content in the place of the good one."""
        with contextlib.chdir(place):
            Path(broken).write_bytes(content)
            return read(Path(broken))

    return run
