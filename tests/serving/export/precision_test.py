"""A model that is exported in bfloat16 scores nearly as in float32, and nobody who asks has to know."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from serving import contract
from serving.export.content_inputs import ContentInputs
from serving.export.servable import Servable
from serving.export.signatures import export_model, score_requests
from tests.serving.export.small_models import VocabularyTransform, raw_requests, small_model


@pytest.fixture(scope="module")
def model():
    return small_model("dmf")


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("precision") / "1"
    served = model.for_serving("bfloat16")
    export_model(served, VocabularyTransform(), directory, name="dmf", max_history=50, explain=True)
    return directory


def test_the_contract_says_so_and_tensors_are_float32(exported):
    written = contract.ModelContract.read(exported)
    assert written.precision == contract.BFLOAT16
    assert written.tolerance == contract.SCORE_TOLERANCE[contract.BFLOAT16]
    dtypes = {spec.dtype for sides in written.signatures.values() for side in sides.values() for spec in side.values()}
    assert dtypes <= {"string", "float32", "bool", "int32"}
    of_float32 = json.loads(contract.ModelContract("dmf", 50, {}).to_json())
    assert "precision" not in of_float32


@pytest.mark.parametrize("optimised", [False, True])
def test_scores_are_near_and_equal_by_every_way(model, exported, optimised):
    raw = raw_requests()
    live = score_requests(
        model, VocabularyTransform(), {key: tf.constant(value) for key, value in raw.items()}, ContentInputs(model)
    ).numpy()
    candidates = raw.pop(contract.CANDIDATE_ITEM_ID)
    both = {**raw, contract.CANDIDATE_ITEM_ID: candidates}
    with Servable(exported, optimised=optimised) as servable:
        rank = servable.run(contract.RANK, both)[contract.SCORE]
        state = servable.run(contract.USER_TOWER, raw)
        told = servable.run(contract.EXPLAIN, both)
        two_step = servable.run(contract.CANDIDATE, {**state, contract.CANDIDATE_ITEM_ID: candidates})[contract.SCORE]
        alone = [
            servable.run(contract.RANK, {key: value[row : row + 1] for key, value in both.items()})[contract.SCORE][0]
            for row in range(len(candidates))
        ]
    np.testing.assert_allclose(rank, live, atol=0.02)
    assert np.abs(rank - live).max() > 1e-5, "as in float32: nothing is rounded"
    np.testing.assert_allclose(two_step, rank, atol=1e-6)
    np.testing.assert_allclose(told[contract.SCORE], rank, atol=1e-6)
    # One request takes another way through the first layer, and is rounded at other places.
    np.testing.assert_allclose(alone, rank, atol=0.02)


def test_kernels_are_constants_where_they_are_used(exported):
    read = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    (graph,) = read.meta_graphs
    constants = [
        node.attr["value"].tensor
        for function in graph.graph_def.library.function
        for node in function.node_def
        if node.op == "Const" and node.attr["dtype"].type == tf.bfloat16.as_datatype_enum
    ]
    shapes = {tuple(dim.size for dim in tensor.tensor_shape.dim) for tensor in constants}
    wide = {shape for shape in shapes if len(shape) == 2}
    assert {tuple(layer.kernel.shape) for layer in small_model("dmf").head.tail if hasattr(layer, "kernel")} & wide
    # Those of the branches of a condition too, which would get the kernel as an argument from outside.
    for function in graph.graph_def.library.function:
        if "cond_true" in function.signature.name and any(node.op == "MatMul" for node in function.node_def):
            assert any(
                node.op == "Const" and node.attr["dtype"].type == tf.bfloat16.as_datatype_enum
                for node in function.node_def
            )
            break
    else:
        pytest.fail("no condition on the number of requests")
