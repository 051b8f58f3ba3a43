"""Tensors on the wire; `tests/serving/protos/oracle_test.py` compares them with TensorFlow's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.client.tensors import dtype_name, number_tensor, string_tensor, to_array
from serving.protos.tensor_pb2 import TensorProto

DTYPES = ("float16", "float32", "float64", "int32", "int64", "bool")


@given(
    hnp.arrays(
        st.sampled_from([np.dtype(name) for name in DTYPES]), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)
    )
)
def test_numbers_come_back(array):
    proto = TensorProto.FromString(number_tensor(array, array.dtype.name).SerializeToString())
    np.testing.assert_array_equal(to_array(proto), array, strict=True)


@given(st.lists(st.text(), min_size=6, max_size=6), st.sampled_from([(6,), (1, 6), (2, 3), (6, 1, 1)]))
def test_strings_come_back(values, shape):
    array = to_array(string_tensor(values, shape))
    assert array.shape == shape
    assert [value.decode() for value in array.ravel()] == values


def test_values_left_out_repeat_the_last_one():
    shape = {"dim": [{"size": 2}, {"size": 3}]}
    filled = TensorProto(dtype="DT_FLOAT", tensor_shape=shape, float_val=[1, 2])
    np.testing.assert_array_equal(to_array(filled), [[1, 2, 2], [2, 2, 2]])
    zeros = TensorProto(dtype="DT_BOOL", tensor_shape=shape)
    np.testing.assert_array_equal(to_array(zeros), np.zeros((2, 3), bool), strict=True)
    strings = TensorProto(dtype="DT_STRING", tensor_shape=shape, string_val=[b"a"])
    assert to_array(strings).ravel().tolist() == [b"a"] * 6


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (TensorProto(dtype="DT_BFLOAT16"), "tensors of bfloat16 cannot be read"),
        (TensorProto(dtype=99), "tensors of dtype number 99 cannot be read"),
        (TensorProto(dtype="DT_FLOAT", tensor_shape={"dim": [{"size": -1}]}), r"shape \(-1,\) cannot be read"),
        (TensorProto(dtype="DT_FLOAT", tensor_shape={"unknown_rank": True}), "cannot be read"),
        (TensorProto(dtype="DT_FLOAT", tensor_shape={"dim": [{"size": 2**40}, {"size": 2**40}]}), "cannot be read"),
        (TensorProto(dtype="DT_FLOAT", tensor_shape={"dim": [{"size": 2**28}]}), "cannot be read: .* holds 0 values"),
        (TensorProto(dtype="DT_STRING", tensor_shape={"dim": [{"size": 2**28}]}, string_val=[b""]), "holds 1 values"),
        (TensorProto(dtype="DT_FLOAT", tensor_shape={"dim": [{"size": 1}] * 33}, float_val=[1]), "cannot be read"),
        (TensorProto(dtype="DT_FLOAT", tensor_shape={"dim": [{"size": 2}]}, tensor_content=b"12345"), "5 bytes do not"),
        (TensorProto(dtype="DT_FLOAT", tensor_shape={"dim": [{"size": 1}]}, float_val=[1, 2]), "2 values do not fit"),
        (TensorProto(dtype="DT_STRING", string_val=[b"a", b"b"]), "2 values do not fit into 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_garbage_is_refused(proto, message):
    with pytest.raises(ValueError, match=message):
        to_array(proto)


def test_dtypes_have_names():
    assert [dtype_name(number) for number in (1, 7, 14, 99)] == ["float32", "string", "bfloat16", "dtype number 99"]
