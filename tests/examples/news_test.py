"""The news example, as a reader runs it: a log in the public form of MIND through the whole pipeline."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tfx_pipeline.cli import main

ROOT = Path(__file__).resolve().parents[2]
SCRIPT, CONFIG = ROOT / "examples" / "news_log.py", ROOT / "examples" / "news.yaml"


def _write_log(folder: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(folder), "--users", "60", "--news", "80", "--rows", "600"]
    subprocess.run(command, check=True, timeout=600)


def test_the_log_has_the_public_form_and_one_seed_gives_one_log(tmp_path: Path) -> None:
    _write_log(tmp_path / "a")
    _write_log(tmp_path / "b")
    for name in ("behaviors.tsv", "news.tsv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    rows = (tmp_path / "a" / "behaviors.tsv").read_text().splitlines()
    form = re.compile(r"\d+\tU\d+\t\d\d/\d\d/2019 \d{1,2}:\d\d:\d\d [AP]M\t(N\d+( N\d+)*)?\tN\d+-[01]( N\d+-[01])+")
    assert len(rows) == 600 and all(form.fullmatch(row) for row in rows)
    news = (tmp_path / "a" / "news.tsv").read_text().splitlines()
    assert len(news) == 80 and all(len(row.split("\t")) == 8 for row in news)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the log, and a run of one epoch on it."""
    folder = tmp_path_factory.mktemp("news")
    _write_log(folder / "data")
    settings = {
        "output": folder / "out",
        "data.interactions.path": folder / "data" / "behaviors.tsv",
        "data.items.path": folder / "data" / "news.tsv",
        "training.epochs": 1,
        "model.params": "{id_dim: 8, hidden_units: [16]}",
        "serving.warmup_candidates": [1, 20],
        "evaluation.thresholds": "{request_auc: {min: 0.2}}",
    }
    command = ["run", "--config", str(CONFIG), "--summary-json", str(folder / "summary.json")]
    assert main([*command, *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))]) == 0
    return folder


@pytest.fixture(scope="module")
def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.e2e
@pytest.mark.slow
def test_it_is_read_as_it_is_and_pushed(folder: Path, summary: dict[str, Any]) -> None:
    assert summary["pushed"]
    ingestion = summary["ingestion"]
    rows = [row.split("\t") for row in (folder / "data" / "behaviors.tsv").read_text().splitlines()]
    impressions = sum(len(row[4].split()) for row in rows)
    assert ingestion["rows_read"] == 600 and ingestion["lists"] == {"rows": 600, "impressions": impressions}
    assert ingestion["rows_kept"] == impressions and not any(ingestion["quarantined"].values())
    assert ingestion["history"]["given"]["events"] == sum(len(row[3].split()) for row in rows)
    assert not ingestion["history"]["given"]["with_times"] and not any(ingestion["audit"]["violations"].values())
    assert sum(split["requests"] for split in ingestion["splits"].values()) == 600
    assert {"mrr", "request_auc", "ndcg@10"} <= set(summary["metrics"]["test"]["overall"])


@pytest.mark.e2e
@pytest.mark.slow
def test_a_user_is_ranked_with_the_history_of_the_last_row(folder: Path, summary: dict[str, Any], capsys) -> None:
    *_, last = (folder / "data" / "behaviors.tsv").read_text().splitlines()
    _, user, _, history, _ = last.split("\t")
    command = ["rank", "--model", summary["model_path"], "--user", user, "--top", "3", "--json"]
    assert main(command) == 0
    ranked = json.loads(capsys.readouterr().out)
    assert ranked["history"] == history.split()[-50:] and len(ranked["ranking"]) == 3


@pytest.mark.e2e
@pytest.mark.slow
def test_lists_with_and_without_labels_are_scored(folder: Path, summary: dict[str, Any], capsys) -> None:
    rows = (folder / "data" / "behaviors.tsv").read_text().splitlines()[-50:]
    (folder / "last.tsv").write_text("\n".join(rows) + "\n")
    (folder / "unlabelled.tsv").write_text("\n".join(re.sub(r"-[01]\b", "", row) for row in rows) + "\n")
    scores = []
    for name in ("last", "unlabelled"):
        output = folder / f"{name}.parquet"
        log = str(folder / f"{name}.tsv")
        assert main(["score", log, "--model", summary["model_path"], "-o", str(output), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["rows_read"] == 50
        scores.append(pd.read_parquet(output))
    labelled, unlabelled = scores
    pairs = [pair.rpartition("-") for row in rows for pair in row.split("\t")[4].split()]
    assert labelled["item_id"].tolist() == unlabelled["item_id"].tolist() == [item for item, _, _ in pairs]
    assert labelled["label"].tolist() == [int(label) for _, _, label in pairs] and "label" not in unlabelled
    np.testing.assert_array_equal(labelled["score"], unlabelled["score"])


@pytest.mark.e2e
@pytest.mark.slow
def test_the_page_says_what_is_given(folder: Path, summary: dict[str, Any]) -> None:
    assert main(["report", str(folder / "out")]) == 0
    text = (folder / "out" / "report.html").read_text()
    assert "What became of the impressions in these lists" in text
    assert "Histories are given by the log, without times" in text
