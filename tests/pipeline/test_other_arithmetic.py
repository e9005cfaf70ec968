"""What a machine of another arithmetic can't change: data, split, lists and prompts are the same to the byte."""

import json
import shutil
import subprocess

import pytest

from .conftest import environment, hashes

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
SAME = ("interactions", "split", "prompt")


def test_data_split_lists_and_prompts_are_the_same_under_another_arithmetic(clones, tmp_path):
    """The vectors of items are made anew as well, and the cost of their stage says in what they were computed."""
    folder = tmp_path / "r"
    shutil.copytree(clones[0][1], folder, symlinks=True, ignore=shutil.ignore_patterns(".rlrf4rec"))
    before = hashes(folder)
    for stage in (*SAME, "encode@items"):
        command = ["dvc", "repro", "--force", "--single-item", stage]
        subprocess.run(command, cwd=folder, env=environment() | AVX2, check=True, capture_output=True)
    computed = json.loads((folder / "metrics/cost/encode-items.json").read_text())["arithmetic"]
    assert computed.startswith("float32 on avx2, ")
    after = hashes(folder)
    places = {place for place in before if place[0] in SAME}
    assert {place[0] for place in places} == set(SAME)
    assert {place: after[place] for place in places} == {place: before[place] for place in places}
