"""What the run that trained a version left of it: the Keras model, the transform graph, the content table."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from dmf_keras.models.ranking_model import RankingModel
from dmf_keras.models.registry import model_class
from serving import contract
from serving.export.metadata import read_json
from serving.messages import first_line
from tfx_pipeline.config.loading import read_model_section
from tfx_pipeline.config.schema import Features, History
from tfx_pipeline.data.content.table import ItemContentTable, read_content
from tfx_pipeline.errors import ModelError, PipelineError
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.reading import read_lines
from tfx_pipeline.training.item_tables import with_tables
from tfx_pipeline.transform.request_transform import RequestTransform

# Of a version whose tables were refreshed: the content table that its model was trained with.
TRAINED_CONTENT = "trained_content"
_LONGEST_REASON = 300


@contextlib.contextmanager
def loading_keras(version: Path) -> Iterator[None]:
    """The boundary to what loading a model raises: all of it is a `ModelError` that names the version."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, ImportError, PipelineError, tf.errors.OpError) as error:
        # Keras writes a model's whole configuration into one line.
        reason = first_line(error)[:_LONGEST_REASON]
        raise ModelError(f"the Keras model of {version} cannot be loaded: {reason}") from None


@dataclasses.dataclass(frozen=True, eq=False)
class RunArtifacts:
    """The artifacts that a version's metadata name; nothing is read before it is asked for.

    Attributes:
        version: the exported model.
        metadata: what lies beside it of how it was made.
        run: output folder of the run, where it is no longer the one that the metadata name.
    """

    version: Path
    metadata: dict[str, Any]
    run: Path | None = None

    @classmethod
    def of(cls, version: Path, run: Path | None = None) -> RunArtifacts:
        """Those of a version.

        Raises:
            ModelError: it has no metadata, or they cannot be read.
        """
        try:
            metadata = read_json(version, contract.METADATA_FILE)
        except (OSError, ValueError) as error:
            raise ModelError(f"{version / contract.METADATA_FILE} cannot be read: {first_line(error)}") from None
        if metadata is None:
            raise ModelError(
                f"{version} has no {contract.METADATA_FILE}, which says where the Keras model of its run lies; "
                "only models of this version of the pipeline can be replayed"
            )
        return cls(version, metadata, run)

    def folder(self, name: str) -> Path:
        """The folder of an artifact; below `run` it has the same node, output and number.

        Raises:
            ModelError: the metadata do not name it, or it is gone.
        """
        try:
            written = Path(self.metadata["artifacts"][name])
        except KeyError:
            raise ModelError(f"the model's metadata does not say where its {name} lies") from None
        path = written if self.run is None else Path(self.run, "artifacts", *written.parts[-3:])
        if not path.is_dir():
            advice = "is --run the output folder of that run?"
            if self.run is None:
                advice = "give the run's output folder in --run"
            raise ModelError(f"the {name} of the run that trained the model is not there: {path}; {advice}")
        return path

    @property
    def trained_content(self) -> str:
        """Name of the content table that the model was trained with."""
        return TRAINED_CONTENT if TRAINED_CONTENT in self.metadata["artifacts"] else "content"

    @property
    def features(self) -> Features:
        """The section of the configuration that the model was trained with."""
        return Features.model_validate(self.metadata["config"]["features"])

    def content(self) -> ItemContentTable:
        """The content table that the version serves."""
        return read_content(self.folder("content"))

    def tft_output(self) -> tft.TFTransformOutput:
        """The transform graph."""
        return tft.TFTransformOutput(str(self.folder("transform_graph")))

    def transform(self, content: Path) -> RequestTransform:
        """Raw requests to model inputs.

        Args:
            content: folder of the content table whose rows they name.
        """
        history = self.metadata["config"]["ingestion"]["history"]
        return RequestTransform(
            self.tft_output(),
            content / artifact_files.ITEM_IDS,
            self.features,
            history["max_length"],
            History.model_validate(history).longest_sequences,
        )

    def trained_model(self) -> RankingModel:
        """The Keras model as it was trained, with the tables of then."""
        # Reading the section registers a model of the user's own. Keras loads only classes that are imported.
        section = read_model_section(self.metadata["config"]["model"])
        import_module(model_class(section.name).partition(":")[0])
        model: RankingModel = keras.models.load_model(self.folder("model_run") / artifact_files.KERAS_MODEL)
        return model

    def trained_items(self) -> list[str]:
        """Ids of the items in the trained model's tables."""
        return read_lines(self.folder(self.trained_content) / artifact_files.ITEM_IDS)

    def model(self, content: ItemContentTable) -> RankingModel:
        """The Keras model with the tables that the version serves, those of `content`."""
        trained = self.trained_model()
        refreshed = TRAINED_CONTENT in self.metadata["artifacts"]
        return with_tables(trained, content, self.trained_items()) if refreshed else trained
