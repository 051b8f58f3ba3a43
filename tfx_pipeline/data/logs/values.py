"""Arrow columns of any type a log may have -> ids, times, labels and numbers, whole batches at a time."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.config.tables import TimeUnit

# (multiplier, divisor) to microseconds.
_TO_MICROSECONDS = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000)}
_INT64_MAX = 2**63 - 1
_INTEGER = re.compile(r"[+-]?\d+")
_ZONE_APART = r"(?i)(\s*UTC|\s*GMT|\s+Z|\s+[+-]\d{2}:?(\d{2})?)\s*$"
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def usable_as_id(kind: pa.DataType) -> bool:
    """Whether `text` can turn a column of this type into ids: any type of single values."""
    if pa.types.is_null(kind):
        return False
    try:
        text(pa.nulls(0, kind))
    except pa.ArrowException:
        return False
    return not pa.types.is_nested(kind)


def usable_as_ids(kind: pa.DataType) -> bool:
    """Whether `ids` can read a column of this type: lists of ids, or text."""
    return usable_as_id(kind.value_type if is_list(kind) else kind)


def is_list(kind: pa.DataType) -> bool:
    """Whether values of the type are lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def ids(array: pa.Array) -> list[list[bytes]]:
    """Several ids a row: of a list, or of text with spaces between them; none where it is null or empty."""
    if not is_list(array.type):
        return [[] if value is None else value.encode().split() for value in text(array).to_pylist()]
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
    flat = text(array.flatten()).cast(pa.large_binary()).to_pylist()
    ends = np.cumsum(lengths).tolist()
    return [
        [item for item in flat[end - length : end] if item is not None]
        for end, length in zip(ends, lengths.tolist(), strict=True)
    ]


def text(array: pa.Array) -> pa.Array:
    """Ids and categorical values as `large_string`; null and "" become null.

    Integers and integral floats are written as integers ("12"), NaN is null, UUIDs are written in their usual form.
    Bytes are read as UTF-8; those that are not UTF-8 are escaped as `\\xff`, so that different bytes stay different
    ids, in a column of text too.
    """
    array = _plain(array)
    kind = array.type
    if isinstance(kind, pa.UuidType):
        shown = [None if value is None else str(value) for value in array.to_pylist()]
        return pa.array(shown, pa.large_string())
    if pa.types.is_floating(kind):
        values = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
        shown = [None if np.isnan(v) else str(int(v)) if v.is_integer() else repr(v) for v in values.tolist()]
        return pa.array(shown, pa.large_string())
    if _is_textual(kind):
        result = array.cast(pa.large_binary())
        try:
            result = result.cast(pa.large_string())
        except pa.ArrowInvalid:
            decoded = [None if v is None else v.decode("utf-8", "backslashreplace") for v in result.to_pylist()]
            result = pa.array(decoded, pa.large_string())
    else:
        result = array.cast(pa.large_string())
    return pc.if_else(pc.equal(result, ""), pa.scalar(None, pa.large_string()), result)


def not_utf8(array: pa.Array, texts: pa.Array) -> np.ndarray:
    """bool [n]: whether a value has bytes that are not UTF-8, which `text` escaped; `texts` is what it gave."""
    array = _plain(array)
    # Escaping makes values longer.
    if not _is_textual(array.type) or pc.sum(pc.binary_length(array)).equals(pc.sum(pc.binary_length(texts))):
        return np.zeros(len(array), bool)
    encoded = array.cast(pa.large_binary()).to_pylist()
    return np.array([value is not None and not _is_utf8(value) for value in encoded])


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _plain(array: pa.Array) -> pa.Array:
    """The array as its values are: no dictionary, no extension type but UUID, which has a form of its own as text."""
    if pa.types.is_dictionary(array.type):
        return _plain(array.cast(array.type.value_type))
    if isinstance(array, pa.ExtensionArray) and not isinstance(array.type, pa.UuidType):
        return _plain(array.storage)
    return array


def times(array: pa.Array, unit: TimeUnit) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds since the epoch, exactly: integers never pass through floats.

    Args:
        array: timestamps or dates (whatever `unit` says), integers, floats (rounded to microseconds) or text.
        unit: of numbers; "iso8601" expects text, without an offset it is UTC.

    Returns:
        int64 [n], saturated where the value does not fit, and bool [n]: False where it is absent or cannot be parsed.
    """
    array = _plain(array)
    kind = array.type
    if pa.types.is_timestamp(kind):
        return _scale(array.cast(pa.int64()), kind.unit)
    if pa.types.is_date(kind):
        return _scale(array.cast(pa.timestamp("s")).cast(pa.int64()), "s")
    if unit == "iso8601":
        return _iso8601(text(array))
    if pa.types.is_integer(kind):
        return _scale(array, unit)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _scale_float(_floats(array), unit)
    texts = text(array)
    # Arrow's cast would take hexadecimal numbers, which no log means.
    if pc.any(pc.match_substring(texts, "x", ignore_case=True)).as_py():
        return _parse_each(texts, unit)
    try:
        return _scale(texts.cast(pa.int64()), unit)
    except pa.ArrowInvalid:
        return _parse_each(texts, unit)


def labels(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """int8 [n] of 0 and 1, and bool [n]: False where the value is none of 0, 1, 1.00 and so on, true, false."""
    texts = pc.utf8_lower(pc.utf8_trim_whitespace(text(array)))
    found = _zero_or_one(texts)
    if not found[1].all():
        # 1., 1.000 and the like are rare, and each value would have to be looked at.
        found = _zero_or_one(pc.replace_substring_regex(texts, r"^([01])\.0*$", r"\1"))
    return found


def _zero_or_one(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    positive = pc.is_in(texts, value_set=pa.array(["1", "true", "1.0"], pa.large_string()))
    negative = pc.is_in(texts, value_set=pa.array(["0", "false", "0.0"], pa.large_string()))
    positive, negative = (flag.to_numpy(zero_copy_only=False) for flag in (positive, negative))
    return positive.astype(np.int8), positive | negative


def numbers(array: pa.Array) -> tuple[np.ndarray, int]:
    """float32 [n], NaN where missing, and how many values were there but are no finite number."""
    array = _plain(array)
    if _is_textual(array.type):
        texts = text(array)
        values = pd.to_numeric(texts.to_pandas(), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        given = len(texts) - texts.null_count
    else:
        values = _floats(array)
        # A float column says "missing" by NaN as well as by null.
        given = int((~np.isnan(values)).sum())
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    values = np.where(np.isfinite(values), values, np.float32(np.nan))
    return values, given - int((~np.isnan(values)).sum())


def usable_as_number(kind: pa.DataType) -> bool:
    """Whether `numbers` can read a column of this type."""
    if pa.types.is_dictionary(kind):
        return usable_as_number(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return usable_as_number(kind.storage_type) and not isinstance(kind, pa.UuidType)
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return plain or pa.types.is_boolean(kind) or _is_textual(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _is_textual(kind: pa.DataType) -> bool:
    return _is_bytes(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _floats(array: pa.Array) -> np.ndarray:
    # Not safe: integers above 2**53 are rounded.
    return np.asarray(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))


def _scale(array: pa.Array, unit: str) -> tuple[np.ndarray, np.ndarray]:
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    values = pc.fill_null(array, 0).to_numpy(zero_copy_only=False)
    if values.dtype == np.uint64:
        values = np.minimum(values, np.uint64(_INT64_MAX))
    values = values.astype(np.int64)
    multiplier, divisor = _TO_MICROSECONDS[unit]
    limit = _INT64_MAX // multiplier
    return np.clip(values, -limit, limit) * multiplier // divisor, valid


def _scale_float(values: np.ndarray, unit: str) -> tuple[np.ndarray, np.ndarray]:
    multiplier, divisor = _TO_MICROSECONDS[unit]
    valid = np.isfinite(values)
    with np.errstate(over="ignore"):
        scaled = np.rint(np.where(valid, values, 0.0) * multiplier / divisor)
    # 2**62 is exact in float64 and far outside every accepted time.
    return np.clip(scaled, -(2.0**62), 2.0**62).astype(np.int64), valid


def _iso8601(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    # As BigQuery and Postgres write it: "2023-11-14 22:43:06 UTC", "2023-11-14 22:43:06 +0100", "...+01".
    if pc.any(pc.match_substring_regex(texts, _ZONE_APART)).as_py():
        texts = pc.replace_substring_regex(texts, r"(?i)\s*(UTC|GMT|Z)\s*$", "Z")
        texts = pc.replace_substring_regex(texts, r"\s+([+-]\d{2}:?(\d{2})?)\s*$", r"\1")
    parsed = pd.to_datetime(texts.to_pandas(), format="ISO8601", utc=True, errors="coerce")
    valid = parsed.notna().to_numpy()
    nanoseconds = parsed.dt.tz_localize(None).to_numpy().astype("datetime64[ns]").astype(np.int64)
    return np.where(valid, nanoseconds // 1000, 0), valid


def _parse_each(texts: pa.Array, unit: str) -> tuple[np.ndarray, np.ndarray]:
    # The path of batches that hold a bad or a fractional value; the others were cast at once.
    multiplier, divisor = _TO_MICROSECONDS[unit]
    values = np.zeros(len(texts), dtype=np.int64)
    valid = np.zeros(len(texts), dtype=bool)
    for index, value in enumerate(texts.to_pylist()):
        value = (value or "").strip()
        if _INTEGER.fullmatch(value):
            microseconds = int(value) * multiplier // divisor if len(value) < 40 else _INT64_MAX
        elif _DECIMAL.fullmatch(value) and np.isfinite(float(value) * multiplier / divisor):
            microseconds = round(float(value) * multiplier / divisor)
        else:
            continue
        values[index] = max(-_INT64_MAX, min(_INT64_MAX, microseconds))
        valid[index] = True
    return values, valid
