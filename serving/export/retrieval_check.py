"""What must hold of the signatures `retrieve` and `recommend` before a model may be pushed."""

from __future__ import annotations

from typing import Any

import numpy as np

from serving import contract
from serving.export.servable import (
    Arrays,
    Servable,
    largest_difference,
    request_arrays,
    retrieval_arrays,
    user_part,
)
from serving.messages import first_line
from serving.page_order import page_scores

# How far page scores may lie from those computed anew, relative to them beyond 1.
_OF_LOGITS = 1e-4


def check_retrieval(
    servable: Servable,
    model_contract: contract.ModelContract,
    golden: list[dict[str, Any]],
    max_difference: float,
    figures: dict[str, Any],
) -> list[str]:
    """Asks for a page of each golden request that has the answer of the live Keras model.

    `retrieve` gives the largest dot products that sorting all of them gave; no item that was excluded, and none twice.
    What `recommend` shows is scored by `rank` alike, and ordered by both scores where the contract says so.

    Args:
        servable: loaded.
        model_contract: of the model.
        golden: requests with what was answered before the export.
        max_difference: allowed absolute difference of a score; of dot products beyond 1 relative to them.
        figures: gets what was found.

    Returns:
        Problems as sentences.
    """
    problems, pages = [], 0
    largest = {"keras_vs_retrieve": 0.0, "rank_vs_recommend": 0.0}
    tolerance = max(max_difference, model_contract.tolerance if model_contract.precision != contract.FLOAT32 else 0.0)
    for entry in golden:
        if "retrieved" not in entry:
            continue
        pages += 1
        user = user_part(entry["request"], model_contract)
        expected, excluded = entry["retrieved"]["scores"], entry["retrieved"]["exclude"]
        k = len(expected)
        if not k:
            continue
        try:
            found = servable.run(contract.RETRIEVE, retrieval_arrays(user, k, excluded, model_contract))
            difference = largest_difference(np.asarray(expected, np.float32), found[contract.SCORE][0])
            largest["keras_vs_retrieve"] = max(largest["keras_vs_retrieve"], difference)
            problems += [
                f"golden request '{entry['case']}': {wrong}"
                for wrong in [*_wrong_page(found, excluded), *_too_far("retrieve", difference, max_difference)]
            ]
            if not model_contract.ranked_candidates:
                continue
            k = min(k, model_contract.ranked_candidates)
            page = servable.run(contract.RECOMMEND, retrieval_arrays(user, k, excluded, model_contract))
            ranked = servable.run(contract.RANK, _rank_arrays(user, page[contract.ITEM_ID], model_contract))
            there = page[contract.ITEM_ID][0] != b""
            if model_contract.retrieval_weight:
                problems += [
                    f"golden request '{entry['case']}': {wrong}" for wrong in _wrong_order(page, there, model_contract)
                ]
            difference = largest_difference(ranked[contract.SCORE][0][there], page[contract.SCORE][0][there])
            largest["rank_vs_recommend"] = max(largest["rank_vs_recommend"], difference)
            problems += [
                f"golden request '{entry['case']}': {wrong}"
                for wrong in [*_wrong_page(page, excluded), *_too_far("recommend", difference, tolerance)]
            ]
        except Exception as error:
            problems.append(f"golden request '{entry['case']}': retrieval fails: {first_line(error)}")
    if not pages:
        problems.append("there are no golden requests of retrieval")
    figures["retrieval"] = {"pages": pages, "max_difference": largest}
    return problems


def _rank_arrays(user: dict[str, Any], item_ids: np.ndarray, model_contract: contract.ModelContract) -> Arrays:
    items = [item.decode() for item in item_ids[0]]
    return request_arrays({**user, contract.CANDIDATE_ITEM_ID: items}, model_contract)


def _wrong_page(page: dict[str, np.ndarray], excluded: list[str]) -> list[str]:
    """What is wrong with a page by itself."""
    items = [item.decode() for item in page[contract.ITEM_ID][0] if item]
    scores = page.get(contract.PAGE_SCORE, page[contract.SCORE])[0][: len(items)]
    wrong = []
    if not np.isfinite(scores).all() or (np.diff(scores) > 0).any():
        wrong.append(f"scores of a page are not falling: {scores[:5]}")
    if len(set(items)) < len(items):
        wrong.append("a page has an item twice")
    if both := sorted(set(items) & set(excluded)):
        wrong.append(f"a page has what was excluded: {both[:3]}")
    return wrong


def _wrong_order(page: dict[str, np.ndarray], there: np.ndarray, model_contract: contract.ModelContract) -> list[str]:
    """What is wrong with the scores that order a page, beside the two scores that it shows."""
    if contract.PAGE_SCORE not in page:
        return [f"recommend answers no '{contract.PAGE_SCORE}', and the contract says that it orders by both scores"]
    scores, of_retrieval = (page[name][0][there] for name in (contract.SCORE, contract.RETRIEVAL_SCORE))
    expected = page_scores(scores, of_retrieval, model_contract.retrieval_weight)
    apart = np.abs(page[contract.PAGE_SCORE][0][there] - expected) / np.maximum(1.0, np.abs(expected))
    if (apart <= _OF_LOGITS).all():
        return []
    return [f"page scores differ by {apart.max():.2e} from those of the page's two scores, allowed {_OF_LOGITS:.0e}"]


def _too_far(signature: str, difference: float, allowed: float) -> list[str]:
    if difference <= allowed:
        return []
    return [f"scores of {signature} differ by {difference:.2e} from those expected, allowed {allowed:.2e}"]
