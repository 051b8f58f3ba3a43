"""What `retrieval_fn` leaves, and what `run_fn` exports of it beside the ranker."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from serving import contract
from serving.approximate_index import GRAPH_FILE, RECORD_FILE, read_record
from serving.export.approximate_check import check_index
from serving.export.approximate_index import write_index
from serving.export.metadata import read_json
from serving.export.retrieval_check import check_retrieval
from serving.export.servable import Servable
from serving.export.servable_check import check_servable
from serving.page_order import page_scores
from tfx_pipeline.config.stages import RECALL
from tfx_pipeline.trained.recommend import recommend
from tfx_pipeline.trained.version import Version

pytestmark = pytest.mark.slow

_BOTH = ("score", "retrieval_score")


@pytest.fixture
def training(recommending) -> dict[str, Any]:
    return json.loads((recommending / "retrieval/run/training.json").read_text())


def test_the_best_epoch_is_that_of_the_highest_recall(training):
    recalls = [epoch[RECALL] for epoch in training["history"]]
    assert all(0 <= recall <= 1 for recall in recalls)
    assert training["best_epoch"] == recalls.index(max(recalls))
    assert training["train_requests"] == 400


def test_the_towers_are_exported_alone_and_beside_the_ranker(recommending):
    alone, both = (
        contract.ModelContract.read(Path(folder, "Format-Serving"))
        for folder in (recommending / "retrieval", recommending)
    )
    assert (alone.model, alone.retrieval_items, alone.ranked_candidates) == ("two_towers", 40, 0)
    assert contract.RETRIEVE in alone.signatures and contract.RECOMMEND not in alone.signatures
    assert (both.model, both.retrieval_items, both.ranked_candidates) == ("dmf", 40, 10)
    assert {contract.RETRIEVE, contract.RECOMMEND, contract.USER_VECTOR} <= set(both.signatures)
    # Who searches an index learns the weight of the version that gave the vector.
    assert set(both.signatures[contract.USER_VECTOR]["outputs"]) == {"user_vector", "catalogue", "retrieval_weight"}
    assert set(alone.signatures[contract.USER_VECTOR]["outputs"]) == {"user_vector", "catalogue"}
    assert (alone.retrieval_weight, both.retrieval_weight) == (0.0, 2.0)
    assert not any((recommending / "retrieval/state").glob("*"))


def test_metadata_of_the_ranker_says_what_is_exported_with_it(recommending, training):
    metadata = read_json(recommending / "Format-Serving", contract.METADATA_FILE)
    stage = metadata["retrieval"]
    assert (stage["items"], stage["ranked_candidates"], stage["retrieval_weight"]) == (40, 10, 2.0)
    assert stage["index_bytes"] == 40 * stage["width"] * 4
    assert stage["params"]["id_dim"] == 8
    assert (stage["epochs"], stage["best_epoch"]) == (len(training["history"]), training["best_epoch"])
    assert stage["metrics"] == training["history"][stage["best_epoch"]]
    assert metadata["artifacts"]["retrieval_run"] == str(recommending / "retrieval/run")


def test_both_stages_have_one_table_of_content(recommending):
    variables = tf.train.list_variables(str(recommending / "Format-Serving/variables/variables"))
    metadata = read_json(recommending / "Format-Serving", contract.METADATA_FILE)
    widths = sorted(modality["width"] for modality in metadata["content"]["modalities"].values())
    # One row for each of the 40 items, and that of what is none.
    assert sorted(shape[1] for _, shape in variables if len(shape) == 2 and shape[0] == 41) == widths


def test_the_index_beside_the_model_passes_the_gate_and_says_what_it_finds(recommending, tmp_path):
    model = recommending / "Format-Serving"
    record = read_record(model)
    assert (record.items, record.at, record.ranked_candidates) == (40, 20, 10)
    # All requests of eval, of which there are fewer than are looked at.
    assert 0 < record.users < 1000 and 0.99 < record.recall <= 1
    assert read_json(model, contract.METADATA_FILE)["retrieval"]["approximate"] == dataclasses.asdict(record)
    problems, figures = check_servable(model, 1e-5, min_recall=0.95)
    assert (problems, figures["approximate"]) == ([], {"recall": record.recall, "at": 20, "users": record.users})
    assert read_record(recommending / "retrieval/Format-Serving") is None


def test_a_page_by_the_model_and_by_the_index_is_in_the_order_of_both_scores(recommending):
    version = Version.find(recommending / "Format-Serving")
    pages = [recommend(version, "u1", top=8, history=["i3", "i5"], approximate=by_index) for by_index in (False, True)]
    for page in pages:
        scores, dots = (np.array([getattr(entry, name) for entry in page.page], np.float32) for name in _BOTH)
        by = [entry.page_score for entry in page.page]
        np.testing.assert_allclose(by, page_scores(scores, dots, 2.0), rtol=1e-4, atol=1e-5)
        assert by == sorted(by, reverse=True)
        assert "order of the page: logit(score) + 2 x retrieval score" in " ".join(page.notes)
        assert page.to_json()["page"][0]["page_score"] == by[0]
    assert [entry.item for entry in pages[0].page] == [entry.item for entry in pages[1].page]


def test_the_gate_refuses_pages_in_another_order_than_the_contract_says(recommending):
    exported = recommending / "Format-Serving"
    golden = json.loads((exported / contract.GOLDEN_FILE).read_text(encoding="utf-8"))
    written = contract.ModelContract.read(exported)
    with Servable(exported, optimised=False) as servable:
        assert check_retrieval(servable, written, golden, 1e-5, {}) == []
        other = dataclasses.replace(written, retrieval_weight=1.0)
        found = check_retrieval(servable, other, golden, 1e-5, {})
    assert found and all("page scores differ by " in each for each in found)


def test_the_gate_refuses_an_index_that_finds_too_little_is_anothers_or_damaged(recommending, tmp_path):
    exported = recommending / "Format-Serving"
    model = shutil.copytree(exported / "assets.extra", tmp_path / "model" / "assets.extra").parent
    golden = json.loads((exported / contract.GOLDEN_FILE).read_text(encoding="utf-8"))
    written = contract.ModelContract.read(exported)
    servable = Servable(exported, optimised=False)

    def problems(min_recall: float | None = 0.95) -> str:
        return "; ".join(check_index(servable, model, written, golden, min_recall, {}))

    def change(**values):
        record = {**dataclasses.asdict(read_record(exported)), **values}
        (model / RECORD_FILE).write_text(json.dumps(record), encoding="utf-8")

    change(recall=0.9)
    assert (
        "finds 0.9000 of the 20 items" in problems() and "expected at least 0.95; raise expansion_search" in problems()
    )
    assert problems(0.9) == problems(None) == ""
    change(catalogue="other")
    assert "the index is of catalogue other, the model's is " in problems()
    change()
    vectors = np.random.default_rng(0).standard_normal((40, read_record(model).width)).astype(np.float32)
    write_index(model, [f"i{number}" for number in range(40)], vectors, vectors)
    change(**{name: getattr(read_record(model), name) for name in ("graph_sha256", "ids_sha256")})
    assert "the index gives another score than `retrieve`" in problems()
    (model / GRAPH_FILE).write_bytes(b"nothing")
    assert "is damaged, or of another version" in problems()
    (model / RECORD_FILE).unlink()
    assert "is configured and the model has none" in problems() and problems(None) == ""
    servable.close()
