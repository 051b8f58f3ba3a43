"""What a client does with a model that retrieves: items of its whole catalogue, by the model or by an index beside it.

With an index the server gives the user's vector alone, and the caller's process searches. The answer names the
catalogue that the vector is for, so an index of another one is never searched. What was found is ranked by the version
that gave the vector, or by none.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np

from serving import contract
from serving.approximate_index import ApproximateIndex
from serving.client import answers, requests
from serving.client.calls import Deadline
from serving.client.candidates import Candidates
from serving.client.engine import Engine, by_objective
from serving.client.errors import BadRequest, VersionNotFound, WrongIndex
from serving.client.model_info import ModelMetadata, objectives_of
from serving.client.requests import Selector
from serving.client.retrieval import Recommendation, Retrieval
from serving.client.text import shown
from serving.client.user import User, UserLike, as_user
from serving.client.wanted import Wanted, retrieval_signature
from serving.page_order import page_scores
from serving.protos import predict_pb2


class RetrievalEngine(Engine):
    """`Engine` with the calls of retrieval."""

    async def retrieve(
        self,
        user: UserLike,
        wanted: Wanted,
        selector: Selector,
        deadline: Deadline,
        index: ApproximateIndex | None = None,
    ) -> Retrieval:
        """Items of the catalogue by one version."""
        if index is not None:
            _check_index(index)
            _check_k(wanted.k, len(index), "the items of the index")
            found, _ = await self._searched(user, wanted, selector, deadline, index)
            return found

        async def attempt(metadata: ModelMetadata) -> Retrieval:
            outputs = [contract.ITEM_ID, contract.SCORE]
            response, who = await self._page(contract.RETRIEVE, user, wanted, selector, metadata, outputs, deadline)
            items = answers.answered_items(response, wanted.k, wanted.excluded(who))
            scores = answers.scores_of(response, len(items), probable=False)
            answers.check_falling(scores)
            return Retrieval(items, scores, self._answered(response, selector, metadata))

        return await self._explained(self._with_metadata(selector, deadline, attempt))

    async def recommend(
        self,
        user: UserLike,
        wanted: Wanted,
        selector: Selector,
        deadline: Deadline,
        objectives: bool = False,
        index: ApproximateIndex | None = None,
    ) -> Recommendation:
        """Retrieved and ranked by one version, in one call; in two with an index."""
        if index is not None:
            return await self._ranked(user, wanted, selector, deadline, objectives, index)
        stage = contract.RECOMMEND

        async def attempt(metadata: ModelMetadata) -> Recommendation:
            signature = retrieval_signature(metadata, stage)
            scored = requests.scoring_outputs(metadata, signature, objectives)
            of_retrieval = [contract.ITEM_ID, contract.RETRIEVAL_SCORE, contract.RETRIEVAL_RANK]
            ordered = contract.PAGE_SCORE in signature.outputs
            outputs = [*of_retrieval, *scored, *([contract.PAGE_SCORE] if ordered else [])]
            response, who = await self._page(stage, user, wanted, selector, metadata, outputs, deadline)
            items = answers.answered_items(response, wanted.k, wanted.excluded(who))
            formula = bool(objectives_of(signature))
            scores = answers.answered_scores(response, scored, len(items), formula=formula)
            by = scores[contract.SCORE]
            if ordered:
                by = answers.scores_of(response, len(items), contract.PAGE_SCORE, probable=False)
            answers.check_falling(by)
            return Recommendation(
                items,
                scores[contract.SCORE],
                self._answered(response, selector, metadata),
                answers.scores_of(response, len(items), contract.RETRIEVAL_SCORE, probable=False),
                answers.retrieval_ranks_of(response, len(items)),
                by_objective(scores),
                by,
            )

        return await self._explained(self._with_metadata(selector, deadline, attempt))

    async def _page(
        self,
        name: str,
        user: UserLike,
        wanted: Wanted,
        selector: Selector,
        metadata: ModelMetadata,
        outputs: Iterable[str],
        deadline: Deadline,
    ) -> tuple[predict_pb2.PredictResponse, User]:
        """The answer of `retrieve` or `recommend`, and the user as it was sent."""
        signature = retrieval_signature(metadata, name)
        who = as_user(user, fill_missing=self._options.fill_missing)
        inputs = requests.user_tensors(who, metadata, name, self._options) | wanted.tensors(who)
        return await self._predict(name, signature, self._asked(selector, metadata), inputs, outputs, deadline), who

    async def _searched(
        self, user: UserLike, wanted: Wanted, selector: Selector, deadline: Deadline, index: ApproximateIndex
    ) -> tuple[Retrieval, float]:
        """What the index has for the user's vector by one version, and that version's weight of it in a page."""
        name = contract.USER_VECTOR
        who = as_user(user, fill_missing=self._options.fill_missing)

        async def attempt(metadata: ModelMetadata) -> tuple[np.ndarray, int, float]:
            signature = retrieval_signature(metadata, name)
            inputs = requests.user_tensors(who, metadata, name, self._options)
            asked = self._asked(selector, metadata)
            weighted = contract.RETRIEVAL_WEIGHT in signature.outputs
            outputs = [contract.USER_VECTOR, contract.CATALOGUE]
            outputs += [contract.RETRIEVAL_WEIGHT] if weighted else []
            response = await self._predict(name, signature, asked, inputs, outputs, deadline)
            version = self._answered(response, selector, metadata)
            catalogue = answers.catalogue_of(response)
            if catalogue != index.record.catalogue:
                raise WrongIndex.of(self._model, version, catalogue, index)
            weight = answers.retrieval_weight_of(response) if weighted else 0.0
            return answers.user_vector_of(response, index.record.width), version, weight

        vector, version, weight = await self._explained(self._with_metadata(selector, deadline, attempt))
        search = functools.partial(index.search, vector, wanted.k, [wanted.excluded(who)])
        ids, scores = await self._transport.compute(search)
        items = [item for item in ids[0].tolist() if item]
        return Retrieval(items, scores[0, : len(items)].copy(), version), weight

    async def _ranked(
        self,
        user: UserLike,
        wanted: Wanted,
        selector: Selector,
        deadline: Deadline,
        objectives: bool,
        index: ApproximateIndex,
    ) -> Recommendation:
        """What the index has for the user, in the order of the ranker of the same version."""
        _check_index(index)
        if not index.record.ranked_candidates:
            raise BadRequest.of("index", f"{index!r} is of a model that does not rank; call `retrieve`")
        _check_k(wanted.k, index.record.ranked_candidates, "the candidates that the model ranks")
        candidates = dataclasses.replace(wanted, k=index.record.ranked_candidates)
        lost: set[int] = set()
        while True:
            found, weight = await self._searched(user, candidates, selector, deadline, index)
            pinned = Selector(version=found.model_version)
            try:
                return await self._page_of(user, found, wanted.k, pinned, deadline, objectives, weight)
            except VersionNotFound:
                # Gone between the two calls: both are made anew, once per version.
                if selector.version is not None or found.model_version in lost:
                    raise
            lost.add(found.model_version)

    async def _page_of(
        self,
        user: UserLike,
        found: Retrieval,
        k: int,
        pinned: Selector,
        deadline: Deadline,
        objectives: bool,
        weight: float,
    ) -> Recommendation:
        """The first k of what was found, in the order of a version; columns of candidates are missing values."""
        known = self._known.get(pinned)
        metadata = known.metadata if known else await self._fetch(pinned, deadline)
        items = list(found.items)
        columns = {name: [None] * len(items) for name in metadata.columns}
        ranking = await self.rank(user, Candidates(items, {}, columns), pinned, deadline, objectives)
        # `ranking` has candidates in the order of their scores, of equal ones in that of retrieval.
        by = ranking.scores
        if weight:
            by = page_scores(by, found.scores[ranking.positions], weight)
        order = np.lexsort((ranking.positions, -by))[:k]
        places = ranking.positions[order]
        return Recommendation(
            [ranking.items[place] for place in order],
            ranking.scores[order],
            found.model_version,
            found.scores[places],
            (places + 1).astype(np.int32),
            {name: values[order] for name, values in ranking.objectives.items()},
            by[order],
        )


def _check_index(index: object) -> None:
    if not isinstance(index, ApproximateIndex):
        raise BadRequest.of("index", f"index must be an ApproximateIndex, got {type(index).__name__} {shown(index)}")


def _check_k(k: int, most: int, what: str) -> None:
    if k > most:
        raise BadRequest.of("k", f"k must be from 1 to {most}, {what}; got {k}")
