"""`dmf content refresh` on a pushed model with two towers and an approximate index, and what it refuses."""

from __future__ import annotations

import collections
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from serving import contract
from serving.approximate_index import ApproximateIndex, read_record
from serving.contract import ModelContract
from serving.export.metadata import read_json
from serving.export.servable import Servable, request_arrays, retrieval_arrays, user_arrays
from serving.export.warmup import read_warmup
from tests.tfx_pipeline.trained.refresh.conftest import Shop, make_shop
from tfx_pipeline.cli import exit_status, main
from tfx_pipeline.errors import ConfigError, DataError, ModelError
from tfx_pipeline.trained.inspection import inspect_model
from tfx_pipeline.trained.refresh import refresh as refresh_module
from tfx_pipeline.trained.refresh.refresh import refresh
from tfx_pipeline.trained.replay.replay import replay
from tfx_pipeline.trained.version import Version

USER = {"user_id": "u1", "gender": "f", "age": 30.0, "income": 1.0}
NEW = np.linspace(-1, 1, 9, dtype=np.float32)


class Refreshed(NamedTuple):
    """A shop, its versions before and after, and what the command wrote."""

    shop: Shop
    before: Path
    after: Path
    record: dict


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory, tiny_world, recommending) -> Refreshed:
    """i3 has other content, i5 and i20 are gone, `n1` and the bare `n2` are there.

    Their ids fall into the bucket of ids outside the catalogue.
    """
    shop = make_shop(tmp_path_factory.mktemp("refresh") / "shop", tiny_world, recommending / "Format-Serving")
    shop.embeddings["text"] |= {"i3": NEW[::-1].copy(), "n1": NEW}
    shop.embeddings["image"]["n1"] = np.ones(4, np.float32)
    shop.items = [item for item in shop.items if item not in ("i5", "i20")] + ["n1", "n2"]
    shop.write()
    (shop.base / ".incoming-0123abcd-9").mkdir()  # of a refresh that was killed
    written = shop.folder / "record.json"
    assert main(["content", "refresh", "--config", str(shop.config_file), "--json", str(written)]) == exit_status.OK
    record = json.loads(written.read_text())
    return Refreshed(shop, shop.base / "7", shop.base / record["version"], record)


@pytest.fixture(scope="module")
def served(refreshed) -> Iterator[tuple[Servable, Servable]]:
    """Both versions, as a server loads them."""
    before, after = (Servable(version, optimised=False) for version in refreshed[1:3])
    with before, after:
        yield before, after


@pytest.fixture(scope="module")
def scores(refreshed, served):
    """scores(history, candidates): of the version before and of that after."""
    model_contract = ModelContract.read(refreshed.after)

    def of(history: list[str], candidates: list[str]) -> list[np.ndarray]:
        request = {**USER, contract.HISTORY_ITEM_ID: history, contract.CANDIDATE_ITEM_ID: candidates}
        arrays = request_arrays(request, model_contract)
        return [servable.run(contract.RANK, arrays)[contract.SCORE][0] for servable in served]

    return of


def test_the_next_version_is_whole_and_the_old_one_stays(refreshed):
    shop, before, after, record = refreshed
    assert shop.versions == sorted([before.name, after.name])
    assert int(after.name) > int(before.name)
    assert (
        main(["model", "inspect", str(before), "--verify"]) == main(["model", "inspect", str(after), "--verify"]) == 0
    )
    assert (record["items_before"], record["items_now"], record["retired"]) == (40, 40, 2)
    assert (record["new"], record["changed"], record["removed"]) == (2, 1, 2)
    assert record["examples"] == {"new": ["n1", "n2"], "changed": ["i3"], "removed": ["i5", "i20"]}
    assert record["largest_difference"] <= 1e-6 and record["problems"] == []
    warmup = [[signature for signature, _ in read_warmup(each / contract.WARMUP_FILE)] for each in (before, after)]
    assert warmup[0] == warmup[1]
    golden = {entry["case"] for entry in json.loads((after / contract.GOLDEN_FILE).read_text())}
    assert {"new items", "missing content", "carried content"} < golden


def variables(version: Path) -> collections.Counter:
    """How often there is a variable of a dtype, a shape and bits; their numbers are those of an export."""
    reader = tf.train.load_checkpoint(str(version / "variables/variables"))
    names = (name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name)
    values = (np.asarray(reader.get_tensor(name)) for name in names)
    return collections.Counter((each.dtype.str, each.shape, repr(each.tolist())) for each in values)


def test_every_variable_but_the_tables_of_items_is_bitwise_equal(refreshed):
    before, after = variables(refreshed.before), variables(refreshed.after)
    # Vectors and presence of both modalities once for both stages, and the vectors and ids of the index.
    for less, more, rows in ((before - after, after - before, 41), (after - before, before - after, 43)):
        assert less.total() == more.total() == 6
        shapes = sorted(shape for _, shape, _ in less.elements())
        assert shapes == sorted([(rows, 6), (rows,), (rows, 4), (rows,), (64, 40), (40,)]), shapes


def test_unchanged_items_score_as_before_whatever_became_of_the_history(scores):
    candidates = [f"i{n}" for n in range(40) if n not in (3, 5, 20)] + ["never seen"]
    for history in ([], ["i1", "i2"], ["i5", "i20", "i1"]):
        before, after = scores(history, candidates)
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)
    # Items that the catalogue has lost too: clicks on them have happened.
    np.testing.assert_allclose(*scores(["i1"], ["i5", "i20"]), rtol=0, atol=1e-6)


def test_new_and_changed_items_score_by_their_content(refreshed, served, scores):
    history = ["i1", "i2", "i4"]
    before, after = scores(history, ["n1", "i3", "n2", "never seen"])
    # Alike but for rounding, which may be another at another place of the page.
    np.testing.assert_allclose([*before[2:], *after[2:]], np.repeat(before[0], 4), rtol=0, atol=1e-6)
    assert abs(after[0] - before[0]) > 1e-4 and abs(after[1] - before[1]) > 1e-4
    # As when the request had brought the content.
    arrays = request_arrays(
        {
            **USER,
            contract.HISTORY_ITEM_ID: history,
            contract.CANDIDATE_ITEM_ID: ["n1"],
            contract.CONTENT_PREFIX + "text": [NEW.tolist()],
            contract.CONTENT_PREFIX + "image": [[1.0] * 4],
        },
        ModelContract.read(refreshed.before),
    )
    carried = served[0].run(contract.RANK_WITH_CONTENT, arrays)[contract.SCORE][0]
    np.testing.assert_allclose(after[:1], carried, atol=1e-3)


def test_retrieval_finds_the_catalogue_of_today(refreshed, served):
    version, after = Version(refreshed.after), ModelContract.read(refreshed.after)
    catalogue = {f"i{n}" for n in range(40)} - {"i5", "i20"} | {"n1", "n2"}
    assert set(version.items()) == catalogue and after.retrieval_items == 40
    user = {**USER, contract.HISTORY_ITEM_ID: ["i1", "i5"]}
    # What histories alone have can be excluded, and is not found anyway.
    page = served[1].run(contract.RETRIEVE, retrieval_arrays(user, 40, ["i5", "i20"], after))[contract.ITEM_ID][0]
    vector = served[1].run(contract.USER_VECTOR, user_arrays(user, after))
    assert {item.decode() for item in page} == catalogue
    index = ApproximateIndex.load(refreshed.after)
    ids, _ = index.search(vector[contract.USER_VECTOR], 40, [[]])
    assert set(ids[0]) == catalogue
    record = read_record(refreshed.after)
    assert record.catalogue == vector[contract.CATALOGUE][0].decode() != read_record(refreshed.before).catalogue
    assert refreshed.record["index_recall"] == record.recall == 1.0


def test_contract_and_metadata(refreshed, capsys):
    before, after = (ModelContract.read(version) for version in (refreshed.before, refreshed.after))
    assert after == before
    old, new = (read_json(version, contract.METADATA_FILE) for version in (refreshed.before, refreshed.after))
    told = new["refresh"]
    for key in ("model", "created", "params", "weights", "config", "config_digest", "training", "served_name"):
        assert new[key] == old[key], key
    assert (told["of_version"], told["weights_version"]) == ("7", "7")
    assert told["trained_content"] == old["content"]["version"] != new["content"]["version"]
    assert new["artifacts"]["trained_content"] == old["artifacts"]["content"]
    assert (told["new"], told["changed"], told["removed"], told["retired"]) == (2, 1, 2, 2)
    assert new["retrieval"]["items"] == 40 and new["retrieval"]["metrics"] == old["retrieval"]["metrics"]
    evaluation = read_json(refreshed.after, contract.EVALUATION_FILE)
    assert evaluation["metrics"] == read_json(refreshed.before, contract.EVALUATION_FILE)["metrics"]
    assert evaluation["note"].endswith("all metrics are of version 7.")
    assert inspect_model(Version(refreshed.after)).metadata == new
    assert main(["model", "inspect", str(refreshed.after)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"weights trained {old['created']}, as in version 7: digest {told['weights_digest']}" in printed
    assert f"tables refreshed {told['created']}, of version 7: content {new['content']['version']}" in printed


def test_it_is_replayed_by_the_weights_and_the_new_tables(refreshed, tmp_path):
    report = replay(Version(refreshed.after), None, run=None, tolerance=1e-5)
    assert report.equal and report.count > 5


def test_a_refresh_without_changes_pushes_nothing(refreshed, capfd):
    shop = refreshed.shop
    versions = shop.versions
    assert main(["content", "refresh", "--config", str(shop.config_file)]) == exit_status.OK
    printed = capfd.readouterr().err
    assert "nothing has changed: nothing was pushed" in printed and shop.versions == versions
    assert f"version {refreshed.after.name}, weights of " in printed


def test_a_dry_run_says_what_there_is_to_do(refreshed, capfd):
    shop = refreshed.shop
    versions, items = shop.versions, shop.items
    shop.items = [item for item in items if item != "i8"]
    shop.write()
    try:
        assert main(["content", "refresh", "--config", str(shop.config_file), "--dry-run"]) == exit_status.OK
    finally:
        shop.items = items
        shop.write()
    printed = capfd.readouterr().err
    assert "items: 40 before, 39 now" in printed and "removed: 1 (i8)" in printed
    assert "kept for histories alone: 3" in printed and "the last refresh of this model took" in printed
    assert "dry run: nothing was pushed" in printed and shop.versions == versions


@pytest.fixture
def copying(shop, monkeypatch) -> None:
    """Instead of an export a copy of the version, which takes no seconds."""

    def copy(job, directory, *_) -> None:
        shutil.copytree(shop.base / "7", directory, dirs_exist_ok=True)

    monkeypatch.setattr(refresh_module._Refresh, "_write", copy)


def test_what_the_gate_refuses_is_not_pushed(shop, copying, monkeypatch, capfd):
    shop.items.append("new")
    shop.write()
    monkeypatch.setattr(refresh_module, "check_servable", lambda *_, **__: (["scores are not probabilities"], {}))
    written = shop.folder / "record.json"
    command = ["content", "refresh", "--config", str(shop.config_file), "--json", str(written)]
    assert main(command) == exit_status.NOT_PUSHED
    assert shop.versions == ["7"]
    assert "not pushed\n  scores are not probabilities" in capfd.readouterr().err
    assert json.loads(written.read_text())["version"] is None


def test_scores_of_unchanged_items_and_the_contract_are_looked_at(shop, copying, monkeypatch):
    shop.items.append("new")
    shop.edit("7", contract.GOLDEN_FILE, lambda entries: entries[0]["scores"].__setitem__(0, 0.5))
    monkeypatch.setattr(refresh_module, "check_servable", lambda *_, **__: ([], {}))

    def spoil(job, directory, *_) -> None:
        shutil.copytree(shop.base / "7", directory, dirs_exist_ok=True)
        golden, promised = directory / contract.GOLDEN_FILE, directory / contract.CONTRACT_FILE
        entries, values = json.loads(golden.read_text()), json.loads(promised.read_text())
        entries[0]["scores"][0] += 0.25
        del values["signatures"]["explain"]["outputs"]["score"]
        golden.write_text(json.dumps(entries))
        promised.write_text(json.dumps(values))

    monkeypatch.setattr(refresh_module._Refresh, "_write", spoil)
    problems = refresh(shop.config()).problems
    assert problems[0] == "signatures ['explain'] are not those of the version before"
    assert "have not changed differ by 2.50e-01 from those of version 7, allowed 1.00e-04" in problems[1]
    assert shop.versions == ["7"]


def refused(shop: Shop, error: type[Exception], message: str, *overrides: str, **options) -> None:
    with pytest.raises(error, match=message):
        refresh(shop.config(*overrides), **options)
    assert shop.versions == ["7"]


def test_no_pushed_model(shop):
    shutil.rmtree(shop.base)
    with pytest.raises(ModelError, match=r"holds no exported model .*; push one first: dmf run"):
        refresh(shop.config())
    shutil.copytree(shop.folder / "out/artifacts", shop.base)
    with pytest.raises(ModelError, match="holds no exported model"):
        refresh(shop.config(), shop.base)


def test_a_version_that_lacks_what_is_needed(shop):
    shop.items.append("new")
    metadata = contract.METADATA_FILE
    shop.edit("7", metadata, lambda values: values["artifacts"].pop("requests"))
    refused(shop, ModelError, "lacks 'requests' among the artifacts of its metadata, so its tables .*: dmf run")
    shop.edit("7", metadata, lambda values: values["artifacts"].update(requests=str(shop.folder / "gone")))
    refused(shop, ModelError, "the requests of the run that trained the model is not there")
    (shop.base / "7" / metadata).unlink()
    refused(shop, ModelError, "lacks metadata of its training, so its tables cannot be refreshed; .*: dmf run")


def test_a_folder_that_is_no_version(shop, recommending):
    refused(shop, ModelError, "Format-Serving is no version of a served model", model=recommending / "Format-Serving")


def test_what_does_not_fit_the_model(shop):
    shop.encoder = "two"
    text_alone = "content.modalities={text: {path: text.parquet}}"
    refused(shop, ConfigError, "the model has content 'image', the configuration has text", text_alone)
    other = "features={item: {kind: {kind: categorical}}}"
    refused(shop, ConfigError, "features.item.kind: not as it was when the model was trained", other)
    refused(
        shop,
        DataError,
        "content.modalities.text.path: .*gone.npz: no such file",
        "content.modalities.text.path=gone.npz",
    )
    shop.embeddings["image"] = {item: vector[:3] for item, vector in shop.embeddings["image"].items()}
    refused(shop, DataError, "are 3 wide, the model was trained on 4; give those of the same encoder")
    shop.items = []
    refused(shop, DataError, "no rows in .*items.csv; the catalogue must list every item")


def test_a_kill_half_way_leaves_nothing_that_is_served(shop, copying, monkeypatch):
    shop.items.append("new")

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    monkeypatch.setattr(refresh_module, "describe", killed)
    monkeypatch.setattr(refresh_module, "check_servable", lambda *_, **__: ([], {}))
    # As a kill does, which clears up nothing.
    monkeypatch.setattr("tfx_pipeline.files.writing.remove", lambda address: None)
    with pytest.raises(Killed):
        refresh(shop.config())
    left = [name for name in shop.versions if name != "7"]
    assert left and all(name.startswith(".incoming-") for name in left)
    assert Version.find(shop.base).path.name == "7"
