"""Section `features.candidate`."""

from __future__ import annotations

import json

import pytest

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.label import Label
from tfx_pipeline.config.names import RESERVED_COLUMNS
from tfx_pipeline.config.schema import Features

COLUMNS = (
    "features.candidate={price_shown: {kind: numeric, scaling: quantiles}, "
    "slot: {kind: categorical, column: Slot, role: bias, serving_value: '1'}}"
)


def test_roles_and_kinds(load):
    candidate = load(COLUMNS).features.candidate
    assert (candidate["price_shown"].role, candidate["price_shown"].serving_value) == ("feature", None)
    assert (candidate["slot"].role, candidate["slot"].serving_value) == ("bias", "1")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("features.candidate={slot: {kind: categorical, role: bias}}", "serving_value: absent, and a column with role"),
        ("features.candidate={slot: {kind: categorical, serving_value: '1'}}", "serving_value: '1', but"),
        ("features.candidate={depth: {kind: numeric, role: bias, serving_value: deep}}", "serving_value"),
        ("features.candidate={slot: {kind: categorical, role: other}}", "role"),
        ("features.candidate={price: {kind: numeric, buckets: 1}}", "buckets"),
        ("features.candidate={clicked: {kind: numeric, column: label}}", "reads 'label', which is the label"),
        ("features.candidate={2nd: {kind: numeric}}", "must be letters, digits and underscores"),
    ],
)
def test_what_is_refused(refusal, override, message):
    problems = refusal(override, "data.interactions.columns.label=label")
    assert [problem for problem in problems if message in problem], problems


def test_drawn_negatives_have_no_columns(refusal):
    drawn = ("negatives={train: 1}", "data.interactions.columns.label=null")
    assert [problem for problem in refusal(COLUMNS, *drawn) if "a missing value would tell the label" in problem]


def test_of_a_list_of_impressions_they_are_lists_too(load, refusal):
    lists = "data.interactions.impressions={label_separator: '-'}"
    read = IngestionConfig.of(load(COLUMNS, lists))
    assert read.beside_items == ("price_shown", "Slot") and read.log_lists == {"price_shown", "Slot"}
    assert not IngestionConfig.of(load(COLUMNS)).log_lists
    (problem,) = refusal(COLUMNS, lists, "features.context={place: {kind: categorical, column: Slot}}")
    assert problem.startswith("features.context: 'place' reads 'Slot', which has a value for each impression of a row")


@pytest.mark.parametrize("name", sorted(RESERVED_COLUMNS))
def test_a_column_cannot_take_the_name_of_a_feature_of_our_own(refusal, name):
    (problem,) = refusal(f"features.candidate={{{name}: {{kind: categorical}}}}")
    assert problem.startswith(f"features.candidate: '{name}' is reserved")


def test_a_column_is_of_one_part(refusal):
    column = "{age: {kind: numeric}}"
    problems = refusal(f"features.candidate={column}", f"features.context={column}")
    assert problems == ["features: columns in both 'context' and 'candidate': age"]


def test_without_columns_nothing_is_written(load):
    config = load()
    assert "candidate" not in config.features.model_dump()
    assert "candidate" not in json.loads(config.features.of_requests())
    assert "candidate" not in json.loads(IngestionConfig.of(config).to_json())


def test_ingestion_and_transform_do_not_know_roles(load):
    config = load(COLUMNS)
    ingestion = IngestionConfig.of(config)
    assert ingestion.candidate == {"price_shown": "numeric", "slot": "categorical"}
    assert ingestion.log_columns[-2:] == ("price_shown", "Slot")
    as_feature = load(COLUMNS.replace(", role: bias, serving_value: '1'", ""))
    assert as_feature.features.of_requests() == config.features.of_requests()
    assert IngestionConfig.of(as_feature) == ingestion
    assert set(Features.model_validate_json(config.features.of_requests()).candidate) == set(ingestion.candidate)


@pytest.mark.parametrize(
    ("text", "without"),
    [("dmf~candidates", ("candidates",)), ("dmf~candidates~items", ("items", "candidates")), ("dmf", ())],
)
def test_a_label_says_what_a_model_goes_without(text, without):
    label = Label.parse(text, ["text"])
    assert label.without == without
    assert Label.parse(str(label), ["text"]) == label


def test_a_label_of_other_words_is_refused():
    message = "a model can go without items, candidates, ages, sequences, after ~; got 'candidate'"
    with pytest.raises(ValueError, match=message):
        Label.parse("dmf~candidate", ["text"])
