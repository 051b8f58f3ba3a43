"""The interface of the blocking clients, whatever the transport."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Protocol, Self

from serving.approximate_index import ApproximateIndex
from serving.client.candidates import Candidates, Columns, Content
from serving.client.model_info import ModelMetadata, ModelStatus
from serving.client.ranking import Ranking
from serving.client.requests import Selector
from serving.client.retrieval import Recommendation, Retrieval
from serving.client.retrieval_engine import RetrievalEngine
from serving.client.transport import Transport, run
from serving.client.user import UserLike
from serving.client.user_state import UserState
from serving.client.wanted import Wanted


class ClosableTransport(Transport, Protocol):
    """A transport that holds connections."""

    def close(self) -> None:
        """Closes them; calls under way fail."""


class BlockingClient:
    """Ranks through a server; a context manager, safe to share between threads.

    Every method may raise any error of `serving.client.errors`; each names those it raises of itself.
    """

    def __init__(self, engine: RetrievalEngine, transport: ClosableTransport):
        self._engine = engine
        self._transport = transport

    def rank(
        self,
        user: UserLike,
        candidates: Iterable[str],
        *,
        content: Content | None = None,
        columns: Columns | None = None,
        objectives: bool = False,
        version: int | None = None,
        label: str | None = None,
        deadline: float | None = None,
    ) -> Ranking:
        """Scores candidates for a user, all by one version of the model.

        Args:
            user: a `User`, or a mapping from the model's input names.
            candidates: item ids; none gives an empty ranking without a call, unknown ones get a score too.
            content: content vectors by modality, float [N, width] with a row for each candidate, for items that are
                newer than the model's catalogue; a row of zeros keeps what the catalogue has.
            columns: values by candidate column, one for each candidate: strings or numbers, as the model takes them
                (`ModelMetadata.columns`), None where there is none. How an item was shown is no such column.
            objectives: whether the probabilities of the model's objectives are asked for too: `Ranking.objectives`.
            version: the version to ask. None asks the newest.
            label: the version label to ask, in place of a version.
            deadline: seconds for the whole call. None takes the client's.

        Raises:
            BadRequest: an input is missing, unknown or of a wrong type; `field` names it.
            VersionNotFound: the version or label is not served.
        """
        return run(
            self._engine.rank(
                user,
                Candidates.of(candidates, content, columns),
                Selector(version, label),
                self._engine.deadline(deadline),
                objectives,
            )
        )

    def encode_user(
        self,
        user: UserLike,
        *,
        version: int | None = None,
        label: str | None = None,
        deadline: float | None = None,
    ) -> UserState:
        """Encodes a user once, for any number of `score` calls.

        Args:
            user: as in `rank`.
            version: as in `rank`.
            label: as in `rank`; a state whose version is gone is encoded anew by the same label.
            deadline: as in `rank`.

        Raises:
            BadRequest: an input is missing, unknown or of a wrong type; `field` names it.
            VersionNotFound: the version or label is not served.
        """
        return run(self._engine.encode_user(user, Selector(version, label), self._engine.deadline(deadline)))

    def score(
        self,
        state: UserState,
        candidates: Iterable[str],
        *,
        content: Content | None = None,
        columns: Columns | None = None,
        objectives: bool = False,
        deadline: float | None = None,
    ) -> Ranking:
        """Scores candidates with a kept state, by the version that made it.

        When no server has that version any more, the user is encoded again and all candidates are scored with the new
        state, which is `Ranking.state`.

        Args:
            state: of `encode_user`, perhaps of another process.
            candidates: as in `rank`.
            content: as in `rank`.
            columns: as in `rank`.
            objectives: as in `rank`.
            deadline: as in `rank`.

        Raises:
            BadRequest: a candidate, its content or column is wrong, or the state is another model's; `field` names it.
        """
        return run(
            self._engine.score(
                state, Candidates.of(candidates, content, columns), self._engine.deadline(deadline), objectives
            )
        )

    def retrieve(
        self,
        user: UserLike,
        k: int,
        *,
        exclude: Iterable[str] = (),
        exclude_history: bool = False,
        version: int | None = None,
        label: str | None = None,
        index: ApproximateIndex | None = None,
        deadline: float | None = None,
    ) -> Retrieval:
        """The items of the model's whole catalogue that its retrieval stage scores highest for a user.

        To rank them by the same version, name it: `rank(user, items, version=retrieval.model_version)`.

        Args:
            user: as in `rank`.
            k: how many items, at most those of the catalogue.
            exclude: ids of items that must not be among them, such as those not for sale; unknown ones are no error.
            exclude_history: whether the items of the user's history must not be either; not those of further
                histories.
            version: as in `rank`.
            label: as in `rank`.
            index: the approximate index of the version: the server gives the user's vector, and this process searches.
                None lets the server look at every item.
            deadline: as in `rank`; a search of the index does not look at it.

        Raises:
            BadRequest: an input is missing, unknown or of a wrong type, or `k` is below 1 or above the catalogue.
            SignatureNotFound: the model was exported without a retrieval stage.
            VersionNotFound: the version or label is not served.
            WrongIndex: the index is not that of the version that answered.
        """
        return run(
            self._engine.retrieve(
                user,
                Wanted.of(k, exclude, exclude_history),
                Selector(version, label),
                self._engine.deadline(deadline),
                index,
            )
        )

    def recommend(
        self,
        user: UserLike,
        k: int,
        *,
        exclude: Iterable[str] = (),
        exclude_history: bool = False,
        objectives: bool = False,
        version: int | None = None,
        label: str | None = None,
        index: ApproximateIndex | None = None,
        deadline: float | None = None,
    ) -> Recommendation:
        """A page for a user out of the whole catalogue: retrieved and ranked by one version, in one call.

        Candidate columns are missing values there. Who knows them retrieves, and ranks what came.

        Args:
            user: as in `rank`.
            k: how many items, at most those that the model ranks of what it retrieves.
            exclude: as in `retrieve`; excluded items take no places of those that are ranked.
            exclude_history: as in `retrieve`.
            objectives: as in `rank`.
            version: as in `rank`.
            label: as in `rank`.
            index: as in `retrieve`; what it finds is then ranked by the same version, in a second call. Where that
                version goes between the two, both are made anew, unless it was named.
            deadline: as in `retrieve`, for both calls.

        Raises:
            BadRequest: an input is missing, unknown or of a wrong type, or `k` is below 1 or more than the model ranks.
            SignatureNotFound: the model was exported without both stages.
            VersionNotFound: the version or label is not served.
            WrongIndex: the index is not that of the version that answered.
        """
        return run(
            self._engine.recommend(
                user,
                Wanted.of(k, exclude, exclude_history),
                Selector(version, label),
                self._engine.deadline(deadline),
                objectives,
                index,
            )
        )

    def model_status(self, *, deadline: float | None = None) -> ModelStatus:
        """The model's versions as one of the servers reports them.

        Raises:
            ModelNotFound: the server has no such model.
        """
        return run(self._engine.status(self._engine.deadline(deadline)))

    def metadata(
        self, *, version: int | None = None, label: str | None = None, deadline: float | None = None
    ) -> ModelMetadata:
        """The signatures of a version, asked anew; called at start it opens the connection too.

        Raises:
            ModelNotFound: the server has no such model, or no version that is ready.
            VersionNotFound: the version or label is not served.
        """
        return run(self._engine.metadata(Selector(version, label), self._engine.deadline(deadline)))

    def close(self) -> None:
        """Closes the connections; calls under way fail with `ClientClosed`."""
        self._engine.close()
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
