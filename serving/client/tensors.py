"""numpy arrays as `TensorProto`s and back, without TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
# A tensor may have more elements than its message has values: the last one fills it up. Beyond this many elements
# that is garbage, and a few bytes must not cost gigabytes.
MAX_FILLED = 2**22
_MAX_DIMENSIONS = 32


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

    TensorFlow leaves out trailing values that equal the last one given; of none given, all are the default.

    Raises:
        ValueError: when the message is no such tensor: an unknown dtype, a negative or absurd size, bytes or values
            that do not fit the shape.
    """
    shape = shape_of(proto)
    elements = math.prod(shape)
    held = held_values(proto, shape, elements)
    if len(held) < elements:
        if elements > MAX_FILLED:
            raise ValueError(f"a tensor of shape {shape} cannot be read: the message holds {len(held)} values")
        last = held[-1] if held.size else (b"" if held.dtype == object else 0)
        filled: NDArray[np.generic] = np.full(elements, last, held.dtype)
        filled[: len(held)] = held
        held = filled
    return held.reshape(shape)


def shape_of(proto: tensor_pb2.TensorProto) -> tuple[int, ...]:
    """The shape that the message claims; nothing says that it holds as many values.

    Raises:
        ValueError: it is not known, has a negative size, or more dimensions than any array.
    """
    dims = proto.tensor_shape.dim
    shape = tuple(int(dim.size) for dim in dims[: _MAX_DIMENSIONS + 1])
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0 or len(dims) > _MAX_DIMENSIONS:
        raise ValueError(f"a tensor of shape {shape} cannot be read")
    return shape


def held_values(proto: tensor_pb2.TensorProto, shape: Sequence[int], most: int) -> NDArray[np.generic]:
    """The first `most` of the values that the message itself holds, row by row, [at most `most`].

    Memory is taken for these alone, whatever size the message claims; strings are an object array of bytes.

    Args:
        proto: the tensor.
        shape: of the tensor, see `shape_of`.
        most: values at most.

    Raises:
        ValueError: when the message is no such tensor: an unknown dtype, bytes or values that do not fit the shape.
    """
    elements = math.prod(shape)
    name = dtype_name(proto.dtype)
    if name != "string" and name not in _VALUE_FIELDS:
        raise ValueError(f"tensors of {name} cannot be read; expected string or one of {sorted(_VALUE_FIELDS)}")
    dtype = np.dtype(object if name == "string" else name)
    if proto.tensor_content and name != "string":
        if len(proto.tensor_content) != elements * dtype.itemsize:
            raise ValueError(f"{len(proto.tensor_content)} bytes do not make a {name} tensor of shape {shape}")
        little = np.frombuffer(proto.tensor_content, dtype.newbyteorder("<"), count=min(most, elements))
        return little.astype(dtype)
    values = proto.string_val if name == "string" else getattr(proto, _VALUE_FIELDS[name])
    if len(values) > elements:
        raise ValueError(f"{len(values)} values do not fit into {elements} elements")
    if len(values) > most:
        values = values[:most]
    if name == "string":
        strings = np.empty(len(values), object)
        strings[:] = list(values)
        return strings
    if name == "float16":
        # It travels as an integer that holds its bits.
        return np.array(values, np.int32).astype(np.uint16).view(np.float16)
    return np.array(values, dtype)


def _shape(shape: Sequence[int]) -> tensor_pb2.TensorShapeProto:
    return tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=size) for size in shape])
