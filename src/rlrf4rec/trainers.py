"""Trainers of one process on one device, whatever scheduler or launcher the program runs under.

A stage is one process: DVC starts it, and others of the same job would do the same work once more. So what a scheduler
says of tasks and ranks is not for its trainers, which would wait for the others or refuse to begin.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import lightning as L

# What SLURM, torchrun, accelerate, MPI of several kinds, LSF and Kubeflow set, and libraries look for.
LAUNCHER = re.compile(
    r"(LOCAL_|GROUP_|NODE_)?RANK|(LOCAL_|GROUP_)?WORLD_SIZE|MASTER_(ADDR|PORT)"
    r"|(SLURM|TORCHELASTIC|ACCELERATE|OMPI|PMI|PMIX|MV2|MPI|I_MPI|JSM|LSB|LSF)_.*"
)


def trainer(**settings: Any) -> "L.Trainer":
    """A Lightning Trainer that writes and shows nothing of its own, with the settings given."""
    import lightning as L  # takes seconds
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment

    return L.Trainer(
        devices=1,
        num_nodes=1,
        plugins=[LightningEnvironment()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


@contextmanager
def alone() -> Iterator[None]:
    """For trainers that have no such setting: hide the launcher's variables, and give them back."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if LAUNCHER.fullmatch(name)}
    try:
        yield
    finally:
        os.environ.update(hidden)
