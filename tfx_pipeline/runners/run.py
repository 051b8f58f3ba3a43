"""`dmf run`: checks the inputs, runs the pipeline, says what happened and where things lie."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.console import console, quiet_libraries, styled
from tfx_pipeline.files.output_folder import hold_output, set_up_libraries
from tfx_pipeline.files.stored_versions import bring_versions, publish_versions
from tfx_pipeline.files.writing import write_json
from tfx_pipeline.runners.peak_memory import PeakMemory

if TYPE_CHECKING:
    from tfx_pipeline.runners.summary import Summary


def run(
    config: PipelineConfig,
    *,
    uncached: Collection[str] = (),
    verify: bool = False,
    rebuild_metadata: bool = False,
    summary_json: Path | None = None,
    extend: Callable[[Summary], Summary] = lambda summary: summary,
) -> Summary:
    """Runs the pipeline and prints its summary.

    Args:
        config: the validated configuration.
        uncached: steps to run even if nothing changed; `all` for every step.
        verify: whether outputs of before are compared by checksum too.
        rebuild_metadata: whether store and artifacts of before are set aside first.
        summary_json: also write the summary there, by atomic rename.
        extend: adds to the summary before it is printed and written.

    Returns:
        The summary; its `to_json()` is what is written.

    Raises:
        PipelineError: the inputs or a step refuse; the message says where the libraries' log lies.
    """
    started = time.monotonic()
    heading = styled("pipeline ", (config.name, "bold"), f", output {config.output}")
    console().print(heading, highlight=False, soft_wrap=True)
    with PeakMemory() as memory, hold_output(config.output, "run") as log_file:
        summary = _run(config, uncached, verify, rebuild_metadata)
    summary = extend(
        dataclasses.replace(
            summary,
            seconds=round(time.monotonic() - started, 1),
            peak_memory_mb=round(memory.mebibytes),
            log=str(log_file),
        )
    )
    from tfx_pipeline.runners.summary_view import print_summary

    print_summary(summary)
    if summary_json is not None:
        write_json(summary_json, summary.to_json())
    return summary


def dry_run(
    config: PipelineConfig, *, uncached: Collection[str] = (), verify: bool = False, rebuild_metadata: bool = False
) -> None:
    """Looks at the data as `dmf config check --data` does, and prints what `run` would do.

    Writes nothing but mirrors of object stores.

    Args:
        config, uncached, verify, rebuild_metadata: as of `run`.

    Raises:
        PipelineError: what `run` would refuse before its first step.
    """
    from tfx_pipeline.data.preview_view import look_at_data
    from tfx_pipeline.runners.forecast_view import print_forecast

    look_at_data(config)
    bring_versions(config.push_dir)
    set_up_libraries()
    # What libraries say has no place of its own, as nothing is written to the output folder.
    with tempfile.TemporaryDirectory(prefix="dmf-dry-run-") as folder, quiet_libraries(Path(folder, "log")):
        with console().status("loading libraries"):
            from tfx_pipeline.runners.forecast import forecast
        steps = forecast(config, Path(folder), uncached=uncached, verify=verify, rebuild_metadata=rebuild_metadata)
    print_forecast(steps, config)


def _run(config: PipelineConfig, uncached: Collection[str], verify: bool, rebuild_metadata: bool) -> Summary:
    with console().status("loading libraries"):
        from tfx_pipeline.runners.local import check_inputs, run_pipeline
        from tfx_pipeline.runners.metadata_store import set_aside
        from tfx_pipeline.runners.summary import build_summary
    check_inputs(config)
    bring_versions(config.push_dir)
    if rebuild_metadata:
        for path in set_aside(config):
            console().print(f"set aside: {path}", highlight=False, soft_wrap=True)
    summary = build_summary(config, run_pipeline(config, uncached=uncached, verify=verify))
    publish_versions(config.push_dir)
    return summary
