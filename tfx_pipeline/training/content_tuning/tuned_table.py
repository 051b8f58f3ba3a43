"""A content table with tuned vectors beside, or in place of, those that they are made of."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfx_pipeline.config.content import Content
from tfx_pipeline.data.content.build import build_modality
from tfx_pipeline.data.content.projection import projected_matrix
from tfx_pipeline.data.content.table import ContentMatrix, ItemContentTable
from tfx_pipeline.errors import LeakageError
from tfx_pipeline.evaluation.requests import Requests
from tfx_pipeline.training.content_tuning.fine_tuning import Tuned, fine_tune
from tfx_pipeline.training.content_tuning.heads import Source
from tfx_pipeline.training.content_tuning.record import FineTuningRecord, TunedEpoch


def tune_table(
    table: ItemContentTable,
    content: Content,
    train: Requests,
    judged: Requests,
    eval_from: str,
    watch: Callable[[int, TunedEpoch], None] = lambda number, epoch: None,
    state: Path | None = None,
) -> tuple[ItemContentTable, FineTuningRecord]:
    """Fine-tunes the modalities that the configuration names.

    What is tuned are embeddings at the width that their encoder gave them, whatever the table reduced them to. A tuned
    modality has a vector of every item that its source has one of: also of items that nobody has clicked.

    Args:
        table: of ItemContentGen.
        content: section `content` of the configuration, with `fine_tuning`.
        train: requests of the train split.
        judged: requests of the eval split.
        eval_from: its first moment, ISO 8601.
        watch, state: see `fine_tune`.

    Raises:
        LeakageError: a request of `train` is not before `eval_from`.
        DataError: embeddings that cannot be read, or no click that follows a click.
    """
    settings = content.fine_tuning
    assert settings is not None, "there is nothing to tune without the section"
    last = check_before(train, eval_from)
    ids = pa.array(table.item_ids, pa.large_string())
    matrices = {
        name: build_modality(
            source, content.modalities[source].model_copy(update={"dim": None}), ids, content.max_unknown_fraction
        )
        for name, source in content.tuned.items()
    }
    sources = {name: Source(matrix.vectors, matrix.present) for name, matrix in matrices.items()}
    tuned = fine_tune(sources, train, judged, settings, watch, state)
    modalities = {name: table.modalities[name] for name in content.kept}
    modalities |= {name: tuned_matrix(matrix, tuned.kernels[name]) for name, matrix in matrices.items()}
    return dataclasses.replace(table, modalities=modalities), _record(content, modalities, tuned, last, eval_from)


def check_before(train: Requests, eval_from: str) -> str:
    """The time of the last request, ISO 8601; histories are before their requests, as the audit of ingestion says.

    Raises:
        LeakageError: it is not before `eval_from`.
    """
    cut = dt.datetime.fromisoformat(eval_from)
    last = dt.datetime.fromtimestamp(int(train.times.max(initial=0)) / 1e6, dt.UTC)
    if last >= (cut if cut.tzinfo else cut.replace(tzinfo=dt.UTC)):
        late = int((train.times >= cut.timestamp() * 1e6).sum())
        raise LeakageError(
            f"content.fine_tuning: {late} requests of the train split are not before {eval_from}, where eval begins, "
            f"the last is of {last.isoformat()}; content must not learn from what comes later. Generate the examples "
            "again: dmf run --no-cache BehaviorLogExampleGen"
        )
    return last.isoformat()


def tuned_matrix(source: ContentMatrix, kernel: np.ndarray) -> ContentMatrix:
    """What a projection makes of a modality.

    It is stored as a reduction is: `basis` takes the encoder's unit vectors to the table's, so that a request may carry
    vectors of new items as before.

    Args:
        source: at the encoder's width.
        kernel: float32 [width, dim].
    """
    # As long as a reduction by PCA leaves vectors, which is what "too short for a direction" goes by.
    return projected_matrix(source, (kernel / np.linalg.norm(kernel, 2)).astype(np.float32))


def _record(
    content: Content, modalities: dict[str, ContentMatrix], tuned: Tuned, last: str, eval_from: str
) -> FineTuningRecord:
    assert content.fine_tuning is not None
    return FineTuningRecord(
        of=tuple(content.tuned.values()),
        widths={name: (modalities[name].source_width, modalities[name].width) for name in content.tuned},
        clicks=tuned.clicks,
        users=tuned.users,
        last_time=last,
        eval_from=eval_from,
        judged=tuned.judged,
        recall_at=content.fine_tuning.recall_at,
        epochs=tuned.epochs,
        best=tuned.best,
    )
