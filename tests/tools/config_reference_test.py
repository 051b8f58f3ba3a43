from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tfx_pipeline.config import load_config
from tfx_pipeline.config.schema import PipelineConfig
from tools.config_reference import DEFAULTS, REFERENCE, ROOT, key_comments, reference


def documented() -> dict[str, list[str]]:
    """Key -> value, default and meaning, as docs/CONFIG.md has them."""
    rows = re.findall(r"^\| `([a-z_.A-Z]+)` \|(.*)\|$", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    return {key: [cell.strip() for cell in cells.split(" | ")] for key, cells in rows}


def test_the_file_is_up_to_date():
    assert REFERENCE.read_text(encoding="utf-8") == reference(), "run: python -m tools.config_reference"


def test_every_key_of_the_default_configuration_is_documented():
    keys = set(documented())
    missing = []

    def walk(path: str, value: object) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                key = f"{path}.{name}".lstrip(".")
                named = re.sub(r"(features\.user|modalities|thresholds)\.\w+", r"\1.NAME", key)
                walk(re.sub(r"features\.context\.\w+", "features.user.NAME", named), inner)
        elif path not in keys and not path.startswith("model.params."):
            missing.append(path)

    walk("", load_config(DEFAULTS).model_dump())
    assert missing == []


def test_defaults_and_bounds_are_those_of_the_schema():
    rows = documented()
    assert PipelineConfig.model_fields["history"].default.max_length == 50
    assert rows["history.max_length"] == ["integer at least 1 and at most 10000", "`50`", "the oldest are dropped"]
    assert rows["data.max_bad_fraction"][:2] == ["number at least 0 and at most 1", "`0.01`"]
    assert rows["training.learning_rate"][0] == "number above 0"
    assert rows["data.interactions.path"][1] == "required"
    assert rows["content.modalities.NAME.dtype"][0] == "`int8`, `float16`, `float32`"
    assert rows["alpha"][0] == "`0.5`"


@pytest.mark.parametrize(
    ("yaml", "comments"),
    [
        ("a: 1  # one", {"a": "one"}),
        ("a:  # section\n  b: 2 # two\n  # c: 3   # three\nd: 4", {"a": "section", "a.b": "two", "a.c": "three"}),
        ("# c: 3   # three\n# A sentence: not a key", {"c": "three"}),
        ("features:\n  user:\n    age: {kind: numeric} # years", {"features.user.NAME": "years"}),
        ("a: x\n  # loose remark", {}),
    ],
)
def test_comments_are_found_by_key(yaml, comments):
    assert key_comments(yaml) == comments


def test_the_check_tells_a_file_that_is_out_of_date(tmp_path):
    program = (
        "import pathlib, sys; from tools import config_reference as tool\n"
        "tool.REFERENCE = pathlib.Path(sys.argv.pop())\nsys.exit(tool.main())"
    )
    file = tmp_path / "CONFIG.md"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *arguments, str(file)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)

    assert run("--check").returncode == 1
    assert run().returncode == 0
    assert run("--check").returncode == 0
    assert list(tmp_path.iterdir()) == [file]
    file.write_text(file.read_text(encoding="utf-8").replace("`50`", "`51`"), encoding="utf-8")
    stale = run("--check")
    assert stale.returncode == 1
    assert "not up to date" in stale.stderr
