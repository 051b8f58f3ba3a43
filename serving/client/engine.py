"""What a ranking client does, whatever carries its calls: contracts, retries, pages, version safety.

Retrieval is in `retrieval_engine`.

Written once with `async` and run by both kinds of client: on a blocking transport nothing ever suspends, so
`transport.run` finishes a coroutine in one step; on an asyncio transport it is awaited.

Version safety. A state is scored by the version that made it and by no other: every call with a state names its
version, and when no server has that version any more (NOT_FOUND) the user is encoded anew and all candidates are
scored with the new state. A candidate list of several pages is encoded first and scored page by page with the
state, for two reasons: the user's part is computed once, and all pages are pinned to one version.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from serving import contract
from serving.client import answers, requests
from serving.client.calls import Calls, Deadline
from serving.client.candidates import Candidates
from serving.client.errors import (
    BadRequest,
    ClientClosed,
    ModelNotFound,
    RankingError,
    SignatureNotFound,
    VersionNotFound,
)
from serving.client.model_info import (
    ModelMetadata,
    ModelStatus,
    Signature,
    metadata_request,
    objectives_of,
    parse_metadata,
    parse_status,
)
from serving.client.options import ClientOptions, check_deadline
from serving.client.ranking import Ranking
from serving.client.requests import Selector
from serving.client.text import check_text, shown
from serving.client.transport import Step, Transport
from serving.client.user import UserLike, as_user
from serving.client.user_state import UserState
from serving.protos import model_status_pb2, predict_pb2

T = TypeVar("T")
NEWEST = Selector()
# By output, float32 [N].
_Scores = dict[str, NDArray[np.float32]]
# Seconds for asking which versions there are, when a call has failed and its error should say so.
_EXPLANATION_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class _Known:
    """Signatures of a version, and when they were asked for."""

    metadata: ModelMetadata
    at: float


class Engine:
    """The calls of one client.

    Args:
        transport: carries them.
        model: name of the model.
        options: of the client.
        newest_for: seconds for which the newest version (or a label's) is taken for known. Infinite where an answer
            says which version gave it, since a change is then seen at once.
    """

    def __init__(self, transport: Transport, model: str, options: ClientOptions, newest_for: float = float("inf")):
        if not isinstance(model, str) or not model:
            raise BadRequest.of("model", f"model must be the name that the model is served under, got {shown(model)}")
        check_text("model", model)
        self._transport = transport
        self._calls = Calls(transport, model, options)
        self._model = model
        self._options = options
        self._newest_for = newest_for
        self._known: dict[Selector, _Known] = {}

    def close(self) -> None:
        """From now on every call is refused, and one that fails on its way says that the client was closed."""
        self._calls.closed = True

    def deadline(self, seconds: float | None) -> Deadline:
        """A deadline from now: the given one or the client's own.

        Raises:
            ClientClosed: after `close`.
            BadRequest: when it is no positive, finite number.
        """
        if self._calls.closed:
            raise ClientClosed("the client is closed; make a new one, or call inside its `with` block")
        try:
            return Deadline(self._options.deadline if seconds is None else check_deadline(seconds))
        except ValueError as error:
            raise BadRequest.of("deadline", str(error)) from error

    async def rank(
        self,
        user: UserLike,
        candidates: Candidates,
        selector: Selector,
        deadline: Deadline,
        objectives: bool = False,
    ) -> Ranking:
        """Scores of all candidates by one version."""
        items = candidates.items
        if not items:
            return Ranking([], np.empty(0, np.float32), None)
        if len(items) > self._options.max_candidates_per_call:
            state = await self.encode_user(user, selector, deadline)
            again = None if selector.version is not None else selector
            scores, state = await self._score(state, candidates, again, deadline, objectives)
            return _ranking(items, scores, state.version)

        async def attempt(metadata: ModelMetadata) -> Ranking:
            name, signature = requests.scoring_signature(metadata, contract.RANK, candidates.content)
            who = as_user(user, fill_missing=self._options.fill_missing)
            inputs = requests.user_tensors(who, metadata, name, self._options)
            inputs |= requests.candidate_tensors(candidates, signature, metadata, self._options)
            asked = self._asked(selector, metadata)
            outputs = requests.scoring_outputs(metadata, signature, objectives)
            response = await self._predict(name, signature, asked, inputs, outputs, deadline)
            version = self._answered(response, selector, metadata)
            formula = bool(objectives_of(signature))
            return _ranking(items, answers.answered_scores(response, outputs, len(items), formula=formula), version)

        return await self._explained(self._with_metadata(selector, deadline, attempt))

    async def encode_user(self, user: UserLike, selector: Selector, deadline: Deadline) -> UserState:
        """The user's state, made by one version."""
        who = as_user(user, fill_missing=self._options.fill_missing)

        async def attempt(metadata: ModelMetadata) -> UserState:
            signature = requests.signature_of(metadata, contract.USER_TOWER)
            needed = requests.signature_of(metadata, contract.CANDIDATE, contract.CANDIDATE_ITEM_ID)
            inputs = requests.user_tensors(who, metadata, contract.USER_TOWER, self._options)
            asked = self._asked(selector, metadata)
            names = sorted(signature.outputs.keys() & needed.inputs.keys())
            response = await self._predict(contract.USER_TOWER, signature, asked, inputs, names, deadline)
            version = self._answered(response, selector, metadata)
            return UserState(self._model, version, answers.state_of(response, names), who, selector.label)

        return await self._explained(self._with_metadata(selector, deadline, attempt))

    async def score(
        self, state: UserState, candidates: Candidates, deadline: Deadline, objectives: bool = False
    ) -> Ranking:
        """Scores of all candidates by the state's version or, when that is gone, by the one that encodes anew."""
        if not isinstance(state, UserState):
            raise BadRequest.of("state", f"state must be a UserState, got {type(state).__name__}")
        if state.model != self._model:
            raise BadRequest.of("state", f"the state is of model '{state.model}', this client asks '{self._model}'")
        if not candidates.items:
            return Ranking([], np.empty(0, np.float32), state.version, state)
        again = Selector(label=state.label)
        scores, state = await self._score(state, candidates, again, deadline, objectives)
        return _ranking(candidates.items, scores, state.version, state)

    async def metadata(self, selector: Selector, deadline: Deadline) -> ModelMetadata:
        """Signatures as the server has them now."""
        return await self._explained(self._fetch(selector, deadline))

    async def status(self, deadline: Deadline) -> ModelStatus:
        """Versions that one server knows."""
        request = model_status_pb2.GetModelStatusRequest(model_spec=NEWEST.spec(self._model))
        response = await self._calls.call(request, NEWEST, deadline)
        return parse_status(self._model, response)

    async def _score(
        self,
        state: UserState,
        candidates: Candidates,
        again: Selector | None,
        deadline: Deadline,
        objectives: bool,
    ) -> tuple[_Scores, UserState]:
        """Scores in request order by output, and the state that gave them; `again` says which version encodes anew."""
        lost: set[int] = set()
        while True:
            try:
                return await self._score_pages(state, candidates, deadline, objectives), state
            except VersionNotFound as error:
                # Once per version: where versions change quickly, the next one may be gone as well.
                if again is None or state.version in lost:
                    raise await self._explanation(error) from error.__cause__
            lost.add(state.version)
            state = await self.encode_user(state.user, again, deadline)

    async def _score_pages(
        self,
        state: UserState,
        candidates: Candidates,
        deadline: Deadline,
        objectives: bool,
    ) -> _Scores:
        pinned = Selector(version=state.version)
        known = self._known.get(pinned)
        metadata = known.metadata if known else await self._fetch(pinned, deadline)
        name, signature = requests.scoring_signature(metadata, contract.CANDIDATE, candidates.content)

        outputs = requests.scoring_outputs(metadata, signature, objectives)
        formula = bool(objectives_of(signature))

        async def score_page(page: slice) -> _Scores:
            part = candidates.page(page)
            inputs = {**state.tensors, **requests.candidate_tensors(part, signature, metadata, self._options)}
            response = await self._predict(name, signature, pinned, inputs, outputs, deadline)
            return answers.answered_scores(response, outputs, page.stop - page.start, formula=formula)

        pages = requests.pages(len(candidates), self._options.max_candidates_per_call)
        if len(pages) == 1:
            return await score_page(pages[0])
        steps: list[Step[_Scores]] = [functools.partial(score_page, page) for page in pages]
        scores = await self._transport.gather(steps)
        return {output: np.concatenate([page[output] for page in scores]) for output in outputs}

    async def _with_metadata(
        self, selector: Selector, deadline: Deadline, attempt: Callable[[ModelMetadata], Awaitable[T]]
    ) -> T:
        """Runs `attempt` with the signatures of a version; again with others where those may be out of date.

        A new version may have other inputs than the one that is known: what does not fit is asked for again before
        it is an error. Where answers name no version, calls are pinned to the newest, and that may be gone meanwhile.
        """
        known = self._known.get(selector)
        if known is not None and selector.version is None and time.monotonic() - known.at > self._newest_for:
            known = None
        metadata = known.metadata if known else await self._fetch(selector, deadline)
        may_be_stale = known is not None
        while True:
            try:
                return await attempt(metadata)
            except RankingError as error:
                doubtful = isinstance(error, BadRequest | SignatureNotFound) and may_be_stale
                if selector.version is not None or not (doubtful or isinstance(error, VersionNotFound)):
                    raise
                latest = await self._fetch(selector, deadline)
                if latest == metadata:
                    raise
            metadata, may_be_stale = latest, False

    def _asked(self, selector: Selector, metadata: ModelMetadata) -> Selector:
        """The version to name in a request."""
        return selector if self._transport.names_version else Selector(version=metadata.version)

    def _answered(self, response: predict_pb2.PredictResponse, selector: Selector, metadata: ModelMetadata) -> int:
        """The version that answered; when it is another than expected, its signatures are asked for next time."""
        version = answers.version_of(response)
        if version != metadata.version:
            self._known.pop(selector, None)
        return version

    async def _fetch(self, selector: Selector, deadline: Deadline) -> ModelMetadata:
        request = metadata_request(selector.spec(self._model))
        response = await self._calls.call(request, selector, deadline)
        metadata = parse_metadata(response)
        known = _Known(metadata, time.monotonic())
        self._known[selector] = self._known[Selector(version=metadata.version)] = known
        return metadata

    async def _predict(
        self,
        name: str,
        signature: Signature,
        selector: Selector,
        inputs: requests.Tensors,
        outputs: Iterable[str],
        deadline: Deadline,
    ) -> predict_pb2.PredictResponse:
        request = requests.predict_request(self._model, name, selector, inputs, outputs)
        response: predict_pb2.PredictResponse = await self._calls.call(request, selector, deadline, signature)
        return response

    async def _explained(self, step: Awaitable[T]) -> T:
        """The step's result; when a model or version is missing, an error that says what there is."""
        try:
            return await step
        except (ModelNotFound, VersionNotFound) as error:
            raise await self._explanation(error) from error.__cause__

    async def _explanation(self, error: RankingError) -> RankingError:
        try:
            status = await self.status(Deadline(_EXPLANATION_SECONDS))
        except ModelNotFound as no_model:
            return no_model
        except RankingError:
            return error
        versions = ", ".join(f"{entry.version} {entry.state}" for entry in status.versions) or "none"
        explained = type(error)(
            f"{error}; versions of '{self._model}' there: {versions}",
            code=error.code,
            details=error.details,
            target=error.target,
        )
        if isinstance(explained, VersionNotFound):
            explained.available = status.available
        return explained


def _ranking(items: list[str], scores: _Scores, version: int, state: UserState | None = None) -> Ranking:
    return Ranking(items, scores[contract.SCORE], version, state, by_objective(scores))


def by_objective(scores: _Scores) -> _Scores:
    """The probabilities of the objectives among scores by output."""
    return {
        name.removeprefix(contract.SCORE_PREFIX): values for name, values in scores.items() if name != contract.SCORE
    }
