"""The typed configuration. One class per section of `pipeline_config.yaml`; unknown keys are refused everywhere.

Paths are written relative to the configuration file and are absolute once loaded. Units are part of a key's name
(`delay_s`), times are UTC.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from dmf_keras.models.inputs import HISTORY_AGE as MODEL_HISTORY_AGE
from serving.contract import HISTORY_AGE
from tfx_pipeline.config import objectives
from tfx_pipeline.config.columns import CandidateColumn, Column, Vocabulary, check_candidate_columns, of_several
from tfx_pipeline.config.comparison import Comparison
from tfx_pipeline.config.content import Content
from tfx_pipeline.config.encoders import Encoders, check_encoders
from tfx_pipeline.config.item_columns import ItemColumn
from tfx_pipeline.config.kubeflow import Kubeflow
from tfx_pipeline.config.metrics import DEFAULT_AT_K, MetricName, cut_off
from tfx_pipeline.config.model import Model
from tfx_pipeline.config.names import check_names
from tfx_pipeline.config.negatives import Negatives
from tfx_pipeline.config.objectives import Objectives
from tfx_pipeline.config.sequences import MAX_SEQUENCES, EventSequence, check_sequence_names, check_sequences
from tfx_pipeline.config.serving import Serving
from tfx_pipeline.config.split import Split
from tfx_pipeline.config.stages import Stages, check_stages
from tfx_pipeline.config.tables import Data
from tfx_pipeline.config.tuning import PARAMS, Tuning
from tfx_pipeline.config.values import ConfigPath, Integer, Number, Section

HistoryEvents = Literal["positives", "all"]
ColumnKind = Literal["categorical", "numeric"]
SPLITS = ("train", "eval", "test")
# Seeds of random generators are below it.
SEEDS = 2**32

_PIPELINE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class History(Section):
    """A request's history: the items of the user's last events strictly before it."""

    later = frozenset({"age_buckets", "sequences"})

    events: HistoryEvents = Field(
        "positives",
        description="'positives': what the user clicked; 'all': whatever was shown to them, clicked or not (the model "
        "is not told which)",
    )
    max_length: Integer = Field(50, ge=1, le=10_000)
    delay_s: Number = Field(0.0, ge=0, description="an event is known to the ranker only this long after it happened")
    age_buckets: Integer | None = Field(
        None,
        ge=3,
        le=1000,
        description="the model is told how long before the request each event was, in so many buckets: the first below "
        "a minute, the last from a year on, each of the others as much wider than the one before; absent: it is not",
    )
    sequences: dict[str, EventSequence] = Field(
        {},
        max_length=MAX_SEQUENCES,
        description="further histories beside this one, each of the events of some kinds; delay_s and age_buckets hold "
        "for them too",
    )

    _names = field_validator("sequences")(check_sequence_names)

    @property
    def longest_sequences(self) -> dict[str, int]:
        """Of each further history by name the most items."""
        return {name: sequence.max_length for name, sequence in self.sequences.items()}

    @property
    def delay_us(self) -> int:
        """`delay_s` in the microseconds that times are in."""
        return round(self.delay_s * 1e6)


def _feature_names(features: dict[str, Any]) -> dict[str, Any]:
    return check_names(features, hint="; its `column` may have any name, which is that in the table")


class Features(Section):
    """What the model sees of users, items, profiles and context."""

    later = frozenset({"candidate", "item"})

    user_id: Vocabulary | None = Field(None, description="absent: no embedding per user")
    item_id: Vocabulary = Vocabulary()
    user: dict[str, Column] = Field({}, description="profile columns, of data.users")
    context: dict[str, Column] = Field({}, description="columns of the log that describe the moment of the request")
    candidate: dict[str, CandidateColumn] = Field(
        {}, description="columns of the log that belong to one candidate; a request carries a value for each"
    )
    item: dict[str, ItemColumn] = Field(
        {}, description="columns of the catalogue, of candidates and history items; requests do not carry them"
    )

    _names = field_validator("user", "context", "candidate", "item")(_feature_names)

    @model_validator(mode="after")
    def _no_overlap(self) -> Features:
        kinds: dict[str, Collection[str]] = {
            "user": self.user,
            "context": self.context,
            "candidate": self.candidate,
            "item": self.item,
        }
        for one, other in itertools.combinations(kinds, 2):
            both = sorted(set(kinds[one]) & set(kinds[other]))
            if both:
                raise ValueError(f"columns in both '{one}' and '{other}': {', '.join(both)}")
        return self

    def of_requests(self) -> str:
        """The section as JSON without what is no part of transforming requests: items, and what a model does."""
        return self.model_dump_json(exclude={"item": True, "candidate": {"__all__": {"role", "serving_value"}}})


class Training(Section):
    """How the model is trained. A batch is a number of requests, not of candidates."""

    later = frozenset({"average_weights", "keep_negatives", "max_candidates", "refit", "row_updates"})

    batch_size: Integer = Field(1024, ge=1)
    epochs: Integer = Field(5, ge=1)
    patience: Integer = Field(
        1,
        ge=1,
        description="epochs without a better eval AUC before training stops; they count once it is above 0.51: a model "
        "may sit at 0.5 for a while before it learns",
    )
    learning_rate: Number = Field(1e-3, gt=0)
    average_weights: bool = Field(
        False,
        description="judge, choose and keep the average of the weights over about the last tenth of the steps, and not "
        "those of the last step",
    )
    keep_negatives: Number = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the train split's negatives that each epoch sees, drawn anew; the logits are corrected, "
        "so that probabilities stay those of all",
    )
    max_candidates: Integer | None = Field(
        None,
        ge=1,
        description="a request of more candidates is trained on as several of at most so many; batches are as wide as "
        "their longest request, and padding costs as much as candidates do",
    )
    row_updates: bool = Field(
        False,
        description="update the rows of embeddings that a batch looks up, and make up for the steps that each has "
        "rested, in place of all rows in each step: for tables of 100,000 rows and more",
    )
    seed: Integer = Field(42, ge=0, lt=SEEDS)
    shuffle_buffer: Integer = Field(200_000, ge=1, description="requests")
    mixed_precision: Literal["auto", "bfloat16", "never"] = Field(
        "auto",
        description="auto: float16, on GPUs only; bfloat16: head and branches, for wide heads on processors with "
        "amx_bf16. Weights are float32 in any case",
    )
    refit: bool = Field(
        False,
        description="push a model trained anew on train and eval, for as many epochs as the evaluated model was best "
        "after; all metrics stay those of the evaluated model, which saw train alone",
    )


class Threshold(Section):
    """What a metric must reach on the test split: a value, and a change against the last blessed model."""

    min: Number | None = None
    max: Number | None = None
    min_change: Number | None = Field(None, description="candidate - baseline must be at least this")
    max_change: Number | None = Field(None, description="candidate - baseline must be at most this")

    @model_validator(mode="after")
    def _possible(self) -> Threshold:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        if self.min_change is not None and self.max_change is not None:
            raise ValueError("give at most one of min_change and max_change")
        return self


class Evaluation(Section):
    """Slices and thresholds of the Evaluator. Item frequency is counted in impressions of the train split."""

    rare_below: Integer = Field(5, ge=2, description="items with 1 to this-1 impressions are rare; 0 is cold")
    head_from: Integer = Field(
        100, ge=3, description="items with at least this many impressions are head; between is tail"
    )
    history_edges: list[Annotated[Integer, Field(ge=1)]] = Field([1, 10, 30], description="lower edges after 'empty'")
    at_k: list[Annotated[Integer, Field(ge=1)]] = Field(
        list(DEFAULT_AT_K),
        min_length=1,
        description="hit rate and NDCG are of the first so many candidates of a request: metrics `hr@5`, `ndcg@5`",
    )
    thresholds: dict[MetricName, Threshold] = Field(
        {"auc": Threshold(min=0.5), "normalized_entropy": Threshold(max=1.0)},
        description="what a model must reach on test to be pushed; absent: better than chance and than a constant",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Evaluation:
        if self.rare_below >= self.head_from:
            raise ValueError(f"rare_below {self.rare_below} must be below head_from {self.head_from}")
        if self.history_edges != sorted(set(self.history_edges)):
            raise ValueError(f"history_edges must rise, got {self.history_edges}")
        if self.at_k != sorted(set(self.at_k)):
            raise ValueError(f"at_k must rise, got {self.at_k}")
        for name in self.thresholds:
            if (k := cut_off(name)) is not None and k not in self.at_k:
                raise ValueError(f"thresholds names {name}, but at_k is {self.at_k}: add {k} to it")
        return self


class Beam(Section):
    """Arguments of Apache Beam, as on its command line."""

    args: list[str] = ["--runner=DirectRunner", "--direct_running_mode=in_memory", "--direct_num_workers=1"]


class PipelineConfig(Section):
    """Everything one run needs."""

    later = frozenset({"objectives", "stages", "encoders", "kubeflow"})

    name: str
    output: ConfigPath
    data: Data
    objectives: Objectives = Field(
        {}, description="what the model predicts, the main objective first; absent: the label of the log alone"
    )
    history: History = History()
    split: Split
    negatives: Negatives | None = Field(None, description="for a log of positives alone; absent: the log has both")
    features: Features = Features()
    content: Content = Content()
    encoders: Encoders = Field(
        {}, description="by name of a modality, what makes its file out of the catalogue: `dmf encode`"
    )
    model: Model = Model()
    training: Training = Training()
    stages: Stages | None = Field(
        None, description="items retrieved from the whole catalogue before they are ranked; absent: ranking alone"
    )
    evaluation: Evaluation = Evaluation()
    serving: Serving = Serving()
    comparison: Comparison = Comparison()
    tuning: Tuning = Tuning()
    beam: Beam = Beam()
    kubeflow: Kubeflow | None = Field(
        None, description="where and with what `dmf compile` has the steps run on a cluster; absent: this machine alone"
    )

    @field_validator("output")
    @classmethod
    def _no_pattern(cls, output: Path) -> Path:
        if found := sorted(set("*?[]") & set(str(output))):
            raise ValueError(f"{output} holds {' '.join(found)}, a pattern to TFX; choose a folder without")
        return output

    @field_validator("name")
    @classmethod
    def _usable_as_folder(cls, name: str) -> str:
        if not _PIPELINE_NAME.fullmatch(name):
            raise ValueError("should be letters, digits, - and _ and begin with a letter")
        return name

    @model_validator(mode="after")
    def _negatives_of_positives_alone(self) -> PipelineConfig:
        label = self.data.interactions.columns.label
        if label is None and self.negatives is None:
            raise ValueError(
                "negatives: absent, but data.interactions.columns.label is null: every row is a positive; say how many "
                "negatives to draw, such as negatives: {train: 4, eval: 99, test: 99}"
            )
        if label is not None and self.negatives is not None:
            raise ValueError(
                f"negatives: given, but data.interactions.columns.label is '{label}': a log with labels has negatives "
                "of its own; set it to null where every row is a positive, or leave out negatives"
            )
        return self

    @model_validator(mode="after")
    def _profile_has_table(self) -> PipelineConfig:
        if self.features.user and self.data.users is None:
            columns = ", ".join(sorted(self.features.user))
            raise ValueError(f"data.users: absent, but features.user names columns of it: {columns}")
        return self

    @model_validator(mode="after")
    def _histories_are_built_or_given(self) -> PipelineConfig:
        given = self.data.interactions.columns.history
        if given is not None and self.history.events != "positives":
            raise ValueError(
                f"history.events: '{self.history.events}' says what histories are made of, and "
                "data.interactions.columns.history says that the log gives them; leave one of the two out"
            )
        if given is not None and given.times is None and self.history.delay_s:
            raise ValueError(
                f"history.delay_s: {self.history.delay_s:g} cannot be applied to histories that the log gives without "
                "times (data.interactions.columns.history.times); leave it out"
            )
        return self

    @model_validator(mode="after")
    def _sequences_have_kinds(self) -> PipelineConfig:
        check_sequences(self.history.sequences, self.data.interactions, list(self.objectives))
        return self

    @model_validator(mode="after")
    def _ages_are_known(self) -> PipelineConfig:
        buckets, given = self.history.age_buckets, self.data.interactions.columns.history
        if buckets is None:
            if HISTORY_AGE in of_several({**self.features.user, **self.features.context}):
                raise ValueError(
                    f"features: '{HISTORY_AGE}' cannot have several values, as clients take a list of that name for "
                    "the ages of the history; give the feature another name (its `column` may have any)"
                )
            return self
        if given is not None and given.times is None:
            raise ValueError(
                f"history.age_buckets: {buckets}, but the log gives histories without times, which have no ages; name "
                "their column in data.interactions.columns.history.times, or leave age_buckets out"
            )
        for part in ("user", "context", "candidate", "item"):
            if taken := sorted({HISTORY_AGE, MODEL_HISTORY_AGE} & set(getattr(self.features, part))):
                raise ValueError(
                    f"features.{part}: '{taken[0]}' is what history.age_buckets makes; give the feature another name "
                    "(its `column` may have any)"
                )
        return self

    @model_validator(mode="after")
    def _candidates_do_not_carry_the_label(self) -> PipelineConfig:
        label = self.data.interactions.columns.label
        check_candidate_columns(self.features.candidate, label, drawn=self.negatives is not None)
        return self

    @model_validator(mode="after")
    def _rows_and_impressions_are_told_apart(self) -> PipelineConfig:
        log = self.data.interactions
        if log.impressions is None:
            return self
        further = [objective.label for objective in self.objectives.values() if objective.label is not None]
        candidate = {column.column or name for name, column in self.features.candidate.items()}
        lists = candidate.union(further, log.of_impressions)
        for name, column in self.features.context.items():
            if (read := column.column or name) in lists:
                raise ValueError(
                    f"features.context: '{name}' reads '{read}', which has a value for each impression of a row "
                    "(data.interactions.impressions), while a context column has one; leave it out, or give it under "
                    "features.candidate"
                )
        return self

    @model_validator(mode="after")
    def _objectives_fit_the_log(self) -> PipelineConfig:
        objectives.check(self.objectives, self.data.interactions.columns)
        weighted = self.stages is not None and self.stages.ranking.retrieval_weight > 0
        objectives.check_formula(self.objectives, self.serving.score, probable=weighted)
        objectives.check_kept_negatives(self.objectives, self.training.keep_negatives)
        keys = {f"evaluation.thresholds.{name}": name for name in self.evaluation.thresholds}
        objectives.check_metrics(self.objectives, {**keys, "tuning.objective": self.tuning.objective})
        return self

    @model_validator(mode="after")
    def _has_the_content_that_its_model_compares(self) -> PipelineConfig:
        from dmf_keras.models.registry import compares_content, model_names, reads_codes

        if not self.content.modalities and compares_content(self.model.name):
            others = ", ".join(name for name in model_names() if not compares_content(name))
            raise ValueError(
                f"model.name: '{self.model.name}' compares content, and there is none; give content.modalities, or "
                f"choose a model that does without: {others}"
            )
        if self.content.codes is None and reads_codes(self.model.name):
            raise ValueError(
                f"model.name: '{self.model.name}' reads semantic ids, and there are none; give content.codes, such as "
                f"codes: {{of: {next(iter(self.content.modalities), 'text')}}}, or choose another model"
            )
        return self

    @model_validator(mode="after")
    def _encoders_write_files_of_modalities(self) -> PipelineConfig:
        check_encoders(self.encoders, self.content)
        return self

    @model_validator(mode="after")
    def _unknown_users_have_one_row(self) -> PipelineConfig:
        users = self.features.user_id
        if users is None or users.oov_buckets == 1:
            return self
        given = {"model.params.user_dropout": self.model.params.get("user_dropout")}
        given |= {
            f"comparison.models.{label}": own.get("user_dropout") for label, own in self.comparison.models.items()
        }
        given["tuning.space"] = f"{PARAMS}user_dropout" in self.tuning.space
        for key, dropped in given.items():
            if dropped:
                raise ValueError(
                    f"{key}: user_dropout teaches one row of unknown users, and features.user_id.oov_buckets is "
                    f"{users.oov_buckets}; expected 1"
                )
        return self

    @model_validator(mode="after")
    def _stages_have_inputs_of_their_own(self) -> PipelineConfig:
        check_stages(self.stages, (*self.features.user, *self.features.context, *self.features.candidate))
        return self

    @model_validator(mode="after")
    def _compared_models_exist(self) -> PipelineConfig:
        modalities, codes_of = self.content.names, self.content.codes_of
        self.comparison.check(self.model.params, self.model.name, modalities, codes_of)
        return self

    @model_validator(mode="after")
    def _tuned_values_exist(self) -> PipelineConfig:
        self.tuning.check(self.model.name, self.model.params, self.training)
        return self

    @property
    def push_dir(self) -> Path:
        """Base directory of the pushed versions."""
        return self.serving.push_dir or self.output / "serving" / self.name
