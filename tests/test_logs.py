import io
import re
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from rlrf4rec.errors import InputError, ParamsError
from rlrf4rec.logs import Log, Tee, redact, secret_in
from rlrf4rec.params import load

LOG = Path(".rlrf4rec/logs/interactions.log")
HUB = "hf_" + "Ab3" * 8
KEY = "sk-" + "x_-9" * 6


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_log_holds_what_was_printed(stage, monkeypatch):
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stdout", printed)
    monkeypatch.setattr(sys, "stderr", printed)

    def body():
        print("a line", "in parts")
        print("progress: 1 of 2", file=sys.stderr)
        sys.stderr.writelines(["take care\n"])
        raise InputError("file f: broken\n  in two lines")

    assert stage(body) == 4
    head, rest = LOG.read_text().split("\n", 1)
    assert rest == printed.getvalue()
    assert "take care" in rest
    assert rest.startswith("a line in parts\nprogress: 1 of 2\n")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d rlrf4rec interactions \(rlrf4rec [\d.]+, torch [\d.]+.*\)", head
    )


def test_a_start_of_the_stage_begins_the_log_anew_and_keeps_one_former(stage, capsys):
    for i in range(3):
        stage(lambda i=i: f"run {i}")
    assert "run 2" in LOG.read_text()
    assert "run 1" in LOG.with_suffix(".log.1").read_text()
    assert len(list(LOG.parent.iterdir())) == 2
    assert "run 1" not in LOG.read_text()


def test_entries_are_in_the_name_of_the_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    log = Log("combine", ["base", "data/encode/base", "../x"])
    log.begin()
    log.close()
    assert log.path == Path(".rlrf4rec/logs/combine-base-data_encode_base-.._x.log")
    assert "rlrf4rec combine base data/encode/base ../x (" in log.path.read_text()


def test_logs_of_queued_runs_lie_in_the_repository(stage, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "elsewhere"))
    assert stage(lambda: "done") == 0
    assert not LOG.exists()
    assert "done" in (tmp_path / "elsewhere" / LOG).read_text()


def test_the_streams_are_given_back(stage, capsys):
    before = sys.stdout, sys.stderr
    stage(lambda: "done")
    assert (sys.stdout, sys.stderr) == before


def test_a_log_that_cannot_be_made_stops_nothing_and_is_told_once(stage, capsys):
    Path(".rlrf4rec").write_text("a file where the folder should be")
    assert stage(lambda: print("a\nb") or "done") == 0
    out, err = capsys.readouterr()
    assert out == "a\nb\ninteractions: done, 0 s\n"
    assert err.startswith("no log is written: ")
    assert err.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_disk_that_gets_full_ends_the_log_and_not_the_stage(stage, monkeypatch, capsys):
    def on_a_full_disk(log):
        log.file, log.path = Path("/dev/full").open("w", buffering=1), Path("/dev/full")  # noqa: SIM115

    monkeypatch.setattr(Log, "begin", on_a_full_disk)
    assert stage(lambda: print("a\nb") or "done") == 0
    out, err = capsys.readouterr()
    assert out == "a\nb\ninteractions: done, 0 s\n"
    assert err.startswith("no log is written: [Errno 28]")
    assert err.count("\n") == 1


def logged(tmp_path, write, stream=None):
    log = Log("x", [])
    log.path = tmp_path / "x.log"
    log.file = log.path.open("w", buffering=1)
    tee = Tee(stream or Terminal(), log)
    write(tee)
    tee.end()
    log.close()
    return log.path.read_text()


def test_a_bar_sees_a_terminal_and_leaves_one_line_in_the_log(tmp_path):
    def write(tee):
        assert tee.isatty()
        for _ in tqdm(range(50), desc="bar", file=tee, mininterval=0):
            pass
        print("after", file=tee)

    terminal = Terminal()
    bar, after = logged(tmp_path, write, terminal).splitlines()
    assert bar.startswith("bar: 100%")
    assert "50/50" in bar
    assert after == "after"
    assert terminal.getvalue().count("\r") > 10


def test_a_bar_that_is_taken_away_leaves_nothing_in_the_log(tmp_path):
    def write(tee):
        for _ in tqdm(range(5), desc="bar", file=tee, mininterval=0, leave=False):
            pass
        print("after", file=tee)

    assert logged(tmp_path, write) == "after\n"


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        (["a", "b\nc", "d"], "ab\ncd\n"),
        (["1 %\r", "2 %\r", "3 %\n"], "3 %\n"),
        (["1 %\r", "2 %\r"], "2 %\n"),
        (["dos\r\n", "next\n"], "dos\nnext\n"),
        (["\x1b[31mred\x1b[0m\n"], "red\n"),
        (["\n", "a\n"], "\na\n"),
    ],
)
def test_a_line_is_logged_as_it_last_stood(pieces, lines, tmp_path):
    def write(tee):
        tee.writelines(pieces)

    assert logged(tmp_path, write) == lines


def test_no_log_keeps_the_states_of_a_line_that_never_ends(tmp_path):
    tee = Tee(io.StringIO(), Log("x", []))
    for i in range(1000):
        tee.write(f"\r{i} of 1000")
    assert len(tee.line) < 50


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "MY_SECRET", "DB_PASSWORD"])
def test_a_secret_of_the_environment_reaches_neither_terminal_nor_log(name, stage, monkeypatch, capsys):
    monkeypatch.setenv(name, "plain-looking-value")

    message = "401 for header plain-looking-value"

    def body():
        print("asked with plain-looking-value")
        raise RuntimeError(message)

    assert stage(body) == 70
    out, err = capsys.readouterr()
    log = LOG.read_text()
    assert "plain-looking-value" not in out + err + log
    assert "asked with ***\n" in out
    assert "RuntimeError: 401 for header ***\n" in err
    assert log.count("401 for header ***") == 2  # in the traceback and in the message


def test_tokens_and_passwords_of_urls_reach_neither_terminal_nor_log(stage, capsys):
    def body():
        print(f"token {HUB}", file=sys.stderr)
        raise InputError(f"could not get https://me:pa55word@host/simple with {KEY}")

    assert stage(body) == 4
    err = capsys.readouterr().err
    for text in (err, LOG.read_text()):
        assert "token ***\n" in text
        assert "could not get https://me:***@host/simple with ***\n" in text
        assert HUB not in text
        assert KEY not in text
        assert "pa55word" not in text


def test_a_token_that_is_written_in_pieces_is_not_in_the_log(tmp_path):
    assert logged(tmp_path, lambda tee: tee.writelines([HUB[:10], HUB[10:], "\n"])) == "***\n"


def test_words_that_are_no_secrets_stay(monkeypatch):
    monkeypatch.setenv("SHORT_TOKEN", "round1")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false-or-true")
    text = "round1: hf_short, task-aaaaaaaaaaaaaaaaaaaaaaaa, http://host:8080/a, git@host:a/b, false-or-true"
    assert redact(text) == text


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"a": {"b": HUB}}, "a.b"),
        ({"a": [1, "x", f"say {KEY}"]}, "a.2"),
        ({"a": {"x": 1}, "b": {"name": "https://u:password@host/x"}}, "b.name"),
        ({"a": {"b": "of-the-environment"}}, "a.b"),
        ({"a": {"b": "https://host/x", "c": None, "d": 1.5, "e": ["hf_short"]}}, None),
        (None, None),
    ],
)
def test_params_that_hold_a_secret_are_found_by_key(content, key, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "of-the-environment")
    assert secret_in(content) == key


def test_params_with_a_token_are_refused_by_key_without_showing_it(tmp_path):
    path = tmp_path / "params.yaml"
    text = (Path(__file__).parent.parent / "params.yaml").read_text()
    assert "  engine: lightning" in text
    path.write_text(text.replace("  engine: lightning", f"  engine: {HUB}"))
    with pytest.raises(ParamsError, match=r"params\.yaml: dpo\.engine holds what looks like a token") as error:
        load(path)
    assert HUB not in str(error.value)
