"""What a command prints goes to the terminal and to a log file, and no secret goes to either."""

import contextlib
import logging
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO, cast

SECRET_NAME = re.compile(r"_(TOKEN|API_KEY|SECRET|PASSWORD)$", re.IGNORECASE)
SHORTEST = 8  # characters; a shorter value of such a variable would take ordinary words out of the log
TOKEN = re.compile(r"(?<![A-Za-z0-9])(hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,})")
PASSWORD = re.compile(r"(?<=://)([^\s/:@]*):[^\s/]+@")
HIDDEN = "***"
ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # colours and moves of the cursor


def redact(text: str) -> str:
    """The text without tokens, values of secret environment variables, and passwords in URLs.

    >>> redact("get https://me:12345@host/x with hf_aaaaaaaaaaaaaaaaaaaaaaaa")
    'get https://me:***@host/x with ***'
    """
    values = [value for name, value in os.environ.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST]
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return PASSWORD.sub(rf"\1:{HIDDEN}@", TOKEN.sub(HIDDEN, text))


def secret_in(content: Any, key: str = "") -> str | None:
    """The dotted key of the first text in nested params that holds a secret, or None.

    >>> secret_in({"a": [1, {"b": "sk-aaaaaaaaaaaaaaaaaaaaaaaa"}]})
    'a.1.b'
    """
    if isinstance(content, str):
        return key if redact(content) != content else None
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(content, dict):
        inner = content.items()
    elif isinstance(content, list):
        inner = enumerate(content)
    found = (secret_in(value, f"{key}.{name}" if key else str(name)) for name, value in inner)
    return next((place for place in found if place is not None), None)


def trace(error: BaseException) -> str:
    """The traceback that Python would print."""
    return "".join(traceback.format_exception(error)).rstrip()


def quiet() -> None:
    """Keep libraries' advertisements and advice out of the terminal; errors stay."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # libraries' bars would fill a log with rubbish
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(f"{name}.utilities.rank_zero").setLevel(logging.ERROR)
    # Lightning announces every SIGTERM; the command line says what it means for the stage.
    logging.getLogger("lightning.pytorch.trainer.connectors.signal_connector").setLevel(logging.ERROR)
    for part in ("LeafSpec", "many workers", "number of training batches", "gradient_checkpointing", "use of fork"):
        warnings.filterwarnings("ignore", message=f".*{part}.*")


class Log:
    """A log file under the state folder, with one former one; a log that can't be written stops nothing."""

    def __init__(self, command: str, words: list[str]) -> None:
        self.command = " ".join(["rlrf4rec", command, *words])
        self.name = "-".join(re.sub(r"[^\w.]+", "_", word) for word in [command, *words])
        self.path: Path | None = None
        self.file: TextIO | None = None

    def begin(self) -> None:
        """Open the file; its first line names date, command and versions."""
        from rlrf4rec import store

        try:
            path = store.folder() / "logs" / f"{self.name}.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                path.replace(path.with_suffix(".log.1"))
            self.file = path.open("w", buffering=1, encoding="utf-8")
            self.path = path
        except OSError as error:
            self._give_up(error)
        versions = ", ".join(f"{name} {version(name)}" for name in ("rlrf4rec", "torch"))
        self.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {self.command} ({versions})\n")

    def write(self, text: str) -> None:
        """Write lines, without secrets."""
        if self.file:
            try:
                self.file.write(redact(text))
            except OSError as error:
                self._give_up(error)

    def traceback(self, error: BaseException) -> Path | None:
        """Write a traceback; returns the file, or None where there is none."""
        if self.path is None:
            self.begin()
        self.write(f"{trace(error)}\n")
        return self.path

    def close(self) -> None:
        """Close the file."""
        if self.file:
            self.file.close()
        self.file = None

    def _give_up(self, error: OSError) -> None:
        file, self.file, self.path = self.file, None, None
        if file:
            with contextlib.suppress(OSError):
                file.close()  # tries to write once more
        print(f"no log is written: {error}", file=sys.stderr)


class Tee:
    """A text stream that also writes its whole lines to a log, each as it last stood on the terminal."""

    def __init__(self, stream: TextIO, log: Log) -> None:
        self.stream, self.log, self.line = stream, log, ""

    def write(self, text: str) -> int:
        """Write to the stream, and to the log what is a whole line by now."""
        self.stream.write(redact(text))
        *whole, rest = (self.line + text).split("\n")
        self.line = _last_state(rest)
        for line in whole:
            self.log.write(f"{_last_state(line).rstrip()}\n")
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def end(self) -> None:
        """Write a line that was not ended to the log."""
        if self.line.strip():
            self.log.write(f"{self.line.rstrip()}\n")

    def __getattr__(self, name: str) -> Any:
        """All else is as the stream has it: isatty, fileno, flush, encoding."""
        return getattr(self.stream, name)


def _last_state(line: str) -> str:
    """What a line shows after all returns to its beginning; a return at its end is kept, it may be overwritten yet."""
    line = ESCAPE.sub("", line)
    parts = [part for part in line.split("\r") if part]
    return (parts[-1] if parts else "") + ("\r" if line.endswith("\r") else "")


@contextlib.contextmanager
def copied(log: Log) -> Iterator[None]:
    """Everything printed goes to the log as well."""
    log.begin()
    tees = Tee(sys.stdout, log), Tee(sys.stderr, log)
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = cast("tuple[TextIO, TextIO]", tees)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        for tee in tees:
            tee.end()
        log.close()
