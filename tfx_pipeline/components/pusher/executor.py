"""Executor of `Pusher`: copy beside, then rename."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components.pusher import executor as tfx_pusher
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, proto_utils

from serving import contract
from serving.export.metadata import read_json, write_json
from serving.manifest import describe
from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation.results import read_metrics
from tfx_pipeline.files.addresses import join
from tfx_pipeline.files.reading import exists
from tfx_pipeline.files.versions import next_version
from tfx_pipeline.files.writing import remove_unfinished, writing_folder

EVALUATION_KEY = "evaluation"


class Executor(tfx_pusher.Executor):
    """Pushes a blessed model to a new numbered version by atomic rename.

    TFX's own executor copies file by file into the version's final folder: killed half-way, it leaves a folder which
    the next push skips as already there and which a server may try to load.
    """

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes if every blessing given says so.

        Args:
            input_dict: `model`, `evaluation`, and optionally `model_blessing` and `infra_blessing`.
            output_dict: `pushed_model`.
            exec_properties: `push_destination`, JSON of a filesystem destination.

        The model was exported before it was evaluated: its metrics become an asset of the pushed copy alone, and
        what ServingGate has checked stays as it was. Beside a refitted model the metrics say of which model they are.

        Raises:
            ModelError: the model's files are gone, or the evaluation's.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination)
        base = destination.filesystem.base_directory
        remove_unfinished(base)
        final = next_version(base)
        model_path = self.GetModelPath(input_dict)
        # The copy of a folder that is not there would be an empty version, and no error.
        if not exists(join(model_path, "saved_model.pb")):
            raise ModelError(
                f"the model to push is gone: {model_path} holds no saved_model.pb; "
                "train it again: dmf run --no-cache RankingTrainer"
            )
        metrics = read_metrics(artifact_utils.get_single_uri(input_dict[EVALUATION_KEY]))
        evaluation: dict[str, Any] = {"metrics": {split: of_split.to_json() for split, of_split in metrics.items()}}
        if refit := (read_json(model_path, contract.METADATA_FILE) or {}).get("refit"):
            evaluation["note"] = refit["note"]
        # TensorFlow Serving takes folders with numeric names for versions and ignores all others.
        with writing_folder(final) as incoming:
            io_utils.copy_dir(model_path, str(incoming))
            write_json(incoming, contract.EVALUATION_FILE, evaluation)
            write_json(incoming, contract.MANIFEST_FILE, describe(incoming))
        io_utils.copy_dir(final, pushed.uri)
        self._MarkPushed(pushed, pushed_destination=final, pushed_version=final.rpartition("/")[2])
