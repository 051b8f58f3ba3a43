from __future__ import annotations

import dataclasses
import json

import pytest

from dmf_keras.models import ModalitySpec, RankingSchema
from dmf_keras.models.inputs import user_inputs

SCHEMA = RankingSchema(
    item_rows=100,
    content_rows=120,
    modalities={"text": ModalitySpec(64), "image": ModalitySpec(32, "float32")},
    user_rows=50,
    categorical={"gender": 3},
    numeric=("hour",),
)


def test_survives_json():
    assert RankingSchema.from_dict(json.loads(json.dumps(SCHEMA.to_dict()))) == SCHEMA


def test_later_fields_are_written_where_they_are_used():
    assert not {"item_codes", "item_statistics"} & set(SCHEMA.to_dict())
    coded = dataclasses.replace(SCHEMA, item_codes=[8, 8], item_statistics=["positives"])
    assert (coded.to_dict()["item_codes"], coded.to_dict()["item_statistics"]) == ([8, 8], ["positives"])
    assert RankingSchema.from_dict(json.loads(json.dumps(coded.to_dict()))) == coded != SCHEMA


def test_user_inputs_follow_the_schema():
    assert list(user_inputs(SCHEMA)) == ["history_index", "history_content_row", "user_index", "gender", "hour"]
    assert user_inputs(SCHEMA)["hour"] == ("float32", (None,))


@pytest.mark.parametrize(("changes", "message"), [
    ({"item_rows": 0}, "item_rows must be an integer of at least 1, got 0"),
    ({"user_rows": -1}, "user_rows must be .* got -1"),
    ({"modalities": {"text": ModalitySpec(0, "int4")}}, "modalities.text.width must .* got 0; modalities.text.dtype"),
    ({"categorical": {"a b": 3}}, "begin with a letter, got 'a b'"),
    ({"categorical": {"user_index": 3}}, "'user_index' is taken"),
    ({"numeric": ("hour", "gender")}, "'gender' is named more than once"),
    ({"item_statistics": ("clicks",)}, r"must be of impressions, positives, each once, got \['clicks'\]"),
    ({"item_statistics": ("positives",) * 2}, "each once"),
    ({"item_codes": (256, 0)}, "item_codes.1. must be an integer of at least 1, got 0"),
])  # fmt: skip
def test_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        RankingSchema(**{**{name: getattr(SCHEMA, name) for name in vars(SCHEMA)}, **changes})
