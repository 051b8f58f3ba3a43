"""How a configuration and a command name a model: a label.

It is the name in the registry, after `@` the modalities that the model is given when not all, and after `~` what else
it is not given: `dmf`, `dmf@text`, `dmf@text+image`, `dmf~items`, `dmf~items~candidates`, `dmf~ages`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dmf_keras.models.registry import compares_content, model_config, reads_codes
from tfx_pipeline.config.spelling import did_you_mean

ITEMS = "items"
"""Of what a model can go without: the columns of items, `features.item`."""
CANDIDATES = "candidates"
"""And the columns of candidates, `features.candidate`."""
AGES = "ages"
"""And the ages of history events, `history.age_buckets`."""
_ALL = (ITEMS, CANDIDATES, AGES)


class Label(NamedTuple):
    """A model, the modalities it is given (none named: all of them), and what else it goes without."""

    model: str
    modalities: tuple[str, ...]
    without: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As a configuration writes it."""
        given = f"{self.model}@{'+'.join(self.modalities)}" if self.modalities else self.model
        return "~".join([given, *self.without])

    @classmethod
    def parse(cls, text: str, modalities: Sequence[str], codes_of: str | None = None) -> Label:
        """Reads a label.

        Args:
            text: such as `dmf`, `dmf@text+image` or `dmf~items`.
            modalities: those of the configuration; the label keeps their order, and all of them are none named.
            codes_of: the one of them that semantic ids are made of; None: there are none.

        Raises:
            ValueError: no such model or modality, with those that exist, content or semantic ids that the model needs
                and does not get, or another word than those of this module after `~`.
        """
        with_content, *without = text.split("~")
        if wrong := [word for word in without if word not in _ALL]:
            raise ValueError(f"'{text}': a model can go without {', '.join(_ALL)}, after ~; got {wrong[0]!r}")
        model, at, given = with_content.partition("@")
        model_config(model, {})
        if not modalities and compares_content(model):
            raise ValueError(f"'{text}': compares content, and the configuration has none (content.modalities)")
        names = given.split("+") if at else []
        for name in names:
            if name not in modalities:
                meant = did_you_mean(name, modalities)
                said = f" ({meant})" if meant else ""
                raise ValueError(f"'{text}': no modality {name!r}{said}; modalities: {', '.join(modalities)}")
        if reads_codes(model) and codes_of is None:
            raise ValueError(f"'{text}': reads semantic ids, and the configuration has none (content.codes)")
        if reads_codes(model) and names and codes_of not in names:
            raise ValueError(f"'{text}': reads semantic ids, which are of '{codes_of}' (content.codes.of); name it too")
        chosen = tuple(name for name in modalities if name in names)
        return cls(
            model, () if len(chosen) == len(modalities) else chosen, tuple(word for word in _ALL if word in without)
        )
