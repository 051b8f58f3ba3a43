"""A user's encoded state: kept for a session, sent back to score candidates, stored as bytes in between."""

from __future__ import annotations

import dataclasses
import math
import struct
import zlib
from collections.abc import Iterable, Mapping

from google.protobuf.message import DecodeError

from serving.client.errors import InvalidState
from serving.client.user import Feature, User
from serving.protos import tensor_pb2, user_state_pb2

MAGIC = b"DMFU"
FORMAT = 1
# Magic, format, length and CRC-32 of what follows.
_HEADER = struct.Struct("<4sHII")


@dataclasses.dataclass(frozen=True)
class UserState:
    """What `encode_user` made of a user; only the version that made it can score with it.

    Attributes:
        model: name of the model.
        version: the version that made it.
        tensors: the outputs of `user_tower` by name, as the server sent them.
        user: the user as given, from which a client encodes anew when `version` is no longer served.
        label: the version label it was asked for by, None for the newest version or a number.
    """

    model: str
    version: int
    tensors: Mapping[str, tensor_pb2.TensorProto] = dataclasses.field(repr=False)
    user: User = dataclasses.field(repr=False)
    label: str | None = None

    def to_bytes(self) -> bytes:
        """The state as bytes with a checksum, for a cache or a cookie jar of your own; they hold the user's history."""
        message = user_state_pb2.UserState(
            model=self.model,
            version=self.version,
            label=self.label or "",
            user_id=self.user.user_id,
            history=self.user.history,
        )
        ages = self.user.history_age_s or ()
        message.history_age_s.extend(math.nan if age is None else float(age) for age in ages)
        for name, items in self.user.histories.items():
            further = message.histories[name]
            further.item.extend(items)
            given = self.user.histories_age_s.get(name, ())
            further.age_s.extend(math.nan if age is None else float(age) for age in given)
        for name, tensor in self.tensors.items():
            message.tensors[name].CopyFrom(tensor)
        for name, value in self.user.features.items():
            feature = message.features[name]
            if isinstance(value, str):
                feature.text = value
            elif isinstance(value, list | tuple):
                # Also where it is empty.
                feature.texts.SetInParent()
                feature.texts.text.extend(text for text in value if text)
            elif value is not None:
                feature.number = float(value)
        body: bytes = message.SerializeToString(deterministic=True)
        return _HEADER.pack(MAGIC, FORMAT, len(body), zlib.crc32(body)) + body

    @classmethod
    def from_bytes(cls, data: bytes) -> UserState:
        """The state that `to_bytes` wrote.

        Raises:
            InvalidState: when the bytes are none, are cut short or changed, or of a later format.
        """
        if not isinstance(data, bytes | bytearray):
            raise InvalidState(f"a {type(data).__name__} is no user state; expected what UserState.to_bytes returned")
        if len(data) < _HEADER.size or data[: len(MAGIC)] != MAGIC:
            raise InvalidState(f"these {len(data)} bytes are no user state; expected what UserState.to_bytes returned")
        _, version, length, checksum = _HEADER.unpack_from(data)
        if version != FORMAT:
            raise InvalidState(
                f"the user state has format {version}, this client reads format {FORMAT}: encode the user again, or "
                "bring the client up to date"
            )
        body = data[_HEADER.size :]
        if len(body) != length or zlib.crc32(body) != checksum:
            raise InvalidState(
                f"the user state is corrupt: {len(body)} bytes of {length}, or changed ones; encode the user again"
            )
        try:
            message = user_state_pb2.UserState.FromString(body)
        except DecodeError as error:
            raise InvalidState(f"the user state cannot be parsed: {error}; encode the user again") from error
        features = {name: _feature(feature) for name, feature in message.features.items()}
        histories = {name: list(further.item) for name, further in message.histories.items()}
        ages_of = {name: _plain_ages(further.age_s) for name, further in message.histories.items() if further.age_s}
        return cls(
            message.model,
            message.version,
            dict(message.tensors),
            User(
                message.user_id,
                list(message.history),
                features,
                _plain_ages(message.history_age_s) or None,
                histories,
                ages_of,
            ),
            message.label or None,
        )


def _plain_ages(ages: Iterable[float]) -> list[float | None]:
    return [None if math.isnan(age) else age for age in ages]


def _feature(message: user_state_pb2.UserFeature) -> Feature:
    kind = message.WhichOneof("value")
    if kind == "texts":
        return list(message.texts.text)
    value: Feature = None if kind is None else getattr(message, kind)
    return value
