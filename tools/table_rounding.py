"""What item tables of fewer bits cost a trained model, in AUC, GAUC and log loss.

    .venv/bin/dmf run --config examples/microlens50k.yaml
    .venv/bin/python -m tools.table_rounding runs/microlens50k/serving/microlens50k \\
        --examples runs/microlens50k/artifacts/BehaviorLogExampleGen/examples/1

Content in int8 is what `content.modalities.NAME.dtype: int8` serves. Content in int4, and the table of item IDs in
int8 and int4, are no options of the pipeline: their values are rounded here, row by row, x to round(s x / m) m / s with
m the largest absolute value of the row and s 127 or 7, and computed with in float32. Content rows keep their length
of 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf
from rich.table import Table

from dmf_keras.layers import ContentEmbedding
from dmf_keras.models.interest_model import InterestModel
from tfx_pipeline.cli import exit_status
from tfx_pipeline.config.schema import SPLITS, Evaluation
from tfx_pipeline.console import console_on, quiet_libraries
from tfx_pipeline.errors import ModelError, PipelineError
from tfx_pipeline.evaluation.candidate_table import CandidateTable, score_rows
from tfx_pipeline.evaluation.item_facts import ItemFacts
from tfx_pipeline.trained.keras_model import KerasModel
from tfx_pipeline.trained.version import Version
from tfx_pipeline.training.rounding import Rounding
from tfx_pipeline.transform.dataset import split_files

# The largest level of a signed number of so many bits, as many below zero as above.
LEVELS = {8: 127, 4: 7}


def rounded(matrix: np.ndarray, bits: int) -> np.ndarray:
    """Float32 [R, D]: each row in whole multiples of a scale of its own; rows of zeros stay.

    Args:
        matrix: float [R, D].
        bits: 8 or 4.
    """
    matrix = np.asarray(matrix, np.float32)
    peak = np.abs(matrix).max(axis=1, keepdims=True)
    scale = np.where(peak > 0, peak, 1) / LEVELS[bits]
    values: np.ndarray = np.rint(matrix / scale) * scale
    return values


def rounded_content(table: ContentEmbedding, bits: int) -> np.ndarray:
    """Float32 [R, D], of length 1 or 0: the vectors of a table if it were kept in so many bits."""
    rows = np.arange(table.rows)
    vectors, present = (np.array(tensor) for tensor in table(rows))
    if bits == 4:
        vectors = rounded(vectors, bits)
    kept = ContentEmbedding(table.rows, table.dim, "int8" if bits == 8 else "float32")
    kept.set_rows(vectors, present)
    return np.array(kept(rows)[0])


def roundings(model: InterestModel) -> Iterator[tuple[str, Callable[[], None]]]:
    """By name, functions that round tables of the model, each for good; the model has all its bits before each."""
    tables = [(table, table.table, table.scale) for table in model.content.values()]
    ids = model.item_embedding.embeddings
    exact = np.array(ids)

    def round_tables(of_content: bool, of_ids: bool, bits: int) -> None:
        for table, _, _ in tables if of_content else ():
            # Both at once: what is looked up next is float32 and of length 1 already.
            table.table, table.scale = tf.constant(rounded_content(table, bits)), None
        if of_ids:
            ids.assign(rounded(exact, bits))

    kinds = {"content": (True, False), "item IDs": (False, True), "both": (True, True)}
    for name, (of_content, of_ids) in kinds.items():
        if of_content and not tables:
            continue
        for bits in LEVELS:
            yield f"{name}, int{bits}", partial(round_tables, of_content, of_ids, bits)
            ids.assign(exact)
            for table, values, scale in tables:
                table.table, table.scale = values, scale


def measure(keras_model: KerasModel, score: Callable[[], CandidateTable]) -> dict[str, Rounding]:
    """What each rounding does to the metrics of what `score` returns, by name.

    Raises:
        ModelError: the model has no table of item IDs.
    """
    model = keras_model.model
    if not isinstance(model, InterestModel):
        raise ModelError(f"{type(model).__name__} is no InterestModel: it has no table of item IDs that is known here")
    exact, found = score(), {}
    for name, round_tables in roundings(model):
        round_tables()
        found[name] = Rounding.of(name, exact, score())
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="table_rounding", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path, metavar="DIR", help="a version, or the folder of versions")
    parser.add_argument("--examples", type=Path, required=True, metavar="DIR", help="of BehaviorLogExampleGen")
    parser.add_argument("--split", choices=SPLITS, default="test", help="default: test")
    parsed = parser.parse_args(arguments)
    try:
        version = Version.find(parsed.model)
        with quiet_libraries(Path("/dev/null")):
            trained, files = KerasModel(version.path), split_files(str(parsed.examples), parsed.split)
            # Metrics of whole splits alone: no slice reads what is known of items.
            facts = ItemFacts.of([], np.zeros(0, np.int64), np.zeros(0, bool), Evaluation())
            found = measure(trained, lambda: score_rows(trained.model, trained.transform, files, facts))
    except PipelineError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return exit_status.ERROR
    table = Table(
        "tables", title=f"{version.path.name}, {parsed.split}: less the tables as trained", title_justify="left"
    )
    names = list(next(iter(found.values())).changes)
    for name in (*names, "largest change of a score"):
        table.add_column(name, justify="right")
    for name, rounding in found.items():
        cells = [f"{c.value:+.5f} [{c.low:+.5f}, {c.high:+.5f}]" for c in rounding.changes.values()]
        table.add_row(name, *cells, f"{rounding.largest_score_difference:.4f}")
    console_on(sys.stdout).print(table)
    return exit_status.OK


if __name__ == "__main__":
    sys.exit(main())
