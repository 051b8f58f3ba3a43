"""`dmf bench retrieval`: right answers before anything is timed, and figures that fit together."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest

from serving import contract
from serving.load import RankRequest
from tfx_pipeline.cli import main
from tfx_pipeline.errors import ModelError
from tfx_pipeline.studies.bench import retrieval, serving_models
from tfx_pipeline.studies.bench.retrieval_models import RandomCatalogue
from tfx_pipeline.studies.bench.serving import GRPC, IN_PROCESS

ITEMS, K, HISTORY = 300, 40, 6


@pytest.fixture(scope="module")
def measured():
    """Both stages over a small catalogue, served."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving_models, "USERS", 20)
        patch.setattr(serving_models, "PARAMS", {"id_dim": 8, "attention_dim": 8, "hidden_units": (12,)})
        with retrieval.measured_catalogues([ITEMS], K, HISTORY, approximate=True) as [catalogue]:
            yield catalogue


@pytest.mark.slow
def test_both_stages_are_measured_over_both_transports(measured, monkeypatch, capfd):
    # They are there already, and take most of the time.
    monkeypatch.setattr(retrieval, "measured_catalogues", lambda *sizes: contextlib.nullcontext([measured]))
    arguments = ("--items", str(ITEMS), "--k", str(K), "--history", str(HISTORY), "--seconds", "0.1", "--approximate")
    assert main(["bench", "retrieval", *arguments, "--json"]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    report = json.loads(printed.out)
    entries = {(entry["items"], entry["signature"], entry["transport"]): entry for entry in report["results"]}
    assert set(entries) == {
        (300, signature, transport) for signature in retrieval.SIGNATURES for transport in (GRPC, IN_PROCESS)
    } | {(300, retrieval.BY_INDEX, GRPC)}
    for (_, _, transport), entry in entries.items():
        assert 0 < entry["p50_ms"] <= entry["p99_ms"] and entry["calls"] >= 5 and entry["qps"] > 0
        assert (entry["request_bytes"] is None) == (entry["answer_bytes"] is None) == (transport == IN_PROCESS)
    # Ids of eight characters: 40 come back from retrieve and go into rank; recommend answers ten.
    assert entries[300, contract.RETRIEVE, GRPC]["answer_bytes"] > 40 * 8
    assert entries[300, contract.RANK, GRPC]["request_bytes"] > 46 * 8
    assert (
        entries[300, contract.RECOMMEND, GRPC]["answer_bytes"] < entries[300, contract.RETRIEVE, GRPC]["answer_bytes"]
    )
    [cost] = report["catalogues"]
    assert (cost["items"], cost["vector_bytes"]) == (300, 300 * report["setup"]["width"] * 4)
    assert cost["disk_bytes"] > cost["vector_bytes"] and cost["load_seconds"] > 0
    assert 0 < cost["server_bytes"] <= cost["peak_bytes"]
    assert set(cost["search_ms"]) == {
        retrieval.SEARCH,
        retrieval.PRODUCTS,
        retrieval.TOP_K,
        retrieval.READING,
    }
    index = cost["index"]
    assert 0.95 < index["recall"] <= 1 and index["users"] == 200
    assert index["file_bytes"] > cost["vector_bytes"] and index["resident_bytes"] > 0
    assert 0 < index["p50_ms"] <= index["p99_ms"] and 0 < index["exact_p50_ms"] <= index["exact_p99_ms"]
    assert min(cost["search_ms"].values()) > 0
    assert 0 <= report["largest_difference"] <= contract.SCORE_TOLERANCE[contract.FLOAT32]
    assert (report["setup"]["k"], report["setup"]["history"], report["setup"]["page"]) == (40, 6, 10)
    read = retrieval.RetrievalReport.from_json(report)
    assert retrieval.retrieval_table(read).row_count == 4
    [sentence, of_index] = retrieval.retrieval_summary(read)
    assert sentence.startswith("300 items: vectors 0.1 MB, on disk ") and "server" in sentence
    assert of_index.startswith(
        "300 items, approximate index (connectivity 16, expansion 128 and 1000): a search takes "
    )
    assert "recall@40 " in of_index and "MB in memory" in of_index
    # Reports of before have no index.
    older = json.loads(printed.out)
    del older["catalogues"][0]["index"]
    assert len(retrieval.retrieval_summary(retrieval.RetrievalReport.from_json(older))) == 1


@pytest.mark.slow
def test_times_of_wrong_answers_are_not_told(measured, monkeypatch):
    right = RandomCatalogue.largest

    def without_the_best(catalogue, request, k):
        largest, products = right(catalogue, request, k + 1)
        return largest[1:], products

    monkeypatch.setattr(RandomCatalogue, "largest", without_the_best)
    with pytest.raises(ModelError, match="300 items: scores of retrieve by gRPC and NumPy's largest products differ"):
        measured.compare()


def test_the_right_answer_is_a_sort_without_the_history():
    vectors = np.array([[1, 0], [0, 1], [0.5, 0], [3, 0]], np.float32)
    request = RankRequest({contract.HISTORY_ITEM_ID: ["i0000003"]}, ())
    catalogue = RandomCatalogue(
        serving_models.item_ids(4), vectors, [request], np.array([[2, 1]], np.float32), np.empty((0, 2))
    )
    largest, products = catalogue.largest(0, 3)
    assert largest.tolist() == [2, 1, 1]
    assert products.tolist() == [2, 1, 1, -np.inf]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--items", "300"), "configuration: --items 300: expected at least --k and --history together, 500 + 100"),
        (
            ("--items", "1000000,60", "--k", "50", "--history", "11"),
            "configuration: --items 60: expected at least --k and --history together, 50 + 11",
        ),
    ],
)
def test_a_catalogue_that_cannot_answer_is_a_sentence(arguments, sentence, capfd):
    assert main(["bench", "retrieval", *arguments]) == 2
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err.startswith(sentence)


@pytest.mark.parametrize("wrong", ["0", "many", "300,"])
def test_items_are_whole_numbers(wrong, capfd):
    with pytest.raises(SystemExit):
        main(["bench", "retrieval", "--items", wrong])
    assert "must be a whole number of at least 1" in capfd.readouterr().err
