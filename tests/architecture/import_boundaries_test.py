"""Who may import whom: DESIGN's table of folders, as rules that fail.

Two ways of looking: imports written anywhere in the code (also inside functions), and modules that are really loaded
in a clean process.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tools.import_graph import imported_modules

ROOT = Path(__file__).resolve().parents[2]
OWN = ("dmf_keras", "serving", "tfx_pipeline")
PIPELINE_ONLY = ("tfx", "apache_beam", "tensorflow_model_analysis", "tensorflow_transform", "pydantic")
HEAVY = ("keras", "tensorflow", "pandas", "pyarrow", *PIPELINE_ONLY[:4])
CLIENT_NEEDS = (
    "serving.client",
    "serving.contract",
    "serving.page_order",
    "serving.approximate_index",
    "serving.protos",
    "numpy",
    "grpc",
    "google.protobuf",
)
MAX_LINES = 450


def sources(*folders: str) -> list[Path]:
    return [
        path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")) if not path.stem.endswith("_pb2")
    ]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def within(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def outside(path: Path, allowed: tuple[str, ...]) -> list[str]:
    """Imports of the file that are neither the standard library nor one of `allowed`, nor lead to one of them."""
    return [
        f"{relative(path)}:{line}: {module}"
        for module, line in imported_modules(path, ROOT)
        if module.partition(".")[0] not in sys.stdlib_module_names
        and not within(module, allowed)
        and not any(name.startswith(f"{module}.") for name in allowed)
    ]


def loaded_by(statement: str) -> set[str]:
    """Names of the top-level modules that are loaded after `statement` in a clean process."""
    program = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split())


def violations(folder: str, allowed: tuple[str, ...]) -> list[str]:
    paths = sources(folder)
    assert paths, f"{folder} holds no code"
    return [import_ for path in paths for import_ in outside(path, allowed)]


def test_library_imports_keras_and_numpy_alone():
    found = violations("dmf_keras", ("dmf_keras", "keras", "numpy"))
    # TensorFlow's own kernels and what its replicas do between them are loaded where TensorFlow is the backend.
    own = ("dmf_keras/ops/tensorflow_kernels.py:", "dmf_keras/ops/tensorflow_replicas.py:")
    assert [import_ for import_ in found if not import_.startswith(own)] == []


def test_serving_knows_nothing_of_the_pipeline():
    allowed = ("serving", "dmf_keras", "keras", "tensorflow", "tensorflow_serving", "numpy", "grpc", "google.protobuf")
    allowed += ("usearch",)
    found = violations("serving", allowed)
    # Health and reflection are services of the local server; nothing else needs their packages.
    services = ("serving/local_server/server.py:", "serving/local_server/health.py:")
    assert [import_ for import_ in found if not import_.startswith(services)] == []
    assert violations("serving/local_server", (*allowed, "grpc_health", "grpc_reflection")) == []


def test_client_imports_grpc_protobuf_and_numpy_alone():
    assert violations("serving/client", CLIENT_NEEDS) == []


def test_client_holds_no_server():
    found = [
        f"{relative(path)}:{line}: {module}"
        for path in sources("serving/client")
        for module, line in imported_modules(path, ROOT)
        if within(module, ("http.server", "socketserver", "serving.testing", "serving.rest_server"))
    ]
    assert found == []


def test_fake_server_needs_what_the_client_needs():
    assert violations("serving/testing", ("serving.testing", "serving.rest_server", *CLIENT_NEEDS)) == []
    assert outside(ROOT / "serving" / "rest_server.py", ()) == []
    assert loaded_by("import serving.testing").isdisjoint({*HEAVY, "dmf_keras", "tensorflow_serving"})


def test_load_generator_needs_what_the_client_needs():
    assert violations("serving/load", ("serving.load", *CLIENT_NEEDS)) == []


def test_client_loads_nothing_else():
    names = [relative(path)[: -len(".py")].replace("/", ".") for path in sources("serving/client", "serving/protos")]
    for statement in ("import serving.client", "; ".join(f"import {n.removesuffix('.__init__')}" for n in names)):
        loaded = loaded_by(statement)
        assert {"grpc", "numpy", "serving"} <= loaded
        assert loaded.isdisjoint({*HEAVY, "dmf_keras", "tensorflow_serving", "ml_dtypes", "cryptography"})
    # What only tests of a client need is not loaded with it.
    program = (
        "import serving.client, sys\n"
        "servers = ('http.server', 'serving.testing', 'serving.rest_server')\n"
        "print(*(name for name in sys.modules if name.startswith(servers) or '.fake' in name))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_contract_is_plain_constants():
    assert outside(ROOT / "serving" / "contract.py", ()) == []


def test_code_imports_neither_tests_nor_tools():
    found = [
        f"{relative(path)}:{line}: {module}"
        for path in sources(*OWN)
        for module, line in imported_modules(path, ROOT)
        if within(module, ("tests", "tools"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "module",
    [
        "tfx_pipeline",
        "tfx_pipeline.cli",
        "tfx_pipeline.config",
        "tfx_pipeline.data.examples.raw_features",
        "serving",
        "serving.contract",
    ],
)
def test_module_is_light(module):
    assert loaded_by(f"import {module}").isdisjoint(HEAVY)


def test_command_line_help_is_light():
    statement = "import tfx_pipeline.cli\ntry:\n    tfx_pipeline.cli.main(['--help'])\nexcept SystemExit:\n    pass"
    assert loaded_by(statement).isdisjoint(HEAVY)


def test_library_itself_loads_nothing():
    assert loaded_by("import dmf_keras").isdisjoint({*HEAVY, "numpy"})


def test_library_runs_without_the_pipelines_packages():
    names = [relative(path)[: -len(".py")].replace("/", ".") for path in sources("dmf_keras")]
    statement = "\n".join(f"import {name.removesuffix('.__init__')}" for name in names)
    # A blocked name cannot be imported, as after the plain install. TensorFlow stays: it is Keras's backend here.
    blocked = f"import sys\nfor name in {PIPELINE_ONLY!r}:\n    sys.modules[name] = None\n{statement}"
    assert {"keras", "dmf_keras"} <= loaded_by(blocked)


def test_files_are_short_enough_to_read():
    lengths = {
        relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources(*OWN, "tools", "tests")
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}, "split these by subject"


def test_no_init_in_test_folders():
    # With one, pytest would import tests/serving in place of the real package.
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_every_test_file_is_collected():
    helpers = [path for path in sources("tests") if not path.name.endswith("_test.py")]
    with_tests = [
        relative(path)
        for path in helpers
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert with_tests == []


def test_rules_see_what_they_forbid(tmp_path, monkeypatch):
    (tmp_path / "dmf_keras").mkdir()
    path = tmp_path / "dmf_keras" / "planted.py"
    path.write_text(
        "import os\nimport keras\nfrom keras import ops\n\n\n"
        "def late():\n    from tensorflow import nn\n    from . import sibling\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert outside(path, ("dmf_keras", "keras")) == [
        "dmf_keras/planted.py:7: tensorflow",
        "dmf_keras/planted.py:7: tensorflow.nn",
    ]
    assert ("dmf_keras.sibling", 8) in set(imported_modules(path, ROOT))
