"""The retrieval stage of the fake: `retrieve` and `recommend` over a catalogue that is a list, without any wire."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from serving import contract
from serving.approximate_index import ApproximateIndex
from serving.client.tensors import number_tensor, string_tensor
from serving.contract import TensorContract
from serving.page_order import page_scores
from serving.protos import tensor_pb2

INPUTS = {
    contract.K: TensorContract("int32", (None,)),
    contract.EXCLUDE_ITEM_ID: TensorContract("string", (None, None)),
}
OUTPUTS = {
    contract.ITEM_ID: TensorContract("string", (None, None)),
    contract.SCORE: TensorContract("float32", (None, None)),
}
_OF_RANKED = {
    contract.RETRIEVAL_SCORE: TensorContract("float32", (None, None)),
    contract.RETRIEVAL_RANK: TensorContract("int32", (None, None)),
}


def page_outputs(weight: float) -> dict[str, TensorContract]:
    """Outputs of `recommend` beside those of ranking, for a weight of retrieval in the order of pages."""
    ordered = {contract.PAGE_SCORE: TensorContract("float32", (None, None))} if weight else {}
    return OUTPUTS | _OF_RANKED | ordered


def vector_outputs(index: ApproximateIndex, weight: float = 0.0) -> dict[str, TensorContract]:
    """Outputs of `user_vector`, for an index and a weight of retrieval in the order of pages."""
    told = {contract.RETRIEVAL_WEIGHT: TensorContract("float32", (None,))} if weight else {}
    return {
        contract.USER_VECTOR: TensorContract("float32", (None, index.record.width)),
        contract.CATALOGUE: TensorContract("string", (None,)),
        **told,
    }


def user_vector(
    vector: Sequence[float], index: ApproximateIndex, weight: float = 0.0
) -> dict[str, tensor_pb2.TensorProto]:
    """The outputs of `user_vector`."""
    told = {contract.RETRIEVAL_WEIGHT: number_tensor([weight], "float32")} if weight else {}
    return {
        contract.USER_VECTOR: number_tensor([vector], "float32"),
        contract.CATALOGUE: string_tensor([index.record.catalogue], (1,)),
        **told,
    }


# Scores of items in their order: of retrieval [N], and of ranking [N] by output.
Retriever = Callable[[Sequence[str]], NDArray[np.float32]]
Ranker = Callable[[Sequence[str]], Mapping[str, NDArray[np.float32]]]


class WrongK(Exception):
    """More or fewer items are asked for than there can be; the message says what is allowed."""


@dataclasses.dataclass(frozen=True)
class FakeCatalogue:
    """What the fake retrieves from.

    Attributes:
        items: ids; equal scores keep their order.
        ranked: how many `recommend` retrieves and ranks.
    """

    items: tuple[str, ...]
    ranked: int

    def retrieve(
        self, k: int, excluded: Sequence[str], retriever: Retriever, width: int
    ) -> dict[str, tensor_pb2.TensorProto]:
        """The outputs of `retrieve`, `width` wide.

        Raises:
            WrongK: `k` is below 1 or above the catalogue.
        """
        _check(k, len(self.items), "the items of the catalogue")
        items, scores = self._best(k, excluded, retriever)
        return {contract.ITEM_ID: _ids(items, width), contract.SCORE: _numbers(scores, width)}

    def recommend(
        self, k: int, excluded: Sequence[str], retriever: Retriever, ranker: Ranker, width: int, weight: float
    ) -> dict[str, tensor_pb2.TensorProto]:
        """The outputs of `recommend`, `width` wide, in the order of both scores where retrieval has a weight.

        Raises:
            WrongK: `k` is below 1 or above `ranked`.
        """
        _check(k, min(self.ranked, len(self.items)), "the candidates that the model ranks")
        items, of_retrieval = self._best(self.ranked, excluded, retriever)
        scores = dict(ranker(items))
        if weight:
            scores[contract.PAGE_SCORE] = page_scores(scores[contract.SCORE], of_retrieval, weight)
        order = np.argsort(-scores[contract.PAGE_SCORE if weight else contract.SCORE], kind="stable")[:k]
        return {
            contract.ITEM_ID: _ids([items[place] for place in order], width),
            contract.RETRIEVAL_SCORE: _numbers(of_retrieval[order], width),
            contract.RETRIEVAL_RANK: _numbers((order + 1).astype(np.int32), width),
            **{name: _numbers(values[order], width) for name, values in scores.items()},
        }

    def _best(self, count: int, excluded: Sequence[str], retriever: Retriever) -> tuple[list[str], NDArray[np.float32]]:
        unwanted = set(excluded)
        items = [item for item in self.items if item not in unwanted]
        scores = retriever(items)
        order = np.argsort(-scores, kind="stable")[:count]
        return [items[place] for place in order], scores[order]


def _check(k: int, most: int, what: str) -> None:
    if not 1 <= k <= most:
        raise WrongK(f"{contract.K} must be from 1 to {most}, {what}; got {k}")


def _ids(items: Sequence[str], width: int) -> tensor_pb2.TensorProto:
    return string_tensor([*items, *[""] * (width - len(items))], (1, width))


def _numbers(values: NDArray[np.float32] | NDArray[np.int32], width: int) -> tensor_pb2.TensorProto:
    padded = np.zeros((1, width), values.dtype)
    padded[0, : len(values)] = values
    return number_tensor(padded, values.dtype.name)
