"""The gate's verdict, as Pusher and the summary read it, on a really exported model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tfx import types
from tfx.components.util import model_utils
from tfx.types import standard_artifacts

from serving import contract
from tfx_pipeline.components.serving_gate import ServingGate, executor
from tfx_pipeline.config.model import Model


@pytest.fixture(scope="module")
def simple(tiny_world, tmp_path_factory) -> Path:
    """What `run_fn` leaves of a model whose graphs are soon loaded."""
    from tfx_pipeline.training.run_fn import run_fn

    out = tmp_path_factory.mktemp("simple")
    model = Model(name="mean_pooling", params={"id_dim": 8, "hidden_units": [16]})
    run_fn(tiny_world.fn_args(out, model=model.model_dump_json(), explain=False))
    return out


@pytest.fixture
def model(simple, tmp_path) -> Path:
    """A copy of the exported model, to be broken."""
    copy = tmp_path / "model" / "Format-Serving"
    shutil.copytree(simple / "Format-Serving", copy)
    return copy


@pytest.fixture
def gate(tmp_path):
    """gate(max_score_difference): runs the executor on the model; the blessing and the report."""

    def run(max_difference: float = 1e-4) -> tuple[standard_artifacts.InfraBlessing, dict]:
        model, blessing = standard_artifacts.Model(), standard_artifacts.InfraBlessing()
        model.uri, blessing.uri = str(tmp_path / "model"), str(tmp_path / "blessing")
        executor.Executor().Do({"model": [model]}, {"blessing": [blessing]}, {"max_score_difference": max_difference})
        return blessing, json.loads((tmp_path / "blessing" / "report.json").read_text())

    return run


def test_a_good_model_is_blessed(trained, tmp_path, gate):
    shutil.copytree(trained / "Format-Serving", tmp_path / "model" / "Format-Serving")
    blessing, report = gate()
    assert model_utils.is_infra_validated(blessing)
    assert report["blessed"] is True
    assert report["problems"] == []
    assert report["golden_requests"] >= 10
    assert report["warmup_requests"] == 11
    assert set(report["max_difference"]) == {"keras_vs_rank", "two_step_vs_rank"}
    assert max(report["max_difference"].values()) < 1e-5


def test_a_model_in_bfloat16_has_bounds_of_its_own(rounded, tmp_path, gate):
    model = tmp_path / "model" / "Format-Serving"
    shutil.copytree(rounded / "Format-Serving", model)
    file = model / contract.METADATA_FILE
    metadata = json.loads(file.read_text())
    measured = metadata["precision"]
    assert (measured["precision"], measured["impressions"]) == ("bfloat16", 230)
    assert set(measured["changes"]) == {"auc", "gauc", "log_loss"}
    for change in measured["changes"].values():
        assert change["low"] <= change["value"] <= change["high"]
        # Where this small model is rounded differs by processor, and so does what that costs it.
        change.update(value=0.0001, low=0.0, high=0.0002)
    assert 0 < measured["largest_score_difference"] < 0.02
    file.write_text(json.dumps(metadata))
    blessing, report = gate()
    assert report["problems"] == []
    assert model_utils.is_infra_validated(blessing)
    assert 1e-5 < report["max_difference"]["keras_vs_rank"] < 0.01
    assert report["max_difference"]["two_step_vs_rank"] < 1e-4
    assert report["precision"] == measured

    changes = metadata["precision"]["changes"]
    changes["auc"] = {"value": -0.0005, "low": -0.0009, "high": -0.0001}  # no more, perhaps, than may be
    changes["gauc"] = {"value": -0.0003, "low": -0.00035, "high": -0.00025}
    file.write_text(json.dumps(metadata))
    blessing, report = gate()
    assert not model_utils.is_infra_validated(blessing)
    assert report["problems"] == [
        "bfloat16 changes gauc on eval by -0.00030 [-0.00035, -0.00025], allowed 0.0002; "
        "set serving.precision to float32"
    ]
    del metadata["precision"]
    file.write_text(json.dumps(metadata))
    _, report = gate()
    assert report["problems"] == ["the metadata does not say what bfloat16 costs on eval: KeyError 'precision'"]


def test_a_model_that_scores_otherwise_than_keras_did_is_refused(model, gate):
    file = model / contract.GOLDEN_FILE
    golden = json.loads(file.read_text())
    golden[3]["scores"][0] += 0.01
    file.write_text(json.dumps(golden))
    blessing, report = gate()
    assert not model_utils.is_infra_validated(blessing)
    assert report["blessed"] is False
    (problem,) = report["problems"]
    assert problem.startswith(f"golden request '{golden[3]['case']}': keras vs rank differ by 1.00e-02, allowed ")
    assert report["max_difference"]["keras_vs_rank"] == pytest.approx(0.01, rel=1e-3)
    # The same difference, allowed.
    blessing, _ = gate(0.02)
    assert model_utils.is_infra_validated(blessing)


@pytest.mark.parametrize(
    ("lost", "problem"),
    [
        (contract.CONTRACT_FILE, "the model lacks a readable contract or golden requests: "),
        (contract.GOLDEN_FILE, "the model lacks a readable contract or golden requests: "),
        (contract.WARMUP_FILE, "warm-up requests cannot be read: "),
        ("saved_model.pb", "TensorFlow Serving's loader refuses the model: "),
        ("variables", "TensorFlow Serving's loader refuses the model: "),
    ],
)
def test_a_model_with_a_part_missing_is_refused(model, gate, lost, problem):
    path = model / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    blessing, report = gate()
    assert not model_utils.is_infra_validated(blessing)
    assert report["problems"][0].startswith(problem)


def test_a_refusal_needs_no_model_at_all(gate):
    blessing, report = gate()
    assert not model_utils.is_infra_validated(blessing)
    assert len(report["problems"]) == 1
    assert (report["golden_requests"], report["warmup_requests"]) == (0, 0)


def test_a_golden_file_without_requests_proves_nothing(model, gate):
    (model / contract.GOLDEN_FILE).write_text("[]")
    _, report = gate()
    assert report["problems"] == ["there are no golden requests"]


def test_the_component_runs_again_when_code_or_tolerance_change():
    def parameters(difference: float, digest: str) -> dict:
        component = ServingGate(
            model=types.Channel(type=standard_artifacts.Model), max_score_difference=difference, code_digest=digest
        )
        assert component.outputs["blessing"].type is standard_artifacts.InfraBlessing
        return component.exec_properties

    assert parameters(1e-4, "a") == parameters(1e-4, "a")
    assert parameters(1e-4, "a") != parameters(1e-3, "a")
    assert parameters(1e-4, "a") != parameters(1e-4, "b")
