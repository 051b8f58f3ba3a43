"""The model that a candidate is compared with where no metadata store can be asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from serving.contract import CONTRACT_FILE, ModelContract
from tfx_pipeline.components.pushed_baseline.executor import Executor
from tfx_pipeline.files.artifact_files import ABSENT

Find = Callable[[], standard_artifacts.Model]


@pytest.fixture
def pushed(tmp_path: Path) -> Path:
    return tmp_path / "pushed"


@pytest.fixture
def find(tmp_path: Path, pushed: Path) -> Find:
    """Returns find(): the artifact that the executor made of what was pushed."""
    write_model(tmp_path / "candidate" / "Format-Serving")
    candidate = standard_artifacts.Model()
    candidate.uri = str(tmp_path / "candidate")

    def run() -> standard_artifacts.Model:
        found = standard_artifacts.Model()
        found.uri = str(tmp_path / "found")
        properties = {"versions": str(pushed), "code_digest": "x"}
        Executor().Do({"candidate": [candidate]}, {"model": [found]}, properties)
        return found

    return run


def write_model(folder: Path, dtype: str = "string") -> None:
    """What the executor looks at of a model that reads one column of this type."""
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text("")
    (folder / "variables" / "variables.index").write_text(folder.name)
    contract = ModelContract(model="dmf", max_history=5, user_inputs={"age": dtype})
    (folder / CONTRACT_FILE).write_text(contract.to_json())


def test_the_newest_version_by_number_is_copied(find, pushed):
    write_model(pushed / "9")
    write_model(pushed / "10")
    (pushed / "11").mkdir()  # a version that is not there yet
    found = find()
    assert Path(found.uri, "Format-Serving", "variables", "variables.index").read_text() == "10"
    assert found.get_string_custom_property("pushed_version") == "10"
    assert not found.has_custom_property(ABSENT)


def test_a_version_that_reads_other_examples_is_passed_over(find, pushed):
    write_model(pushed / "1")
    write_model(pushed / "2", "float32")
    assert find().get_string_custom_property("pushed_version") == "1"


@pytest.mark.parametrize("there", [False, True])
def test_without_a_version_to_compare_with_the_artifact_says_so(find, pushed, there):
    if there:
        write_model(pushed / "1", "float32")
    found = find()
    assert found.get_int_custom_property(ABSENT) == 1
    assert [file.name for file in Path(found.uri).rglob("*") if file.is_file()] == [ABSENT]
