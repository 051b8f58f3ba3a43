"""The copies against `tensorflow-serving-api`: the same fields on paper, the same bytes on the wire, both ways."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2 as tf_tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2
from tensorflow_serving.apis import predict_pb2 as tfs_predict_pb2

from serving.client.tensors import DATA_TYPES, number_tensor, string_tensor, to_array
from serving.protos import model_status_pb2, predict_pb2, tensor_pb2

PAIRS = [
    (predict_pb2.PredictRequest, tfs_predict_pb2.PredictRequest),
    (predict_pb2.PredictResponse, tfs_predict_pb2.PredictResponse),
    (predict_pb2.GetModelMetadataRequest, get_model_metadata_pb2.GetModelMetadataRequest),
    (predict_pb2.GetModelMetadataResponse, get_model_metadata_pb2.GetModelMetadataResponse),
    (predict_pb2.SignatureDefMap, get_model_metadata_pb2.SignatureDefMap),
    (predict_pb2.SignatureDef, meta_graph_pb2.SignatureDef),
    (model_status_pb2.GetModelStatusRequest, get_model_status_pb2.GetModelStatusRequest),
    (model_status_pb2.GetModelStatusResponse, get_model_status_pb2.GetModelStatusResponse),
    (tensor_pb2.TensorProto, tf_tensor_pb2.TensorProto),
]
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
SCALARS = {
    FieldDescriptor.TYPE_STRING: st.text(max_size=8),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=8),
    FieldDescriptor.TYPE_INT32: INT32,
    FieldDescriptor.TYPE_INT64: INT64,
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
}


def differences(own, other, seen):
    """Fields of the copy, and of all messages in it, that differ from the original's."""
    if own.full_name in seen:
        return []
    seen.add(own.full_name)
    found = []
    for field in own.fields:
        original = other.fields_by_number.get(field.number)
        if original is None or form(field) != form(original):
            found.append(field.full_name)
        elif field.message_type is not None:
            found += differences(field.message_type, original.message_type, seen)
        elif field.enum_type is not None:
            numbers = {value.name: value.number for value in original.enum_type.values}
            found += [v.name for v in field.enum_type.values if numbers.get(v.name) != v.number]
    return found


def form(field):
    oneof = field.containing_oneof and field.containing_oneof.name
    # Of this oneof of TensorInfo the copy has a single member, which is then a plain field.
    return field.name, field.type, field.is_repeated, field.is_packed, None if oneof == "encoding" else oneof


@pytest.mark.parametrize(("own", "original"), PAIRS, ids=lambda cls: cls.DESCRIPTOR.full_name)
def test_fields_have_the_originals_numbers_and_types(own, original):
    assert differences(own.DESCRIPTOR, original.DESCRIPTOR, set()) == []


def test_differences_are_found():
    assert differences(predict_pb2.ModelSpec.DESCRIPTOR, tf_tensor_pb2.TensorProto.DESCRIPTOR, set()) == [
        "dmf.serving.v1.ModelSpec.name",
        "dmf.serving.v1.ModelSpec.version",
        "dmf.serving.v1.ModelSpec.version_label",
        "dmf.serving.v1.ModelSpec.signature_name",
    ]


@st.composite
def messages(draw, descriptor, depth=0):
    """A message of the copy as a mapping, any fields set."""
    result = {}
    oneofs = {oneof.name: draw(st.sampled_from([f.name for f in oneof.fields])) for oneof in descriptor.oneofs}
    for field in descriptor.fields:
        if field.containing_oneof and oneofs[field.containing_oneof.name] != field.name:
            continue
        if depth > 4 or not draw(st.booleans()):
            continue
        value = values(field, depth)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            entry = field.message_type.fields_by_name
            value = st.dictionaries(values(entry["key"], depth), values(entry["value"], depth), max_size=2)
        elif field.is_repeated:
            value = st.lists(value, max_size=3)
        result[field.name] = draw(value)
    return result


def values(field, depth):
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return messages(field.message_type, depth + 1) if field.message_type is not None else SCALARS[field.type]


@pytest.mark.parametrize(("own", "original"), PAIRS, ids=lambda cls: cls.DESCRIPTOR.full_name)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_bytes_parse_both_ways(own, original, data):
    message = own(**data.draw(messages(own.DESCRIPTOR)))
    there = original.FromString(message.SerializeToString())
    assert there.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)
    back = own.FromString(there.SerializeToString())
    assert back.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)
    # By name, field for field: equal bytes of another field would not be noticed above.
    assert _by_name(there) == _by_name(message)


def _by_name(message):
    packed = getattr(message, "metadata", {})
    for value in packed.values() if packed else ():
        value.Clear()  # JSON needs the type that an Any names, and here it is random
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "int64", "bool"])
def test_number_tensors_are_tensorflows(dtype):
    array = np.array([[0, 1, 2], [3, 1, 1]]).astype(dtype)
    ours = tf_tensor_pb2.TensorProto.FromString(number_tensor(array, dtype).SerializeToString())
    np.testing.assert_array_equal(tf.make_ndarray(ours), array, strict=True)
    for proto in (tf.make_tensor_proto(array), tf.make_tensor_proto(array[:1, 1:2], dtype, (2, 3)), typed(array)):
        theirs = tensor_pb2.TensorProto.FromString(proto.SerializeToString())
        np.testing.assert_array_equal(to_array(theirs), tf.make_ndarray(proto), strict=True)


def typed(array):
    """The form that a server answers with: values in the dtype's own field, not as bytes."""
    proto = tf.make_tensor_proto(array)
    values = {
        "float32": ("float_val", array.ravel()),
        "float64": ("double_val", array.ravel()),
        "float16": ("half_val", array.ravel().view(np.uint16)),
        "int32": ("int_val", array.ravel()),
        "int64": ("int64_val", array.ravel()),
        "bool": ("bool_val", array.ravel()),
    }
    field, flat = values[array.dtype.name]
    proto.ClearField("tensor_content")
    proto.ClearField(field)
    getattr(proto, field).extend(flat.tolist())
    return proto


def test_string_tensors_are_tensorflows():
    ours = string_tensor(["", "ü", "a", "b"], (2, 2))
    theirs = tf_tensor_pb2.TensorProto.FromString(ours.SerializeToString())
    expected = np.array([[b"", "ü".encode()], [b"a", b"b"]], object)
    np.testing.assert_array_equal(tf.make_ndarray(theirs), expected)
    np.testing.assert_array_equal(to_array(ours), expected)


def test_dtypes_have_tensorflows_names():
    assert {name: tf.dtypes.as_dtype(number).name for name, number in DATA_TYPES.items()} == {
        name: name for name in DATA_TYPES
    }
