"""Models that see how alike the content of candidate and history is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from dmf_keras.layers import SimilarityBuckets
from dmf_keras.models import explanation
from dmf_keras.models.configs import SimilarityConfig
from dmf_keras.models.inputs import CANDIDATE_INDEX, HISTORY_CONTENT_ROW, HISTORY_INDEX, RankingSchema
from dmf_keras.models.interest_model import HISTORY_MASK, InterestModel
from dmf_keras.ops.most_similar import most_similar
from dmf_keras.types import Tensor


def history_vectors(modality: str) -> str:
    """State name of the history's unit content vectors, float32 [B, L, D]."""
    return f"history_vectors_{modality}"


def history_present(modality: str) -> str:
    """State name of which history items have content, bool [B, L]."""
    return f"history_present_{modality}"


class SimilarityModel(InterestModel):
    """An `InterestModel` with a similarity bucket per (candidate, history item) pair and modality.

    One bucketing serves everything that a model makes of it.
    """

    config: SimilarityConfig

    def __init__(self, schema: RankingSchema, config: SimilarityConfig, **kwargs: Any) -> None:
        super().__init__(schema, config, **kwargs)
        if not schema.modalities:
            raise ValueError(f"{type(self).__name__} compares content: `schema.modalities` must name at least one")
        # Instances for further histories compare by the same buckets, and are made before there are any.
        self.similarity: dict[str, SimilarityBuckets] = {}
        if kwargs.get("items_of") is not None:
            return
        self.similarity = {
            name: SimilarityBuckets(
                config.buckets, config.bucket_edges, normalize=False, name=f"{name}_buckets", dtype=self.dtype_policy
            )
            for name in schema.modalities
        }
        for name, layer in self.similarity.items():
            width = schema.modalities[name].width
            layer.build((None, None, width), (None, None, width))
        for own in self.further.values():
            own.similarity = self.similarity

    def encode_interest(self, inputs: Mapping[str, Tensor], history_mask: Tensor, training: bool) -> dict[str, Tensor]:
        """The content of the history: per modality `history_vectors_*` [B, L, D] and `history_present_*` [B, L]."""
        state = super().encode_interest(inputs, history_mask, training)
        for name, table in self.content.items():
            state[history_vectors(name)], state[history_present(name)] = table(inputs[HISTORY_CONTENT_ROW])
        return state

    def compared(self, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Per modality cosines float32 [B, N, L], 0 where one side has no content, and their buckets, as below."""
        pairs = []
        for name, layer in self.similarity.items():
            vectors, present = self.candidate_vectors(inputs, name)
            cosines = layer.similarities(vectors, state[history_vectors(name)])
            pairs.append((cosines, layer.bucket(cosines, present, state[history_present(name)])))
        return pairs

    def attended_pairs(
        self, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor], cosines: Sequence[Tensor]
    ) -> Tensor | None:
        """Which pairs attention may weigh, bool [B, N, L], by `history_top_k`; None: all.

        Args:
            state, inputs: as of `compared`.
            cosines: that it returned.
        """
        count = getattr(self.config, "history_top_k", None)
        if count is None:
            return None
        of_candidates = [self.candidate_vectors(inputs, name)[1] for name in self.similarity]
        of_history = [state[history_present(name)] for name in self.similarity]
        return most_similar(count, cosines, of_candidates, of_history, state[HISTORY_MASK])

    def bucket_ids(self, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Bucket ids int32 [B, N, L], one tensor per modality."""
        return [ids for _, ids in self.compared(state, inputs)]

    def explain_history(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Per modality `similarity_*` float32 and `bucket_*` int32, [B, N, L]."""
        told = super().explain_history(state, candidates, inputs)
        real = ops.expand_dims(state[HISTORY_MASK], 1)
        for (name, layer), (cosines, ids) in zip(self.similarity.items(), self.compared(state, inputs), strict=True):
            known = ops.logical_and(real, ids < layer.buckets)
            told[explanation.similarity(name)] = ops.where(known, ops.clip(cosines, -1.0, 1.0), 0.0)
            told[explanation.bucket(name)] = ops.where(known, ids, -1)
        return told

    def adapt(self, batches: Iterable[Mapping[str, Any]], max_pairs: int = 1_000_000) -> None:
        """Sets "quantile" edges from the cosines of real pairs; does nothing for "equal" edges.

        Args:
            batches: inputs of the train split; content tables must be filled. Read until there are enough pairs.
            max_pairs: pairs per modality to take.

        Raises:
            ValueError: a modality has no pair with content on both sides.
        """
        if self.config.bucket_edges == "equal":
            return
        samples: dict[str, list[np.ndarray]] = {name: [] for name in self.similarity}
        for batch in batches:
            for name, layer in self.similarity.items():
                vectors, present = self.candidate_vectors(batch, name)
                history, has_content = self.content[name](batch[HISTORY_CONTENT_ROW])
                pairs = ops.expand_dims(ops.logical_and(present, ops.not_equal(batch[CANDIDATE_INDEX], 0)), 2)
                known = ops.logical_and(has_content, ops.not_equal(batch[HISTORY_INDEX], 0))
                pairs = ops.logical_and(pairs, ops.expand_dims(known, 1))
                similarity = ops.convert_to_numpy(layer.similarities(vectors, history))
                samples[name].append(similarity[ops.convert_to_numpy(pairs)])
            if all(sum(map(len, taken)) >= max_pairs for taken in samples.values()):
                break
        for name, taken in samples.items():
            if not sum(map(len, taken)):
                raise ValueError(
                    f"quantile edges of modality {name!r} need pairs with content on both sides. Received: none; fill "
                    f"the table with model.content[{name!r}].set_rows first"
                )
            self.similarity[name].adapt(np.concatenate(taken)[:max_pairs])

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.fit`.

        Raises:
            ValueError: "quantile" edges have not been adapted.
        """
        if not all(layer.adapted for layer in self.similarity.values()):
            raise ValueError('bucket_edges is "quantile": call model.adapt(batches of the train split) before fit')
        return super().fit(*args, **kwargs)
