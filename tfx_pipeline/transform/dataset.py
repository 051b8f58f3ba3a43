"""Input of training: transformed examples as padded batches of requests."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence

import tensorflow as tf
import tensorflow_transform as tft

from dmf_keras.models.inputs import CANDIDATE_INDEX, as_shown
from tfx_pipeline.files.addresses import Address, join
from tfx_pipeline.files.reading import list_files
from tfx_pipeline.transform import transformed_features
from tfx_pipeline.transform.request_transform import RequestTransform

# Files read, batches parsed, and batches made before they are asked for, at a time.
_READ_AHEAD = 4


@dataclasses.dataclass(frozen=True)
class Share:
    """The parts of each batch that one of several processes has: every `parts`-th request makes a part.

    Attributes:
        first: its first part, from 0.
        count: how many parts it has, one after the other: one for each of its devices.
        parts: of a batch, those of all processes together.
    """

    first: int
    count: int
    parts: int


def split_files(uri: Address, split: str) -> list[str]:
    """Files of one split of an examples artifact, sorted."""
    return list_files(join(uri, f"Split-{split}"), ".gz")


def sampled_files(files: Sequence[str], split_requests: int, most: int) -> list[str]:
    """So many files of a split as hold about `most` of its requests, to the next whole file, and at least one.

    Args:
        files: of the split; which requests a file holds is random.
        split_requests: requests in the split.
        most: requests.
    """
    return list(files)[: max(1, math.ceil(most * len(files) / max(split_requests, 1)))]


def count_requests(files: list[str]) -> int:
    """Number of examples in gzipped TFRecord files."""
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(10_000)
    return int(records.reduce(tf.constant(0, tf.int64), lambda n, batch: n + tf.size(batch, tf.int64)).numpy())


def request_batches(
    files: list[str],
    tft_output: tft.TFTransformOutput,
    transform: RequestTransform,
    batch_size: int,
    *,
    requests: int,
    shuffle_buffer: int = 0,
    seed: int = 0,
    keep_negatives: float = 1.0,
    max_candidates: int | None = None,
    weighted: bool = False,
    validation: bool = False,
    further_labels: Sequence[str] = (),
    share: Share | None = None,
) -> tf.data.Dataset:
    """Batches of requests, each padded to its own longest history and candidate list.

    Args:
        files: gzipped TFRecord files of transformed examples.
        tft_output: gives the transformed features' specs.
        transform: turns transformed features into model inputs.
        batch_size: requests in a batch; the last batch may be smaller.
        requests: how many the files hold, see `count_requests`.
        shuffle_buffer: requests held for shuffling; 0 keeps the files' order.
        seed: of the shuffling; the order differs between epochs and is the same in every run.
        keep_negatives: share of the candidates without a positive label that are kept, drawn anew in every epoch;
            requests that keep none are left out, so that batches have at most `batch_size` requests.
        max_candidates: a request of more is several of at most so many, one after the other in the same batch, which
            then has more rows than requests; None: batches are as wide as their longest request.
        validation: tell by `as_shown` how candidates were shown, which only training would look at otherwise.
        weighted: give the weights of the log, where it has them; else every candidate weighs 1.
        further_labels: names of the objectives beside the main one.
        share: of each batch what is given in its place, a part after the other; a part may have no request. Requests
            are read and shuffled as ever, so that processes with the same seed share the same batches.

    Returns:
        Dataset of (model inputs, labels float32 [B, N], weights float32 [B, N]: 0 for padding). Labels of several
        objectives are [B, N, T], the main one's first.
    """
    spec = tft_output.transformed_feature_spec()
    columns = [transformed_features.LABEL_PREFIX + name for name in further_labels]

    # Nothing in it is for AutoGraph, which would read all that it calls for a second.
    @tf.autograph.experimental.do_not_convert
    def to_batch(serialized: tf.Tensor, *seeds: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        transformed = tf.io.parse_example(serialized, spec)
        if seeds:
            transformed = _with_some_negatives(transformed, transform.of_candidates, keep_negatives, tf.stack(seeds))
        if max_candidates is not None:
            transformed = _in_pieces(transformed, transform.of_candidates, max_candidates)
        labels = transformed[transformed_features.LABEL]
        weights = transformed.get(transformed_features.WEIGHT) if weighted else None
        if weights is None:
            weights = labels.with_values(tf.ones_like(labels.values, tf.float32))
        inputs = transform.model_inputs(transformed)
        if validation:
            inputs |= {as_shown(name): inputs[name] for name in transform.shown_columns}
        dense = [tf.sparse.to_dense(column) for column in (labels, *(transformed[name] for name in columns))]
        return (
            inputs,
            tf.cast(tf.stack(dense, axis=-1) if columns else dense[0], tf.float32),
            tf.sparse.to_dense(weights),
        )

    dataset = tf.data.Dataset.from_tensor_slices(files)
    if shuffle_buffer:
        dataset = dataset.shuffle(len(files), seed=seed)
    dataset = dataset.interleave(
        lambda file: tf.data.TFRecordDataset(file, compression_type="GZIP"),
        cycle_length=_READ_AHEAD,
        num_parallel_calls=_READ_AHEAD,
        deterministic=True,
    )
    if shuffle_buffer:
        dataset = dataset.shuffle(shuffle_buffer, seed=seed, reshuffle_each_iteration=True)
    dataset = dataset.batch(batch_size)
    if keep_negatives < 1:
        draws = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
        dataset = tf.data.Dataset.zip(dataset, draws, draws.skip(1))
    if share is not None:
        dataset = dataset.flat_map(lambda *batch: _parts(share, *batch))
    dataset = dataset.map(to_batch, num_parallel_calls=_READ_AHEAD, deterministic=True)
    count = math.ceil(requests / batch_size) * (1 if share is None else share.count)
    batches = tf.data.experimental.assert_cardinality(count)
    return untuned(dataset.apply(batches).prefetch(_READ_AHEAD))


def _parts(share: Share, serialized: tf.Tensor, *seeds: tf.Tensor) -> tf.data.Dataset:
    def part(number: tf.Tensor) -> tuple[tf.Tensor, ...] | tf.Tensor:
        requests = serialized[number :: share.parts]
        # Other draws in each part.
        return (requests, *(seed + number for seed in seeds)) if seeds else requests

    return tf.data.Dataset.range(share.first, share.first + share.count).map(part)


def _with_some_negatives(
    transformed: dict[str, tf.Tensor | tf.SparseTensor], of_candidates: Collection[str], share: float, seed: tf.Tensor
) -> dict[str, tf.Tensor | tf.SparseTensor]:
    """The requests with all positives and a random `share` of the others, without requests that are left with none."""
    labels = transformed[transformed_features.LABEL]
    drawn = tf.random.stateless_uniform(tf.shape(labels.values), seed) < share
    kept = tf.logical_or(labels.values > 0, drawn)
    request = tf.boolean_mask(labels.indices[:, 0], kept)
    requests = tf.unique(request).y
    result = {}
    for name, feature in transformed.items():
        if _is_of_candidates(name, of_candidates):
            values = tf.boolean_mask(feature.values, kept)
            result[name] = _ragged(values, request, labels.dense_shape[0], requests)
        elif isinstance(feature, tf.SparseTensor):
            result[name] = _ragged(feature.values, feature.indices[:, 0], feature.dense_shape[0], requests)
        else:
            result[name] = tf.gather(feature, requests)
    return result


def _in_pieces(
    transformed: dict[str, tf.Tensor | tf.SparseTensor], of_candidates: Collection[str], most: int
) -> dict[str, tf.Tensor | tf.SparseTensor]:
    """The same candidates in rows of at most `most`, each with what its request has besides."""
    labels = transformed[transformed_features.LABEL]
    batch, most = labels.dense_shape[0], tf.constant(most, tf.int64)
    candidates = tf.math.bincount(labels.indices[:, 0], minlength=batch, dtype=tf.int64)
    pieces = tf.maximum((candidates + most - 1) // most, 1)
    request = tf.repeat(tf.range(batch), pieces)
    first = tf.cumsum(pieces, exclusive=True)
    shape = tf.stack([tf.reduce_sum(pieces), tf.minimum(labels.dense_shape[1], most)])
    result = {}
    for name, feature in transformed.items():
        if _is_of_candidates(name, of_candidates):
            row, place = tf.unstack(feature.indices, axis=1)
            indices = tf.stack([tf.gather(first, row) + place // most, place % most], axis=1)
            result[name] = tf.SparseTensor(indices, feature.values, shape)
        elif isinstance(feature, tf.SparseTensor):
            result[name] = tf.gather(tf.RaggedTensor.from_sparse(feature), request).to_sparse()
        else:
            result[name] = tf.gather(feature, request)
    return result


def _is_of_candidates(name: str, of_candidates: Collection[str]) -> bool:
    return name in of_candidates or name.startswith(transformed_features.LABEL_PREFIX)


def real_slots(batches: tf.data.Dataset) -> float:
    """Share of the slots of candidates that hold one; the others are padding, which takes as long."""
    real, slots = 0, 0
    for inputs, _, _ in batches:
        real += int(tf.math.count_nonzero(inputs[CANDIDATE_INDEX]))
        slots += int(tf.size(inputs[CANDIDATE_INDEX]))
    return real / max(slots, 1)


def _ragged(values: tf.Tensor, request: tf.Tensor, count: tf.Tensor, requests: tf.Tensor) -> tf.SparseTensor:
    """Values of some requests, as a sparse tensor whose rows they fill from the left."""
    return tf.gather(tf.RaggedTensor.from_value_rowids(values, request, count), requests).to_sparse()


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset without TensorFlow's tuning of its parallelism, which must be given.

    An iterator that ends waits for the thread that tunes it, and that one sleeps longer and longer: 16 s after every
    epoch of half a minute, with both cores idle.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
