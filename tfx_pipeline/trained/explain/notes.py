"""What a reader of an explanation must know of its candidate, history and model, as sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from dmf_keras.models import explanation as told
from tfx_pipeline.trained.version import Version

_SHARED = "it is scored by the embedding that unknown items share"


def notes_on(version: Version, candidate: str, history: list[str], names: Collection[str]) -> list[str]:
    """The notes.

    Args:
        version: the exported model.
        candidate: item id.
        history: items that the model uses, oldest first.
        names: of what the model told; empty where nothing did.
    """
    notes = list(_on_candidate(version, candidate, any(name.startswith(told.similarity("")) for name in names)))
    if not history:
        notes.append("the history is empty: there are no items to weigh, and what is made of it says nothing")
    elif names and not {told.ATTENTION, told.ACTIVATION} & set(names):
        notes.append(
            f"{version.contract.model} weighs no history items: they are in the order of what leaving them out changes"
        )
    return notes


def _on_candidate(version: Version, candidate: str, sees_content: bool) -> Iterator[str]:
    impressions, has_content = version.item_facts([candidate])
    content = ""
    if sees_content:
        content = ", and by its own content" if has_content[0] else ", without content"
    if candidate not in version.items():
        yield f"{candidate} is not in the catalogue: {_SHARED}{content}"
    elif candidate not in version.item_vocabulary():
        seen = f"{impressions[0]:,} impressions" if impressions[0] else "no impressions"
        yield f"{candidate} has {seen} in train, too few for an embedding of its own: {_SHARED}{content}"
    elif sees_content and not has_content[0]:
        yield f"{candidate} has no content: its similarities are not known"
