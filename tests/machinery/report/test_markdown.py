"""Nothing that somebody else wrote becomes more than text."""

from __future__ import annotations

from spot.report.markdown import code, plain, table

NASTY = "a|b `c` <img src=x> [d](e) **f** @everyone $x$ \n::error::g"


def test_what_somebody_else_wrote_stays_on_its_line_and_means_nothing() -> None:
    shown = plain(NASTY)
    assert not set(shown) & set("|`<>[]*@$\n")
    assert shown.startswith("a&#124;b")


def test_code_ends_where_it_should() -> None:
    assert code("a`b</code>") == "<code>a&#96;b&#60;/code&#62;</code>"


def test_numbers_stand_to_the_right() -> None:
    assert table(["name", ">n"], [["a", "1"]]) == "| name | n |\n| --- | ---: |\n| a | 1 |"
