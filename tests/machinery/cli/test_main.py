"""Test the command line as a process: output before a verb is chosen, and exit codes."""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from spot.cli import main as command_line
from spot.cli.main import main
from spot.core.errors import Exit
from tests.machinery.desk import WEEKLY, Desk
from tests.machinery.spot_toml import GOOD, changed

HEAVY = (
    "google.api_core",
    "google.auth",
    "google.cloud.storage",
    "google.protobuf",
    "logging",
    "pathlib",
    "pydantic",
    "requests",
    "rich",
    "torch",
    "urllib3",
)
RENDERERS = ("jinja2", "spot.report.page")
"""What only a report needs."""
RELATIVE = {"that", "which", "who", "whose", "where", "what"}
VERBS = (
    "submit",
    "reconcile",
    "watch",
    "status",
    "cancel",
    "logs",
    "export",
    "prices",
    "estimate",
    "forecast",
    "doctor",
    "rehearse",
)


def finished(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "spot.cli.main", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@contextmanager
def at_a_terminal(*arguments: str, columns: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The process, and the other end of its terminal."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {**os.environ, "TERM": "xterm"}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environ.pop(name, None)
    command = [sys.executable, "-m", "spot.cli.main", *arguments]
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environ, start_new_session=True) as process:
        os.close(its)
        try:
            yield process, ours
        finally:
            process.kill()
            os.close(ours)


def read_until(terminal: int, text: str) -> str:
    """All that was shown, up to `text` or to the end."""
    seen = b""
    while text.encode() not in seen or not text:
        try:
            part = os.read(terminal, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # how Linux says that nobody has the other end open any more
                raise
            part = b""
        if not part:
            break
        seen += part
    return seen.decode()


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    program = f"""import sys, spot.cli.main
try:
    spot.cli.main.main(["--help"])
finally:
    print(sorted(set({HEAVY!r}) & sys.modules.keys()), file=sys.stderr)"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    for verb in VERBS:
        assert f"\n    {verb}" in done.stdout
    assert "75 still open" in " ".join(done.stdout.split())


def test_help_texts_are_short_and_plain() -> None:
    texts = [
        action.help
        for verb in _subparsers().choices.values()
        for action in verb._actions  # argparse has no other way to list them
        if action.help
    ]
    texts += [str(action.help) for action in _subparsers()._choices_actions]
    assert len(texts) > 40
    assert [text for text in texts if len(text) > 60 or RELATIVE & set(text.lower().split())] == []


def _subparsers() -> Any:
    actions = command_line._parser()._actions
    return next(action for action in actions if isinstance(action, argparse._SubParsersAction))


def test_a_reconcile_loads_a_renderer_only_to_close_a_run(desk: Desk) -> None:
    program = f"""import sys, spot.cli.main
for _ in sys.stdin:
    spot.cli.main.main(["reconcile", "--json"])
    print(sorted(name for name in {RENDERERS!r} if name in sys.modules), file=sys.stderr, flush=True)"""
    words = [sys.executable, "-c", program]
    desk.submit(WEEKLY)
    with subprocess.Popen(
        words, cwd=desk.toml.parent, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write("\n")
        process.stdin.flush()
        opened = next(line for line in process.stderr if line.startswith("["))
        desk.fail(WEEKLY)
        out, ended = process.communicate("\n")
    assert (opened, ended.splitlines()[-1]) == ("[]\n", "['jinja2', 'spot.report.page']")
    assert re.findall(r'"state": "(\w+)"', out) == ["open", "failed"]
    assert f"reports/{WEEKLY}/report.html" in desk.objects()


def test_outside_of_a_project_it_says_where_to_go(tmp_path: Path) -> None:
    done = finished("status", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("spot: spot.toml: no such file: run spot in the folder of the project, beside spot.toml\n")


def test_a_project_that_may_only_be_read_is_enough(desk: Desk) -> None:
    desk.toml.chmod(0o444)
    desk.toml.parent.chmod(0o555)
    try:
        done = finished("submit", "--run", WEEKLY, "--json", folder=desk.toml.parent)
    finally:
        desk.toml.parent.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "open"
    assert f"Z {WEEKLY}: submit spot in us-east4: " in done.stderr, "every decision is logged"


@pytest.mark.parametrize("arguments", [["status", "--json"], ["status", WEEKLY]], ids=["json", "tables"])
def test_a_closed_standard_output_is_neither_an_error_nor_a_success(
    desk: Desk, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # what is written last is still in a buffer at the end
    desk.submit(WEEKLY)
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "spot.cli.main", *arguments]
    done = subprocess.run(command, cwd=desk.toml.parent, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_watch_at_a_terminal_shows_work_and_time_in_place_until_it_is_interrupted(desk: Desk) -> None:
    desk.submit(WEEKLY)
    desk.checkpoint(WEEKLY, 30, 120)
    arguments = ["watch", "--settings", str(desk.toml), "--every", "0.05"]
    with at_a_terminal(*arguments, columns=80) as (process, terminal):
        shown = read_until(terminal, "\x1b[1A")  # it goes up again, to show the next pass in place
        process.send_signal(signal.SIGINT)
        left = read_until(terminal, "")
        assert process.wait() == 130
    assert "30 of 120 steps, " in shown
    assert "of 12.0 h, deadline 20" in shown
    assert "wait:" not in shown, "the log must not go through it"
    assert "spot: interrupted; running jobs continue" in left
    assert "Traceback" not in left


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["forecast"], "spot: interrupted\n"),
        (["cancel", "x"], "spot: interrupted; running jobs continue, the next reconcile picks them up\n"),
    ],
)
def test_an_interrupt_reports_a_running_job_only_if_there_is_one(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spot.cli.runs.load", interrupted)
    monkeypatch.setattr("spot.cli.forecast.load", interrupted)
    assert main(arguments) == 130
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "the following arguments are required: VERB (fix: spot --help)"),
        (["retrain"], "invalid choice: 'retrain'"),
        (["status", "--jso"], "unrecognized arguments: --jso (fix: spot status --help)"),
        (["cancel"], "the following arguments are required: RUN (fix: spot cancel --help)"),
        (["submit", "--strategy", "cheap"], "invalid choice: 'cheap'"),
        (["watch", "--every", "0"], "argument --every: '0' is not a number from 0.01 to 86400"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == Exit.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("verb", ["submit", "reconcile", "watch", "status", "cancel x", "logs x", "doctor"])
def test_every_mistake_in_the_settings_is_a_line_and_nothing_is_done(desk: Desk, verb: str) -> None:
    text = changed("policy.work_hours", '"long"', changed("cloud.bucket", '"gs://b"', changed("machine.type", None)))
    desk.toml.write_text(text)
    said = desk.spot(*verb.split())
    assert (said.code, said.out) == (2, "")
    keys = ("cloud.bucket is 'gs://b': ", "machine.type is missing: ", "policy.work_hours is 'long': ")
    lines = said.err.splitlines()
    assert len(lines) == len(keys)
    assert all(line.startswith(f"spot: {desk.toml}: {key}") for line, key in zip(lines, keys, strict=True)), lines
    assert desk.server.calls == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "name is missing"),
        (b"name = ", "spot.toml: not TOML: Invalid value"),
        (b"name = '\xff'", "line 1 is not UTF-8 (byte 0xff) (fix: save it as UTF-8)"),
        (GOOD.encode() + b"[polciy]\n", "polciy is not a setting: did you mean policy?"),
    ],
    ids=["empty", "no toml", "no text", "unknown table"],
)
def test_a_file_that_is_no_settings_is_refused(desk: Desk, content: bytes, says: str) -> None:
    desk.toml.write_bytes(content)
    said = desk.spot("status")
    assert (said.code, said.out) == (2, "")
    assert says in said.err


def test_a_rehearsal_gets_its_arguments_as_they_are(tmp_path: Path) -> None:
    done = finished("rehearse", "--no-such-flag", folder=tmp_path)
    assert done.returncode == 2
    assert "--no-such-flag" in done.stderr
    assert "spot --help" not in done.stderr


def test_a_bug_keeps_its_traceback(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spot.supervisor.service.BucketStatus", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        desk.spot("status")
