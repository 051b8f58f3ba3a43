"""`Version`: which one is found, what lies beside it, and a sentence where that is not so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serving import contract
from serving.contract import ModelContract
from tests.stores import s3_server
from tfx_pipeline.errors import ModelError
from tfx_pipeline.files.mirror import ROOT_VARIABLE
from tfx_pipeline.files.object_store import publish
from tfx_pipeline.trained.version import Version

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def model(trained, tmp_path) -> Path:
    """A copy of the exported model as version 7 of a served model."""
    version = tmp_path / "shop" / "7"
    shutil.copytree(trained / "Format-Serving", version)
    return version


@pytest.fixture
def sketch(tmp_path) -> Path:
    """What looks like a version from outside, without TensorFlow."""
    version = tmp_path / "shop" / "3"
    (version / "assets").mkdir(parents=True)
    (version / "saved_model.pb").touch()
    return version


def test_the_newest_whole_version_is_taken(model):
    for name in ("6", "70x", "8", ".incoming-9"):
        (model.parent / name).mkdir()
    (model.parent / "6" / "saved_model.pb").touch()
    (model.parent / ".incoming-9" / "saved_model.pb").touch()
    assert Version.find(model.parent).path == model
    shutil.copytree(model, model.parent / "10")
    assert Version.find(model.parent).path.name == "10"
    assert Version.find(model).path == model


def test_a_version_on_a_store_is_fetched(sketch, tmp_path, monkeypatch):
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "stores"))
    with s3_server("found"):
        publish(sketch, "s3://found/shop/3", last="saved_model.pb")
        publish(sketch / "assets", "s3://found/shop/4", last="")
        # As a command line has it.
        for address in (Path("s3://found/shop"), Path("s3://found/shop/3")):
            found = Version.find(address)
            assert found.path == tmp_path / "stores/s3/found/shop/3"
            assert found.number == 3
            assert (found.path / "saved_model.pb").is_file()
            shutil.rmtree(tmp_path / "stores")
        with pytest.raises(ModelError, match="holds no exported model"):
            Version.find(Path("s3://found/other"))


def test_no_version_is_a_sentence_with_what_is_there(tmp_path):
    with pytest.raises(ModelError, match=f"{tmp_path} holds no exported model .* there is: nothing"):
        Version.find(tmp_path)
    with pytest.raises(ModelError, match="there is: no such folder"):
        Version.find(tmp_path / "no")


def test_the_number_is_the_name_of_the_folder(tmp_path):
    assert Version(tmp_path / "1795802812").number == 1795802812
    assert Version(tmp_path / "Format-Serving").number is None


def test_items_are_those_of_the_catalogue_and_of_the_vocabulary(model):
    version = Version(model)
    assert version.has_items
    assert set(version.items()) == {f"i{number}" for number in range(40)}
    assert set(version.item_vocabulary()) < set(version.items())
    impressions, has_content = version.item_facts(["i1", "i38", "never seen"])
    assert [count > 0 for count in impressions] == [True, False, False]
    assert has_content.tolist() == [True, False, False]


def test_files_that_are_not_there_are_named(sketch):
    version = Version(sketch)
    assert not version.has_items
    with pytest.raises(ModelError, match=rf"{sketch}/assets/item_ids\.txt cannot be read: "):
        version.items()
    (sketch / "assets/item_ids.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(ModelError, match=rf"{sketch}/assets/item_ids\.txt cannot be read: .*utf-8"):
        version.items()
    with pytest.raises(ModelError, match=r"item_facts\.parquet"):
        version.item_facts(["a"])


def test_the_contract_is_read_once(sketch):
    file = sketch / contract.CONTRACT_FILE
    file.write_text(ModelContract("dmf", 50, {"age": "float32"}).to_json())
    version = Version(sketch)
    assert (version.contract.model, version.contract.max_history) == ("dmf", 50)
    file.unlink()
    assert version.contract.user_inputs == {"age": "float32"}
    with pytest.raises(ModelError, match=f"{sketch} has no signature_contract.json: a SavedModel, but no ranking"):
        _ = Version(sketch).contract


def test_a_graph_that_cannot_be_loaded_is_a_sentence(model):
    (model / "saved_model.pb").write_bytes(b"no model \xff\x00" * 20)
    version = Version(model)
    with pytest.raises(ModelError, match=f"{model} cannot be loaded as a ranking model: "):
        version.load()
    with pytest.raises(ModelError, match=f"{model} cannot be loaded as a ranking model: "), version.open():
        pass


def test_what_the_open_model_refuses_is_a_sentence(model):
    refused = pytest.raises(ModelError, match=f"{model} cannot be loaded as a ranking model: .no signature 'walk'")
    with refused, Version(model).open() as servable:
        servable.run("walk", {})
    # What else goes wrong meanwhile is not the model's.
    with pytest.raises(ZeroDivisionError), Version(model).open():
        _ = 1 / 0


def test_known_without_logs_is_what_was_given(sketch):
    version = Version(sketch)
    for history, used, source in ((None, [], "none: the logs are not here; give --history"), (["a"], ["a"], "given")):
        known = version.known_of("u1", history)
        assert (known.snapshot.history, known.history_source) == (used, source)
        assert (known.snapshot.columns, known.titles) == ({}, {})


def test_looking_at_a_version_loads_no_tensorflow(sketch):
    (sketch / "assets/item_ids.txt").write_text("a\nb\n")
    (sketch / contract.CONTRACT_FILE).write_text(ModelContract("dmf", 50, {}).to_json())
    program = (
        "import json, sys; from pathlib import Path; from tfx_pipeline.trained.version import Version\n"
        f"version = Version.find(Path({str(sketch.parent)!r}))\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'pyarrow', 'tfx'} & set(sys.modules)\n"
        "print(json.dumps([version.number, version.items(), version.contract.model, sorted(heavy)]))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == [3, ["a", "b"], "dmf", []]
