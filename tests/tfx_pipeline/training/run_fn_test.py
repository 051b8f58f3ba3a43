"""`run_fn` for real on a tiny world: training, export, golden requests and the v1 loader."""

from __future__ import annotations

import json

import numpy as np
import pytest

from serving import contract


@pytest.fixture(scope="session")
def servable(trained):
    from serving.export.servable import Servable

    with Servable(trained / "Format-Serving", optimised=False) as loaded:
        yield loaded


def _request(**changes):
    request = {
        "user_id": "u1",
        "history_item_id": ["i1", "i3", "i5"],
        "candidate_item_id": ["i2", "i1", "i7", "i39", "never seen"],
        "gender": "f",
        "age": 30.0,
        "income": 1.0,
    }
    return request | changes


def _rank(servable, trained, **changes) -> np.ndarray:
    from serving.export.servable import request_arrays

    arrays = request_arrays(_request(**changes), contract.ModelContract.read(trained / "Format-Serving"))
    return servable.run(contract.RANK, arrays)[contract.SCORE][0]


def test_check_servable_finds_nothing_wrong(trained):
    from serving.export.servable_check import check_servable

    problems, figures = check_servable(trained / "Format-Serving", 1e-5)
    assert problems == []
    assert figures["golden_requests"] >= 10
    assert figures["warmup_requests"] == 11


def test_every_signature_for_one_user_is_warmed_up(trained):
    from serving.export.warmup import read_warmup

    asked = [
        (signature, inputs[contract.CANDIDATE_ITEM_ID].shape[1])
        for signature, inputs in read_warmup(trained / "Format-Serving" / contract.WARMUP_FILE)
        if contract.CANDIDATE_ITEM_ID in inputs
    ]
    of_each_size = (contract.RANK, contract.CANDIDATE, contract.RANK_WITH_CONTENT, contract.CANDIDATE_WITH_CONTENT)
    # One request of `explain` is enough to build its graph, and it is asked for few candidates.
    assert sorted(asked) == sorted([(one, size) for one in of_each_size for size in (1, 7)] + [(contract.EXPLAIN, 1)])


def test_contract_lists_signatures_with_raw_types(trained):
    model_contract = contract.ModelContract.read(trained / "Format-Serving")
    rank = model_contract.signatures[contract.RANK]
    assert set(rank["inputs"]) == {
        "user_id",
        "history_item_id",
        "candidate_item_id",
        "gender",
        "age",
        "income",
    }
    assert rank["inputs"]["candidate_item_id"] == contract.TensorContract("string", (None, None))
    assert rank["outputs"] == {"score": contract.TensorContract("float32", (None, None))}
    assert model_contract.max_history == 4


def test_padded_candidates_and_histories_change_nothing(servable, trained):
    plain = _rank(servable, trained)
    padded = _rank(servable, trained, candidate_item_id=["i2", "i1", "i7", "i39", "never seen", "", ""])
    np.testing.assert_allclose(padded[:5], plain, atol=1e-6)
    gaps = _rank(servable, trained, history_item_id=["", "i1", "i3", "", "i5", "", ""])
    np.testing.assert_allclose(gaps, plain, atol=1e-6)


def test_other_candidates_and_their_order_change_nothing(servable, trained):
    plain = _rank(servable, trained)
    alone = [_rank(servable, trained, candidate_item_id=[c])[0] for c in _request()["candidate_item_id"]]
    np.testing.assert_allclose(alone, plain, atol=1e-6)
    turned = _rank(servable, trained, candidate_item_id=_request()["candidate_item_id"][::-1])
    np.testing.assert_allclose(turned[::-1], plain, atol=1e-6)


def test_only_the_most_recent_history_counts(servable, trained):
    recent = _rank(servable, trained, history_item_id=["i1", "i3", "i5", "i7"])
    longer = _rank(servable, trained, history_item_id=["i2", "i4", "i1", "i3", "i5", "i7"])
    np.testing.assert_allclose(longer, recent, atol=1e-6)
    assert np.abs(_rank(servable, trained, history_item_id=["i2", "i4"]) - recent).max() > 1e-6


def test_serving_default_equals_rank(servable, trained, tiny_world):
    import tensorflow as tf

    from tfx_pipeline.training.golden import read_requests
    from tfx_pipeline.transform.dataset import split_files

    files = split_files(tiny_world.requests, "eval")
    serialized = list(tf.data.TFRecordDataset(files, "GZIP").take(10).as_numpy_iterator())
    batch = servable.run(contract.SERVING_DEFAULT, {"examples": np.array(serialized, object)})["score"]
    columns = contract.ModelContract.read(trained / "Format-Serving")
    for row, request in zip(batch, read_requests(files, columns, 10), strict=True):
        expected = _rank(servable, trained, **request)
        np.testing.assert_allclose(row[: len(expected)], expected, atol=1e-6)


def test_batched_requests_equal_single_ones(servable, trained):
    """What TensorFlow Serving's batching does: rows of other requests, padded to the widest."""
    from serving.export.servable import request_arrays

    model_contract = contract.ModelContract.read(trained / "Format-Serving")
    one = request_arrays(_request(), model_contract)
    two = request_arrays(
        _request(user_id="nobody", history_item_id=["i8", "", ""], candidate_item_id=["i4", "i9", "", "", ""]),
        model_contract,
    )
    both = {name: np.concatenate([one[name], two[name]]) for name in one}
    scores = servable.run(contract.RANK, both)[contract.SCORE]
    np.testing.assert_allclose(scores[0], _rank(servable, trained), atol=1e-6)
    alone = _rank(servable, trained, user_id="nobody", history_item_id=["i8"], candidate_item_id=["i4", "i9"])
    np.testing.assert_allclose(scores[1, :2], alone, atol=1e-6)


def test_missing_profile_is_answered(servable, trained):
    scores = _rank(servable, trained, gender=None, age=None, income=None, history_item_id=[])
    assert np.isfinite(scores).all()


def test_item_without_id_row_is_told_apart_by_content(servable, trained):
    """i36 and i38 are cold without content, i31 and i34 cold with it: content moves a cold item's score."""
    cold = _rank(servable, trained, candidate_item_id=["i31", "i34"])
    assert abs(cold[0] - cold[1]) > 1e-6


def test_training_leaves_its_history_and_no_state(trained):
    result = json.loads((trained / "run" / "training.json").read_text())
    assert len(result["history"]) == 2
    assert result["train_requests"] == 400
    assert result["history"][result["best_epoch"]]["val_auc"] == max(e["val_auc"] for e in result["history"])
    assert not any((trained / "state").iterdir())


def test_same_seed_same_weights_and_calibrated_where_asked(tiny_world, trained, tmp_path):
    import keras

    from serving.export.servable import Servable
    from serving.export.servable_check import check_servable
    from tfx_pipeline.training.run_fn import run_fn

    run_fn(tiny_world.fn_args(tmp_path, explain=False, calibration="isotonic"))
    first = keras.models.load_model(trained / "run" / "model.keras")
    second = keras.models.load_model(tmp_path / "run" / "model.keras")
    points = {id(weight) for weight in second.calibration.weights}
    learnt = [weight for weight in second.weights if id(weight) not in points]
    for ours, theirs in zip(first.weights, learnt, strict=True):
        np.testing.assert_array_equal(np.array(ours), np.array(theirs), err_msg=ours.path)

    version = tmp_path / "Format-Serving"
    assert check_servable(version, 1e-5)[0] == []
    fitted = json.loads((version / contract.METADATA_FILE).read_text())["calibration"]
    assert fitted["method"] == "isotonic"
    assert fitted["calibration_after"] == pytest.approx(1, abs=0.05)
    assert fitted["log_loss_after"] < fitted["log_loss_before"]
    with (
        Servable(trained / "Format-Serving", optimised=False) as plain,
        Servable(version, optimised=False) as calibrated,
    ):
        before, after = _rank(plain, trained), _rank(calibrated, tmp_path)
    np.testing.assert_allclose(after, np.array(second.probabilities(np.log(before) - np.log1p(-before))), atol=1e-4)


def test_gate_notices_scores_that_changed(trained, tmp_path):
    """A golden score off by more than allowed, a warm-up request that fails: each is named."""
    import shutil

    from serving.export.servable_check import check_servable
    from serving.export.warmup import write_warmup

    broken = tmp_path / "model"
    shutil.copytree(trained / "Format-Serving", broken)
    golden = json.loads((broken / contract.GOLDEN_FILE).read_text())
    golden[0]["scores"][0] += 0.01
    (broken / contract.GOLDEN_FILE).write_text(json.dumps(golden))
    write_warmup(broken / contract.WARMUP_FILE, "tiny", [("rank", {"user_id": np.array([b"u"])})])
    problems, _ = check_servable(broken, 1e-4)
    assert any("golden request 'real 0'" in problem and "keras vs rank" in problem for problem in problems)
    assert any("warm-up request 0" in problem for problem in problems)
    assert len(problems) == 2


def test_gate_refuses_what_the_server_would_refuse(trained, tmp_path):
    """The trap: saved by `tf.saved_model.save`, a Keras 3 model loads in TF2 and not in TensorFlow Serving."""
    import shutil

    from serving.export.servable_check import check_servable

    broken = tmp_path / "model"
    shutil.copytree(trained / "Format-Serving", broken)
    for part in (broken / "variables").iterdir():
        part.unlink()
    problems, _ = check_servable(broken, 1e-4)
    assert len(problems) == 1
    assert "loader refuses" in problems[0]
