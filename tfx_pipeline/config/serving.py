"""The section about what is pushed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tfx_pipeline.config.values import Integer, Number, Section, StoredPath


class Serving(Section):
    """What is pushed and how it is checked first."""

    later = frozenset({"precision", "score"})

    push_dir: StoredPath | None = Field(
        None,
        description="base of versions for TensorFlow Serving, a folder or an address such as `s3://bucket/models`; "
        "default OUTPUT/serving/NAME",
    )
    # Of each five requests, and one of `explain`: TensorFlow Serving takes no more than 1000.
    warmup_candidates: list[Annotated[Integer, Field(ge=1)]] = Field([1, 100, 1200], min_length=1, max_length=199)
    max_score_difference: Number = Field(1e-4, gt=0, description="between Keras, SavedModel and the two-step path")
    calibration: Literal["none", "platt", "isotonic"] = Field(
        "none",
        description="fitted on eval after training and exported with the model: 'platt' scales and shifts the logits, "
        "'isotonic' takes the best rising steps, which needs tens of thousands of impressions; the order of scores "
        "stays; of several objectives the first is calibrated",
    )
    score: str | None = Field(
        None,
        description="of several objectives: what `score` is, of names, numbers, + - * / ** and parentheses; absent: "
        "the first. A name is the probability by itself, of an objective with `given` p(this given that)",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="of head and branches, whose weights then take half the memory too; all else is float32. The gate "
        "compares scores and eval metrics with those in float32. Faster on processors with amx_bf16, and on some with "
        "avx512_bf16; slower on others: `dmf bench serving --precision both` says",
    )
    explain: bool = Field(False, description="export the signature `explain` too, which says why a score is what it is")
