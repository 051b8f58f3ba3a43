"""Evidence of content, and how it is printed and shown."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest

from tests.tfx_pipeline.training.content_tuning.behaviour import ITEMS, behaviour, vectors
from tfx_pipeline.config.schema import Evaluation
from tfx_pipeline.console import Console
from tfx_pipeline.data.content.table import ContentMatrix, Coverage, ItemContentTable
from tfx_pipeline.evaluation.content_evidence import FUSED, OVERALL, ContentEvidence, content_evidence
from tfx_pipeline.pages.run.evidence_section import blocks
from tfx_pipeline.studies.content_view import print_evidence
from tfx_pipeline.training.content_tuning.record import FineTuningRecord, TunedEpoch


def matrix(unit: np.ndarray, present: np.ndarray) -> ContentMatrix:
    coverage = Coverage(ITEMS, int(present.sum()), int((~present).sum()), 0, 0)
    return ContentMatrix(unit * present[:, None], present, "float32", "a.npz", unit.shape[1], None, None, coverage)


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(2)
    unit, groups = vectors(rng)
    present = np.arange(ITEMS) % 10 > 0
    table = ItemContentTable(
        [f"i{item}" for item in range(ITEMS)],
        {
            "text": matrix(unit, present),
            # All there is to know of what users click.
            "group": matrix(np.eye(4, dtype=np.float32)[groups], np.ones(ITEMS, bool)),
        },
        [f"title {item}" for item in range(ITEMS)],
    )
    splits = {"eval": behaviour(rng, groups, 80), "test": behaviour(rng, groups, 90)}
    impressions = np.arange(ITEMS)[::-1] - 20
    return table, splits, np.maximum(impressions, 0)


@pytest.fixture(scope="module")
def evidence(world) -> ContentEvidence:
    table, splits, impressions = world
    return content_evidence(table, splits, impressions, Evaluation(rare_below=5, head_from=50), sampled="drawn ones")


def test_what_tells_all_has_an_auc_of_1_and_what_tells_less_has_less(evidence):
    assert list(evidence.modalities) == ["text", "group", FUSED]
    found = {name: modality.splits["test"].slices[OVERALL] for name, modality in evidence.modalities.items()}
    assert (found["group"].auc, found["group"].gauc) == (1, 1)
    assert 0.5 < found["text"].auc < found[FUSED].auc <= 1
    assert found["group"].recall["50"] == 1 > found["text"].recall["50"] > 0
    spread = evidence.modalities["group"].splits["test"]
    assert (spread.clicked.mean, spread.not_clicked.mean) == (pytest.approx(1), pytest.approx(0))
    assert spread.clicked.count == 90 and spread.clicked.histogram[-1] == 90


def test_coverage_and_slices_count_what_they_say(evidence, world):
    text = evidence.modalities["text"]
    assert (text.items, text.with_content, text.width) == (ITEMS, 108, 12)
    test = text.splits["test"]
    assert (test.requests, test.candidates) == (90, 360)
    by_frequency = [test.slices[name] for name in ("cold", "rare", "tail", "head")]
    assert sum(each.candidates for each in by_frequency) == test.slices[OVERALL].candidates < 360
    assert sum(each.clicks for each in by_frequency) == test.slices[OVERALL].clicks == test.clicks
    assert by_frequency[0].clicks > 0


def test_neighbours_run_from_the_most_shown_to_one_that_is_not(evidence):
    found = evidence.modalities["group"].neighbours
    assert len(found) == 10 and found[0].train_impressions == 99 and found[-1].train_impressions == 0
    for one in found:
        assert one.title == f"title {one.item[1:]}"
        assert [other.cosine for other in one.nearest] == [1.0] * 5 and one.item not in {o.item for o in one.nearest}


def test_it_is_written_as_json_and_read_again(evidence):
    assert ContentEvidence.from_json(evidence.to_json()) == evidence


def test_it_is_printed(evidence):
    out = Console(file=io.StringIO(), width=160)
    print_evidence(evidence, out)
    text = out.file.getvalue()
    for expected in (
        "test: how near clicks lie to histories",
        "recall@10",
        "drawn ones",
        "nearest by group",
        "title 0",
    ):
        assert expected in text


def test_a_run_page_shows_it_with_what_became_of_fine_tuning(evidence):
    epochs = (TunedEpoch(None, 0.1, {}, 1.0), TunedEpoch(2.0, 0.2, {"text": 0.3}, 1.0))
    record = FineTuningRecord(
        ("text",), {"text_tuned": (12, 6)}, 1000, 40, "2025-01-01T00:00", "2025-01-02T00:00", 80, 10, epochs, 1
    )
    shown = repr(blocks(evidence, record))
    assert "was 0.1000 before it and 0.2000 after epoch 1 of 1" in shown and "drawn ones" in shown
    kept = repr(blocks(evidence, dataclasses.replace(record, best=0)))
    assert "no epoch was better" in kept
