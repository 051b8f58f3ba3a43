"""Which models `dmf bench serving` compares, and what they know beyond ids and content. Loads neither TFX nor Keras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from dmf_keras.models import model_config
from tfx_pipeline.config.values import Params
from tfx_pipeline.errors import ConfigError

ITEM_COLUMNS, CANDIDATE_COLUMNS, HISTORIES = "items", "candidates", "histories"
EXTRAS = (ITEM_COLUMNS, CANDIDATE_COLUMNS, HISTORIES)


@dataclass(frozen=True)
class Variant:
    """One model of the registry, with extras or without.

    Attributes:
        model: its name in the registry.
        extras: of `EXTRAS`: columns of items, columns of candidates, further histories.
    """

    model: str
    extras: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """As it is asked for: `dmf+items+candidates`."""
        return "+".join((self.model, *self.extras))

    @property
    def served_name(self) -> str:
        """A name that a server takes."""
        return "_".join((self.model, *self.extras))

    def params(self, params: Mapping[str, Any]) -> Params:
        """Those of `params` that the model has."""
        known = {field.name for field in fields(model_config(self.model, {}))}
        return {name: value for name, value in params.items() if name in known}


def check_model(name: str) -> None:
    """Raises a ConfigError about `--models` where no model is registered by that name."""
    try:
        model_config(name, {})
    except ValueError as error:
        raise ConfigError(f"--models: {error}") from None


def parse_variants(texts: Sequence[str]) -> list[Variant]:
    """Variants of labels such as `dmf` and `dmf+items`, each once.

    Raises:
        ConfigError: a model or an extra that is not there, or an extra that is named twice.
    """
    variants = []
    for text in texts:
        model, *extras = text.split("+")
        check_model(model)
        if unknown := [extra for extra in extras if extra not in EXTRAS]:
            raise ConfigError(f"--models {text}: there is no +{unknown[0]}; expected +{', +'.join(EXTRAS)}")
        if len(set(extras)) < len(extras):
            raise ConfigError(f"--models {text}: each of +{', +'.join(EXTRAS)} can be named once")
        variants.append(Variant(model, tuple(extra for extra in EXTRAS if extra in extras)))
    return list(dict.fromkeys(variants))
