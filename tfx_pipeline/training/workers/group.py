"""What the processes of one training do together, by the collectives of TensorFlow's strategy."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfx_pipeline.transform.dataset import Share


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """The processes that train one model.

    Attributes:
        strategy: of all of them.
        is_chief: whether this is the one that writes.
    """

    strategy: tf.distribute.MultiWorkerMirroredStrategy
    is_chief: bool

    def share(self, batches: Callable[[Share], tf.data.Dataset]) -> SharedBatches:
        """This process's part of batches that every process makes alike.

        Args:
            batches: makes the dataset of a share.
        """
        parts: list[tf.data.Dataset] = []

        def of_process(context: tf.distribute.InputContext) -> tf.data.Dataset:
            devices = context.num_replicas_in_sync // context.num_input_pipelines
            first = context.input_pipeline_id * devices
            parts.append(batches(Share(first, devices, context.num_replicas_in_sync)))
            return parts[-1]

        distributed = self.strategy.distribute_datasets_from_function(of_process)
        (part,) = parts
        return SharedBatches(part, distributed)

    def told_by_chief(self, values: Mapping[str, Any] | None) -> dict[str, Any]:
        """JSON values of the chief, in every process; the others give None."""
        told = b"" if values is None else json.dumps(values).encode()
        # Of float32 there are collectives on every device.
        gathered = self.strategy.gather(tf.constant(list(told), tf.float32, [len(told)]), axis=0)
        received: dict[str, Any] = json.loads(gathered.numpy().astype(np.uint8).tobytes())
        return received

    def gathered(self, values: Sequence[float]) -> np.ndarray:
        """The values of all processes, float32 [processes, values]; returns when all have come here."""
        rows = self.strategy.gather(tf.constant([values], tf.float32), axis=0)
        return np.asarray(rows)


@dataclasses.dataclass(frozen=True, eq=False)
class SharedBatches:
    """A process's part of a dataset.

    Attributes:
        part: the dataset that it reads.
        distributed: the same, as a strategy trains on it.
    """

    part: tf.data.Dataset
    distributed: tf.distribute.DistributedDataset
