"""What carried the score of one candidate for one user: what the model tells, and what leaving items out shows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dmf_keras.models import explanation as names_told
from serving import contract
from serving.export.servable import Arrays, Servable, request_arrays
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.trained.explain.notes import notes_on
from tfx_pipeline.trained.explain.summary import summary_of
from tfx_pipeline.trained.rank import find_version, known_of, open_model

# Requests with an item left out that are scored at once.
_BATCH = 64
# Scores are float32 probabilities: closer to 0 or 1 their logit is not known.
_LEAST = 1e-7


def explain(
    model: Path, user: str, candidate: str, *, history: Sequence[str] | None = None, run: Path | None = None
) -> dict[str, Any]:
    """Says why a model scores a candidate as it does for a user.

    Attention, similarities and parts are told by the exported model's `explain` signature or, where it was exported
    without one, by the Keras model that its run left. Scores without an item are the exported model's, by `rank`.

    Args:
        model: an exported version, or the folder that holds versions (the newest is taken).
        user: user id; an unknown one is answered too.
        candidate: item id; an unknown one is answered too.
        history: item ids, oldest first; None: what the logs that the model was trained on say, if they are there.
        run: output folder of the run that trained the model, if it was moved.

    Returns:
        What `dmf explain --json` prints; docs/EXPLAIN.md has the entries.

    Raises:
        ModelError: no ranking model lies there, it cannot be loaded, or `run` does not hold its Keras model.
        DataError: no candidate.
    """
    if not candidate:
        raise DataError("--candidate wants an item id, got an empty text")
    version = find_version(model)
    snapshot, titles, source = known_of(version, user, history)
    with open_model(version) as (servable, model_contract):
        # The model uses no more of a longer history; left in, an older item would take the place of one left out.
        used = [item for item in snapshot.history if item][-model_contract.max_history :]
        arrays = request_arrays(
            {
                contract.USER_ID: user,
                contract.HISTORY_ITEM_ID: used,
                contract.CANDIDATE_ITEM_ID: [candidate],
                **snapshot.columns,
            },
            model_contract,
        )
        scores = leave_one_out(servable, arrays)
        told, told_by, missing = _told(servable, model_contract, version, run, arrays)
    logits = logits_of(scores)
    entries = _history(told, used, scores[1:], logits[0] - logits[1:])
    times = [dt.datetime.fromtimestamp(time / 1e6, dt.UTC) for time in snapshot.history_time_us[-len(used) :]]
    for place, entry in enumerate(entries):
        entry["title"] = titles.get(entry["item"])
        entry["time"] = times[place].isoformat(timespec="seconds") if times else None
    found = {
        "user": user,
        "candidate": candidate,
        "title": titles.get(candidate),
        "model": str(version),
        "model_name": model_contract.model,
        "told_by": told_by,
        "history_source": source,
        "score": float(scores[0]),
        "logit": float(told.get(names_told.LOGIT, logits[0])),
        "base_logit": float(told[names_told.BASE_LOGIT]) if names_told.BASE_LOGIT in told else None,
        "parts": _parts(told),
        "weights": next((name for name in (names_told.ATTENTION, names_told.ACTIVATION) if name in told), None),
        "history": sorted(entries, key=lambda entry: entry.get("rank_by_weight", entry["rank_by_effect"])),
        "notes": [*missing, *notes_on(version, model_contract.model, candidate, used, told)],
    }
    return {**found, "summary": summary_of(found)}


def leave_one_out(servable: Servable, arrays: Arrays) -> np.ndarray:
    """Scores float64 [L + 1] of one request: as it is, then without each item of its history, oldest first.

    Args:
        servable: the exported model.
        arrays: of the `rank` signature: one user, one candidate, a history [1, L].
    """
    history = arrays[contract.HISTORY_ITEM_ID]
    length = history.shape[1]
    rows = np.repeat(history, length + 1, axis=0)
    rows[np.arange(1, length + 1), np.arange(length)] = ""  # padding, wherever it stands
    scores = []
    for start in range(0, length + 1, _BATCH):
        part = rows[start : start + _BATCH]
        inputs = {name: np.repeat(value, len(part), axis=0) for name, value in arrays.items()}
        answer = servable.run(contract.RANK, {**inputs, contract.HISTORY_ITEM_ID: part})
        scores.append(answer[contract.SCORE][:, 0])
    return np.concatenate(scores).astype(np.float64)


def logits_of(scores: np.ndarray) -> np.ndarray:
    """Logits of probabilities, finite."""
    kept = np.clip(scores, _LEAST, 1 - _LEAST)
    return np.log(kept) - np.log1p(-kept)


def _told(
    servable: Servable, model_contract: contract.ModelContract, version: Path, run: Path | None, arrays: Arrays
) -> tuple[Arrays, str | None, list[str]]:
    """What the model tells of the candidate, without dimensions B and N; who told it; what there is to say of that."""
    if contract.EXPLAIN in model_contract.signatures:
        return _of_the_candidate(servable.run(contract.EXPLAIN, arrays)), "signature", []
    from tfx_pipeline.trained.keras_model import KerasModel

    try:
        return _of_the_candidate(KerasModel(version, run).explain(arrays)), "keras", []
    except ModelError as error:
        if run is not None:
            raise
        reason = f"the model was exported without serving.explain, and {error}"
        return {}, None, [f"attention, similarities and parts are not known: {reason}"]


def _of_the_candidate(told: Mapping[str, np.ndarray]) -> Arrays:
    return {name: value[0, 0] for name, value in told.items()}


def _parts(told: Arrays) -> list[dict[str, Any]]:
    """Per part its name, contribution and the logit without it; the largest contribution first."""
    names = _modelled(told, names_told.contribution(""))
    parts = [
        {
            "part": name,
            "contribution": float(told[names_told.contribution(name)]),
            "logit_without": float(told[names_told.without(name)]),
        }
        for name in names
    ]
    return sorted(parts, key=lambda part: -abs(part["contribution"]))


def _history(told: Arrays, used: list[str], scores: np.ndarray, effects: np.ndarray) -> list[dict[str, Any]]:
    """One entry per item of the history, oldest first."""
    columns: dict[str, list[Any]] = {
        "item": used,
        "position": list(range(len(used), 0, -1)),
        "score_without": scores.tolist(),
        "effect": effects.tolist(),
        "rank_by_effect": _ranks(np.abs(effects)),
    }
    weights = told.get(names_told.ATTENTION, told.get(names_told.ACTIVATION))
    if weights is not None:
        columns["weight"] = weights[: len(used)].tolist()
        columns["rank_by_weight"] = _ranks(np.abs(weights[: len(used)]))
    if names_told.ATTENTION_BY_HEAD in told:
        columns["weight_by_head"] = told[names_told.ATTENTION_BY_HEAD].T[: len(used)].tolist()
    modalities = _modelled(told, names_told.similarity(""))
    entries = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    for place, entry in enumerate(entries):
        entry["similarity"] = {name: _similarity(told, name, place) for name in modalities}
    return entries


def _similarity(told: Arrays, modality: str, place: int) -> dict[str, Any] | None:
    """Cosine and bucket of a history item; None where it or the candidate has no content."""
    bucket = int(told[names_told.bucket(modality)][place])
    return None if bucket < 0 else {"cosine": float(told[names_told.similarity(modality)][place]), "bucket": bucket}


def _modelled(told: Arrays, prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in told if name.startswith(prefix)]


def _ranks(values: np.ndarray) -> list[int]:
    """1 for the largest; equal ones in their order."""
    ranks = np.empty(len(values), int)
    ranks[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
    return ranks.tolist()
