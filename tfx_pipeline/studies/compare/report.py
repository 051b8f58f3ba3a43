"""The report of `dmf compare`, as `compare.json` has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tfx_pipeline.config.metrics import cut_offs, objectives_in
from tfx_pipeline.files.json_record import JsonRecord
from tfx_pipeline.studies.bench.machine import Machine
from tfx_pipeline.studies.bench.timing import Timing
from tfx_pipeline.studies.compare.training_facts import Parameters, Timed

FORMAT = 1

# "one seed": of a single training nothing is known of how the next would differ, whatever its interval over users.
Verdict = Literal["ahead", "behind", "undecided", "one seed"]


@dataclass(frozen=True)
class Statistic:
    """A number of several trainings.

    Attributes:
        mean, std: of those values that exist; std, the sample standard deviation, wants two of them.
        values: by seed; None where there is none.
    """

    mean: float | None
    std: float | None
    values: Sequence[float | None]


@dataclass(frozen=True)
class Excess:
    """How much larger a difference is in a slice than overall.

    Attributes:
        mean: over seeds; None where the slice has no answer.
        low, high: ends of its interval over users.
    """

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Difference:
    """Model minus reference in one metric.

    Attributes:
        mean: over seeds; None where there is no answer.
        low, high: ends of its interval over users.
        by_seed: each seed's model minus the reference of the same seed.
        std: sample standard deviation over seeds; None of one seed.
        verdict: `ahead` or `behind` when the interval leaves zero out and all of several seeds say the same; `one seed`
            where there is but one.
    """

    mean: float | None
    low: float | None
    high: float | None
    by_seed: Sequence[float | None]
    std: float | None
    verdict: Verdict


@dataclass(frozen=True)
class SliceDifference(Difference):
    """A difference on the candidates of a slice.

    Attributes:
        beyond_overall: how much larger it is there than overall.
    """

    beyond_overall: Excess


@dataclass(frozen=True)
class CatalogueFacts:
    """What was ranked, where the whole catalogue was asked for.

    Attributes:
        items: of the catalogue.
        requests: of the test split that have a positive in it.
        candidates: that a request ranked, in the mean: all items but those that the user had before.
        without_positive: requests that have none.
        unknown_positives: positives that the catalogue lacks; they cannot be ranked and are left out.
    """

    items: int
    requests: int
    candidates: float
    without_positive: int
    unknown_positives: int


@dataclass(frozen=True)
class CatalogueEntry:
    """How well a model ranks the whole catalogue.

    Attributes:
        metrics: `hr@K`, `ndcg@K` and `mrr` over seeds.
        candidates_per_second: that were scored for it.
    """

    metrics: Mapping[str, Statistic]
    candidates_per_second: Statistic


@dataclass(frozen=True)
class Slice:
    """One bucket of a slice of the test split.

    Attributes:
        candidates, users: how many it has.
        metrics: over seeds, by metric.
    """

    candidates: int
    users: int
    metrics: Mapping[str, Statistic]


@dataclass(frozen=True)
class Trainings:
    """How a model's trainings went; sequences are by seed.

    Attributes:
        examples_per_second: requests per second of steady training steps.
        seconds: of a training; of one that was gone on with, those of its last process.
        epochs: that were trained.
        best_epoch: 0-based.
        timed: when, and on what machine.
        batch_size: requests.
        learning_rate: the model's own, where it has one.
    """

    examples_per_second: Statistic
    seconds: Statistic
    epochs: Sequence[int]
    best_epoch: Sequence[int]
    timed: Sequence[Timed]
    batch_size: int
    learning_rate: float


@dataclass(frozen=True)
class ModelEntry:
    """What a comparison says of one model.

    Attributes:
        label: `dmf`, or `dmf@text` of a model that is given that modality alone.
        model: registered name.
        params: all its hyper-parameters.
        parameters: trainable numbers.
        training: how its trainings went.
        history: metrics by epoch, by seed.
        metrics: of the test split, by metric.
        slices: by slice column and bucket.
        difference: to the reference, by metric; None of the reference itself.
        slice_differences: to the reference, by slice column, bucket and metric; None of the reference itself.
        modalities: that it looks at.
        rank_ms: milliseconds to rank for one user.
        attainable_share: of the gain over an AUC of 0.5 that true probabilities reach; None of logs that are not
            synthetic.
        catalogue: how well it ranks the whole catalogue; None: that was not asked for.
    """

    label: str
    model: str
    params: Mapping[str, Any]
    parameters: Parameters
    training: Trainings
    history: Sequence[Sequence[Mapping[str, float | None]]]
    metrics: Mapping[str, Statistic]
    slices: Mapping[str, Mapping[str, Slice]]
    difference: Mapping[str, Difference] | None
    slice_differences: Mapping[str, Mapping[str, Mapping[str, SliceDifference]]] | None
    modalities: Sequence[str]
    rank_ms: Timing
    attainable_share: Statistic | None
    catalogue: CatalogueEntry | None = None


@dataclass(frozen=True)
class SplitSize:
    """Sizes of the test split.

    Attributes:
        candidates, users: how many it has.
        positives: clicked candidates.
    """

    candidates: int
    users: int
    positives: int


@dataclass(frozen=True)
class Data:
    """What was trained and judged on.

    Attributes:
        train_requests, eval_requests: how many.
        test: sizes of the test split.
        eval_from, test_from: first moments of these splits, ISO 8601 in UTC.
    """

    train_requests: int
    eval_requests: int
    test: SplitSize
    eval_from: str
    test_from: str


@dataclass(frozen=True)
class Bootstrap:
    """How intervals were made.

    Attributes:
        resamples: draws.
        confidence: share of them that an interval holds.
        unit: what is drawn.
        seeds: a phrase that says what becomes of seeds.
    """

    resamples: int
    confidence: float
    unit: str
    seeds: str


@dataclass(frozen=True)
class RankRequest:
    """What models were asked to rank when they were timed.

    Attributes:
        candidates: N.
        history: items in the user's history.
    """

    candidates: int
    history: int


@dataclass(frozen=True)
class Attainable:
    """What the true click probabilities reach on the test split of synthetic logs."""

    auc: float
    gauc: float


@dataclass(frozen=True)
class Report(JsonRecord):
    """A comparison.

    Attributes:
        format: version of this shape.
        pipeline: name of the configuration.
        created: ISO 8601 in UTC.
        output: folder of the configuration.
        reference: label of the model that the others are compared with.
        seeds: every model was trained with each of them.
        data: what was trained and judged on.
        training: section of the configuration; a model's own batch size and learning rate stand in its entry.
        bootstrap: how intervals were made.
        models: the best first, by mean GAUC.
        rank: what was asked when ranking was timed.
        attainable: what true probabilities reach; None of logs that are not synthetic.
        machine: that timed ranking.
        baselines: metrics of rankers without a model, by ranker and metric; None of a report of before they were there.
        sampled: what to say beside figures of sampled negatives; None: they are of the log.
        catalogue: what was ranked, where the whole catalogue was asked for.
    """

    format: int
    pipeline: str
    created: str
    output: str
    reference: str
    seeds: Sequence[int]
    data: Data
    training: Mapping[str, Any]
    bootstrap: Bootstrap
    models: Sequence[ModelEntry]
    rank: RankRequest
    attainable: Attainable | None
    machine: Machine
    baselines: Mapping[str, Mapping[str, float | None]] | None = None
    sampled: str | None = None
    catalogue: CatalogueFacts | None = None

    @property
    def at_k(self) -> list[int]:
        """Of the metrics of the first k candidates of a request; those of the default where the report has none."""
        return cut_offs(name for model in self.models for name in model.metrics)

    @property
    def objectives(self) -> list[str]:
        """Objectives beside the main one."""
        return objectives_in(self.models[0].metrics)

    @property
    def others(self) -> list[tuple[ModelEntry, Mapping[str, Difference]]]:
        """All models but the reference, with their differences to it."""
        return [(model, model.difference) for model in self.models if model.difference is not None]

    @property
    def over_seeds(self) -> str:
        """What a metric of a model is, in words."""
        of = f"{self.sampled}; " if self.sampled else ""
        if len(self.seeds) == 1:
            return f"{of}of one training, with seed {self.seeds[0]}"
        return f"{of}mean ± standard deviation over {len(self.seeds)} seeds"

    @property
    def trained_once(self) -> bool:
        """Whether every model was trained with one seed, so that nothing is decided."""
        return len(self.seeds) == 1
