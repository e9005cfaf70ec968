"""What a command ends with: its last words, and the exit codes that README has a table of."""

import re
import signal
from pathlib import Path
from types import SimpleNamespace

from rlrf4rec import cli, interrupts
from rlrf4rec.cli import FAULT
from rlrf4rec.errors import RLRFError
from rlrf4rec.tables.contract import ContractError

ROOT = Path(__file__).parent.parent
OTHERS = {ContractError}  # kinds of error that other modules than `errors` define


def kinds(of=RLRFError):
    """A kind of error and all that are kinds of it."""
    return {of}.union(*(kinds(each) for each in of.__subclasses__()))


def test_every_kind_of_error_is_known_here():
    """Python knows of those alone whose module is imported."""
    text = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    classes = re.findall(r"^class (\w+)\((\w+)\):", text, re.M)
    names, before = {"RLRFError"}, set()
    while names != before:
        before, names = names, names | {name for name, base in classes if base in names}
    assert {kind.__name__ for kind in kinds() | OTHERS} == names


def test_the_readme_has_every_exit_code_and_no_other():
    table = (ROOT / "README.md").read_text().split("| code | what |\n| --- | --- |\n")[1].split("\n\n")[0]
    rows = [row.split(" | ")[0].removeprefix("| ") for row in table.splitlines()]
    told = sorted(int(code) for row in rows for code in re.findall(r"-?\d+", row))
    stopped = {128 + number for number in interrupts.SIGNALS}  # as shells do, by the command itself
    ended = {signal.SIGABRT, signal.SIGKILL}  # nothing of the command can tell them
    system = {-number for number in ended} | {128 + number for number in ended}
    assert told == sorted({0, FAULT} | {kind.code for kind in kinds()} | stopped | system)


def test_last_words_are_written_at_once(monkeypatch):
    """An allocator that lacks memory writes to stderr as well, whenever it likes."""
    written = []
    stream = SimpleNamespace(write=written.append, flush=lambda: None)
    monkeypatch.setattr("sys.stderr", stream)
    cli._last_words("it failed", "what to do: mend it")
    assert [text for text in written if text] == ["it failed\nwhat to do: mend it\n"]
