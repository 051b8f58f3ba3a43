"""Ages of history items from transformed examples to a served model."""

from __future__ import annotations

import io
import json
import shutil
import urllib.error
import urllib.request

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from dmf_keras.models.inputs import HISTORY_AGE, HISTORY_INDEX
from serving import contract
from serving.client import BadRequest, ClientOptions, RankingClient, RestRankingClient, UserState
from serving.export.metadata import read_json
from serving.export.servable import Servable, request_arrays
from serving.export.servable_check import check_servable
from serving.load import draw_requests, golden_ages, golden_columns, golden_users
from serving.local_server.server import LocalServer
from tfx_pipeline.cli import main
from tfx_pipeline.config.schema import Features
from tfx_pipeline.console import Console
from tfx_pipeline.data.content.table import read_content
from tfx_pipeline.errors import DataError
from tfx_pipeline.trained.explain.explanation import explain
from tfx_pipeline.trained.inspection import inspect_model, print_model
from tfx_pipeline.trained.rank import rank
from tfx_pipeline.trained.replay.replay import replay
from tfx_pipeline.trained.version import Version
from tfx_pipeline.training.model_training import TrainingData, new_model
from tfx_pipeline.transform.dataset import request_batches
from tfx_pipeline.transform.request_transform import RequestTransform

NAN = float("nan")
DAY = 86_400.0
USER = {
    "user_id": "u1",
    "history_item_id": ["i1", "i3", "i8"],
    "history_age_s": [DAY, 3600.0, 5.0],
    "gender": "f",
    "age": 30.0,
    "income": 1.0,
}
ITEMS = ["i2", "i1", "never seen", "i30"]
PATIENT = ClientOptions(deadline=60.0)


@pytest.fixture(scope="module")
def data(aged_world) -> TrainingData:
    features = Features.model_validate_json(aged_world.custom_config["features"])
    output = tft.TFTransformOutput(str(aged_world.transform_graph))
    transform = RequestTransform(output, aged_world.content / "item_ids.txt", features, 4)
    content = read_content(str(aged_world.content))
    return TrainingData.read(str(aged_world.transformed), output, transform, content, features, age_buckets=6)


@pytest.fixture(scope="module")
def model_dir(aged_trained, tmp_path_factory):
    """A copy of the exported model as version 7 of a served model."""
    version = tmp_path_factory.mktemp("aged") / "shop" / "7"
    shutil.copytree(aged_trained / "Format-Serving", version)
    return version


@pytest.fixture(scope="module")
def direct(model_dir):
    """Returns direct(user, items): scores by the exported model in this process."""
    found = contract.ModelContract.read(model_dir)
    servable = Servable(model_dir, optimised=False)

    def score(user, items=ITEMS):
        return servable.run(contract.RANK, request_arrays({**user, contract.CANDIDATE_ITEM_ID: items}, found))["score"][
            0
        ]

    yield score
    servable.close()


def raw(history, ages):
    """A user's raw inputs, B = 1 or more rows of equal length."""
    rows = len(history)
    return {
        "user_id": tf.constant(["u1"] * rows),
        "history_item_id": tf.constant(history),
        "history_age_s": tf.constant(ages, tf.float32),
        "gender": tf.constant(["f"] * rows),
        "age": tf.constant([30.0] * rows),
        "income": tf.constant([1.0] * rows),
    }


class TestTransform:
    def test_an_age_stays_with_its_item(self, data):
        """Padding and "" anywhere, whatever age they have, an age that is not known, and more items than are used."""
        history = [
            ["", "i1", "", "i3", "i5", ""],
            ["i1", "i2", "i3", "i4", "i5", "i6"],
            ["", "", "", "", "", ""],
            ["i9", "new", "", "i1", "", ""],
        ]
        ages = [
            [7.0, 50.0, NAN, NAN, 30.0, 9.0],
            [60.0, 50.0, 40.0, 30.0, 20.0, 10.0],
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            [9.0, 8.0, NAN, 6.0, 5.0, NAN],
        ]
        found = data.transform.user(raw(history, ages))
        expected = [[50, NAN, 30, NAN], [40, 30, 20, 10], [NAN] * 4, [9, 8, 6, NAN]]
        np.testing.assert_array_equal(found[HISTORY_AGE], np.float32(expected))
        alone = [
            data.transform.user(raw([[item]], [[1.0]]))[HISTORY_INDEX].numpy().item() for item in ("i1", "i3", "i5")
        ]
        assert found[HISTORY_INDEX].numpy()[0].tolist() == [*alone, 0]
        assert found[HISTORY_INDEX].shape == found[HISTORY_AGE].shape

    def test_training_reads_what_serving_computes(self, data, aged_world):
        files = [str(path) for path in aged_world.requests.glob("Split-eval/*")]
        examples = list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())
        served = data.transform.examples(tf.constant(examples))
        ((inputs, _, _),) = data.eval_batches(500).take(1)
        assert len(examples) == len(inputs[HISTORY_AGE])

        def rows(found):
            # What ingestion writes is no longer than what serving uses; the tiny world's examples may be.
            both = zip(found[HISTORY_INDEX].numpy(), found[HISTORY_AGE].numpy(), strict=True)
            return sorted((index[index > 0][-4:].tolist(), ages[index > 0][-4:].tolist()) for index, ages in both)

        assert rows(served) == rows(inputs)
        raw_ages = [
            list(tf.train.Example.FromString(example).features.feature["history_age_s"].float_list.value)[-4:]
            for example in examples
        ]
        assert sorted(raw_ages) == sorted(ages for _, ages in rows(served))
        assert np.isnan(served[HISTORY_AGE].numpy()[served[HISTORY_INDEX].numpy() == 0]).all()

    @pytest.mark.parametrize("change", ["more", "fewer", "none"])
    def test_an_example_of_another_number_of_ages_is_refused(self, data, aged_world, change):
        file = next(aged_world.requests.glob("Split-eval/*"))
        for record in tf.data.TFRecordDataset(str(file), compression_type="GZIP").as_numpy_iterator():
            example = tf.train.Example.FromString(record)
            values = example.features.feature["history_age_s"].float_list.value
            if len(values) > 1:
                break
        given = {"more": [*values, 1.0], "fewer": list(values)[1:], "none": []}[change]
        del values[:]
        values.extend(given)
        with pytest.raises(tf.errors.InvalidArgumentError, match="history_age_s must have one value for each history"):
            data.transform.examples(tf.constant([example.SerializeToString()]))

    def test_ages_stay_where_negatives_are_left_out(self, data):
        def ages(**options):
            batches = request_batches(
                data.files["train"], data.tft_output, data.transform, 64, requests=data.requests["train"], **options
            )
            return {
                (index[index > 0].tobytes(), age[index > 0].tobytes())
                for inputs, _, _ in batches
                for index, age in zip(inputs[HISTORY_INDEX].numpy(), inputs[HISTORY_AGE].numpy(), strict=True)
            }

        assert ages(keep_negatives=0.3) <= ages()

    def test_the_tiny_world_without_ages_has_none(self, tiny_world, tiny_data):
        assert not tiny_data.training_data.transform.history_ages
        assert HISTORY_AGE not in tiny_data.training_data.transform.user({**raw([["i1"]], [[1.0]])})


class TestModel:
    def test_the_schema_has_the_buckets_unless_it_goes_without(self, data):
        assert new_model("dmf", {}, data, seed=1).schema.history_age_buckets == 6
        without = new_model("dmf", {}, data, without=("ages",), seed=1)
        assert without.schema.history_age_buckets is None and not without.uses_history_ages
        assert not new_model("dmf_centric", {}, data, seed=1).uses_history_ages

    def test_all_ways_give_the_scores_of_keras(self, model_dir):
        problems, figures = check_servable(model_dir, 1e-5)
        assert problems == [] and figures["golden_requests"] > 10 and figures["warmup_requests"] > 5
        golden = {entry["case"]: entry for entry in json.loads((model_dir / contract.GOLDEN_FILE).read_text())}
        assert {"unknown ages", "empty history", "missing content"} <= set(golden)
        assert golden["unknown ages"]["scores"] != golden["longest history"]["scores"]

    def test_the_contract_and_the_metadata_say_so(self, model_dir, trained):
        found = contract.ModelContract.read(model_dir)
        assert found.history_ages
        for name in (
            contract.RANK,
            contract.USER_TOWER,
            contract.EXPLAIN,
            contract.RANK_WITH_CONTENT,
            contract.TRANSFORM,
        ):
            assert found.signatures[name]["inputs"]["history_age_s"].shape == (None, None)
        assert "history_age_s" not in found.signatures[contract.CANDIDATE]["inputs"]
        assert read_json(model_dir, contract.METADATA_FILE)["history_age_buckets"] == 6
        plain = trained / "Format-Serving"
        assert "age_s" not in (plain / contract.CONTRACT_FILE).read_text()
        assert "age_b" not in (plain / contract.METADATA_FILE).read_text()

    def test_ages_matter_where_there_are_items(self, direct):
        before = direct(USER)
        assert np.abs(direct({**USER, "history_age_s": [5.0, 3600.0, DAY]}) - before).max() > 1e-6
        padded = {
            **USER,
            "history_item_id": ["", "i1", "", "i3", "i8", ""],
            "history_age_s": [1, DAY, 2, 3600, 5.0, NAN],
        }
        np.testing.assert_allclose(direct(padded), before, atol=1e-6)

    def test_a_request_of_other_ages_is_refused(self, model_dir, trained):
        found = contract.ModelContract.read(model_dir)
        request = {**USER, contract.CANDIDATE_ITEM_ID: ITEMS}
        with pytest.raises(ValueError, match="history_age_s must be a list of 3 numbers"):
            request_arrays({**request, "history_age_s": [1.0]}, found)
        with pytest.raises(KeyError, match="history_age_s"):
            request_arrays(request, contract.ModelContract.read(trained / "Format-Serving"))


@pytest.fixture(scope="module")
def server(model_dir):
    with LocalServer(model_dir.parent, "shop", rest_port=0) as server:
        yield server


@pytest.fixture(params=["grpc", "rest"])
def client(request, server):
    grpc = request.param == "grpc"
    kind, target = (RankingClient, server.target) if grpc else (RestRankingClient, server.rest_target)
    with kind(target, "shop", PATIENT) as client:
        yield client


class TestServed:
    def test_rank_and_the_two_steps_give_the_scores(self, client, direct):
        assert client.metadata().history_ages
        assert "history_age_s" not in client.metadata().features and not client.metadata().columns
        for user in (USER, {**USER, "history_age_s": [None, NAN, 5]}, {**USER, "history_age_s": np.float64([9, 8, 7])}):
            ranking = client.rank(user, ITEMS)
            ages = [None if age is None else float(age) for age in user["history_age_s"]]
            np.testing.assert_allclose(
                ranking.scores_in_request_order, direct({**user, "history_age_s": ages}), atol=1e-6
            )
            state = UserState.from_bytes(client.encode_user(user).to_bytes())
            kept = client.score(state, ITEMS)
            np.testing.assert_allclose(kept.scores_in_request_order, ranking.scores_in_request_order, atol=1e-6)

    def test_a_cut_history_keeps_the_ages_of_what_is_left(self, server, direct):
        with RankingClient(server.target, "shop", ClientOptions(deadline=60.0, max_history=2)) as client:
            found = client.rank(USER, ITEMS).scores_in_request_order
        last = {**USER, "history_item_id": ["i3", "i8"], "history_age_s": [3600.0, 5.0]}
        np.testing.assert_allclose(found, direct(last), atol=1e-6)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"history_age_s": [1.0]}, "must have 3 numbers, one for each item of the history, got 1"),
            ({"history_age_s": [1.0, "x", 2.0]}, "history_age_s[1] must be a number or None, got str 'x'"),
            ({"history_age_s": [1.0, 1e39, 2.0]}, "history_age_s[1] (float32) cannot be 1e+39"),
            ({"history_age_s": [1.0, True, 2.0]}, "must be a number or None, got bool"),
            ({"history_age_s": None}, "the user lacks 'history_age_s'"),
            ({"history_age_s": 5.0}, "must be a list of 3 numbers, one for each item of the history, got float 5.0"),
        ],
    )
    def test_what_does_not_fit_is_refused_before_it_is_sent(self, client, changes, words):
        with pytest.raises(BadRequest) as refused:
            client.rank({**USER, **changes}, ITEMS)
        assert refused.value.field == "history_age_s"
        assert words in str(refused.value)

    def test_ages_that_are_left_out(self, client, server, direct):
        without = {key: value for key, value in USER.items() if key != "history_age_s"}
        with pytest.raises(BadRequest, match="give None for an age that you do not know"):
            client.rank(without, ITEMS)
        # There is nothing to say of an empty history.
        client.rank({**without, "history_item_id": []}, ITEMS)
        with RankingClient(server.target, "shop", ClientOptions(deadline=60.0, fill_missing=True)) as filling:
            found = filling.rank(without, ITEMS).scores_in_request_order
        np.testing.assert_allclose(found, direct(without), atol=1e-6)

    def test_the_server_refuses_too_and_stays_up(self, server, model_dir, direct):
        found = contract.ModelContract.read(model_dir)
        arrays = request_arrays({**USER, contract.CANDIDATE_ITEM_ID: ITEMS}, found)
        short = {**arrays, "history_age_s": arrays["history_age_s"][:, :2]}
        inputs = {name: value.tolist() for name, value in short.items()}
        body = json.dumps({"signature_name": "rank", "inputs": inputs}).encode()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://{server.rest_target}/v1/models/shop:predict", body, 60)
        assert refused.value.code == 400
        assert "history_age_s must have shape [B, L]" in refused.value.read().decode()
        with RankingClient(server.target, "shop", PATIENT) as client:
            np.testing.assert_allclose(client.rank(USER, ITEMS).scores_in_request_order, direct(USER), atol=1e-6)

    def test_requests_of_unequal_length_are_batched(self, server, direct):
        from concurrent.futures import ThreadPoolExecutor

        def user(length):
            return {**USER, **{name: USER[name][:length] for name in ("history_item_id", "history_age_s")}}

        def ask(length):
            with RankingClient(server.target, "shop", PATIENT) as client:
                return client.rank(user(length), ITEMS).scores_in_request_order

        with ThreadPoolExecutor(4) as threads:
            for length, found in zip((0, 1, 2, 3), threads.map(ask, (0, 1, 2, 3)), strict=True):
                np.testing.assert_allclose(found, direct(user(length)), atol=1e-5)

    def test_load_draws_ages_of_the_golden_requests(self, model_dir):
        pool, users = golden_ages(model_dir), golden_users(model_dir)
        assert pool and "history_age_s" not in golden_columns(model_dir)
        assert not [user for user in users if "history_age_s" in user]
        (one,) = draw_requests(ITEMS, users, candidates=7, history=9, count=1, ages=pool)
        assert len(one.user["history_age_s"]) == len(one.user["history_item_id"]) == 9
        assert set(one.user["history_age_s"]) <= set(pool)


def with_log(model_dir, tmp_path, rows):
    """A copy of the model whose log is of these rows."""
    version = tmp_path / "shop" / "7"
    shutil.copytree(model_dir, version)
    log, items = tmp_path / "own.csv", tmp_path / "items.csv"
    pd.DataFrame(rows).to_csv(log, index=False)
    items.write_text("item_id\ni1\n")
    values = json.loads((version / contract.LOGS_FILE).read_text())
    values["data"] = {"interactions": {"path": str(log)}, "items": {"path": str(items)}}
    values["context"] = {"income": "numeric"}
    (version / contract.LOGS_FILE).write_text(json.dumps(values))
    return Version(version)


def row(user, item, time, label=1):
    return {"user_id": user, "item_id": item, "timestamp": time, "label": label, "income": 1.0}


T0 = 1_700_000_000
LOG = [row("u1", "i1", T0), row("u1", "i3", T0 + 500), row("u1", "i5", T0 + 600, 0), row("u2", "i7", T0 + 9000, 0)]


class TestCommands:
    def test_rank_counts_to_the_latest_time_of_the_whole_log(self, model_dir, tmp_path, direct):
        version = with_log(model_dir, tmp_path, LOG)
        ranked = rank(version, "u1", candidates=ITEMS)
        user = {"user_id": "u1", "history_item_id": ["i1", "i3"], "income": 1.0}
        expected = direct({**user, "history_age_s": [9000.0, 8500.0]})
        found = {entry.item: entry.score for entry in ranked.ranking}
        np.testing.assert_allclose([found[item] for item in ITEMS], expected, atol=1e-6)
        assert [note for note in ranked.notes if "2023-11-15T00:43:20+00:00, the latest time of the logs" in note]

    def test_a_typed_in_history_has_no_ages(self, model_dir, tmp_path, direct, capsys):
        version = with_log(model_dir, tmp_path, LOG)
        options = ["rank", "--model", str(version.path), "--user", "u1", "--candidates", ",".join(ITEMS), "--json"]
        assert main([*options, "--history", "i1,i3"]) == 0
        given = json.loads(capsys.readouterr().out)
        expected = direct({"user_id": "u1", "history_item_id": ["i1", "i3"], "income": 1.0})
        found = {entry["item"]: entry["score"] for entry in given["ranking"]}
        np.testing.assert_allclose([found[item] for item in ITEMS], expected, atol=1e-6)
        assert [note for note in given["notes"] if "is not known" in note]

    def test_explain_leaves_items_out_with_their_ages(self, model_dir, tmp_path, direct):
        found = explain(with_log(model_dir, tmp_path, LOG), "u1", "i2")
        user = {"user_id": "u1", "income": 1.0}
        ages = {"i1": 9000.0, "i3": 8500.0}
        assert found.score == pytest.approx(
            direct({**user, "history_item_id": list(ages), "history_age_s": list(ages.values())}, ["i2"])[0], abs=1e-6
        )
        for item in found.history:
            (left,) = set(ages) - {item.item}
            without = direct({**user, "history_item_id": [left], "history_age_s": [ages[left]]}, ["i2"])[0]
            assert item.score_without == pytest.approx(without, abs=1e-6)

    def test_replay_takes_them_from_json_lines(self, model_dir, tmp_path, direct):
        file = tmp_path / "captured.jsonl"
        line = {**{key: value for key, value in USER.items() if key != "history_item_id"}, "candidates": ITEMS}
        line |= {"history": USER["history_item_id"], "score": direct(USER).tolist()}
        file.write_text(json.dumps(line))
        report = replay(Version(model_dir), file, run=None, tolerance=1e-4)
        assert report.equal and report.count == 1
        file.write_text(json.dumps({**line, "history_age_s": [1.0]}))
        with pytest.raises(DataError, match="line 1: history_age_s must be a list of 3 numbers"):
            replay(Version(model_dir), file, run=None, tolerance=1e-4)
        assert replay(Version(model_dir), None, run=None, tolerance=1e-4).equal

    def test_score_has_the_ages_of_its_log(self, model_dir, tmp_path, direct):
        from tfx_pipeline.trained.score.score import score

        version = with_log(model_dir, tmp_path, LOG)
        new = tmp_path / "new.csv"
        pd.DataFrame([row("u1", item, T0 + 600 + 60, 0) for item in ITEMS]).to_csv(new, index=False)
        score(version, new, tmp_path / "scores.parquet", lambda *_: None, batch=4)
        user = {"user_id": "u1", "history_item_id": ["i1", "i3"], "income": 1.0}
        expected = direct({**user, "history_age_s": [660.0, 160.0]})
        np.testing.assert_allclose(pd.read_parquet(tmp_path / "scores.parquet")["score"], expected, atol=1e-6)

    def test_inspect_names_the_buckets(self, model_dir):
        out = io.StringIO()
        print_model(inspect_model(Version(model_dir)), Console(file=out, width=160))
        assert "how long ago each was in 6 buckets" in out.getvalue()
