"""The answers of the fake server, without any wire: TensorFlow Serving's checks and codes over a scorer in Python."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving import contract
from serving.approximate_index import ApproximateIndex
from serving.client.model_info import SIGNATURE_DEF
from serving.client.tensors import DATA_TYPES, dtype_name, number_tensor, string_tensor, to_array
from serving.client.user import User
from serving.contract import TensorContract
from serving.protos import model_status_pb2, predict_pb2, tensor_pb2
from serving.testing import fake_retrieval
from serving.testing.fake_retrieval import FakeCatalogue, WrongK

# State tensors of the fake: the whole user as JSON, the version that made it, and one float and one mask tensor as
# real states have them.
_STATE = {
    "user_json": TensorContract("string", (None,)),
    "state_version": TensorContract("int64", (None,)),
    "keys": TensorContract("float32", (None, None, 4)),
    "history_mask": TensorContract("bool", (None, None)),
}
_SCORE = {contract.SCORE: TensorContract("float32", (None, None))}
Tensors = Mapping[str, tensor_pb2.TensorProto]


class FakeStatus(Exception):
    """A call that ends with a status other than OK."""

    def __init__(self, code: str, details: str):
        super().__init__(f"{code}: {details}")
        self.code = code
        self.details = details


@dataclasses.dataclass(frozen=True)
class FakeRequest:
    """What a scorer is asked.

    Attributes:
        user: as the client sent it; the leading "" of a history is cut off, missing values are None.
        candidates: ids in the order of the request.
        version: the version that scores.
        content: content vectors of the request by modality, float32 [N, width]; absent where it carried none.
        columns: values by candidate column, N each; missing values are None.
    """

    user: User
    candidates: tuple[str, ...]
    version: int
    content: Mapping[str, NDArray[np.float32]]
    columns: Mapping[str, list[Any]] = dataclasses.field(default_factory=dict)


# Scores in the order of the candidates or, of a model with objectives, these as `score` and `score/NAME` by output.
Scorer = Callable[[FakeRequest], Sequence[float] | Mapping[str, Sequence[float]]]


def hash_scorer(request: FakeRequest) -> list[float]:
    """Scores in [0, 1) that depend on user, version and the candidate with its content and columns; nothing else."""
    user = hashlib.blake2b(f"{request.version}|{_user_json(request.user)}".encode(), digest_size=16).digest()
    scores = []
    for row, item in enumerate(request.candidates):
        digest = hashlib.blake2b(item.encode(), key=user, digest_size=3)
        for modality, vectors in sorted(request.content.items()):
            if vectors[row].any():
                digest.update(modality.encode() + vectors[row].tobytes())
        for name, values in sorted(request.columns.items()):
            digest.update(f"{name}={values[row]}".encode())
        scores.append(int.from_bytes(digest.digest(), "big") / 2**24)
    return scores


def hash_retriever(request: FakeRequest) -> list[float]:
    """Scores in [-4, 4) that depend on what those of `hash_scorer` do, and are in another order."""
    asked = dataclasses.replace(request, candidates=tuple(f"retrieved {item}" for item in request.candidates))
    return [8 * score - 4 for score in hash_scorer(asked)]


def hash_vector(request: FakeRequest, width: int) -> NDArray[np.float32]:
    """A vector [width] of length 1 that depends on user and version."""
    text = f"{request.version}|{_user_json(request.user)}"
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    vector = np.random.default_rng(seed).standard_normal(width).astype(np.float32)
    return vector / np.linalg.norm(vector)


@dataclasses.dataclass
class FakeModel:
    """A model with versions.

    Attributes:
        name: of the model.
        features: profile and context inputs, name to `string` or `float32`.
        content: widths of the content vectors that a request may carry, by modality.
        versions: number to scorer; the highest is the newest.
        labels: version labels.
        columns: candidate columns, name to `string` or `float32`.
        lists: those of `features` that hold any number of values.
        extra_columns: answers are this much wider than asked, as after padding by a batching server.
        objectives: names of several; empty: there is one, without a name.
        history_ages: whether requests carry ages of history items.
        further_histories: names of histories beside the main one that requests carry.
        catalogue: that is retrieved from; None: the model has no retrieval stage.
        retrieval_weight: of retrieval's score in the order of its pages.
        retriever: scores of retrieval in the order of the candidates, any finite numbers.
        indexes: by version, of those that answer `user_vector`, the index that it is for; of one width.
    """

    name: str
    features: Mapping[str, str]
    content: Mapping[str, int]
    versions: dict[int, Scorer]
    labels: dict[str, int] = dataclasses.field(default_factory=dict)
    extra_columns: int = 0
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    objectives: tuple[str, ...] = ()
    lists: Collection[str] = ()
    history_ages: bool = False
    further_histories: tuple[str, ...] = ()
    catalogue: FakeCatalogue | None = None
    retrieval_weight: float = 0.0
    retriever: Scorer = hash_retriever
    indexes: dict[int, ApproximateIndex] = dataclasses.field(default_factory=dict)

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Answers one request for a signature.

        Raises:
            FakeStatus: with the code that TensorFlow Serving gives.
        """
        version = self.resolve(request.model_spec)
        scorer = self.versions[version]
        name = request.model_spec.signature_name
        index = self.indexes.get(version)
        if name not in self.signatures or (name == contract.USER_VECTOR and index is None):
            raise FakeStatus("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
        inputs, _ = self.signatures[name]
        _check_inputs(request.inputs, inputs)
        response = predict_pb2.PredictResponse(model_spec=request.model_spec)
        response.model_spec.version.value = version
        if name == contract.USER_TOWER:
            outputs = _state_of(self._user(request.inputs), version)
        elif name in (contract.RANK, contract.RANK_WITH_CONTENT):
            outputs = self._scores(self._user(request.inputs), request.inputs, version, scorer)
        elif name == contract.USER_VECTOR and index is not None:
            request_of_user = FakeRequest(self._user(request.inputs), (), version, {})
            vector = hash_vector(request_of_user, index.record.width)
            outputs = fake_retrieval.user_vector(vector.tolist(), index, self.retrieval_weight)
        elif self.catalogue is not None and name in (contract.RETRIEVE, contract.RECOMMEND):
            outputs = self._page(name, self.catalogue, request.inputs, version, scorer)
        else:
            made_by = int(to_array(request.inputs["state_version"])[0])
            if made_by != version:
                # A real model would answer nonsense here; the fake says so.
                raise FakeStatus("INTERNAL", f"a state of version {made_by} was sent to version {version}")
            user = User(**json.loads(to_array(request.inputs["user_json"])[0]))
            outputs = self._scores(user, request.inputs, version, scorer)
        wanted = set(request.output_filter) or set(outputs)
        for unknown in wanted - set(outputs):
            raise FakeStatus("INVALID_ARGUMENT", f"output tensor alias not found in signature: {unknown}")
        for output in wanted:
            response.outputs[output].CopyFrom(outputs[output])
        return response

    def metadata(self, request: predict_pb2.GetModelMetadataRequest) -> predict_pb2.GetModelMetadataResponse:
        """The signatures of one version.

        Raises:
            FakeStatus: with the code that TensorFlow Serving gives.
        """
        version = self.resolve(request.model_spec)
        if list(request.metadata_field) != [SIGNATURE_DEF]:
            raise FakeStatus("INVALID_ARGUMENT", f"Metadata field {list(request.metadata_field)} is not supported")
        response = predict_pb2.GetModelMetadataResponse(model_spec=request.model_spec)
        response.model_spec.version.value = version
        packed = response.metadata[SIGNATURE_DEF]
        packed.type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        packed.value = self.signature_def_map().SerializeToString()
        return response

    def status(self, request: model_status_pb2.GetModelStatusRequest) -> model_status_pb2.GetModelStatusResponse:
        """All versions.

        Raises:
            FakeStatus: NOT_FOUND for another model, or a version that is not there.
        """
        spec = request.model_spec
        asked = {self.resolve(spec)} if spec.WhichOneof("version_choice") else set(self.versions)
        if spec.name != self.name or not asked:
            raise FakeStatus("NOT_FOUND", f"Could not find any versions of model {spec.name}")
        statuses = [
            model_status_pb2.ModelVersionStatus(version=version, state="AVAILABLE", status={"error_code": "OK"})
            for version in sorted(asked, reverse=True)
        ]
        return model_status_pb2.GetModelStatusResponse(model_version_status=statuses)

    def resolve(self, spec: predict_pb2.ModelSpec) -> int:
        """The version that a request means.

        Raises:
            FakeStatus: NOT_FOUND, or INVALID_ARGUMENT for an unknown label, as TensorFlow Serving has it.
        """
        choice = spec.WhichOneof("version_choice")
        versions = dict(self.versions)
        if spec.name == self.name and choice == "version_label":
            if spec.version_label not in self.labels:
                raise FakeStatus("INVALID_ARGUMENT", f"Unrecognized servable version label: {spec.version_label}")
            return self.labels[spec.version_label]
        if spec.name == self.name and choice is None and versions:
            return max(versions)
        if spec.name == self.name and choice == "version" and spec.version.value in versions:
            return int(spec.version.value)
        asked = f"Specific({spec.name}, {spec.version.value})" if choice == "version" else f"Latest({spec.name})"
        raise FakeStatus("NOT_FOUND", f"Servable not found for request: {asked}")

    @property
    def signatures(self) -> dict[str, tuple[dict[str, TensorContract], dict[str, TensorContract]]]:
        """Inputs and outputs by signature."""
        user = {
            contract.USER_ID: TensorContract("string", (None,)),
            **dict.fromkeys(self._histories, TensorContract("string", (None, None))),
            **{
                name: TensorContract(dtype, (None, None) if name in self.lists else (None,))
                for name, dtype in self.features.items()
            },
        }
        if self.history_ages:
            user |= dict.fromkeys(self._histories.values(), TensorContract("float32", (None, None)))
        of_candidates = {contract.CANDIDATE_ITEM_ID: "string", **self.columns}
        candidates = {name: TensorContract(dtype, (None, None)) for name, dtype in of_candidates.items()}
        content = {
            contract.CONTENT_PREFIX + modality: TensorContract("float32", (None, None, width))
            for modality, width in self.content.items()
        }
        scores = dict.fromkeys(self._outputs, _SCORE[contract.SCORE])
        plain = {
            contract.USER_TOWER: (user, _STATE),
            contract.CANDIDATE: (_STATE | candidates, scores),
            contract.RANK: (user | candidates, scores),
        }
        if self.catalogue is not None:
            asked = user | fake_retrieval.INPUTS
            plain[contract.RETRIEVE] = (asked, fake_retrieval.OUTPUTS)
            plain[contract.RECOMMEND] = (asked, fake_retrieval.page_outputs(self.retrieval_weight) | scores)
        if self.indexes:
            index = next(iter(self.indexes.values()))
            plain[contract.USER_VECTOR] = (user, fake_retrieval.vector_outputs(index, self.retrieval_weight))
        if not content:
            return plain
        return plain | {
            contract.CANDIDATE_WITH_CONTENT: (_STATE | candidates | content, scores),
            contract.RANK_WITH_CONTENT: (user | candidates | content, scores),
        }

    @property
    def _histories(self) -> dict[str, str]:
        """Of each history the inputs of its items and of their ages."""
        return contract.ModelContract("", 0, {}, further_histories=dict.fromkeys(self.further_histories, 0)).histories

    @property
    def _outputs(self) -> list[str]:
        """Of the scoring signatures."""
        return [contract.SCORE, *(contract.SCORE_PREFIX + name for name in self.objectives)]

    def signature_def_map(self) -> predict_pb2.SignatureDefMap:
        """The signatures as the server reports them."""
        return predict_pb2.SignatureDefMap(
            signature_def={
                name: predict_pb2.SignatureDef(
                    inputs=_infos(f"{name}_", inputs),
                    outputs=_infos("StatefulPartitionedCall_", outputs),
                    method_name="tensorflow/serving/predict",
                )
                for name, (inputs, outputs) in self.signatures.items()
            }
        )

    def _user(self, inputs: Tensors) -> User:
        features: dict[str, Any] = {}
        for name, dtype in self.features.items():
            values = _values(inputs[name], dtype)
            # "" is padding, wherever it stands, in a list as in a history.
            features[name] = [value for value in values if value] if name in self.lists else values[0]
        (items, ages), *further = (self._history(inputs, *names) for names in self._histories.items())
        histories = {name: found for name, (found, _) in zip(self.further_histories, further, strict=True)}
        ages_of = {name: found for name, (_, found) in zip(self.further_histories, further, strict=True) if found}
        return User(to_array(inputs[contract.USER_ID]).tolist()[0].decode(), items, features, ages, histories, ages_of)

    def _history(self, inputs: Tensors, name: str, name_of_ages: str) -> tuple[list[str], list[float | None] | None]:
        """Items and ages of one history; no ages of a model that does not take them."""
        history = [value.decode() for value in to_array(inputs[name])[0].tolist()]
        items = [item for item in history if item]
        if not self.history_ages:
            return items, None
        given = _values(inputs[name_of_ages], "float32")
        if len(given) != len(history):
            raise FakeStatus("INVALID_ARGUMENT", f"{name_of_ages}: {len(given)} ages for {len(history)} history items")
        return items, [age for item, age in zip(history, given, strict=True) if item]

    def _scores(self, user: User, inputs: Tensors, version: int, scorer: Scorer) -> dict[str, tensor_pb2.TensorProto]:
        candidates = tuple(value.decode() for value in to_array(inputs[contract.CANDIDATE_ITEM_ID])[0].tolist())
        columns = {name: _values(inputs[name], dtype) for name, dtype in self.columns.items()}
        for name, values in columns.items():
            if len(values) != len(candidates):
                raise FakeStatus("INVALID_ARGUMENT", f"{name}: {len(values)} values for {len(candidates)} candidates")
        content = {}
        for modality in self.content:
            if contract.CONTENT_PREFIX + modality not in inputs:
                continue
            vectors = to_array(inputs[contract.CONTENT_PREFIX + modality])[0]
            if len(vectors) != len(candidates):
                raise FakeStatus("INVALID_ARGUMENT", f"{len(vectors)} vectors for {len(candidates)} candidates")
            if not np.isfinite(vectors).all():
                raise FakeStatus(
                    "INVALID_ARGUMENT", f"{contract.CONTENT_PREFIX}{modality} has values that are not finite"
                )
            if vectors.any():
                content[modality] = vectors
        scored = self._scored(FakeRequest(user, candidates, version, content, columns), scorer)
        padding = np.full(self.extra_columns, 0.5, np.float32)
        return {
            name: number_tensor(np.concatenate([scores, padding])[np.newaxis], "float32")
            for name, scores in scored.items()
        }

    def _page(
        self, name: str, catalogue: FakeCatalogue, inputs: Tensors, version: int, scorer: Scorer
    ) -> dict[str, tensor_pb2.TensorProto]:
        """What `retrieve` or `recommend` answers."""
        user, k = self._user(inputs), int(to_array(inputs[contract.K])[0])
        excluded = [value.decode() for value in to_array(inputs[contract.EXCLUDE_ITEM_ID])[0].tolist()]

        def request_of(items: Sequence[str]) -> FakeRequest:
            return FakeRequest(user, tuple(items), version, {}, {name: [None] * len(items) for name in self.columns})

        def retrieved(items: Sequence[str]) -> NDArray[np.float32]:
            scores = self.retriever(request_of(items))
            if isinstance(scores, Mapping):
                raise FakeStatus("INTERNAL", "the retriever gave scores by output, expected one list")
            return _array_of(scores, len(items), "retriever")

        def ranked(items: Sequence[str]) -> dict[str, NDArray[np.float32]]:
            return self._scored(request_of(items), scorer)

        width = k + self.extra_columns
        try:
            if name == contract.RETRIEVE:
                return catalogue.retrieve(k, excluded, retrieved, width)
            return catalogue.recommend(k, excluded, retrieved, ranked, width, self.retrieval_weight)
        except WrongK as error:
            raise FakeStatus("INVALID_ARGUMENT", str(error)) from error

    def _scored(self, request: FakeRequest, scorer: Scorer) -> dict[str, NDArray[np.float32]]:
        """The scorer's scores by output, [N] each.

        Raises:
            FakeStatus: INTERNAL, where it gives others than the model's outputs, or not one for each candidate.
        """
        answer = scorer(request)
        if not isinstance(answer, Mapping):
            # One list stands for every objective.
            answer = dict.fromkeys(self._outputs, answer)
        if set(answer) != set(self._outputs):
            raise FakeStatus("INTERNAL", f"the scorer gave {sorted(answer)}, expected {sorted(self._outputs)}")
        return {name: _array_of(given, len(request.candidates), "scorer") for name, given in answer.items()}


def _array_of(given: Sequence[float], count: int, who: str) -> NDArray[np.float32]:
    scores = np.asarray(given, np.float32)
    if scores.shape != (count,):
        raise FakeStatus("INTERNAL", f"the {who} gave {scores.shape} scores for {count} candidates")
    return scores


def _values(tensor: tensor_pb2.TensorProto, dtype: str) -> list[Any]:
    """Strings or numbers, row by row; None where missing."""
    flat = to_array(tensor).ravel().tolist()
    if dtype == "string":
        return [value.decode() or None for value in flat]
    return [None if np.isnan(value) else value for value in flat]


def _state_of(user: User, version: int) -> dict[str, tensor_pb2.TensorProto]:
    length = 1 + len(user.history)
    keys = np.arange(4 * length, dtype=np.float32).reshape(1, length, 4) / 7
    return {
        "user_json": string_tensor([_user_json(user)], (1,)),
        "state_version": number_tensor([version], "int64"),
        "keys": number_tensor(keys, "float32"),
        "history_mask": number_tensor([[False] + [True] * (length - 1)], "bool"),
    }


def _user_json(user: User) -> str:
    values = dataclasses.asdict(user)
    if user.history_age_s is None:
        # Scores of a model that does not take them are what they were.
        del values["history_age_s"]
    if not user.histories:
        del values["histories"], values["histories_age_s"]
    return json.dumps(values, sort_keys=True)


def _infos(prefix: str, contracts: Mapping[str, TensorContract]) -> dict[str, predict_pb2.TensorInfo]:
    return {
        name: predict_pb2.TensorInfo(
            name=f"{prefix}{name}:0",
            dtype=tensor_pb2.DataType.Name(DATA_TYPES[spec.dtype]),
            tensor_shape={"dim": [{"size": -1 if size is None else size} for size in spec.shape]},
        )
        for name, spec in contracts.items()
    }


def _check_inputs(given: Tensors, wanted: Mapping[str, TensorContract]) -> None:
    if set(given) != set(wanted):
        extra, missing = sorted(set(given) - set(wanted)), sorted(set(wanted) - set(given))
        raise FakeStatus(
            "INVALID_ARGUMENT",
            f"input size does not match signature: {len(given)}!={len(wanted)}. Sent extra: {extra}. "
            f"Missing but required: {missing}.",
        )
    for name, spec in wanted.items():
        tensor = given[name]
        if dtype_name(tensor.dtype) != spec.dtype:
            raise FakeStatus("INVALID_ARGUMENT", f"Expected {name} to be {spec.dtype}, got {dtype_name(tensor.dtype)}")
        try:
            shape = to_array(tensor).shape
        except ValueError as error:
            raise FakeStatus("INVALID_ARGUMENT", f"{name}: {error}") from error
        fits = len(shape) == len(spec.shape) and all(
            size in (None, got) for size, got in zip(spec.shape, shape, strict=True)
        )
        # The fake serves its own client, which asks for one user at a time.
        if not fits or shape[0] != 1:
            raise FakeStatus(
                "INVALID_ARGUMENT", f"{name} of shape {list(shape)} does not fit {list(spec.shape)}, B = 1"
            )
