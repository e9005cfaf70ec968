"""What the committed files say of each other: dvc.yaml, dvc.lock, params, code, metrics and the README."""

import csv
import functools
import hashlib
import json
import re
from pathlib import Path

from ruamel.yaml import YAML

from rlrf4rec.files import contents, dvc_hash

FILES = ("dvc.yaml", "studies/controls/dvc.yaml", "studies/learning_curve/dvc.yaml", "studies/bench/dvc.yaml")


def locks(root):
    """The lock of each dvc.yaml that has been run, by the dvc.yaml's path."""
    found = {name: root / Path(name).with_suffix(".lock") for name in FILES}
    return {name: _stages(path.read_text()) for name, path in found.items() if path.exists()}


@functools.cache
def _stages(text):
    return YAML(typ="safe").load(text)["stages"]


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def changed_code(root):
    """Sentences on code and templates that are not what a lock says they were."""
    faults = []
    for name, stages in locks(root).items():
        for stage, entry in stages.items():
            for dep in entry.get("deps", []):
                path = root / dep["path"]
                if dep["path"].startswith("src/") and dvc_hash(contents(path)) != dep["md5"]:
                    faults.append(
                        f"{dep['path']} is not what {stage} of {name} ran: run `dvc repro` and commit its lock"
                    )
    return faults


def changed_params(root):
    """Sentences on params that are not what a lock says they were."""
    params = YAML(typ="safe").load((root / "params.yaml").read_text())
    faults = []
    for name, stages in locks(root).items():
        for stage, entry in stages.items():
            for key, value in entry.get("params", {}).get("params.yaml", {}).items():
                if params.get(key) != value:
                    faults.append(f"params.yaml: {key} is not what {stage} of {name} ran with: run `dvc repro`")
    return faults


def changed_metrics(root):
    """Sentences on metrics files that no lock knows, or knows with another content, or that are missing."""
    faults, known = [], {}
    for name, stages in locks(root).items():
        for stage, entry in stages.items():
            known |= {out["path"]: (out["md5"], stage, name) for out in entry["outs"] if "metrics/" in out["path"]}
    for place, (expected, stage, name) in known.items():
        if not (root / place).exists():
            faults.append(f"{place}: missing; {stage} of {name} has written it")
        elif (found := md5(root / place)) != expected:
            faults.append(f"{place}: content {found}, but {stage} of {name} wrote {expected}: run `dvc repro {stage}`")
    folders = [root / "metrics", *sorted((root / "studies").glob("*/metrics"))]
    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.is_file() and p.name != ".gitignore"):
        # What a run cost is outside of what DVC hashes: it differs from run to run.
        if (place := path.relative_to(root).as_posix()) not in known and not place.startswith("metrics/cost/"):
            faults.append(f"{place}: no stage of any dvc.lock has written it")
    return faults


def numbers(root):
    """Every number that stands in a metrics file."""
    found = set()

    def collect(value):
        if isinstance(value, dict | list):
            for inner in value.values() if isinstance(value, dict) else value:
                collect(inner)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.add(float(value))

    for folder in [root / "metrics", *sorted((root / "studies").glob("*/metrics"))]:
        for path in sorted(folder.rglob("*.json")):
            collect(json.loads(path.read_text()))
        for path in sorted(folder.rglob("*.csv")):
            for row in csv.reader(path.read_text().splitlines()):
                found.update(float(cell) for cell in row if re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", cell))
    return found


FIGURE = re.compile(r"(?<![\w./=-])([+\-\u2212]?)(\d*\.\d+|\d+(?:\.\d+)?(?= ?%))( ?%)?(?![\w.]*\w)")
VERSION = re.compile(r"(?:Python|[Vv]ersion|[<>=]=?) ?\d+(?:\.\d+)+")


def figures(text):
    """Figures of a result in Markdown text: decimals and percentages outside of code, links and versions."""
    text = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", " ", text, flags=re.DOTALL)
    text = VERSION.sub(" ", text)
    return [(sign.replace("\u2212", "-") + digits, bool(percent)) for sign, digits, percent in FIGURE.findall(text)]


def unknown_figures(text, known):
    """Figures of the text that no metrics file holds, rounded as the text has them; the sign may be left out."""
    unknown = []
    for digits, percent in figures(text):
        places = len(digits.split(".")[1]) if "." in digits else 0
        value, scale = float(digits), 100.0 if percent else 1.0
        signed = digits[0] in "+-"
        near = (round(n * scale, places) for n in known)
        if not any(n == value or (not signed and abs(n) == value) for n in near):
            unknown.append(digits + ("%" if percent else ""))
    return unknown
