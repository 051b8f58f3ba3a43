"""numpy arrays as `TensorProto`s and back, without TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving.protos import tensor_pb2

# TensorFlow's name of a dtype, as in `signature_contract.json`, to its number on the wire.
DATA_TYPES: dict[str, int] = {
    "float32": tensor_pb2.DT_FLOAT,
    "float64": tensor_pb2.DT_DOUBLE,
    "float16": tensor_pb2.DT_HALF,
    "bfloat16": tensor_pb2.DT_BFLOAT16,
    "int8": tensor_pb2.DT_INT8,
    "int16": tensor_pb2.DT_INT16,
    "int32": tensor_pb2.DT_INT32,
    "int64": tensor_pb2.DT_INT64,
    "uint8": tensor_pb2.DT_UINT8,
    "uint16": tensor_pb2.DT_UINT16,
    "uint32": tensor_pb2.DT_UINT32,
    "uint64": tensor_pb2.DT_UINT64,
    "bool": tensor_pb2.DT_BOOL,
    "string": tensor_pb2.DT_STRING,
    "complex64": tensor_pb2.DT_COMPLEX64,
    "complex128": tensor_pb2.DT_COMPLEX128,
}
_NAMES = {number: name for name, number in DATA_TYPES.items()}
# Where `TensorProto` keeps the values of a dtype that are not in `tensor_content`.
_VALUE_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int32": "int_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "float16": "half_val",
}
# No answer of a ranking model comes near; a shape that claims more is garbage and must not be allocated.
MAX_ELEMENTS = 2**28

T = TypeVar("T")


def dtype_name(number: int) -> str:
    """TensorFlow's name of a dtype number; of an unknown one the number in words."""
    return _NAMES.get(number, f"dtype number {number}")


def string_tensor(values: Sequence[str], shape: Sequence[int]) -> tensor_pb2.TensorProto:
    """Strings, row by row, as a tensor of `shape`."""
    return tensor_pb2.TensorProto(
        dtype=tensor_pb2.DT_STRING, tensor_shape=_shape(shape), string_val=list(map(str.encode, values))
    )


def number_tensor(values: ArrayLike, dtype: str) -> tensor_pb2.TensorProto:
    """Numbers or booleans as a tensor of the named dtype, one of `float16` to `float64`, `int32`, `int64`, `bool`."""
    array = np.asarray(values, np.dtype(dtype).newbyteorder("<"))
    return tensor_pb2.TensorProto(
        dtype=tensor_pb2.DataType.Name(DATA_TYPES[dtype]),
        tensor_shape=_shape(array.shape),
        tensor_content=array.tobytes(),
    )


def to_array(proto: tensor_pb2.TensorProto) -> NDArray[np.generic]:
    """The tensor as an array; strings as an object array of bytes.

    Raises:
        ValueError: when the message is no such tensor: an unknown dtype, a negative or absurd size, bytes or values
            that do not fit the shape.
    """
    shape = tuple(int(dim.size) for dim in proto.tensor_shape.dim)
    elements = math.prod(shape)
    name = dtype_name(proto.dtype)
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0 or elements > MAX_ELEMENTS:
        raise ValueError(f"a tensor of shape {shape} cannot be read")
    if name == "string":
        array = np.empty(elements, object)
        array[:] = _filled(list(proto.string_val), elements, b"")
        return array.reshape(shape)
    if name not in _VALUE_FIELDS:
        raise ValueError(f"tensors of {name} cannot be read; expected string or one of {sorted(_VALUE_FIELDS)}")
    dtype = np.dtype(name)
    if proto.tensor_content:
        if len(proto.tensor_content) != elements * dtype.itemsize:
            raise ValueError(f"{len(proto.tensor_content)} bytes do not make a {name} tensor of shape {shape}")
        little = np.frombuffer(proto.tensor_content, dtype.newbyteorder("<"))
        return little.astype(dtype).reshape(shape)
    values = getattr(proto, _VALUE_FIELDS[name])
    # A float16 travels as an integer holding its bits.
    raw = np.array(values, np.int32).astype(np.uint16).view(np.float16) if name == "float16" else values
    if len(raw) == elements:
        return np.array(raw, dtype).reshape(shape)
    return np.array(_filled(list(raw), elements, 0), dtype).reshape(shape)


def _filled(values: list[T], elements: int, default: T) -> list[T]:
    """TensorFlow leaves out trailing values that equal the last one given; of none given, all are the default."""
    if len(values) > elements:
        raise ValueError(f"{len(values)} values do not fit into {elements} elements")
    return values + [values[-1] if values else default] * (elements - len(values))


def _shape(shape: Sequence[int]) -> tensor_pb2.TensorShapeProto:
    return tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=size) for size in shape])
