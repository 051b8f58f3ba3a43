"""The own model of examples/own_model through the whole pipeline, by the command line, as docs/MODELS.md shows it."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from serving import contract
from tfx_pipeline.cli import main

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "own_model"

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


# Forked from a process that has imported everything but the model: each begins within a second and knows of no other.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tfx_pipeline.runners.local", "tfx_pipeline.training.run_fn"])


def _command(arguments: tuple[str, ...], folder: str) -> None:
    os.chdir(folder)
    for name, number in (("printed", 1), ("errors", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os._exit(main(list(arguments)))


def _dmf(*arguments: str, cwd: Path) -> str:
    """What a command prints, in a process of its own and from a folder that has nothing to do with the run."""
    process = _PROCESSES.Process(target=_command, args=(arguments, str(cwd)))
    process.start()
    process.join(1800)
    assert process.exitcode == 0, (cwd / "errors").read_text()
    return (cwd / "printed").read_text()


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of one run, in a process of its own: this one must not know the module."""
    from tfx_pipeline.studies.worlds.synthetic import write_demo_logs

    folder = tmp_path_factory.mktemp("own_model")
    data = folder / "data"
    example = folder / "example"
    shutil.copytree(EXAMPLE, example, ignore=shutil.ignore_patterns("__pycache__"))
    write_demo_logs(data, users=150, items=120, requests=800, candidates=6)
    settings = {
        "output": folder / "out",
        "data.interactions.path": data / "interactions.parquet",
        "data.items.path": data / "items.csv",
        "content.modalities.text.path": data / "text_embeddings.parquet",
        "content.modalities.image.path": data / "image_embeddings.npz",
        "training.epochs": 2,
        "serving.warmup_candidates": [1, 20],
        "evaluation.thresholds.auc.min": 0.5,
    }
    command = ["run", "--config", str(example / "config.yaml"), "--summary-json", str(folder / "summary.json")]
    command += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    _dmf(*command, cwd=folder)
    return json.loads((folder / "summary.json").read_text())


def test_it_is_trained_passes_the_gate_and_is_pushed(summary):
    from serving.export.servable_check import check_servable

    assert summary["pushed"]
    assert summary["model"] == "two_tower"
    assert summary["metrics"]["test"]["overall"]["auc"] > 0.5
    model = Path(summary["model_path"])
    problems, figures = check_servable(model, 1e-5)
    assert problems == []
    assert figures["golden_requests"] >= 10
    state = contract.ModelContract.read(model).signatures[contract.USER_TOWER]["outputs"]
    assert state == {
        "user": contract.TensorContract("float32", (None, 16)),
        "content_text": contract.TensorContract("float32", (None, 32)),
        "content_image": contract.TensorContract("float32", (None, 32)),
    }


def test_a_process_without_the_module_ranks_with_it(summary, capsys):
    assert importlib.util.find_spec("two_tower") is None
    arguments = ["--user", "nobody", "--top", "5", "--json"]
    ranked = {}
    for history in ("i000002,i000003", ""):
        assert main(["rank", "--model", str(summary["model_path"]), *arguments, "--history", history]) == 0
        ranked[history] = json.loads(capsys.readouterr().out)["ranking"]
        scores = [entry["score"] for entry in ranked[history]]
        assert len(scores) == 5
        assert scores == sorted(scores, reverse=True)
    assert ranked["i000002,i000003"] != ranked[""]


def test_it_is_replayed_and_explained_by_its_keras_model(summary, tmp_path):
    model = summary["model_path"]
    replayed = json.loads(_dmf("replay", "--model", model, "--json", cwd=tmp_path))
    assert replayed["equal"]
    explained = json.loads(
        _dmf("explain", "--model", model, "--user", "u000001", "--candidate", "i000002", "--json", cwd=tmp_path)
    )
    assert [note for note in explained["notes"] if "cannot be loaded" in note] == []


def test_its_page_has_the_scores_of_the_test_split(summary, tmp_path):
    page = tmp_path / "page.html"
    _dmf("report", summary["output"], "--out", str(page), cwd=tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "There is no model to score the test split with" not in text
    assert "cannot be loaded" not in text
