"""Which models can be evaluated on the same examples."""

from __future__ import annotations

from tfx.utils import path_utils

from serving.contract import LOGS_FILE, ModelContract
from serving.export.metadata import read_json
from tfx_pipeline.files.addresses import local


def reads_the_same_examples(model_uri: str, candidate_uri: str) -> bool:
    """Whether no input of both models has two types or is a list to one alone, and examples have the lists it takes.

    Args:
        model_uri: of a `Model` artifact.
        candidate_uri: of another, which the first may be compared with.

    Returns:
        Also False when either's contract is gone.
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
