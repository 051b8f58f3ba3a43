"""One request as lists and scalars, as arrays."""

from __future__ import annotations

import numpy as np
import pytest

from serving.contract import ModelContract
from serving.export.servable import request_arrays

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
