"""What a step that trains takes of the configuration: a parameter of its component, and what its function is given.

TFX hands a component's `custom_config` to the user function. A step's settings are written into it by the pipeline and
read back by `run_fn` or `tuner_fn`; one class says for both what they are.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter

from serving import contract
from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.model import Model
from tfx_pipeline.config.objectives import Objectives
from tfx_pipeline.config.schema import Evaluation, Features, PipelineConfig, Training
from tfx_pipeline.config.stages import Approximate, Retrieval
from tfx_pipeline.config.values import Section
from tfx_pipeline.training.search.values import with_values

_VALUE = "value"
_WITHOUT = "without"
_LATER = "later"


def taken(
    value: Callable[[PipelineConfig], Any] | None = None, *, without: Sequence[str] = (), later: bool = False
) -> dict[str, Any]:
    """Metadata of a field of settings.

    Args:
        value: takes it from the configuration; None: the configuration's section of the field's name.
        without: keys of the section that no step of training looks at: a change of them must not train again.
        later: settings did not always have it: at its default it is not written.
    """
    return {_VALUE: value, _WITHOUT: set(without), _LATER: later}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of the settings of a step. A further setting is one field: its name, its type and where it is taken from.

    Attributes:
        code: digest of the code behind the step.
        evaluation: the borders of the slices; the rest is the Evaluator's own.
        model: a module that its model does not need is left out: another module must not train it again.
        age_buckets: `history.age_buckets`, of which ingestion only knows whether there are any.
    """

    code: str
    features: Features
    evaluation: Evaluation = dataclasses.field(metadata=taken(without=("at_k", "thresholds")))
    model: Model = dataclasses.field(metadata=taken(lambda config: config.model.without_idle_module()))
    training: Training = dataclasses.field(metadata=taken(without=("refit",)))
    objectives: Objectives = dataclasses.field(default_factory=dict, metadata=taken(later=True))
    age_buckets: int | None = dataclasses.field(
        default=None, metadata=taken(lambda config: config.history.age_buckets, later=True)
    )

    @classmethod
    def of(cls, config: PipelineConfig, code: str) -> Self:
        """The settings of a step whose code has the digest `code`."""
        values: dict[str, Any] = {"code": code}
        for field in dataclasses.fields(cls):
            if field.name not in values:
                value = field.metadata.get(_VALUE)
                values[field.name] = value(config) if value else getattr(config, field.name)
        return cls(**values)

    def to_custom_config(self) -> dict[str, Any]:
        """By name, each section as a JSON string: TFX says of a step which of them has changed.

        Equal configurations give equal dictionaries.
        """
        return {
            field.name: _json_of(getattr(self, field.name), field.metadata.get(_WITHOUT))
            for field in dataclasses.fields(self)
            if getattr(self, field.name) or not field.metadata.get(_LATER)
        }

    @classmethod
    def from_custom_config(cls, custom_config: Mapping[str, Any]) -> Self:
        """Inverse of `to_custom_config`; what was left out has its default. Other keys are not looked at.

        Raises:
            KeyError: a setting is absent.
        """
        types = get_type_hints(cls)
        return cls(
            **{
                field.name: _of_json(custom_config[field.name], types[field.name])
                for field in dataclasses.fields(cls)
                if field.name in custom_config or not field.metadata.get(_LATER)
            }
        )


def state_root(config: PipelineConfig) -> str:
    """Where the state of interrupted trainings lies."""
    return str(config.output / "training_state")


def _precision(config: PipelineConfig) -> str:
    return "" if config.serving.precision == contract.FLOAT32 else config.serving.precision


def _ranked_candidates(config: PipelineConfig) -> int:
    return 0 if config.stages is None else config.stages.ranking.candidates


def _retrieval_weight(config: PipelineConfig) -> float:
    return 0.0 if config.stages is None else config.stages.ranking.retrieval_weight


def _approximate(config: PipelineConfig) -> Approximate | None:
    return None if config.stages is None else config.stages.retrieval.approximate


def _ingestion_with_titles(config: PipelineConfig) -> IngestionConfig:
    ingestion = IngestionConfig.of(config)
    return ingestion.model_copy(update={"data": ingestion.data.model_copy(update={"items": config.data.items})})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """Settings of `RankingTrainer`.

    Attributes:
        name: of the pipeline, under which the model is served.
        code: digest of the code that trains; another code does not go on with an interrupted training.
        state_root: folder for the state of interrupted trainings.
        ingestion: where the logs and the titles lie and how histories are made; travels with the model for `dmf rank`.
        warmup_candidates: numbers of candidates of the warm-up requests.
        explain: whether the signature `explain` is exported.
        calibration: how probabilities are calibrated on eval.
        formula: that `score` is of several objectives; "": the first of them.
        precision: of the exported model; "": float32.
        ranked_candidates: that the exported model retrieves before it ranks them; 0: there is no retrieval.
        retrieval_weight: of retrieval's score in the order of its pages.
        approximate: of the index beside it; the least recall is the gate's to know.
    """

    name: str
    state_root: str = dataclasses.field(metadata=taken(state_root))
    ingestion: IngestionConfig = dataclasses.field(metadata=taken(_ingestion_with_titles))
    warmup_candidates: list[int] = dataclasses.field(metadata=taken(lambda config: config.serving.warmup_candidates))
    explain: bool = dataclasses.field(metadata=taken(lambda config: config.serving.explain))
    calibration: str = dataclasses.field(metadata=taken(lambda config: config.serving.calibration))
    formula: str = dataclasses.field(default="", metadata=taken(lambda config: config.serving.score or "", later=True))
    precision: str = dataclasses.field(default="", metadata=taken(_precision, later=True))
    ranked_candidates: int = dataclasses.field(default=0, metadata=taken(_ranked_candidates, later=True))
    retrieval_weight: float = dataclasses.field(default=0.0, metadata=taken(_retrieval_weight, later=True))
    approximate: Approximate | None = dataclasses.field(
        default=None, metadata=taken(_approximate, without=("min_recall",), later=True)
    )

    def tuned(self, values: Mapping[str, Any]) -> Self:
        """With the values that a search found best, see `tfx_pipeline.training.search.values`."""
        params, training = with_values(self.model.params, self.training, values)
        return dataclasses.replace(self, model=self.model.model_copy(update={"params": params}), training=training)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefitSettings(TrainingSettings):
    """Settings of `RefitTrainer`: those of the training that it repeats, and that it is the refit."""

    training: Training


def _seed_alone(config: PipelineConfig) -> Training:
    return Training(seed=config.training.seed, shuffle_buffer=config.training.shuffle_buffer)


def _retrieval(config: PipelineConfig) -> Retrieval:
    assert config.stages is not None, "no step of retrieval otherwise"
    return config.stages.retrieval


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetrievalSettings(Settings):
    """Settings of `RetrievalTrainer`, of which the ranker's are no part: another ranker trains no retrieval again.

    Attributes:
        retrieval: the stage.
        state_root: folder for the state of interrupted trainings.
        ingestion: how histories are made.
        training: seed and shuffling.
    """

    evaluation: Evaluation = dataclasses.field(metadata=taken(lambda config: Evaluation()))
    model: Model = dataclasses.field(metadata=taken(lambda config: Model()))
    training: Training = dataclasses.field(metadata=taken(_seed_alone))
    retrieval: Retrieval = dataclasses.field(metadata=taken(_retrieval, without=("approximate",)))
    state_root: str = dataclasses.field(metadata=taken(state_root))
    ingestion: IngestionConfig = dataclasses.field(metadata=taken(IngestionConfig.of))


def _json_of(value: Any, without: set[str] | None) -> Any:
    if isinstance(value, IngestionConfig):
        return value.to_json()
    if isinstance(value, dict):
        plain = {n: each.model_dump(mode="json") if isinstance(each, Section) else each for n, each in value.items()}
        return json.dumps(plain)
    return value.model_dump_json(exclude=without) if isinstance(value, Section) else value


def _of_json(value: Any, type_: Any) -> Any:
    if get_origin(type_) is dict:
        return TypeAdapter(type_).validate_json(value)
    if isinstance(type_, UnionType):
        # A section or None, which is not written.
        type_ = next(each for each in get_args(type_) if each is not NoneType)
    is_section = isinstance(type_, type) and issubclass(type_, Section)
    return type_.model_validate_json(value) if is_section else value
