"""Which model the Evaluator compares a candidate with."""

from __future__ import annotations

import ml_metadata as mlmd
from tfx import types
from tfx.dsl.input_resolution.strategies import latest_blessed_model_strategy
from tfx.utils import path_utils

from serving.contract import LOGS_FILE, ModelContract
from serving.export.metadata import read_json
from tfx_pipeline.files.addresses import local

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
            if not all(_reads_the_same_examples(model.uri, candidate.uri) for candidate in candidates):
                excluded.add(model.id)
        others = {
            "model": [model for model in input_dict["model"] if model.id not in excluded],
            "model_blessing": input_dict["model_blessing"],
        }
        return {**super().resolve_artifacts(store, others), CANDIDATE_KEY: candidates}


def _reads_the_same_examples(model_uri: str, candidate_uri: str) -> bool:
    """Whether no input of both models has two types or is a list to one alone, and examples have the lists it takes.

    False when either's contract is gone.
    """
    try:
        our_dir, their_dir = (local(path_utils.serving_model_dir(uri)) for uri in (candidate_uri, model_uri))
        ours, theirs = ModelContract.read(our_dir), ModelContract.read(their_dir)
        our_logs, their_logs = (read_json(folder, LOGS_FILE) or {} for folder in (our_dir, their_dir))
        our_ages, their_ages = (bool(logs.get("history_ages")) for logs in (our_logs, their_logs))
        our_further, their_further = (
            set(logs.get("history", {}).get("sequences", {})) for logs in (our_logs, their_logs)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if not set(theirs.candidate_inputs) <= set(ours.candidate_inputs) or (their_ages and not our_ages):
        return False
    if not their_further <= our_further:
        return False
    both = set(theirs.user_inputs) & set(ours.user_inputs)
    if both.intersection(theirs.user_lists) != both.intersection(ours.user_lists):
        return False
    their_inputs = theirs.user_inputs | theirs.candidate_inputs
    our_inputs = ours.user_inputs | ours.candidate_inputs
    return all(their_inputs[name] == dtype for name, dtype in our_inputs.items() if name in their_inputs)
