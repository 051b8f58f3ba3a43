"""Reads captured requests: TFRecords of `PredictionLog`, as TensorFlow Serving logs them, or JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from serving import contract
from serving.export.servable import request_arrays
from serving.export.warmup import CapturedRequest, read_prediction_logs
from serving.messages import first_line
from tfx_pipeline.errors import DataError

_JSON_ENDINGS = (".jsonl", ".ndjson", ".json")
# Short names in JSON lines for what the signatures call by its full name.
_SHORT = {"history": contract.HISTORY_ITEM_ID, "candidates": contract.CANDIDATE_ITEM_ID}
_CONTENT = "content"


def read_captured(file: Path, model_contract: contract.ModelContract) -> Iterator[CapturedRequest]:
    """The requests of a file, in its order, read as they are asked for.

    Args:
        file: TFRecords of `PredictionLog`, or JSON lines if it ends in .jsonl, .ndjson or .json: an object a line with
            `user_id`, `history`, `history_age_s` (a number an item; absent: no age is known), `candidates`, profile
            and context columns, candidate columns (a list each, one value a candidate), optionally `content` (vectors
            by modality) and `score` and, of several objectives, `score/NAME` (what was answered, one number a
            candidate).
        model_contract: of the model, by which lines of JSON become tensors.

    Raises:
        DataError: the file is not there, or is no such file; the line or record is named.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file; expected TFRecords of PredictionLog, or JSON lines (.jsonl)")
    return _json_lines(file, model_contract) if file.suffix in _JSON_ENDINGS else _prediction_logs(file)


def _prediction_logs(file: Path) -> Iterator[CapturedRequest]:
    try:
        yield from read_prediction_logs(file)
    except (OSError, ValueError, TypeError, tf.errors.OpError) as error:
        raise DataError(
            f"{file} cannot be read as TFRecords of PredictionLog: {first_line(error)}; JSON lines end in .jsonl"
        ) from None


def _json_lines(file: Path, model_contract: contract.ModelContract) -> Iterator[CapturedRequest]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
                if not isinstance(values, dict):
                    raise ValueError(f"must be an object, it is {type(values).__name__}")
                yield _captured(values, model_contract)
            # NumPy and the request's keys: each says in a sentence what does not fit.
            except (ValueError, KeyError, TypeError) as error:
                reason = error.args[0] if isinstance(error, KeyError) else first_line(error)
                raise DataError(f"{file}, line {number}: {reason}") from None


def _captured(values: dict[str, Any], model_contract: contract.ModelContract) -> CapturedRequest:
    request = {_SHORT.get(name, name): value for name, value in values.items()}
    for name in (contract.USER_ID, contract.CANDIDATE_ITEM_ID):
        if name not in request:
            raise KeyError(f"{name} is missing")
    answers = {
        name: request.pop(name)
        for name in (contract.SCORE, *(contract.SCORE_PREFIX + each for each in model_contract.objectives))
        if request.get(name) is not None
    }
    request.pop(contract.SCORE, None)
    for modality, vectors in (request.pop(_CONTENT, None) or {}).items():
        request[contract.CONTENT_PREFIX + modality] = vectors
    inputs = request_arrays(request, model_contract)
    carries = any(name.startswith(contract.CONTENT_PREFIX) for name in inputs)
    outputs = {name: np.array([scores], np.float32) for name, scores in answers.items()}
    return CapturedRequest(contract.RANK_WITH_CONTENT if carries else contract.RANK, inputs, outputs, None)
