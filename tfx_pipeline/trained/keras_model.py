"""The trained model as the run left it: `model.keras`, the transform graph and the content table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving import contract
from serving.export.content_inputs import ContentInputs
from serving.export.servable import Arrays
from serving.export.signatures import candidate_model_inputs, encode_user, explain_requests, scores
from tfx_pipeline.trained.run_artifacts import RunArtifacts, loading_keras
from tfx_pipeline.training.model_schema import content_bases


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
        artifacts = RunArtifacts.of(version, run)
        # What is missing is said before anything is loaded.
        for name in ("model_run", "transform_graph", "content"):
            artifacts.folder(name)
        with loading_keras(version):
            content = artifacts.content()
            self.transform = artifacts.transform(artifacts.folder("content"))
            exported = contract.ModelContract.read(version)
            self.model = artifacts.model(content).for_serving(exported.precision)
            self._formula = exported.formula
            self._content = ContentInputs(self.model, content_bases(content))

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


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, tf.Tensor]:
    return {name: tf.constant(value) for name, value in arrays.items()}


def _arrays(tensors: Mapping[str, tf.Tensor]) -> Arrays:
    return {name: tensor.numpy() for name, tensor in tensors.items()}
