"""The warm-up file is what TensorFlow Serving reads: at most 1000 `PredictionLog` records."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.export.warmup import MAX_RECORDS, read_prediction_logs, read_warmup, write_warmup

REQUESTS = [
    (
        "rank",
        {
            "user_id": np.array([b"u1"], object),
            "history_item_id": np.array([[b"i1", "ü".encode(), b""]], object),
            "candidate_item_id": np.array([[b"a", b"b"]], object),
            "age": np.array([np.nan], np.float32),
        },
    ),
    ("user_tower", {"user_id": np.array([b""], object), "history_item_id": np.zeros((1, 0), object)}),
    ("candidate", {"keys": np.arange(12, dtype=np.float32).reshape(1, 3, 4), "mask": np.array([[True, False]])}),
]


def test_requests_come_back_as_they_were_written(tmp_path):
    file = tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    assert write_warmup(file, "shop", REQUESTS) == len(REQUESTS)
    read = read_warmup(file)
    assert [signature for signature, _ in read] == [signature for signature, _ in REQUESTS]
    for (_, expected), (_, inputs) in zip(REQUESTS, read, strict=True):
        assert set(inputs) == set(expected)
        for name, value in expected.items():
            assert inputs[name].dtype == value.dtype
            np.testing.assert_array_equal(inputs[name], value)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_records_are_prediction_logs_of_the_named_model(tmp_path):
    file = tmp_path / "requests"
    write_warmup(file, "shop", REQUESTS)
    records = [r.numpy() for r in tf.data.TFRecordDataset(str(file))]
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    assert [log.WhichOneof("log_type") for log in logs] == ["predict_log"] * 3
    requests = [log.predict_log.request for log in logs]
    assert {request.model_spec.name for request in requests} == {"shop"}
    assert [request.model_spec.signature_name for request in requests] == ["rank", "user_tower", "candidate"]
    assert not requests[0].model_spec.HasField("version")
    history = requests[0].inputs["history_item_id"]
    assert [dim.size for dim in history.tensor_shape.dim] == [1, 3]
    assert list(history.string_val) == [b"i1", "ü".encode(), b""]


def test_the_servers_limit_is_kept(tmp_path):
    file = tmp_path / "requests"
    one = ("rank", {"user_id": np.array([b"u"], object)})
    assert write_warmup(file, "shop", [one] * MAX_RECORDS) == MAX_RECORDS
    with pytest.raises(ValueError, match="at most 1000 warm-up records, got 1001"):
        write_warmup(file, "shop", [one] * (MAX_RECORDS + 1))
    # The file from before is still there, whole.
    assert len(read_warmup(file)) == MAX_RECORDS


def test_a_request_that_cannot_be_written_leaves_the_file_from_before(tmp_path):
    file = tmp_path / "requests"
    write_warmup(file, "shop", REQUESTS[:1])
    with pytest.raises(TypeError):
        write_warmup(file, "shop", [*REQUESTS, ("rank", {"user_id": object()})])
    assert len(read_warmup(file)) == 1


def test_a_cut_file_is_an_error_and_not_fewer_requests(tmp_path):
    file = tmp_path / "requests"
    write_warmup(file, "shop", REQUESTS)
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(tf.errors.DataLossError):
        read_warmup(file)


def test_equal_numbers_take_no_room_and_come_back_in_full(tmp_path):
    file = tmp_path / "requests"
    inputs = {
        "zeros": np.zeros((1, 1200, 384), np.float32),
        "ones": np.ones((2, 70), bool),
        "one": np.array([[3]]),
        "nan": np.full((1, 3), np.nan, np.float32),
        "none": np.zeros((1, 0, 4), np.float32),
    }
    write_warmup(file, "shop", [("rank_with_content", inputs)])
    assert file.stat().st_size < 1000
    ((_, read),) = read_warmup(file)
    for name, value in inputs.items():
        assert (read[name].dtype, read[name].shape) == (value.dtype, value.shape)
        np.testing.assert_array_equal(read[name], value)


def test_logged_calls_have_their_answer_and_version(tmp_path):
    logs = [prediction_log_pb2.PredictionLog() for _ in range(3)]
    logs[0].predict_log.request.model_spec.version.value = 3
    logs[0].predict_log.request.inputs["user_id"].CopyFrom(tf.make_tensor_proto(["u"]))
    logs[1].regress_log.request.model_spec.name = "other"
    logs[2].predict_log.request.model_spec.signature_name = "rank"
    logs[2].predict_log.response.model_spec.version.value = 9
    logs[2].predict_log.response.outputs["score"].CopyFrom(tf.make_tensor_proto([[0.5]]))
    file = tmp_path / "logs"
    with tf.io.TFRecordWriter(str(file)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())
    asked, answered = read_prediction_logs(file)
    assert (asked.signature, asked.version, asked.outputs) == ("", 3, {})
    assert asked.inputs["user_id"].tolist() == [b"u"]
    assert (answered.signature, answered.version) == ("rank", 9)
    assert answered.outputs["score"].tolist() == [[0.5]]
