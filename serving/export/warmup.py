"""Warm-up requests: TensorFlow Serving replays them when it loads a version, so that the first user does not wait.

A record that fails makes TensorFlow Serving refuse the whole version; `check_servable` replays them before a push.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.export.atomic import written_whole

# TensorFlow Serving reads no more than this many.
MAX_RECORDS = 1000

Request = tuple[str, Mapping[str, np.ndarray]]


class CapturedRequest(NamedTuple):
    """A request to a server, and what it answered.

    Attributes:
        signature: name of the signature asked; "" means `serving_default`.
        inputs: by name.
        outputs: of the answer by name; empty where only the request was captured.
        version: that answered; None where the record does not say.
    """

    signature: str
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    version: int | None


def write_warmup(path: Path, model_name: str, requests: Iterable[Request]) -> int:
    """Writes (signature, inputs) pairs as `PredictionLog` records; returns how many.

    Raises:
        ValueError: on more than 1000 requests, of which the server would ignore the rest.
    """
    requests = list(requests)
    if len(requests) > MAX_RECORDS:
        raise ValueError(f"TensorFlow Serving takes at most {MAX_RECORDS} warm-up records, got {len(requests)}")
    with written_whole(path) as partial, tf.io.TFRecordWriter(str(partial)) as writer:
        for signature, inputs in requests:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
    return len(requests)


def read_warmup(path: Path) -> list[Request]:
    """The (signature, inputs) pairs of a warm-up file."""
    return [(captured.signature, captured.inputs) for captured in read_prediction_logs(path)]


def read_prediction_logs(path: Path) -> Iterator[CapturedRequest]:
    """The Predict calls of a file of `PredictionLog` records, as TensorFlow Serving logs requests; others are skipped.

    Raises:
        tf.errors.OpError: no such file, or no TFRecords.
        ValueError: a record is no `PredictionLog`, or a tensor in it is not whole.
    """
    for number, record in enumerate(tf.compat.v1.io.tf_record_iterator(str(path))):
        try:
            log = prediction_log_pb2.PredictionLog.FromString(record)
        except DecodeError:
            raise ValueError(f"record {number} of {path} is no PredictionLog") from None
        if log.WhichOneof("log_type") != "predict_log":
            continue
        request, response = log.predict_log.request, log.predict_log.response
        spec = response.model_spec if response.model_spec.HasField("version") else request.model_spec
        yield CapturedRequest(
            request.model_spec.signature_name,
            {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()},
            {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()},
            spec.version.value if spec.HasField("version") else None,
        )


def _tensor_proto(value: np.ndarray) -> tf.compat.v1.TensorProto:
    """The tensor; of equal numbers only the first is written, which the format lets stand for all."""
    array = np.asarray(value)
    if array.dtype.kind in "biuf" and array.size > 1 and (array == array.flat[0]).all():
        return tf.make_tensor_proto(array.flat[0], array.dtype, array.shape)
    return tf.make_tensor_proto(value)
