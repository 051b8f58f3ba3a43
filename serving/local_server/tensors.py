"""TensorProto to numpy and back, by TensorFlow Serving's rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving.local_server.errors import StatusError

# A tensor may be longer than its values: the last one fills it up. Beyond this many elements that is an attack, not
# a shorthand, and the memory would be gone before the model looks at it.
_MOST_FILLED = 1 << 22
_STRING = tf.string.as_datatype_enum
# Field 5 of TensorProto (`float_val`), wire type 2: packed values, which are the array's own bytes.
_FLOAT_VAL = bytes([5 << 3 | 2])


def decode(name: str, proto: tensor_pb2.TensorProto, info: Any) -> np.ndarray:
    """The array of one input; strings are bytes in an object array.

    The rank and the fixed dimensions must be the signature's. TensorFlow Serving leaves that to the kernels, where a
    wrong rank is an error of some operation deep in the model, or is broadcast to something that nobody meant.

    Args:
        name: of the input, for messages.
        proto: what the client sent.
        info: the signature's TensorInfo.

    Raises:
        StatusError: INVALID_ARGUMENT, on another dtype or shape, or on values that do not make the tensor.
    """
    if proto.dtype != info.dtype:
        wanted_dtype, given = _dtype_name(info.dtype), _dtype_name(proto.dtype)
        raise _invalid(f"Expects input '{name}' to be {wanted_dtype} but {given} is provided.")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise _invalid(f"tensor parsing error: {name}: its shape is not fully given")
    check_shape(name, shape, info)
    count = math.prod(shape)
    try:
        if proto.dtype == _STRING and not proto.tensor_content and len(proto.string_val) == count:
            return np.array(list(proto.string_val), object).reshape(shape)
        return _parsed(proto, shape, count)
    except (ValueError, tf.errors.OpError):
        pass
    raise _invalid(f"tensor parsing error: {name}: its values do not make a tensor of shape {list(shape)}")


def check_shape(name: str, shape: Sequence[int], info: Any) -> None:
    """Compares a shape with that of the signature, where any size stands for the dimensions it leaves open.

    Raises:
        StatusError: INVALID_ARGUMENT, on another rank or another fixed dimension.
    """
    wanted = [dim.size for dim in info.tensor_shape.dim]
    if not info.tensor_shape.unknown_rank and (
        len(shape) != len(wanted) or any(want not in (-1, got) for want, got in zip(wanted, shape, strict=True))
    ):
        form = ", ".join("?" if size < 0 else str(size) for size in wanted)
        raise _invalid(f"input '{name}' must have shape [{form}], got {list(shape)}")


def _parsed(proto: tensor_pb2.TensorProto, shape: tuple[int, ...], count: int) -> np.ndarray:
    dtype = tf.dtypes.as_dtype(proto.dtype)
    if proto.tensor_content and dtype != tf.string:
        return np.frombuffer(proto.tensor_content, dtype.as_numpy_dtype).reshape(shape)
    if count > max(_MOST_FILLED, proto.ByteSize()):
        raise ValueError("more elements than values")
    # TensorFlow's own parser: all dtypes, values that fill up. It is also faster than numpy on repeated fields.
    array: np.ndarray = tf.io.parse_tensor(proto.SerializeToString(), dtype).numpy()
    return array


def encode(array: np.ndarray) -> tensor_pb2.TensorProto:
    """The proto of one output, with values in the dtype's own field, as TensorFlow Serving answers."""
    proto = tensor_pb2.TensorProto(dtype=tf.dtypes.as_dtype(array.dtype).as_datatype_enum)
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    kind = array.dtype
    if kind == np.float32:
        values = array.astype("<f4", copy=False).tobytes()
        proto.MergeFromString(_FLOAT_VAL + _varint(len(values)) + values)
    elif kind == np.bool_:
        proto.bool_val.extend(array.ravel().tolist())
    elif kind == np.int64:
        proto.int64_val.extend(array.ravel().tolist())
    elif kind in (np.int32, np.int16, np.int8, np.uint8, np.uint16):
        proto.int_val.extend(array.ravel().tolist())
    elif kind == np.float64:
        proto.double_val.extend(array.ravel().tolist())
    elif kind.kind == "O":
        proto.string_val.extend(array.ravel().tolist())
    else:
        proto.tensor_content = array.tobytes()
    return proto


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _dtype_name(number: int) -> str:
    try:
        return str(tf.dtypes.as_dtype(number).name)
    except TypeError:
        return f"dtype {number}"


def _invalid(message: str) -> StatusError:
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, message)
