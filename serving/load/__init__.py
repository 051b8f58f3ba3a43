"""Load on a ranking server through the client: how fast it answers, how it fails, and whether its scores are right.

Needs what the client needs, never TensorFlow.
"""

from serving.load.generator import CallMode, ExpectedScores, LoadOptions, Progress, run_load
from serving.load.memory import MemorySampler
from serving.load.report import LoadReport, WireTotals
from serving.load.requests import (
    RankRequest,
    draw_requests,
    golden_ages,
    golden_columns,
    golden_histories,
    golden_users,
)
from serving.load.swaps import VersionSwapper, publish_version

__all__ = [
    "run_load",
    "LoadOptions",
    "CallMode",
    "ExpectedScores",
    "Progress",
    "LoadReport",
    "WireTotals",
    "RankRequest",
    "draw_requests",
    "golden_ages",
    "golden_columns",
    "golden_histories",
    "golden_users",
    "VersionSwapper",
    "publish_version",
    "MemorySampler",
]
