from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tfx_pipeline.config import load_config
from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.metrics import metric
from tfx_pipeline.config.objectives import specs
from tfx_pipeline.errors import ConfigError
from tfx_pipeline.training.settings import TrainingSettings

PLAIN = {
    "name": "shop",
    "output": "runs",
    "data": {"interactions": {"path": "log.csv", "columns": {"label": "clicked"}}, "items": {"path": "items.csv"}},
    "split": {"fractions": {}},
    "model": {"name": "din"},
}
FUNNEL = {"click": {}, "buy": {"label": "bought", "given": "click", "weight": 2}, "like": {"label": "liked"}}


def _load(folder: Path, *settings: str, **sections: object):
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({**PLAIN, **sections}, sort_keys=False), encoding="utf-8")
    return load_config(file, settings)


def test_what_ingestion_and_the_model_are_told(tmp_path):
    config = _load(tmp_path, objectives=FUNNEL)
    ingestion = IngestionConfig.of(config)
    assert {name: (label.column, label.given) for name, label in ingestion.labels.items()} == {
        "buy": ("bought", "clicked"),
        "like": ("liked", None),
    }
    assert ingestion.log_columns == ("user_id", "item_id", "timestamp", "clicked", "bought", "liked")
    assert [(one.name, one.given, one.weight) for one in specs(config.objectives)] == [
        ("click", None, 1.0),
        ("buy", "click", 2.0),
        ("like", None, 1.0),
    ]
    assert IngestionConfig.model_validate_json(ingestion.to_json()) == ingestion
    # The first may name its label once more.
    named = {**FUNNEL, "click": {"label": "clicked"}}
    assert IngestionConfig.of(_load(tmp_path, objectives=named)) == ingestion


def test_without_objectives_nothing_is_written_that_was_not_before(tmp_path):
    config = _load(tmp_path)
    assert "objectives" not in config.model_dump() and "score" not in config.model_dump()["serving"]
    assert "labels" not in json.loads(IngestionConfig.of(config).to_json())
    written = TrainingSettings.of(config, "code").to_custom_config()
    assert "objectives" not in written and "formula" not in written
    assert TrainingSettings.from_custom_config(written).objectives == {}


def test_settings_travel(tmp_path):
    config = _load(tmp_path, objectives=FUNNEL, serving={"score": "click * buy ** 0.5"})
    settings = TrainingSettings.of(config, "code")
    assert settings.formula == "click * buy ** 0.5"
    assert TrainingSettings.from_custom_config(settings.to_custom_config()) == settings


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ({"click": {}}, "objectives: one alone is what a run without the section has"),
        ({"click": {"label": "other"}, "buy": {"label": "bought"}}, "objectives.click.label: the first objective's"),
        ({"click": {}, "buy": {}}, "objectives.buy.label: required, but absent"),
        ({"click": {}, "buy": {"label": "clicked"}}, "'clicked' is already the label of 'click'"),
        ({"click": {"given": "buy"}, "buy": {"label": "b"}}, r"above it \(none: it is the first\), got 'buy'"),
        ({"click": {}, "buy": {"label": "b", "given": "view"}}, r"objectives.buy.given: .*\(click\), got 'view'"),
        ({"click": {}, "buy": {"label": "b", "weight": 0}}, "objectives.buy.weight: should be greater than 0"),
        ({"click": {}, "a/b": {"label": "b"}}, "objectives.a/b: a name is letters"),
        ({"click": {}, "if": {"label": "b"}}, "is no word of Python's"),
        ({"click": {}, "buy": {"label": "b", "giben": "click"}}, "did you mean 'given'"),
    ],
)
def test_impossible_objectives(tmp_path, objectives, message):
    with pytest.raises(ConfigError, match=message):
        _load(tmp_path, objectives=objectives)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"serving": {"score": "click * sale"}}, "serving.score: at character 9: 'sale' is no objective"),
        ({"serving": {"score": "click / buy"}}, "divides by what can be 0"),
        ({"training": {"keep_negatives": 0.5}}, "training.keep_negatives: .*'like' may happen without it"),
        ({"evaluation": {"thresholds": {"sale/auc": {"min": 0.6}}}}, "beside auc there is buy/auc, like/auc"),
        ({"evaluation": {"thresholds": {"click/auc": {"min": 0.6}}}}, "first objective, 'click', is auc"),
        ({"evaluation": {"thresholds": {"buy/acu": {"min": 0.6}}}}, "buy/acu: unknown key; allowed: auc"),
        ({"evaluation": {"thresholds": {"buy/ndcg@7": {"min": 0.6}}}}, "add 7 to it"),
        (
            {"serving": {"score": "click + buy"}, "stages": {"ranking": {"retrieval_weight": 2}}},
            r"retrieval_weight: .*'click \+ buy' lies in \[0, 2\]; expected a formula within \[0, 1\]",
        ),
        ({"tuning": {"objective": "sale/auc"}}, "tuning.objective: there is no metric 'sale/auc'"),
    ],
)
def test_what_does_not_fit_the_objectives(tmp_path, sections, message):
    with pytest.raises(ConfigError, match=message):
        _load(tmp_path, objectives=FUNNEL, **sections)


def test_a_page_may_be_ordered_by_retrieval_and_a_formula_that_is_like_a_probability(tmp_path):
    stages = {"ranking": {"retrieval_weight": 2}}
    assert _load(tmp_path, objectives=FUNNEL, serving={"score": "click * buy ** 0.5"}, stages=stages).stages
    # A weighted mean, whose bounds are a little above 1 in float32.
    mean = "0.27 * click + 0.66 * buy + 0.07 * like"
    assert _load(tmp_path, objectives=FUNNEL, serving={"score": mean}, stages=stages).stages
    assert _load(tmp_path, objectives=FUNNEL, serving={"score": "click + buy"}, stages={}).stages


def test_a_log_of_positives_alone_has_one_objective(tmp_path):
    data = {**PLAIN["data"], "interactions": {"path": "log.csv", "columns": {"label": None}}}
    with pytest.raises(ConfigError, match=r"objectives: data.interactions.columns.label is null"):
        _load(tmp_path, data=data, negatives={"train": 4, "eval": 9, "test": 9}, objectives=FUNNEL)


def test_of_a_list_of_impressions_labels_are_lists_too(tmp_path):
    columns = {**PLAIN["data"]["interactions"].get("columns", {}), "label": "clicked"}
    interactions = {"path": "log.csv", "columns": columns, "impressions": {}}
    config = _load(tmp_path, data={**PLAIN["data"], "interactions": interactions}, objectives=FUNNEL)
    read = IngestionConfig.of(config)
    assert read.log_lists == set(read.label_columns) != set()


def test_what_needs_objectives_is_refused_without(tmp_path):
    with pytest.raises(ConfigError, match=r"serving.score: a formula of objectives, and there are none"):
        _load(tmp_path, serving={"score": "click"})
    with pytest.raises(ConfigError, match="no other, as there are no `objectives`"):
        _load(tmp_path, evaluation={"thresholds": {"buy/auc": {"min": 0.5}}})


def test_conditional_objectives_alone_may_leave_negatives_out(tmp_path):
    chain = {"click": {}, "cart": {"label": "c", "given": "click"}, "buy": {"label": "b", "given": "cart"}}
    config = _load(
        tmp_path,
        objectives=chain,
        training={"keep_negatives": 0.5},
        evaluation={"thresholds": {"buy/auc": {"min": 0.5}}},
        tuning={"objective": "buy/log_loss"},
    )
    assert config.tuning.direction == "min"
    assert metric("buy/ndcg@5").title == "buy: NDCG@5"
