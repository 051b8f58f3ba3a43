"""The pipeline writes by `tfx_pipeline.files`: nowhere else is a file renamed, or an address taken for a path.

A rule per habit that the room replaces. What stays outside is listed, with the reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = ROOT / "tfx_pipeline"

SCRATCH = "a scratch folder for the time of a measurement, which nobody else reads"
BEAM = "tables of logs lie wherever Beam reads, and Beam lists and opens them"
ALLOWED = {
    (
        "cli/__init__.py",
        "tempfile",
    ): "the log of a command that has no output folder",
    ("cli/worker.py", "tempfile"): "the log of a worker, which writes nothing to the output folder",
    ("console.py", "open to write"): "a log grows line by line while a command works",
    ("data/logs/reader.py", "another vocabulary"): BEAM,
    ("evaluation/retrieval/tower_retriever.py", "tempfile"): "an index is read from files, and this one is no output",
    ("runners/beam_files.py", "another vocabulary"): "how Beam compresses what its own transforms write",
    (
        "runners/kubeflow/mounts.py",
        "tempfile",
    ): "where a container has room; what is published goes to a store from there",
    ("runners/run.py", "tempfile"): "a dry run writes nothing to the output folder, not even its log",
    ("studies/bench/ingestion.py", "tempfile"): SCRATCH,
    ("studies/bench/retrieval.py", "tempfile"): SCRATCH,
    ("studies/bench/serving.py", "tempfile"): SCRATCH,
    ("studies/bench/serving_load.py", "tempfile"): SCRATCH,
    ("studies/bench/serving_models.py", "shutil"): SCRATCH,
    (
        "training/workers/launch.py",
        "tempfile",
    ): "what a worker and its process tell each other, for the time of a training",
}

VOCABULARIES = ("apache_beam.io.filesystem", "apache_beam.io.filesystems", "tfx.dsl.io", "fsspec")
WRITING_METHODS = ("rename", "renames", "write_text", "write_bytes")


def habits(source: str) -> Iterator[tuple[str, int]]:
    """What a file does by hand, with line numbers: a name for each habit that the room replaces."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            base = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                module = f"{base}.{alias.name}".strip(".")
                if module.partition(".")[0] in ("tempfile", "shutil"):
                    yield module.partition(".")[0], node.lineno
                elif any(f"{module}.".startswith(f"{vocabulary}.") for vocabulary in VOCABULARIES):
                    yield "another vocabulary", node.lineno
        elif isinstance(node, ast.Attribute) and node.attr == "gfile":
            yield "another vocabulary", node.lineno
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            method = called.rpartition(".")[2]
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            if (method in WRITING_METHODS and called != method) or called == "os.replace":
                yield "written or renamed by hand", node.lineno
            elif method == "open" and any(_writes(argument) for argument in arguments):
                yield "open to write", node.lineno
            elif method in ("Path", "PurePath") and any(_is_address(argument) for argument in arguments):
                yield "an address taken for a path", node.lineno


def _writes(argument: ast.expr) -> bool:
    """Whether it is a mode of `open` that writes."""
    mode = argument.value if isinstance(argument, ast.Constant) else None
    return isinstance(mode, str) and set(mode) <= set("rwaxbt+") and not set(mode).isdisjoint("wax+")


def _is_address(argument: ast.expr) -> bool:
    """Whether it is a URI by its name, or one of the addresses that TFX hands to user code in `fn_args`."""
    names = [
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(argument)
        if isinstance(node, ast.Attribute | ast.Name)
    ]
    return any(name == "fn_args" or name.lower().endswith("uri") for name in names)


def found() -> list[tuple[str, str, int]]:
    """Of every file outside the room: its name, the habit, the line."""
    return [
        (path.relative_to(PIPELINE).as_posix(), habit, line)
        for path in sorted(PIPELINE.rglob("*.py"))
        if path.parent != PIPELINE / "files"
        for habit, line in habits(path.read_text(encoding="utf-8"))
    ]


def test_files_are_written_by_one_room():
    wrong = [f"tfx_pipeline/{file}:{line}: {habit}" for file, habit, line in found() if (file, habit) not in ALLOWED]
    assert wrong == [], "use tfx_pipeline.files: writing, writing_folder, join, local"


def test_no_exception_outlives_its_reason():
    assert set(ALLOWED) - {(file, habit) for file, habit, _ in found()} == set()


@pytest.mark.parametrize(
    ("line", "habit"),
    [
        ("import tempfile", "tempfile"),
        ("from shutil import move", "shutil"),
        ("from apache_beam.io.filesystems import FileSystems", "another vocabulary"),
        ("from tfx.dsl.io import fileio", "another vocabulary"),
        ("tf.io.gfile.makedirs(folder)", "another vocabulary"),
        ("os.replace(partial, file)", "written or renamed by hand"),
        ("os.rename(partial, file)", "written or renamed by hand"),
        ("partial.rename(file)", "written or renamed by hand"),
        ("(folder / 'a.json').write_text('{}')", "written or renamed by hand"),
        ("open(file, 'w', encoding='utf-8')", "open to write"),
        ("file.open(mode='ab')", "open to write"),
        ("Path(artifact.uri)", "an address taken for a path"),
        ("Path(outputs[node][key][0].uri, 'report.json')", "an address taken for a path"),
        ("pathlib.Path(config.content_uri)", "an address taken for a path"),
        ("Path(os.path.dirname(fn_args.train_files[0]))", "an address taken for a path"),
    ],
)
def test_rules_see_what_they_forbid(line, habit):
    assert [name for name, _ in habits(line)] == [habit]


@pytest.mark.parametrize(
    "line",
    [
        "file.open(encoding='utf-8')",
        "open(file, 'rb')",
        "text.replace('a', 'b')",
        "write_text(file, text)",
        "Path(parsed.output)",
    ],
)
def test_rules_leave_the_rest_alone(line):
    assert list(habits(line)) == []
