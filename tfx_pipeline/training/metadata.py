"""What is written beside a model about its making: `assets.extra/metadata.json`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel

from dmf_keras.models.ranking_model import RankingModel
from serving import contract
from serving.export.metadata import git_revision, library_versions, saved_model_sizes, write_json
from serving.export.retrieval import RetrievalStage
from tfx_pipeline.config.stages import RECALL
from tfx_pipeline.data.content.item_columns import ItemColumnTable
from tfx_pipeline.data.content.table import ItemContentTable
from tfx_pipeline.data.ingestion_report import IngestionReport
from tfx_pipeline.files.json_record import JsonRecord
from tfx_pipeline.files.json_values import now
from tfx_pipeline.training.calibration import CalibrationResult
from tfx_pipeline.training.item_tables import item_tables
from tfx_pipeline.training.rounding import Rounding
from tfx_pipeline.training.trainer import TrainingResult


@dataclasses.dataclass(frozen=True)
class Refit(JsonRecord):
    """How a model was trained anew on train and eval.

    Attributes:
        epochs: that it was trained for.
        train_requests, eval_requests: of the splits that it was trained on.
        note: a sentence for everybody who looks at the model or its metrics.
    """

    epochs: int
    train_requests: int
    eval_requests: int
    note: str

    @classmethod
    def of(cls, epochs: int, first: TrainingResult) -> Self:
        """The refit of the model of a first training."""
        note = (
            "The pushed model was refitted: trained anew on train and eval "
            f"({first.train_requests:,} + {first.eval_requests:,} requests, epochs: {epochs}); "
            "all metrics are of the model before it, which was trained on train alone and blessed on test."
        )
        return cls(epochs, first.train_requests, first.eval_requests, note)


@dataclasses.dataclass(frozen=True)
class RetrievalFacts(JsonRecord):
    """The retrieval stage that was exported beside a ranker.

    Attributes:
        items: in the index.
        width: of the vectors of users and items.
        index_bytes: of the items' vectors; their ids are not counted.
        ranked_candidates: how many items `recommend` retrieves and ranks.
        params: all hyper-parameters of the two towers.
        epochs: that they were trained for.
        best_epoch: the epoch whose weights they have, from 0.
        metrics: of that epoch.
        approximate: of the index beside the exact one, as its own record has it; None: there is none.
        retrieval_weight: of retrieval's score in the order of a page; 0: it has no part.
    """

    items: int
    width: int
    index_bytes: int
    ranked_candidates: int
    params: Mapping[str, Any]
    epochs: int
    best_epoch: int
    metrics: Mapping[str, float]
    approximate: Mapping[str, Any] | None = None
    retrieval_weight: float = 0.0

    @classmethod
    def of(cls, stage: RetrievalStage, result: TrainingResult) -> Self:
        """Those of a stage that is exported, after the training of its towers."""
        assert isinstance(stage.tower, RankingModel), "two_towers is of the registry"
        width, items = stage.index.columns.shape
        return cls(
            items,
            width,
            items * width * stage.index.columns.dtype.size,
            stage.ranked,
            stage.tower.config.to_dict(),
            len(result.history),
            result.best_epoch,
            result.history[result.best_epoch],
            retrieval_weight=stage.weight,
        )

    @property
    def recall(self) -> float:
        """Share of the clicks of eval that are among the first `JUDGED_AT` items."""
        return self.metrics[RECALL]


def write_metadata(
    model_dir: Path,
    *,
    served_name: str,
    model: RankingModel,
    sections: Mapping[str, BaseModel],
    result: TrainingResult,
    calibrated: CalibrationResult | None,
    rounded: Rounding | None = None,
    refit: Refit | None = None,
    retrieval: RetrievalFacts | None = None,
    report: IngestionReport,
    content: ItemContentTable,
    artifacts: Mapping[str, str],
) -> None:
    """Writes the metadata of an exported model; docs/SERVING.md says what each entry is.

    Args:
        model_dir: the exported model, with all its other assets.
        served_name: the name under which the model is to be served.
        model: as it was exported.
        sections: those of the configuration that shape the model, by name; `model` and `training` among them.
        result: of the training.
        calibrated: what calibration changed; None without. Of a refit that of the model before it.
        rounded: what its precision costs; None of float32.
        refit: how it was trained anew; None: it was not.
        retrieval: the stage that was exported with it; None: there is none.
        report: of ingestion.
        content: the content table that the model holds.
        artifacts: folders that `dmf replay` and `dmf content refresh` need: `model_run`, `transform_graph`, `content`,
            `requests`; and `retrieval_run` of the retrieval stage.
    """
    config: dict[str, Any] = {name: section.model_dump(mode="json") for name, section in sections.items()}
    if model.schema.objectives:
        config["objectives"] = [dataclasses.asdict(objective) for objective in model.schema.objectives]
    if model.schema.history_age_buckets is not None:
        config["history_age_buckets"] = model.schema.history_age_buckets
    digest = hashlib.sha256(json.dumps([config, content.version], sort_keys=True).encode()).hexdigest()[:16]
    values = {
        "model": config["model"]["name"],
        "served_name": served_name,
        "created": now(),
        "params": model.config.to_dict(),
        "weights": model.count_params() - sum(math.prod(weight.shape) for weight in item_tables(model)),
        "seed": config["training"]["seed"],
        "config_digest": digest,
        "config": config,
        "data": {
            "splits": {split: counts.to_json() for split, counts in report.splits.items()},
            "cuts": {"eval_from": report.cuts.eval_from, "test_from": report.cuts.test_from},
            "users": report.users,
            "items": report.items.distinct,
            "catalogue_items": len(content.item_ids),
        },
        "training": {
            "epochs": len(result.history),
            "best_epoch": result.best_epoch,
            "metrics": result.history[result.best_epoch],
        },
        **({} if refit is None else {"refit": refit.to_json()}),
        **({} if retrieval is None else {"retrieval": retrieval.to_json()}),
        **({} if rounded is None else {"precision": rounded.to_json()}),
        **_candidate_columns(model),
        **({"history_age_buckets": model.schema.history_age_buckets} if model.uses_history_ages else {}),
        "calibration": None if calibrated is None else calibrated.to_json(),
        "content": _content(model, content),
        "sizes": _sizes(model_dir),
        "git": git_revision(),
        "versions": library_versions(),
        "artifacts": dict(artifacts),
    }
    write_json(model_dir, contract.METADATA_FILE, values)


def write_refreshed_metadata(
    model_dir: Path,
    before: Mapping[str, Any],
    *,
    model: RankingModel,
    content: ItemContentTable,
    retrieval: RetrievalFacts | None,
    artifacts: Mapping[str, str],
    refresh: Mapping[str, Any],
) -> None:
    """Writes the metadata of a model whose tables of items are others than those that it was trained with.

    Args:
        model_dir: the exported model, with all its other assets.
        before: metadata of the version that was refreshed: of the training they still hold.
        model: as it was exported.
        content: the content table that it holds now.
        retrieval: its retrieval stage now; None: there is none.
        artifacts: see `write_metadata`; of the content also `trained_content`, which the model was trained with.
        refresh: when and how the tables were made.
    """
    values = {
        **before,
        "data": {**before["data"], "catalogue_items": len(content.catalogue_ids)},
        **({} if retrieval is None else {"retrieval": retrieval.to_json()}),
        "content": _content(model, content),
        "sizes": _sizes(model_dir),
        "artifacts": dict(artifacts),
        "refresh": dict(refresh),
    }
    write_json(model_dir, contract.METADATA_FILE, values)


def _content(model: RankingModel, content: ItemContentTable) -> dict[str, Any]:
    """What a model's tables of items hold."""
    return {
        "version": content.version,
        "modalities": {
            name: {
                "source": matrix.source,
                "source_width": matrix.source_width,
                "width": matrix.width,
                "dtype": matrix.storage_dtype,
                "items_with_content": matrix.coverage.present,
                "table_bytes": _table_bytes(model, name),
            }
            for name, matrix in content.modalities.items()
        },
        "item_columns": {
            name: {"rows": column.rows, "width": column.width, "items_with_value": _with_value(column)}
            for name, column in content.columns.items()
            if name in model.schema.item_columns
        },
        **_codes_and_counts(model, content),
    }


def _sizes(model_dir: Path) -> dict[str, int]:
    sizes = saved_model_sizes(model_dir)
    return {part: sizes[part] for part in ("graph", "variables", "assets")}


def _candidate_columns(model: RankingModel) -> dict[str, Any]:
    """What the model knows of candidates' own columns; nothing where there are none."""
    schema = model.schema
    names = (*schema.candidate_categorical, *schema.candidate_numeric)
    columns = {
        name: {
            "role": "bias" if name in schema.candidate_bias else "feature",
            "rows": schema.candidate_categorical.get(name),
        }
        for name in names
    }
    return {"candidate_columns": columns} if columns else {}


def _codes_and_counts(model: RankingModel, content: ItemContentTable) -> dict[str, Any]:
    """Semantic ids and counts of items that the model reads; nothing where it reads none."""
    found: dict[str, Any] = {}
    codes = content.codes
    if codes is not None and getattr(model, "semantic_ids", None) is not None:
        facts = {"of": codes.of, "levels": codes.values.shape[1], "size": codes.size}
        found["codes"] = {**facts, "items_with_codes": codes.report.coded}
    if statistics := model.config.reads_statistics():
        found["item_statistics"] = list(statistics)
    return found


def _with_value(column: ItemColumnTable) -> int:
    return column.coverage.items - column.coverage.missing


def _table_bytes(model: RankingModel, modality: str) -> int:
    """Memory that the modality's table takes in the served model; 0 where the model does not look at content."""
    if modality not in model.content:
        return 0
    return sum(weight.numpy().nbytes for weight in model.content[modality].weights)
