"""`dmf demo`: synthetic logs, the whole pipeline on them, and a ranking over gRPC by the model it pushed."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from serving import contract
from serving.client import ClientOptions, RankingClient, RankingError
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.console import console, quiet_libraries
from tfx_pipeline.errors import ConfigError, ModelError
from tfx_pipeline.runners.run import run
from tfx_pipeline.studies.worlds.attainable import attainable
from tfx_pipeline.studies.worlds.synthetic import write_demo_logs
from tfx_pipeline.trained.server_process import ServerProcess

_TOP = 10
_DEADLINE_SECONDS = 30.0


def demo(config: PipelineConfig, *, summary_json: Path | None = None) -> dict[str, Any]:
    """Writes the logs where the configuration looks for them, runs the pipeline, serves the model, ranks for one user.

    Args:
        config: the demo's configuration; its log, catalogue, users and embeddings lie in one folder.
        summary_json: also write the summary there.

    Returns:
        The run's summary with `attainable`: per split the AUC of the true probabilities and the share of its gain
        over 0.5 that the model attained.

    Raises:
        ConfigError: the configuration is not the demo's: its inputs lie in several folders.
        ModelError: the pushed model cannot be served, or does not answer.
    """
    directory = _data_directory(config)
    with console().status("writing synthetic logs"):
        write_demo_logs(directory)
    console().print(f"synthetic logs in {directory}", highlight=False, soft_wrap=True)

    def add_attainable(summary: dict[str, Any]) -> None:
        cuts = {name: dt.datetime.fromisoformat(time) for name, time in summary["ingestion"]["cuts"].items()}
        best = attainable(directory, cuts["eval_from"], cuts["test_from"])
        summary["attainable"] = {
            split: {
                "auc": best[split].auc,
                "gauc": best[split].gauc,
                "gain_share": best[split].gain_share(values["overall"]["auc"]),
            }
            for split, values in summary["metrics"].items()
        }

    summary = run(config, summary_json=summary_json, extend=add_attainable)
    if summary["pushed"]:
        rank_on_the_wire(ServerProcess(config.push_dir, config.name), directory, Path(summary["model_path"]))
    return summary


def _data_directory(config: PipelineConfig) -> Path:
    paths = [config.data.interactions.path, config.data.items.path]
    paths += [config.data.users.path] if config.data.users else []
    paths += [modality.path for modality in config.content.modalities.values()]
    folders = {path.parent for path in paths}
    if len(folders) > 1:
        listing = ", ".join(sorted(map(str, folders)))
        raise ConfigError(f"dmf demo wants the demo's configuration, whose inputs lie in one folder, got {listing}")
    return folders.pop()


def rank_on_the_wire(server: ServerProcess, directory: Path, model: Path) -> None:
    """Serves a pushed model at a free port, ranks through the client, stops the server, prints the ranking.

    The user is that of the log's last request, who has a history.

    Args:
        server: over the folder that the model was pushed to; not started.
        directory: of the demo's data.
        model: the version that was pushed.

    Raises:
        ModelError: it cannot be served, or does not answer.
    """
    from tfx_pipeline.trained.rank import print_ranking, rank

    user = pq.read_table(directory / "truth.parquet", columns=["user_id"])["user_id"][-1].as_py()
    answered = ""

    def over_grpc(version: Path, request: Mapping[str, Any]) -> np.ndarray:
        nonlocal answered
        who = {key: value for key, value in request.items() if key != contract.CANDIDATE_ITEM_ID}
        candidates = request[contract.CANDIDATE_ITEM_ID]
        begun = time.perf_counter()
        ranking = client.rank(who, candidates)
        milliseconds = 1000 * (time.perf_counter() - begun)
        if ranking.model_version != int(version.name):
            raise ModelError(f"version {ranking.model_version} answered, expected {version.name}: see {model.parent}")
        answered = f"{len(candidates):,} items ranked over gRPC in {milliseconds:.0f} ms"
        return ranking.scores_in_request_order

    options = ClientOptions(deadline=_DEADLINE_SECONDS, fill_missing=True)
    with (
        quiet_libraries(Path("/dev/null")),
        console().status("serving"),
        server,
        RankingClient(server.target, server.name, options) as client,
    ):
        try:
            # Opens the connection; what is timed is the ranking alone.
            client.metadata()
            ranked = rank(model, user, top=_TOP, scorer=over_grpc)
        except RankingError as error:
            raise ModelError(f"the server at {server.target} did not rank: {error}") from None
        answered = f"{answered} by the local server at {server.target}, which is stopped again"
    out = console()
    out.print()
    print_ranking(ranked, out)
    for sentence in (
        answered,
        f"to serve it: dmf serve {model.parent}",
        f"to rank again: dmf rank --model {model.parent} --user {user} --top {_TOP}",
    ):
        out.print(sentence, highlight=False, soft_wrap=True)
