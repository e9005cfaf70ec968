"""What a look sees, as a hash: the same again is the same look, however often the code around it was touched."""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlrf4rec import closure
from rlrf4rec.errors import InputError
from rlrf4rec.files import fingerprint, sha256

# What makes numbers of scores, texts and labels in a look at the run, and at the study of arms.
OF_RUN, OF_ARMS = "evaluation.fold", "evaluation.policies"
DOCUMENTED = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef


def seen(files: Sequence[Path], params: Mapping[str, Any], measures: str) -> str:
    """SHA-256 of the files that are judged or judge, of params, and of the code that measures, without its words.

    measures: the module that does, with all that it imports.

    Comments and docstrings are words. The files are not read but for their hashes. InputError where one is missing.
    """
    for path in files:
        if not path.is_file():
            raise InputError(f"{path}: missing; `make final` makes what a look needs, or `make final-arms`")
    hashes = {path.as_posix(): sha256(path) for path in files}
    code = [bare(path.read_text(encoding="utf-8")) for path in closure.files(measures)]
    return fingerprint({"files": hashes, "params": params, "code": code})


def bare(source: str) -> str:
    """Python code without comments, docstrings and its own layout.

    >>> bare('def f(x):\\n    "A word."\\n    return (x)  # another')
    'def f(x):\\n    return x'
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
