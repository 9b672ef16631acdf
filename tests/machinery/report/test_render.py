"""Test that text from outside stays text in every format."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from spot.report.render import label, plain, render, table
from tests.paths import SRC

NASTY = "a|b `c` <img src=x> [d](e) **f** @everyone $x$ \n::error::g"


def test_text_from_outside_stays_on_its_line_and_is_no_markup() -> None:
    shown = plain(NASTY)
    assert not set(shown) & set("|`<>[]*@$\n")
    assert shown.startswith("a&#124;b")


OUTSIDE = st.text(st.sampled_from("ab1 \n\t`*_[]()<>!#|~@&;:/.-+=$\\\"'{}%\x1b\u202e"), max_size=40) | st.text(
    max_size=20
)


@given(OUTSIDE)
@example("[a](https://evil.example) https://evil.example www.evil.example <b>x</b> ![i](x)\n\n# head")
@settings(max_examples=300, deadline=None)
def test_any_text_from_outside_is_one_paragraph_of_markdown(text: str) -> None:
    html = MarkdownIt("commonmark").enable("table").render(f"why: {plain(text)}")
    assert re.fullmatch(r"<p>[^<>]*</p>\n", html)
    assert "://" not in plain(text)
    assert "www." not in plain(text)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", html.removesuffix("\n"))


@given(OUTSIDE)
@example("us-central1\n```\n# Approved\n[click](https://evil.example)")
@settings(max_examples=200, deadline=None)
def test_any_label_from_outside_stays_in_its_line_of_mermaid(text: str) -> None:
    assert re.fullmatch(r"[\w -]*", label(text))
    chart = render("gantt.mmd.j2", regions={text: []}, deadline="2026-11-25 00:00:00")
    assert len(chart.splitlines()) == 7
    assert "```" not in chart


def test_numbers_stand_to_the_right() -> None:
    assert table(["name", ">n"], [["a", "1"]]) == "| name | n |\n| --- | ---: |\n| a | 1 |"


def test_a_label_in_mermaid_holds_no_separator() -> None:
    assert label("a1: spot,us-east4;1") == "a1  spot us-east4 1"


def test_a_value_that_is_missing_is_an_error_and_not_an_empty_text() -> None:
    with pytest.raises(Exception, match="'deadline' is undefined"):
        render("gantt.mmd.j2", regions={})


def test_jinja_is_imported_by_the_first_page_only() -> None:
    said = "import sys, spot.report.page, spot.report.markdown; sys.exit('jinja2' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    assert subprocess.run([sys.executable, "-c", said], env=environment, check=False).returncode == 0
