"""Golden and warm-up requests of a model, from real requests of the eval split."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dmf_keras.models.ranking_model import RankingModel
from serving import contract
from serving.export.content_inputs import ContentInputs
from serving.export.retrieval import RetrievalStage
from serving.export.servable import Servable, request_arrays, retrieval_arrays
from serving.export.signatures import answer_requests, user_model_inputs
from serving.export.warmup import write_warmup
from tfx_pipeline.data.content.table import ItemContentTable
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.files.addresses import join
from tfx_pipeline.files.writing import write_text
from tfx_pipeline.transform.request_transform import RequestTransform

_UNKNOWN_ID = "__never_seen__"
_REAL_REQUESTS = 8
_CARRIED_ITEMS = 3
_RETRIEVED = 20

Request = dict[str, Any]


def read_requests(files: Sequence[str], model: contract.ModelContract, limit: int) -> list[Request]:
    """The first `limit` raw requests of gzipped TFRecord files as plain values; missing ones are None.

    Args:
        files: of raw examples.
        model: whose columns are read: of profile and context a value each, or a list; of candidates a list each; and
            whether the ages of history items are.
        limit: requests at most.
    """
    requests = []
    for record in tf.data.TFRecordDataset(list(files), compression_type="GZIP").take(limit).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        request: Request = {
            raw_features.USER_ID: feature[raw_features.USER_ID].bytes_list.value[0].decode(),
            raw_features.HISTORY_ITEM_ID: [v.decode() for v in feature[raw_features.HISTORY_ITEM_ID].bytes_list.value],
            raw_features.CANDIDATE_ITEM_ID: [
                v.decode() for v in feature[raw_features.CANDIDATE_ITEM_ID].bytes_list.value
            ],
        }
        for name in model.user_inputs:
            values = feature[name].bytes_list.value or feature[name].float_list.value
            if name in model.user_lists:
                request[name] = [value.decode() for value in values]
                continue
            value = values[0] if values else None
            request[name] = value.decode() if isinstance(value, bytes) else value
        if model.history_ages:
            request[raw_features.HISTORY_AGE] = [_plain(v) for v in feature[raw_features.HISTORY_AGE].float_list.value]
        for further in model.further_histories:
            name, ages = raw_features.further_history_items(further), raw_features.further_history_ages(further)
            request[name] = [value.decode() for value in feature[name].bytes_list.value]
            if model.history_ages:
                request[ages] = [_plain(value) for value in feature[ages].float_list.value]
        for name in model.candidate_inputs:
            values = feature[name].bytes_list.value or feature[name].float_list.value
            request[name] = [_plain(value) for value in values]
        requests.append(request)
    return requests


def requests_of(entries: Sequence[Mapping[str, Any]]) -> list[Request]:
    """The real requests among golden ones, which may become golden requests of another model.

    Args:
        entries: as `write_golden` wrote them.
    """
    real = [entry["request"] for entry in entries if entry["case"].startswith("real ")]
    longest = [entry["request"] for entry in entries if entry["case"].startswith("longest ")]
    return [*real, *(request for request in longest if request not in real)]


def _length(name: str, request: Request) -> int:
    return len(request[name])


def _plain(value: Any) -> str | float | None:
    """A value of a candidate column, or an age, as JSON has it."""
    if isinstance(value, bytes):
        return value.decode() or None
    return None if np.isnan(value) else float(value)


def golden_cases(
    requests: Sequence[Request],
    without_content: Sequence[str],
    of_candidates: Collection[str] = (),
    lists: Collection[str] = (),
    new_items: Sequence[str] = (),
) -> dict[str, Request]:
    """Requests that a model must answer alike everywhere: real ones and the corners of the input space.

    Args:
        requests: real requests, at least one.
        without_content: ids of catalogue items that no modality covers; may be empty.
        of_candidates: names of the candidate columns.
        lists: names of profile and context columns of several values.
        new_items: ids that the catalogue has and training did not; may be empty.
    """
    first = requests[0]
    longest = max(requests, key=lambda request: len(request[raw_features.HISTORY_ITEM_ID]))
    cases = {f"real {number}": request for number, request in enumerate(requests[:_REAL_REQUESTS])}
    cases["longest history"] = longest
    # Absent ages are unknown ones.
    no_ages = {raw_features.HISTORY_AGE: None} if raw_features.HISTORY_AGE in first else {}
    cases["empty history"] = {**longest, **no_ages, raw_features.HISTORY_ITEM_ID: []}
    cases["unknown user"] = {**longest, raw_features.USER_ID: _UNKNOWN_ID}
    cases["unknown candidate"] = {
        **longest,
        **{name: [None, *longest[name]] for name in of_candidates},
        raw_features.CANDIDATE_ITEM_ID: [_UNKNOWN_ID, *longest[raw_features.CANDIDATE_ITEM_ID]],
    }
    if of_candidates:
        cases["missing candidate columns"] = {**longest, **dict.fromkeys(of_candidates)}
    if lists:
        repeated = {name: [_UNKNOWN_ID, *longest[name], *longest[name], _UNKNOWN_ID] for name in lists}
        cases["unknown and repeated values"] = {**longest, **repeated}
    cases["unknown history"] = {
        **longest,
        **no_ages,
        raw_features.HISTORY_ITEM_ID: [_UNKNOWN_ID, *longest[raw_features.HISTORY_ITEM_ID]],
    }
    further = list(filter(None, map(raw_features.further_history_of, first)))
    for name in further:
        of_items = raw_features.further_history_items(name)
        no_ages_of = {raw_features.further_history_ages(name): None} if no_ages else {}
        cases[f"empty {name}"] = {**longest, **no_ages_of, of_items: []}
        cases[f"unknown {name}"] = {**longest, **no_ages_of, of_items: [_UNKNOWN_ID, *longest[of_items]]}
        cases[f"longest {name}"] = max(requests, key=functools.partial(_length, of_items))
    if no_ages:
        cases["unknown ages"] = {**longest, **no_ages}
    cases["nothing known"] = {
        **dict.fromkeys(first),
        raw_features.USER_ID: _UNKNOWN_ID,
        raw_features.HISTORY_ITEM_ID: [],
        raw_features.CANDIDATE_ITEM_ID: [_UNKNOWN_ID],
    }
    for case, items in (("missing content", without_content), ("new items", new_items)):
        if not items:
            continue
        cases[case] = {
            **longest,
            **dict.fromkeys(of_candidates),
            **no_ages,
            raw_features.CANDIDATE_ITEM_ID: list(items[:4]),
            raw_features.HISTORY_ITEM_ID: list(items[:4]),
        }
    return cases


def content_cases(
    request: Request, content: ItemContentTable, of_candidates: Collection[str] = ()
) -> dict[str, Request]:
    """Requests whose candidates carry content: new items with the content of known ones, and none at all.

    Args:
        request: a real request.
        content: the table of the catalogue, whose vectors the new items carry at the width of their encoders.
        of_candidates: names of the candidate columns.
    """
    real = request[raw_features.CANDIDATE_ITEM_ID][:_CARRIED_ITEMS]
    covered = np.flatnonzero(np.all([matrix.present for matrix in content.modalities.values()], axis=0))
    rows = covered[:_CARRIED_ITEMS]
    new = [f"{_UNKNOWN_ID}{number}" for number in range(len(rows))]
    carried, zeros = {}, {}
    for modality, matrix in content.modalities.items():
        vectors = matrix.vectors[rows].astype(np.float32)
        # Vectors of the encoder's width whose projection are these rows.
        vectors = vectors if matrix.basis is None else vectors @ np.linalg.pinv(matrix.basis)
        nothing = np.zeros((len(real), matrix.source_width))
        carried[contract.CONTENT_PREFIX + modality] = [*vectors.tolist(), *nothing.tolist()]
        zeros[contract.CONTENT_PREFIX + modality] = nothing.tolist()
    columns = {name: request[name][:_CARRIED_ITEMS] for name in of_candidates}
    new_columns = {name: [*[None] * len(new), *values] for name, values in columns.items()}
    return {
        "carried content": {**request, **new_columns, raw_features.CANDIDATE_ITEM_ID: [*new, *real], **carried},
        "zero content": {**request, **columns, raw_features.CANDIDATE_ITEM_ID: real, **zeros},
    }


def write_golden(
    model: RankingModel,
    transform: RequestTransform,
    content: ContentInputs,
    model_dir: Path,
    cases: dict[str, Request],
    retrieval: RetrievalStage | None = None,
) -> None:
    """Scores the cases with the live Keras model and writes them beside the exported one.

    With a retrieval stage a case also has the largest dot products of its user with items that are not of its history.
    """
    model_contract = contract.ModelContract.read(model_dir)
    entries = []
    for case, request in cases.items():
        arrays = request_arrays(request, model_contract)
        raw = {name: tf.constant(value) for name, value in arrays.items()}
        answers = answer_requests(model, transform, raw, content, model_contract.formula)
        scores = {name: values.numpy()[0].tolist() for name, values in answers.items()}
        entry = {"case": case, "request": request, "scores": scores.pop(contract.SCORE)}
        if scores:
            entry["objectives"] = scores
        if retrieval is not None:
            entry["retrieved"] = _retrieved(retrieval, transform, raw, request[raw_features.HISTORY_ITEM_ID])
        entries.append(entry)
    write_text(join(model_dir, contract.GOLDEN_FILE), json.dumps(entries))


def _retrieved(
    stage: RetrievalStage, transform: RequestTransform, raw: dict[str, tf.Tensor], history: Sequence[str]
) -> dict[str, Any]:
    """What `retrieve` must answer: by sorting all products, and not by the index's own search."""
    index = stage.index
    products = stage.tower.user_tower(user_model_inputs(transform, raw))[0].numpy() @ index.columns.numpy()
    kept = products[~np.isin(index.item_ids.numpy(), [item.encode() for item in history])]
    return {"exclude": list(history), "scores": np.sort(kept)[::-1][:_RETRIEVED].tolist()}


def write_warmup_requests(
    model_dir: Path, model_name: str, requests: Sequence[Request], catalogue: Sequence[str], sizes: Sequence[int]
) -> int:
    """Warm-up requests for every signature that clients use for one user, at several numbers of candidates.

    `explain`, where the model has it, is asked for the smallest number alone: it costs more than the others.

    Args:
        model_dir: the exported model; `user_tower` is asked for the states that `candidate` takes.
        model_name: the name under which the server will hold the model.
        requests: real requests, whose users are used in turn.
        catalogue: item ids to fill the candidate lists with.
        sizes: numbers of candidates.

    Returns:
        How many requests were written.
    """
    model_contract = contract.ModelContract.read(model_dir)
    rng = np.random.default_rng(0)
    warmup = []
    with Servable(model_dir, optimised=False) as servable:
        for number, size in enumerate(sizes):
            request = dict(requests[number % len(requests)])
            chosen = rng.choice(len(catalogue), size=size, replace=size > len(catalogue))
            request[raw_features.CANDIDATE_ITEM_ID] = [catalogue[i] for i in chosen]
            for name in model_contract.candidate_inputs:
                request[name] = list(islice(cycle(request[name]), size))
            arrays = request_arrays(request, model_contract)
            of_candidates = (raw_features.CANDIDATE_ITEM_ID, *model_contract.candidate_inputs)
            candidates = {name: arrays.pop(name) for name in of_candidates}
            state = servable.run(contract.USER_TOWER, arrays)
            state = {name: state[name] for name in servable.signatures[contract.CANDIDATE].inputs if name in state}
            warmup += [
                (contract.RANK, {**arrays, **candidates}),
                (contract.USER_TOWER, arrays),
                (contract.CANDIDATE, {**state, **candidates}),
            ]
            pages = {
                contract.RETRIEVE: model_contract.retrieval_items,
                contract.RECOMMEND: model_contract.ranked_candidates,
            }
            warmup += [
                (name, retrieval_arrays(request, min(size, most), [], model_contract))
                for name, most in pages.items()
                if most
            ]
            if contract.USER_VECTOR in model_contract.signatures:
                warmup.append((contract.USER_VECTOR, arrays))
            if contract.EXPLAIN in model_contract.signatures and number == sizes.index(min(sizes)):
                warmup.append((contract.EXPLAIN, {**arrays, **candidates}))
            if widths := model_contract.content_widths:
                # Zeros take the way of any other vectors, and next to no room in the file.
                candidates |= {
                    contract.CONTENT_PREFIX + name: np.zeros((1, size, width), np.float32)
                    for name, width in widths.items()
                }
                warmup += [
                    (contract.RANK_WITH_CONTENT, {**arrays, **candidates}),
                    (contract.CANDIDATE_WITH_CONTENT, {**state, **candidates}),
                ]
    return write_warmup(model_dir / contract.WARMUP_FILE, model_name, warmup)
