"""What TFX hands to a training and what a training leaves: the same for the first training and the refit."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Self

import tensorflow_transform as tft

from dmf_keras.models.ranking_model import RankingModel
from serving import contract
from serving.export.retrieval import RetrievalStage
from tfx_pipeline.config.schema import Training
from tfx_pipeline.data.content.table import read_content
from tfx_pipeline.data.ingestion_report import IngestionReport
from tfx_pipeline.evaluation.candidate_table import score_rows
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import join, local, parent
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.files.writing import write_text, writing
from tfx_pipeline.training import golden
from tfx_pipeline.training.calibration import CalibrationResult
from tfx_pipeline.training.input_uris import CONTENT, FIRST_RUN, REPORT, REQUESTS, RETRIEVAL_RUN, uri_of
from tfx_pipeline.training.metadata import Refit, RetrievalFacts, write_metadata
from tfx_pipeline.training.model_training import TrainingData, train_model
from tfx_pipeline.training.retrieval.approximate import check_library, write_approximate
from tfx_pipeline.training.retrieval.stage import read_towers, retrieval_stage
from tfx_pipeline.training.rounding import Rounding
from tfx_pipeline.training.served_model import GOLDEN_CANDIDATES, OfItems, ServingOptions, write_served_model
from tfx_pipeline.training.settings import RefitSettings, RetrievalSettings, TrainingSettings
from tfx_pipeline.training.trainer import TrainingResult, forget, is_complete
from tfx_pipeline.training.workers.cluster import Cluster
from tfx_pipeline.training.workers.group import Group
from tfx_pipeline.training.workers.launch import Job, take_part
from tfx_pipeline.transform.dataset import real_slots, split_files
from tfx_pipeline.transform.request_transform import RequestTransform

# From which the share of real candidates is told.
_COUNTED_BATCHES = 20
# Of TFX's `FnArgs`.
_READ_TO_TRAIN = ("custom_config", "hyperparameters", "model_run_dir", "train_files", "transform_output")


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingJob:
    """One call of a training function by TFX.

    Attributes:
        fn_args: TFX's `FnArgs`.
        settings: of the step, with the best values of the Tuner if there is one.
        data: transformed examples, transform, content.
    """

    fn_args: Any
    settings: TrainingSettings
    data: TrainingData

    @classmethod
    def of(cls, fn_args: Any, kind: type[TrainingSettings]) -> Self:
        """Reads what is trained on; `kind` is the class of the step's settings."""
        settings = kind.from_custom_config(fn_args.custom_config)
        if fn_args.hyperparameters is not None:
            settings = settings.tuned(fn_args.hyperparameters["values"])
        check_library(settings.approximate)
        return cls(fn_args, settings, read_data(fn_args, settings))

    def train(
        self, training: Training, *, refit: bool = False, progress: str = ""
    ) -> tuple[RankingModel, TrainingResult]:
        """Trains the model of the settings, see `train_model`; a killed training goes on.

        Where `TF_CONFIG` names several workers, they train it first; this process then finds the training complete.
        """
        cluster, rate = Cluster.from_environment(), None
        # A killed step may have trained to the end: then the others have left.
        if cluster is not None and not is_complete(self._state_dir, training):
            rate = take_part(cluster, self._job(training, refit))
        model, result = self._train(training, refit, progress)
        if rate is not None:
            result = dataclasses.replace(result, requests_per_second=rate)
        # Of eval, which no buffer of shuffled requests has to be filled for.
        batches = self.data.eval_batches(training.batch_size, max_candidates=training.max_candidates, validation=True)
        return model, dataclasses.replace(result, real_slots=real_slots(batches.take(_COUNTED_BATCHES)))

    def train_in(self, group: Group, training: Training, *, refit: bool = False) -> TrainingResult:
        """Takes part in the training of the model by several processes."""
        return self._train(training, refit, "refit" if refit else "", group)[1]

    def _train(
        self, training: Training, refit: bool, progress: str, group: Group | None = None
    ) -> tuple[RankingModel, TrainingResult]:
        return train_model(
            self.settings.model.name,
            self.settings.model.params,
            training,
            self.data,
            state_dir=self._state_dir,
            tensorboard_dir=join(self.fn_args.model_run_dir, "tensorboard"),
            progress=progress,
            refit=refit,
            group=group,
        )

    def _job(self, training: Training, refit: bool) -> Job:
        fn_args = {name: getattr(self.fn_args, name) for name in _READ_TO_TRAIN}
        settings = type(self.settings).__name__
        return Job(fn_args, settings, training.model_dump(mode="json"), refit, str(self._state_dir.absolute()))

    def write(
        self,
        model: RankingModel,
        result: TrainingResult,
        calibrated: CalibrationResult | None,
        refit: Refit | None = None,
    ) -> None:
        """Writes model and run, exports the model with all that lies beside it, and forgets the training's state.

        Args:
            model: trained and calibrated.
            result: of its training.
            calibrated: what calibration changed; None without.
            refit: how it was trained anew; None of the first training.
        """
        fn_args, settings, content = self.fn_args, self.settings, self.data.content
        with writing(join(fn_args.model_run_dir, artifact_files.KERAS_MODEL)) as file:
            model.save(file)
        write_text(
            join(fn_args.model_run_dir, artifact_files.TRAINING_RESULT),
            json.dumps(dataclasses.asdict(result), indent=1),
        )
        directory = local(fn_args.serving_model_dir)
        served = model.for_serving(settings.precision or contract.FLOAT32)
        stage, facts = self._retrieval(served)
        rounded = self._export(model, served, directory, stage)
        if stage is not None and facts is not None and settings.approximate is not None:
            eval_files = split_files(uri_of(fn_args.custom_config, REQUESTS), "eval")
            record = write_approximate(directory, stage, self.data.transform, eval_files, settings.approximate)
            facts = dataclasses.replace(facts, approximate=dataclasses.asdict(record))
        write_metadata(
            directory,
            served_name=settings.name,
            model=served,
            sections={name: getattr(settings, name) for name in ("ingestion", "features", "model", "training")},
            result=result,
            calibrated=calibrated,
            rounded=rounded,
            refit=refit,
            retrieval=facts,
            report=IngestionReport.from_json(
                read_json(join(uri_of(fn_args.custom_config, REPORT), artifact_files.INGESTION_REPORT))
            ),
            content=content,
            artifacts={
                "model_run": fn_args.model_run_dir,
                "transform_graph": fn_args.transform_output,
                "content": uri_of(fn_args.custom_config, CONTENT),
                "requests": uri_of(fn_args.custom_config, REQUESTS),
                **({} if stage is None else {RETRIEVAL_RUN: uri_of(fn_args.custom_config, RETRIEVAL_RUN)}),
            },
        )
        forget(self._state_dir)

    def _retrieval(self, served: RankingModel) -> tuple[RetrievalStage, RetrievalFacts] | tuple[None, None]:
        """The stage to export with the ranker, and what is told of it; None where the pipeline has none."""
        settings, data = self.settings, self.data
        if not settings.ranked_candidates:
            return None, None
        run = uri_of(self.fn_args.custom_config, RETRIEVAL_RUN)
        result = TrainingResult.from_json(read_json(join(run, artifact_files.TRAINING_RESULT)))
        stage = retrieval_stage(
            read_towers(run),
            data.transform,
            data.content,
            served,
            settings.ranked_candidates,
            settings.retrieval_weight,
        )
        return stage, RetrievalFacts.of(stage, result)

    def _export(
        self, model: RankingModel, served: RankingModel, directory: Path, retrieval: RetrievalStage | None
    ) -> Rounding | None:
        """Exports `served`, and says what its precision costs beside that of `model`; None in float32."""
        settings, data = self.settings, self.data
        directory.parent.mkdir(parents=True, exist_ok=True)
        eval_files = split_files(uri_of(self.fn_args.custom_config, REQUESTS), "eval")
        options = ServingOptions(
            name=settings.model.name,
            served_name=settings.name,
            max_history=settings.ingestion.history.max_length,
            explain=settings.explain,
            formula=settings.formula,
            warmup_candidates=settings.warmup_candidates,
            evaluation=settings.evaluation,
        )
        written, facts = write_served_model(
            directory,
            model,
            served,
            OfItems(data.transform, data.tft_output, data.content),
            options,
            lambda written: golden.read_requests(eval_files, written, GOLDEN_CANDIDATES),
            retrieval,
        )
        write_text(join(directory, contract.LOGS_FILE), settings.ingestion.to_json())
        if written.precision == contract.FLOAT32:
            return None
        exact = model.for_serving(contract.FLOAT32)
        exact_rows, rounded_rows = (score_rows(each, data.transform, eval_files, facts) for each in (exact, served))
        return Rounding.of(written.precision, exact_rows, rounded_rows)

    @property
    def _state_dir(self) -> Path:
        return state_dir(self.fn_args, self.settings)


def read_data(fn_args: Any, settings: TrainingSettings | RetrievalSettings) -> TrainingData:
    """What a step trains on."""
    tft_output = tft.TFTransformOutput(fn_args.transform_output)
    content_uri = uri_of(fn_args.custom_config, CONTENT)
    content = read_content(content_uri)
    transform = RequestTransform(
        tft_output,
        join(content_uri, artifact_files.ITEM_IDS),
        settings.features,
        settings.ingestion.history.max_length,
        settings.ingestion.history.longest_sequences,
    )
    examples = parent(parent(fn_args.train_files[0]))
    return TrainingData.read(
        examples, tft_output, transform, content, settings.features, settings.objectives, settings.age_buckets
    )


def state_dir(fn_args: Any, settings: TrainingSettings | RetrievalSettings) -> Path:
    """Where an interrupted training lies: the same inputs and settings resume it, others start anew."""
    sections = [section.model_dump_json() for section in (settings.features, settings.model, settings.training)]
    if settings.objectives:
        sections.append(settings.to_custom_config()["objectives"])
    if settings.age_buckets is not None:
        sections.append(f"age_buckets {settings.age_buckets}")
    if isinstance(settings, RetrievalSettings):
        sections.append(settings.retrieval.model_dump_json())
    inputs = [fn_args.transform_output, fn_args.train_files[0], uri_of(fn_args.custom_config, CONTENT)]
    if isinstance(settings, RefitSettings):
        # It says for how many epochs: another first training has another refit.
        inputs.append(uri_of(fn_args.custom_config, FIRST_RUN))
    key = hashlib.sha256("\n".join([*inputs, settings.code, *sections]).encode()).hexdigest()[:16]
    return local(join(settings.state_root, key))
