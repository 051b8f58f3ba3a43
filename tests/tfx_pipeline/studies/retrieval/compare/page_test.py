"""The page of a comparison of retrieval, read as text and opened in a browser."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest

from tests.tfx_pipeline.pages.svg_boxes import legend, plot_area
from tests.tfx_pipeline.studies.compare.page_test import tables
from tfx_pipeline.pages.kit.page import Page, Picture, Prose, Table, render
from tfx_pipeline.studies.retrieval.compare.page import retrieval_page, write_retrieval_page
from tfx_pipeline.studies.retrieval.compare.report import RetrievalComparison

# Two towers with two seeds each, a ranker behind them in its own order and in that of both scores, a baseline.
EXAMPLE = Path(__file__).parent / "compare_example.json"
RANKED = "20, then mean_pooling"


@pytest.fixture
def report() -> dict:
    """The comparison as JSON, to be changed by a test."""
    return json.loads(EXAMPLE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page() -> Page:
    return retrieval_page(RetrievalComparison.from_json(json.loads(EXAMPLE.read_text(encoding="utf-8"))))


def one_table(page, start: str) -> Table:
    (table,) = (table for caption, table in tables(page).items() if caption.startswith(start))
    return table


def test_lists_stand_in_order_each_with_the_ranker_behind_it(page, report):
    names = [row[0] for row in one_table(page, "NDCG@k, 0 to 1, of test").rows]
    behind = (f": {RANKED}", f": {RANKED} + 2 x retrieval")
    assert names == [f"{towers}{end}" for towers in ("two_towers", "two_towers~content") for end in ("", *behind)] + [
        "content"
    ]
    first = report["lists"][0]["metrics"]["ndcg@5"]
    assert one_table(page, "NDCG@k, 0 to 1, of test").rows[0][1] == f"{first['mean']:.4f} ± {first['std']:.4f}"


def test_every_table_has_a_cell_per_column(page):
    for caption, table in tables(page).items():
        assert {len(row) for row in table.rows} == {len(table.columns)}, caption


def test_differences_have_their_interval_and_the_verdict(page, report):
    rows = {(row[0], row[1]): row for row in one_table(page, "Differences").rows}
    content = next(one for one in report["lists"] if one["retriever"] == "content")["difference"]["ndcg@20"]
    assert rows["content", "NDCG@20"][2:6] == (
        content["verdict"],
        *(f"{content[end]:+.4f}" for end in ("mean", "low", "high")),
    )
    assert (f"two_towers~content: {RANKED}", "NDCG@5") in rows
    assert not [name for name, _ in rows if name.startswith("two_towers:")], "the reference's own"


def test_the_verdict_names_retrievers_by_their_interval(report):
    alone = {one["retriever"]: one for one in report["lists"] if one["ranker"] is None}
    alone["content"]["difference"]["recall@20"]["verdict"] = "behind"
    alone["two_towers~content"]["difference"]["recall@20"]["verdict"] = "ahead"
    (verdict,) = retrieval_page(RetrievalComparison.from_json(report)).verdicts
    assert "recall@20 of test, against two_towers" in verdict.text
    assert "ahead of it: two_towers~content; behind it: content" in verdict.text


def test_one_seed_decides_nothing_on_the_page(report):
    report["seeds"] = report["seeds"][:1]
    page = retrieval_page(RetrievalComparison.from_json(report))
    assert page.verdicts[0].text.startswith("In recall@20 nothing is decided against two_towers")
    assert any("towers of one training, with seed 5" in caption for caption in tables(page))
    assert render(page)


def test_towers_alone_have_nothing_to_be_compared_with(report):
    report["lists"] = report["lists"][:1]
    page = retrieval_page(RetrievalComparison.from_json(report))
    assert "nothing to compare" in page.verdicts[0].text
    assert render(page)


def test_baselines_alone_have_no_training(report):
    report["lists"] = report["lists"][-1:]
    report["towers"], report["rankers"] = [], []
    page = retrieval_page(RetrievalComparison.from_json(report))
    assert [section.anchor for section in page.sections] == ["lists", "differences", "slices", "catalogue"]
    assert render(page)


def test_what_orders_by_both_scores_is_explained_where_there_is_such_a_row(page, report):
    def told(page):
        return [block.text for block in page.sections[0].blocks if isinstance(block, Prose)]

    assert any("stages.ranking.retrieval_weight" in text for text in told(page))
    report["lists"] = [one for one in report["lists"] if not one["retrieval_weight"]]
    assert not any("retrieval_weight" in text for text in told(retrieval_page(RetrievalComparison.from_json(report))))


def absent(value):
    """Every number that may be null is."""
    if isinstance(value, dict):
        return {key: None if key in ("mean", "std", "low", "high") else absent(child) for key, child in value.items()}
    return [absent(child) for child in value] if isinstance(value, list) else value


def test_numbers_that_do_not_exist_are_dashes(report):
    report["lists"] = absent(report["lists"])
    html = render(retrieval_page(RetrievalComparison.from_json(report)))
    assert "nan" not in re.sub(r"[a-z]nan|nan[a-z]", "", html.lower())
    assert "None" not in html


def test_no_legend_covers_a_curve(page):
    pictures = [block for section in page.sections for block in section.blocks if isinstance(block, Picture)]
    drawings = [str(panel.svg) for picture in pictures for panel in picture.panels]
    named = [(box, plot_area(svg)) for svg in drawings if (box := legend(svg)) is not None]
    assert len(named) == 2
    assert not [box for box, plot in named if box.meets(plot)]


def test_page_in_a_browser(report, browser, tmp_path):
    many = copy.deepcopy(report["lists"][3:])
    for one in many:
        one["retriever"] += "@text+image"
    report["lists"] += many
    path = tmp_path / "compare.html"
    write_retrieval_page(RetrievalComparison.from_json(report), path)
    for scheme in ("light", "dark"):
        browser.open(path, scheme=scheme)
        assert browser.complaints() == []
        assert browser.requests() == []
        assert [one for one in browser.contrasts() if one["ratio"] < 4.5] == []
    pictures = browser.pictures()
    assert all(one["width"] > 250 and one["height"] > 100 and one["drawn"] > 10 for one in pictures), pictures
    browser.open(path, width=1440)
    assert browser.covered_legends() == []
    browser.open(path, width=400)
    assert browser.overflow() <= 0
