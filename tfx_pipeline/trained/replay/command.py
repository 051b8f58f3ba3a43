"""`dmf replay`: where Keras and the exported model part, and by how much."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tfx_pipeline.console import console, quiet_libraries
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.trained.rank import find_version

EXIT_DIFFERENT = 1
_SHOWN = 20


def replay(version: Path, file: Path | None, *, run: Path | None, tolerance: float) -> dict[str, Any]:
    """Scores captured requests again, in Keras and through the exported model.

    Args:
        version: the exported model.
        file: captured requests, see `tfx_pipeline.trained.replay.requests`; None: the model's own warm-up file.
        run: output folder of the run that trained the model, if it was moved.
        tolerance: allowed difference, absolute and, for values beyond 1, relative.

    Returns:
        `model`, `file`, `tolerance`, `equal`; `stages`: per stage the requests that have it, those that differ, and
        the largest difference; `requests`: those that differ, with number (from 0), signature, the version that
        answered when it was captured, the first stage that differs, the difference and what differs.

    Raises:
        ModelError: the exported model or the Keras model of its run cannot be loaded.
        DataError: the file holds no requests, or cannot be read.
    """
    import tensorflow as tf

    from serving import contract
    from serving.export.servable import Servable
    from serving.messages import first_line
    from tfx_pipeline.trained.keras_model import KerasModel
    from tfx_pipeline.trained.replay.requests import read_captured
    from tfx_pipeline.trained.replay.stages import STAGES, replay_request

    file = version / contract.WARMUP_FILE if file is None else file
    try:
        model_contract = contract.ModelContract.read(version)
        captured = read_captured(file, model_contract)
        servable = Servable(version)
    except (OSError, KeyError, TypeError, ValueError, tf.errors.OpError) as error:
        raise ModelError(f"{version} cannot be loaded as a ranking model: {first_line(error)}") from None
    stages = {stage: {"requests": 0, "different": 0, "largest_difference": 0.0} for stage in STAGES}
    different, count = [], 0
    with servable:
        model = KerasModel(version, run)
        for number, request in enumerate(captured):
            count += 1
            results = replay_request(request, model, servable, model_contract)
            for result in results:
                entry = stages[result.stage]
                entry["requests"] += 1
                entry["different"] += not result.within(tolerance)
                entry["largest_difference"] = max(entry["largest_difference"], result.difference or 0.0)
            first = next((result for result in results if not result.within(tolerance)), None)
            if first is not None:
                different.append(
                    {
                        "request": number,
                        "signature": request.signature or contract.SERVING_DEFAULT,
                        "captured_version": request.version,
                        "stage": first.stage,
                        "difference": first.difference,
                        "detail": first.detail,
                    }
                )
    if not count:
        raise DataError(f"{file} holds no requests")
    return {
        "model": str(version),
        "file": str(file),
        "tolerance": tolerance,
        "equal": not different,
        "count": count,
        "stages": stages,
        "requests": different,
    }


def replay_from_command_line(
    model: Path, file: Path | None, *, run: Path | None, tolerance: float, as_json: bool
) -> int:
    """Prints what `replay` returns, as tables or as JSON; returns the exit status: 0 if all are equal, else 1."""
    version = find_version(model)
    with quiet_libraries(Path("/dev/null")), console().status("replaying requests"):
        found = replay(version, file, run=run, tolerance=tolerance)
    if as_json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        print_replay(found, Console())
    return 0 if found["equal"] else EXIT_DIFFERENT


def print_replay(found: dict[str, Any], target: Console) -> None:
    """The comparison as tables; `found` is what `replay` returns."""
    summary = Table(title=f"{found['count']:,} requests of {found['file']}", title_justify="left")
    summary.add_column("stage")
    for column in ("requests", "different", "largest difference"):
        summary.add_column(column, justify="right")
    for stage, entry in found["stages"].items():
        if entry["requests"]:
            largest = f"{entry['largest_difference']:.1e}"
            summary.add_row(stage, f"{entry['requests']:,}", f"{entry['different']:,}", largest)
    target.print(summary)
    if found["equal"]:
        target.print(f"equal at every stage, to {found['tolerance']:g}", highlight=False)
        return
    table = Table(title="first stage that differs", title_justify="left")
    for column in ("request", "signature", "stage", "difference", "what"):
        table.add_column(column, overflow="fold")
    for entry in found["requests"][:_SHOWN]:
        difference = "" if entry["difference"] is None else f"{entry['difference']:.3g}"
        table.add_row(str(entry["request"]), entry["signature"], entry["stage"], difference, Text(entry["detail"]))
    target.print(table)
    if len(found["requests"]) > _SHOWN:
        target.print(f"and {len(found['requests']) - _SHOWN:,} more", highlight=False)
    others = {entry["captured_version"] for entry in found["requests"]} - {None, _number(found["model"])}
    if others:
        versions = ", ".join(str(version) for version in sorted(others))
        target.print(f"captured from version {versions}, whose answers may well be others", highlight=False)


def _number(model: str) -> int | None:
    name = Path(model).name
    return int(name) if name.isdigit() else None
