"""Models by name. Free of Keras until a model is built.

A model is registered as the name of its class, so that a configuration can be checked without importing Keras.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dmf_keras.models.inputs import RankingSchema
from dmf_keras.models.model_config import ModelConfig

if TYPE_CHECKING:
    from dmf_keras.models.ranking_model import RankingModel


@dataclass(frozen=True)
class _Entry:
    config: type[ModelConfig]
    model: str
    parts: Mapping[str, str]


_MODELS: dict[str, _Entry] = {}


def register_model(name: str, config: type[ModelConfig], model: str, parts: Mapping[str, str] | None = None) -> None:
    """Makes a model known by name, to `build_model` and to a pipeline's configuration.

    Args:
        name: what a configuration calls it.
        config: its hyper-parameters, a frozen dataclass with a default for each.
        model: "package.module:Class", a `RankingModel`; imported only when a model is built.
        parts: what parts of a logit that its `explain` tells of are, in words; a part without words goes by its name.

    Raises:
        ValueError: the name is taken by another model, or `model` is not of that form.
    """
    entry = _Entry(config, model, dict(parts or {}))
    if _MODELS.get(name, entry) != entry:
        raise ValueError(f"model {name!r} is registered already, as {_MODELS[name].model}; got {model}")
    if len(model.split(":")) != 2:
        raise ValueError(f'`model` must be "package.module:Class", got {model!r}')
    _MODELS[name] = entry


def model_names() -> list[str]:
    """The registered names, sorted."""
    return sorted(_MODELS)


def model_class(name: str) -> str:
    """Where the class of a registered model lies, as "package.module:Class".

    Raises:
        ValueError: no such model; lists those that exist.
    """
    return _entry(name).model


def uses_content(name: str) -> bool:
    """Whether a registered model looks at content at all; imports its class.

    Raises:
        ValueError: no such model; lists those that exist.
    """
    module, model = model_class(name).split(":")
    return bool(getattr(import_module(module), model).uses_content)


def compares_content(name: str) -> bool:
    """Whether a registered model cannot do without content.

    Raises:
        ValueError: no such model; lists those that exist.
    """
    return _entry(name).config.needs_content


def reads_codes(name: str) -> bool:
    """Whether a registered model cannot do without semantic ids.

    Raises:
        ValueError: no such model; lists those that exist.
    """
    return _entry(name).config.needs_codes


def registered_classes() -> dict[str, str]:
    """Names of the registered models' classes and of those of their hyper-parameters, each with its module."""
    classes: dict[str, str] = {}
    for entry in _MODELS.values():
        module, name = entry.model.split(":")
        classes |= {name: module, entry.config.__name__: entry.config.__module__}
    return classes


def parts_in_words() -> dict[str, str]:
    """What parts of a logit are, by name, as the registered models say; of two for one name the first holds."""
    words: dict[str, str] = {}
    for entry in _MODELS.values():
        words = {**entry.parts, **words}
    return words


def model_config(name: str, params: dict[str, Any]) -> ModelConfig:
    """The checked hyper-parameters of a model.

    Raises:
        ValueError: no such model, no such parameter (both list what exists), or values out of range.
    """
    config = _entry(name).config
    known = [field.name for field in fields(config)]
    unknown = [f"{param!r}{_meant(param, known)}" for param in params if param not in known]
    if unknown:
        raise ValueError(f"model {name!r} has no parameter {', '.join(unknown)}; parameters: {', '.join(known)}")
    return config(**params)


def parameters(name: str) -> list[str]:
    """Names of a model's hyper-parameters.

    Raises:
        ValueError: no such model; lists those that exist.
    """
    return [field.name for field in fields(_entry(name).config)]


def build_model(
    name: str,
    params: dict[str, Any],
    schema: RankingSchema,
    seed: int | None = None,
    dense_dtype: str | None = None,
) -> RankingModel:
    """A new model with all its weights, content tables still empty.

    Args:
        name: a registered name.
        params: hyper-parameters that differ from the defaults.
        schema: sizes and names that come from the data.
        seed: of initial weights and dropout; the same seed gives the same model. Python's own random state is kept.
        dense_dtype: policy of head and further dense layers, see `RankingModel`; None: Keras's global one.

    Raises:
        ValueError: as `model_config`.
    """
    config = model_config(name, params)
    module, class_name = model_class(name).split(":")
    cls = getattr(import_module(module), class_name)
    # A model of somebody's own need not take what it is not asked for.
    policy = {} if dense_dtype is None else {"dense_dtype": dense_dtype}
    if seed is None:
        return cls(schema, config, **policy)  # type: ignore[no-any-return]
    # Keras draws the seed of every initialiser and dropout from Python's `random`.
    state = random.getstate()
    random.seed(seed)
    try:
        return cls(schema, config, **policy)  # type: ignore[no-any-return]
    finally:
        random.setstate(state)


def _entry(name: str) -> _Entry:
    if name not in _MODELS:
        raise ValueError(f"no model {name!r}{_meant(name, _MODELS)}; models: {', '.join(model_names())}")
    return _MODELS[name]


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
