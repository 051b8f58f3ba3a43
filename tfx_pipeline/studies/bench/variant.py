"""Which models `dmf bench serving` compares, what they know beyond ids and content, and what they compute in.

Loads neither TFX nor Keras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from dmf_keras.models import model_config
from serving.contract import BFLOAT16, FLOAT32
from tfx_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from tfx_pipeline.config.values import Params

ITEM_COLUMNS, CANDIDATE_COLUMNS, HISTORIES = "items", "candidates", "histories"
EXTRAS = (ITEM_COLUMNS, CANDIDATE_COLUMNS, HISTORIES)
# What can be asked for, and the precisions that it means.
PRECISIONS = {FLOAT32: (FLOAT32,), BFLOAT16: (BFLOAT16,), "both": (FLOAT32, BFLOAT16)}


@dataclass(frozen=True)
class Variant:
    """One model of the registry, with extras or without.

    Attributes:
        model: its name in the registry.
        extras: of `EXTRAS`: columns of items, columns of candidates, further histories.
        precision: that it is exported in.
    """

    model: str
    extras: tuple[str, ...] = ()
    precision: str = FLOAT32

    @property
    def label(self) -> str:
        """As it is asked for: `dmf+items+candidates`, and the precision if it is not float32."""
        return " ".join(("+".join((self.model, *self.extras)), *self._lower_precision))

    @property
    def served_name(self) -> str:
        """A name that a server takes."""
        return "_".join((self.model, *self.extras, *self._lower_precision))

    @property
    def _lower_precision(self) -> tuple[str, ...]:
        return () if self.precision == FLOAT32 else (self.precision,)

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


def parse_variants(texts: Sequence[str], precisions: Sequence[str] = (FLOAT32,)) -> list[Variant]:
    """Variants of labels such as `dmf` and `dmf+items`, each once in each precision.

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
        known = tuple(extra for extra in EXTRAS if extra in extras)
        variants += [Variant(model, known, precision) for precision in precisions]
    return list(dict.fromkeys(variants))
