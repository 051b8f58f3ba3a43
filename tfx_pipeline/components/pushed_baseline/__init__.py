"""The model that a candidate is compared with, taken from what was pushed."""

from tfx_pipeline.components.pushed_baseline.component import PushedBaseline

__all__ = ["PushedBaseline"]
