"""Memory: nothing of shape [N, L, width] in the compiled graph, of scoring or of a training step.

Every tensor of a graph with static shapes is looked at, before any optimiser has seen it. The largest that a model may
hold has one number per head and (candidate, history item) pair. Forms that have a vector per pair must break this rule.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import pytest
import tensorflow as tf

from dmf_keras.models import ModalitySpec, RankingSchema, build_model, interest_model, model_config, model_names
from dmf_keras.ops import decoupled_attention, decoupled_attention_reference

BATCH, CANDIDATES, HISTORY, HEADS = 3, 37, 83, 2
PAIRS = BATCH * CANDIDATES * HISTORY
# Small enough for all weights and all tensors [B, N, width] and [B, L, width] to have fewer numbers than there are
# pairs; wide enough for any vector per pair to have more than the heads.
SCHEMA = RankingSchema(
    item_rows=60,
    content_rows=60,
    modalities={"text": ModalitySpec(12)},
    user_rows=20,
    item_codes=(6, 6, 6),
    item_statistics=("impressions",),
)
PARAMS: dict[str, Any] = {
    "id_dim": 16,
    "hidden_units": (16, 8),
    "attention_dim": 32,
    "heads": HEADS,
    "buckets": 9,
    "interest_dim": 16,
    "branch_hidden": (16,),
    "similarity_dim": 8,
    "content_dim": 8,
    "recent": 4,
    "bins": 4,
    "bin_dim": 3,
    "gate_units": 8,
    "pair_rows": 36,
    "dim": 8,
}
INPUTS = {
    "history_index": tf.TensorSpec((BATCH, HISTORY), tf.int32),
    "history_content_row": tf.TensorSpec((BATCH, HISTORY), tf.int32),
    "user_index": tf.TensorSpec((BATCH,), tf.int32),
    "candidate_index": tf.TensorSpec((BATCH, CANDIDATES), tf.int32),
    "candidate_content_row": tf.TensorSpec((BATCH, CANDIDATES), tf.int32),
}


def graphs(graph: Any) -> Iterator[Any]:
    """The graph and those of the functions it calls, however deep."""
    yield graph
    for operation in graph.get_operations():
        for attribute in operation.node_def.attr.values():
            for called in (attribute.func, *attribute.list.func):
                if called.name:
                    yield from graphs(graph._get_function(called.name).graph)


def tensors(function: Any, *specs: Any) -> list[tf.Tensor]:
    """Every tensor in the graph of `function` for arguments of `specs`."""
    return [
        tensor
        for graph in graphs(tf.function(function).get_concrete_function(*specs).graph)
        for operation in graph.get_operations()
        # What BroadcastGradientArgs returns are axes, at most as many as there are dimensions.
        if operation.type != "BroadcastGradientArgs"
        for tensor in operation.outputs
        if tensor.dtype not in (tf.resource, tf.variant)
    ]


def too_large(found: list[tf.Tensor], heads: int) -> list[str]:
    """Tensors that have more than one number per head and pair, or could have."""
    return [
        f"{tensor.op.type} {tensor.name} {tensor.shape}"
        for tensor in found
        if not tensor.shape.is_fully_defined() or math.prod(tensor.shape) > heads * PAIRS
    ]


def scoring(model: Any) -> list[tf.Tensor]:
    return tensors(model, INPUTS)


def training_step(model: Any) -> list[tf.Tensor]:
    """Forward pass, loss, gradients and Adam's update."""
    model.compile("adam", jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    labels = tf.TensorSpec((BATCH, CANDIDATES), tf.float32)
    return tensors(lambda x, y: model.train_step((x, y)), INPUTS, labels)


def build(name: str) -> Any:
    known = model_config(name, {}).to_dict()
    return build_model(name, {key: value for key, value in PARAMS.items() if key in known}, SCHEMA, seed=0)


def numbers_per_pair(model: Any) -> int:
    """A model with soft bins has a number per bin and pair, but no vector as wide as an item's."""
    return max(getattr(model.config, "heads", 1), getattr(model.config, "bins", 1))


FACTORED = [name for name in model_names() if name not in ("din", "early_fusion", "make")]


@pytest.fixture
def items_where_they_stand(monkeypatch):
    """Graphs do not know how many distinct items a history has."""
    monkeypatch.setattr(interest_model, "CAN_TELL_DISTINCT", False)


@pytest.mark.usefixtures("items_where_they_stand")
@pytest.mark.parametrize("name", FACTORED)
def test_no_vector_per_pair(name):
    model = build(name)
    numbers = numbers_per_pair(model)
    assert too_large(scoring(model), numbers) == []
    assert too_large(training_step(model), numbers) == []


@pytest.mark.parametrize("name", ["dmf", "target_attention", "mean_pooling"])
def test_no_vector_per_pair_with_ages(name):
    schema = dataclasses.replace(SCHEMA, history_age_buckets=9)
    known = model_config(name, {}).to_dict()
    model = build_model(name, {key: value for key, value in PARAMS.items() if key in known}, schema, seed=0)
    found = tensors(model, {**INPUTS, "history_age": tf.TensorSpec((BATCH, HISTORY), tf.float32)})
    assert too_large(found, getattr(model.config, "heads", 1)) == []


@pytest.mark.parametrize("name", FACTORED)
def test_what_is_made_once_is_of_the_history_alone(name):
    """Where graphs do not know the size of a tensor, it has no dimension of candidates; the others obey the rule."""
    model = build(name)
    found = training_step(model)
    unknown = [tensor for tensor in found if not tensor.shape.is_fully_defined()]
    known = [tensor for tensor in found if tensor.shape.is_fully_defined()]
    assert too_large(known, numbers_per_pair(model)) == []
    assert [tensor.shape for tensor in unknown if tensor.shape.rank and CANDIDATES in tensor.shape] == []


@pytest.mark.usefixtures("items_where_they_stand")
@pytest.mark.parametrize("name", ["early_fusion", "din", "make"])
def test_the_rule_sees_models_that_have_one(name):
    model = build(name)
    heads = getattr(model.config, "heads", 1)
    assert any(f"({BATCH}, {CANDIDATES}, {HISTORY}, " in tensor for tensor in too_large(scoring(model), heads))
    assert len(too_large(training_step(model), heads)) > len(too_large(scoring(model), heads))


@pytest.mark.parametrize("gradients", [False, True])
def test_the_rule_tells_the_factored_form_from_the_textbook(gradients):
    width = 8
    floats = [(BATCH, CANDIDATES, HEADS, width), (BATCH, HISTORY, HEADS, width), (BATCH, HISTORY, HEADS, width)]
    floats += [(10, HEADS, width), (10, HEADS, width)]
    specs = [tf.TensorSpec(shape, tf.float32) for shape in floats]
    ids = tf.TensorSpec((BATCH, CANDIDATES, HISTORY), tf.int32)
    mask = tf.TensorSpec((BATCH, HISTORY), tf.bool)

    def graph_of(form):
        def function(query, keys, values, key_table, value_table, ids, mask):
            arguments = [query, keys, values, key_table, value_table]
            with tf.GradientTape() as tape:
                tape.watch(arguments)
                interest, _ = form(query, keys, values, [ids], [key_table], [value_table], mask)
            return tape.gradient(interest, arguments) if gradients else interest

        return tensors(function, *specs, ids, mask)

    assert too_large(graph_of(decoupled_attention), HEADS) == []
    textbook = too_large(graph_of(decoupled_attention_reference), HEADS)
    assert any(f"({BATCH}, {CANDIDATES}, {HISTORY}, {HEADS}, {width})" in tensor for tensor in textbook)


def test_nested_functions_are_looked_into():
    @tf.function
    def inner(x):
        return tf.reduce_sum(tf.tile(x, [2 * HEADS * PAIRS]))

    def outer(x):
        return tf.cond(x[0] > 0, lambda: inner(x), lambda: 0.0)

    found = too_large(tensors(outer, tf.TensorSpec((1,), tf.float32)), HEADS)
    assert [line.split()[0] for line in found] == ["Tile"]
