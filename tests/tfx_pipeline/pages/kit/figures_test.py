"""Drawings become SVG that lives in a page: unique ids, colours of the page, text as text."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest

from tests.tfx_pipeline.pages.svg_boxes import legend, plot_area
from tfx_pipeline.pages.kit import figures, palette


def paint(axes):
    axes.plot([0, 1], [1, 0], label="falling", **palette.line(0))
    axes.plot([0, 1], [0, 1], label="rising", **palette.points(1))
    axes.fill_between([0, 1], [0, 1], color=palette.colour(2))
    axes.set(xlabel="seconds", ylabel="a < b")


@pytest.fixture(scope="module")
def svg() -> str:
    return str(figures.draw("first", "Falling & rising", paint).svg)


def test_is_one_svg_element_with_a_name(svg):
    root = ElementTree.fromstring(svg.replace("xlink:href", "href"))
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert root.get("viewBox")
    assert root.get("width") is None
    (title,) = [child for child in root if child.tag == "title"]
    assert title.text == "Falling & rising"
    assert root.get("aria-labelledby") == title.get("id")


def test_text_stays_text(svg):
    texts = [element.text for element in ElementTree.fromstring(svg.replace("xlink:href", "href")).iter("text")]
    assert {"falling", "rising", "seconds", "a < b"} <= set(texts)
    assert "font-size" in svg
    assert "font-family" not in svg


def test_all_colours_are_the_page_s(svg):
    assert not re.findall(r"#[0-9a-f]{6}\b", svg.replace("#ffffff", ""))
    assert "currentColor" in svg
    assert {"var(--series-1)", "var(--series-2)", "var(--series-3)"} <= set(re.findall(r"var\(--series-\d\)", svg))


def test_brings_nothing_that_reaches_beyond_it(svg):
    assert "<style" not in svg
    assert "<metadata" not in svg
    assert not re.findall(r"https?://", svg)


def test_ids_differ_between_pictures_and_references_find_them(svg):
    other = str(figures.draw("second", "Again", paint).svg)
    ids, others = (re.findall(r'\bid="([^"]+)"', text) for text in (svg, other))
    assert len(ids) == len(set(ids)) > 5
    assert not set(ids) & set(others)
    referred = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    assert referred
    assert referred <= set(ids)


def test_same_drawing_is_the_same_text(svg):
    assert svg == str(figures.draw("first", "Falling & rising", paint).svg)


@pytest.mark.parametrize("size", [figures.PANEL_SIZE, figures.WIDE_SIZE])
@pytest.mark.parametrize("names", [["one"], ["the first", "the second"], [f"model_{n}@text+image" for n in range(30)]])
def test_a_legend_covers_no_plot_and_takes_no_room_from_it(names, size):
    def named(axes):
        for number, name in enumerate(names):
            axes.plot([0, 1], [number, 0], label=name, **palette.line(number))

    alone = str(figures.draw("alone", "One", lambda axes: axes.plot([0, 1]), size).svg)
    svg = str(figures.draw("named", "Some", named, size).svg)
    assert legend(alone) is None
    box, plot = legend(svg), plot_area(svg)
    assert not box.meets(plot)
    assert box.left >= 0 and box.top >= 0
    # The first row of names takes its room from the plot, further ones add to the picture.
    height = plot.bottom - plot.top
    assert height > plot_area(alone).bottom - plot_area(alone).top - 35
    assert len(re.findall(r"<text[^>]*>(?:the |one|model_)", svg)) == len(names)


def test_no_legend_where_nothing_has_a_name():
    assert legend(str(figures.draw("plain", "Plain", lambda axes: axes.plot([0, 1])).svg)) is None


def test_series_differ_in_more_than_colour():
    looks = [palette.points(number) for number in range(36)]
    assert len({tuple(look.values()) for look in looks}) == 36
    lines = [palette.line(number) for number in range(4)]
    assert len({look["linestyle"] for look in lines}) == 4


@pytest.mark.parametrize(
    "places", [[0.5, 0.5, 0.5], [0.0, 0.01, 1.0], [0.98, 0.99, 1.0], [n / 30 for n in range(30)], [0.2]]
)
def test_labels_keep_apart_inside_the_axes(places):
    moved = figures.apart(places)
    height = min(0.085, 1 / max(len(places) - 1, 1))
    assert all(later - earlier >= height - 1e-9 for earlier, later in itertools.pairwise(moved))
    assert min(moved) >= -1e-9
    assert max(moved) <= 1 + 1e-9
