"""The work of ContentTuner."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from tfx_pipeline.components.artifacts import optional_uri
from tfx_pipeline.config.content import Content
from tfx_pipeline.console import console
from tfx_pipeline.data.content.encoded import with_encoded
from tfx_pipeline.data.content.table import read_content, write_content
from tfx_pipeline.data.ingestion_report import IngestionReport
from tfx_pipeline.evaluation.requests import read_all_requests
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import join, local
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.files.writing import remove
from tfx_pipeline.training.content_tuning.record import TunedEpoch
from tfx_pipeline.training.content_tuning.tuned_table import tune_table
from tfx_pipeline.transform.dataset import split_files

CONTENT_KEY = "content_table"
ENCODED_KEY = "encoded"
EXAMPLES_KEY = "examples"
REPORT_KEY = "report"
SECTION_KEY = "section"
SOURCE_FINGERPRINT_KEY = "source_fingerprint"
CODE_DIGEST_KEY = "code_digest"
STATE_ROOT_KEY = "state_root"
TUNED_KEY = "content"


class Executor(base_executor.BaseExecutor):
    """Reads a content table and the clicks of train, writes a content table with tuned vectors."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Fine-tunes and writes.

        Args:
            input_dict: `content_table`, `examples` and `report`, one artifact each, and `encoded` where the pipeline
                makes vectors, which are read in place of their files. Of the examples it reads the split
                train, and eval to choose an epoch by; never test.
            output_dict: `content`: one `ItemContent` artifact, whose directory appears complete or not at all.
            exec_properties: `section`: JSON, the section `content` of the configuration with absolute paths;
                `state_root`: folder for the state of interrupted trainings; `source_fingerprint` and `code_digest`.

        Raises:
            LeakageError: a request of the train split is not before the first moment of eval.
            DataError: embeddings that cannot be read, or no click that follows a click.
        """
        section = Content.model_validate_json(exec_properties[SECTION_KEY])
        content = with_encoded(section, optional_uri(input_dict, ENCODED_KEY))
        table = read_content(artifact_utils.get_single_uri(input_dict[CONTENT_KEY]))
        examples = artifact_utils.get_single_uri(input_dict[EXAMPLES_KEY])
        report = IngestionReport.from_json(
            read_json(join(artifact_utils.get_single_uri(input_dict[REPORT_KEY]), artifact_files.INGESTION_REPORT))
        )
        train, judged = (read_all_requests(split_files(examples, name), table.item_ids) for name in ("train", "eval"))
        names = (SECTION_KEY, SOURCE_FINGERPRINT_KEY, CODE_DIGEST_KEY)
        state = _state(exec_properties[STATE_ROOT_KEY], table.version, examples, *(exec_properties[n] for n in names))
        tuned, record = tune_table(table, content, train, judged, report.cuts.eval_from, _say(content), state)
        artifact = artifact_utils.get_single_instance(output_dict[TUNED_KEY])
        write_content(tuned, artifact.uri, {artifact_files.FINE_TUNING: record})
        artifact.set_string_custom_property("version", tuned.version)
        remove(state)
        logging.info("content tuned on %d clicks: %s", record.clicks, record)


def _state(root: str, *inputs: str) -> Path:
    """Where an interrupted fine-tuning lies: of other inputs it is another file."""
    key = hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:16]
    return local(join(root, f"content_{key}.npz"))


def _say(content: Content) -> Callable[[int, TunedEpoch], None]:
    settings = content.fine_tuning
    assert settings is not None, "the pipeline has this step only where there is the section"

    def say(number: int, epoch: TunedEpoch) -> None:
        when = "before training" if epoch.loss is None else f"epoch {number} of at most {settings.epochs}"
        loss = "" if epoch.loss is None else f", loss {epoch.loss:.4f}"
        found = f"recall@{settings.recall_at} of the next click on eval {epoch.recall:.4f}"
        console().print(f"ContentTuner, {when}: {found}{loss}, {epoch.seconds:.0f} s", highlight=False)

    return say
