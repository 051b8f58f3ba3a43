"""Which retrievers are evaluated, by name, and how long their lists are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.spelling import did_you_mean
from tfx_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from tfx_pipeline.evaluation.retrieval.cascade import Cascade

POPULARITY, CO_OCCURRENCE, CONTENT, TWO_TOWERS = "popularity", "co_occurrence", "content", "two_towers"
AT = "@"
# The same towers, searched by an approximate index.
APPROXIMATE = f"{TWO_TOWERS}{AT}approximate"
DEFAULT_AT_K = (5, 10, 100, 500, 1000)
# How many items a ranker is handed.
CANDIDATES = (100, 500, 1000)


def check_names(config: PipelineConfig, names: Sequence[str], *, two_towers: bool = True) -> list[str]:
    """The names, each once.

    Args:
        config: its modalities are those that `content@MODALITY` may name.
        names: as the user gave them.
        two_towers: whether these may be named among them.

    Raises:
        ConfigError: one does not exist.
    """
    modalities = list(config.content.modalities)
    allowed = [POPULARITY, CO_OCCURRENCE, *([TWO_TOWERS, APPROXIMATE] if two_towers else [])]
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


def cut_offs(at_k: Sequence[int] | None, items: int) -> list[int]:
    """The cut-offs, rising; None: those of `DEFAULT_AT_K` that the catalogue has items for.

    Raises:
        ConfigError: one is above the items of the catalogue, or it has none.
    """
    if not items:
        raise ConfigError("data.items: the catalogue has no item, so that there is nothing to retrieve; fill it")
    if at_k is None:
        return [k for k in DEFAULT_AT_K if k <= items] or [items]
    if max(at_k) > items:
        raise ConfigError(f"--k: got {max(at_k)}; expected at most {items}, the items of the catalogue")
    return sorted(set(at_k))


def candidate_counts(items: int) -> list[int]:
    """How many items rankers are handed, of a catalogue of so many."""
    return [count for count in CANDIDATES if count <= items] or [items]


def page_weights(config: PipelineConfig, given: Sequence[float] | None) -> list[float]:
    """Weights of retrieval's score in the order of pages, 0 among them: what the ranker alone makes of its candidates.

    Args:
        config: None given are those of its `stages.ranking.retrieval_weight`.
        given: by the user.

    Raises:
        ConfigError: pages are in the order of a formula of several objectives, and the cascade knows the first alone.
    """
    if config.serving.score is not None:
        if given is not None:
            raise ConfigError(
                "--weights: serving.score orders pages, and a cascade is ranked by the first objective alone; leave "
                "--weights out"
            )
        return [0.0]
    if given is None:
        given = [] if config.stages is None else [config.stages.ranking.retrieval_weight]
    return sorted({0.0, *given})


def cascades_behind(retriever: str, items: int, weights: Sequence[float]) -> list[Cascade]:
    """In which ways a ranker stands behind a retriever.

    Scores of baselines are counts and cosines and no logits, so that they have no part in the order of a page.

    Args:
        retriever: its name.
        items: of the catalogue.
        weights: of the scores of two towers.
    """
    from tfx_pipeline.evaluation.retrieval.cascade import Cascade

    own = weights if retriever in (TWO_TOWERS, APPROXIMATE) else [0.0]
    return [Cascade(count, weight) for count in candidate_counts(items) for weight in own]
