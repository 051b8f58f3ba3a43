"""A ranking server for tests of code that uses a client: real gRPC and REST in this process, scores by a function."""

from __future__ import annotations

import collections
import dataclasses
import ssl
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent import futures
from types import TracebackType
from typing import Any, Self

import grpc

from serving.approximate_index import ApproximateIndex
from serving.client.grpc_channel import METADATA, PREDICT, STATUS
from serving.protos import model_status_pb2, predict_pb2
from serving.rest_server import RestServer
from serving.testing.fake_model import FakeModel, FakeStatus, Scorer, hash_retriever, hash_scorer
from serving.testing.fake_rest import rest_answer
from serving.testing.fake_retrieval import FakeCatalogue


@dataclasses.dataclass
class _Failure:
    code: str
    details: str
    left: int | None


class FakeRankingServer:
    """A context manager: inside it the server answers at `target` (gRPC) and `rest_target`.

    It gives TensorFlow Serving's status codes and has versions, labels and the signatures of an exported model. It
    refuses a state of one version that is sent to another, so a test cannot miss that.

    ```
    with FakeRankingServer("demo", features={"gender": "string"}) as server:
        with RankingClient(server.target, "demo") as client:
            ranking = client.rank(User("u1", ["i1"], {"gender": "f"}), ["i2", "i3"])
    ```

    Args:
        model: name of the model.
        features: profile and context inputs, name to `string` or `float32`.
        lists: those of them that hold any number of strings.
        columns: candidate columns, name to `string` or `float32`.
        content: widths of content vectors that a request may carry, by modality.
        scorer: scores of one request in the order of its candidates; the default is a hash of everything it depends
            on, so that wrong input gives another score.
        versions: those that are served at the start.
        port: of gRPC; 0 takes a free one. It stays the same over `kill` and `restart`.
        rest_port: of REST, likewise.
        max_message_bytes: largest request that gRPC takes; None takes any, as TensorFlow Serving does.
        required_metadata: a call without these entries is answered with UNAUTHENTICATED.
        credentials: TLS of the gRPC port.
        rest_tls: TLS of the REST port.
        history_ages: whether requests carry ages of history items.
        further_histories: names of histories beside the main one that requests carry.
        objectives: names of several; the scorer then gives `score` and `score/NAME` by output, or one list for all.
        catalogue: item ids that are retrieved from; none: the model has no retrieval stage.
        ranked_candidates: of how many retrieved items `recommend` makes its page.
        retrieval_weight: of retrieval's score in the order of that page; 0: it has no part.
        index: that `user_vector` is for, whose answers are hashes of user and version; None: there is none of it.
        retriever: scores of retrieval, any finite numbers in the order of `request.candidates`; the default is a hash.

    Attributes:
        calls: how often each signature was asked, and "GetModelMetadata" and "GetModelStatus", failures included.
        delay: seconds that every call takes longer.
    """

    def __init__(
        self,
        model: str = "dmf",
        *,
        features: Mapping[str, str] | None = None,
        lists: Collection[str] = (),
        content: Mapping[str, int] | None = None,
        columns: Mapping[str, str] | None = None,
        scorer: Scorer = hash_scorer,
        versions: tuple[int, ...] = (1,),
        port: int = 0,
        rest_port: int = 0,
        max_message_bytes: int | None = None,
        required_metadata: Mapping[str, str] | None = None,
        credentials: grpc.ServerCredentials | None = None,
        rest_tls: ssl.SSLContext | None = None,
        objectives: Sequence[str] = (),
        history_ages: bool = False,
        further_histories: Sequence[str] = (),
        catalogue: Sequence[str] = (),
        ranked_candidates: int = 100,
        retrieval_weight: float = 0.0,
        retriever: Scorer = hash_retriever,
        index: ApproximateIndex | None = None,
    ):
        self.calls: collections.Counter[str] = collections.Counter()
        self.delay = 0.0
        scorers = dict.fromkeys(versions, scorer)
        self._model = FakeModel(
            model,
            features or {},
            content or {},
            scorers,
            columns=columns or {},
            objectives=tuple(objectives),
            lists=frozenset(lists),
            history_ages=history_ages,
            further_histories=tuple(further_histories),
            catalogue=FakeCatalogue(tuple(catalogue), ranked_candidates) if catalogue else None,
            retrieval_weight=retrieval_weight,
            retriever=retriever,
            indexes={} if index is None else dict.fromkeys(versions, index),
        )
        self._scorer = scorer
        self._index = index
        self._port = port
        self._max_message_bytes = max_message_bytes
        self._required_metadata = dict(required_metadata or {})
        self._credentials = credentials
        self._rest_tls = rest_tls
        self._lock = threading.Lock()
        self._failures: collections.deque[_Failure] = collections.deque()
        self._server: grpc.Server | None = None
        self._rest: RestServer | None = None
        self._rest_port = rest_port

    @property
    def target(self) -> str:
        """Where gRPC is, as a client takes it; known once the server has started."""
        return f"localhost:{self._port}"

    @property
    def rest_target(self) -> str:
        """Where REST is, as a client takes it; known once the server has started."""
        return f"localhost:{self._rest_port}"

    def add_version(self, version: int, scorer: Scorer | None = None, index: ApproximateIndex | None = None) -> None:
        """Serves a version, with the server's scorer and index unless others are given."""
        # Replaced, not changed: a call that is being answered keeps the versions it began with.
        if (of_version := index or self._index) is not None:
            self._model.indexes = {**self._model.indexes, version: of_version}
        self._model.versions = {**self._model.versions, version: scorer or self._scorer}

    def remove_version(self, version: int) -> None:
        """Stops serving a version."""
        self._model.versions = {number: old for number, old in self._model.versions.items() if number != version}

    def set_label(self, label: str, version: int) -> None:
        """Gives a label to a version."""
        self._model.labels = {**self._model.labels, label: version}

    def pad_answers(self, extra: int) -> None:
        """Answers with more scores than asked, as TensorFlow Serving does after batching requests of unequal N."""
        self._model.extra_columns = extra

    def fail(self, code: str, *, times: int | None = 1, details: str = "injected") -> None:
        """The next `times` calls end with this gRPC status ("UNAVAILABLE"); None for all until `recover`."""
        with self._lock:
            self._failures.append(_Failure(code, details, times))

    def recover(self) -> None:
        """Ends what `fail` began."""
        with self._lock:
            self._failures.clear()

    def start(self) -> None:
        """Binds the ports and answers.

        Raises:
            RuntimeError: when the port is taken.
        """
        size = -1 if self._max_message_bytes is None else self._max_message_bytes
        self._server = grpc.server(
            futures.ThreadPoolExecutor(32, "fake-ranking-server"),
            options=[
                ("grpc.max_receive_message_length", size),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
        )
        prediction = {
            _name(PREDICT): self._handler(predict_pb2.PredictRequest),
            _name(METADATA): self._handler(predict_pb2.GetModelMetadataRequest),
        }
        status = {_name(STATUS): self._handler(model_status_pb2.GetModelStatusRequest)}
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(_service(PREDICT), prediction),
                grpc.method_handlers_generic_handler(_service(STATUS), status),
            )
        )
        address = f"localhost:{self._port}"
        if self._credentials is None:
            self._port = self._server.add_insecure_port(address)
        else:
            self._port = self._server.add_secure_port(address, self._credentials)
        self._server.start()
        self._rest = RestServer("localhost", self._rest_port, rest_answer(self._answer), tls=self._rest_tls)
        self._rest.start()
        self._rest_port = self._rest.port

    def kill(self) -> None:
        """Stops at once: calls under way fail, later ones find nobody."""
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None
        if self._rest is not None:
            self._rest.stop()
            self._rest = None

    def restart(self) -> None:
        """Answers again, at the same ports."""
        self.kill()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _answer(self, request: Any, metadata: Mapping[str, str]) -> Any:
        """The answer message to a request message; raises FakeStatus."""
        answers: dict[type, tuple[str, Callable[[Any], Any]]] = {
            predict_pb2.PredictRequest: (request.model_spec.signature_name, self._model.predict),
            predict_pb2.GetModelMetadataRequest: ("GetModelMetadata", self._model.metadata),
            model_status_pb2.GetModelStatusRequest: ("GetModelStatus", self._model.status),
        }
        name, answer = answers[type(request)]
        with self._lock:
            self.calls[name] += 1
            failure = self._next_failure()
        time.sleep(self.delay)
        if failure is not None:
            raise FakeStatus(failure.code, failure.details)
        for key, value in self._required_metadata.items():
            if metadata.get(key) != value:
                raise FakeStatus("UNAUTHENTICATED", f"no valid '{key}'")
        return answer(request)

    def _next_failure(self) -> _Failure | None:
        if not self._failures:
            return None
        failure = self._failures[0]
        if failure.left is not None:
            failure.left -= 1
            if not failure.left:
                self._failures.popleft()
        return failure

    def _handler(self, request_type: Any) -> Any:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                return self._answer(request, dict(context.invocation_metadata()))
            except FakeStatus as status:
                context.abort(grpc.StatusCode[status.code], status.details)

        return grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=request_type.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )


def _service(path: str) -> str:
    return path.split("/")[1]


def _name(path: str) -> str:
    return path.split("/")[2]
