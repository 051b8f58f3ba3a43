"""What a caller asks of a model that retrieves: how many items of its catalogue, and which of them not."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Iterable
from typing import Any

from serving import contract
from serving.client.candidates import item_ids
from serving.client.errors import BadRequest, SignatureNotFound
from serving.client.model_info import ModelMetadata, Signature
from serving.client.requests import Tensors, signature_of
from serving.client.tensors import number_tensor, string_tensor
from serving.client.text import shown
from serving.client.user import User

# What the tensor of it holds.
_LARGEST_K = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The items that a call asks for.

    Attributes:
        k: how many, at most.
        exclude: ids of items that must not be among them.
        exclude_history: whether the items of the user's history must not be either.
    """

    k: int
    exclude: list[str]
    exclude_history: bool = False

    @classmethod
    def of(cls, k: Any, exclude: Iterable[str], exclude_history: bool) -> Wanted:
        """Takes what a caller gives; how large `k` may be is the model's to say.

        Raises:
            BadRequest: `k` is no whole number of at least 1, or `exclude` no list of ids.
        """
        if isinstance(k, bool) or not isinstance(k, numbers.Integral):
            raise BadRequest.of("k", f"k must be an int, the number of items wanted; got {type(k).__name__} {shown(k)}")
        count = int(k)
        if not 1 <= count <= _LARGEST_K:
            raise BadRequest.of("k", f"k must be at least 1, and at most the items of the catalogue; got {shown(k)}")
        return cls(count, item_ids("exclude", exclude, allow_empty=True), bool(exclude_history))

    def excluded(self, user: User) -> list[str]:
        """Ids that must not be in the answer, each once; "" stands for none."""
        history = user.history if self.exclude_history else ()
        return list(dict.fromkeys(item for item in (*self.exclude, *history) if item))

    def tensors(self, user: User) -> Tensors:
        """The inputs beside the user's, B = 1.

        Excluded items begin with one "": TensorFlow Serving pads a batch with a tensor's first element, refuses to pad
        an empty one, and padding with an item would exclude it, were it of another request.
        """
        items = ["", *self.excluded(user)]
        return {
            contract.K: number_tensor([self.k], "int32"),
            contract.EXCLUDE_ITEM_ID: string_tensor(items, (1, len(items))),
        }


def retrieval_signature(metadata: ModelMetadata, name: str) -> Signature:
    """`retrieve`, `recommend` or `user_vector` of a model.

    Raises:
        SignatureNotFound: the model has no such stage, with what to do; or it is none of this project's.
    """
    if name in metadata.signatures:
        of_page = () if name == contract.USER_VECTOR else (contract.K, contract.EXCLUDE_ITEM_ID)
        return signature_of(metadata, name, *of_page)
    if name == contract.USER_VECTOR and contract.RETRIEVE in metadata.signatures:
        why = (
            "it was exported before models had it; export and push it again, or leave `index` out, and the server "
            "looks at every item"
        )
    elif contract.RETRIEVE in metadata.signatures:
        why = "it retrieves and does not rank; call `retrieve`, or push a model that was exported with both stages"
    else:
        why = (
            "it was exported without a retrieval stage; train and push one with `stages: {retrieval: ...}` in the "
            "configuration, or choose candidates yourself and call `rank`"
        )
    raise SignatureNotFound(
        f"version {metadata.version} of model '{metadata.model}' has no signature '{name}', it has "
        f"{sorted(metadata.signatures)}: {why}"
    )
