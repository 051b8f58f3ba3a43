"""Files that are no configuration, and YAML that is made to harm: one line with its place, at once."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest

from tfx_pipeline.config import load_config
from tfx_pipeline.errors import ConfigError


def _refusal(path: Path | str) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(path)
    return str(error.value)


def _of_text(tmp_path: Path, text: str) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return _refusal(path)


def _bomb(width: int, depth: int, merge: bool) -> str:
    lines = [f"a0: &a0 {{{', '.join(f'k{n}: 1' for n in range(width))}}}"]
    for level in range(1, depth):
        inner = ", ".join([f"*a{level - 1}"] * width)
        lines.append(f"a{level}: &a{level} {{<<: [{inner}]}}" if merge else f"a{level}: &a{level} [{inner}]")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize(("width", "depth"), [(10, 9), (2, 60), (300, 4)])
def test_what_unfolds_without_end_is_refused_at_once(tmp_path: Path, width: int, depth: int, merge: bool) -> None:
    assert "aliases unfold to more than 50,000 values" in _of_text(tmp_path, _bomb(width, depth, merge))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [1, *a]\n", "line 1: an alias stands inside of what it stands for"),
        ("name: t\na: &a\n  b: {<<: *a}\n", "line 2: an alias stands inside"),
        ("name: t\nsplit: {dates: {eval_from: 2025-13-01}}\n", "line 2: '2025-13-01' cannot be read: month must be in"),
        ("name: t\nsplit: {dates: {eval_from: 2025-01-01 99:00:00}}\n", "line 2: '2025-01-01 99:00:00' cannot be read"),
        ("name: 0b\n", None),
        ("name: t\nsplit: 0x_\n", "line 2: '0x_' cannot be read"),
        ("name: !!int x\n", "line 1: 'x' cannot be read"),
        ("name: !!python/object:os.system x\n", "line 1: "),
        ("a: *nowhere\n", "line 1: "),
        ("[" * 5000, "nested too deeply"),
        ("a: '\0'\n", "not valid YAML"),
    ],
)
def test_every_refusal_of_yaml_has_its_place(tmp_path: Path, text: str, said: str | None) -> None:
    message = _of_text(tmp_path, text)
    assert said is None or said in message
    assert str(tmp_path / "config.yaml") in message


def test_what_is_no_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "is not a file" in _refusal(tmp_path / "pipe.yaml")
    assert "is not a file" in _refusal("/dev/zero")
    assert "is not a file" in _refusal("/")
    assert "File name too long" in _refusal(tmp_path / ("x" * 5000))
    assert "null byte" in _refusal("a\0b")
    (tmp_path / "long.yaml").write_text("#" * (2 << 20))
    assert "2,097,152 bytes; expected at most 1,048,576" in _refusal(tmp_path / "long.yaml")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("output=runs/out [v1]", "output: .*holds \\[ \\], a pattern to TFX"),
        ("data.items.path=ftp://host/items.csv", "data.items.path: ftp:// is not known; expected s3://, gs:// or a "),
        ("serving.push_dir=s3://", "serving.push_dir: 's3:' names no bucket; expected s3://BUCKET/"),
        ("data.items.path=s3:bucket/items.csv", "'s3:bucket/items.csv' names no bucket"),
        ("data.items.path=s3://bucket/../../items.csv", "data.items.path: .* leads out of its folder"),
        ("output=gs://bucket/out", "output: gs:// cannot stand here; give a local path"),
        (
            "encoders={text: {kind: keras, columns: [title]}}",
            "encoders.text: writes content.modalities.text.path, which must be a local file; got s3://bucket/own.parquet",
        ),
        (r"data.interactions.separator='\t'", r"is two characters; .* in double quotes: \"\\t\""),
        ("data.interactions.encoding=latin-99", "'latin-99' is no encoding of text"),
        ("data.interactions.encoding=base64", "'base64' is no encoding of text"),
        ("data.interactions.quoting=always", "'rfc4180' or 'none'"),
    ],
)
def test_values_of_tables_and_paths(override: str, said: str) -> None:
    root = Path(__file__).resolve().parents[3]
    stored = "content.modalities.text.path=s3://bucket/own.parquet"
    with pytest.raises(ConfigError, match=said):
        load_config(root / "pipeline_config.yaml", [stored, override])


def test_data_and_versions_on_a_store_have_the_path_of_their_mirror(tmp_path: Path, monkeypatch) -> None:
    root = Path(__file__).resolve().parents[3]
    monkeypatch.setenv("DMF_STORES", str(tmp_path))
    addresses = {"data.interactions.path": "s3://bucket/logs/*.parquet", "serving.push_dir": "gs://models/shop"}
    config = load_config(root / "pipeline_config.yaml", [f"{key}={address}" for key, address in addresses.items()])
    assert config.data.interactions.path == tmp_path / "s3/bucket/logs/*.parquet"
    assert config.push_dir == tmp_path / "gs/models/shop"
    assert type(config).model_validate_json(config.model_dump_json()) == config
    # Another machine has its mirror elsewhere: what is recorded is the address.
    recorded = config.model_dump(mode="json")
    assert recorded["data"]["interactions"]["path"] == "s3://bucket/logs/*.parquet"
    assert recorded["serving"]["push_dir"] == "gs://models/shop"
    assert recorded["data"]["items"]["path"] == str(config.data.items.path)
    monkeypatch.delenv("DMF_STORES")
    monkeypatch.delenv("HOME")
    with mock.patch("pathlib.Path.home", side_effect=RuntimeError), pytest.raises(ConfigError, match="set DMF_STORES"):
        load_config(root / "pipeline_config.yaml", ["data.items.path=s3://bucket/items.csv"])
