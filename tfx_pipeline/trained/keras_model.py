"""The trained model as the run left it: `model.keras`, the transform graph and the content table."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from dmf_keras.models.ranking_model import RankingModel
from dmf_keras.models.registry import model_class
from serving import contract
from serving.export.content_inputs import ContentInputs
from serving.export.metadata import read_json
from serving.export.servable import Arrays
from serving.export.signatures import candidate_model_inputs, encode_user, explain_requests, scores
from serving.messages import first_line
from tfx_pipeline.config.loading import read_model_section
from tfx_pipeline.config.schema import Features, History
from tfx_pipeline.data.content.table import read_content
from tfx_pipeline.errors import ModelError, PipelineError
from tfx_pipeline.files import artifact_files
from tfx_pipeline.training.model_schema import content_bases
from tfx_pipeline.transform.request_transform import RequestTransform

_LONGEST_REASON = 300


class KerasModel:
    """What training had, before any export: raw requests to model inputs, to the user's state, to scores.

    Args:
        version: the exported model, whose metadata says where the run's artifacts lie.
        run: output folder of the run, where it is no longer the one that the metadata names.

    Attributes:
        model: as it was trained, in the precision of the exported one.
        transform: raw requests to its inputs.

    Raises:
        ModelError: the model has no metadata, or the artifacts are gone or cannot be loaded.
    """

    def __init__(self, version: Path, run: Path | None = None):
        try:
            metadata = read_json(version, contract.METADATA_FILE)
        except (OSError, ValueError) as error:
            raise ModelError(f"{version / contract.METADATA_FILE} cannot be read: {first_line(error)}") from None
        if metadata is None:
            raise ModelError(
                f"{version} has no {contract.METADATA_FILE}, which says where the Keras model of its run lies; "
                "only models of this version of the pipeline can be replayed"
            )
        model_run, graph, content_dir = (
            _artifact(metadata, name, run) for name in ("model_run", "transform_graph", "content")
        )
        config = metadata["config"]
        try:
            # Reading the section registers a model of the user's own. Keras loads only classes that are imported.
            section = read_model_section(config["model"])
            import_module(model_class(section.name).partition(":")[0])
            content = read_content(content_dir)
            self.transform = RequestTransform(
                tft.TFTransformOutput(str(graph)),
                content_dir / artifact_files.ITEM_IDS,
                Features.model_validate(config["features"]),
                config["ingestion"]["history"]["max_length"],
                History.model_validate(config["ingestion"]["history"]).longest_sequences,
            )
            exported = contract.ModelContract.read(version)
            trained: RankingModel = keras.models.load_model(model_run / artifact_files.KERAS_MODEL)
            self.model = trained.for_serving(exported.precision)
            self._formula = exported.formula
            self._content = ContentInputs(self.model, content_bases(content))
        except (OSError, ValueError, KeyError, TypeError, ImportError, PipelineError, tf.errors.OpError) as error:
            # Keras writes a model's whole configuration into one line.
            reason = first_line(error)[:_LONGEST_REASON]
            raise ModelError(f"the Keras model of {version} cannot be loaded: {reason}") from None

    def features(self, user: Arrays | None, candidates: Arrays | None) -> Arrays:
        """Model inputs of raw user inputs and of candidates with their columns [B, N]; each may be absent."""
        found: dict[str, tf.Tensor] = {}
        if user is not None:
            found |= self.transform.user(_tensors(user))
        if candidates is not None:
            found |= self.transform.candidates(_tensors(candidates))
        return _arrays(found)

    def state(self, user: Arrays) -> Arrays:
        """The user's state of raw user inputs."""
        return _arrays(encode_user(self.model, self.transform, _tensors(user)))

    def scores(self, state: Arrays, candidates: Arrays) -> Arrays:
        """`score` [B, N], and of several objectives each, of candidates with their columns and content, for a state."""
        inputs = candidate_model_inputs(self.transform, _tensors(candidates), self._content)
        return _arrays(scores(self.model, _tensors(state), inputs, self._formula))

    def explain(self, request: Arrays) -> Arrays:
        """What the signature `explain` would give for the inputs of `rank`."""
        return _arrays(explain_requests(self.model, self.transform, _tensors(request), self._content, self._formula))

    def scores_of_examples(self, examples: np.ndarray) -> Arrays:
        """As `scores`, of serialised examples [B]."""
        inputs = self.transform.examples(tf.constant(examples))
        return _arrays(scores(self.model, self.model.encode_user(inputs), inputs, self._formula))


def _artifact(metadata: Mapping[str, Any], name: str, run: Path | None) -> Path:
    """The folder of one of the run's artifacts; below `run` it has the same node, output and number."""
    try:
        written = Path(metadata["artifacts"][name])
    except KeyError:
        raise ModelError(f"the model's metadata does not say where its {name} lies") from None
    path = written if run is None else Path(run, "artifacts", *written.parts[-3:])
    if not path.is_dir():
        advice = "give the run's output folder in --run" if run is None else "is --run the output folder of that run?"
        raise ModelError(f"the {name} of the run that trained the model is not there: {path}; {advice}")
    return path


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, tf.Tensor]:
    return {name: tf.constant(value) for name, value in arrays.items()}


def _arrays(tensors: Mapping[str, tf.Tensor]) -> Arrays:
    return {name: tensor.numpy() for name, tensor in tensors.items()}
