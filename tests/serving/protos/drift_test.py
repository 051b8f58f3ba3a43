"""The committed generated code is what the `.proto` files say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROTOS = ROOT / "serving" / "protos"


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A folder with freshly generated code; the command is the README's."""
    out = tmp_path_factory.mktemp("generated")
    sources = sorted(path.relative_to(ROOT).as_posix() for path in PROTOS.glob("*.proto"))
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        "-I",
        ".",
        f"--python_out={out}",
        f"--pyi_out={out}",
        *sources,
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    return out / "serving" / "protos"


def test_generated_code_is_up_to_date(generated):
    fresh = {path.name: path.read_text() for path in generated.iterdir()}
    committed = {path.name: path.read_text() for path in PROTOS.glob("*_pb2.py*")}
    assert sorted(committed) == sorted(fresh)
    assert [name for name in fresh if fresh[name] != committed[name]] == [], (
        "run the command of serving/protos/README.md"
    )


def test_every_proto_file_is_generated_and_has_a_source(generated):
    sources = sorted(path.name for path in PROTOS.glob("*.proto"))
    assert [f"{name.removesuffix('.proto')}_pb2.py" for name in sources] == sorted(
        p.name for p in generated.glob("*.py")
    )
    readme = (PROTOS / "README.md").read_text()
    assert [name for name in sources if f"`{name}`" not in readme] == []
