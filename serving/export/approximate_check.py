"""What must hold of an approximate index before the model beside it may be pushed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serving import contract
from serving.approximate_index import ApproximateIndex, IndexRecord, MissingLibrary, UnusableIndex, read_record
from serving.export.servable import Servable, retrieval_arrays, user_arrays
from serving.messages import first_line

# Products of one user and one item in another order, relative to those beyond 1.
_ROUNDING = 1e-4
# Items of the exact search among which those of the index are looked for: what it finds beyond is not compared.
_COMPARED = 1000


def check_index(
    servable: Servable,
    directory: str | Path,
    model_contract: contract.ModelContract,
    golden: list[dict[str, Any]],
    min_recall: float | None,
    figures: dict[str, Any],
) -> list[str]:
    """Compares the index with the model, and its recall with what is wanted.

    It can be read; `user_vector` names the catalogue that it is of; what it finds for the golden requests has the
    scores that `retrieve` gives, and nothing that was excluded.

    Args:
        servable: loaded.
        directory: of the SavedModel.
        model_contract: of the model.
        golden: requests with what was answered before the export.
        min_recall: that the index must reach; None: there need be none, and one that is there may have any.
        figures: gets what was found.

    Returns:
        Problems as sentences.
    """
    try:
        record = read_record(directory)
        if record is None:
            wanted = "an approximate index is configured and the model has none; export it again"
            return [] if min_recall is None else [wanted]
        figures["approximate"] = {"recall": record.recall, "at": record.at, "users": record.users}
        problems = [] if min_recall is None or record.recall >= min_recall else [_too_low(record, min_recall)]
        index = ApproximateIndex.load(directory)
    except (UnusableIndex, MissingLibrary) as error:
        return [f"the approximate index: {first_line(error)}"]
    for entry in golden:
        if "retrieved" not in entry:
            continue
        try:
            wrong = _wrong(servable, index, model_contract, entry)
        except Exception as error:
            wrong = [f"a search of the approximate index fails: {first_line(error)}"]
        problems += [f"golden request '{entry['case']}': {each}" for each in wrong]
    return problems


def _too_low(record: IndexRecord, min_recall: float) -> str:
    return (
        f"the approximate index finds {record.recall:.4f} of the {record.at} items that an exact search finds (over "
        f"{record.users} users of eval), expected at least {min_recall:g}; raise expansion_search (now "
        f"{record.expansion_search}), then connectivity ({record.connectivity}) and expansion_add "
        f"({record.expansion_add}) in stages.retrieval.approximate, or lower its min_recall"
    )


def _wrong(
    servable: Servable, index: ApproximateIndex, model_contract: contract.ModelContract, entry: dict[str, Any]
) -> list[str]:
    excluded = entry["retrieved"]["exclude"]
    k = len(entry["retrieved"]["scores"])
    if not k:
        return []
    most = min(model_contract.retrieval_items, max(k, _COMPARED))
    asked = retrieval_arrays(entry["request"], most, excluded, model_contract)
    outputs = servable.run(contract.USER_VECTOR, user_arrays(entry["request"], model_contract))
    catalogue = outputs[contract.CATALOGUE][0].decode()
    if catalogue != index.record.catalogue:
        return [f"the index is of catalogue {index.record.catalogue}, the model's is {catalogue}"]
    ids, scores = index.search(outputs[contract.USER_VECTOR], k, [excluded])
    found = servable.run(contract.RETRIEVE, asked)
    exact = dict(zip((item.decode() for item in found[contract.ITEM_ID][0]), found[contract.SCORE][0], strict=True))
    items = [item for item in ids[0] if item]
    problems = []
    if unwanted := sorted(set(items) & set(excluded)):
        problems.append(f"the index finds what was excluded: {unwanted[:3]}")
    compared = [(item, score, exact[item]) for item, score in zip(items, scores[0], strict=False) if item in exact]
    far = [item for item, score, other in compared if not abs(score - other) <= _ROUNDING * max(1.0, abs(other))]
    if far:
        problems.append(f"the index gives another score than `retrieve` to {far[:3]}")
    if not compared:
        problems.append(f"of what the index finds, `retrieve` has nothing among its first {most}")
    return problems
