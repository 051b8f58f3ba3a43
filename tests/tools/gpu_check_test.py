"""The script for machines with a GPU runs, in its smallest sizes, on what is here."""

from __future__ import annotations

import json

import keras
import pytest

from tools import gpu_check

SMALLEST = ["--smallest", "--models", "target_attention", "--measured", "target_attention", "--seconds", "0.01"]


@pytest.mark.slow
def test_everything_is_checked_and_measured_and_written(tmp_path, capsys):
    file = tmp_path / "report.json"
    assert gpu_check.main([*SMALLEST, "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    assert report["backend"] == keras.backend.backend()
    kinds = [(row["check"], row.get("precision")) for row in report["rows"]]
    assert kinds == [("equal", None)] + [
        (check, precision) for precision in ("float32", "bfloat16") for check in ("step", "rank", "kept state")
    ]
    assert all(row["ms"] > 0 for row in report["rows"][1:])
    assert "7 rows, 0 wrong or failed" in capsys.readouterr().out


def test_a_model_that_differs_or_fails_is_wrong(monkeypatch, capsys):
    def broken(*arguments):
        raise MemoryError("the device is full\nat some place")

    monkeypatch.setattr(gpu_check, "_step", broken)
    monkeypatch.setattr(gpu_check, "_rank", broken)
    monkeypatch.setattr(gpu_check, "_kept", broken)
    assert gpu_check.main([*SMALLEST, "--tolerance", "-1"]) == 1
    printed = capsys.readouterr().out
    assert "failed MemoryError: the device is full" in printed
    assert "7 rows, 7 wrong or failed" in printed


def test_a_model_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        gpu_check.main(["--models", "dmff"])
    assert "no model dmff; models: " in capsys.readouterr().err
