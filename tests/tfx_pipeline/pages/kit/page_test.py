"""Pages: blocks as HTML, escaped, whole, and without anything from elsewhere."""

from __future__ import annotations

import re

import jinja2
import pytest

from tfx_pipeline.pages.kit.figures import draw
from tfx_pipeline.pages.kit.page import Details, Figure, Page, Picture, Prose, Section, Table, render, write

SCRIPT = "<script>alert('x')</script> & more"


def page(*blocks, **values):
    defaults = {"title": "A page", "subtitle": "of tests", "verdicts": [], "figures": []}
    return Page(**{**defaults, **values, "sections": [Section("first", "First", list(blocks))]})


def test_text_of_every_block_is_escaped():
    panel = draw("one", SCRIPT, lambda axes: axes.plot([0, 1]))
    html = render(
        page(
            Prose(SCRIPT),
            Table(SCRIPT, (SCRIPT,), [(SCRIPT,)]),
            Details(SCRIPT, SCRIPT),
            Picture([panel], SCRIPT),
            title=SCRIPT,
            subtitle=SCRIPT,
            verdicts=[Prose(SCRIPT, "bad")],
            figures=[Figure(SCRIPT, SCRIPT, SCRIPT)],
        )
    )
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 13


def test_page_loads_nothing_and_runs_nothing():
    html = render(page(Picture([draw("one", "One", lambda axes: axes.plot([0, 1]))], "A line.")))
    assert not re.findall(r"<(script|iframe|img|object|embed)\b", html)
    assert not re.findall(r"https?://|@import|url\((?!#)", html)
    assert "default-src 'none'" in html


def test_numbers_stand_in_the_last_columns():
    html = render(page(Table("Counts", ("name", "rows", "share"), [("a", "1", "2 %")], numbers=2)))
    assert re.findall(r"<td[^>]*>", html) == ["<td>", '<td class="number">', '<td class="number">']
    assert re.findall(r'<th scope="col"[^>]*>', html) == ['<th scope="col">', *['<th scope="col" class="number">'] * 2]


def test_contents_list_leads_to_every_section():
    sections = [Section("one", "The one", []), Section("two", "The two", [])]
    html = render(Page("t", "s", [], [], sections))
    assert re.findall(r'<li><a href="#(\w+)">([^<]+)</a>', html) == [("one", "The one"), ("two", "The two")]
    assert re.findall(r'<section id="(\w+)"', html) == ["one", "two"]


def test_a_block_asks_for_the_width_that_its_content_takes():
    short = Table("Short", ("name", "rows"), [("a", "1,234")], numbers=1)
    long = Table("Long", ("name", "rows"), [("a" * 30, "1,234")], numbers=1)
    broken = Table("Broken", ("name", "rows"), [("a " * 500, "1,234")], numbers=1)
    assert short.least_rem < long.least_rem < broken.least_rem < 40
    panel = draw("one", "One", lambda axes: axes.plot([0, 1]))
    one, two, three = (Picture([panel] * number, "Some.").least_rem for number in (1, 2, 3))
    # With three it has the page for itself, and its sentence below.
    assert one < two < three
    assert [Picture([panel] * number, "Some.").tall for number in (1, 2, 3)] == [False, False, True]
    html = render(page(short))
    assert f"--least: {short.least_rem}rem" in html


def test_an_empty_table_is_a_table():
    assert "<tbody>" in render(page(Table("None", ("name", ""), [])))


def test_long_text_is_set_in_columns_and_short_text_is_not():
    html = render(page(Prose("word " * 10), Prose("word " * 200), Prose("word " * 200, "bad")))
    assert re.findall(r'<p class="(prose[^"]*)"', html) == ["prose", "prose long", "prose note bad"]


def test_file_appears_whole(tmp_path):
    path = tmp_path / "deep" / "page.html"
    write(page(Prose("first")), path)
    before = path.read_text()
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]

    with pytest.raises(jinja2.UndefinedError):
        write(page(object()), path)
    assert path.read_text() == before
