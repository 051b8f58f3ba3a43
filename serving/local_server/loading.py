"""From a version's folder to a model that has answered its warm-up requests."""

from __future__ import annotations

from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving import contract
from serving.export.servable import Servable
from serving.export.warmup import MAX_RECORDS, read_warmup
from serving.local_server.errors import StatusError, status_of
from serving.manifest import ChangedFiles
from serving.messages import first_line

DEFAULT_SIGNATURE = "serving_default"


def load_version(directory: Path) -> Servable:
    """Loads a version and replays its warm-up requests; one that fails makes the version fail.

    Raises:
        StatusError: it cannot be loaded or warmed; nothing of it stays in memory.
    """
    servable = _load(directory)
    try:
        _warm_up(servable, directory / contract.WARMUP_FILE)
    except BaseException:
        servable.close()
        raise
    return servable


def _load(directory: Path) -> Servable:
    graph = directory / "saved_model.pb"
    if not _there(graph):
        raise StatusError(
            grpc.StatusCode.NOT_FOUND, f"Could not find SavedModel .pb at supplied export directory path: {directory}"
        )
    try:
        return Servable(directory)
    except tf.errors.OpError as error:
        raise status_of(error.error_code, f"{directory}: {first_line(error)}") from error
    except ChangedFiles as error:
        raise StatusError(grpc.StatusCode.DATA_LOSS, str(error)) from None
    # A file that ends too early, a graph of another kind, an op that is unknown here: the loader raises many types.
    except Exception as error:
        raise StatusError(grpc.StatusCode.DATA_LOSS, f"{graph}: {first_line(error)}") from error


def _warm_up(servable: Servable, path: Path) -> None:
    if not _there(path):
        return
    try:
        requests = read_warmup(path)
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise StatusError(grpc.StatusCode.DATA_LOSS, f"{path}: {first_line(error)}") from error
    if len(requests) > MAX_RECORDS:
        raise StatusError(
            grpc.StatusCode.INVALID_ARGUMENT, f"{path} has {len(requests)} records; at most {MAX_RECORDS} are allowed"
        )
    for number, (signature, inputs) in enumerate(requests):
        try:
            servable.run(signature or DEFAULT_SIGNATURE, inputs)
        except tf.errors.OpError as error:
            raise status_of(error.error_code, _failed(path, number, signature, error)) from error
        except KeyError as error:
            raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, _failed(path, number, signature, error)) from error
        except (ValueError, TypeError) as error:
            raise StatusError(grpc.StatusCode.INVALID_ARGUMENT, _failed(path, number, signature, error)) from error


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise StatusError(grpc.StatusCode.PERMISSION_DENIED, f"{path}: {error.strerror}") from error


def _failed(path: Path, number: int, signature: str, error: Exception) -> str:
    return f"{path}: warm-up request {number} of '{signature}' fails: {first_line(error)}"


def warmup_model_name(directory: Path) -> str | None:
    """The model name that the version's warm-up requests carry; None when they cannot say."""
    try:
        record = next(tf.compat.v1.io.tf_record_iterator(str(directory / contract.WARMUP_FILE)), None)
        request = prediction_log_pb2.PredictionLog.FromString(record or b"").predict_log.request
    except (OSError, ValueError, tf.errors.OpError):
        return None
    return request.model_spec.name or None
