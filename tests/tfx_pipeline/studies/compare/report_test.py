"""From finished trainings to the report, on made-up scores; and the report on a terminal."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tfx_pipeline.config.label import Label
from tfx_pipeline.config.metrics import by_request
from tfx_pipeline.config.schema import Evaluation, Training
from tfx_pipeline.console import Console
from tfx_pipeline.errors import DataError
from tfx_pipeline.evaluation.candidate_table import CandidateTable
from tfx_pipeline.evaluation.metrics import GAUC, CandidateAUC, RequestMRR
from tfx_pipeline.evaluation.whole_catalogue import CatalogueRanks
from tfx_pipeline.pages.kit.page import render
from tfx_pipeline.studies.bench.machine import Machine
from tfx_pipeline.studies.bench.timing import Timing
from tfx_pipeline.studies.compare.chance import trainings_at_chance
from tfx_pipeline.studies.compare.contenders import Contender, Plan
from tfx_pipeline.studies.compare.entries import bootstrap_facts, catalogue_facts, model_entries, statistic
from tfx_pipeline.studies.compare.finished import FinishedTraining
from tfx_pipeline.studies.compare.page import compare_page
from tfx_pipeline.studies.compare.report import (
    FORMAT,
    Attainable,
    CatalogueFacts,
    Data,
    ModelEntry,
    RankRequest,
    Report,
    SplitSize,
    Statistic,
)
from tfx_pipeline.studies.compare.sessions import mixed_sessions
from tfx_pipeline.studies.compare.tables import print_report
from tfx_pipeline.studies.compare.training_facts import Parameters, Timed, TrainingFacts

PLAN = Plan(
    (Contender(Label("dmf", ()), {}, Training()), Contender(Label("dmf", ("text",)), {}, Training())), (42, 43), "dmf"
)


MACHINE = Machine(cpu="Example CPU", cores=2, gpus=[], tensorflow="2.21.0")
TIMES = {label: Timing(median=3.2, p10=3, p90=4, calls=9) for label in ("dmf", "dmf@text")}


def finished(strength: float, seed: int, rows: int = 2000) -> FinishedTraining:
    rng = np.random.default_rng(3)
    labels = rng.random(rows) < 0.3
    users = rng.integers(0, 200, rows).astype(np.uint64)
    impressions, histories = rng.choice([0, 3, 50, 500], rows), rng.choice([0, 4, 12, 40], rows)
    logit = strength * (labels - 0.3) + np.random.default_rng(seed).normal(size=rows) - 1
    requests = np.arange(rows, dtype=np.int32) // 4
    probabilities = (1 / (1 + np.exp(-logit))).astype(np.float32)
    table = CandidateTable(
        labels, probabilities, users[requests * 4], requests, impressions, histories, impressions > 3
    )
    facts = TrainingFacts(
        label="dmf",
        seed=seed,
        params={"id_dim": 8},
        history=[{"val_auc": 0.6}, {"val_auc": 0.5}],
        best_epoch=0,
        requests_per_second=None if seed == 43 else 800.0,
        seconds=9.0,
        timed=Timed(f"2026-11-{seed - 22}T06:00:00Z", MACHINE),
        parameters=Parameters(trainable=1200, embeddings=1000, rest=200),
    )
    return FinishedTraining(facts, table)


@pytest.fixture(scope="module")
def trainings() -> dict[str, list[FinishedTraining]]:
    return {"dmf": [finished(2, seed) for seed in PLAN.seeds], "dmf@text": [finished(1, seed) for seed in PLAN.seeds]}


@pytest.fixture(scope="module")
def entries(trainings) -> list[ModelEntry]:
    return model_entries(PLAN, trainings, Evaluation(), TIMES)


def test_metrics_are_over_seeds(entries, trainings):
    for entry in entries:
        values = [GAUC.compute(training.rows.rows()) for training in trainings[entry.label]]
        found = entry.metrics["gauc"]
        assert found.values == values
        assert (found.mean, found.std) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
        assert set(entry.metrics) == {"auc", "gauc", "log_loss", "normalized_entropy", "calibration", *by_request()}
        mrr = [RequestMRR().value(training.rows.rows()) for training in trainings[entry.label]]
        assert entry.metrics["mrr"].values == mrr


def test_slices_are_the_evaluators_in_reading_order(entries, trainings):
    table = trainings["dmf"][0].rows
    found = entries[0].slices
    assert {column: list(buckets) for column, buckets in found.items()} == {
        "item_frequency": ["cold", "rare", "tail", "head"],
        "history_length": ["empty", "1-9", "10-29", "30+"],
        "content": ["with", "without"],
    }
    rare = table.train_impressions == 3
    assert found["item_frequency"]["rare"].candidates == rare.sum()
    assert found["item_frequency"]["rare"].users == len(np.unique(table.users[rare]))
    auc = CandidateAUC.compute(table.rows(rare))
    assert found["item_frequency"]["rare"].metrics["auc"].values[0] == auc
    for buckets in found.values():
        assert sum(bucket.candidates for bucket in buckets.values()) == len(table.labels)


def test_the_reference_has_no_difference_and_the_weaker_model_is_behind(entries):
    assert entries[0].difference is None
    verdicts = {name: value.verdict for name, value in entries[1].difference.items()}
    # Requests have four candidates: all are among the first five.
    no_choice = {"hr@5", "hr@10"}
    assert set(verdicts) == {"auc", "gauc", "log_loss", *by_request()}
    assert {name for name, verdict in verdicts.items() if verdict == "undecided"} == no_choice
    assert {verdict for name, verdict in verdicts.items() if name not in no_choice} == {"behind"}
    by_bucket = entries[1].slice_differences["item_frequency"]
    assert list(by_bucket) == ["cold", "rare", "tail", "head"]
    assert set(vars(by_bucket["cold"]["auc"].beyond_overall)) == {"mean", "low", "high"}


def test_other_candidates_are_refused(trainings):
    other = {**trainings, "dmf@text": [finished(1, 42), finished(1, 43, rows=1999)]}
    with pytest.raises(DataError, match="'dmf@text' was scored on other candidates than the reference"):
        model_entries(PLAN, other, Evaluation(), TIMES)


def test_statistics_leave_out_what_is_missing():
    assert statistic([1.0, None, 3.0]) == Statistic(mean=2, std=pytest.approx(2**0.5), values=[1.0, None, 3.0])
    assert statistic([1.0, float("nan")]).std is None
    assert statistic([None]) == Statistic(mean=None, std=None, values=[None])


@pytest.fixture(scope="module")
def report(entries) -> Report:
    """Of models that have a learning rate and a batch size of their own."""
    models = [
        replace(
            entry,
            training=replace(entry.training, learning_rate=0.002, batch_size=1024),
            attainable_share=statistic([0.5, 0.6]),
        )
        for entry in entries
    ]
    return Report(
        format=FORMAT,
        pipeline="shop",
        created="2026-11-21T06:00:00Z",
        output="runs/shop",
        reference="dmf",
        seeds=list(PLAN.seeds),
        data=Data(400, 100, SplitSize(2000, 200, 600), "2025-03-25T00:00:00Z", "2025-03-28T00:00:00Z"),
        training=Training().model_dump(mode="json"),
        bootstrap=bootstrap_facts(),
        models=models,
        rank=RankRequest(candidates=1200, history=50),
        attainable=Attainable(auc=0.8, gauc=0.79),
        machine=MACHINE,
        baselines={"similarity@text": {"auc": 0.61, "mrr": 0.4321, "hr@5": 1.0}, "constant": {"auc": 0.5}},
    )


def test_the_report_survives_a_file(report):
    text = json.dumps(report.to_json(), allow_nan=False)
    assert Report.from_json(json.loads(text)).to_json() == json.loads(text)


def test_the_report_is_json_and_is_printed(report):
    json.dumps(report.to_json(), allow_nan=False)
    out = Console(width=160, record=True, file=io.StringIO())
    print_report(report, out)
    text = out.export_text()
    difference = report.models[1].difference["gauc"]
    assert f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]" in text
    assert "0.550 ± 0.071" in text
    assert "2 (1) 2 (1)" in text
    assert "800" in text
    assert "0.002, 1,024" in text
    # A day apart is one session.
    assert "Training" not in text


def test_requests_and_rankers_without_a_model_are_printed_and_on_the_page(report):
    text, mrr = printed(report), report.models[1].difference["mrr"]
    assert f"{mrr.mean:+.4f} [{mrr.low:+.4f}, {mrr.high:+.4f}]" in text
    assert f"{report.models[0].metrics['ndcg@10'].mean:.4f} ±" in text
    assert max(map(len, text.splitlines())) <= 160
    page = render(compare_page(report))
    for shown in (text, page):
        assert "0.4321" in shown
    assert "largest cosine of text to an item of the history" in page
    assert f"{mrr.low:+.4f}" in page
    assert "forest-ndcg-at-10" in page


def printed(report: Report) -> str:
    out = Console(width=160, record=True, file=io.StringIO())
    print_report(report, out)
    return out.export_text()


def ranked(above: Sequence[int], unknown: int) -> CatalogueRanks:
    """Requests of one positive each, so many of 50 items before it."""
    ones, count = np.ones(len(above), np.int64), len(above)
    return CatalogueRanks(
        group=np.arange(count),
        size=ones,
        above=np.array(above),
        positives=ones,
        ranked=ones * 50,
        request_positives=ones,
        has_nan=np.zeros(count, bool),
        items=60,
        without_positive=unknown,
        unknown_positives=unknown,
        seconds=2.0,
    )


def test_the_whole_catalogue_has_a_table_and_a_section_of_its_own(report, trainings):
    above = {"dmf": [0, 4, 5, 30], "dmf@text": [9, 9, 9, 9]}
    with_ranks = {
        label: [replace(one, catalogue=ranked(above[label], unknown=3)) for one in seeds]
        for label, seeds in trainings.items()
    }
    models = model_entries(PLAN, with_ranks, Evaluation(), TIMES)
    facts = catalogue_facts(with_ranks["dmf"][0])
    assert facts == CatalogueFacts(items=60, requests=4, candidates=50, without_positive=3, unknown_positives=3)
    dmf, text_alone = (model.catalogue for model in models)
    assert {name: value.mean for name, value in dmf.metrics.items()} == pytest.approx(
        {
            "hr@5": 0.5,
            "hr@10": 0.75,
            "ndcg@5": (1 + 1 / np.log2(6)) / 4,
            "ndcg@10": (1 + 1 / np.log2(6) + 1 / np.log2(7)) / 4,
            "mrr": (1 + 1 / 5 + 1 / 6 + 1 / 31) / 4,
        }
    )
    assert (text_alone.metrics["hr@5"].mean, text_alone.metrics["hr@10"].mean) == (0, 1)
    assert dmf.candidates_per_second.mean == 100
    whole = replace(report, models=models, catalogue=facts)
    assert Report.from_json(json.loads(json.dumps(whole.to_json()))) == Report.from_json(whole.to_json())
    text, page = printed(whole), render(compare_page(whole))
    assert "whole catalogue, 60 items, 4 requests of test with a positive" in text
    for shown in (text, page):
        assert "0.7500 ± 0.0000" in shown
        assert "Each request ranks every item of the catalogue, but for items that stand in its history" in shown
        assert "3 positives are no items of the catalogue" in shown
    assert "hole catalogue" not in printed(report) and "hole catalogue" not in render(compare_page(report))


def test_models_stand_best_first_whatever_was_asked_for_first(trainings):
    asked = Plan(tuple(reversed(PLAN.contenders)), PLAN.seeds, "dmf@text")
    found = model_entries(asked, trainings, Evaluation(), TIMES)
    assert [entry.label for entry in found] == ["dmf", "dmf@text"]
    assert [entry.difference is None for entry in found] == [False, True]


@pytest.fixture(scope="module")
def of_one_seed(report, trainings) -> Report:
    plan = Plan(PLAN.contenders, (42,), "dmf")
    found = model_entries(plan, {label: seeds[:1] for label, seeds in trainings.items()}, Evaluation(), TIMES)
    return replace(report, seeds=[42], models=found, attainable=None)


def test_one_seed_decides_nothing_and_is_called_so(of_one_seed, report):
    assert {value.verdict for value in of_one_seed.models[1].difference.values()} == {"one seed"}
    text = printed(of_one_seed)
    assert "of one training, with seed 42" in text
    assert "1 seeds" not in text
    assert "trained with one seed, so that nothing is decided" in text
    assert (
        Report.from_json(json.loads(json.dumps(of_one_seed.to_json()))).models[1].difference["gauc"].verdict
        == "one seed"
    )
    assert "one seed" not in printed(report)
    assert "over 2 seeds" in printed(report)


def test_a_model_alone_has_no_table_of_differences(report):
    alone = printed(replace(report, models=report.models[:1]))
    assert "difference to" not in alone
    assert "GAUC by impressions of the candidate in train" in alone
    assert "the difference to the reference" in printed(report)


def test_a_model_that_never_left_chance_is_named_with_its_seeds(report):
    assert trainings_at_chance(report) == []
    flat = [{"val_auc": 0.4993}, {"val_auc": 0.5017}]
    first, second = report.models
    changed = replace(report, models=[first, replace(second, history=[flat, second.history[1]])])
    (sentence,) = trainings_at_chance(changed)
    assert sentence.startswith("dmf@text never left chance with seed 42: its eval AUC stayed at or below 0.51.")
    assert sentence in printed(changed)
    (sentence,) = trainings_at_chance(replace(report, models=[replace(first, history=[flat, flat]), second]))
    assert sentence.startswith("dmf never left chance with seeds 42, 43:")


def test_entries_of_the_file_stand_in_the_order_that_is_documented(report):
    assert list(report.to_json()) == [
        *("format", "pipeline", "created", "output", "reference", "seeds", "data", "training", "bootstrap", "models"),
        *("rank", "attainable", "machine", "baselines", "sampled", "catalogue"),
    ]
    assert list(report.to_json()["models"][0]) == [
        *("label", "model", "params", "parameters", "training", "history", "metrics", "slices", "difference"),
        *("slice_differences", "modalities", "rank_ms", "attainable_share", "catalogue"),
    ]


def test_training_speeds_of_several_sessions_are_said_not_to_compare(report):
    def said(here, **change):
        first, second = report.models
        timed = [second.training.timed[0], replace(second.training.timed[1], **change)]
        changed = replace(second, training=replace(second.training, timed=timed))
        return mixed_sessions(replace(report, models=[first, changed], machine=here))

    other = replace(MACHINE, cores=64, gpus=["Example GPU"])
    assert said(MACHINE) == []
    (sentence,) = said(other)
    assert "on another machine (Example CPU, 2 cores, TensorFlow 2.21.0) than ranking" in sentence
    (sentence,) = said(MACHINE, machine=other)
    assert (
        "different machines (Example CPU, 2 cores, TensorFlow 2.21.0; Example CPU, 64 cores, Example GPU," in sentence
    )
    (sentence,) = said(MACHINE, at="2026-11-23T06:00:00Z")
    assert "up to 3 days apart (2026-11-20 to 2026-11-23)" in sentence
