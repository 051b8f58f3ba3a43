"""Content vectors and the clicks of train to vectors whose closeness means interest."""

from tfx_pipeline.components.content_tuner.component import ContentTuner

__all__ = ["ContentTuner"]
