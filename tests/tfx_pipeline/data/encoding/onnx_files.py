"""Small ONNX files, written as the bytes of their protocol buffers: the package `onnx` is not needed for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

_TYPES = {"float32": 1, "uint8": 2, "int64": 7, "float16": 10}
_FLOAT, _INT, _INTS = 1, 2, 7
_OPSET, _IR = 13, 8


def write_model(
    file: Path,
    inputs: Mapping[str, tuple[str, Sequence[int | str]]],
    nodes: Sequence[bytes],
    outputs: Mapping[str, Sequence[int | str]],
    weights: Mapping[str, np.ndarray],
) -> Path:
    """A model whose sides are numbers, or names where they are not known; outputs are of float32."""
    graph = b"".join(_inside(1, each) for each in nodes) + _inside(2, b"graph")
    graph += b"".join(_inside(5, _tensor(name, values)) for name, values in weights.items())
    graph += b"".join(_inside(11, _value(name, *given)) for name, given in inputs.items())
    graph += b"".join(_inside(12, _value(name, "float32", shape)) for name, shape in outputs.items())
    file.write_bytes(_number(1, _IR) + _inside(7, graph) + _inside(8, _inside(1, b"") + _number(2, _OPSET)))
    return file


def node(kind: str, inputs: Sequence[str], output: str, **attributes: int | float | Sequence[int]) -> bytes:
    """An operation with one output."""
    made = b"".join(_inside(1, name.encode()) for name in inputs) + _inside(2, output.encode())
    made += _inside(4, kind.encode())
    for name, value in attributes.items():
        if isinstance(value, float):
            content = _key(2, 5) + np.float32(value).tobytes() + _number(20, _FLOAT)
        elif isinstance(value, int):
            content = _number(3, value) + _number(20, _INT)
        else:
            content = b"".join(_number(8, each) for each in value) + _number(20, _INTS)
        made += _inside(5, _inside(1, name.encode()) + content)
    return made


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(_number(1, side) for side in values.shape)
    return dims + _number(2, _TYPES[values.dtype.name]) + _inside(8, name.encode()) + _inside(9, values.tobytes())


def _value(name: str, dtype: str, shape: Sequence[int | str]) -> bytes:
    dims = (_number(1, side) if isinstance(side, int) else _inside(2, side.encode()) for side in shape)
    tensor = _number(1, _TYPES[dtype]) + _inside(2, b"".join(_inside(1, side) for side in dims))
    return _inside(1, name.encode()) + _inside(2, _inside(1, tensor))


def _inside(field: int, content: bytes) -> bytes:
    return _key(field, 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _key(field, 0) + _varint(value)


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])
