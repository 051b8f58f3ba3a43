"""Models to which an item is its ID and its content side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from dmf_keras.layers import ContentProjection
from dmf_keras.models.configs import JoinedConfig
from dmf_keras.models.inputs import HISTORY_CONTENT_ROW, RankingSchema
from dmf_keras.models.interest_model import InterestModel
from dmf_keras.types import Tensor


class JoinedItems(InterestModel):
    """An `InterestModel` whose items are joined vectors, of candidates and of the history alike.

        x = [e, P_1 m_1 + b_1, ..., P_M m_M + b_M]

    with e the item's vector (ID and columns) and m its frozen unit content vectors; content that is missing is zeros.
    Candidates are projected once each, the history in `encode_user`. To be named before the class that makes the
    interest of items, so that this one sees joined vectors.
    """

    config: JoinedConfig
    uses_content = True

    def __init__(self, schema: RankingSchema, config: JoinedConfig, **kwargs: Any) -> None:
        if config.needs_content and not schema.modalities:
            raise ValueError(f"{type(self).__name__} reads content: `schema.modalities` must name at least one")
        super().__init__(schema, config, **kwargs)

    @property
    def joined(self) -> list[str]:
        """Modalities that are part of the joined vectors: all."""
        return list(self.schema.modalities)

    def item_width(self) -> int:
        """See the base class."""
        return self.config.id_dim + self.config.content_dim * len(self.joined)

    def build_items(self) -> None:
        """Creates the projection of each modality."""
        self.projections = {
            name: ContentProjection(self.config.content_dim, name=f"{name}_projection", dtype=self.dtype_policy)
            for name in self.joined
        }
        for name, layer in self.projections.items():
            layer.build((None, None, self.schema.modalities[name].width))

    def candidate_items(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The joined vectors of the candidates, [B, N, item_width]."""
        content = [layer(*self.candidate_vectors(inputs, name)) for name, layer in self.projections.items()]
        return ops.concatenate([super().candidate_items(inputs), *content], axis=-1)

    def history_items(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The joined vectors of the history, [B, L, item_width]."""
        rows = inputs[HISTORY_CONTENT_ROW]
        content = [layer(*self.content[name](rows)) for name, layer in self.projections.items()]
        return ops.concatenate([super().history_items(inputs), *content], axis=-1)
