"""One request as lists and scalars, as arrays."""

from __future__ import annotations

import numpy as np
import pytest

from serving.contract import ModelContract
from serving.export.servable import request_arrays, retrieval_arrays

CONTRACT = ModelContract("m", 5, {}, signatures={}, history_ages=True)
REQUEST = {"user_id": "u", "history_item_id": ["a", "b"], "candidate_item_id": ["x"]}


@pytest.mark.parametrize("ages", [5, "ab", {"a": 1, "b": 2}, [1.0]])
def test_ages_that_are_no_list_of_one_each_are_named(ages):
    with pytest.raises(ValueError, match="history_age_s must be a list of 2 numbers"):
        request_arrays({**REQUEST, "history_age_s": ages}, CONTRACT)


@pytest.mark.parametrize("ages", [[1, None], (1.0, np.nan)])
def test_unknown_ages_are_nan(ages):
    found = request_arrays({**REQUEST, "history_age_s": ages}, CONTRACT)["history_age_s"]
    np.testing.assert_array_equal(found, np.array([[1.0, np.nan]], np.float32))


def test_what_is_asked_of_the_catalogue_has_no_candidates():
    takes = ModelContract("m", 5, {"gender": "string"}, candidate_inputs={"price": "float32"}, history_ages=True)
    user = {name: value for name, value in REQUEST.items() if name != "candidate_item_id"} | {"gender": "f"}
    arrays = retrieval_arrays(user, 7, ["a", "b"], takes)
    assert set(arrays) == {"user_id", "history_item_id", "history_age_s", "gender", "k", "exclude_item_id"}
    assert (arrays["k"].dtype, arrays["k"].tolist()) == (np.int32, [7])
    assert arrays["exclude_item_id"].tolist() == [["a", "b"]]
    assert retrieval_arrays(user, 1, [], takes)["exclude_item_id"].shape == (1, 0)
    with pytest.raises(KeyError, match="unknown request keys"):
        retrieval_arrays({**user, "price": [1.0]} | {"colour": "red"}, 1, [], takes)
