"""Columns of candidates from transformed examples to a served model: those that requests carry, and biases."""

from __future__ import annotations

import json
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from serving import contract
from serving.client import BadRequest, ClientOptions, RankingClient, RestRankingClient
from serving.export.metadata import read_json
from serving.export.servable import Servable, request_arrays
from serving.export.servable_check import check_servable
from serving.load import draw_requests, golden_columns, golden_users
from serving.local_server.server import LocalServer
from tfx_pipeline.cli import main
from tfx_pipeline.config.schema import Features
from tfx_pipeline.console import Console
from tfx_pipeline.data.content.table import read_content
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.trained.explain.explanation import explain
from tfx_pipeline.trained.inspection import inspect_model, print_model
from tfx_pipeline.trained.replay.replay import replay
from tfx_pipeline.trained.version import Version
from tfx_pipeline.training.model_training import TrainingData, new_model
from tfx_pipeline.transform.dataset import request_batches
from tfx_pipeline.transform.request_transform import RequestTransform

NAN = float("nan")
CARRIED = {"price_shown": "float32", "discount": "float32", "badge": "string"}
USER = {"user_id": "u1", "history_item_id": ["i1", "i3"], "gender": "f", "age": 30.0, "income": 1.0}
ITEMS = ["i2", "i1", "never seen", "i30"]
COLUMNS = {"price_shown": [99, None, 1.5, 40.0], "discount": [0.5, -2, None, 0], "badge": ["new", "top", None, "odd"]}
PATIENT = ClientOptions(deadline=60.0)


def transform_of(world, **changes) -> RequestTransform:
    features = Features.model_validate({**json.loads(world.custom_config["features"]), **changes})
    output = tft.TFTransformOutput(str(world.transform_graph))
    return RequestTransform(output, world.content / "item_ids.txt", features, 4)


@pytest.fixture(scope="module")
def data(shown_world) -> TrainingData:
    transform = transform_of(shown_world)
    features = Features.model_validate_json(shown_world.custom_config["features"])
    content = read_content(str(shown_world.content))
    output = tft.TFTransformOutput(str(shown_world.transform_graph))
    return TrainingData.read(str(shown_world.transformed), output, transform, content, features)


@pytest.fixture(scope="module")
def model_dir(shown_trained, tmp_path_factory):
    """A copy of the exported model as version 7 of a served model."""
    version = tmp_path_factory.mktemp("shown") / "shop" / "7"
    shutil.copytree(shown_trained / "Format-Serving", version)
    return version


@pytest.fixture(scope="module")
def direct(model_dir):
    """Returns direct(items, columns): scores by the exported model in this process."""
    found = contract.ModelContract.read(model_dir)
    servable = Servable(model_dir, optimised=False)

    def score(items, columns):
        request = {**USER, contract.CANDIDATE_ITEM_ID: items, **columns}
        return servable.run(contract.RANK, request_arrays(request, found))[contract.SCORE][0]

    yield score
    servable.close()


class TestTransform:
    def test_missing_values_are_0_and_others_are_as_the_train_split_has_them(self, data, shown_world):
        raw = {name: [] for name in CARRIED}
        for record in tf.data.TFRecordDataset(
            [str(path) for path in shown_world.requests.glob("Split-train/*")], compression_type="GZIP"
        ).as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            for name in raw:
                raw[name] += feature[name].bytes_list.value or feature[name].float_list.value
        known = np.array(raw["discount"], np.float64)
        mean, deviation = np.nanmean(known), np.nanstd(known)
        item = np.array([["i1", "i2", "i3"]], object)
        values = {
            "price_shown": np.array([[NAN, -5.0, 1000.0]], np.float32),
            "discount": np.array([[NAN, 0.0, 2.0]], np.float32),
            "badge": np.array([["", "never in train", "sale"]], object),
        }
        found = data.transform.candidates({contract.CANDIDATE_ITEM_ID: tf.constant(item), **values})
        assert found["price_shown"].numpy().tolist() == [[0, 1, 4]]
        np.testing.assert_allclose(found["discount"], [[0, (0 - mean) / deviation, (2 - mean) / deviation]], atol=1e-4)
        # Three names, and what is none of them.
        missing, other, sale = found["badge"].numpy()[0].tolist()
        assert (missing, other) == (0, 4) and 1 <= sale <= 3

    def test_serving_values_are_those_of_the_transform(self, data):
        found = data.transform.serving_values()
        assert set(found) == {"slot", "depth"}
        # The first slot is the one that most requests have.
        assert found["slot"] == 1
        assert found["depth"] < 0

    def test_a_serving_value_that_train_lacks_is_refused(self, shown_world):
        slot = {"slot": {"kind": "categorical", "role": "bias", "serving_value": "77"}}
        with pytest.raises(ModelError, match=r"candidate\.slot\.serving_value: '77' is not in the vocabulary"):
            transform_of(shown_world, candidate=slot).serving_values()

    def test_how_items_were_shown_is_in_batches_of_training_alone(self, data, shown_world):
        ((inputs, _, _),) = request_batches(
            data.files["eval"], data.tft_output, data.transform, 500, requests=data.requests["eval"]
        ).take(1)
        assert {*CARRIED, "slot", "depth"} <= set(inputs)
        examples = next(
            tf.data.TFRecordDataset(
                [str(path) for path in shown_world.requests.glob("Split-eval/*")], compression_type="GZIP"
            )
            .batch(10)
            .as_numpy_iterator()
        )
        of_examples = data.transform.examples(tf.constant(examples))
        assert set(CARRIED) <= set(of_examples) and not {"slot", "depth"} & set(of_examples)

    def test_validation_is_told_how_items_were_shown(self, data):
        for validation in (False, True):
            ((inputs, _, _),) = data.eval_batches(500, validation=validation).take(1)
            told = {name for name in inputs if name.startswith("as_shown/")}
            assert told == ({"as_shown/slot", "as_shown/depth"} if validation else set())
        np.testing.assert_array_equal(inputs["as_shown/slot"], inputs["slot"])

    def test_an_example_with_too_few_values_is_refused(self, data, shown_world):
        file = next(shown_world.requests.glob("Split-eval/*"))
        example = tf.train.Example.FromString(
            next(tf.data.TFRecordDataset(str(file), compression_type="GZIP").as_numpy_iterator())
        )
        example.features.feature["badge"].bytes_list.value.append(b"new")
        with pytest.raises(tf.errors.InvalidArgumentError, match="badge must have one value for each candidate"):
            data.transform.examples(tf.constant([example.SerializeToString()]))

    def test_values_stay_with_their_candidates_where_negatives_are_left_out(self, data):
        def rows(**options):
            batches = request_batches(
                data.files["train"], data.tft_output, data.transform, 64, requests=data.requests["train"], **options
            )
            found = []
            for inputs, labels, weights in batches:
                names = ("candidate_index", *CARRIED, "slot", "depth")
                values = [inputs[name].numpy()[weights.numpy() > 0] for name in names]
                found += zip(*values, labels.numpy()[weights.numpy() > 0], strict=True)
            return found

        every, some = rows(), rows(keep_negatives=0.3)
        assert len(some) < len(every)
        assert set(some) <= set(every)


class TestModel:
    def test_the_schema_says_what_is_a_bias(self, data):
        schema = new_model("dmf", {}, data, seed=1).schema
        assert schema.candidate_categorical == {"price_shown": 5, "badge": 5, "slot": 6}
        assert schema.candidate_numeric == ("discount", "depth")
        assert set(schema.candidate_bias) == {"slot", "depth"}

    def test_a_model_without_them(self, data):
        model = new_model("dmf", {}, data, without=("candidates",), seed=1)
        assert model.bias_tower is model.candidate_columns is None
        assert model.schema.to_dict() == new_model("dmf", {}, data, without=("candidates",), seed=2).schema.to_dict()

    def test_what_is_exported_takes_no_bias(self, model_dir):
        found = contract.ModelContract.read(model_dir)
        assert found.candidate_inputs == CARRIED
        for name in (contract.RANK, contract.CANDIDATE, contract.EXPLAIN, contract.RANK_WITH_CONTENT):
            inputs = found.signatures[name]["inputs"]
            assert {column: inputs[column].dtype for column in CARRIED} == CARRIED
            assert inputs["badge"].shape == (None, None)
            assert not {"slot", "depth"} & set(inputs)
        assert not set(CARRIED) & set(found.signatures[contract.USER_TOWER]["inputs"])

    def test_all_ways_give_the_scores_of_keras(self, model_dir):
        problems, figures = check_servable(model_dir, 1e-5)
        assert problems == [] and figures["golden_requests"] > 10 and figures["warmup_requests"] > 5
        cases = {entry["case"] for entry in json.loads((model_dir / contract.GOLDEN_FILE).read_text())}
        assert {"missing candidate columns", "carried content"} <= cases

    def test_columns_move_scores_each_of_its_candidate(self, direct):
        before = direct(ITEMS, COLUMNS)
        for name, value in (("price_shown", 1), ("discount", 3.0), ("badge", "sale")):
            changed = [value, *COLUMNS[name][1:]]
            after = direct(ITEMS, {**COLUMNS, name: changed})
            assert abs(after[0] - before[0]) > 1e-6, name
            np.testing.assert_allclose(after[1:], before[1:], atol=1e-6)

    def test_metadata_says_which_there_are(self, model_dir):
        assert read_json(model_dir, contract.METADATA_FILE)["candidate_columns"] == {
            "price_shown": {"role": "feature", "rows": 5},
            "badge": {"role": "feature", "rows": 5},
            "slot": {"role": "bias", "rows": 6},
            "discount": {"role": "feature", "rows": None},
            "depth": {"role": "bias", "rows": None},
        }

    def test_a_request_of_other_columns_is_refused(self, model_dir):
        found = contract.ModelContract.read(model_dir)
        request = {**USER, contract.CANDIDATE_ITEM_ID: ITEMS}
        with pytest.raises(ValueError, match="discount must be a list of 4 values"):
            request_arrays({**request, **COLUMNS, "discount": [1.0]}, found)
        with pytest.raises(KeyError, match="slot"):
            request_arrays({**request, **COLUMNS, "slot": ["1"] * 4}, found)


@pytest.fixture(scope="module")
def server(model_dir):
    with LocalServer(model_dir.parent, "shop", rest_port=0) as server:
        yield server


@pytest.fixture(params=["grpc", "rest"])
def client(request, server):
    grpc = request.param == "grpc"
    kind, target = (RankingClient, server.target) if grpc else (RestRankingClient, server.rest_target)
    # Pages of three.
    with kind(target, "shop", ClientOptions(deadline=60.0, max_candidates_per_call=3)) as client:
        yield client


class TestServed:
    def test_pages_take_their_columns_along(self, client, direct):
        assert client.metadata().columns == CARRIED
        assert not set(CARRIED) & set(client.metadata().features)
        for count in (2, 4):
            columns = {name: values[:count] for name, values in COLUMNS.items()}
            ranking = client.rank(USER, ITEMS[:count], columns=columns)
            np.testing.assert_allclose(ranking.scores_in_request_order, direct(ITEMS[:count], columns), atol=1e-6)
            state = client.encode_user(USER)
            kept = client.score(state, ITEMS[:count], columns=columns)
            np.testing.assert_allclose(kept.scores_in_request_order, ranking.scores_in_request_order, atol=1e-6)

    @pytest.mark.parametrize(
        ("columns", "field", "words"),
        [
            (None, "columns['badge']", "column 'badge' (string) is missing"),
            ({**COLUMNS, "badge": ["new"] * 3}, "columns['badge']", "must have 4 values, one for each"),
            ({**COLUMNS, "bagde": ["new"] * 4}, "columns['bagde']", "unknown column 'bagde'"),
            ({**COLUMNS, "slot": ["1"] * 4}, "columns['slot']", "unknown column 'slot'"),
            ({**COLUMNS, "badge": [1, 2, 3, 4]}, "columns['badge']", "must be a string or None, got int 1"),
            ({**COLUMNS, "discount": ["x", 2, 3, 4]}, "columns['discount']", "must be a number or None, got str 'x'"),
            ({**COLUMNS, "discount": [1e39, 2, 3, 4]}, "columns['discount']", "cannot be 1e+39"),
            ({**COLUMNS, "badge": "new"}, "columns['badge']", "must be a list, got str"),
            ([1], "columns", "must map names to lists of values, got list"),
        ],
    )
    def test_what_does_not_fit_is_refused_before_it_is_sent(self, client, columns, field, words):
        with pytest.raises(BadRequest) as refused:
            client.rank(USER, ITEMS, columns=columns)
        assert refused.value.field == field
        assert words in str(refused.value)

    def test_missing_ones_are_filled_when_asked_for(self, server, direct):
        with RankingClient(server.target, "shop", ClientOptions(deadline=60.0, fill_missing=True)) as client:
            found = client.rank(USER, ITEMS).scores_in_request_order
        np.testing.assert_allclose(found, direct(ITEMS, {}), atol=1e-6)

    def test_the_server_refuses_too_and_stays_up(self, server, model_dir, direct):
        import urllib.error
        import urllib.request

        found = contract.ModelContract.read(model_dir)
        arrays = request_arrays({**USER, contract.CANDIDATE_ITEM_ID: ITEMS, **COLUMNS}, found)
        short = {**arrays, "badge": arrays["badge"][:, :3]}
        inputs = {
            name: np.where(pd.isna(value), 0, value).tolist() if value.dtype == np.float32 else value.tolist()
            for name, value in short.items()
        }
        body = json.dumps({"signature_name": "rank", "inputs": inputs}).encode()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://{server.rest_target}/v1/models/shop:predict", body, 60)
        assert refused.value.code == 400
        assert "badge must have shape [B, N]" in refused.value.read().decode()
        with RankingClient(server.target, "shop", PATIENT) as client:
            again = client.rank(USER, ITEMS, columns=COLUMNS).scores_in_request_order
        np.testing.assert_allclose(again, direct(ITEMS, COLUMNS), atol=1e-6)

    def test_requests_of_unequal_length_are_batched(self, server, direct):
        from concurrent.futures import ThreadPoolExecutor

        def ask(count):
            columns = {name: values[:count] for name, values in COLUMNS.items()}
            with RankingClient(server.target, "shop", PATIENT) as client:
                return client.rank(USER, ITEMS[:count], columns=columns).scores_in_request_order

        with ThreadPoolExecutor(4) as threads:
            for count, found in zip((1, 2, 3, 4), threads.map(ask, (1, 2, 3, 4)), strict=True):
                expected = direct(ITEMS[:count], {name: values[:count] for name, values in COLUMNS.items()})
                np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_load_has_values_of_the_golden_requests(self, model_dir):
        pools = golden_columns(model_dir)
        assert set(pools) == set(CARRIED)
        users = golden_users(model_dir)
        assert not [user for user in users if set(user) & set(CARRIED)]
        (one,) = draw_requests(ITEMS, users, candidates=7, history=2, count=1, columns=pools)
        assert {name: len(values) for name, values in one.columns.items()} == dict.fromkeys(CARRIED, 7)


class TestCommands:
    def test_rank_takes_columns_from_a_table(self, model_dir, tmp_path, capsys, direct):
        file = tmp_path / "candidates.csv"
        # A row of an item that was there already, and one column that the model does not take.
        table = pd.DataFrame({"item_id": ITEMS, **COLUMNS, "other": 1})
        pd.concat([table, table.iloc[:1].assign(badge="sale")]).to_csv(file, index=False)
        options = ["rank", "--model", str(model_dir), "--user", "u1", "--history", "i1,i3", "--json"]
        assert main([*options, "--candidates-from", str(file)]) == 0
        given = json.loads(capsys.readouterr().out)
        assert not [note for note in given["notes"] if "scored as missing" in note]
        request = {**USER, "gender": None, "age": None, "income": None, contract.CANDIDATE_ITEM_ID: ITEMS, **COLUMNS}
        with Servable(model_dir, optimised=False) as servable:
            arrays = request_arrays(request, contract.ModelContract.read(model_dir))
            expected = servable.run(contract.RANK, arrays)[contract.SCORE][0]
        found = {entry["item"]: entry["score"] for entry in given["ranking"]}
        np.testing.assert_allclose([found[item] for item in ITEMS], expected, atol=1e-6)
        assert main([*options, "--candidates", ",".join(ITEMS)]) == 0
        without = json.loads(capsys.readouterr().out)
        assert "no values were given of price_shown, discount, badge" in " ".join(without["notes"])

    def test_explain_counts_them_among_the_columns(self, model_dir):
        version = Version(model_dir)
        plain = explain(version, "u1", "i2", history=["i1"])
        assert [note for note in plain.notes if "price_shown, discount, badge" in note]
        given = explain(version, "u1", "i2", history=["i1"], columns={"discount": "3", "badge": "new"})
        assert [note for note in given.notes if "no values were given of price_shown," in note]
        part = {entry.part: entry.contribution for entry in given.parts}
        assert part["columns"] != {entry.part: entry.contribution for entry in plain.parts}["columns"]
        assert sum(part.values()) + given.base_logit == pytest.approx(given.logit, abs=1e-4)

    @pytest.mark.parametrize(
        ("columns", "message"),
        [({"slot": "1"}, "--column slot: the model takes no such column"), ({"discount": "much"}, "expected a number")],
    )
    def test_explain_refuses(self, model_dir, columns, message):
        with pytest.raises(DataError, match=message):
            explain(Version(model_dir), "u1", "i2", history=["i1"], columns=columns)

    def test_replay_takes_them_from_json_lines(self, model_dir, tmp_path, direct):
        file = tmp_path / "captured.jsonl"
        short = {"user_id": "u1", "history": ["i1", "i3"], "candidates": ITEMS, "gender": "f", "age": 30.0, "income": 1}
        line = {**short, **COLUMNS, "score": direct(ITEMS, COLUMNS).tolist()}
        file.write_text(json.dumps(line))
        report = replay(Version(model_dir), file, run=None, tolerance=1e-4)
        assert report.equal and report.count == 1
        file.write_text(json.dumps({**line, "badge": ["new"]}))
        with pytest.raises(DataError, match="line 1: badge must be a list of 4 values"):
            replay(Version(model_dir), file, run=None, tolerance=1e-4)
        assert replay(Version(model_dir), None, run=None, tolerance=1e-4).equal

    def test_score_takes_them_from_the_log(self, model_dir, tmp_path):
        from tfx_pipeline.trained.score.score import score

        own, new = tmp_path / "own.csv", tmp_path / "new.csv"
        rows = [
            {
                "user_id": "u1",
                "item_id": item,
                "timestamp": 1_700_000_000,
                "label": 0,
                "income": 1.0,
                **{name: values[place] for name, values in COLUMNS.items()},
            }
            for place, item in enumerate(ITEMS)
        ]
        # The log that it was trained on says where items were shown; that to be scored need not.
        pd.DataFrame([{**row, "slot": "1", "depth": 1.0, "timestamp": 1} for row in rows]).to_csv(own, index=False)
        pd.DataFrame(rows).to_csv(new, index=False)
        version = tmp_path / "shop" / "7"
        shutil.copytree(model_dir, version)
        values = json.loads((version / contract.LOGS_FILE).read_text())
        values["data"]["interactions"] = {"path": str(own)}
        values["context"] = {"income": "numeric"}
        (version / contract.LOGS_FILE).write_text(json.dumps(values))
        score(Version(version), new, tmp_path / "scores.parquet", lambda *_: None, batch=4)
        found = pd.read_parquet(tmp_path / "scores.parquet")
        request = {"user_id": "u1", "history_item_id": [], "income": 1.0, contract.CANDIDATE_ITEM_ID: ITEMS, **COLUMNS}
        with Servable(version, optimised=False) as servable:
            arrays = request_arrays(request, contract.ModelContract.read(version))
            expected = servable.run(contract.RANK, arrays)[contract.SCORE][0]
        np.testing.assert_allclose(found["score"], expected, atol=1e-6)

    def test_inspect_names_their_roles(self, model_dir):
        import io

        out = io.StringIO()
        print_model(inspect_model(Version(model_dir)), Console(file=out, width=160))
        assert "of candidates, bias, 6 rows" in out.getvalue()
        assert "of candidates, feature, numbers" in out.getvalue()


def test_the_trained_model_explains_positions_in_training_alone(shown_trained, data):
    model = keras.models.load_model(shown_trained / "run" / "model.keras")
    ((inputs, _, _),) = request_batches(
        data.files["eval"], data.tft_output, data.transform, 100, requests=data.requests["eval"]
    ).take(1)
    other = {**inputs, "slot": tf.ones_like(inputs["slot"]) * 3}
    np.testing.assert_array_equal(model(inputs), model(other))
    assert not np.allclose(model(inputs, training=True), model(other, training=True), atol=1e-4)
    assert raw_features.LABEL not in inputs
