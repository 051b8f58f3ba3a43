"""How a configuration and a command name a model: a label.

It is the name in the registry and, after `@`, the modalities that the model is given when not all: `dmf`, `dmf@text`,
`dmf@text+image`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dmf_keras.models.registry import model_config
from tfx_pipeline.config.spelling import did_you_mean


class Label(NamedTuple):
    """A model and the modalities it is given; none named: all of them."""

    model: str
    modalities: tuple[str, ...]

    def __str__(self) -> str:
        """As a configuration writes it."""
        return f"{self.model}@{'+'.join(self.modalities)}" if self.modalities else self.model

    @classmethod
    def parse(cls, text: str, modalities: Sequence[str]) -> Label:
        """Reads a label.

        Args:
            text: such as `dmf` or `dmf@text+image`.
            modalities: those of the configuration; the label keeps their order, and all of them are none named.

        Raises:
            ValueError: no such model or modality, with those that exist.
        """
        model, at, given = text.partition("@")
        model_config(model, {})
        names = given.split("+") if at else []
        for name in names:
            if name not in modalities:
                meant = did_you_mean(name, modalities)
                said = f" ({meant})" if meant else ""
                raise ValueError(f"'{text}': no modality {name!r}{said}; modalities: {', '.join(modalities)}")
        chosen = tuple(name for name in modalities if name in names)
        return cls(model, () if len(chosen) == len(modalities) else chosen)
