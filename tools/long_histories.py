"""What `history_top_k` costs: a mask over all pairs, against gathering what is kept, against no cut.

    .venv/bin/python -m tools.long_histories
    .venv/bin/python -m tools.long_histories --history 4000 --top-k 200 --seconds 30

One user, from content vectors, candidate embeddings, keys and values to the interest (similarities, buckets, factored
attention), and `rank` of whole models from indices to logits. Forms of the cut are first compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import tensorflow as tf
from rich.table import Table

from dmf_keras.ops import decoupled_attention, equal_width_buckets
from dmf_keras.ops.bucketing import flat_index, gather_by_index, sum_by_index
from dmf_keras.ops.masked import softmax
from dmf_keras.ops.most_similar import most_similar
from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import count, positive
from tfx_pipeline.cli.bench.measuring import measured, print_report
from tfx_pipeline.errors import PipelineError
from tfx_pipeline.studies.bench import workload
from tfx_pipeline.studies.bench.attention import (
    ATTENTION_DIM,
    BUCKETS,
    HIDDEN_UNITS,
    ITEMS,
    USERS,
    compiled,
    largest_difference,
)
from tfx_pipeline.studies.bench.machine import machine
from tfx_pipeline.studies.bench.timing import Timing, interleaved

WHOLE, MASKED, GATHERED, SCATTERED = "no cut", "mask", "gathered", "gathered weights"
MODELS = ("dmf_paper", "dmf", "simtier")

Functions = dict[str, Callable[[], np.ndarray]]


def attention_forms(candidates: int, history: int, top_k: int) -> Functions:
    """The interest [1, N, A] by form; no two pairs are equally similar, so that the cuts keep the same.

    Raises:
        ModelError: the forms of the cut differ.
    """
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    content = [drawn(1, items, workload.CONTENT_WIDTH) for items in (candidates, history)]
    content = [vectors / np.linalg.norm(vectors, axis=-1, keepdims=True) for vectors in content]
    items = (drawn(1, candidates, 1, ATTENTION_DIM), *(drawn(1, history, 1, ATTENTION_DIM) for _ in range(2)))
    tables = [tf.constant(drawn(BUCKETS + 1, 1, ATTENTION_DIM)) for _ in range(2)]
    forms = {WHOLE: partial(_over_all, None), MASKED: partial(_over_all, top_k)}
    forms |= {GATHERED: partial(_over_kept, top_k, True), SCATTERED: partial(_over_kept, top_k, False)}
    functions = {name: compiled(partial(form, tables), (*content, *items)) for name, form in forms.items()}
    largest_difference({name: functions[name] for name in (MASKED, GATHERED, SCATTERED)})
    return functions


def _over_all(
    top_k: int | None,
    tables: Sequence[tf.Tensor],
    content: tf.Tensor,
    history_content: tf.Tensor,
    query: tf.Tensor,
    keys: tf.Tensor,
    values: tf.Tensor,
) -> tf.Tensor:
    """As the models do it; with `top_k` what is not kept is masked."""
    cosines = tf.matmul(content, history_content, transpose_b=True)
    mask = tf.ones(tf.shape(history_content)[:2], tf.bool)
    kept = None
    if top_k is not None:
        kept = most_similar(top_k, [cosines], [tf.ones(tf.shape(content)[:2], tf.bool)], [mask], mask)
    [key_table, value_table], buckets = tables, equal_width_buckets(cosines, BUCKETS)
    return decoupled_attention(query, keys, values, [buckets], [key_table], [value_table], mask, pair_mask=kept)[0]


def _over_kept(
    top_k: int,
    vectors: bool,
    tables: Sequence[tf.Tensor],
    content: tf.Tensor,
    history_content: tf.Tensor,
    query: tf.Tensor,
    keys: tf.Tensor,
    values: tf.Tensor,
) -> tf.Tensor:
    """Of what is kept: keys and values gathered, [N, k, A]; or products gathered and weights put back, [N, L].

    One request and one head. Ties are cut by place, and a history must be longer than `top_k`.
    """
    cosines = tf.matmul(content, history_content, transpose_b=True)[0]
    similar, places = tf.math.top_k(cosines, top_k, sorted=False)
    query, keys, values = (tensor[0, :, 0] for tensor in (query, keys, values))
    query *= ATTENTION_DIM**-0.5
    [key_table, value_table] = [table[:, 0] for table in tables]
    candidates, length = tf.shape(cosines)[0], tf.shape(cosines)[1]
    flat = tf.reshape(places + tf.range(candidates)[:, None] * length, [-1])
    if vectors:
        logits = tf.matmul(tf.gather(keys, places), query[:, :, None])[..., 0]
    else:
        products = tf.reshape(tf.matmul(query, keys, transpose_b=True), [-1])
        logits = tf.reshape(tf.gather(products, flat), tf.shape(places))
    index = flat_index(equal_width_buckets(similar, BUCKETS), BUCKETS + 1)
    weights = softmax(logits + gather_by_index(tf.matmul(query, key_table, transpose_b=True), index, top_k))
    if vectors:
        interest = tf.matmul(weights[:, None], tf.gather(values, places))[:, 0]
    else:
        spread = tf.scatter_nd(flat[:, None], tf.reshape(weights, [-1]), [candidates * length])
        interest = tf.matmul(tf.reshape(spread, [candidates, length]), values)
    interest += tf.matmul(sum_by_index(weights, index, BUCKETS + 1), value_table)
    return interest[None, :, None]


def rank_functions(candidates: int, history: int, top_k: int) -> Functions:
    """`rank` of each of `MODELS`, without and with the cut, by label: from indices to logits, the paper's head."""
    schema = workload.schema(items=ITEMS, users=USERS)
    inputs = workload.requests(schema, batch=1, candidates=candidates, history=history)
    params = {"id_dim": 64, "hidden_units": HIDDEN_UNITS, "attention_dim": ATTENTION_DIM, "buckets": BUCKETS}
    models = {
        label: workload.model(name, {**params, **cut}, schema)
        for name in MODELS
        for label, cut in ((name, {}), (f"{name}, cut", {"history_top_k": top_k}))
    }
    return {label: compiled(model, (inputs,)) for label, model in models.items()}


def measure(histories: Sequence[int], *, candidates: int, top_k: int, seconds: float) -> Table:
    """A table of milliseconds: a line per form and model, a column per length of the history."""
    columns: list[dict[str, Timing]] = []
    for history in histories:
        title = f"N = {candidates}, L = {history}, k = {top_k}"
        forms = attention_forms(candidates, history, top_k)
        alone = interleaved(forms, seconds=seconds, title=f"attention, {title}")
        ranked = interleaved(rank_functions(candidates, history, top_k), seconds=seconds, title=f"rank, {title}")
        columns.append({f"attention: {name}": timing for name, timing in alone.items()} | ranked)
    table = Table("", *(f"L = {history}" for history in histories), title=f"ms (p10), N = {candidates}, k = {top_k}")
    for name in columns[0]:
        table.add_row(name, *(f"{column[name].median:.1f} ({column[name].p10:.1f})" for column in columns))
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="long_histories", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--history", type=count, nargs="+", default=[1000, 4000], metavar="L")
    parser.add_argument("--candidates", type=count, default=1200, metavar="N", help="default: 1200")
    parser.add_argument("--top-k", type=count, default=50, metavar="K", help="below every L; default: 50")
    parser.add_argument("--seconds", type=positive, default=15.0, metavar="S", help="of each measurement; default: 15")
    parsed = parser.parse_args(arguments)
    if parsed.top_k >= min(parsed.history):
        parser.error(f"--top-k: must be below every --history, got {parsed.top_k}")
    sizes = {"candidates": parsed.candidates, "top_k": parsed.top_k, "seconds": parsed.seconds}
    try:
        table = measured(lambda: measure(parsed.history, **sizes))
    except PipelineError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return exit_status.ERROR
    print_report(machine(), table)
    return exit_status.OK


if __name__ == "__main__":
    sys.exit(main())
