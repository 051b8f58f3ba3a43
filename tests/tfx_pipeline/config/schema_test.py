"""Every rule of the schema refuses what it should, and says key, what is allowed and what was given."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from pydantic import ValidationError

from dmf_keras.models import model_names
from tfx_pipeline.config import PipelineConfig, load_config
from tfx_pipeline.config.names import RESERVED_COLUMNS

ROOT = Path(__file__).resolve().parents[3]

WRONG_VALUES = [
    # Types.
    ("training.epochs=soon", "training.epochs: should be a valid integer", "'soon'"),
    ("training.epochs=1.5", "training.epochs: should be a valid integer", "1.5"),
    ("training.epochs=true", "training.epochs: should be a number", "true"),
    ("training.learning_rate=yes", "training.learning_rate: should be a number", "true"),
    ("data.max_bad_fraction=off", "data.max_bad_fraction: should be a number", "false"),
    ("serving.warmup_candidates=[1, true]", "serving.warmup_candidates.1: should be a number", "true"),
    ("features.item_id.max_size=true", "features.item_id.max_size: should be a number", "true"),
    ("data.fail_on_leakage=maybe", "data.fail_on_leakage: should be a valid boolean", "'maybe'"),
    ("data.interactions.path=5", "data.interactions.path: should be a path", "5"),
    ("output=", "output: should be a path", "nothing"),
    ("beam.args=--runner=X", "beam.args: should be a valid list", "'--runner=X'"),
    ("beam.args=[1]", "beam.args.0: should be a valid string", "1"),
    ("training=5", "training: should be a section with keys such as batch_size, epochs, patience", "5"),
    ("content.modalities=text", "content.modalities: should be a section with keys of your choice", "'text'"),
    ("training.epochs.deep=1", "training.epochs: should be a valid integer", "{'deep': 1}"),
    # Bounds.
    ("history.max_length=0", "history.max_length: should be greater than or equal to 1", "0"),
    ("history.max_length=10001", "history.max_length: should be less than or equal to 10000", "10001"),
    ("history.delay_s=-1", "history.delay_s: should be greater than or equal to 0", "-1"),
    ("history.delay_s=.inf", "history.delay_s: should be a finite number", "inf"),
    ("training.batch_size=0", "training.batch_size: should be greater than or equal to 1", "0"),
    ("training.epochs=0", "training.epochs: should be greater than or equal to 1", "0"),
    ("training.patience=0", "training.patience: should be greater than or equal to 1", "0"),
    ("training.learning_rate=0", "training.learning_rate: should be greater than 0", "0"),
    ("training.learning_rate=.nan", "training.learning_rate: should be a finite number", "nan"),
    ("data.max_bad_fraction=1.1", "data.max_bad_fraction: should be less than or equal to 1", "1.1"),
    ("content.max_unknown_fraction=-0.1", "content.max_unknown_fraction: should be greater than or equal to 0", "-0.1"),
    ("features.item_id.min_count=0", "features.item_id.min_count: should be greater than or equal to 1", "0"),
    ("features.item_id.oov_buckets=0", "features.item_id.oov_buckets: should be greater than or equal to 1", "0"),
    ("content.modalities.text.dim=0", "content.modalities.text.dim: should be greater than or equal to 1", "0"),
    ("evaluation.history_edges=[0, 3]", "evaluation.history_edges.0: should be greater than or equal to 1", "0"),
    ("serving.warmup_candidates=[]", "serving.warmup_candidates: should have at least 1 item", "[]"),
    ("serving.max_score_difference=0", "serving.max_score_difference: should be greater than 0", "0"),
    ("split.fractions.test=0", "split.fractions.test: should be greater than 0", "0"),
    ("data.interactions.separator='||'", "data.interactions.separator: should have at most 1 character", "'||'"),
    # Choices.
    ("data.interactions.format=xls", "data.interactions.format: should be 'parquet', 'csv' or 'jsonl'", "'xls'"),
    ("data.interactions.time_unit=h", "data.interactions.time_unit: should be 's', 'ms', 'us', 'ns' or", "'h'"),
    ("training.seed=-1", "training.seed: should be greater than or equal to 0", "-1"),
    ("training.seed=4294967296", "training.seed: should be less than 4294967296", "4294967296"),
    ("training.mixed_precision=on", "training.mixed_precision: should be 'auto', 'bfloat16' or 'never'", "true"),
    (
        "content.modalities.text.dtype=int4",
        "content.modalities.text.dtype: should be 'int8', 'float16' or 'float32'",
        "'int4'",
    ),
    ("name=2nd shop", "name: should be letters, digits, - and _ and begin with a letter", "'2nd shop'"),
    ("name=a/b", "name: should be letters, digits, - and _ and begin with a letter", "'a/b'"),
    # Times.
    ("data.earliest_time=soon", "data.earliest_time: should be a valid datetime or date", "'soon'"),
    ("data.earliest_time=20250325", "data.earliest_time: should be a date or time such as 2025-03-25", "20250325"),
    ("data.latest_time='1700000000'", "data.latest_time: should be a date or time such as", "'1700000000'"),
    ("split={dates: {eval_from: 5, test_from: 2025-01-01}}", "split.dates.eval_from: should be a date or time", "5"),
    # A column's kind.
    ("features.context={d: {kind: name}}", "features.context.d.kind: should be 'categorical' or 'numeric'", "'name'"),
    ("features.context={d: 5}", "features.context.d: should be a section with keys such as kind", "5"),
    (
        "features.context={numeric: {kind: numeric, buckets: 1}}",
        "features.context.numeric.buckets: should be greater than or equal to 2",
        "1",
    ),
]


@pytest.mark.parametrize(("override", "rule", "given"), WRONG_VALUES, ids=[case[0] for case in WRONG_VALUES])
def test_a_wrong_value_is_refused_with_key_rule_and_value(refusal, override, rule, given):
    (problem,) = refusal(override)
    assert problem.startswith(rule)
    assert problem.endswith(f"(given: {given})")


def test_more_warm_up_requests_than_the_server_takes_are_refused(refusal):
    (problem,) = refusal(f"serving.warmup_candidates={[1] * 200}")
    assert problem.startswith("serving.warmup_candidates: should have at most 199 items, not 200")


WRONG_COMBINATIONS = [
    (
        "data.earliest_time=2101-01-01",
        "data: earliest_time 2101-01-01 00:00:00+00:00 must be before latest_time 2100-01-01 00:00:00+00:00",
    ),
    (
        "split={dates: {eval_from: 2025-02-01, test_from: 2025-02-01}}",
        "split.dates: eval_from 2025-02-01 00:00:00+00:00 must be before test_from 2025-02-01 00:00:00+00:00",
    ),
    ("split={dates: {eval_from: 2025-02-01}}", "split.dates.test_from: required, but absent"),
    ("split.fractions.train=0.85", "split.fractions: train + eval + test must be 1, got 1.05"),
    ("split.fractions=", "split: give exactly one of 'fractions' and 'dates'"),
    (
        "split.dates={eval_from: 2025-01-01, test_from: 2025-02-01}",
        "split: give exactly one of 'fractions' and 'dates'",
    ),
    (
        "content.modalities={}",
        "model.name: 'dmf' compares content, and there is none; give content.modalities, or choose a model that does "
        "without: din, mean_pooling, target_attention, two_towers",
    ),
    ("content.modalities.image={}", "content.modalities.image.path: required, but absent"),
    (
        "content.modalities={a-b: {path: x}}",
        "content.modalities: 'a-b' must be letters, digits and underscores and begin with a letter",
    ),
    ("features.context={d: {}}", "features.context.d.kind: required, but absent; should be 'categorical' or 'numeric'"),
    ("features.user={age: {kind: numeric}}", "data.users: absent, but features.user names columns of it: age"),
    ("evaluation.rare_below=100", "evaluation: rare_below 100 must be below head_from 100"),
    ("evaluation.history_edges=[3, 1]", "evaluation: history_edges must rise, got [3, 1]"),
    ("evaluation.history_edges=[3, 3]", "evaluation: history_edges must rise, got [3, 3]"),
    ("evaluation.at_k=[10, 5]", "evaluation: at_k must rise, got [10, 5]"),
    ("evaluation.at_k=[]", "evaluation.at_k: should have at least 1 item, not 0 (given: [])"),
    ("evaluation.at_k=[0]", "evaluation.at_k.0: should be greater than or equal to 1 (given: 0)"),
    ("evaluation.thresholds.hr@7.min=0.1", "evaluation: thresholds names hr@7, but at_k is [5, 10]: add 7 to it"),
    ("evaluation.thresholds.auc={min: 0.9, max: 0.8}", "evaluation.thresholds.auc: min 0.9 is above max 0.8"),
    (
        "evaluation.thresholds.auc={min_change: 0, max_change: 0}",
        "evaluation.thresholds.auc: give at most one of min_change and max_change",
    ),
    (
        "model.name=dnf",
        f"model: no model 'dnf' (did you mean 'dmf'?); models: {', '.join(model_names())}; "
        "for a model of your own, give in `module` what registers it",
    ),
    (
        "model.params={id_dim: 0, mixing: magic}",
        "model: id_dim must be an integer of at least 1, got 0; "
        "mixing must be one of fixed, learned, gate, concat, got 'magic'",
    ),
    (
        "data.items.path=~no_such_user_here/items.csv",
        "data.items.path: there is no user of that name, whose home folder the path could begin with "
        "(given: '~no_such_user_here/items.csv')",
    ),
]


@pytest.mark.parametrize(("override", "message"), WRONG_COMBINATIONS, ids=[case[0] for case in WRONG_COMBINATIONS])
def test_an_impossible_combination_is_refused_in_a_sentence(refusal, override, message):
    assert refusal(override) == [message]


UNKNOWN_KEYS = [
    ("trainig={}", "trainig: unknown key; did you mean 'training'?; allowed: name, output, data, "),
    ("training.epoch=3", "training.epoch: unknown key; did you mean 'epochs'?; allowed: batch_size, epochs, "),
    (
        "data.interactions.columns.usr=u",
        "data.interactions.columns.usr: unknown key; did you mean 'user'?; allowed: user, item, time, label, request",
    ),
    ("data.users={path: x, idcolumn: y}", "data.users.idcolumn: unknown key; did you mean 'id_column'?; allowed: path"),
    ("split.dates.until=2025-01-01", "split.dates.until: unknown key; allowed: eval_from, test_from"),
    (
        "content.modalities.text.widht=3",
        "content.modalities.text.widht: unknown key; did you mean 'width'?; allowed: path, ",
    ),
    # The allowed keys are those of the kind that was chosen, also where a column is called like a kind.
    (
        "features.context={numeric: {kind: numeric, bucket: 3}}",
        "features.context.numeric.bucket: unknown key; did you mean 'buckets'?; allowed: kind, scaling, buckets",
    ),
    (
        "features.context={categorical: {kind: categorical, buckets: 3}}",
        "features.context.categorical.buckets: unknown key; did you mean 'oov_buckets'?; allowed: min_count, ",
    ),
    ("features.user_id.kind=numeric", "features.user_id.kind: unknown key; allowed: min_count, max_size, oov_buckets"),
    (
        "evaluation.thresholds.acu.min=0.5",
        "evaluation.thresholds.acu: unknown key; did you mean 'auc'?; allowed: auc, gauc, gauc_equal, log_loss, ",
    ),
    (
        "evaluation.thresholds.hr5.min=0.5",
        "evaluation.thresholds.hr5: unknown key; allowed: auc, gauc, gauc_equal, log_loss, ",
    ),
    (
        "evaluation.thresholds.auc.minimum=0.5",
        "evaluation.thresholds.auc.minimum: unknown key; did you mean 'min'?; allowed: min, max, min_change, ",
    ),
    (
        "model.params.id_dims=3",
        "model: model 'dmf' has no parameter 'id_dims' (did you mean 'id_dim'?); parameters: id_dim, feature_dim, ",
    ),
    ("beam.arg=[]", "beam.arg: unknown key; did you mean 'args'?; allowed: args"),
]


@pytest.mark.parametrize(("override", "message"), UNKNOWN_KEYS, ids=[case[0] for case in UNKNOWN_KEYS])
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(refusal, override, message):
    problems = refusal(override)
    assert [problem for problem in problems if problem.startswith(message)], problems


@pytest.mark.parametrize("name", sorted(RESERVED_COLUMNS))
@pytest.mark.parametrize("section", ["features.user", "features.context"])
def test_a_column_cannot_take_the_name_of_a_feature_of_our_own(refusal, section, name):
    (problem,) = refusal(f"{section}={{{name}: {{kind: categorical}}}}")
    assert problem == f"{section}: '{name}' is reserved; reserved names: {', '.join(sorted(RESERVED_COLUMNS))}"


def test_a_column_belongs_to_the_user_or_to_the_context(refusal):
    column = "{age: {kind: numeric}}"
    problems = refusal(f"features.user={column}", f"features.context={column}", "data.users.path=users.csv")
    assert problems == ["features: columns in both 'user' and 'context': age"]


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model.params.user_dropout=0.1", "model.params.user_dropout"),
        ("comparison.models={din: {user_dropout: 0.1}}", "comparison.models.din"),
        ("tuning.space={params.user_dropout: {choice: [0, 0.1]}}", "tuning.space"),
    ],
)
def test_users_are_dropped_where_unknown_ones_have_one_row(refusal, load, override, key):
    (problem,) = refusal("features.user_id.oov_buckets=2", override)
    assert problem.startswith(f"{key}: user_dropout teaches one row of unknown users, and features.user_id.oov_buckets")
    load(override)
    load("features.user_id=null", override)


def test_times_without_an_offset_are_utc_and_others_are_converted(load):
    dates = load("split={dates: {eval_from: 2025-03-25, test_from: '2025-03-28T01:00:00+02:00'}}").split.dates
    assert dates.eval_from == dt.datetime(2025, 3, 25, tzinfo=dt.UTC)
    assert dates.test_from == dt.datetime(2025, 3, 27, 23, tzinfo=dt.UTC)
    assert dates.test_from.utcoffset() == dt.timedelta(0)


def test_a_configuration_survives_json_and_cannot_be_changed(load):
    config = load("features.context={device: {kind: categorical}}", "evaluation.thresholds.gauc.min_change=-0.01")
    assert PipelineConfig.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValidationError, match="frozen"):
        config.training.epochs = 7


@pytest.mark.parametrize("file", ["pipeline_config.yaml", "examples/ml1m.yaml", "examples/microlens50k.yaml"])
def test_the_shipped_configurations_load(file):
    config = load_config(ROOT / file)
    assert config.output.parent == ROOT / "runs"
    assert config.push_dir == config.output / "serving" / config.name


def test_the_examples_fit_the_real_data(shared_data):
    from tfx_pipeline.data.content.build import check_content_sources
    from tfx_pipeline.data.logs.checks import check_sources

    for name in ("ml1m", "microlens50k"):
        config = load_config(ROOT / "examples" / f"{name}.yaml")
        if config.data.interactions.path.parent != shared_data(name):
            pytest.skip(f"{config.data.interactions.path.parent} is not where the data set lies here")
        check_sources(config)
        check_content_sources(config)
