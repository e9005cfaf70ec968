"""A small finished run whose stages are called again with one broken input each, as the command line calls them."""

import contextlib
import functools
import io
import os
import random
import re
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from breakages import broken
from ruamel.yaml import YAML
from test_whole_loop import TEMPLATES, run_loop, write_models, write_params, write_shop

from rlrf4rec import machine
from rlrf4rec.cli import main, run_stage
from rlrf4rec.params.rounds import set_rounds

ROOT = Path(__file__).parent.parent
DAG = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
set_rounds(PARAMS, 1)
LOOP = PARAMS["loop"]
TOPS = ("data", "models", "metrics")  # folders of what stages write
ENTRIES = {  # of stages that run once for each: the one that is tried
    "sample": "round1",
    "encode": "round1",
    "train_reward": "round1",
    "score": "round1",
    "pair": "round1",
    "train_dpo": "round1",
    "train_ranker": "round1_template",
}
FETCHING = ("fetch_dataset", "fetch_models")  # they read nothing that a stage has written
FORMER = b"of a former run\n"


@dataclass(frozen=True)
class Case:
    """A stage, the input that is broken, and in which way (of `breakages.WAYS`)."""

    stage: str
    path: str
    way: str

    def __str__(self) -> str:
        return f"{self.stage}-{self.path}-{self.way}"


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, lines on stderr, files that are not as they were with what became of them."""

    code: int
    lines: list[str]
    changed: dict[str, str]


def command(stage):
    """The words of a stage's command in dvc.yaml, what it reads and what it writes, without code."""
    of, text = DAG[stage], DAG[stage].get("do", DAG[stage])
    values = {}
    if "foreach" in of:
        key = ENTRIES[stage]
        all_of = LOOP[re.fullmatch(r"\$\{loop\.(\w+)\}", of["foreach"])[1]]
        values = {"key": key, "item": key}
        values |= {f"item.{name}": value for name, value in all_of[key].items()} if isinstance(all_of, dict) else {}

    def filled(words):
        return re.sub(r"\$\{([\w.]+)\}", lambda found: str(values.get(found[1], found[0])), words)

    def paths(*kinds):
        told = [one for kind in kinds for one in text.get(kind, [])]
        named = [filled(name) for one in told for name in ([one] if isinstance(one, str) else one)]
        return [name for name in named if name.split("/")[0] in TOPS]

    return filled(text["cmd"]).split(), paths("deps"), paths("outs", "metrics", "plots")


def below(names):
    """The files at or below these paths of the working directory."""
    files = [file for name in names for file in (Path(name), *Path(name).rglob("*"))]
    return sorted({file.as_posix() for file in files if file.is_file()})


class Run:
    """The working directory is that of a finished run; every call of a stage finds it as it was left by the run."""

    def __init__(self, folder):
        """Make the run in an empty folder, which is the working directory."""
        self.folder = folder
        write_models(folder / "source")
        write_shop(folder / "shop")
        (folder / "src" / "rlrf4rec").mkdir(parents=True)
        (folder / "src" / "rlrf4rec" / "templates").symlink_to(TEMPLATES)
        write_params(folder, {})
        run_loop()
        run_stage("report", [])
        self.good = {name: Path(name).read_bytes() for name in below(TOPS)}

    def ended(self, case):
        """The end of a stage with a broken input."""
        content = broken(self.good[case.path], Path(case.path).suffix, case.way, random.Random(str(case)))
        assert content != self.good[case.path], f"{case}: nothing is broken"
        return self.ended_with(case.stage, {case.path: content})

    def ended_with(self, stage, inputs):
        """The end of a stage with these inputs (None: gone) and outputs of a former run; all is put right again."""
        words, _, outs = command(stage)
        files = {**self.good, **dict.fromkeys(below(outs), FORMER), **inputs}
        before = {name: content for name, content in files.items() if content is not None}
        try:
            self._put(before)
            code, told = _called(words)
            return Ended(code, told.splitlines(), self._changed(before))
        finally:
            self._put(self.good)

    @staticmethod
    def _put(files):
        """Have these files and no others."""
        for name in below(TOPS):
            if name not in files:
                Path(name).unlink()
        for name, content in files.items():
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)

    @staticmethod
    def _changed(before):
        after = {name: Path(name).read_bytes() for name in below(TOPS)}
        gone = dict.fromkeys(before.keys() - after.keys(), "gone")
        left = dict.fromkeys(after.keys() - before.keys(), "left over")
        other = {name: "other" for name in before.keys() & after.keys() if before[name] != after[name]}
        return dict(sorted({**gone, **left, **other}.items()))


def _called(words):
    """Exit code and stderr of a command, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with mock.patch("sys.argv", words), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main()
    return code, err.getvalue()


@contextlib.contextmanager
def finished(folder):
    """A finished run in a folder, which is the working directory in the block and holds the state folder.

    How fast the machine is, for the estimate before a stage of the LLM, is measured once.
    """
    once = {name: functools.cache(getattr(machine, name)) for name in ("flops", "per_number")}
    state = mock.patch.dict(os.environ, {"DVC_ROOT": str(folder)})
    with contextlib.chdir(folder), state, mock.patch.multiple(machine, **once):
        yield Run(folder)
