from serving.protos import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UserFeature(_message.Message):
    __slots__ = ("text", "number", "texts")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    text: str
    number: float
    texts: UserFeatureList
    def __init__(self, text: _Optional[str] = ..., number: _Optional[float] = ..., texts: _Optional[_Union[UserFeatureList, _Mapping]] = ...) -> None: ...

class UserFeatureList(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, text: _Optional[_Iterable[str]] = ...) -> None: ...

class FurtherHistory(_message.Message):
    __slots__ = ("item", "age_s")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    item: _containers.RepeatedScalarFieldContainer[str]
    age_s: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, item: _Optional[_Iterable[str]] = ..., age_s: _Optional[_Iterable[float]] = ...) -> None: ...

class UserState(_message.Message):
    __slots__ = ("model", "version", "label", "tensors", "user_id", "history", "features", "history_age_s", "histories")
    class TensorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.TensorProto
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.TensorProto, _Mapping]] = ...) -> None: ...
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: UserFeature
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[UserFeature, _Mapping]] = ...) -> None: ...
    class HistoriesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: FurtherHistory
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[FurtherHistory, _Mapping]] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    HISTORY_AGE_S_FIELD_NUMBER: _ClassVar[int]
    HISTORIES_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    label: str
    tensors: _containers.MessageMap[str, _tensor_pb2.TensorProto]
    user_id: str
    history: _containers.RepeatedScalarFieldContainer[str]
    features: _containers.MessageMap[str, UserFeature]
    history_age_s: _containers.RepeatedScalarFieldContainer[float]
    histories: _containers.MessageMap[str, FurtherHistory]
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., label: _Optional[str] = ..., tensors: _Optional[_Mapping[str, _tensor_pb2.TensorProto]] = ..., user_id: _Optional[str] = ..., history: _Optional[_Iterable[str]] = ..., features: _Optional[_Mapping[str, UserFeature]] = ..., history_age_s: _Optional[_Iterable[float]] = ..., histories: _Optional[_Mapping[str, FurtherHistory]] = ...) -> None: ...
