"""A page of items that the approximate index beside a version finds: `user_vector`, a search, `rank` of what it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving import contract
from serving.approximate_index import ApproximateIndex, MissingLibrary, UnusableIndex
from serving.messages import first_line
from serving.page_order import page_scores
from tfx_pipeline.errors import ModelError
from tfx_pipeline.trained.version import Version


def recommend_by_index(
    version: Version, request: Mapping[str, Any], k: int, exclude: Sequence[str]
) -> tuple[dict[str, np.ndarray], str]:
    """The outputs [k] of `recommend`, and how many of the exact search's items the index had, as a sentence.

    Args:
        version: the exported model.
        request: the user's part, as `request_arrays` takes it.
        k: at most what the model ranks.
        exclude: ids that must not be on the page.

    Raises:
        ModelError: there is no index, it cannot be read, or it is another model's.
    """
    from serving.export.servable import request_arrays, retrieval_arrays, user_arrays

    found = version.contract
    try:
        index = ApproximateIndex.load(version.path)
    except (UnusableIndex, MissingLibrary) as error:
        raise ModelError(f"--approximate: {first_line(error)}") from None
    if contract.USER_VECTOR not in found.signatures:
        raise ModelError(f"--approximate: {version.path} has no signature '{contract.USER_VECTOR}'; export it again")
    count = min(found.ranked_candidates, found.retrieval_items)
    asked = retrieval_arrays(request, count, exclude, found)
    with version.open() as servable:
        vector = servable.run(contract.USER_VECTOR, user_arrays(request, found))
        catalogue = vector[contract.CATALOGUE][0].decode()
        if catalogue != index.record.catalogue:
            raise ModelError(
                f"--approximate: the index of {version.path} is of catalogue {index.record.catalogue}, the model's is "
                f"{catalogue}; push the version again"
            )
        ids, products = index.search(vector[contract.USER_VECTOR], count, [exclude])
        items = [item for item in ids[0].tolist() if item]
        ranked = servable.run(
            contract.RANK, request_arrays({**request, contract.CANDIDATE_ITEM_ID: items or [""]}, found)
        )
        exact = {item.decode() for item in servable.run(contract.RETRIEVE, asked)[contract.ITEM_ID][0] if item}
    if found.retrieval_weight:
        ranked[contract.PAGE_SCORE] = page_scores(
            ranked[contract.SCORE], products[:, : ranked[contract.SCORE].shape[1]], found.retrieval_weight
        )
    # Of equal scores the item that was retrieved first, as in `recommend`.
    by = ranked.get(contract.PAGE_SCORE, ranked[contract.SCORE])[0]
    order = np.argsort(-by, kind="stable")[: min(k, len(items))]
    page = {
        contract.ITEM_ID: np.array([items[place].encode() for place in order], object),
        contract.RETRIEVAL_SCORE: products[0][order],
        contract.RETRIEVAL_RANK: (order + 1).astype(np.int32),
        **{name: values[0][order] for name, values in ranked.items()},
    }
    told = f"of the {len(exact):,} items that an exact search retrieves, the index has {len(exact & set(items)):,}"
    return page, told
