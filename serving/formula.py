"""Scores that are a formula of several probabilities, such as `click * buy ** 0.5`: read, checked, never evaluated.

A formula has names of objectives, numbers, `+ - * / **`, a minus before a value, and parentheses. Python's parser reads
it and a list of what is allowed judges it; no code of the text is run. Every part is bounded beforehand for
probabilities in [0, 1], in the float32 in which it will be computed: a formula that could divide by zero, take a root
of a negative number or overflow is refused.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

_LONGEST = 500
_OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_ALLOWED = "allowed are objectives, numbers, + - * / ** and parentheses"

Bounds = tuple[np.float32, np.float32]


class FormulaError(ValueError):
    """A formula that is refused; the message says where and why."""


class Formula:
    """A formula of probabilities.

    Args:
        text: of the formula.
        names: objectives that it may name.

    Attributes:
        text: as it was given, without spaces around it.
        names: objectives that it names.
        bounds: least and largest value that it can have, float.

    Raises:
        FormulaError: something that is not allowed, or that could give infinity or NaN; with the position.
    """

    def __init__(self, text: str, names: Collection[str]):
        self.text = text.strip()
        self.names: set[str] = set()
        self._known = list(names)
        if not self.text or len(self.text) > _LONGEST:
            raise FormulaError(f"expected 1 to {_LONGEST} characters, got {len(self.text)}")
        try:
            self._tree = ast.parse(self.text, mode="eval").body
            with np.errstate(all="ignore"):
                low, high = self._bounds(self._tree)
        except SyntaxError as error:
            # Within parentheses the text may be of several lines.
            place = sum(map(len, self.text.splitlines(keepends=True)[: (error.lineno or 1) - 1])) + (error.offset or 1)
            raise FormulaError(f"at character {place}: {error.msg}; {_ALLOWED}") from None
        except (ValueError, RecursionError, MemoryError, OverflowError) as error:
            if isinstance(error, FormulaError):
                raise
            raise FormulaError(f"cannot be read: {error or type(error).__name__}; {_ALLOWED}") from None
        if not self.names:
            raise FormulaError(f"names no objective, so that all scores would be equal; there are {self._listed}")
        self.bounds = (float(low), float(high))

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """The value of probabilities by name: arrays or tensors of one shape, of any library with operators."""
        return _value(self._tree, values)

    @property
    def _listed(self) -> str:
        return ", ".join(self._known)

    def _refuse(self, node: ast.AST, why: str) -> FormulaError:
        lines = self.text.splitlines(keepends=True)
        line, offset = getattr(node, "lineno", 1) - 1, getattr(node, "col_offset", 0)
        # Python counts bytes within a line.
        place = sum(map(len, lines[:line])) + len(lines[line].encode()[:offset].decode(errors="replace")) + 1
        return FormulaError(f"at character {place}: {why}")

    def _bounds(self, node: ast.expr) -> Bounds:
        """Bounds of a part for all probabilities; rounding keeps order, so those of float32 hold in float32."""
        match node:
            case ast.Name(id=name):
                if name not in self._known:
                    raise self._refuse(node, f"'{name}' is no objective; there are {self._listed}")
                self.names.add(name)
                return np.float32(0), np.float32(1)
            case ast.Constant(value=bool() | complex() | str() | bytes() | None):
                raise self._refuse(node, f"{node.value!r} is no number; {_ALLOWED}")
            case ast.Constant(value=int() | float() as number):
                found = np.float32(float(number))
                return self._finite(node, found, found)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                low, high = self._bounds(operand)
                return -high, -low
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
                return self._of_two(node, op, self._bounds(left), self._bounds(right))
        raise self._refuse(node, f"{_kind(node)} is not allowed; {_ALLOWED}")

    def _of_two(self, node: ast.BinOp, op: ast.operator, left: Bounds, right: Bounds) -> Bounds:
        if isinstance(op, ast.Div) and right[0] <= 0 <= right[1]:
            raise self._refuse(
                node.right, f"divides by what can be 0 (it lies in [{right[0]:g}, {right[1]:g}]); add a number to it"
            )
        if isinstance(op, ast.Pow):
            return self._power(node, left, right)
        ends = [_OPERATIONS[type(op)](a, b) for a in left for b in right]
        return self._finite(node, min(ends), max(ends))

    def _power(self, node: ast.BinOp, base: Bounds, exponent: Bounds) -> Bounds:
        if base[0] == 0 and exponent[0] < 0:
            raise self._refuse(node, "a negative power of what can be 0; add a number to it")
        whole = exponent[0] == exponent[1] == np.round(exponent[0]) and exponent[0] >= 0
        if base[0] < 0 and not whole:
            raise self._refuse(
                node.left, f"a power of what can be negative (it lies in [{base[0]:g}, {base[1]:g}]) must be 0, 1, 2..."
            )
        ends = [a**b for a in base for b in exponent]
        if base[0] < 0 < base[1]:
            ends.append(np.float32(0) ** exponent[0])
        return self._finite(node, min(ends), max(ends))

    def _finite(self, node: ast.expr, low: np.float32, high: np.float32) -> Bounds:
        if not (np.isfinite(low) and np.isfinite(high)):
            raise self._refuse(node, "can be larger than any float32")
        return low, high


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Name(id=name):
            return values[name]
        case ast.Constant(value=number):
            return float(number)  # type: ignore[arg-type]
        case ast.UnaryOp(operand=operand):
            return -_value(operand, values)
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATIONS[type(op)](_value(left, values), _value(right, values))
    raise AssertionError("checked by the constructor")


def _kind(node: ast.AST) -> str:
    words = {ast.Call: "a call", ast.Attribute: "an attribute", ast.Subscript: "an index", ast.Compare: "a comparison"}
    if isinstance(node, ast.BinOp | ast.UnaryOp):
        return f"the operator {type(node.op).__name__}"
    return words.get(type(node), type(node).__name__)
