"""`dmf demo`: synthetic logs, the whole pipeline on them, and a ranking over gRPC by the model it pushed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from serving import contract
from serving.client import ClientOptions, RankingClient, RankingError
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.console import Console, console, quiet_libraries
from tfx_pipeline.errors import ConfigError, ModelError
from tfx_pipeline.runners.run import run
from tfx_pipeline.studies.worlds.attainable import AttainableSplit, attainable
from tfx_pipeline.studies.worlds.synthetic import write_demo_logs
from tfx_pipeline.trained.rank import Ranking, print_ranking, rank
from tfx_pipeline.trained.server_process import ServerProcess
from tfx_pipeline.trained.version import Version

if TYPE_CHECKING:
    from tfx_pipeline.runners.summary import AttainedSplit, Summary

_TOP = 10
_DEADLINE_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Answer:
    """A ranking that came over gRPC.

    Attributes:
        ranking: the best items.
        items: how many were ranked.
        milliseconds: that the call took.
        target: "host:port" of the server, which is stopped again.
    """

    ranking: Ranking
    items: int
    milliseconds: float
    target: str


@dataclasses.dataclass(frozen=True)
class DemoResult:
    """What a demo has done.

    Attributes:
        summary: of the run, with `attainable`: per split the AUC of the true probabilities and the share of its gain
            over 0.5 that the model attained.
        answer: of the pushed model to one user; None where none was pushed.
    """

    summary: Summary
    answer: Answer | None


def demo(config: PipelineConfig, *, summary_json: Path | None = None) -> DemoResult:
    """Writes the logs where the configuration looks for them, runs the pipeline, serves the model, ranks for one user.

    Args:
        config: the demo's configuration; its log, catalogue, users and embeddings lie in one folder.
        summary_json: also write the summary there.

    Raises:
        ConfigError: the configuration is not the demo's: its inputs lie in several folders.
        ModelError: the pushed model cannot be served, or does not answer.
    """
    directory = _data_directory(config)
    with console().status("writing synthetic logs"):
        write_demo_logs(directory)
    console().print(f"synthetic logs in {directory}", highlight=False, soft_wrap=True)

    def add_attainable(summary: Summary) -> Summary:
        cuts = summary.ingestion.cuts
        eval_from, test_from = (dt.datetime.fromisoformat(moment) for moment in (cuts.eval_from, cuts.test_from))
        best = attainable(directory, eval_from, test_from)
        found = {split: _attained(best[split], metrics.overall["auc"]) for split, metrics in summary.metrics.items()}
        return dataclasses.replace(summary, attainable=found)

    summary = run(config, summary_json=summary_json, extend=add_attainable)
    if summary.model_path is None:
        return DemoResult(summary, None)
    server, version = ServerProcess(config.push_dir, config.name), Version(Path(summary.model_path))
    return DemoResult(summary, rank_on_the_wire(server, directory, version))


def _attained(best: AttainableSplit, auc: float | None) -> AttainedSplit:
    from tfx_pipeline.runners.summary import AttainedSplit

    return AttainedSplit(best.auc, best.gauc, math.nan if auc is None else best.gain_share(auc))


def _data_directory(config: PipelineConfig) -> Path:
    paths = [config.data.interactions.path, config.data.items.path]
    paths += [config.data.users.path] if config.data.users else []
    paths += [modality.path for modality in config.content.modalities.values()]
    folders = {path.parent for path in paths}
    if len(folders) > 1:
        listing = ", ".join(sorted(map(str, folders)))
        raise ConfigError(f"dmf demo wants the demo's configuration, whose inputs lie in one folder, got {listing}")
    return folders.pop()


def rank_on_the_wire(server: ServerProcess, directory: Path, version: Version) -> Answer:
    """Serves a pushed model at a free port, ranks through the client, stops the server.

    The user is that of the log's last request, who has a history.

    Args:
        server: over the folder that the model was pushed to; not started.
        directory: of the demo's data.
        version: that was pushed.

    Raises:
        ModelError: it cannot be served, or does not answer.
    """
    user = pq.read_table(directory / "truth.parquet", columns=["user_id"])["user_id"][-1].as_py()
    asked, milliseconds = 0, 0.0

    def over_grpc(version: Version, request: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
        nonlocal asked, milliseconds
        who = {key: value for key, value in request.items() if key != contract.CANDIDATE_ITEM_ID}
        candidates = request[contract.CANDIDATE_ITEM_ID]
        begun = time.perf_counter()
        ranking = client.rank(who, candidates)
        asked, milliseconds = len(candidates), 1000 * (time.perf_counter() - begun)
        if ranking.model_version != version.number:
            raise ModelError(
                f"version {ranking.model_version} answered, expected {version.number}: see {version.path.parent}"
            )
        return {contract.SCORE: ranking.scores_in_request_order}

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
            ranked = rank(version, user, top=_TOP, scorer=over_grpc)
        except RankingError as error:
            raise ModelError(f"the server at {server.target} did not rank: {error}") from None
        return Answer(ranked, asked, milliseconds, server.target)


def print_answer(answer: Answer, target: Console) -> None:
    """The ranking, how it came, and how to have another one."""
    target.print()
    print_ranking(answer.ranking, target)
    base = Path(answer.ranking.model).parent
    for sentence in (
        f"{answer.items:,} items ranked over gRPC in {answer.milliseconds:.0f} ms by the local server at "
        f"{answer.target}, which is stopped again",
        f"to serve it: dmf serve {base}",
        f"to rank again: dmf rank --model {base} --user {answer.ranking.user} --top {_TOP}",
    ):
        target.print(sentence, highlight=False, soft_wrap=True)
