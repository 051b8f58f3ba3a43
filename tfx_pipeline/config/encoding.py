"""What encoding needs of the configuration, and nothing else: a change elsewhere must not invalidate its cache."""

from __future__ import annotations

from collections.abc import Iterable

from tfx_pipeline.config.content import Modality
from tfx_pipeline.config.encoders import Encoders
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.config.values import Section

# How vectors are reduced and kept afterwards is no matter of theirs.
_OF_FILES = ("path", "id_column", "embedding_column", "width")


class EncodingConfig(Section):
    """The catalogue, encoders, and the modalities that these write or learn from."""

    items: ItemTable
    modalities: dict[str, Modality]
    encoders: Encoders

    @classmethod
    def of(cls, config: PipelineConfig, names: Iterable[str] | None = None) -> EncodingConfig:
        """The part of `config` that decides what encoders make.

        Args:
            config: the validated configuration.
            names: of its encoders; None: all of them.
        """
        encoders = {name: config.encoders[name] for name in (config.encoders if names is None else names)}
        read = {*encoders, *(getattr(encoder, "against", None) for encoder in encoders.values())}
        modalities = {
            name: Modality(**{key: getattr(modality, key) for key in _OF_FILES})
            for name, modality in config.content.modalities.items()
            if name in read
        }
        items = config.data.items.model_copy(update={"title_column": None})
        return cls(items=items, modalities=modalities, encoders=encoders)
