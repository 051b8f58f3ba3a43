"""What a search came to: for people a table and a line to paste, for programs `tune.json`, to run on `best.yaml`."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.table import Table

from dmf_keras.models.registry import model_config
from tfx_pipeline.config.comparison import OwnTraining
from tfx_pipeline.config.label import AGES, CANDIDATES, ITEMS, SEQUENCES, Label
from tfx_pipeline.config.metrics import COMPARED, metric
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.tuning import PARAMS, TRAINING
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import Address, join
from tfx_pipeline.files.json_record import JsonRecord
from tfx_pipeline.files.json_values import plain
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.files.writing import write_json, write_text
from tfx_pipeline.training.chance import LEFT_CHANCE
from tfx_pipeline.training.search.values import params_as_they_are, split_values, training_as_it_is, with_values

if TYPE_CHECKING:
    from tfx_pipeline.training.search.search import RankingSearch, SearchedTrial

_SHOWN_TRIALS = 10


@dataclasses.dataclass(frozen=True)
class TrialReport:
    """One trial of a search.

    Attributes:
        number: 0 is the configuration as it is.
        values: that were tried, by their place in the configuration.
        metrics: of the eval split; none where the trial failed, None where the split has no answer.
        epochs: that were trained.
        best_epoch: 0-based.
        seconds: training and scoring, when it ran.
        failure: why there are no metrics, in a sentence; None where there are.
    """

    number: int
    values: Mapping[str, Any]
    metrics: Mapping[str, float | None]
    epochs: int
    best_epoch: int
    seconds: float
    failure: str | None

    def score(self, objective: str) -> float:
        """The metric that was searched for; NaN where the trial has none."""
        value = self.metrics.get(objective)
        return math.nan if value is None else value


@dataclasses.dataclass(frozen=True)
class SearchReport(JsonRecord):
    """A finished search, as `tune.json` has it.

    Attributes:
        model: label.
        algorithm, objective, seed: of the section `tuning`.
        space: what was tried, as the configuration writes it.
        left_out: keys of the configuration's space that the model lacks.
        trials: by number.
        best: number of the best trial.
        out_of_time: whether trials were left when the time was over.
        sampled: what to say beside figures of sampled negatives; None: they are of the log, or it is not known.
    """

    model: str
    algorithm: str
    objective: str
    seed: int
    space: Mapping[str, Mapping[str, Any]]
    left_out: Sequence[str]
    trials: Sequence[TrialReport]
    best: int
    out_of_time: bool
    sampled: str | None = None

    @property
    def best_trial(self) -> TrialReport:
        """The trial with the best value of the objective."""
        return self.trials[self.best]

    @property
    def doubts(self) -> list[str]:
        """What the search's figures do not say by themselves, in sentences: that no trial learned anything."""
        reached = max((auc for trial in self.trials if (auc := trial.metrics.get("auc")) is not None), default=None)
        if reached is None or reached > LEFT_CHANCE:
            return []
        return [
            f"{self.model} never left chance: the highest eval AUC of all trials is {reached:.4f}, and {LEFT_CHANCE:g} "
            "is the least that says something. Which values are best is not known; try more training.epochs or a "
            "higher training.learning_rate."
        ]


def search_report(search: RankingSearch, sampled: str | None = None) -> SearchReport:
    """The report of a search that has ended; `sampled` as in `SearchReport`."""
    tuning, best = search.tuning, search.best
    assert best is not None, "a search without a completed trial ends with an error"
    return SearchReport(
        model=str(search.label),
        algorithm=tuning.algorithm,
        objective=tuning.objective,
        seed=tuning.seed,
        space={key: values.model_dump(exclude_none=True) for key, values in search.space.items()},
        left_out=[key for key in tuning.space if key not in search.space],
        trials=[_trial(trial) for trial in search.trials],
        best=best.number,
        out_of_time=search.out_of_time,
        sampled=sampled,
    )


def _trial(trial: SearchedTrial) -> TrialReport:
    outcome = trial.outcome
    return TrialReport(
        number=trial.number,
        values=trial.values,
        metrics=plain(outcome.metrics),
        epochs=outcome.epochs,
        best_epoch=outcome.best_epoch,
        seconds=round(outcome.seconds, 2),
        failure=outcome.failure or None,
    )


def write_report(report: SearchReport, folder: Address) -> None:
    """Writes `tune.json` into the folder."""
    write_json(join(folder, artifact_files.SEARCH_REPORT), report.to_json())


def read_report(folder: Address) -> SearchReport:
    """Reads what `write_report` wrote."""
    return SearchReport.from_json(read_json(join(folder, artifact_files.SEARCH_REPORT)))


def write_best_config(config: PipelineConfig, label: Label, report: SearchReport, path: Path) -> None:
    """Writes the whole configuration with the best values, for `dmf run --config`.

    Paths are absolute in it. The section `tuning` is left out, so that a run does not search again; and `comparison`,
    which may name modalities that the new configuration does not have.

    Args:
        config: the configuration that was tuned.
        label: of the model that was tuned; it is the model of the new configuration.
        report: of the search.
        path: the YAML file.
    """
    best, objective = report.best_trial, report.objective
    heading = f"{label}, best of {len(report.trials)} trials: {objective} of eval {best.score(objective):.4f}"
    document = config.model_dump(mode="json", exclude_unset=True, exclude={"tuning", "comparison"})
    params, training = with_values(params_as_they_are(config, label), training_as_it_is(config, label), best.values)
    document["model"] = document.get("model", {}) | {"name": label.model, "params": params}
    document["training"] = training.model_dump(mode="json")
    if label.modalities:
        document["content"] = config.content.only(label.modalities)
    for word, section in ((ITEMS, "item"), (CANDIDATES, "candidate")):
        if word in label.without:
            document["features"].pop(section, None)
    if AGES in label.without:
        document.get("history", {}).pop("age_buckets", None)
    if SEQUENCES in label.without:
        document.get("history", {}).pop("sequences", None)
        # Read for them alone.
        document["data"]["interactions"].get("columns", {}).pop("event", None)
    write_text(
        path, f"# {heading}. Written by dmf tune.\n" + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    )


def write_comparison(config: PipelineConfig, reports: Mapping[str, SearchReport], path: Path) -> None:
    """Writes the section `comparison` with the best hyper-parameters of several models.

    Every model has all of its values, so that it inherits nothing: `dmf@text` was searched beside `dmf`, not from its
    best. A comparison with this section in place of the configuration's trains each as its best trial was; epochs and
    patience are one budget for all models, and their best values become a comment.

    Args:
        config: that was tuned; models that its section names and no search tried stay as they are.
        reports: of searches, by label.
        path: the YAML file.
    """
    given, modalities, codes_of = config.comparison, config.content.names, config.content.codes_of
    section = given.model_dump(mode="json", exclude_none=True)
    notes = []
    for text in dict.fromkeys([*given.models, *reports]):
        label = Label.parse(text, modalities, codes_of)
        if text in reports:
            values = reports[text].best_trial.values
            params, training = with_values(params_as_they_are(config, label), training_as_it_is(config, label), values)
            tuned = split_values(values)[1]
            if budget := {name: value for name, value in tuned.items() if name not in OwnTraining.model_fields}:
                notes.append(f"# best budget of {text}: {_yaml(budget)}")
        else:
            params = given.params(label, config.model.params, config.model.name)
            training = given.training_of(label, config.training)
        section["models"][text] = model_config(label.model, params).to_dict()
        section["training"][text] = training.model_dump(mode="json", include=set(OwnTraining.model_fields))
    try:
        reference = str(Label.parse(given.reference, modalities, codes_of))
    except ValueError:
        # The default one compares content, and the configuration has none.
        reference = None
    if reference not in section["models"]:
        section["reference"] = next(iter(section["models"]))
    text = yaml.safe_dump({"comparison": section}, sort_keys=False, default_flow_style=None)
    write_text(path, "\n".join([*notes, text]))


def set_arguments(values: Mapping[str, Any]) -> str:
    """The values as `--set` arguments of `dmf run`, quoted for a shell."""
    places = {key if key.startswith(TRAINING) else f"model.{key}": value for key, value in values.items()}
    return " ".join(f"--set {shlex.quote(f'{place}={_yaml(value)}')}" for place, value in places.items())


def trials_table(report: SearchReport) -> Table:
    """The best trials, and trial 0 where it is not among them."""
    objective, keys = report.objective, list(report.space)
    completed = [trial for trial in report.trials if not trial.failure]
    completed.sort(key=lambda trial: trial.score(objective), reverse=not metric(objective).lower_is_better)
    shown = completed[:_SHOWN_TRIALS]
    shown += [trial for trial in completed[_SHOWN_TRIALS:] if trial.number == 0]
    failed = len(report.trials) - len(completed)
    title = f"{report.model}: {len(report.trials)} trials by {objective} of eval"
    title += f" ({report.sampled})" if report.sampled else ""
    table = Table(title=f"{title}, {failed} failed" if failed else title, title_justify="left")
    table.add_column("trial", justify="right")
    metrics = dict.fromkeys((*COMPARED, objective))
    for name in metrics:
        table.add_column(name.replace("_", " "), justify="right")
    table.add_column("best epoch", justify="right")
    table.add_column("seconds", justify="right")
    for key in keys:
        table.add_column(key.removeprefix(PARAMS).removeprefix(TRAINING).replace("_", " "), justify="right")
    for trial in shown:
        values = trial.values
        table.add_row(
            str(trial.number) if trial.number else "as it is",
            *(_number(trial.metrics.get(name)) for name in metrics),
            f"{trial.best_epoch + 1} of {trial.epochs}",
            f"{trial.seconds:.0f}",
            *(_yaml(values[key]) if key in values else "" for key in keys),
            style="bold" if trial.number == report.best else None,
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def values_text(values: Mapping[str, Any]) -> str:
    """The values in a line for people."""
    named = (f"{key.removeprefix(PARAMS)} {_yaml(value)}" for key, value in values.items())
    return ", ".join(named) or "the configuration as it is"


def _yaml(value: Any) -> str:
    # Not JSON: YAML reads 1e-05, without a point, as text.
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
