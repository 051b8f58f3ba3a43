"""One request to whichever server answers it: deadlines, retries, fail-over, records."""

from __future__ import annotations

import itertools
import logging
import random
import time
from typing import Any

from serving.client.answers import check_origin
from serving.client.errors import ClientClosed, MessageTooLarge, RankingError
from serving.client.failures import too_large, typed_error
from serving.client.metrics import CallRecord
from serving.client.model_info import Signature
from serving.client.options import ClientOptions
from serving.client.requests import Selector
from serving.client.transport import CallFailed, Payload, Transport
from serving.protos import model_status_pb2, predict_pb2

_METHODS = {
    predict_pb2.PredictRequest: "Predict",
    predict_pb2.GetModelMetadataRequest: "GetModelMetadata",
    model_status_pb2.GetModelStatusRequest: "GetModelStatus",
}
# Of a wait; more would be beyond what a float holds.
_MOST_DOUBLINGS = 60
_log = logging.getLogger("serving.client")


class Deadline:
    """The moment at which a call of the client must be over, `seconds` from now."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self._ends = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, not below 0."""
        return max(0.0, self._ends - time.monotonic())


class Calls:
    """Sends requests to servers that take turns.

    UNAVAILABLE goes on to the next server and, when all had their turn, waits and begins again, as `RetryOptions` say.
    NOT_FOUND goes on to the next server and is believed when none of the others knows better: servers of one model
    change versions one after another. Every other status ends the call at once.

    Args:
        transport: carries the requests.
        model: name of the model.
        options: of the client.
    """

    def __init__(self, transport: Transport, model: str, options: ClientOptions):
        self.closed = False
        self._transport = transport
        self._model = model
        self._options = options
        self._turns = itertools.count()
        self._random = random.Random()

    async def call(self, request: Any, asked: Selector, deadline: Deadline, signature: Signature | None = None) -> Any:
        """The answer message to a request message.

        Args:
            request: a message of `serving.protos`.
            asked: the version it asks, for errors and records.
            deadline: of the client's call that this is a part of.
            signature: of a Predict request.

        Raises:
            RankingError: typed by the status of the last attempt.
            InvalidAnswer: the answer is none, or another model's or version's than asked.
        """
        payload = self._transport.encode(request)
        limit = self._options.max_message_bytes
        if len(payload.body) > limit:
            raise MessageTooLarge(too_large(len(payload.body), limit, "a request"))
        targets = self._transport.targets
        turn = next(self._turns) % len(targets)
        most = max(self._options.retry.max_attempts, len(targets))
        missing: CallFailed | None = None
        for attempt in itertools.count(1):
            target = targets[(turn + attempt - 1) % len(targets)]
            try:
                return await self._attempt(request, payload, target, attempt, asked, signature, deadline)
            except CallFailed as error:
                failure = error
            if failure.code == "NOT_FOUND":
                missing = failure
            all_had_their_turn = attempt % len(targets) == 0
            if missing is not None and all_had_their_turn:
                failure = missing
                break
            if failure.code not in ("NOT_FOUND", "UNAVAILABLE") or attempt >= most or self.closed:
                break
            wait = self._wait(attempt // len(targets)) if all_had_their_turn else 0.0
            if wait >= deadline.remaining():
                break
            await self._transport.sleep(wait)
            if not deadline.remaining():
                # The pause was longer than asked for. What the call was to be tried again for says more than that.
                break
        if self.closed and failure.code == "UNAVAILABLE":
            raise ClientClosed("the client was closed during the call", code=failure.code) from failure
        raise typed_error(
            failure,
            model=self._model,
            asked=asked,
            signature=_signature_name(request),
            deadline=deadline.seconds,
            attempts=attempt,
            limit=limit,
        ) from (failure.__cause__ or failure)

    def _wait(self, rounds: int) -> float:
        retry = self._options.retry
        doubled = retry.initial_backoff * 2.0 ** min(rounds - 1, _MOST_DOUBLINGS)
        return self._random.uniform(0, min(retry.max_backoff, doubled))

    async def _attempt(
        self,
        request: Any,
        payload: Payload,
        target: str,
        attempt: int,
        asked: Selector,
        signature: Signature | None,
        deadline: Deadline,
    ) -> Any:
        started = time.perf_counter()
        code, version, received = "OK", asked.version, 0
        try:
            if not deadline.remaining():
                raise CallFailed("DEADLINE_EXCEEDED", "the deadline passed before the call", target)
            raw = await self._transport.send(target, payload, deadline.remaining())
            received = len(raw)
            response = self._transport.decode(request, raw, signature)
            if hasattr(response, "model_spec"):
                check_origin(response.model_spec, self._model, asked)
                if response.model_spec.HasField("version"):
                    version = response.model_spec.version.value
            return response
        except CallFailed as failure:
            code = failure.code
            raise
        except RankingError:
            code = "INTERNAL"  # an answer that is none
            raise
        except BaseException:
            code = "CANCELLED"
            raise
        finally:
            self._report(
                CallRecord(
                    method=_METHODS[type(request)],
                    signature=_signature_name(request),
                    model=self._model,
                    version=version,
                    target=target,
                    code=code,
                    seconds=time.perf_counter() - started,
                    attempt=attempt,
                    request_bytes=len(payload.body),
                    response_bytes=received,
                )
            )

    def _report(self, record: CallRecord) -> None:
        if self._options.on_call is None:
            return
        try:
            self._options.on_call(record)
        except Exception:  # a broken metric must not break a ranking
            _log.exception("ClientOptions.on_call failed")


def _signature_name(request: Any) -> str:
    return str(request.model_spec.signature_name)
