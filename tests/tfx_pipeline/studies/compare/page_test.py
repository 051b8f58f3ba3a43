"""The page of a comparison, read as text and opened in a browser."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest

from tests.tfx_pipeline.pages.svg_boxes import legend, plot_area
from tfx_pipeline.pages.kit.page import Details, Page, Picture, Prose, Table, render
from tfx_pipeline.studies.compare.page import compare_page, spread, write_compare_page
from tfx_pipeline.studies.compare.report import Report, Statistic

EXAMPLE = Path(__file__).parent / "compare_example.json"


@pytest.fixture
def report() -> dict:
    """The comparison as JSON, to be changed by a test."""
    return json.loads(EXAMPLE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page() -> Page:
    return compare_page(Report.from_json(json.loads(EXAMPLE.read_text(encoding="utf-8"))))


def tables(page) -> dict[str, Table]:
    return {block.caption: block for section in page.sections for block in section.blocks if isinstance(block, Table)}


def test_models_stand_in_order_with_mean_and_spread(page, report):
    table = next(iter(tables(page).values()))
    assert [row[0] for row in table.rows] == [model["label"] for model in report["models"]]
    auc = report["models"][0]["metrics"]["auc"]
    assert table.rows[0][2] == f"{auc['mean']:.4f} ± {auc['std']:.4f}"


def test_a_comparison_of_before_is_read_and_written_as_it_is(report):
    assert Report.from_json(report).to_json() == {**report, "baselines": None, "sampled": None}


def test_a_comparison_of_before_has_dashes_where_requests_were_not_measured(page, report):
    (table,) = (table for caption, table in tables(page).items() if caption.startswith("Ranking within requests"))
    assert [row[0] for row in table.rows] == [model["label"] for model in report["models"]]
    assert {cell for row in table.rows for cell in row[1:]} == {"–"}
    rows = {(row[0], row[1]): row for row in tables(page)["Differences"].rows}
    assert rows[report["models"][1]["label"], "MRR (of 1)"][2:] == ("–",) * 5


def test_every_table_has_a_cell_per_column(page):
    for caption, table in tables(page).items():
        assert {len(row) for row in table.rows} == {len(table.columns)}, caption


def test_verdict_names_models_by_their_interval(report):
    for model, verdict in zip(report["models"][1:], ("ahead", "behind", "undecided", "undecided"), strict=True):
        model["difference"]["gauc"]["verdict"] = verdict
    labels = [model["label"] for model in report["models"]]
    (verdict,) = compare_page(Report.from_json(report)).verdicts
    assert f"ahead of it: {labels[1]}; behind it: {labels[2]}" in verdict.text
    assert f"not told apart from it: {labels[3]} and {labels[4]}" in verdict.text


def test_one_seed_has_no_spread(report):
    assert spread(Statistic(mean=0.5, std=None, values=[0.5])) == "0.5000"
    assert spread(Statistic(mean=None, std=None, values=[None])) == "–"


def test_one_seed_decides_nothing_on_the_page(report):
    report["seeds"] = report["seeds"][:1]
    for model in report["models"]:
        model["history"] = model["history"][:1]
        for difference in (model["difference"] or {}).values():
            difference["verdict"] = "one seed"
    page = compare_page(Report.from_json(report))
    assert page.verdicts[0].text.startswith(f"In test GAUC nothing is decided against {report['reference']}")
    assert page.figures[1].note == f"one training each, with seed {report['seeds'][0]}"
    assert next(iter(tables(page))) == f"Test split: of one training, with seed {report['seeds'][0]}"
    assert render(page)


def test_a_model_that_never_left_chance_is_a_warning_on_top(page, report):
    assert [verdict.tone for verdict in page.verdicts] == ["plain"]
    report["models"][1]["history"][0] = [{"val_auc": 0.5}]
    _, warning = compare_page(Report.from_json(report)).verdicts
    assert warning.tone == "warning"
    assert f"{report['models'][1]['label']} never left chance" in warning.text


def absent(value):
    """Every number that may be null is."""
    if isinstance(value, dict):
        return {key: None if key in ("std", "low", "high") else absent(child) for key, child in value.items()}
    return value


def test_numbers_that_do_not_exist_are_dashes(report):
    for model in report["models"]:
        for part in ("metrics", "slices", "difference", "slice_differences"):
            model[part] = absent(model[part])
        model["attainable_share"] = None
        model["training"]["examples_per_second"] = {"mean": None, "std": None, "values": [None]}
    report["attainable"] = None
    html = render(compare_page(Report.from_json(report)))
    assert "nan" not in re.sub(r"[a-z]nan|nan[a-z]", "", html.lower())
    assert "None" not in html


def test_a_model_is_shown_with_its_own_learning_rate_and_batch_size(page):
    table = tables(page)["Trainings; epochs by seed"]
    assert table.columns[:3] == ("model", "learning rate", "batch size (requests)")
    assert {row[0]: row[1:3] for row in table.rows} == {
        **dict.fromkeys(("dmf", "target_attention", "dmf@text", "mean_pooling"), ("0.001", "256")),
        "din": ("0.002", "256"),
    }
    training = next(section for section in page.sections if section.anchor == "training")
    (shared,) = (block.text for block in training.blocks if isinstance(block, Details))
    assert "epochs: 6" in shared
    assert "learning_rate" not in shared and "batch_size" not in shared


def test_trainings_of_several_sessions_are_a_warning(page, report):
    def warnings(page):
        cost = next(section for section in page.sections if section.anchor == "cost")
        return [block.text for block in cost.blocks if isinstance(block, Prose) and block.tone == "warning"]

    assert warnings(page) == []
    report["models"][1]["training"]["timed"][0]["at"] = "2026-11-19T05:00:00Z"
    (warning,) = warnings(compare_page(Report.from_json(report)))
    assert "up to 3 days apart (2026-11-19 to 2026-11-22)" in warning


def test_no_legend_covers_a_curve(page):
    pictures = [block for section in page.sections for block in section.blocks if isinstance(block, Picture)]
    drawings = [str(panel.svg) for picture in pictures for panel in picture.panels]
    named = [(box, plot_area(svg)) for svg in drawings if (box := legend(svg)) is not None]
    assert len(named) == 1
    assert not [box for box, plot in named if box.meets(plot)]


def test_sections_say_who_is_ahead_before_what_it_costs_and_how_it_was_trained(page):
    assert [section.anchor for section in page.sections] == ["models", "differences", "slices", "cost", "training"]


def test_reference_alone(report):
    report["models"] = report["models"][:1]
    page = compare_page(Report.from_json(report))
    assert "nothing to compare" in page.verdicts[0].text
    assert render(page)


def test_page_in_a_browser(report, browser, tmp_path):
    many = copy.deepcopy(report["models"][1:]) * 2
    for number, model in enumerate(many):
        model["label"] = f"{model['label']}@text+image_{number}"
    report["models"] += many
    path = tmp_path / "compare.html"
    write_compare_page(Report.from_json(report), path)
    assert path.stat().st_size < 2e6

    for scheme in ("light", "dark"):
        browser.open(path, scheme=scheme)
        assert browser.complaints() == []
        assert browser.requests() == []
        faint = [one for one in browser.contrasts() if one["ratio"] < 4.5]
        assert faint == []
    pictures = browser.pictures()
    assert len(pictures) == 11
    assert all(one["width"] > 250 and one["height"] > 100 and one["drawn"] > 10 for one in pictures), pictures

    browser.open(path, width=1440)
    assert browser.covered_legends() == []
    assert browser.half_empty() < 0.05

    browser.open(path, width=400)
    assert browser.overflow() <= 0
    assert all(one["smallest"] > 8 for one in browser.pictures())


def test_further_objectives_have_intervals_in_pictures_and_rows(report):
    for model in report["models"]:
        for values in (model["metrics"], *([model["difference"]] if model["difference"] else [])):
            values |= {f"buy/{name}": copy.deepcopy(value) for name, value in values.items()}
    found = compare_page(Report.from_json(report))
    (section,) = (section for section in found.sections if section.anchor == "differences")
    (picture,) = (block for block in section.blocks if isinstance(block, Picture))
    drawn = [str(panel.svg) for panel in picture.panels]
    for title in (
        "difference in GAUC",
        "difference in buy: GAUC",
        "difference in buy: AUC",
        "difference in buy: log loss",
    ):
        assert any(f"D{title[1:]} to" in svg for svg in drawn), title
    rows = {(row[0], row[1]): row for row in tables(found)["Differences"].rows}
    other = report["models"][1]
    assert rows[other["label"], "buy: AUC (of 1)"][3:] == rows[other["label"], "AUC (of 1)"][3:]
