"""Test that text from outside stays text in every format."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from spot.report.render import code, label, plain, render, table
from tests.paths import SRC

NASTY = "a|b `c` <img src=x> [d](e) **f** @everyone $x$ \n::error::g"


def test_what_somebody_else_wrote_stays_on_its_line_and_means_nothing() -> None:
    shown = plain(NASTY)
    assert not set(shown) & set("|`<>[]*@$\n")
    assert shown.startswith("a&#124;b")


def test_code_ends_where_it_should() -> None:
    assert code("a`b</code>") == "<code>a&#96;b&#60;/code&#62;</code>"


def test_numbers_stand_to_the_right() -> None:
    assert table(["name", ">n"], [["a", "1"]]) == "| name | n |\n| --- | ---: |\n| a | 1 |"


def test_a_label_in_mermaid_holds_no_separator() -> None:
    assert label("a1: spot,us-east4;1") == "a1  spot us-east4 1"


def test_a_value_that_is_missing_is_an_error_and_not_an_empty_text() -> None:
    with pytest.raises(Exception, match="'deadline' is undefined"):
        render("gantt.mmd.j2", regions={})


def test_jinja_is_imported_by_the_first_page_only() -> None:
    said = "import sys, spot.report.page, spot.report.markdown, spot.report.publish; sys.exit('jinja2' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    assert subprocess.run([sys.executable, "-c", said], env=environment, check=False).returncode == 0
