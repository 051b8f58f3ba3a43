"""`dmf bench serving`: the same answers over every way before anything is timed, and figures that fit together."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest

from serving import contract
from serving.export.servable import Servable
from serving.export.warmup import read_warmup
from serving.local_server.server import LocalServer
from serving.testing import FakeRankingServer, hash_scorer
from tfx_pipeline.cli import main
from tfx_pipeline.errors import ModelError
from tfx_pipeline.studies.bench import serving_models
from tfx_pipeline.studies.bench.latency_picture import draw_latencies
from tfx_pipeline.studies.bench.served_model import ServedModel
from tfx_pipeline.studies.bench.serving import GRPC, IN_PROCESS, SIGNATURES
from tfx_pipeline.studies.bench.variant import Variant, parse_variants

DMF, ID_ONLY = MODELS = ("dmf", "target_attention")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def tiny_models():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving_models, "ITEMS", 60)
        patch.setattr(serving_models, "USERS", 20)
        patch.setattr(serving_models, "PARAMS", {"id_dim": 8, "attention_dim": 8, "hidden_units": (12,)})
        yield


@pytest.fixture(scope="module")
def random_model(tiny_models, tmp_path_factory):
    """An exported DMF with random weights, as version 1 of a served model."""
    version = tmp_path_factory.mktemp("random") / "1"
    serving_models.export_random_model(Variant(DMF), version)
    return version


def run_json(capfd, *arguments: str):
    assert main(["bench", "serving", *arguments, "--json"]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    return json.loads(printed.out)


@pytest.mark.slow
def test_models_are_compared_over_both_transports(tiny_models, tmp_path, capfd):
    sizes = ("--candidates", "9", "--history", "3", "5", "--seconds", "0.1", "--models", ",".join(MODELS))
    report = run_json(capfd, *sizes, "--picture", str(tmp_path / "latency.png"))
    entries = {
        (entry["model"], entry["signature"], entry["transport"], entry["history"]): entry for entry in report["results"]
    }
    assert set(entries) == {
        (model, signature, transport, history)
        for model in MODELS
        for signature in SIGNATURES
        for transport in (GRPC, IN_PROCESS)
        for history in (3, 5)
    }
    for (_, signature, transport, _), entry in entries.items():
        assert 0 < entry["p50_ms"] <= entry["p99_ms"]
        assert entry["calls"] >= 5
        assert entry["qps"] > 0
        assert entry["candidates"] == (None if signature == contract.USER_TOWER else 9)
        if transport == IN_PROCESS:
            assert entry["request_bytes"] is entry["answer_bytes"] is None
        else:
            # Ids of eight characters; two more of them in the longer history.
            assert entry["request_bytes"] > 8 * (entry["candidates"] or 0)
    for model in MODELS:
        shorter, longer = (entries[model, contract.RANK, GRPC, history]["request_bytes"] for history in (3, 5))
        assert 2 * 8 <= longer - shorter <= 2 * 12
        assert report["state_bytes"]["3"][model] < report["state_bytes"]["5"][model]
    for history in (3, 5):
        p50 = {key[:3]: entry["p50_ms"] for key, entry in entries.items() if key[3] == history}
        ratios = report["ratios"][str(history)]
        rank = {model: p50[model, contract.RANK, GRPC] for model in MODELS}
        assert ratios["rank_vs_first"] == {name: pytest.approx(rank[name] / rank[DMF]) for name in MODELS[1:]}
        for model in MODELS:
            candidate = p50[model, contract.CANDIDATE, GRPC]
            assert ratios["score_vs_rank"][model] == pytest.approx(candidate / rank[model])
            added = ratios["grpc_adds"][model][contract.RANK]
            assert added["ms"] == pytest.approx(rank[model] - p50[model, contract.RANK, IN_PROCESS], abs=0.001)
    assert 0 <= report["largest_difference"] <= contract.SCORE_TOLERANCE[contract.FLOAT32]
    assert report["setup"]["items"] == 60
    assert report["machine"]["cores"] >= 1
    assert (tmp_path / "latency.png").read_bytes().startswith(PNG)


@pytest.mark.slow
def test_columns_and_further_histories_are_in_the_requests(tiny_models, capfd):
    names = [f"{ID_ONLY}{with_them}" for with_them in ("", "+candidates", "+histories", "+items+candidates+histories")]
    sizes = ("--candidates", "9", "--history", "3", "--seconds", "0.1")
    report = run_json(capfd, *sizes, "--models", ",".join(names))
    sent = {
        entry["model"]: entry["request_bytes"]
        for entry in report["results"]
        if (entry["signature"], entry["transport"]) == (contract.RANK, GRPC)
    }
    assert list(sent) == names and list(report["ratios"]["3"]["rank_vs_first"]) == names[1:]
    plain, candidates, histories, everything = sent.values()
    # Nine badges of 7 letters and 18 numbers; six ids of 8.
    assert 9 * 7 + 18 * 4 < candidates - plain < 9 * 10 + 18 * 4 + 200
    assert 6 * 8 < histories - plain < 6 * 10 + 200
    assert everything > candidates + histories - plain
    state = report["state_bytes"]["3"]
    assert state[f"{ID_ONLY}+histories"] > 2 * state[ID_ONLY]
    assert 0 <= report["largest_difference"] <= contract.SCORE_TOLERANCE[contract.FLOAT32]


@pytest.mark.slow
def test_precisions_side_by_side(tiny_models, capfd):
    sizes = ("--candidates", "9", "--history", "3", "--seconds", "0.1")
    report = run_json(capfd, *sizes, "--models", "mean_pooling,target_attention", "--precision", "both")
    assert list(report["ratios"]["3"]["rank_vs_first"]) == [
        "mean_pooling bfloat16",
        "target_attention",
        "target_attention bfloat16",
    ]
    assert set(report["rounding"]) == {"mean_pooling bfloat16", "target_attention bfloat16"}
    assert all(1e-6 < most < 0.01 for most in report["rounding"].values())
    # States are float32 in any case.
    state = report["state_bytes"]["3"]
    assert state["target_attention bfloat16"] == pytest.approx(state["target_attention"], abs=50)


@pytest.mark.slow
def test_versions_swapped_under_load_score_right(tiny_models, tmp_path, capfd):
    # A model that is soon loaded.
    served = tmp_path / "served"
    serving_models.export_random_model(Variant("mean_pooling"), served / "1")
    load = ("--candidates", "7", "--history", "4", "--concurrency", "4", "--swap-seconds", "1")
    # A busy machine needs longer to load a version than an idle one.
    for seconds in ("6", "30", "120"):
        report = run_json(capfd, "--model", str(served), *load, "--seconds", seconds)
        if report["swaps"]:
            break
    assert report["errors"] == {}
    assert report["wrong_scores"] == 0
    assert report["checked"] == report["answered"] == sum(report["versions"].values()) > 0
    assert report["swaps"] >= 1
    assert len(report["versions"]) >= 2
    assert set(report["wire"]) == {"rank", "user_tower", "candidate"}
    assert 0 < report["memory"]["first_quarter"] <= report["memory"]["peak"]
    assert (report["load"]["mode"], report["load"]["candidates"], report["load"]["history"]) == ("mixed", 7, 4)
    assert sorted(path.name for path in served.iterdir() if path.is_dir()) == ["1"], "left as it was"


@pytest.mark.slow
def test_load_without_a_model_is_on_one_with_random_weights(tiny_models, tmp_path, capfd):
    picture = tmp_path / "latency.png"
    options = ("--requests", "12", "--candidates", "5", "--history", "2", "--picture", str(picture))
    assert main(["bench", "serving", *options]) == 0
    printed = capfd.readouterr().out
    for words in ("12 of 12 in", "errors", "none", "12, 0", "TensorFlow"):
        assert words in printed
    assert picture.read_bytes().startswith(PNG)


def test_load_on_a_server_that_runs(capfd):
    with FakeRankingServer("shop") as server:
        report = run_json(
            capfd,
            *("--target", server.target, "--model-name", "shop", "--requests", "30", "--concurrency", "3"),
            *("--candidates", "6", "--history", "4", "--rate", "300", "--warm-up", "5", "--calls", "kept-state"),
        )
        assert server.calls["candidate"] == 35
    assert report["requests"] == report["answered"] == 30
    assert report["checked"] == 0, "nobody knows the right scores"
    assert report["wire"]["candidate"]["calls"] == 30
    assert report["load"]["rate"] == 300
    assert "memory" not in report


def test_answers_of_a_server_are_compared_with_the_model_that_it_should_have(random_model, capfd):
    options = ("--model", str(random_model), "--requests", "10", "--candidates", "3", "--history", "2")
    with FakeRankingServer("shop") as server:
        target = ("--target", server.target, "--model-name", "shop")
        # Version 1, and another model: every score is wrong.
        assert main(["bench", "serving", *target, *options, "--json"]) == 1
        report = json.loads(capfd.readouterr().out)
        assert (report["checked"], report["wrong_scores"]) == (10, 10)
        server.add_version(2)
        report = run_json(capfd, *target, *options)
    assert (report["checked"], report["wrong_scores"]) == (0, 0)
    assert report["versions"] == {"2": 10}


def test_ctrl_c_prints_what_came_until_then(capfd):
    def scores(request):
        if server.calls["rank"] == 40:
            os.kill(os.getpid(), signal.SIGINT)
        return hash_scorer(request)

    with FakeRankingServer("shop", scorer=scores) as server:
        arguments = ("--target", server.target, "--model-name", "shop", "--seconds", "600", "--warm-up", "10")
        assert main(["bench", "serving", *arguments]) == 130
        printed = capfd.readouterr()
        assert "Interrupted: these are the requests until then." in printed.out
        assert "answered" in printed.out
        assert "Traceback" not in printed.err
        server.calls.clear()
        assert main(["bench", "serving", *arguments, "--warm-up", "1000"]) == 130
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "interrupted: there is nothing to report yet" in printed.err


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("--target", "localhost:1"), 2, "configuration: --target wants --model-name"),
        (
            ("--target", "localhost:1", "--model-name", "m", "--swap-seconds", "1"),
            2,
            "configuration: --swap-seconds wants a server of its own: leave out --target",
        ),
        (("--requests", "3", "--history", "3", "5"), 2, "configuration: --history: load has one length, got 3 5"),
        (("--models", "dmf,dfm"), 2, "configuration: --models: no model 'dfm' (did you mean 'dmf'?)"),
        (("--models", "dmf+item"), 2, "configuration: --models dmf+item: there is no +item; expected +items, +cand"),
        (("--models", "dmf+items+items"), 2, "configuration: --models dmf+items+items: each of +items, +candidates"),
        (("--models", "dmf", "--requests", "3"), 2, "configuration: --models is for models that are compared"),
        (("--precision", "both", "--requests", "3"), 2, "configuration: --precision is for models that are compared"),
        (("--picture", "latency.svg"), 2, "configuration: --picture writes PNG: expected a name like latency.png"),
        (("--model", "/nowhere"), 1, "stopped: /nowhere holds no exported model"),
    ],
)
def test_what_cannot_be_measured_is_a_sentence(arguments, status, sentence, capfd):
    assert main(["bench", "serving", *arguments]) == status
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(sentence)


def test_a_server_that_is_not_there_is_a_sentence(capfd):
    with FakeRankingServer("shop") as server:
        target = server.target
    assert main(["bench", "serving", "--target", target, "--model-name", "shop", "--requests", "1"]) == 1
    printed = capfd.readouterr().err
    assert printed.startswith("stopped: ")
    assert target in printed
    assert "Traceback" not in printed


@pytest.mark.slow
def test_a_process_that_cannot_serve_is_a_sentence(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(ModelError, match="the process that should serve 'broken' has ended"):
        ServedModel(tmp_path / "1", "broken").__enter__()


@pytest.mark.slow
def test_warm_up_requests_come_with_the_model(random_model, tiny_models):
    requests = read_warmup(random_model / contract.WARMUP_FILE)
    widths = [(name, inputs.get(contract.CANDIDATE_ITEM_ID, np.empty((1, 0))).shape[1]) for name, inputs in requests]
    content = (contract.RANK_WITH_CONTENT, contract.CANDIDATE_WITH_CONTENT)
    assert {pair for pair in widths if pair[0] not in content} == {
        *((name, count) for name in (contract.RANK, contract.CANDIDATE) for count in (1, 100, 1200)),
        (contract.USER_TOWER, 0),
    }
    assert requests[0][1][contract.HISTORY_ITEM_ID].shape == (1, 100)
    # The server replays them when it loads the version, and refuses it if one fails.
    with LocalServer(random_model.parent) as server:
        assert (server.available, server.name) == ([1], random_model.parent.name)


def test_other_weights_are_another_model_of_the_same_contract(random_model, tmp_path):
    other = tmp_path / "other"
    serving_models.copy_with_other_weights(random_model, other)
    assert (other / contract.CONTRACT_FILE).read_bytes() == (random_model / contract.CONTRACT_FILE).read_bytes()
    inputs = {
        contract.USER_ID: np.array(["u0000001"], object),
        contract.HISTORY_ITEM_ID: np.array([["i0000001", "i0000002"]], object),
        contract.CANDIDATE_ITEM_ID: np.array([["i0000003", "i0000059", "unknown"]], object),
    }
    scores = []
    for folder in (random_model, other):
        with Servable(folder, optimised=False) as servable:
            scores.append(servable.run(contract.RANK, inputs)[contract.SCORE])
    assert all(np.isfinite(one).all() for one in scores)
    assert np.abs(scores[0] - scores[1]).min() > 1e-4


def test_ids_are_looked_up_as_a_pipelines_transform_does(random_model):
    inputs = {
        contract.USER_ID: np.array(["u0000000", "nobody", ""], object),
        contract.HISTORY_ITEM_ID: np.array([["i0000000", "i0000059"], ["unknown", ""], ["", ""]], object),
        contract.CANDIDATE_ITEM_ID: np.array([["i0000001"], ["unknown"], [""]], object),
    }
    with Servable(random_model, optimised=False) as servable:
        found = servable.run(contract.TRANSFORM, inputs)
    # Row 0 is padding and missing content, the row after the last that of ids in no vocabulary.
    assert found["user_index"].tolist() == [1, 21, 0]
    assert found["history_index"].tolist() == [[1, 60], [61, 0], [0, 0]]
    assert found["history_content_row"].tolist() == [[1, 60], [0, 0], [0, 0]]
    assert found["candidate_index"].tolist() == [[2], [61], [0]]
    assert found["candidate_content_row"].tolist() == [[2], [0], [0]]


def test_variants_are_named_in_one_way():
    found = parse_variants(["dmf", "dmf+candidates+items", "dmf+items+candidates", "dmf"])
    assert [variant.label for variant in found] == ["dmf", "dmf+items+candidates"]
    assert found[1].served_name == "dmf_items_candidates"
    assert found[0].params(serving_models.PARAMS) == serving_models.PARAMS
    both = parse_variants(["dmf+items"], ("float32", "bfloat16"))
    assert [variant.label for variant in both] == ["dmf+items", "dmf+items bfloat16"]
    assert both[1].served_name == "dmf_items_bfloat16"
    assert "attention_dim" not in Variant("mean_pooling").params(serving_models.PARAMS)


def test_a_picture_of_one_latency_and_of_many(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "new" / "latency.png"
    draw_latencies({"one": np.array([0.01])}, path, "one request")
    small = path.read_bytes()
    assert small.startswith(PNG)
    draw_latencies({name: rng.lognormal(-4, 1, 500) for name in ("a", "b", "c", "d", "e", "f", "g")}, path, "many")
    assert path.read_bytes().startswith(PNG)
    assert path.read_bytes() != small
    assert [file.name for file in path.parent.iterdir()] == ["latency.png"]
