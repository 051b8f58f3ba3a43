"""What a reader of an explanation must know of its candidate, history and model, as sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from dmf_keras.models import explanation as told
from tfx_pipeline.files import artifact_files
from tfx_pipeline.trained.rank import item_facts, item_list
from tfx_pipeline.transform.transformed_features import ITEM_VOCABULARY

_SHARED = "it is scored by the embedding that unknown items share"


def notes_on(version: Path, model_name: str, candidate: str, history: list[str], names: Collection[str]) -> list[str]:
    """The notes.

    Args:
        version: the exported model.
        model_name: its name in the registry.
        candidate: item id.
        history: items that the model uses, oldest first.
        names: of what the model told; empty where nothing did.
    """
    notes = list(_on_candidate(version, candidate, any(name.startswith(told.similarity("")) for name in names)))
    if not history:
        notes.append("the history is empty: there are no items to weigh, and what is made of it says nothing")
    elif names and not {told.ATTENTION, told.ACTIVATION} & set(names):
        notes.append(f"{model_name} weighs no history items: they are in the order of what leaving them out changes")
    return notes


def _on_candidate(version: Path, candidate: str, sees_content: bool) -> Iterator[str]:
    impressions, has_content = item_facts(version, [candidate])
    content = ""
    if sees_content:
        content = ", and by its own content" if has_content[0] else ", without content"
    if candidate not in item_list(version, artifact_files.ITEM_IDS):
        yield f"{candidate} is not in the catalogue: {_SHARED}{content}"
    elif candidate not in item_list(version, ITEM_VOCABULARY):
        seen = f"{impressions[0]:,} impressions" if impressions[0] else "no impressions"
        yield f"{candidate} has {seen} in train, too few for an embedding of its own: {_SHARED}{content}"
    elif sees_content and not has_content[0]:
        yield f"{candidate} has no content: its similarities are not known"
