"""A model of the registry, trained on transformed examples: the same for the pipeline and for every experiment."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import tensorflow as tf
import tensorflow_transform as tft

from dmf_keras.models.inputs import RankingSchema
from dmf_keras.models.ranking_model import RankingModel
from dmf_keras.models.registry import build_model, model_config
from tfx_pipeline.config.objectives import Objective
from tfx_pipeline.config.schema import Features, Training
from tfx_pipeline.config.values import Params
from tfx_pipeline.data.content.table import ItemContentTable
from tfx_pipeline.files.addresses import Address
from tfx_pipeline.training.item_statistics import item_statistics
from tfx_pipeline.training.item_tables import fill_tables
from tfx_pipeline.training.model_schema import ranking_schema
from tfx_pipeline.training.reproducible import make_reproducible
from tfx_pipeline.training.table_memory import check_memory
from tfx_pipeline.training.trainer import TrainingResult, dense_dtype, set_precision, train
from tfx_pipeline.training.workers.group import Group
from tfx_pipeline.transform.dataset import Share, count_requests, request_batches, split_files
from tfx_pipeline.transform.request_transform import RequestTransform

_ADAPT_BATCHES = 20


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingData:
    """What a model is trained on.

    Attributes:
        files: of transformed examples, by split: train and eval.
        requests: how many these hold, by split.
        tft_output: the transform graph.
        transform: requests to model inputs.
        content: the content table of the whole catalogue.
        features: the section of the configuration.
        objectives: the section of the configuration; empty: one.
        age_buckets: `history.age_buckets` of the configuration.
    """

    files: Mapping[str, list[str]]
    requests: Mapping[str, int]
    tft_output: tft.TFTransformOutput
    transform: RequestTransform
    content: ItemContentTable
    features: Features
    objectives: Mapping[str, Objective] = dataclasses.field(default_factory=dict)
    age_buckets: int | None = None

    @classmethod
    def read(
        cls,
        examples: Address,
        tft_output: tft.TFTransformOutput,
        transform: RequestTransform,
        content: ItemContentTable,
        features: Features,
        objectives: Mapping[str, Objective] | None = None,
        age_buckets: int | None = None,
    ) -> TrainingData:
        """Lists and counts the transformed examples of an artifact."""
        files = {split: split_files(examples, split) for split in ("train", "eval")}
        requests = {split: count_requests(paths) for split, paths in files.items()}
        return cls(files, requests, tft_output, transform, content, features, objectives or {}, age_buckets)

    @property
    def further_labels(self) -> list[str]:
        """Names of the objectives beside the main one."""
        return list(self.objectives)[1:]

    def train_batches(self, training: Training, *, refit: bool = False, share: Share | None = None) -> tf.data.Dataset:
        """The train split, shuffled; of a refit train and eval as one. With `share` a process's part of it."""
        splits = ("train", "eval") if refit else ("train",)
        requests = sum(self.requests[split] for split in splits)
        return request_batches(
            [file for split in splits for file in self.files[split]],
            self.tft_output,
            self.transform,
            training.batch_size,
            requests=requests,
            shuffle_buffer=min(training.shuffle_buffer, requests),
            seed=training.seed,
            keep_negatives=training.keep_negatives,
            max_candidates=training.max_candidates,
            weighted=True,
            further_labels=self.further_labels,
            share=share,
        )

    def eval_batches(
        self,
        batch_size: int,
        *,
        max_candidates: int | None = None,
        validation: bool = False,
        share: Share | None = None,
    ) -> tf.data.Dataset:
        """The eval split in the order of its files, see `request_batches`."""
        return request_batches(
            self.files["eval"],
            self.tft_output,
            self.transform,
            batch_size,
            requests=self.requests["eval"],
            max_candidates=max_candidates,
            validation=validation,
            further_labels=self.further_labels,
            share=share,
        )


def schema_of(
    name: str, params: Params, data: TrainingData, modalities: Sequence[str] = (), without: Sequence[str] = ()
) -> RankingSchema:
    """What a model is told of the data; arguments as of `new_model`."""
    serving_values = data.transform.serving_values() if data.features.candidate else {}
    return ranking_schema(
        data.features,
        data.tft_output,
        data.content,
        modalities,
        without,
        serving_values,
        data.objectives,
        data.age_buckets,
        list(data.transform.further_histories),
        model_config(name, params).reads_statistics(),
    )


def new_model(
    name: str,
    params: Params,
    data: TrainingData,
    *,
    modalities: Sequence[str] = (),
    without: Sequence[str] = (),
    seed: int,
    dense_dtype: str | None = None,
) -> RankingModel:
    """An untrained model of the registry with the catalogue's content in its tables.

    Args:
        name: a registered name.
        params: hyper-parameters that differ from the defaults.
        data: gives the sizes of the model's tables, and the content.
        modalities: those that the model is given; none named: all.
        without: what else it is not given, as in `Label`.
        seed: of the initial weights.
        dense_dtype: see `build_model`.
    """
    schema = schema_of(name, params, data, modalities, without)
    model = build_model(name, params, schema, seed=seed, dense_dtype=dense_dtype)
    fill_tables(model, data.content)
    counts = getattr(model, "item_statistics", None)
    if counts is not None:
        statistics = model.config.reads_statistics()
        counts.set_rows(item_statistics(statistics, data.files["train"], data.tft_output, data.content))
    return model


def train_model(
    name: str,
    params: Params,
    training: Training,
    data: TrainingData,
    *,
    state_dir: Path,
    tensorboard_dir: Address,
    modalities: Sequence[str] = (),
    without: Sequence[str] = (),
    progress: str = "",
    refit: bool = False,
    group: Group | None = None,
) -> tuple[RankingModel, TrainingResult]:
    """Seeds the process, builds a model and trains it.

    Args:
        name: a registered name.
        params: hyper-parameters that differ from the defaults.
        training: batches, epochs, learning rate, seed.
        data: examples and content.
        state_dir, tensorboard_dir, progress: see `trainer.train`.
        modalities: those that the model is given; none named: all.
        without: what else it is not given, as in `Label`.
        refit: train on train and eval, for all of `training.epochs`: nothing is left to choose an epoch by.
        group: the processes that train together, all of which call this alike; None: this one trains alone.

    Returns:
        The model with the weights of its best epoch, of a refit the last, and what happened.

    Raises:
        ModelError: its tables do not fit into the memory, or the training diverged.
    """
    check_memory(name, schema_of(name, params, data, modalities, without), model_config(name, params), training)
    make_reproducible(training.seed)
    set_precision(training)
    of_train = data.train_batches(training)

    def to_train(share: Share | None = None) -> tf.data.Dataset:
        return data.train_batches(training, refit=refit, share=share)

    def to_judge(share: Share | None = None) -> tf.data.Dataset:
        return data.eval_batches(
            training.batch_size, max_candidates=training.max_candidates, validation=True, share=share
        )

    if group is None:
        train_batches, judged = to_train() if refit else of_train, to_judge()
    else:
        shared = group.share(to_train)
        train_batches, judged = shared.distributed, group.share(to_judge).distributed

    def some_of_train() -> Iterator[Mapping[str, tf.Tensor]]:
        if group is not None and not refit:
            # Alone the epochs are further orders of these batches: so they are here.
            iter(shared.part)
        yield from (inputs for inputs, _, _ in of_train.take(_ADAPT_BATCHES))

    def build() -> RankingModel:
        model = new_model(
            name,
            params,
            data,
            modalities=modalities,
            without=without,
            seed=training.seed,
            dense_dtype=dense_dtype(training),
        )
        # Statistics are those of the train split, of a refit too.
        model.adapt(some_of_train())
        return model

    return train(
        build,
        train_batches,
        None if refit else judged,
        training,
        train_requests=data.requests["train"] + (data.requests["eval"] if refit else 0),
        eval_requests=0 if refit else data.requests["eval"],
        state_dir=state_dir,
        tensorboard_dir=tensorboard_dir,
        progress=progress,
        group=group,
    )
