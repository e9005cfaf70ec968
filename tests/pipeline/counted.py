"""Which pieces of work a stage begins, told from outside of the store: by every process, as it begins them.

The text of this file is run at the start of each Python that finds it as `sitecustomize`, with a call of `install` at
its end: so it knows nothing of the tests. A piece has the same name in each run that begins it.
"""

import functools
import hashlib
import json
import os
import signal
import sys
import time
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path

KILL = "KILLED_AT_PIECE"  # in the environment: the process group is killed as the piece of this number (from 1) begins


def sampled(module, begin):
    """A batch of prompts."""
    before(module.Sampler, "sample", lambda sampler, batch: begin(sampler.name(batch)))


def encoded(module, begin):
    """A batch of texts."""
    before(module.Encoder, "encode", lambda encoder, batch: begin(*(encoder.texts[row] for row in batch)))


def tried(module, begin):
    """A trial, by how many are finished."""
    real = module.run

    def run(name, key, objective, *rest):
        def trial(own):
            begin(name, len(module.finished_trials(own.study)))
            return objective(own)

        return real(name, key, trial, *rest)

    module.run = run


def trained(module, begin):
    """An epoch of a re-ranker or reward model."""
    before(module.Ranker, "on_train_epoch_start", lambda ranker: begin(ranker.draw.initial_seed(), len(ranker.losses)))


def tuned(module, begin):
    """A step of DPO."""
    before(module.DpoModule, "training_step", lambda policy, rows: begin(len(policy.steps), *rows.tolist()))


def scored(module, begin):
    """A user's texts by some of the models."""
    of = []
    before(module, "score", lambda scorings, what: of.append(what))
    before(module, "_arrays", lambda scorers, piece: begin(of[-1], piece[0], piece[1].user))


# By the stage: where its pieces are begun, and what counts them there.
PIECES = {
    "sample": ("rlrf4rec.sampling.sampler", sampled),
    "encode": ("rlrf4rec.encoding.encoder", encoded),
    "tune_reward": ("rlrf4rec.search.study", tried),
    "tune_dpo": ("rlrf4rec.search.study", tried),
    "train_reward": ("rlrf4rec.ranking.module", trained),
    "train_ranker": ("rlrf4rec.ranking.module", trained),
    "train_dpo": ("rlrf4rec.alignment.module", tuned),
    "score": ("rlrf4rec.reward.rewards", scored),
    "evaluate": ("rlrf4rec.reward.rewards", scored),
}


def before(owner, name, call):
    """Let `call` come before a function or method, with the same arguments."""
    real = getattr(owner, name)

    @functools.wraps(real)
    def both(*args, **kwargs):
        call(*args, **kwargs)
        return real(*args, **kwargs)

    setattr(owner, name, both)


def install(log):
    """Write a line into the file `log` for each piece that this process begins, if it is a stage that has some."""
    process, count = f"{os.getpid()} {time.time_ns()}", 0

    def begin(*names):
        nonlocal count
        count += 1
        piece = hashlib.sha256(repr(names).encode()).hexdigest()[:16]
        line = json.dumps({"stage": "@".join(sys.argv[1:3]), "process": process, "piece": piece})
        with Path(log).open("a") as file:
            file.write(f"{line}\n")
        if str(count) == os.environ.get(KILL):
            os.killpg(0, signal.SIGKILL)

    class Loader(SourceFileLoader):
        def exec_module(self, module):
            super().exec_module(module)
            PIECES[sys.argv[1]][1](module, begin)

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            where, _ = PIECES.get("".join(sys.argv[1:2]), (None, None))
            if name != where:
                return None
            spec = PathFinder.find_spec(name, path, target)
            spec.loader = Loader(name, spec.origin)
            return spec

    sys.meta_path.insert(0, Finder)


class Counted:
    """Pieces that were begun, of the file that `install` lets processes write."""

    def __init__(self, log):
        self.log = log

    def of(self, stage):
        """Pieces that each process of a stage (`sample@base`) has begun, in order; of those that have begun any."""
        found = {}
        for line in map(json.loads, self.log.read_text().splitlines() if self.log.exists() else ()):
            if line["stage"] == stage:
                found.setdefault(line["process"], []).append(line["piece"])
        return list(found.values())

    def clear(self):
        """Forget all."""
        self.log.unlink(missing_ok=True)


def counting(folder, monkeypatch):
    """Let all Pythons that are begun from now on tell of their pieces; `folder` is for this alone."""
    log = folder / "pieces.jsonl"
    (folder / "sitecustomize.py").write_text(f"{Path(__file__).read_text()}\n\ninstall({str(log)!r})\n")
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *([before] if before else [])]))
    return Counted(log)
