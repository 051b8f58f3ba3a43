"""A new model has in its tables what the catalogue and the train split say of items."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tfx_pipeline.config.content import Codes
from tfx_pipeline.data.content.codes import fit_codes
from tfx_pipeline.training.item_statistics import item_statistics
from tfx_pipeline.training.item_tables import item_tables
from tfx_pipeline.training.metadata import _codes_and_counts
from tfx_pipeline.training.model_training import new_model


@pytest.fixture(scope="module")
def data(tiny_data):
    """The tiny world with semantic ids."""
    content = tiny_data.training_data.content
    text = content.modalities["text"]
    codes = fit_codes(text.vectors, text.present, Codes(levels=2, size=4, of="text"))
    return dataclasses.replace(tiny_data.training_data, content=dataclasses.replace(content, codes=codes))


def test_codes_and_counts_by_row_of_the_catalogue(data):
    model = new_model("sid_coord", {"statistics": ["positives", "impressions"]}, data, seed=1)
    assert (model.schema.item_codes, model.schema.item_statistics) == ((4, 4), ("positives", "impressions"))
    table = np.asarray(model.semantic_ids.table)
    np.testing.assert_array_equal(table[1:, :2], data.content.codes.values)
    assert not table[0].any() and not table[-5:].any(), "the last items have no content"
    counts = item_statistics(model.item_statistics.names, data.files["train"], data.tft_output, data.content)
    expected = np.log1p(np.stack([counts["positives"], counts["impressions"]], axis=1))
    np.testing.assert_allclose(np.asarray(model.item_statistics.table), expected, rtol=1e-6)
    assert expected.any()
    # What is written beside the model says so, and counts neither among what is learnt.
    assert _codes_and_counts(model, data.content) == {
        "codes": {"of": "text", "levels": 2, "size": 4, "items_with_codes": 35},
        "item_statistics": ["positives", "impressions"],
    }
    assert {weight.path.split("/")[0] for weight in item_tables(model)} == {"semantic_ids", "item_statistics"}


def test_a_model_that_reads_neither_has_neither(data, tiny_data):
    model = new_model("dmf", {}, data, seed=1)
    assert model.schema.item_statistics == () and _codes_and_counts(model, data.content) == {}
    # Of a configuration without codes the schema is what it was.
    assert "item_codes" not in new_model("dmf", {}, tiny_data.training_data, seed=1).schema.to_dict()


def test_a_model_is_given_codes_with_their_modality_alone(data):
    assert new_model("dmf", {}, data, modalities=["image"], seed=1).schema.item_codes == ()
    assert new_model("dmf", {}, data, modalities=["text"], seed=1).schema.item_codes == (4, 4)
