"""What became of a fine-tuning: the `fine_tuning.json` beside the content table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tfx_pipeline.files.json_record import JsonRecord


@dataclass(frozen=True)
class TunedEpoch:
    """One epoch.

    Attributes:
        loss: mean of its batches, summed over levels; None before the first epoch.
        recall: of the next click on eval, at `recall_at`.
        temperatures: by level, at its end.
        seconds: that it took, the recall included.
    """

    loss: float | None
    recall: float
    temperatures: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class FineTuningRecord(JsonRecord):
    """Of one fine-tuning.

    Attributes:
        of: names of the modalities that were tuned.
        widths: of their sources and of the tuned vectors, by name.
        clicks: of train that follow a click, which is what it learned from.
        users: who made them.
        last_time: of the requests of train that it was given, ISO 8601 in UTC.
        eval_from: the first moment of the eval split, which must be later.
        judged: clicks of eval that the recall is of.
        recall_at: its k.
        epochs: the first is the state before training, a reduction by PCA.
        best: which of them the vectors are of; 0: nothing that was learned was better on eval.
    """

    of: tuple[str, ...]
    widths: Mapping[str, tuple[int, int]]
    clicks: int
    users: int
    last_time: str
    eval_from: str
    judged: int
    recall_at: int
    epochs: tuple[TunedEpoch, ...]
    best: int

    @property
    def before(self) -> float:
        """Recall of the next click on eval before training."""
        return self.epochs[0].recall

    @property
    def after(self) -> float:
        """And of the vectors that were kept."""
        return self.epochs[self.best].recall
