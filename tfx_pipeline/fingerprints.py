"""What a run's cache depends on beside the configuration: the input files, this project's code and an own model's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from dmf_keras.models.registry import model_class
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.logs.files import fingerprint
from tfx_pipeline.pipeline import Fingerprints

_ROOT = Path(__file__).resolve().parents[1]

# The sources behind each step. TFX itself caches by inputs and parameters only, and would reuse the output of old code.
_CODE = {
    "ingest": (
        "serving/contract.py",
        "tfx_pipeline/features.py",
        "tfx_pipeline/logs",
        "tfx_pipeline/examples",
        "tfx_pipeline/components/behavior_log_example_gen",
    ),
    # Ids are made and catalogues read by the code that makes and reads those of the log.
    "content": (
        "serving/contract.py",
        "tfx_pipeline/logs/files.py",
        "tfx_pipeline/logs/reader.py",
        "tfx_pipeline/logs/values.py",
        "tfx_pipeline/content",
        "tfx_pipeline/components/item_content_gen",
    ),
    "transform": ("tfx_pipeline/features.py", "tfx_pipeline/preprocessing.py"),
    "train": (
        "dmf_keras",
        # Those of serving that export a model; its client and its servers do not change one.
        "serving/contract.py",
        "serving/export",
        "tfx_pipeline/features.py",
        "tfx_pipeline/components/custom_config.py",
        "tfx_pipeline/components/ranking_trainer",
        "tfx_pipeline/training",
        "tfx_pipeline/tuning/values.py",
        "tfx_pipeline/content/table.py",
        "tfx_pipeline/evaluation/item_facts.py",
    ),
    "validate": ("tfx_pipeline/components/example_validator",),
    "push": (
        "serving/export/atomic.py",
        "serving/export/metadata.py",
        "tfx_pipeline/components/pusher",
        "tfx_pipeline/evaluation/results.py",
    ),
    "evaluate": ("serving/contract.py", "tfx_pipeline/features.py", "tfx_pipeline/evaluation"),
    "trial": ("tfx_pipeline/trials",),
    # What a training of a comparison leaves, whose rows metrics are computed from anew.
    "finished": ("tfx_pipeline/compare/finished.py",),
    # What a trial of a search comes to: it keeps metrics.
    "outcome": ("tfx_pipeline/evaluation/metrics.py", "tfx_pipeline/tuning/outcome.py"),
    "tune": ("tfx_pipeline/components/ranking_tuner", "tfx_pipeline/tuning"),
    "gate": ("serving/export", "tfx_pipeline/components/serving_gate"),
}


def fingerprints(config: PipelineConfig) -> Fingerprints:
    """Digests of the input files (path, size, modification time) and of the code of each step.

    Raises:
        DataError: when an input file is not there.
    """
    data = config.data
    logs = [data.interactions.path, data.items.path, *([data.users.path] if data.users else [])]
    content = [data.items.path, *(modality.path for modality in config.content.modalities.values())]
    code = {step: _code_digest(_ROOT, [_ROOT / place for place in places]) for step, places in _CODE.items()}
    if config.model.module is not None:
        modules = {config.model.module, model_class(config.model.name).partition(":")[0]}
        code["train"] = "-".join([code["train"], *sorted({module_digest(module) for module in modules})])
    return Fingerprints(logs=fingerprint(logs), content=fingerprint(content), code=code)


def module_digest(name: str) -> str:
    """Of the package that a module is or lies in, sub-packages included; of its one file if it lies in none.

    Files are named by their place inside the package: where the package lies does not count.
    """
    spec = find_spec(name)
    if spec.parent:
        folders = [Path(folder) for folder in find_spec(spec.parent).submodule_search_locations]
        return "-".join(_code_digest(folder, [folder]) for folder in folders)
    file = Path(spec.origin)
    return _code_digest(file.parent, [file])


def _code_digest(root: Path, places: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for place in places:
        for source in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(str(source.relative_to(root)).encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
