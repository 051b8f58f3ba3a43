"""Pure functions on tensors; the layers are thin classes around them."""

from dmf_keras.ops.bucketing import (
    bucketize,
    equal_width_buckets,
    equal_width_edges,
    gather_by_bucket,
    quantile_edges,
    sum_by_bucket,
)
from dmf_keras.ops.decoupled_attention import decoupled_attention
from dmf_keras.ops.decoupled_attention_reference import decoupled_attention_reference
from dmf_keras.ops.masked import masked_mean, masked_softmax

__all__ = [
    "bucketize",
    "decoupled_attention",
    "decoupled_attention_reference",
    "equal_width_buckets",
    "equal_width_edges",
    "gather_by_bucket",
    "masked_mean",
    "masked_softmax",
    "quantile_edges",
    "sum_by_bucket",
]
