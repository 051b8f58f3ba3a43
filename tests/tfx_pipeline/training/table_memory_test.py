"""What tables take of the memory is known before they are made, and refused where it is too much."""

from __future__ import annotations

import keras
import pytest

from dmf_keras.models.inputs import ModalitySpec, RankingSchema
from dmf_keras.models.registry import build_model, model_config
from tfx_pipeline.config.schema import Training
from tfx_pipeline.errors import ModelError
from tfx_pipeline.training.fused_adam import FusedAdam
from tfx_pipeline.training.table_memory import check_memory, tables
from tfx_pipeline.training.weight_average import WeightAverage

SCHEMA = RankingSchema(
    item_rows=20_000,
    content_rows=30_000,
    user_rows=5_000,
    modalities={"text": ModalitySpec(48, "float16"), "poster": ModalitySpec(8, "int8")},
)
CONFIG = model_config("dmf", {"id_dim": 32})
ONCE, AVERAGED = Training(average_weights=False), Training(average_weights=True)


@pytest.mark.slow
def test_tables_are_what_model_optimizer_and_average_keep() -> None:
    found = {table.name: table for table in tables("dmf", SCHEMA, CONFIG, AVERAGED)}
    assert list(found) == [
        "features.item_id",
        "features.user_id",
        "content of text",
        "content of poster",
    ]
    model = build_model("dmf", {"id_dim": 32}, SCHEMA, seed=1)
    optimizer, average = FusedAdam(0.001), WeightAverage()
    optimizer.build(model.trainable_variables)
    average.set_model(model)
    average.on_train_begin()
    # Validation keeps the weights themselves meanwhile.
    kept = [*model.variables, *optimizer.variables, *average._averages, *average._averages]
    for name, rows in (("features.item_id", 20_000), ("features.user_id", 5_000)):
        held = [keras.ops.shape(each) for each in kept if tuple(each.shape) == (rows, 32)]
        assert found[name].size == 4 * 32 * rows * len(held)
    for name, dtype in (("text", "float16"), ("poster", "int8")):
        (table,) = [each for each in model.variables if each.shape[:1] == (30_000,) and each.dtype == dtype]
        assert found[f"content of {name}"].size == 30_000 * table.shape[1] * {"float16": 2, "int8": 1}[dtype]
    assert sum(table.size for table in tables("dmf", SCHEMA, CONFIG, ONCE)) < sum(
        table.size for table in found.values()
    )


def test_what_does_not_fit_is_refused_before_it_is_made() -> None:
    large = RankingSchema(item_rows=100_000_001, content_rows=10, modalities={"text": ModalitySpec(64)})
    with pytest.raises(ModelError) as refused:
        check_memory("dmf", large, model_config("dmf", {"id_dim": 64}), ONCE, available=24_000_000_000)
    message = str(refused.value)
    assert "features.item_id 100,000,001 rows of 64, 76.8 GB" in message
    assert "24.0 GB of memory are free" in message
    assert "features.item_id.max_size or min_count" in message and "model.params.id_dim" in message
    wide = RankingSchema(item_rows=10, content_rows=1_000_000, modalities={"text": ModalitySpec(4096)})
    with pytest.raises(ModelError, match="a smaller dim of the modality or dtype int8"):
        check_memory("dmf", wide, CONFIG, ONCE, available=1_000_000_000)
    # It has no such table.
    check_memory("din", wide, model_config("din", {}), ONCE, available=1_000_000_000)
    users = RankingSchema(item_rows=10, user_rows=10**8, content_rows=10)
    config = model_config("two_towers", {"id_dim": 32})
    with pytest.raises(ModelError, match=r"leave features\.user_id out.* a smaller stages\.retrieval\.params\.id_dim"):
        check_memory("two_towers", users, config, ONCE, available=10**9, params="stages.retrieval.params")


def test_much_is_told_and_little_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    needed = sum(table.size for table in tables("dmf", SCHEMA, CONFIG, ONCE))
    check_memory("dmf", SCHEMA, CONFIG, ONCE, available=11 * needed)
    assert capsys.readouterr().err == ""
    check_memory("dmf", SCHEMA, CONFIG, ONCE, available=5 * needed)
    told = capsys.readouterr().err
    assert "the tables of dmf take at least 0.0 GB in training (features.item_id 20,000 rows of 32" in told


def test_a_model_without_the_width_of_ids_has_its_content_alone() -> None:
    class Config:
        pass

    assert [table.name for table in tables("dmf", SCHEMA, Config(), ONCE)] == ["content of text", "content of poster"]
