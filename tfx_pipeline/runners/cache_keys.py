"""What a run's cache depends on beside the configuration: the input files, this project's code and an own model's.

TFX itself caches by inputs and parameters only, and would reuse the output of old code. So every step has a digest of
the sources that it executes: the import closure of the modules that it enters by. Nobody keeps a list of files.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tfx_pipeline.config.encoders import in_pipeline
from tfx_pipeline.config.encoding import EncodingConfig
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.data.encoding.sources import encoder_sources
from tfx_pipeline.data.logs.files import fingerprint
from tfx_pipeline.files.source_digests import code_digest
from tfx_pipeline.pipeline import Fingerprints
from tfx_pipeline.training.model_code import model_code_digest

# The sections of the configuration that a step depends on are among its parameters, as values; how they are read and
# checked, what is printed and how an error is worded change no output.
_NEVER = ("tfx_pipeline.config", "tfx_pipeline.console", "tfx_pipeline.errors")
# Rows are kept, metrics and slices are computed from them anew.
_COMPUTED_ANEW = ("tfx_pipeline.evaluation.metrics", "tfx_pipeline.evaluation.slices", "dmf_keras.metrics")


class Entry(NamedTuple):
    """Where a step's code begins: the modules that it enters by, and what of their imports cannot change its output."""

    modules: tuple[str, ...]
    ignore: tuple[str, ...] = ()


_COMPONENTS = "tfx_pipeline.components"
_CODE = {
    # The columns that are read follow from the section by this project's code.
    "ingest": Entry((f"{_COMPONENTS}.behavior_log_example_gen.executor", "tfx_pipeline.config.ingestion")),
    "encode": Entry((f"{_COMPONENTS}.content_encoder.executor", "tfx_pipeline.training.text_tower.encoder")),
    "content": Entry((f"{_COMPONENTS}.item_content_gen.executor",)),
    "fine_tune": Entry((f"{_COMPONENTS}.content_tuner.executor",)),
    "validate": Entry((f"{_COMPONENTS}.example_validator.executor",)),
    "transform": Entry(("tfx_pipeline.transform.preprocessing",)),
    "retrieve": Entry(
        (f"{_COMPONENTS}.ranking_trainer.executor", "tfx_pipeline.training.retrieval.retrieval_fn"), _COMPUTED_ANEW
    ),
    "train": Entry((f"{_COMPONENTS}.ranking_trainer.executor", "tfx_pipeline.training.run_fn")),
    "refit": Entry((f"{_COMPONENTS}.ranking_trainer.executor", "tfx_pipeline.training.refit_fn")),
    # TFMA loads metrics by the names that `eval_config` writes down.
    "evaluate": Entry(("tfx_pipeline.evaluation.extractors", "tfx_pipeline.evaluation.metrics")),
    "gate": Entry((f"{_COMPONENTS}.serving_gate.executor",)),
    "baseline": Entry((f"{_COMPONENTS}.pushed_baseline.executor",)),
    "push": Entry((f"{_COMPONENTS}.pusher.executor",)),
    "trial": Entry(("tfx_pipeline.training.trial", "tfx_pipeline.evaluation.candidate_table"), _COMPUTED_ANEW),
    # What a training of a comparison leaves.
    "finished": Entry(("tfx_pipeline.studies.compare.finished",), _COMPUTED_ANEW),
    # What a training of a comparison of retrieval leaves.
    "retrieved": Entry(("tfx_pipeline.studies.retrieval.compare.finished",), _COMPUTED_ANEW),
    # What a trial of a search comes to: it keeps metrics.
    "outcome": Entry(("tfx_pipeline.training.search.outcome",)),
    "tune": Entry((f"{_COMPONENTS}.ranking_tuner.executor", "tfx_pipeline.training.search.tuner_fn")),
}


def fingerprints(config: PipelineConfig) -> Fingerprints:
    """Digests of the input files (path, size, modification time), of the code of each step.

    Raises:
        DataError: when an input file is not there.
    """
    data = config.data
    logs = [data.interactions.path, data.items.path, *([data.users.path] if data.users else [])]
    logs += [table.path for table in (config.negatives.tables.values() if config.negatives else ())]
    made = in_pipeline(config.encoders)
    content = [data.items.path]
    content += [modality.path for name, modality in config.content.modalities.items() if name not in made]
    return Fingerprints(
        logs=fingerprint(logs),
        content=fingerprint(content),
        code=code_of(config),
        encoding=encoder_sources(EncodingConfig.of(config, made)) if made else "",
    )


def code_of(config: PipelineConfig) -> dict[str, str]:
    """By step, the digest of the code behind it and of the class of its model."""
    code = code_digests(_CODE)
    model = model_code_digest(config.model.name, config.model.module)
    code |= {step: f"{code[step]}-{model}" for step in ("train", "refit")}
    code["retrieve"] += f"-{model_code_digest('two_towers')}"
    return code


def code_digests(steps: Iterable[str]) -> dict[str, str]:
    """By step, the digest of the code behind it, whatever the model."""
    return {step: code_digest(_CODE[step].modules, (*_NEVER, *_CODE[step].ignore)) for step in steps}
