"""Which models are compared, and with what hyper-parameters. Loads neither TFX nor Keras: mistakes are said at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmf_keras.models.registry import compares_content, model_names, reads_codes
from tfx_pipeline.config.content import Content
from tfx_pipeline.config.label import CANDIDATES, Label
from tfx_pipeline.config.schema import SEEDS, PipelineConfig, Training
from tfx_pipeline.config.values import Params
from tfx_pipeline.console import console
from tfx_pipeline.errors import ConfigError


@dataclass(frozen=True)
class Contender:
    """One model of a comparison.

    Attributes:
        label: its name, and the modalities it is given.
        params: hyper-parameters that differ from the model's defaults.
        training: batches, epochs, patience, learning rate.
    """

    label: Label
    params: Params
    training: Training


@dataclass(frozen=True)
class Plan:
    """What a comparison trains.

    Attributes:
        contenders: each once, in the order asked for.
        seeds: every contender is trained with each of them.
        reference: label of the contender that the others are compared with.
        catalogue: whether each also ranks the whole catalogue.
    """

    contenders: tuple[Contender, ...]
    seeds: tuple[int, ...]
    reference: str
    catalogue: bool = False


def make_plan(
    config: PipelineConfig,
    models: Sequence[str] | None = None,
    seeds: int | None = None,
    reference: str | None = None,
    catalogue: bool = False,
) -> Plan:
    """What the configuration's `comparison` says, or what is asked for in its place.

    Args:
        config: the configuration; its `comparison` has hyper-parameters and what is not given here.
        models: labels, such as `dmf` or `dmf@text`.
        seeds: how many trainings per model.
        reference: one of the labels.
        catalogue: whether each also ranks the whole catalogue.

    Raises:
        ConfigError: a model, a modality, or a reference that is not there; the message lists what is. Or `catalogue` of
            models that look at columns which an item of the catalogue does not have.
    """
    comparison, content = config.comparison, config.content
    texts = _with_content(comparison.labels(), content) if models is None else models
    chosen = list(dict.fromkeys(_parse("--models", text, content) for text in texts))
    if reference is None:
        # Of models that do without content the default reference is none.
        given = content.modalities or "reference" in comparison.model_fields_set
        reference = comparison.reference if given else config.model.name
    wanted = str(_parse("--reference", reference, content))
    if wanted not in map(str, chosen):
        raise ConfigError(
            f"the reference '{wanted}' is not among the models that are compared: {', '.join(map(str, chosen))};"
            " name one of them with --reference, or add it to --models"
        )
    contenders, all_seeds = _contenders(config, chosen), seeds_of(config, seeds)
    if catalogue:
        _check_catalogue(config, chosen)
    return Plan(contenders, all_seeds, wanted, catalogue)


def contenders_of(config: PipelineConfig, option: str, texts: Sequence[str]) -> tuple[Contender, ...]:
    """Models by their labels, each once, with what the configuration's `comparison` gives them.

    Args:
        config: the configuration.
        option: of the command, for messages.
        texts: labels, such as `dmf` or `dmf@text`.

    Raises:
        ConfigError: a model, modality or hyper-parameter that does not exist.
    """
    return _contenders(config, list(dict.fromkeys(_parse(option, text, config.content) for text in texts)))


def seeds_of(config: PipelineConfig, count: int | None) -> tuple[int, ...]:
    """Of so many trainings, `training.seed` first; None: `comparison.seeds` of them.

    Raises:
        ConfigError: they go beyond the largest seed.
    """
    first, count = config.training.seed, config.comparison.seeds if count is None else count
    if first + count > SEEDS:
        raise ConfigError(f"training.seed: {count} seeds from {first} go beyond {SEEDS - 1}; set a smaller first one")
    return tuple(range(first, first + count))


def _contenders(config: PipelineConfig, labels: Sequence[Label]) -> tuple[Contender, ...]:
    comparison = config.comparison
    try:
        return tuple(
            Contender(
                label,
                comparison.params(label, config.model.params, config.model.name),
                comparison.training_of(label, config.training),
            )
            for label in labels
        )
    except ValueError as error:
        raise ConfigError(f"model.params, which the models share: {error}") from None


def _check_catalogue(config: PipelineConfig, chosen: Sequence[Label]) -> None:
    own = [name for name, column in config.features.candidate.items() if column.role == "feature"]
    looking = [str(label) for label in chosen if CANDIDATES not in label.without]
    if own and looking:
        raise ConfigError(
            f"--catalogue: {', '.join(looking)} look at columns of candidates ({', '.join(own)}), which belong to an "
            f"impression; an item of the catalogue has none. Compare models without them: {looking[0]}~{CANDIDATES}"
        )


def _with_content(labels: Sequence[str], content: Content) -> list[str]:
    """The labels without those of models that need content or semantic ids, where there are none; says which."""
    own = [text for text in labels if text in model_names()]
    without_content = [] if content.modalities else [text for text in own if compares_content(text)]
    without_codes = [] if content.codes else [text for text in own if reads_codes(text) and text not in without_content]
    for left_out, what in ((without_content, "content"), (without_codes, "semantic ids (content.codes)")):
        if left_out:
            console().print(f"left out, as the configuration has no {what}: {', '.join(left_out)}", soft_wrap=True)
    return [text for text in labels if text not in (*without_content, *without_codes)]


def _parse(option: str, text: str, content: Content) -> Label:
    try:
        return Label.parse(text, content.names, content.codes_of)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from None
