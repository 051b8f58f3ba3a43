"""What carried the score of one candidate for one user: what the model tells, and what leaving items out shows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dmf_keras.models import explanation as names_told
from serving import contract
from serving.export.servable import Arrays, Servable, request_arrays
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.trained.candidate_columns import note_on_missing, typed_columns
from tfx_pipeline.trained.explain.notes import notes_on
from tfx_pipeline.trained.explain.report import Explanation, HistoryItem, Part, Similarity
from tfx_pipeline.trained.version import Known, Version

# Requests with an item left out that are scored at once.
_BATCH = 64
# Scores are float32 probabilities: closer to 0 or 1 their logit is not known.
_LEAST = 1e-7


def explain(
    version: Version,
    user: str,
    candidate: str,
    *,
    history: Sequence[str] | None = None,
    sequences: Mapping[str, Sequence[str]] | None = None,
    columns: Mapping[str, str] | None = None,
    run: Path | None = None,
) -> Explanation:
    """Says why a model scores a candidate as it does for a user.

    Attention, similarities and parts are told by the exported model's `explain` signature or, where it was exported
    without one, by the Keras model that its run left. Scores without an item are the exported model's, by `rank`.

    Args:
        version: the exported model.
        user: user id; an unknown one is answered too.
        candidate: item id; an unknown one is answered too.
        history: item ids, oldest first; None: what the logs that the model was trained on say, if they are there.
        sequences: the same of further histories, by name.
        columns: values of candidate columns as typed, see `typed_columns`; what is not there is missing.
        run: output folder of the run that trained the model, if it was moved.

    Raises:
        ModelError: the model cannot be loaded, or `run` does not hold its Keras model.
        DataError: no candidate, or a column that does not fit.
    """
    if not candidate:
        raise DataError("--candidate wants an item id, got an empty text")
    known, of_candidate = version.known_of(user, history, sequences), typed_columns(columns or {}, version)
    with version.open() as servable:
        # The model uses no more of a longer history; left in, an older item would take the place of one left out.
        pairs = zip(known.snapshot.history, known.snapshot.history_age_s, strict=True)
        kept = [pair for pair in pairs if pair[0]][-version.contract.max_history :]
        used, ages = [item for item, _ in kept], [age for _, age in kept]
        arrays = request_arrays(
            {
                contract.USER_ID: user,
                contract.HISTORY_ITEM_ID: used,
                contract.CANDIDATE_ITEM_ID: [candidate],
                **({contract.HISTORY_AGE: ages} if version.contract.history_ages else {}),
                **version.further_histories(known),
                **known.snapshot.columns,
                **of_candidate,
            },
            version.contract,
        )
        explained = next((contract.SCORE_PREFIX + name for name in version.contract.objectives), contract.SCORE)
        scores = leave_one_out(servable, arrays, explained)
        told, told_by, missing = _told(servable, version, run, arrays)
    unknown = note_on_missing([name for name in version.contract.candidate_inputs if name not in of_candidate])
    logits = logits_of(scores)
    items = _history(told, used, scores[1:], logits[0] - logits[1:], known)
    return Explanation(
        user,
        candidate,
        title=known.titles.get(candidate),
        model=str(version.path),
        model_name=version.contract.model,
        told_by=told_by,
        history_source=known.history_source,
        score=float(scores[0]),
        logit=float(told.get(names_told.LOGIT, logits[0])),
        base_logit=float(told[names_told.BASE_LOGIT]) if names_told.BASE_LOGIT in told else None,
        parts=_parts(told),
        weights=next((name for name in (names_told.ATTENTION, names_told.ACTIVATION) if name in told), None),
        history=sorted(items, key=lambda item: item.rank_by_weight or item.rank_by_effect),
        notes=[
            *_note_on_objective(version.contract),
            *missing,
            *version.notes_on_user(user),
            *version.notes_on_ages(known),
            *unknown,
            *notes_on(version, candidate, used, told),
        ],
    )


def _note_on_objective(model: contract.ModelContract) -> list[str]:
    if not model.objectives:
        return []
    main = next(iter(model.objectives))
    return [f"what is explained is objective '{main}', the model's first; its score is {model.formula}"]


def leave_one_out(servable: Servable, arrays: Arrays, output: str = contract.SCORE) -> np.ndarray:
    """Scores float64 [L + 1] of one request: as it is, then without each item of its history, oldest first.

    Args:
        servable: the exported model.
        arrays: of the `rank` signature: one user, one candidate, a history [1, L].
        output: which score, a probability.
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
        scores.append(answer[output][:, 0])
    return np.concatenate(scores).astype(np.float64)


def logits_of(scores: np.ndarray) -> np.ndarray:
    """Logits of probabilities, finite."""
    kept = np.clip(scores, _LEAST, 1 - _LEAST)
    logits: np.ndarray = np.log(kept) - np.log1p(-kept)
    return logits


def _told(
    servable: Servable, version: Version, run: Path | None, arrays: Arrays
) -> tuple[Arrays, str | None, list[str]]:
    """What the model tells of the candidate, without dimensions B and N; who told it; what there is to say of that."""
    if contract.EXPLAIN in version.contract.signatures:
        return _of_the_candidate(servable.run(contract.EXPLAIN, arrays)), "signature", []
    from tfx_pipeline.trained.keras_model import KerasModel

    try:
        return _of_the_candidate(KerasModel(version.path, run).explain(arrays)), "keras", []
    except ModelError as error:
        if run is not None:
            raise
        reason = f"the model was exported without serving.explain, and {error}"
        return {}, None, [f"attention, similarities and parts are not known: {reason}"]


def _of_the_candidate(told: Mapping[str, np.ndarray]) -> Arrays:
    return {name: value[0, 0] for name, value in told.items()}


def _parts(told: Arrays) -> list[Part]:
    """The largest contribution first."""
    parts = [
        Part(
            name,
            contribution=float(told[names_told.contribution(name)]),
            logit_without=float(told[names_told.without(name)]),
        )
        for name in _modelled(told, names_told.contribution(""))
    ]
    return sorted(parts, key=lambda part: -abs(part.contribution))


def _history(told: Arrays, used: list[str], scores: np.ndarray, effects: np.ndarray, known: Known) -> list[HistoryItem]:
    """One entry per item of the history, oldest first."""
    weights = told.get(names_told.ATTENTION, told.get(names_told.ACTIVATION))
    by_head = told.get(names_told.ATTENTION_BY_HEAD)
    by_effect = _ranks(np.abs(effects))
    by_weight = None if weights is None else _ranks(np.abs(weights[: len(used)]))
    modalities = _modelled(told, names_told.similarity(""))
    times = known.snapshot.history_time_us[-len(used) :]
    return [
        HistoryItem(
            item,
            position=len(used) - place,
            score_without=float(scores[place]),
            effect=float(effects[place]),
            rank_by_effect=by_effect[place],
            weight=None if weights is None else float(weights[place]),
            rank_by_weight=None if by_weight is None else by_weight[place],
            weight_by_head=None if by_head is None else by_head[:, place].tolist(),
            similarity={name: _similarity(told, name, place) for name in modalities},
            title=known.titles.get(item),
            time=_time(times[place]) if times else None,
        )
        for place, item in enumerate(used)
    ]


def _similarity(told: Arrays, modality: str, place: int) -> Similarity | None:
    """Of one history item; None where it or the candidate has no content."""
    bucket = int(told[names_told.bucket(modality)][place])
    return None if bucket < 0 else Similarity(float(told[names_told.similarity(modality)][place]), bucket)


def _time(microseconds: int) -> str:
    return dt.datetime.fromtimestamp(microseconds / 1e6, dt.UTC).isoformat(timespec="seconds")


def _modelled(told: Arrays, prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in told if name.startswith(prefix)]


def _ranks(values: np.ndarray) -> list[int]:
    """1 for the largest; equal ones in their order."""
    ranks = np.empty(len(values), int)
    ranks[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
    return ranks.tolist()
