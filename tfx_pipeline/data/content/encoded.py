"""Vectors that a step of the pipeline made, in the place of the files that the configuration names."""

from __future__ import annotations

from pathlib import Path

from tfx_pipeline.config.content import Content
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import Address, join, local


def with_encoded(content: Content, encoded: Address | None) -> Content:
    """The section whose modalities are read from what ContentEncoder left, where it has made them.

    Args:
        content: the section of the configuration.
        encoded: folder of its output; None: there is no such step.
    """
    if encoded is None:
        return content
    made: dict[str, Path] = {
        name: file
        for name in content.modalities
        if (file := local(join(encoded, f"{name}{artifact_files.ENCODED}"))).is_file()
    }
    modalities = {
        name: modality.model_copy(update={"path": made[name]}) if name in made else modality
        for name, modality in content.modalities.items()
    }
    return content.model_copy(update={"modalities": modalities})
