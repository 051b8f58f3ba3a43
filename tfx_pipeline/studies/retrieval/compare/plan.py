"""Which towers are compared, with what and how. Loads neither TFX nor Keras: mistakes are said at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfx_pipeline.config.content import Content
from tfx_pipeline.config.label import AGES, ITEMS, SEQUENCES, Label
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.spelling import did_you_mean
from tfx_pipeline.config.stages import Retrieval, Stages
from tfx_pipeline.errors import ConfigError
from tfx_pipeline.studies.compare.contenders import Contender, contenders_of, seeds_of
from tfx_pipeline.studies.retrieval.contenders import TWO_TOWERS, check_names, default_names, page_weights

NO_CONTENT = "content"
"""Of what towers can go without, beside the words of `tfx_pipeline.config.label`: content of any modality."""
# Columns of candidates are none of any tower's.
_WITHOUT = (NO_CONTENT, ITEMS, AGES, SEQUENCES)


@dataclass(frozen=True)
class TowerContender:
    """Two towers of a comparison.

    Attributes:
        label: its name; `content` among what it goes without is no content at all.
        settings: `stages.retrieval` as these towers have it.
    """

    label: Label
    settings: Retrieval


@dataclass(frozen=True)
class RetrievalPlan:
    """What a comparison of retrieval trains and judges.

    Attributes:
        towers: each once, in the order asked for.
        seeds: all of them are trained with each.
        baselines: retrievers without a training.
        rankers: each ranks what towers of its seed retrieved.
        reference: one of the towers or the baselines, with which the others are compared.
        at_k: cut-offs; None: those that the catalogue has items for.
        split: whose requests are answered.
        weights: of retrieval's score in the order of pages.
    """

    towers: tuple[TowerContender, ...]
    seeds: tuple[int, ...]
    baselines: tuple[str, ...]
    rankers: tuple[Contender, ...]
    reference: str
    at_k: tuple[int, ...] | None
    split: str
    weights: tuple[float, ...]


def make_plan(
    config: PipelineConfig,
    towers: Sequence[str] | None = None,
    seeds: int | None = None,
    reference: str | None = None,
    retrievers: Sequence[str] | None = None,
    at_k: Sequence[int] | None = None,
    split: str = "test",
    rankers: Sequence[str] = (),
    weights: Sequence[float] | None = None,
) -> RetrievalPlan:
    """What is asked for, else what stands to reason.

    Args:
        config: its `stages.retrieval` says how towers are trained; without the section the defaults do.
        towers: labels; None: `two_towers`, and where there is content `two_towers~content`.
        seeds: trainings of each; None: `comparison.seeds`.
        reference: one of the labels or retrievers; None: the first label.
        retrievers: baselines; None: all there are, content joined.
        at_k: cut-offs.
        split: `eval` or `test`.
        rankers: labels of models of the registry, trained as `dmf compare` does.
        weights: of retrieval's score in the order of pages; None: that of `stages.ranking`.

    Raises:
        ConfigError: a label, a modality, a retriever or a reference that does not exist; the message lists what does.
    """
    content, stage = config.content, (config.stages or Stages()).retrieval
    if towers is None:
        towers = [TWO_TOWERS, *([f"{TWO_TOWERS}~{NO_CONTENT}"] if content.modalities else [])]
    labels = list(dict.fromkeys(_parse("--towers", text, content) for text in towers))
    if retrievers is None:
        baselines = default_names(config, has_two_towers=False)
    else:
        baselines = check_names(config, retrievers, two_towers=False)
    names = [*map(str, labels), *baselines]
    return RetrievalPlan(
        tuple(TowerContender(label, _settings(label, stage)) for label in labels),
        seeds_of(config, seeds),
        tuple(baselines),
        contenders_of(config, "--rankers", rankers),
        names[0] if reference is None else _reference(reference, names, content),
        None if at_k is None else tuple(at_k),
        split,
        tuple(page_weights(config, weights)),
    )


def parse_label(text: str, content: Content) -> Label:
    """Reads the label of towers: `two_towers`, `two_towers@text`, `two_towers~content`, `two_towers~items`.

    Args:
        text: of which the words after `~` may have any order.
        content: the section of the configuration.

    Raises:
        ValueError: no model of two towers, no such modality, another word after `~`, or content that is not there to
            be left out.
    """
    given, *without = text.split("~")
    model, at, _ = given.partition("@")
    if model != TWO_TOWERS:
        raise ValueError(
            f"'{text}': no model of two towers {model!r}{_meant(model, [TWO_TOWERS])}; expected {TWO_TOWERS}"
        )
    if wrong := [word for word in without if word not in _WITHOUT]:
        raise ValueError(
            f"'{text}': towers can go without {', '.join(_WITHOUT)}, after ~; got {wrong[0]!r}"
            f"{_meant(wrong[0], _WITHOUT)}"
        )
    label = Label.parse("~".join([given, *(word for word in without if word != NO_CONTENT)]), content.names)
    if NO_CONTENT not in without:
        return label
    if not content.modalities:
        raise ValueError(f"'{text}': the configuration has no content (content.modalities) to go without")
    if at:
        raise ValueError(f"'{text}': names a modality and goes without content; leave out one of the two")
    return label._replace(without=(NO_CONTENT, *label.without))


def _settings(label: Label, stage: Retrieval) -> Retrieval:
    """Those of the stage; content of width 0 is none."""
    if NO_CONTENT not in label.without:
        return stage
    return stage.model_copy(update={"params": {**stage.params, "content_dim": 0}})


def _reference(text: str, names: Sequence[str], content: Content) -> str:
    wanted = text
    if text.startswith(TWO_TOWERS):
        wanted = str(_parse("--reference", text, content))
    if wanted not in names:
        raise ConfigError(
            f"the reference '{wanted}' is not among what is compared{_meant(wanted, names)}: {', '.join(names)}; name "
            "one of them with --reference, or add it to --towers or --retrievers"
        )
    return wanted


def _parse(option: str, text: str, content: Content) -> Label:
    try:
        return parse_label(text, content)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from None


def _meant(text: str, allowed: Sequence[str]) -> str:
    meant = did_you_mean(text, allowed)
    return f" ({meant})" if meant else ""
