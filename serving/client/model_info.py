"""What a server says of a model: the signatures of a version, and which versions there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError

from serving import contract
from serving.client.errors import InvalidAnswer
from serving.client.tensors import dtype_name
from serving.contract import TensorContract
from serving.protos import model_status_pb2, predict_pb2

SIGNATURE_DEF = "signature_def"


@dataclasses.dataclass(frozen=True)
class Signature:
    """Inputs and outputs of one signature by name."""

    inputs: Mapping[str, TensorContract]
    outputs: Mapping[str, TensorContract]


@dataclasses.dataclass(frozen=True)
class ModelMetadata:
    """The signatures of one version of a model.

    Attributes:
        model: the name it is served under.
        version: the version described.
        signatures: by name; those of TensorFlow's own (`__saved_model_init_op`) are left out.
    """

    model: str
    version: int
    signatures: Mapping[str, Signature]

    @property
    def features(self) -> dict[str, str]:
        """Profile and context inputs, name to dtype: what `User.features` must have."""
        known = {contract.USER_ID, *self._histories}
        inputs = self.signatures[contract.USER_TOWER].inputs if contract.USER_TOWER in self.signatures else {}
        return {name: spec.dtype for name, spec in sorted(inputs.items()) if name not in known}

    @property
    def lists(self) -> frozenset[str]:
        """Those of `features` that are lists of any number of values."""
        inputs = self.signatures[contract.USER_TOWER].inputs if contract.USER_TOWER in self.signatures else {}
        return frozenset(name for name in self.features if len(inputs[name].shape) == 2)

    @property
    def history_ages(self) -> bool:
        """Whether a request must carry the ages of its history's items, `User.history_age_s`."""
        inputs = self.signatures[contract.USER_TOWER].inputs if contract.USER_TOWER in self.signatures else {}
        # A model without may have a feature of that name, one value a user.
        ages = inputs.get(contract.HISTORY_AGE)
        return ages is not None and ages.dtype == "float32" and len(ages.shape) == 2

    @property
    def further_histories(self) -> tuple[str, ...]:
        """Names of the histories beside the main one that a request must carry, `User.histories`."""
        inputs = self.signatures[contract.USER_TOWER].inputs if contract.USER_TOWER in self.signatures else {}
        return tuple(name for name in map(contract.further_history_of, sorted(inputs)) if name is not None)

    @property
    def _histories(self) -> list[str]:
        """Inputs that are histories or their ages."""
        further = self.further_histories
        items = [contract.HISTORY_ITEM_ID, *map(contract.further_history_items, further)]
        ages = [contract.HISTORY_AGE, *map(contract.further_history_ages, further)] if self.history_ages else []
        return [*items, *ages]

    @property
    def columns(self) -> dict[str, str]:
        """Columns of candidates that a request must carry, name to dtype: what `rank` takes beside the user."""
        rank = self.signatures[contract.RANK].inputs if contract.RANK in self.signatures else {}
        known = {contract.USER_ID, contract.CANDIDATE_ITEM_ID, *self._histories, *self.features}
        return {name: spec.dtype for name, spec in sorted(rank.items()) if name not in known and len(spec.shape) == 2}

    @property
    def content(self) -> dict[str, int | None]:
        """Modalities whose vectors a request may carry, with their width."""
        signature = self.signatures.get(contract.RANK_WITH_CONTENT)
        return {
            name.removeprefix(contract.CONTENT_PREFIX): spec.shape[-1] if spec.shape else None
            for name, spec in sorted(signature.inputs.items() if signature else ())
            if name.startswith(contract.CONTENT_PREFIX)
        }

    @property
    def objectives(self) -> tuple[str, ...]:
        """What the model predicts of a candidate, where that is more than one thing: `score` is then a formula."""
        return objectives_of(self.signatures[contract.RANK]) if contract.RANK in self.signatures else ()


def objectives_of(signature: Signature) -> tuple[str, ...]:
    """Objectives of which a signature answers the probability beside `score`."""
    return tuple(
        name.removeprefix(contract.SCORE_PREFIX)
        for name in sorted(signature.outputs)
        if name.startswith(contract.SCORE_PREFIX)
    )


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """One version of a model on a server.

    Attributes:
        version: its number.
        state: "START", "LOADING", "AVAILABLE", "UNLOADING" or "END".
        error_code: "OK", or why it could not be loaded.
        error_message: the server's words for that.
    """

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""


@dataclasses.dataclass(frozen=True)
class ModelStatus:
    """All versions of a model that a server knows, newest first."""

    model: str
    versions: tuple[VersionStatus, ...]

    @property
    def available(self) -> tuple[int, ...]:
        """Versions that answer requests, newest first."""
        return tuple(status.version for status in self.versions if status.state == "AVAILABLE")


def metadata_request(spec: predict_pb2.ModelSpec) -> predict_pb2.GetModelMetadataRequest:
    """The request for the signatures of one version."""
    return predict_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[SIGNATURE_DEF])


def parse_metadata(response: predict_pb2.GetModelMetadataResponse) -> ModelMetadata:
    """Signatures of an answer.

    Raises:
        InvalidAnswer: when it has none, they are damaged, or it names no version.
    """
    packed = response.metadata.get(SIGNATURE_DEF)
    # The server's type is tensorflow.serving.SignatureDefMap; `Any.Unpack` would want this project's name.
    if packed is None or not packed.type_url.endswith(".SignatureDefMap"):
        raise InvalidAnswer(
            f"the server's metadata has no signatures, it has {sorted(response.metadata)}; expected an answer of "
            "TensorFlow Serving"
        )
    if not response.model_spec.HasField("version"):
        raise InvalidAnswer("the server's metadata names no version")
    try:
        signatures = predict_pb2.SignatureDefMap.FromString(packed.value).signature_def
    except DecodeError as error:
        raise InvalidAnswer(f"the signatures in the server's metadata cannot be parsed: {error}") from error
    return ModelMetadata(
        response.model_spec.name,
        response.model_spec.version.value,
        {
            name: Signature(_tensors(signature.inputs), _tensors(signature.outputs))
            for name, signature in sorted(signatures.items())
            if not name.startswith("__")
        },
    )


def parse_status(model: str, response: model_status_pb2.GetModelStatusResponse) -> ModelStatus:
    """Versions of an answer, newest first."""
    states, codes = model_status_pb2.ModelVersionStatus.State, model_status_pb2.StatusProto.Code
    versions = [
        VersionStatus(
            entry.version,
            _enum_name(states, entry.state),
            _enum_name(codes, entry.status.error_code),
            entry.status.error_message,
        )
        for entry in response.model_version_status
    ]
    return ModelStatus(model, tuple(sorted(versions, key=lambda status: -status.version)))


def _enum_name(enum: Any, number: int) -> str:
    # A later server may have states that this copy of the messages lacks.
    return str(enum.Name(number)) if number in enum.values() else str(number)


def _tensors(infos: Mapping[str, Any]) -> dict[str, TensorContract]:
    return {
        name: TensorContract(
            dtype_name(info.dtype),
            tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim),
        )
        for name, info in sorted(infos.items())
    }
