"""What goes wrong in a way that a user can mend, by who has to mend it; each class has its exit code.

The command line prints the message without a traceback, and `todo` as its last line.
"""

import errno
from collections.abc import Mapping
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class RLRFError(Exception):
    """Bad params, data, assets or model answers; the base of all errors that are no fault of the program."""

    code = 2
    todo = "do what the message says, then run the command again; finished work is kept"


class ParamsError(RLRFError):
    """params.yaml or the command line must be changed."""

    code = 2
    todo = "mend what is named above in params.yaml or on the command line, then run it again; finished work is kept"


class InputError(RLRFError):
    """A data or model file is missing, broken, or breaks its contract."""

    code = 4
    todo = (
        "mend the file named above or have it made again (`dvc repro STAGE`, `dvc pull --allow-missing`); "
        "finished work is kept"
    )


class ModelError(InputError):
    """A model that can be read but not used here: params.yaml must name another one."""

    code = 2
    todo = "name another model in fetch_models of params.yaml, or mend the one that is named; then run `dvc repro`"


class FetchError(RLRFError):
    """Something could not be fetched, or has another hash than expected."""

    code = 5
    todo = "look at the name, the hash and the network, then run `dvc repro`; nothing of the download is kept"


class ResourceError(RLRFError):
    """The machine stands in the way: no space, no permission, no memory, a killed worker."""

    code = 6
    todo = "give the run what it lacks, then run `dvc repro`; it goes on from the work that is finished"


class RunError(RLRFError):
    """A run in a clone of its own has failed; the stage that did has said why."""

    code = 7
    todo = (
        "mend what the stage says above; in the clone `PYTHONPATH=$PWD/src dvc repro` goes on, and then `rlrf4rec "
        "reproduce --take` there tells the result; or remove the clone and try again"
    )


def entry(table: Mapping[str, T], name: str, what: str) -> T:
    """What a table of names has under a name; ParamsError that lists all its names when it has nothing."""
    if name not in table:
        raise ParamsError(f"{what} {name!r} is unknown; one of {', '.join(table)}")
    return table[name]


NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}
TOO_MANY_FILES = {errno.EMFILE, errno.ENFILE}
# Rust's libraries give the number; a thread is not started, nor a library loaded, for want of memory.
NO_MEMORY = (
    *("can't allocate memory", "Cannot allocate memory", "out of memory", "(os error 12)", "bad_alloc"),
    *("can't start new thread", "failed to map segment", "Resource temporarily unavailable"),
    "error return without exception set",  # CPython's, of a library that could not even make a MemoryError
)


def explain(error: BaseException, path: Path | None = None) -> RLRFError | None:
    """The ResourceError behind an exception of a library, or None; `path` is what was being read or written.

    Libraries wrap what the system said in exceptions of their own, so causes and texts are looked through as well.
    """
    at: BaseException | None = error
    while at is not None and not isinstance(at, RLRFError):
        if cause := _cause(at, path):
            return ResourceError(cause)
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return None


def _cause(error: BaseException, path: Path | None) -> str:
    """What the machine lacks, or nothing."""
    number = error.errno if isinstance(error, OSError) else None
    own = error.filename if isinstance(error, OSError) else None
    file = path or own
    if number in NO_SPACE or "No space left on device" in str(error):
        return f"no space left on the disk of {file or 'this folder, or of the folder for temporary files'}"
    if number in NO_PERMISSION:
        return f"no permission to read or write {file or error}"
    if number in TOO_MANY_FILES:
        return "too many open files: raise the limit (`ulimit -n`)"
    if isinstance(error, MemoryError) or number == errno.ENOMEM or _says_no_memory(error):
        return "out of memory: lower sample.batch_users, encode.batch, dpo.batch or interactions.users"
    if isinstance(error, BrokenExecutor):
        return "a worker process was killed, most often because memory ran out"
    return ""


def _says_no_memory(error: BaseException) -> bool:
    """Torch says it in the text of a RuntimeError, others in that of errors of their own."""
    return any(words in str(error) for words in NO_MEMORY)
