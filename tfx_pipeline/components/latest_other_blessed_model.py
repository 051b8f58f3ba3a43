"""Which model the Evaluator compares a candidate with."""

from __future__ import annotations

import ml_metadata as mlmd
from tfx import types
from tfx.dsl.input_resolution.strategies import latest_blessed_model_strategy

from tfx_pipeline.components.comparable_models import reads_the_same_examples

CANDIDATE_KEY = "candidate"


class LatestOtherBlessedModel(latest_blessed_model_strategy.LatestBlessedModelStrategy):
    """The last blessed model that is not the candidate itself.

    TFX's own strategy resolves a cached candidate to itself: comparing a model with itself says nothing, and as a new
    input it would run the Evaluator again in a run where nothing changed. A model that has been deleted, or that reads
    a column as another type than the candidate does, cannot be compared with and is passed over.
    """

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Resolves `model` and `model_blessing`; `candidate` is handed through.

        Args:
            store: MLMD.
            input_dict: all models, all blessings, and the model that this run trained.
        """
        candidates = input_dict[CANDIDATE_KEY]
        excluded = {artifact.id for artifact in candidates}
        for model in input_dict["model"]:
            if not all(reads_the_same_examples(model.uri, candidate.uri) for candidate in candidates):
                excluded.add(model.id)
        others = {
            "model": [model for model in input_dict["model"] if model.id not in excluded],
            "model_blessing": input_dict["model_blessing"],
        }
        return {**super().resolve_artifacts(store, others), CANDIDATE_KEY: candidates}
