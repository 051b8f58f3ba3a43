"""`dmf synthesize` on a terminal."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd
import pytest

from tfx_pipeline.cli.synthesize import add
from tfx_pipeline.config import load_config
from tfx_pipeline.data.content.build import check_content_sources
from tfx_pipeline.data.logs.checks import check_sources
from tfx_pipeline.errors import ConfigError, DataError
from tfx_pipeline.studies.worlds import calibration
from tfx_pipeline.studies.worlds.parts import WORLDS

SMALL = ["--requests", "400", "--users", "60", "--items", "120"]


def synthesize(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["synthesize", *map(str, arguments)])
    return parsed.command(parsed)


def stamps(folder: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in sorted(folder.rglob("*"))}


def test_what_it_writes_can_be_run(tmp_path, capsys):
    folder = tmp_path / "world"
    assert synthesize(folder, "--world", "content", *SMALL) == 0
    printed = capsys.readouterr().out
    assert "test AUC that can be attained: 0." in printed
    for part, share in (("content", "0.400"), ("noise", "0.600"), ("taste", "0.000")):
        assert any(row.split("┃")[0].count(part) and share in row for row in printed.splitlines()), part
    assert f"dmf compare --config {folder / 'config.yaml'}\n" in printed
    config = load_config(folder / "config.yaml")
    check_sources(config)
    check_content_sources(config)
    assert (config.name, config.output) == ("content", folder / "output")
    assert (config.features.user_id, list(config.content.modalities)) == (None, ["text"])
    assert pd.read_parquet(folder / "data/truth.parquet")["request_id"].nunique() == 400

    before = stamps(folder)
    assert synthesize(folder, "--world", "content", *SMALL) == 0
    assert stamps(folder) == before


def test_the_demo_has_all_that_the_demo_uses(tmp_path):
    assert synthesize(tmp_path, "--world", "demo", *SMALL) == 0
    config = load_config(tmp_path / "config.yaml")
    check_sources(config)
    check_content_sources(config)
    assert config.features.user_id is not None
    assert list(config.content.modalities) == ["text", "image"]


def test_parts_and_seed_reach_the_generator(tmp_path, capsys):
    assert synthesize(tmp_path, "--part", "noise=0.5", "--part", "cold_items=0.1", "--seed", 3, *SMALL) == 0
    written = json.loads((tmp_path / "data/demo.json").read_text())
    assert written["seed"] == 3
    assert written["world"]["parts"]["noise"] == 0.5
    assert written["world"]["parts"]["cold_items"] == 0.1
    assert sum(written["measured"]["shares"].values()) == pytest.approx(1)


def test_shares_that_were_not_reached_are_a_warning(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(calibration, "_PLAYS", 1)
    synthesize(tmp_path / "mixed", *SMALL)
    measured = json.loads((tmp_path / "mixed/data/demo.json").read_text())["measured"]["shares"]
    wanted = WORLDS["mixed"].parts.shares
    part = max(wanted, key=lambda name: abs(measured[name] - wanted[name]))
    assert f"warning: the share of {part} is {measured[part]:.3f}, not {wanted[part]:g}: " in capsys.readouterr().out
    monkeypatch.undo()
    synthesize(tmp_path / "enough", *SMALL[2:], "--requests", "3000")
    # Its weights are given, not looked for.
    synthesize(tmp_path / "demo", "--world", "demo", *SMALL)
    assert "warning" not in capsys.readouterr().out


def test_an_edited_configuration_is_kept(tmp_path, capsys):
    synthesize(tmp_path, *SMALL)
    config = tmp_path / "config.yaml"
    config.write_text(config.read_text() + "# mine\n")
    synthesize(tmp_path, "--seed", "8", *SMALL)
    assert config.read_text().endswith("# mine\n")
    assert f"{config} is kept as it was; remove it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--world", "flat"], "there is no world 'flat'; worlds: demo, interaction, content, mixed"),
        (["--part", "charm=0.1"], "there is no part 'charm'; parts: taste, content,"),
        (["--part", "noise=2"], "the given shares must sum to at most 1, got 2"),
        (["--requests", "10"], "wanted users >= 20"),
        (["--requests", "3000000"], "wanted at most 2,592,000 requests, .* got 3,000,000"),
        (["--items", "50", "--part", "cold_items=0.9"], "wanted 4 x candidates = 32 items from the start, got 5 of 50"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        synthesize(tmp_path / "world", *SMALL, *arguments)
    assert not (tmp_path / "world").exists()


def test_a_share_that_is_no_number_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        synthesize(tmp_path, "--part", "noise")
    assert "must be NAME=SHARE as in content=0.2, got 'noise'" in capsys.readouterr().err


def test_other_files_are_not_replaced(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="not the demo's"):
        synthesize(tmp_path, *SMALL)
