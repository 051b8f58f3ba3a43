"""What replicas of a step do between them, by TensorFlow's strategies; loaded where TensorFlow is the backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import tree

from dmf_keras.types import Tensor


def loss_of_whole_batch(loss: Tensor, weight: Tensor) -> Tensor:
    """The loss of a replica's part of a batch, such that the replicas' losses come to that of the whole batch.

    Keras takes the mean of the replicas' means, whatever each of them had. Here the loss of replica i counts by its
    weight, times w_i / sum(w): gradients then add up to those of the whole batch, and each replica logs the loss of the
    whole batch. It is exact for a mean by the same weights, and for regularisers.

    Args:
        loss: float scalar, as `compute_loss` of Keras has it: divided by the number of replicas.
        weight: float32 scalar, the sum of the weights of this replica's samples.
    """
    replicas, context = tf.distribute.get_strategy().num_replicas_in_sync, tf.distribute.get_replica_context()
    # No context: Keras builds the metrics, and looks at no value.
    if replicas == 1 or context is None:
        return loss
    total = context.all_reduce(tf.distribute.ReduceOp.SUM, weight)
    mine = loss * tf.cast(tf.where(total > 0, replicas * weight / total, 1.0), loss.dtype)
    whole = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stop_gradient(mine)) / replicas
    return mine + tf.stop_gradient(whole - mine)


def is_of_several_processes(strategy: tf.distribute.Strategy) -> bool:
    """Whether it is a `MultiWorkerMirroredStrategy` of more than one worker."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False
    cluster = strategy.cluster_resolver.cluster_spec().as_dict()
    return sum(len(addresses) for addresses in cluster.values()) > 1


def step_of_iterator(
    strategy: tf.distribute.Strategy, step_function: Callable[[Any], Any], eagerly: bool
) -> Callable[[Any], Any]:
    """A step of an iterator over a distributed dataset, as Keras's trainer calls it; returns the first replica's logs.

    Args:
        strategy: of the step.
        step_function: of one replica, given its part of a batch.
        eagerly: without a graph.
    """

    def step(iterator: Any) -> Any:
        outputs = strategy.run(step_function, args=(iterator.get_next(),))
        return first_replica(strategy, outputs)

    return step if eagerly else tf.function(step, reduce_retracing=True, autograph=False)


def first_replica(strategy: tf.distribute.Strategy, values: Any) -> Any:
    """Of values of several replicas those of the first in this process."""
    return tree.map_structure(lambda value: strategy.experimental_local_results(value)[0], values)
