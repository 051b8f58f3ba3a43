"""Inputs that failed once, as they were given: what becomes of each. Their kinds are tested beside what reads them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from serving.client import BadRequest, RankingClient, User
from serving.testing import FakeRankingServer
from tests.conftest import SHARED_DATA
from tfx_pipeline.config import load_config
from tfx_pipeline.errors import ConfigError, DataError
from tfx_pipeline.files.reading import read_json

CASES = SHARED_DATA.parent / "cases"
ROWS = 960

Given = Callable[[str], Path]


@pytest.fixture
def given(tmp_path: Path) -> Given:
    """given(name): a copy of one case; skips the test where the cases are absent."""

    def copy(name: str) -> Path:
        if not (CASES / name).is_dir():
            pytest.skip(f"the case {name} is not on this machine ({CASES / name} is absent)")
        target = tmp_path / name
        shutil.copytree(CASES / name, target, symlinks=True, copy_function=shutil.copyfile)
        for path in (target, *target.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        return target

    return copy


def _ingest(config_file: Path, *overrides: str) -> dict:
    """Runs the pipeline until its examples are written, and returns the report of what was read."""
    from tfx_pipeline.runners.local import check_inputs, run_pipeline

    config = load_config(config_file, overrides=overrides)
    check_inputs(config)
    run_pipeline(config, until="BehaviorLogExampleGen")
    (report,) = config.output.rglob("report.json")
    return read_json(report)


@pytest.mark.parametrize(
    "name",
    [
        "bigquery_utc",
        "brackets_in_folder",
        "format_given_for_folder",
        "jsonl_hour_without_key",
        "jsonl_nan_unused_column",
        "tsv_leading_quote",
        "unused_duplicate_headers",
    ],
)
def test_every_row_is_read(name: str, given: Given) -> None:
    report = _ingest(given(name) / "c.yaml")
    assert report["rows_read"] == ROWS
    assert sum(report["quarantined"].values()) == 0


def test_a_linked_day_is_read(given: Given) -> None:
    folder = given("symlinked_day")
    link = folder / "logs/day2"
    if not link.is_symlink():
        # Copies of the case may have lost the link and have kept what it says.
        target = link.read_text().strip()
        link.unlink()
        link.symlink_to(target)
    assert _ingest(folder / "c.yaml")["rows_read"] == ROWS


def test_a_profile_column_may_have_any_name(given: Given) -> None:
    feature = 'features.user={"level": {kind: categorical, column: "new_user_class_level "}}'
    report = _ingest(given("profile_column_with_space") / "c.yaml", feature)
    assert report["rows_read"] == ROWS


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("all_items_unknown", r'impressions are of items that the catalogue lacks .*"0\.0".*trailing \.0'),
        ("parquet_twice", r"log\.parquet: several columns are named 'clicked'"),
        ("profiles_unmatched", r"(?s)profile.*leading zeros"),
    ],
)
def test_stops_and_says_why(name: str, message: str, given: Given) -> None:
    with pytest.raises(DataError, match=message):
        _ingest(given(name) / "c.yaml")


def test_an_output_with_brackets_is_refused_by_name(given: Given) -> None:
    with pytest.raises(ConfigError, match=r"output: .*\[v1\]"):
        load_config(given("brackets_in_output") / "c.yaml")


def test_titles_are_printed_as_they_are(given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    from tfx_pipeline.console import console

    titles = pd.read_csv(given("rank_markup") / "items_with_brackets.csv")["title"].tolist()
    assert any("[/]" in title for title in titles)
    for title in titles:
        console().print(title)
    assert capsys.readouterr().err.splitlines() == titles


@pytest.mark.parametrize(
    "user", [User("u\ud83d", [], {"age": 1.0}), User("u", [], {"age": float("inf")}), User("u", [], {"age": 1e300})]
)
def test_what_a_caller_passes_wrong_is_a_bad_request(user: User) -> None:
    fake = FakeRankingServer("m", features={"age": "float32"})
    with fake as server, RankingClient(server.target, "m") as client, pytest.raises(BadRequest):
        client.rank(user, ["a"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "backend", "good"),
    [
        ("jax_empty_history", "jax", r"\(2, [03](, \d+)*\)|\(2, 1(, \d+)*\)"),
        ("nan_in_padding", "tensorflow", r"same=True finite=True empty history zero=True"),
    ],
)
def test_layers(name: str, backend: str, good: str, given: Given) -> None:
    program = given(name) / "repro.py"
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    result = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in result.stdout.splitlines() if not line.startswith("backend")]
    assert result.returncode == 0, result.stderr
    assert len(lines) > 10
    assert all(re.search(good, line) for line in lines), result.stdout
