"""The catalogue's texts and pictures to files of vectors."""

from tfx_pipeline.components.content_encoder.component import ContentEncoder

__all__ = ["ContentEncoder"]
