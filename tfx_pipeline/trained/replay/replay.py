"""`dmf replay`: where Keras and the exported model part, and by how much."""

from __future__ import annotations

from pathlib import Path

from serving import contract
from tfx_pipeline.errors import DataError
from tfx_pipeline.trained.keras_model import KerasModel
from tfx_pipeline.trained.replay.report import DifferentRequest, ReplayReport, StageCounts
from tfx_pipeline.trained.replay.requests import read_captured
from tfx_pipeline.trained.replay.stages import STAGES, StageResult, replay_request
from tfx_pipeline.trained.version import Version

_TOLERANCE = 1e-4


def replay(version: Version, file: Path | None, *, run: Path | None, tolerance: float | None = None) -> ReplayReport:
    """Scores captured requests again, in Keras and through the exported model.

    Args:
        version: the exported model.
        file: captured requests, see `tfx_pipeline.trained.replay.requests`; None: the model's own warm-up file.
        run: output folder of the run that trained the model, if it was moved.
        tolerance: allowed difference, absolute and, for values beyond 1, relative; None: 0.0001, or what the precision
            of the model costs if that is more.

    Raises:
        ModelError: the exported model or the Keras model of its run cannot be loaded.
        DataError: the file holds no requests, or cannot be read.
    """
    if tolerance is None:
        tolerance = max(_TOLERANCE, version.contract.tolerance)
    file = version.path / contract.WARMUP_FILE if file is None else file
    captured = read_captured(file, version.contract)
    stages = dict.fromkeys(STAGES, StageCounts())
    different: list[DifferentRequest] = []
    count = 0
    with version.load() as servable:
        model = KerasModel(version.path, run)
        for number, request in enumerate(captured):
            count += 1
            results = replay_request(request, model, servable, version.contract)
            for result in results:
                stages[result.stage] = _counted(stages[result.stage], result, tolerance)
            first = next((result for result in results if not result.within(tolerance)), None)
            if first is not None:
                signature = request.signature or contract.SERVING_DEFAULT
                different.append(DifferentRequest(number, signature, request.version, *first))
    if not count:
        raise DataError(f"{file} holds no requests")
    return ReplayReport(str(version.path), str(file), tolerance, count, stages, different)


def _counted(counts: StageCounts, result: StageResult, tolerance: float) -> StageCounts:
    return StageCounts(
        counts.requests + 1,
        counts.different + (not result.within(tolerance)),
        max(counts.largest_difference, result.difference or 0.0),
    )
