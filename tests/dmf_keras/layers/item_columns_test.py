from __future__ import annotations

import keras
import numpy as np
import pytest

from dmf_keras.layers import ItemColumns
from dmf_keras.testing import check_layer
from tests.dmf_keras.gradients import gradients

to_numpy = keras.ops.convert_to_numpy
NAMES = {"genres": (5, 3), "brand": (4, 1)}
GENRES = np.array([[4, 2, 0], [1, 4, 0], [2, 0, 0], [0, 0, 0], [3, 2, 1]])
BRAND = np.array([[2], [3], [0], [1], [2]])
PRICE = np.array([7.0, -1.5, 2.0, 0.0, 0.25])


def layer(**options):
    made = ItemColumns(6, NAMES, ["price"], dim=4, **options)
    made.set_rows({"genres": GENRES, "brand": BRAND, "price": PRICE})
    return made


def reference(embeddings, row):
    """Per item by loops; row 0 is outside of the catalogue, row 5 is not reached."""
    if not 0 < row < len(GENRES):
        genres, brand, price = [], 0, 0.0
    else:
        genres, brand, price = [name for name in GENRES[row] if name], BRAND[row, 0], PRICE[row]
    pooled = np.mean([embeddings[name] for name in genres or [0]], axis=0)
    return np.concatenate([pooled, embeddings[5 + brand], [price]])


def test_names_are_pooled_and_numbers_are_as_they_are_kept():
    made = layer()
    rows = np.array([[0, 1, 2], [3, 4, 5]])
    found = to_numpy(made(rows))
    assert found.shape == (2, 3, made.width) == (2, 3, 9)
    embeddings = to_numpy(made.embeddings)
    for place, row in np.ndenumerate(rows):
        np.testing.assert_allclose(found[place], reference(embeddings, row), atol=1e-6)


def test_before_rows_are_set_every_item_is_one_outside_the_catalogue():
    empty = ItemColumns(6, NAMES, ["price"], dim=4)
    found = to_numpy(empty(np.arange(6)))
    assert (found == found[0]).all()
    np.testing.assert_allclose(found[0, :4], to_numpy(empty.embeddings)[0], atol=1e-7)


def test_gradients_reach_the_names_that_were_looked_up_and_no_table():
    made = layer()
    assert [weight.name for weight in made.trainable_weights] == ["embeddings"]

    def loss(embeddings):
        with keras.StatelessScope(state_mapping=[(made.embeddings, embeddings)]):
            return keras.ops.sum(made(np.array([1, 3])))

    gradient = gradients(loss, {"embeddings": to_numpy(made.embeddings)})["embeddings"]
    # Item 1 has genres 1 and 4 and brand 3; item 3 no genre, and brand 1.
    expected = np.array([1, 0.5, 0, 0, 0.5, 0, 1, 0, 1], np.float32)
    np.testing.assert_allclose(gradient, np.tile(expected[:, None], (1, 4)), atol=1e-6)


def test_layer_checks(tmp_path):
    check_layer(layer, {"rows": np.array([[1, 0], [2, 4]])}, lambda made, x: made(x["rows"]), tmp_path)


@pytest.mark.parametrize("shape", [(0,), (2, 0), (1, 2, 3)])
def test_any_shape(shape):
    assert to_numpy(layer()(np.zeros(shape, np.int32))).shape == (*shape, 9)


@pytest.mark.parametrize(
    ("options", "width"), [({"names": {}, "numbers": ["a", "b"]}, 2), ({"names": {"a": (3, 2)}}, 4)]
)
def test_columns_of_one_kind(options, width):
    made = ItemColumns(3, dim=4, **options)
    assert to_numpy(made(np.array([0, 2]))).shape == (2, width)


def test_saved_with_its_tables(tmp_path):
    made = layer()
    rows = np.arange(6)
    model = keras.Sequential([keras.Input((6,), dtype="int32"), made])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(loaded(rows[None])), to_numpy(model(rows[None])))


def test_bfloat16_is_near():
    mixed = layer(dtype="mixed_bfloat16")
    exact = layer()
    exact.embeddings.assign(mixed.embeddings)
    found = mixed(np.arange(6))
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    np.testing.assert_allclose(
        to_numpy(keras.ops.cast(found, "float32")), to_numpy(exact(np.arange(6))), atol=0.02, rtol=0.01
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"genres": GENRES[:, :1] * 2}, r"'genres' must be from 0 to 4. Received: from 0 to 8"),
        ({"genres": GENRES * -1}, r"'genres' must be from 0 to 4. Received: from -4 to 0"),
        ({"genres": np.zeros((5, 4), int)}, r"'genres' must be int \(1 to 6, at most 3\)"),
        ({"genres": GENRES.astype(float)}, r"Received: float64"),
        ({"brand": np.zeros((7, 1), int)}, r"'brand' must be int \(1 to 6, at most 1\)"),
        ({"price": np.array([0, np.nan])}, r"'price' must be finite \(1 to 6,\). Received: \(2,\), 1 of them not"),
        ({"colour": BRAND}, r"`columns` must be \['brand', 'genres', 'price'\]"),
    ],
)
def test_refuses_what_does_not_fit(changed, message):
    with pytest.raises(ValueError, match=message):
        layer().set_rows({"genres": GENRES, "brand": BRAND, "price": PRICE, **changed})


def test_refuses_to_have_no_columns():
    with pytest.raises(ValueError, match="at least one column"):
        ItemColumns(6, {})


def test_refuses_rows_that_are_no_integers():
    with pytest.raises(ValueError, match="int"):
        layer()(np.array([0.5]))
