"""JSON to arrays and back, by the rules of TensorFlow Serving's REST API. Pure functions.

An input's dtype is the signature's, and a value of another JSON type is refused, not converted; bytes that are no text
are `{"b64": ...}`. Inputs come by columns ("inputs", answered with "outputs") or by rows ("instances", answered with
"predictions").
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf

from serving.local_server.batching import Arrays
from serving.local_server.errors import StatusError
from serving.local_server.tensors import check_shape

INPUTS, INSTANCES = "inputs", "instances"
_BASE64 = "b64"
# An output of strings whose name ends so is written as base64.
_BYTES_SUFFIX = "_bytes"
# Python types of JSON values by kind of dtype; `type` tells True from 1, `isinstance` does not.
_JSON_TYPES: dict[str, set[type]] = {"f": {int, float}, "i": {int}, "u": {int}, "b": {bool}}


def parse_body(body: bytes) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        StatusError: INVALID_ARGUMENT, when it is none.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"JSON Parse error: {error}") from error
    if not isinstance(request, dict):
        raise _invalid(f"JSON Value: {_shown(request)} Is not object")
    if not isinstance(request.get("signature_name", ""), str):
        raise _invalid(f"JSON Value: {_shown(request)} not formatted correctly. 'signature_name' key must be a string.")
    given = [key for key in (INPUTS, INSTANCES) if key in request]
    if len(given) != 1:
        raise _invalid(
            f"expecting only one of '{INPUTS}' or '{INSTANCES}' keys to exist"
            if given
            else f"Missing '{INPUTS}' or '{INSTANCES}' key"
        )
    return request


def read_inputs(request: Mapping[str, Any], expected: Mapping[str, Any]) -> Arrays:
    """The arrays of a request by input name.

    Args:
        request: that `parse_body` gave.
        expected: the signature's TensorInfo by name.

    Raises:
        StatusError: INVALID_ARGUMENT, naming the input that is missing or not what the signature takes.
    """
    columns = _by_name(request[INPUTS], expected) if INPUTS in request else _columns(request[INSTANCES], expected)
    if missing := sorted(expected.keys() - columns.keys()):
        raise _invalid(f"Missing named input: {', '.join(missing)} in '{INPUTS}' object.")
    return {name: read_tensor(name, columns[name], info) for name, info in expected.items()}


def read_tensor(name: str, value: Any, info: Any) -> np.ndarray:
    """The array of one input; strings are bytes in an object array.

    Args:
        name: of the input, for messages.
        value: nested lists, or a scalar.
        info: the signature's TensorInfo.

    Raises:
        StatusError: INVALID_ARGUMENT, on lists of unequal length, and values of another type or shape.
    """
    dtype = tf.dtypes.as_dtype(info.dtype)
    # As objects: of strings numpy would make room for the longest one in every element. Lists of unequal length stay
    # elements, and are of the wrong type then.
    array = np.array(value, object)
    flat = array.ravel().tolist() if array.ndim else [value]
    if dtype == tf.string:
        typed = np.empty(len(flat), object)
        typed[:] = [_bytes(name, element) for element in flat]
    else:
        allowed = _JSON_TYPES.get(np.dtype(dtype.as_numpy_dtype).kind, set())
        for element in flat:
            if type(element) not in allowed:
                raise _type_error(name, element, dtype)
        typed = _numbers(name, flat, dtype)
    check_shape(name, array.shape, info)
    return typed.reshape(array.shape)


def write_outputs(outputs: Arrays, *, rows: bool) -> dict[str, Any]:
    """The answer to a request by columns or by rows; the only output comes without its name.

    Raises:
        StatusError: INVALID_ARGUMENT, when rows are wanted and the outputs have not equally many.
    """
    values = {name: _plain(name, array) for name, array in sorted(outputs.items())}
    if not rows:
        return {"outputs": values if len(values) > 1 else next(iter(values.values()))}
    sizes = {name: len(array) if array.ndim else None for name, array in outputs.items()}
    if None in sizes.values() or len(set(sizes.values())) > 1:
        raise _invalid(f"outputs have inconsistent batch sizes: {sizes}; ask with '{INPUTS}'")
    if len(values) == 1:
        return {"predictions": next(iter(values.values()))}
    return {"predictions": [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]}


def _by_name(value: Any, expected: Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(value, dict) and not _is_base64(value):
        return value
    if len(expected) > 1:
        raise _invalid(
            f"{INPUTS} is a plain value/list, but expecting an object as multiple input tensors required: "
            f"{', '.join(sorted(expected))}"
        )
    return dict.fromkeys(expected, value)


def _columns(instances: Any, expected: Mapping[str, Any]) -> dict[str, list[Any]]:
    if not isinstance(instances, list) or not instances:
        raise _invalid(f"Expecting '{INSTANCES}' to be a list/array with values")
    rows = [_by_name(row, expected) for row in instances]
    for number, row in enumerate(rows):
        if row.keys() != expected.keys():
            raise _invalid(
                f"Failed to process element: {number} of '{INSTANCES}' list. JSON object: keys must be equal to: "
                f"{','.join(sorted(expected))}; got {','.join(sorted(row))}"
            )
    return {name: [row[name] for row in rows] for name in expected}


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {_BASE64} and isinstance(value[_BASE64], str)


def _bytes(name: str, value: Any) -> bytes:
    if _is_base64(value):
        try:
            return base64.b64decode(value[_BASE64], validate=True)
        except ValueError as error:  # binascii.Error, and that of characters beyond ASCII
            raise _invalid(f"input '{name}': Unable to base64 decode {_shown(value)}: {error}") from error
    if not isinstance(value, str):
        raise _type_error(name, value, tf.string)
    # A lone surrogate, which JSON can write, is no text.
    return value.encode("utf-8", "replace")


def _numbers(name: str, values: list[Any], dtype: tf.DType) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype.as_numpy_dtype)
    except OverflowError as error:
        raise _invalid(f"input '{name}': Cannot convert JSON value to {dtype.name}: {error}") from error
    if dtype.is_floating:
        for place in np.flatnonzero(np.isinf(array)).tolist():
            if not np.isinf(float(values[place])):
                raise _invalid(
                    f"input '{name}': Cannot convert JSON value: {values[place]} to {dtype.name} without loss of "
                    "precision."
                )
    return array


def _plain(name: str, array: np.ndarray) -> Any:
    if array.dtype == object:
        as_bytes = name.endswith(_BYTES_SUFFIX)
        values: list[Any] = [
            {_BASE64: base64.b64encode(value).decode()} if as_bytes else value.decode("utf-8", "replace")
            for value in array.ravel().tolist()
        ]
        plain = np.empty(array.size, object)
        plain[:] = values
        return plain.reshape(array.shape).tolist()
    if array.dtype == np.float32:
        # The shortest text that stands for the number, as there: 0.1 and not 0.10000000149011612.
        return array.astype(str).astype(np.float64).tolist()
    return array.tolist()


def _shown(value: Any) -> str:
    return f"{json.dumps(value):.80}"


def _type_error(name: str, value: Any, dtype: tf.DType) -> StatusError:
    if isinstance(value, list):
        return _invalid(f"input '{name}': Encountered list at unexpected level or of unexpected size: {_shown(value)}")
    kind = type(value).__name__
    return _invalid(f"input '{name}': JSON Value: {_shown(value)} Type: {kind} is not of expected type: {dtype.name}")


def _invalid(message: str) -> StatusError:
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, message)
