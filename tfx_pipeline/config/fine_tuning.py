"""The section `content.fine_tuning`: vectors that learn from behaviour."""

from __future__ import annotations

from pydantic import Field

from tfx_pipeline.config.values import Integer, Number, Section

SUFFIX = "_tuned"
"""What the name of a modality of tuned vectors adds to that of the modality that they are made of."""


class FineTuning(Section):
    """A projection of each modality, trained on pairs of clicks of the train split; a step of its own, ContentTuner."""

    of: list[str] | None = Field(
        None, min_length=1, description="names of the modalities that are tuned; absent: all. NAME becomes NAME_tuned"
    )
    keep: list[str] | None = Field(
        None, description="names of the modalities whose own vectors stay, beside the tuned ones; absent: all"
    )
    dim: Integer = Field(128, ge=1, description="width of tuned vectors; of a narrower source its width")
    epochs: Integer = Field(20, ge=1, description="at most")
    patience: Integer = Field(3, ge=1, description="epochs without a better recall of the next click before it stops")
    recall_at: Integer = Field(10, ge=1, description="k of that recall, of the eval split among the whole catalogue")
    batch_size: Integer = Field(512, ge=2, description="clicks; each is a negative of the others")
    learning_rate: Number = Field(0.003, gt=0, description="of Adam")
    queue: Integer = Field(2048, ge=0, description="clicks of earlier batches that are negatives too; 0: none")
    momentum: Number = Field(0.99, ge=0, lt=1, description="of the slow copy of the projection that encodes the queue")
    hard_negatives: Integer = Field(
        4, ge=0, description="items shown beside a click and not clicked, that it is told from too; 0: none"
    )
    temperature: Number = Field(0.3, ge=0.01, le=10, description="at the start; it is learned")
    seed: Integer = Field(
        42, ge=0, lt=2**31, description="the same one gives the same vectors on CPU, but for rounding"
    )
