"""`dmf bench attention`: the factored form of decoupled target attention against what it replaces.

Attention alone: four functions from the same tensors (candidate embeddings [1, N, d], history embeddings [1, L, d],
bucket ids [1, N, L], mask) to the interest [1, N, a]. Projections are inside, those of the history included: early
fusion cannot keep them between requests, and the others are not given what it cannot have.

Whole model: from indices to logits, both towers, as the `rank` signature runs it behind its vocabulary.

All are compiled as they are served: `tf.function` with unknown numbers of requests, candidates and history items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from rich.table import Table

from dmf_keras.layers import DecoupledTargetAttention, EarlyFusionTargetAttention, TargetAttention
from dmf_keras.models.ranking_model import RankingModel
from dmf_keras.ops import decoupled_attention_reference
from tfx_pipeline.console import console
from tfx_pipeline.errors import ModelError
from tfx_pipeline.files.json_record import JsonRecord
from tfx_pipeline.studies.bench import workload
from tfx_pipeline.studies.bench.attention_operations import SHARED, attention_operations
from tfx_pipeline.studies.bench.machine import Machine, machine
from tfx_pipeline.studies.bench.timing import Timing, interleaved

ITEMS, USERS = 50_000, 10_000
# The paper's head.
ATTENTION_DIM, BUCKETS, HIDDEN_UNITS = 64, 35, (1024, 512, 256)
# Float32 results of one formula in two orders of summation.
TOLERANCE = 1e-5
MODALITY = "text"

ID_ONLY, FACTORED, TEXTBOOK, EARLY_FUSION = "id_only", "factored", "textbook", "early_fusion"
MODELS = {ID_ONLY: "target_attention", FACTORED: "dmf_paper", EARLY_FUSION: "early_fusion"}

Function = Callable[..., tf.Tensor]
Functions = dict[str, Callable[[], np.ndarray]]


@dataclass(frozen=True)
class Milliseconds:
    """Times of one function, per call: the median, and what a tenth of the calls was at most, at least."""

    median: float
    p10: float
    p90: float


@dataclass(frozen=True)
class AttentionResult:
    """What was measured with one length of the history.

    Attributes:
        history, candidates: L and N.
        factored_vs_textbook, factored_vs_early_fusion: how many times as fast the factored attention is.
        factored_vs_id_only: how many times as long it takes as attention over ids.
        model_vs_id_only: how many times as long DMF takes as target attention.
        model_vs_early_fusion: how many times as fast it is as early fusion.
        max_abs_difference: the largest between outputs that must be equal.
        milliseconds: of `attention` alone and of the whole `model`, by form.
        operations: the same of the operations of the factored form, each alone; none where they were not asked for.
    """

    history: int
    candidates: int
    factored_vs_textbook: float
    factored_vs_early_fusion: float
    factored_vs_id_only: float
    model_vs_id_only: float
    model_vs_early_fusion: float
    max_abs_difference: float
    milliseconds: Mapping[str, Mapping[str, Milliseconds]]
    operations: Mapping[str, Milliseconds] = field(default_factory=dict)


@dataclass(frozen=True)
class AttentionSetup:
    """Sizes of what was measured, in numbers of an embedding or a layer; `buckets` of similarity."""

    id_dim: int
    attention_dim: int
    buckets: int
    similarity_dim: int
    hidden_units: Sequence[int]


@dataclass(frozen=True)
class AttentionReport(JsonRecord):
    """What `dmf bench attention` measured, as `--json` prints it.

    Attributes:
        results: one per length of the history.
        setup: sizes.
        machine: that was measured on.
    """

    results: Sequence[AttentionResult]
    setup: AttentionSetup
    machine: Machine


def bench_attention(
    histories: Sequence[int],
    *,
    candidates: int,
    id_dim: int,
    similarity_dim: int,
    seconds: float,
    operations: bool = False,
) -> AttentionReport:
    """Times attention and whole models for one user.

    Args:
        histories: lengths L of the history, one measurement each.
        candidates: N.
        id_dim: d, width of an item's embedding.
        similarity_dim: width of E_S, what early fusion joins to the embedding of a history item.
        seconds: how long each length is measured: half of it attention alone, half whole models.
        operations: whether the operations of the factored form are measured too, for half as long.

    Returns:
        `results`, one entry per length, with ratios of median times (`*_vs_textbook` and `*_vs_early_fusion`: how many
        times faster the factored form is; `*_vs_id_only`: its cost as a multiple), the largest difference between
        outputs that must be equal, and the times in milliseconds; `setup`, all other sizes; `machine`.

    Raises:
        ModelError: two forms of one formula differ by more than `TOLERANCE`.
    """
    results = []
    for history in histories:
        with console().status(f"L = {history}: compiling, comparing outputs"):
            layers, layer_difference = attention_functions(candidates, history, id_dim, similarity_dim)
            models, model_difference = model_functions(candidates, history, id_dim, similarity_dim)
        title = f"L = {history}, N = {candidates}"
        alone = interleaved(layers, seconds=seconds / 2, title=f"attention, {title}")
        whole = interleaved(models, seconds=seconds / 2, title=f"models, {title}")
        parts: Mapping[str, Timing] = {}
        if operations:
            named = attention_operations(candidates, history, ATTENTION_DIM, BUCKETS)
            parts = interleaved(named, seconds=seconds / 2, title=f"operations, {title}")
        factored, model = alone[FACTORED].median, whole[FACTORED].median
        results.append(
            AttentionResult(
                history=history,
                candidates=candidates,
                factored_vs_textbook=alone[TEXTBOOK].median / factored,
                factored_vs_early_fusion=alone[EARLY_FUSION].median / factored,
                factored_vs_id_only=factored / alone[ID_ONLY].median,
                model_vs_id_only=model / whole[ID_ONLY].median,
                model_vs_early_fusion=whole[EARLY_FUSION].median / model,
                max_abs_difference=max(layer_difference, model_difference),
                milliseconds={"attention": _rounded(alone), "model": _rounded(whole)},
                operations=_rounded(parts),
            )
        )
    setup = AttentionSetup(id_dim, ATTENTION_DIM, BUCKETS, similarity_dim, HIDDEN_UNITS)
    return AttentionReport(results, setup, machine())


def _rounded(timings: Mapping[str, Timing]) -> dict[str, Milliseconds]:
    return {
        name: Milliseconds(round(time.median, 4), round(time.p10, 4), round(time.p90, 4))
        for name, time in timings.items()
    }


def attention_functions(candidates: int, history: int, id_dim: int, similarity_dim: int) -> tuple[Functions, float]:
    """The four forms of attention for one user, by name, and the largest difference between equal outputs.

    Textbook and early fusion get the weights of the factored form (W_k [e, E_S] = W_ID e + E_K with E_K = E_S W_S), so
    that all three are one function. ID-only target attention gets its projections and equals it with zero tables.
    """
    rng = np.random.default_rng(0)
    inputs = (
        rng.normal(size=(1, candidates, id_dim)).astype(np.float32),
        rng.normal(size=(1, history, id_dim)).astype(np.float32),
        rng.integers(0, BUCKETS + 1, (1, candidates, history), np.int32),
        np.ones((1, history), bool),
    )
    fused = EarlyFusionTargetAttention(ATTENTION_DIM, 1, BUCKETS, [MODALITY], similarity_dim)
    decoupled = DecoupledTargetAttention(ATTENTION_DIM, 1, BUCKETS, [MODALITY])
    id_only = TargetAttention(ATTENTION_DIM, 1)
    for layer in (fused, decoupled, id_only):
        layer.build((None, None, id_dim), (None, None, id_dim))
    [embeddings] = fused.similarity_tables
    embeddings.assign(rng.normal(size=embeddings.shape))
    decouple(fused, decoupled)
    for projection in ("query", "key", "value"):
        getattr(id_only, projection).set_weights(getattr(decoupled, projection).get_weights())

    def textbook(candidates: tf.Tensor, history: tf.Tensor, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        keys, values = decoupled.encode_history(history)
        query = tf.expand_dims(decoupled.query(candidates), 2)
        tables = decoupled.key_tables, decoupled.value_tables
        return decoupled_attention_reference(query, keys, values, [ids], *tables, mask)[0][:, :, 0]

    forms: dict[str, Function] = {
        ID_ONLY: lambda candidates, history, ids, mask: id_only(candidates, history, mask),
        FACTORED: lambda candidates, history, ids, mask: decoupled(candidates, history, [ids], mask),
        TEXTBOOK: textbook,
        EARLY_FUSION: lambda candidates, history, ids, mask: fused(candidates, history, [ids], mask),
    }
    functions = {name: compiled(form, inputs) for name, form in forms.items()}
    difference = largest_difference({name: functions[name] for name in (FACTORED, TEXTBOOK, EARLY_FUSION)})
    return functions, max(difference, _difference_without_tables(functions, decoupled))


def _difference_without_tables(functions: Functions, decoupled: DecoupledTargetAttention) -> float:
    tables = [*decoupled.key_tables, *decoupled.value_tables]
    kept = [table.numpy() for table in tables]
    for table in tables:
        table.assign(tf.zeros_like(table))
    difference = largest_difference({name: functions[name] for name in (FACTORED, ID_ONLY)})
    for table, values in zip(tables, kept, strict=True):
        table.assign(values)
    return difference


def decouple(fused: EarlyFusionTargetAttention, decoupled: DecoupledTargetAttention) -> None:
    """Gives `decoupled` the weights with which it is the same function as `fused`; one modality."""
    decoupled.query.set_weights(fused.query.get_weights())
    [embeddings] = fused.similarity_tables
    pairs = ((fused.key, decoupled.key, decoupled.key_tables), (fused.value, decoupled.value, decoupled.value_tables))
    for fused_projection, projection, [table] in pairs:
        kernel, width = fused_projection.kernel, projection.kernel.shape[0]
        projection.kernel.assign(kernel[:width])
        table.assign(tf.reshape(tf.matmul(embeddings, kernel[width:]), table.shape))


def model_functions(candidates: int, history: int, id_dim: int, similarity_dim: int) -> tuple[Functions, float]:
    """The whole models for one request, by name, and the largest difference between logits that must be equal.

    DMF in the form of its paper gets the weights of early fusion with which it is the same function.
    """
    schema = workload.schema(items=ITEMS, users=USERS)
    common = {"id_dim": id_dim, "hidden_units": HIDDEN_UNITS, "attention_dim": ATTENTION_DIM}
    content = common | {"buckets": BUCKETS}
    params = {ID_ONLY: common, FACTORED: content, EARLY_FUSION: content | {"similarity_dim": similarity_dim}}
    models = {name: workload.model(registered, params[name], schema) for name, registered in MODELS.items()}
    fused = models[EARLY_FUSION]
    # New embeddings are almost zero: nothing that attention does with them would show in the logits.
    for embeddings in (fused.item_embedding.embeddings, *fused.attention.similarity_tables):
        embeddings.assign(np.random.default_rng(0).normal(size=embeddings.shape))
    _copy_weights(fused, models[FACTORED])
    inputs = workload.requests(schema, batch=1, candidates=candidates, history=history)
    functions = {name: compiled(model, (inputs,)) for name, model in models.items()}
    return functions, largest_difference({name: functions[name] for name in (FACTORED, EARLY_FUSION)})


def _copy_weights(fused: RankingModel, decoupled: RankingModel) -> None:
    decouple(fused.attention, decoupled.attention)
    attention = {variable.path for layer in (fused.attention, decoupled.attention) for variable in layer.variables}
    source, target = (
        [variable for variable in model.variables if variable.path not in attention] for model in (fused, decoupled)
    )
    for given, taking in zip(source, target, strict=True):
        taking.assign(given)


def compiled(function: Function, arguments: Sequence[Any]) -> Callable[[], np.ndarray]:
    """`function` as a graph of unknown dimensions, bound to `arguments`; a call waits for the result."""
    tensors = tf.nest.map_structure(tf.constant, tuple(arguments))
    signature = tf.nest.map_structure(_signature, tensors)
    graph = tf.function(function, input_signature=signature).get_concrete_function()
    return lambda: graph(*tensors).numpy()


def _signature(tensor: tf.Tensor) -> tf.TensorSpec:
    # The width of embeddings is a model's own; everything else is the request's.
    known = [tensor.shape[-1]] if tensor.dtype.is_floating else [None]
    return tf.TensorSpec([None] * (len(tensor.shape) - 1) + known, tensor.dtype)


def largest_difference(functions: Functions) -> float:
    """The largest absolute difference between the outputs of functions that must be equal.

    Raises:
        ModelError: it is above `TOLERANCE`, or an output is not finite.
    """
    outputs = {name: function() for name, function in functions.items()}
    first, *others = outputs
    largest = 0.0
    for name in others:
        difference = float(np.max(np.abs(outputs[name] - outputs[first])))
        # Not `difference > TOLERANCE`: that is false for NaN.
        if not difference <= TOLERANCE:
            raise ModelError(
                f"{first} and {name} are not the same function: outputs differ by {difference:.3g}, expected at most "
                f"{TOLERANCE:g}. Times of different results are not compared; run the tests of dmf_keras"
            )
        largest = max(largest, difference)
    return largest


def attention_table(report: AttentionReport) -> Table:
    """What `bench_attention` returns, for a reader."""
    table = Table(title=f"one user, d = {report.setup.id_dim}: median milliseconds (p10 to p90)", title_justify="left")
    table.add_column("L", justify="right")
    table.add_column("N", justify="right")
    table.add_column("what")
    names = (ID_ONLY, FACTORED, TEXTBOOK, EARLY_FUSION)
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for result in report.results:
        for what, times in result.milliseconds.items():
            cells = [_cell(times[name]) if name in times else "" for name in names]
            table.add_row(str(result.history), str(result.candidates), what, *cells)
    return table


def operations_table(result: AttentionResult) -> Table:
    """The operations of the factored form, for a reader."""
    table = Table(
        title=f"the factored form by operation, N = {result.candidates}, L = {result.history}", title_justify="left"
    )
    table.add_column("operation")
    table.add_column("ms (p10 to p90)", justify="right")
    table.add_column("")
    for name, time in result.operations.items():
        table.add_row(name, _cell(time), "also in ID-only" if name in SHARED else "")
    table.add_row("all", f"{sum(time.median for time in result.operations.values()):.2f}", "")
    return table


def _cell(time: Milliseconds) -> str:
    return f"{time.median:.2f} ({time.p10:.2f} to {time.p90:.2f})"


def attention_summary(report: AttentionReport) -> list[str]:
    """One sentence or two per length of history."""
    return [
        f"L = {result.history}: attention {result.factored_vs_textbook:.1f}x faster than textbook, "
        f"{result.factored_vs_early_fusion:.1f}x than early fusion, at {result.factored_vs_id_only:.2f}x the "
        f"time of ID-only; model {result.model_vs_early_fusion:.1f}x faster than early fusion, at "
        f"{result.model_vs_id_only:.2f}x the time of ID-only. Outputs differ by at most "
        f"{result.max_abs_difference:.1e}."
        for result in report.results
    ]
