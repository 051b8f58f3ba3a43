"""`dmf rank`: candidates for one user, scored by an exported model exactly as a server would score them."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from serving import contract
from serving.messages import first_line
from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.console import console, quiet_libraries
from tfx_pipeline.data.content.catalogue import read_catalogue
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.files import artifact_files
from tfx_pipeline.trained.user_state import UserSnapshot, user_snapshot

if TYPE_CHECKING:
    from serving.export.servable import Servable

# Scores [N] of a request, lists and scalars by input name, by an exported version.
Scorer = Callable[[Path, Mapping[str, Any]], np.ndarray]


def rank(
    model: Path,
    user: str,
    *,
    candidates: Sequence[str] | None = None,
    top: int | None = None,
    history: Sequence[str] | None = None,
    scorer: Scorer | None = None,
) -> dict[str, Any]:
    """Ranks candidates for one user.

    Args:
        model: an exported version, or the folder that holds versions (the newest is taken).
        user: user id; an unknown one is answered too.
        candidates: item ids to rank; unknown ones are ranked too.
        top: instead, rank all items the model knows and keep the best `top`.
        history: item ids, oldest first; None: what the logs that the model was trained on say, if they are there.
        scorer: who scores, such as a server. None loads the version in this process.

    Returns:
        `user`, `model`, `history` (item ids used), `history_source`, and `ranking`: best first, each with `item`,
        `score`, `title` (None without a catalogue), `train_impressions` and `has_content`.

    Raises:
        ModelError: no ranking model lies there, or it cannot be loaded.
        DataError: no candidates, or a `top` below 1.
    """
    version = find_version(model)
    if candidates is None:
        if top is None or top < 1:
            raise DataError(f"--top wants a whole number of at least 1, got {top}")
        candidates = item_list(version, artifact_files.ITEM_IDS)
    candidates = [item for item in dict.fromkeys(candidates) if item]
    if not candidates:
        raise DataError("there are no candidates to rank")
    snapshot, titles, source = known_of(version, user, history)
    request = {
        contract.USER_ID: user,
        contract.HISTORY_ITEM_ID: snapshot.history,
        contract.CANDIDATE_ITEM_ID: list(candidates),
        **snapshot.columns,
    }
    impressions, has_content = item_facts(version, candidates)
    scores = (scorer or _score)(version, request)
    order = np.argsort(-scores, kind="stable")[: top or None]
    return {
        "user": user,
        "model": str(version),
        "history": snapshot.history,
        "history_source": source,
        "ranking": [
            {
                "item": candidates[i],
                "score": float(scores[i]),
                "title": titles.get(candidates[i]),
                "train_impressions": int(impressions[i]),
                "has_content": bool(has_content[i]),
            }
            for i in order
        ],
    }


def rank_from_command_line(
    model: Path,
    user: str,
    *,
    candidates: Sequence[str] | None,
    top: int | None,
    history: Sequence[str] | None,
    as_json: bool,
) -> int:
    """Prints what `rank` returns, as a table or as JSON; returns the exit status."""
    version = find_version(model)
    with quiet_libraries(Path("/dev/null")), console().status("loading the model"):
        ranked = rank(version, user, candidates=candidates, top=top, history=history)
    if as_json:
        sys.stdout.write(json.dumps(ranked, indent=1) + "\n")
    else:
        print_ranking(ranked, Console())
    return 0


def print_ranking(ranked: dict[str, Any], target: Console) -> None:
    """The ranking as a table; `ranked` is what `rank` returns."""
    used = len(ranked["history"])
    table = Table(
        title=f"user {ranked['user']}, history of {used} items ({ranked['history_source']})", title_justify="left"
    )
    table.add_column("rank", justify="right")
    table.add_column("item")
    table.add_column("score", justify="right")
    with_titles = any(entry["title"] for entry in ranked["ranking"])
    if with_titles:
        table.add_column("title", overflow="ellipsis", max_width=48)
    table.add_column("impressions in train", justify="right")
    table.add_column("content")
    for position, entry in enumerate(ranked["ranking"], start=1):
        title = [entry["title"] or ""] if with_titles else []
        row = [str(position), entry["item"], f"{entry['score']:.4f}", *title]
        table.add_row(*row, f"{entry['train_impressions']:,}", "yes" if entry["has_content"] else "no")
    target.print(table)
    target.print(f"model: {ranked['model']}", soft_wrap=True, highlight=False)


def find_version(model: Path) -> Path:
    """The exported model itself: `model`, or its newest numbered sub-folder.

    Raises:
        ModelError: there is none.
    """
    if (model / "saved_model.pb").exists():
        return model
    versions = [path for path in model.glob("[0-9]*") if path.name.isdigit() and (path / "saved_model.pb").exists()]
    if not versions:
        there = ", ".join(sorted(path.name for path in model.iterdir())[:5]) if model.is_dir() else "no such folder"
        raise ModelError(
            f"{model} holds no exported model (saved_model.pb) and no versions of one; there is: {there or 'nothing'}"
        )
    return max(versions, key=lambda path: int(path.name))


def item_list(version: Path, file: str) -> list[str]:
    """Item ids of an asset of the model: of the catalogue, or of the vocabulary of those with an embedding.

    Raises:
        ModelError: the file is not there or cannot be read.
    """
    path = version / "assets" / file
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} cannot be read: {first_line(error)}") from None


def item_facts(version: Path, candidates: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Impressions in train and presence of content of the candidates.

    Raises:
        ModelError: the model's facts about items are not there or cannot be read.
    """
    from tfx_pipeline.evaluation.item_facts import read_item_facts

    try:
        return read_item_facts(version).look_up(np.array([item.encode() for item in candidates], object))
    except (OSError, ValueError) as error:
        raise ModelError(f"the item facts of {version} cannot be read: {first_line(error)}") from None


def known_of(version: Path, user: str, history: Sequence[str] | None) -> tuple[UserSnapshot, dict[str, str], str]:
    """What is known of a user without being told.

    Args:
        version: the exported model; it says where the logs lie that it was trained on.
        user: user id.
        history: item ids to take in place of those in the logs; None: those in the logs.

    Returns:
        The user's present state; the items' titles; and where the history comes from, in words. State and titles are
        empty when the logs are not where they were.
    """
    try:
        config = IngestionConfig.model_validate_json((version / contract.LOGS_FILE).read_text(encoding="utf-8"))
        snapshot = user_snapshot(config, user)
        catalogue = read_catalogue(config.data.items)
        titles = dict(zip(catalogue.item_ids.to_pylist(), catalogue.titles or [], strict=False))
        source = "from the logs"
    except (OSError, ValueError, DataError):
        snapshot, titles, source = UserSnapshot([], {}), {}, "none: the logs are not here; give --history"
    if history is not None:
        snapshot, source = UserSnapshot(list(history), snapshot.columns), "given"
    return snapshot, titles, source


@contextlib.contextmanager
def open_model(version: Path) -> Iterator[tuple[Servable, contract.ModelContract]]:
    """The exported model, loaded as a server loads it, and its contract; closed in the end.

    Raises:
        ModelError: it cannot be loaded, or fails while it is in use.
    """
    import tensorflow as tf

    from serving.export.servable import Servable

    try:
        model_contract = contract.ModelContract.read(version)
        with Servable(version) as servable:
            yield servable, model_contract
    except (OSError, KeyError, TypeError, ValueError, tf.errors.OpError) as error:
        raise ModelError(f"{version} cannot be loaded as a ranking model: {first_line(error)}") from None


def _score(version: Path, request: Mapping[str, Any]) -> np.ndarray:
    from serving.export.servable import request_arrays

    with open_model(version) as (servable, model_contract):
        return servable.run(contract.RANK, request_arrays(request, model_contract))[contract.SCORE][0]
