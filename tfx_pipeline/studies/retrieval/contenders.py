"""Which retrievers are evaluated, by name."""

from __future__ import annotations

from collections.abc import Sequence

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.spelling import did_you_mean
from tfx_pipeline.errors import ConfigError

POPULARITY, CO_OCCURRENCE, CONTENT, TWO_TOWERS = "popularity", "co_occurrence", "content", "two_towers"
AT = "@"


def check_names(config: PipelineConfig, names: Sequence[str]) -> list[str]:
    """The names, each once.

    Args:
        config: its modalities are those that `content@MODALITY` may name.
        names: as the user gave them.

    Raises:
        ConfigError: one does not exist.
    """
    modalities = list(config.content.modalities)
    allowed = [POPULARITY, CO_OCCURRENCE, TWO_TOWERS]
    if modalities:
        allowed += [CONTENT, *(f"{CONTENT}{AT}{modality}" for modality in modalities)]
    for name in names:
        if name not in allowed:
            meant = did_you_mean(name, allowed)
            raise ConfigError(
                f"--retrievers: unknown '{name}'{f'; {meant}' if meant else ''}; allowed: {', '.join(sorted(allowed))}"
            )
    return list(dict.fromkeys(names))


def default_names(config: PipelineConfig, has_two_towers: bool) -> list[str]:
    """All that there are: content where there is some, two towers where they are trained."""
    names = [POPULARITY, CO_OCCURRENCE]
    names += [CONTENT] if config.content.modalities else []
    return names + ([TWO_TOWERS] if has_two_towers else [])
