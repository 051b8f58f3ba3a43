"""Tables of items in a trained model hold other items; all that was learnt is the same bits."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from dmf_keras.models import ItemColumnSpec, ModalitySpec, RankingSchema, build_model
from tfx_pipeline.data.content.codes import CodesReport, CodeTable
from tfx_pipeline.data.content.item_columns import ColumnCoverage, ItemColumnTable
from tfx_pipeline.data.content.table import ContentMatrix, Coverage, ItemContentTable
from tfx_pipeline.training.item_tables import fill_tables, item_tables, learnt_weights, weights_digest, with_tables

BEFORE, AFTER = ["a", "b", "c"], ["new", "c", "a", "wide", "b"]


def content_of(items: list[str], tags: int, dtype: str = "float16") -> ItemContentTable:
    """A table in which an item's content follows from its name."""
    ranks = np.array([sum(map(ord, item)) for item in items])
    vectors = np.stack([np.cos(ranks), np.sin(ranks), np.zeros(len(items))], 1).astype("float16")
    coverage = Coverage(len(items), len(items), 0, 0, 0)
    text = ContentMatrix(vectors, np.ones(len(items), bool), dtype, "text.npz", 3, None, None, coverage)
    none = ColumnCoverage(len(items), 0)
    ids = np.zeros((len(items), tags), np.int32)
    ids[:, 0] = ranks % 4 + 1
    if tags > 1:
        ids[:, 1] = np.where(np.array(items) == "wide", 2, 0)
    columns = {
        "tags": ItemColumnTable(ids, 6, tuple("wxyz"), none),
        "price": ItemColumnTable((ranks / 100).astype(np.float32), None, (), none),
    }
    codes = CodeTable(np.stack([ranks % 3, ranks % 2], 1).astype(np.int32) + 1, 3, "text", CodesReport(0, 0, 0, 0, ()))
    return ItemContentTable(items, {"text": text}, None, columns, codes)


def inputs(rows: list[int], index: list[int]) -> dict[str, np.ndarray]:
    both = {"index": np.array([index]), "content_row": np.array([rows])}
    return {f"{side}_{name}": value for side in ("history", "candidate") for name, value in both.items()}


@pytest.mark.parametrize(
    ("name", "dtype"), [("dmf", "float16"), ("dmf", "int8"), ("sid_coord", "float32"), ("two_towers", "float16")]
)
def test_items_keep_their_scores_in_other_rows(name, dtype, tmp_path):
    schema = RankingSchema(
        item_rows=6,
        content_rows=4,
        modalities={"text": ModalitySpec(3, dtype)},
        item_columns={"tags": ItemColumnSpec(6, 1), "price": ItemColumnSpec()},
        item_codes=(3, 3),
        item_statistics=("impressions",) if name == "sid_coord" else (),
    )
    model = build_model(name, {}, schema, seed=3)
    fill_tables(model, content_of(BEFORE, 1, dtype))
    if name == "sid_coord":
        model.item_statistics.set_rows({"impressions": np.array([0, 7, 40, 3])})
    model.calibrate(np.array([-2.0, 2.0]), np.array([-1.0, 2.5]))
    model.save(tmp_path / "model.keras")
    trained = keras.models.load_model(tmp_path / "model.keras")

    content = content_of(AFTER, 2, dtype)
    refreshed = with_tables(trained, content, BEFORE)
    assert weights_digest(refreshed) == weights_digest(trained) == weights_digest(model)
    for mine, other in zip(learnt_weights(trained), learnt_weights(refreshed), strict=True):
        assert mine.numpy().tobytes() == other.numpy().tobytes()
    assert all(table.shape[0] == 6 for table in item_tables(refreshed))
    assert len(learnt_weights(trained)) + len(item_tables(trained)) == len(trained.weights)

    index = [1, 2, 3]
    before = trained(inputs([1, 2, 3], index)).numpy()
    after = refreshed(inputs([AFTER.index(item) + 1 for item in BEFORE], index)).numpy()
    np.testing.assert_array_equal(trained.probabilities(before), refreshed.probabilities(after))
    if name == "sid_coord":
        np.testing.assert_allclose(refreshed.item_statistics.table[:, 0], np.log1p([0, 0, 3, 7, 0, 40]), rtol=1e-6)


def test_the_digest_hangs_on_every_bit_that_was_learnt_and_on_no_table():
    schema = RankingSchema(item_rows=6, content_rows=4, modalities={"text": ModalitySpec(3)})
    model = build_model("dmf", {}, schema, seed=3)
    digest = weights_digest(model)
    model.content["text"].set_rows(np.eye(4, 3))
    assert weights_digest(model) == digest
    weight = learnt_weights(model)[-1]
    values = weight.numpy()
    values.ravel()[0] = np.nextafter(values.ravel()[0], np.float32(1))
    weight.assign(values)
    assert weights_digest(model) != digest
