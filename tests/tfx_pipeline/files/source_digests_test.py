"""Import closures on small trees of sources: what they follow, what they leave out."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tfx_pipeline.files import source_digests
from tfx_pipeline.files.source_digests import code_digest, import_closure

SOURCES = {
    "dmf_keras/__init__.py": """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from dmf_keras.model import Model
            from dmf_keras.other import Other
        def __getattr__(name): ...
        """,
    "dmf_keras/model.py": "class Model: ...",
    "dmf_keras/other.py": "class Other: ...",
    "serving/__init__.py": "",
    "serving/contract.py": "",
    "serving/export/__init__.py": "from serving.contract import NAME",
    "serving/export/writer.py": "",
    "tfx_pipeline/__init__.py": "",
    "tfx_pipeline/data/__init__.py": "from tfx_pipeline.data import names",
    "tfx_pipeline/data/names.py": "",
    "tfx_pipeline/data/table.py": "from . import rows\nfrom ..files.writing import write\nfrom .names import NAME",
    "tfx_pipeline/data/rows.py": "",
    "tfx_pipeline/files/__init__.py": "",
    "tfx_pipeline/files/writing.py": "",
}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Returns tree(text): `tfx_pipeline.entry` of that text beside `SOURCES`, and the folder."""

    def write(entry: str) -> Path:
        for name, text in {**SOURCES, "tfx_pipeline/entry.py": entry}.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(text))
        return tmp_path

    monkeypatch.setattr(source_digests, "ROOT", tmp_path)
    return write


def _closure(folder: Path, *ignore: str) -> set[str]:
    """Files of the entry's closure beside its own and its package's."""
    files = import_closure(["tfx_pipeline.entry"], ignore)
    assert files == sorted(files)
    names = {file.relative_to(folder).as_posix() for file in files}
    assert {"tfx_pipeline/__init__.py", "tfx_pipeline/entry.py"} <= names
    return names - {"tfx_pipeline/__init__.py", "tfx_pipeline/entry.py"}


TABLE = {
    *("tfx_pipeline/data/__init__.py", "tfx_pipeline/data/names.py", "tfx_pipeline/data/table.py"),
    *("tfx_pipeline/data/rows.py", "tfx_pipeline/files/__init__.py", "tfx_pipeline/files/writing.py"),
}
WRITING = {"tfx_pipeline/files/__init__.py", "tfx_pipeline/files/writing.py"}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("import os, numpy\nfrom keras import ops", set()),
        ("import tfx_pipeline.files.writing", WRITING),
        ("from tfx_pipeline.files import writing", WRITING),
        ("from tfx_pipeline.files.writing import write as write_file", WRITING),
        ("from .files import writing", WRITING),
        # Relative imports of what is imported, and the packages' own `__init__`.
        ("from tfx_pipeline.data.table import read", TABLE),
        (
            "import serving.export.writer",
            {"serving/__init__.py", "serving/contract.py", "serving/export/__init__.py", "serving/export/writer.py"},
        ),
        ("def late():\n    if True:\n        from tfx_pipeline.files import writing", WRITING),
        ("class Late:\n    async def read(self):\n        from tfx_pipeline.files import writing", WRITING),
        ("try:\n    import fast\nexcept ImportError:\n    import tfx_pipeline.files.writing", WRITING),
        ("with open('x'):\n    pass\nfor i in []:\n    pass\nelse:\n    import tfx_pipeline.files.writing", WRITING),
        ("match 1:\n    case 1:\n        import tfx_pipeline.files.writing", WRITING),
    ],
)
def test_imports_are_followed(tree, entry, expected):
    assert _closure(tree(entry)) == expected


@pytest.mark.parametrize("test", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_what_only_type_checkers_see_is_left_out(tree, test):
    entry = f"if {test}:\n    import serving.contract\nelse:\n    import tfx_pipeline.files.writing"
    assert _closure(tree(entry)) == WRITING


def test_a_name_that_a_package_loads_on_first_use_is_followed_to_its_module(tree):
    assert _closure(tree("from dmf_keras import Model")) == {"dmf_keras/__init__.py", "dmf_keras/model.py"}
    assert _closure(tree("def late():\n    from dmf_keras import Other")) == {
        "dmf_keras/__init__.py",
        "dmf_keras/other.py",
    }


def test_ignored_modules_are_left_out_with_what_only_they_import(tree):
    folder = tree("import tfx_pipeline.data.table\nimport serving.contract")
    serving = {"serving/__init__.py", "serving/contract.py"}
    assert _closure(folder) == TABLE | serving
    assert _closure(folder, "tfx_pipeline.data") == serving
    assert _closure(folder, "tfx_pipeline.files.writing") == (TABLE | serving) - WRITING
    # By whole names: not every module whose name begins so.
    assert _closure(folder, "tfx_pipeline.data.tab") == TABLE | serving
    # An entry is in its own closure, whatever is left out of others'.
    assert _closure(folder, "tfx_pipeline.entry", "tfx_pipeline.data", "serving") == set()


def test_an_entry_that_does_not_exist_is_refused(tree):
    folder = tree("")
    with pytest.raises(ValueError, match=f"tfx_pipeline.entrance: no such module below {folder}"):
        import_closure(["tfx_pipeline.entry", "tfx_pipeline.entrance"])


def test_the_digest_knows_contents_and_names_of_the_closure_alone(tree):
    folder = tree("import tfx_pipeline.files.writing")
    before = code_digest(["tfx_pipeline.entry"])
    assert len(before) == 16
    (folder / "serving" / "contract.py").write_text("changed = True")
    assert code_digest(["tfx_pipeline.entry"]) == before
    (folder / "tfx_pipeline" / "files" / "writing.py").write_text("changed = True")
    changed = code_digest(["tfx_pipeline.entry"])
    assert changed != before
    (folder / "tfx_pipeline" / "files" / "writing.py").rename(folder / "tfx_pipeline" / "files" / "saving.py")
    (folder / "tfx_pipeline" / "entry.py").write_text("import tfx_pipeline.files.saving ")
    assert code_digest(["tfx_pipeline.entry"]) not in (before, changed)


def test_a_file_that_changed_between_two_calls_is_read_again(tree):
    folder = tree("")
    assert _closure(folder) == set()
    (folder / "tfx_pipeline" / "entry.py").write_text("import tfx_pipeline.files.writing")
    assert _closure(folder) == WRITING
