"""From what a caller gives to the tensors of a request: pure functions, shared by every transport.

What is wrong is found here, against the signatures that the server reported, before any call is made.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
import numbers
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving import contract
from serving.client.candidates import Candidates, item_ids
from serving.client.errors import BadRequest, SignatureNotFound
from serving.client.histories import HistoryOfUser, histories_of
from serving.client.model_info import ModelMetadata, Signature, objectives_of
from serving.client.options import ClientOptions
from serving.client.tensors import number_tensor, string_tensor
from serving.client.text import check_text, is_text, shown
from serving.client.user import User
from serving.contract import TensorContract
from serving.protos import predict_pb2, tensor_pb2

Tensors = dict[str, tensor_pb2.TensorProto]

_WITH_CONTENT = {
    contract.RANK: contract.RANK_WITH_CONTENT,
    contract.CANDIDATE: contract.CANDIDATE_WITH_CONTENT,
}
# Inputs beside the user's of signatures that take no candidates. Elsewhere a feature may be called so.
_OF_RETRIEVAL = dict.fromkeys(
    (contract.RETRIEVE, contract.RECOMMEND), frozenset({contract.K, contract.EXCLUDE_ITEM_ID})
)
_LARGEST_VERSION = 2**63 - 1
# Numbers that features and columns can hold, by the dtypes that can be sent.
_RANGES: dict[str, tuple[float, float]] = {
    **{name: (float(np.finfo(name).min), float(np.finfo(name).max)) for name in ("float16", "float32", "float64")},
    **{name: (int(np.iinfo(name).min), int(np.iinfo(name).max)) for name in ("int32", "int64")},
}
# Wider content is no encoder's: a size as damaged metadata has it must not be allocated.
_WIDEST = 2**16


@dataclasses.dataclass(frozen=True)
class Selector:
    """Which version is asked: a number, a label, or (neither) the newest."""

    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.version is not None and self.label is not None:
            raise BadRequest.of("version", f"give version={shown(self.version)} or label={shown(self.label)}, not both")
        if self.version is not None and type(self.version) is not int:
            raise BadRequest.of(
                "version", f"version must be an int, got {type(self.version).__name__} {shown(self.version)}"
            )
        if self.version is not None and not 0 <= self.version <= _LARGEST_VERSION:
            raise BadRequest.of("version", f"version must be from 0 to {_LARGEST_VERSION}, got {shown(self.version)}")
        if self.label is not None and not (isinstance(self.label, str) and self.label):
            raise BadRequest.of("label", f"label must be a non-empty string, got {shown(self.label)}")
        if self.label is not None:
            check_text("label", self.label)

    def __str__(self) -> str:
        if self.version is not None:
            return f"version {self.version}"
        return "the newest version" if self.label is None else f"label '{self.label}'"

    def spec(self, model: str, signature: str = "") -> predict_pb2.ModelSpec:
        """The selector on the wire."""
        spec = predict_pb2.ModelSpec(name=model, signature_name=signature)
        if self.version is not None:
            spec.version.value = self.version
        elif self.label is not None:
            spec.version_label = self.label
        return spec


def signature_of(metadata: ModelMetadata, name: str, *needed: str) -> Signature:
    """A signature of the model.

    Raises:
        SignatureNotFound: when the model lacks it, or it lacks one of the `needed` inputs.
    """
    signature = metadata.signatures.get(name)
    if signature is not None and set(needed) <= set(signature.inputs):
        return signature
    found = (
        f"no signature '{name}', it has {sorted(metadata.signatures)}"
        if signature is None
        else f"a signature '{name}' that takes {sorted(signature.inputs)}, without some of {list(needed)}"
    )
    raise SignatureNotFound(
        f"version {metadata.version} of model '{metadata.model}' has {found}; "
        "expected a model that this project exported"
    )


def scoring_signature(metadata: ModelMetadata, name: str, content: Collection[str]) -> tuple[str, Signature]:
    """`rank` or `candidate`, or its twin that takes content vectors where the request carries some.

    Raises:
        BadRequest: naming a modality that the model does not take.
        SignatureNotFound: when the model is none of this project's.
    """
    signature = signature_of(metadata, name, contract.CANDIDATE_ITEM_ID)
    if not content:
        return name, signature
    for modality in sorted(set(content) - set(metadata.content)):
        takes = f"it takes {sorted(metadata.content)}" if metadata.content else "it takes none"
        raise BadRequest.of(
            f"content[{modality!r}]", f"the model takes no content {modality!r} with a request; {takes}"
        )
    return _WITH_CONTENT[name], signature_of(metadata, _WITH_CONTENT[name], contract.CANDIDATE_ITEM_ID)


def scoring_outputs(metadata: ModelMetadata, signature: Signature, objectives: bool) -> list[str]:
    """Outputs to ask a scoring signature for.

    Raises:
        BadRequest: objectives are asked for and the model has but one, without a name.
    """
    names = objectives_of(signature)
    if objectives and not names:
        raise BadRequest.of(
            "objectives",
            f"version {metadata.version} of model '{metadata.model}' has no objectives beside its score; leave "
            "objectives=True out",
        )
    return [contract.SCORE, *(contract.SCORE_PREFIX + name for name in names if objectives)]


def user_tensors(user: User, metadata: ModelMetadata, signature_name: str, options: ClientOptions) -> Tensors:
    """The user inputs of a signature that takes the user, B = 1.

    Every history, and every feature of several values, begins with one "": TensorFlow Serving pads a batch with a
    tensor's first element, and padding with "" is ignored where padding with an item would count as further clicks.
    So ages begin with one that is unknown.

    Raises:
        BadRequest: naming the fields that are missing, unknown or of a wrong type.
        SignatureNotFound: when the model is none of this project's.
    """
    inputs = signature_of(metadata, signature_name, contract.HISTORY_ITEM_ID).inputs
    if not isinstance(user.user_id, str):
        raise BadRequest.of(
            contract.USER_ID,
            f"user_id must be a string, got {type(user.user_id).__name__} {shown(user.user_id)}; "
            "an empty string stands for a user without an id",
        )
    check_text(contract.USER_ID, user.user_id)
    tensors: Tensors = {}
    for history in histories_of(user, metadata, options.fill_missing):
        items = item_ids(history.items_field, history.items, allow_empty=True)
        if options.max_history is not None:
            items = items[-options.max_history :]
        tensors[history.items_field] = string_tensor(["", *items], (1, 1 + len(items)))
        if metadata.history_ages:
            ages = _ages(history, user, len(items), options)
            tensors[history.ages_field] = number_tensor(np.array([[math.nan, *ages]]), "float32")
        elif history.ages is not None:
            raise BadRequest.of(
                history.ages_field,
                f"version {metadata.version} of model '{metadata.model}' does not take the ages of history items; "
                f"leave {history.ages_field} out",
            )
    if contract.USER_ID in inputs:
        tensors[contract.USER_ID] = string_tensor([user.user_id], (1,))
    known = {*tensors, *metadata.columns, *_OF_RETRIEVAL.get(signature_name, ())}
    specs = {name: spec for name, spec in inputs.items() if name not in known and not _is_known_input(name)}
    _check_names("feature", user.features, specs, options.fill_missing)
    for name, spec in specs.items():
        if len(spec.shape) == 2:
            values = ["", *_names(name, user.features.get(name), spec)]
            tensors[name] = string_tensor(values, (1, len(values)))
        else:
            tensors[name] = _tensor(name, [user.features.get(name)], spec, (1,))
    return tensors


def candidate_tensors(
    candidates: Candidates, signature: Signature, metadata: ModelMetadata, options: ClientOptions
) -> Tensors:
    """The candidate inputs of a signature, B = 1; a modality that the caller leaves out is sent as zeros.

    Raises:
        BadRequest: naming a modality whose vectors have another width than the model's, or a column that is missing,
            unknown or has a value of a wrong type.
        SignatureNotFound: when the model is none of this project's.
    """
    count = len(candidates)
    tensors = {contract.CANDIDATE_ITEM_ID: string_tensor(candidates.items, (1, count))}
    for name, spec in signature.inputs.items():
        if not name.startswith(contract.CONTENT_PREFIX):
            continue
        modality, width = name.removeprefix(contract.CONTENT_PREFIX), spec.shape[-1] if len(spec.shape) == 3 else None
        if not width or width > _WIDEST:
            raise SignatureNotFound(
                f"the model takes '{name}' in the shape {list(spec.shape)}, expected [null, null, width]; it is not a "
                "model that this project exported"
            )
        content = candidates.content
        vectors = content[modality] if modality in content else np.zeros((count, width), np.float32)
        if vectors.shape[1] != width:
            field = f"content[{modality!r}]"
            raise BadRequest.of(
                field, f"{field} must be {width} wide, as the model's encoder gives it, got {vectors.shape[1]}"
            )
        tensors[name] = number_tensor(vectors[np.newaxis], "float32")
    specs = {name: signature.inputs[name] for name in metadata.columns if name in signature.inputs}
    _check_names("column", candidates.columns, specs, options.fill_missing)
    for name, spec in specs.items():
        tensors[name] = _tensor(f"columns[{name!r}]", candidates.columns.get(name, [None] * count), spec, (1, count))
    return tensors


def predict_request(
    model: str, signature: str, selector: Selector, inputs: Tensors, outputs: Iterable[str]
) -> predict_pb2.PredictRequest:
    """A request for some outputs of a signature."""
    request = predict_pb2.PredictRequest(model_spec=selector.spec(model, signature), output_filter=sorted(outputs))
    for name, tensor in inputs.items():
        request.inputs[name].CopyFrom(tensor)
    return request


def pages(count: int, largest: int) -> list[slice]:
    """Slices of nearly equal length, at most `largest`, that cover `count` candidates in order."""
    number = math.ceil(count / largest)
    bounds = [count * page // number for page in range(number + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(bounds)]


def _is_known_input(name: str) -> bool:
    known = (contract.USER_ID, contract.HISTORY_ITEM_ID, contract.CANDIDATE_ITEM_ID)
    return name in known or name.startswith(contract.CONTENT_PREFIX)


def _ages(history: HistoryOfUser, user: User, kept: int, options: ClientOptions) -> list[float]:
    """Seconds of the last `kept` items of the history, NaN where not known."""
    field, ages = history.ages_field, history.ages
    # A mapping's value that is no list is left among the features; None there is as good as nothing.
    if (alone := user.features.get(field)) is not None:
        raise BadRequest.of(
            field,
            f"{field} must be a list of {len(history.items)} numbers, one for each item of the history, got "
            f"{type(alone).__name__} {shown(alone)}",
        )
    if ages is None and history.items and not options.fill_missing:
        raise BadRequest.of(
            field,
            f"the user lacks '{field}': how many seconds ago the event of each item of the history was, a list of "
            f"{len(history.items)}; give None for an age that you do not know, or set ClientOptions(fill_missing=True)",
        )
    if ages is None:
        return [math.nan] * kept
    places = range(len(ages) - kept, len(ages))
    return [_number(field, f"{field}[{place}]", ages[place], "float32") for place in places]


def _check_names(what: str, given: Mapping[str, Any], specs: Mapping[str, TensorContract], fill_missing: bool) -> None:
    """Whether the features of a user, or the columns of candidates, are those that the model takes."""
    of_user = what == "feature"
    unknown = [str(name) for name in given if name not in specs]
    missing = [] if fill_missing else [name for name in specs if name not in given]
    if not unknown and not missing:
        return
    problems = []
    for name in unknown:
        known = [*(missing or specs), *([contract.HISTORY_ITEM_ID, contract.USER_ID] if of_user else [])]
        close = difflib.get_close_matches(name, known, n=1)
        problems.append(f"unknown {what} {name!r}" + (f" (did you mean '{close[0]}'?)" if close else ""))
    problems += [f"{what} '{name}' ({_kind(specs[name], of_user)}) is missing" for name in missing]
    takes = ", ".join(f"{name} ({_kind(spec, of_user)})" for name, spec in specs.items())
    takes = takes or ("no features" if of_user else "no columns of candidates")
    advice = "; give None for a value you do not have, or set ClientOptions(fill_missing=True)" if missing else ""
    if missing and not of_user:
        advice = f"; give a list in `columns`, one value for each candidate{advice.replace('give', '')}"
    first = (unknown + missing)[0]
    field = first if of_user else f"columns[{first!r}]"
    raise BadRequest.of(field, f"{'; '.join(problems)}; the model takes {takes}{advice}")


def _kind(spec: TensorContract, of_user: bool) -> str:
    return f"list of {spec.dtype}" if of_user and len(spec.shape) == 2 else spec.dtype


def _tensor(field: str, values: Sequence[Any], spec: TensorContract, shape: tuple[int, ...]) -> tensor_pb2.TensorProto:
    """Values of a feature (one) or a column (one a candidate) as a tensor."""
    of_user = len(shape) == 1
    if spec.dtype != "string" and spec.dtype not in _RANGES:
        raise SignatureNotFound(
            f"{_named(field, 0, of_user)} is {spec.dtype} in the model; expected string or one of {sorted(_RANGES)}, "
            "as in a model that this project exported"
        )
    # One by one only where there is something to say: a thousand values are a part of every call's time.
    if spec.dtype == "string" and (texts := _plain_texts(values)) is not None:
        return string_tensor(texts, shape)
    if spec.dtype != "string" and (array := _plain_numbers(values, spec.dtype)) is not None:
        return number_tensor(array.reshape(shape), spec.dtype)
    named = [(_named(field, place, of_user), value) for place, value in enumerate(values)]
    if spec.dtype == "string":
        return string_tensor([_string(field, name, value) for name, value in named], shape)
    read = [_number(field, name, value, spec.dtype) for name, value in named]
    return number_tensor(np.array(read, spec.dtype).reshape(shape), spec.dtype)


def _plain_texts(values: Sequence[Any]) -> list[str] | None:
    """Strings, "" for None; None where one of them has to be looked at."""
    if not set(map(type, values)) <= {str, NoneType}:
        return None
    texts = [value or "" for value in values]
    return texts if is_text("".join(texts)) else None


def _plain_numbers(values: Sequence[Any], dtype: str) -> NDArray[np.generic] | None:
    """Python's numbers in the dtype, NaN for None; None where one of them has to be looked at."""
    low, high = _RANGES[dtype]
    real = dtype.startswith("float")
    if not values or not set(map(type, values)) <= ({float, int, NoneType} if real else {int}):
        return None
    try:
        wide = np.array([math.nan if value is None else value for value in values], np.float64 if real else np.int64)
    except OverflowError:
        return None
    return None if (wide < low).any() or (wide > high).any() else wide.astype(dtype)


def _names(field: str, values: Any, spec: TensorContract) -> list[str]:
    """The values of a feature that may have several; none of None."""
    named = f"feature '{field}'"
    if spec.dtype != "string":
        raise SignatureNotFound(f"{named} is a list of {spec.dtype} in the model; expected a list of string")
    if values is None:
        return []
    if not isinstance(values, list | tuple):
        raise BadRequest.of(
            field, f"{named} must be a list of strings or None, got {type(values).__name__} {shown(values)}"
        )
    return [_string(field, f"{named}[{place}]", value) for place, value in enumerate(values)]


def _named(field: str, place: int, of_user: bool) -> str:
    return f"feature '{field}'" if of_user else f"{field}[{place}]"


def _string(field: str, named: str, value: Any) -> str:
    if not isinstance(value, str | None):
        raise BadRequest.of(field, f"{named} must be a string or None, got {type(value).__name__} {shown(value)}")
    return check_text(field, value or "", named)


def _number(field: str, named: str, value: Any, dtype: str) -> float:
    # Booleans are numbers to Python, and never what a numeric feature means.
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real | None):
        raise BadRequest.of(field, f"{named} must be a number or None, got {type(value).__name__} {shown(value)}")
    number = _as_number(value, dtype)
    if number is None:
        expected = "a finite number in its range, or None" if dtype.startswith("float") else "an integer in its range"
        raise BadRequest.of(field, f"{named} ({dtype}) cannot be {shown(value)}; expected {expected}")
    return number


def _as_number(value: Any, dtype: str) -> float | None:
    """The number that the dtype holds; None where it would become another, or infinite."""
    low, high = _RANGES[dtype]
    try:
        if dtype.startswith("float"):
            number = math.nan if value is None else float(value)
            return None if number < low or number > high else number
        whole = math.nan if value is None else math.floor(value)
        return whole if whole == value and low <= whole <= high else None
    except (OverflowError, ValueError):  # beyond any float; NaN as an integer
        return None
