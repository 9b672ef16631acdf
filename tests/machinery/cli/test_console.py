"""Test that standard output is complete for any reader."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import sys
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Group
from rich.text import Text

from spot.cli import console
from spot.core.tables import facts


class Closed(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_a_table_in_a_log_is_wide_and_has_no_colours_and_no_blanks_at_its_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    console.write(facts([("name", "x" * 100), ("other", "short")]))
    assert capsys.readouterr().out == f"name   {'x' * 100}\nother  short\n"


def test_text_is_not_broken_so_that_it_can_be_copied(capsys: pytest.CaptureFixture[str]) -> None:
    console.write("word " * 100 + "end")
    assert capsys.readouterr().out == "word " * 100 + "end\n"


def test_what_looks_like_markup_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    console.write("[bold]:smile:[/nothing]")
    assert capsys.readouterr().out == "[bold]:smile:[/nothing]\n"


@given(st.text(max_size=30) | st.text(st.sampled_from("a\x1b[2J\x07\r\x9b\u202e\ud800\n"), max_size=20))
@example("\x1b]0;title\x07\x1b[2J\x1b[1;31mgone")
@settings(max_examples=200, deadline=None)
def test_no_text_steers_a_terminal_wherever_it_stands(text: str) -> None:
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        console.write(text, Text(text, style="bold red"), facts([("name", text)]), Group(Text(text)))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", written.getvalue())


def test_a_picture_has_every_text_and_asks_no_network_for_anything() -> None:
    drawn = console.svg([Text("what it costs", style="bold"), "[<b> & [/x]", facts([("name", "one")]), "\x1b[2J"], 60)
    texts = [str(text.text) for text in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    shown = " ".join("".join(texts).replace("\xa0", " ").split())
    assert shown == "spotwhat it costs [<b> & [/x] nameone \ufffd[2J"
    assert not re.search(r"url\((?!#)|href|@import", drawn)


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    console.show({"a": [1, None]}, [], as_json=True)
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1, "a": [1, None]}


def test_a_closed_pipe_is_raised_to_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(BrokenPipeError):
        console.write("anything")


def test_a_file_is_no_terminal() -> None:
    assert not console.on_terminal()


def test_the_log_is_as_it_was_once_the_view_in_place_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    root, stream = logging.getLogger(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    handler = logging.StreamHandler(stream)
    root.addHandler(handler)
    monkeypatch.setattr(root, "level", logging.INFO)
    try:
        with console.in_place() as show:
            show("a pass")
            root.info("a decision")
        root.info("afterwards")
        assert stream.getvalue().splitlines() == ["afterwards"]
    finally:
        root.removeHandler(handler)
