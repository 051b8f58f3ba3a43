"""One exported version of a model on disk: where it lies, what lies beside it, and how to open it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serving import contract
from serving.contract import CONTRACT_FILE, LOGS_FILE, MANIFEST_FILE, ModelContract
from serving.export.metadata import read_json
from serving.manifest import check_version
from serving.messages import first_line
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.mirror import mirrored
from tfx_pipeline.files.stored_versions import bring_version, bring_versions, is_stored_version

if TYPE_CHECKING:
    from serving.export.servable import Servable
    from tfx_pipeline.config.ingestion import IngestionConfig
    from tfx_pipeline.trained.user_state import UserSnapshot

_NO_LOGS = "none: the logs are not here; give --history"


@dataclasses.dataclass(frozen=True)
class Known:
    """What is known of a user without being told; snapshot and titles are empty where the logs are not.

    Attributes:
        snapshot: the user's present state.
        titles: of the items of the catalogue, by id.
        history_source: where the history comes from, in words.
    """

    snapshot: UserSnapshot
    titles: dict[str, str]
    history_source: str


@dataclasses.dataclass(frozen=True)
class Version:
    """One exported version. Nothing is read before it is asked for, and TensorFlow only to open the model.

    Attributes:
        path: the folder of the SavedModel.
    """

    path: Path

    @classmethod
    def find(cls, model: Path) -> Version:
        """The version in `model`, or the newest of the numbered folders in it.

        Args:
            model: a folder, or the address of one on an object store, from which the version is fetched.

        Raises:
            ModelError: there is none.
            DataError: the store cannot be read.
        """
        model = mirrored(model)
        (bring_version if is_stored_version(model) else bring_versions)(model)
        if (model / "saved_model.pb").exists():
            return cls(model)
        versions = [path for path in model.glob("[0-9]*") if path.name.isdigit() and (path / "saved_model.pb").exists()]
        if not versions:
            there = ", ".join(sorted(path.name for path in model.iterdir())[:5]) if model.is_dir() else "no such folder"
            raise ModelError(
                f"{model} holds no exported model (saved_model.pb) and no versions of one; "
                f"there is: {there or 'nothing'}"
            )
        return cls(max(versions, key=lambda path: int(path.name)))

    @property
    def number(self) -> int | None:
        """The version's number, the name of its folder; None where that is no number."""
        return int(self.path.name) if self.path.name.isdecimal() else None

    @functools.cached_property
    def contract(self) -> ModelContract:
        """What a client must know of the model.

        Raises:
            ModelError: it is not there or cannot be read.
        """
        with self._as_a_sentence():
            try:
                return ModelContract.read(self.path)
            except FileNotFoundError:
                raise ModelError(
                    f"{self.path} has no {CONTRACT_FILE}: a SavedModel, but no ranking model of this project"
                ) from None

    def ingestion(self) -> IngestionConfig:
        """The configuration of the logs that the model was trained on.

        Raises:
            OSError, ValueError: it is not there or cannot be read.
        """
        from tfx_pipeline.config.ingestion import IngestionConfig

        return IngestionConfig.model_validate_json((self.path / LOGS_FILE).read_text(encoding="utf-8"))

    @property
    def has_items(self) -> bool:
        """Whether the model has a catalogue; one with random weights has none."""
        return self._asset_path(artifact_files.ITEM_IDS).exists()

    def items(self) -> list[str]:
        """Ids of all items that the model can rank: those of its catalogue.

        Raises:
            ModelError: they are not there or cannot be read.
        """
        known = self._asset(artifact_files.ITEM_IDS)
        with self._as_a_sentence():
            refresh = (read_json(self.path, contract.METADATA_FILE) or {}).get("refresh", {})
        # Behind the catalogue stand items that only histories have.
        return known[: len(known) - refresh.get("retired", 0)]

    def item_vocabulary(self) -> list[str]:
        """Ids of the items that have an embedding of their own.

        Raises:
            ModelError: they are not there or cannot be read.
        """
        from tfx_pipeline.transform.transformed_features import ITEM_VOCABULARY

        return self._asset(ITEM_VOCABULARY)

    def knows_user(self, user: str) -> bool | None:
        """Whether the user has an embedding of their own; None where no user has.

        Raises:
            ModelError: the users are there and cannot be read.
        """
        from tfx_pipeline.transform.transformed_features import USER_VOCABULARY

        return user in self._asset(USER_VOCABULARY) if self._asset_path(USER_VOCABULARY).exists() else None

    def notes_on_user(self, user: str) -> list[str]:
        """What a reader of the user's scores must know, as sentences."""
        if self.knows_user(user) is not False:
            return []
        return [f"user '{user}' is unknown to the model: scored as any new user of this history, profile and context"]

    def notes_on_ages(self, known: Known) -> list[str]:
        """What a reader must know of how long ago the history was, as sentences."""
        if not self.contract.history_ages or not known.snapshot.history:
            return []
        if None in known.snapshot.history_age_s:
            return ["how long ago the events of this history were is not known, and training had no such history"]
        now = dt.datetime.fromtimestamp((known.snapshot.now_us or 0) / 1e6, dt.UTC).isoformat(timespec="seconds")
        return [f"how long ago the events of the history were is counted until {now}, the latest time of the logs"]

    def item_facts(self, items: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Facts about items.

        Args:
            items: their ids; those that the model does not know have no impressions and no content.

        Returns:
            Impressions in train int64 [n], and bool [n], whether the item has content.

        Raises:
            ModelError: the facts are not there or cannot be read.
        """
        from tfx_pipeline.evaluation.item_facts import read_item_facts

        try:
            return read_item_facts(self.path).look_up(np.array([item.encode() for item in items], object))
        except (OSError, ValueError) as error:
            raise ModelError(f"the item facts of {self.path} cannot be read: {first_line(error)}") from None

    def further_histories(self, known: Known) -> dict[str, Any]:
        """Inputs of the model's further histories, and of their ages where it takes some."""
        inputs: dict[str, Any] = {}
        for name in self.contract.further_histories:
            inputs[contract.further_history_items(name)] = known.snapshot.further.get(name, ([], ()))[0]
            if self.contract.history_ages:
                inputs[contract.further_history_ages(name)] = known.snapshot.further_age_s.get(name)
        return inputs

    def user_request(self, user: str, known: Known) -> dict[str, Any]:
        """The user's part of a request by input name, lists and scalars as `request_arrays` takes them."""
        return {
            contract.USER_ID: user,
            contract.HISTORY_ITEM_ID: known.snapshot.history,
            **({contract.HISTORY_AGE: known.snapshot.history_age_s} if self.contract.history_ages else {}),
            **self.further_histories(known),
            **known.snapshot.columns,
        }

    def seen_by(self, known: Known, history: Sequence[str] | None) -> set[str]:
        """Items that the user clicked in the logs, and those of `history`, where one is given.

        Raises:
            DataError: neither is known.
        """
        if known.snapshot.clicked is None and history is None:
            raise DataError(
                f"--exclude-seen leaves out what the user clicked in the logs that {self.path} was trained on, and "
                "they are not here; give what the user had by --history, or leave --exclude-seen out"
            )
        return {*(known.snapshot.clicked or ()), *(history or ())}

    def notes_on_formula(self) -> list[str]:
        """What `score` is, where the model has several objectives, as sentences."""
        found = self.contract
        if not found.objectives:
            return []
        conditions = [f"{name} is given {given}" for name, given in found.objectives.items() if given is not None]
        return [f"score is {found.formula}" + (f"; {', '.join(conditions)}" if conditions else "")]

    def known_of(
        self, user: str, history: Sequence[str] | None, sequences: Mapping[str, Sequence[str]] | None = None
    ) -> Known:
        """What is known of a user without being told, out of the logs that the model was trained on.

        Args:
            user: user id.
            history: item ids to take in place of those in the logs; None: those in the logs.
            sequences: the same of further histories, by name; one that is not named is that in the logs.

        Raises:
            DataError: the model has no further history of a name.
        """
        takes: Mapping[str, int] = self.contract.further_histories if sequences else {}
        for name in sequences or {}:
            if name not in takes:
                raise DataError(
                    f"--sequence {name}: the model takes {', '.join(takes) or 'no history beside the main one'}"
                )
        from tfx_pipeline.data.content.catalogue import read_catalogue
        from tfx_pipeline.trained.user_state import UserSnapshot, user_snapshot

        try:
            config = self.ingestion()
            snapshot = user_snapshot(config, user)
            catalogue = read_catalogue(config.data.items)
            titles = dict(zip(catalogue.item_ids.to_pylist(), catalogue.titles or [], strict=False))
            source = "from the logs"
        except (OSError, ValueError, DataError):
            snapshot, titles, source = UserSnapshot([], {}), {}, _NO_LOGS
        if history is not None:
            # The others go on being those of the logs, whose ages are known.
            snapshot, source = snapshot._replace(history=list(history), history_time_us=()), "given"
        if sequences:
            given = {name: (list(items), ()) for name, items in sequences.items()}
            snapshot = snapshot._replace(further={**snapshot.further, **given})
        return Known(snapshot, titles, source)

    def verify(self) -> None:
        """Compares every file with what was pushed, by checksum.

        Raises:
            ModelError: a file is missing or has changed, or the version was pushed without a manifest.
        """
        if not (self.path / MANIFEST_FILE).exists():
            raise ModelError(
                f"{self.path} has no {MANIFEST_FILE} to be compared with, as versions have that are pushed now; "
                f"push it again: dmf run --no-cache Pusher"
            )
        with self._as_a_sentence():
            check_version(self.path, checksums=True)

    def load(self, *, optimised: bool = False) -> Servable:
        """The exported model, loaded as a server loads it; the caller closes it.

        Args:
            optimised: see `Servable`: worth its seconds for many thousand requests, not for a few.

        Raises:
            ModelError: it cannot be loaded.
        """
        import tensorflow as tf

        from serving.export.servable import Servable

        with self._as_a_sentence(tf.errors.OpError):
            return Servable(self.path, optimised=optimised)

    @contextlib.contextmanager
    def open(self) -> Iterator[Servable]:
        """The exported model, loaded as a server loads it and closed in the end.

        Raises:
            ModelError: it has no contract, cannot be loaded, or fails while it is in use.
        """
        import tensorflow as tf

        _ = self.contract  # what is none of this project's models is refused before it is loaded
        with self._as_a_sentence(tf.errors.OpError), self.load() as servable:
            yield servable

    def _asset(self, file: str) -> list[str]:
        path = self._asset_path(file)
        try:
            return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"{path} cannot be read: {first_line(error)}") from None

    def _asset_path(self, file: str) -> Path:
        return self.path / "assets" / file

    @contextlib.contextmanager
    def _as_a_sentence(self, *more: type[Exception]) -> Iterator[None]:
        refusals: tuple[type[Exception], ...] = (OSError, KeyError, TypeError, ValueError, *more)
        try:
            yield
        except refusals as error:
            raise ModelError(f"{self.path} cannot be loaded as a ranking model: {first_line(error)}") from None
