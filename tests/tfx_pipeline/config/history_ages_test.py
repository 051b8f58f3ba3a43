"""Key `history.age_buckets`."""

from __future__ import annotations

import pytest

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.label import Label

ON = "history.age_buckets=8"
GIVEN = "data.interactions.columns.history"


def test_without_the_key_nothing_new_is_recorded(load):
    plain = load()
    assert "age_" not in plain.history.model_dump_json() and "_age" not in IngestionConfig.of(plain).to_json()
    assert load("history.age_buckets=null") == plain


def test_ingestion_is_told_that_there_are_ages_and_not_how_many_buckets(load):
    recorded = [IngestionConfig.of(load(f"history.age_buckets={count}")).to_json() for count in (3, 8)]
    assert recorded[0] == recorded[1] != IngestionConfig.of(load()).to_json()
    assert IngestionConfig.model_validate_json(recorded[0]).history_ages


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["history.age_buckets=2"], "history.age_buckets: should be greater than or equal to 3"),
        (["history.age_buckets=true"], "history.age_buckets: should be a number"),
        ([ON, f"{GIVEN}={{column: past}}"], "history.age_buckets: 8, but the log gives histories without times"),
        ([ON, "features.context={history_age_s: {kind: numeric}}"], "features.context: 'history_age_s' is what"),
        (
            ["features.context={history_age_s: {kind: categorical, multiple: true}}"],
            "features: 'history_age_s' cannot have several values",
        ),
        ([ON, "features.candidate={history_age: {kind: numeric}}"], "features.candidate: 'history_age' is what"),
    ],
)
def test_what_is_refused(refusal, overrides, message):
    problems = refusal(*overrides)
    assert [problem for problem in problems if message in problem], problems


def test_given_histories_with_times_have_ages(load):
    assert load(ON, f"{GIVEN}={{column: past, times: when}}").history.age_buckets == 8


def test_names_are_reserved_only_where_there_are_ages(load):
    features = load("features.context={history_age_s: {kind: numeric}, history_age: {kind: categorical}}").features
    assert list(features.context) == ["history_age_s", "history_age"]


def test_a_label_says_that_a_model_goes_without():
    label = Label.parse("dmf~ages~items", ["text"])
    assert label.without == ("items", "ages") and str(label) == "dmf~items~ages"
