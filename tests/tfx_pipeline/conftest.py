"""A tiny world, transformed for real, a model trained on it, and a browser: no whole pipeline run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.tfx_pipeline.pages.browser import CHROMIUM, Browser


@dataclasses.dataclass(frozen=True)
class TinyWorld:
    """Artifacts as TFX would hand them to the Trainer."""

    requests: Path
    report: Path
    transformed: Path
    transform_graph: Path
    content: Path
    custom_config: dict[str, str]

    def fn_args(self, out: Path, **overrides: str | bool | int) -> SimpleNamespace:
        """What `run_fn` is called with."""
        return SimpleNamespace(
            train_files=[str(self.transformed / "Split-train" / "*")],
            transform_output=str(self.transform_graph),
            serving_model_dir=str(out / "Format-Serving"),
            model_run_dir=str(out / "run"),
            hyperparameters=None,
            custom_config={
                **self.custom_config,
                "state_root": str(out / "state"),
                "content_uri": str(self.content),
                "requests_uri": str(self.requests),
                "report_uri": str(self.report),
                **overrides,
            },
        )


ITEMS = [f"i{n}" for n in range(40)]
# The last items have no embedding in either modality.
WITHOUT_CONTENT = set(ITEMS[-5:])


# Of candidates: what a request carries, and where an item was shown, which explains half of the clicks.
SHOWN = {
    "price_shown": {"kind": "numeric", "scaling": "quantiles", "buckets": 4},
    "discount": {"kind": "numeric"},
    "badge": {"kind": "categorical"},
    "slot": {"kind": "categorical", "role": "bias", "serving_value": "1"},
    "depth": {"kind": "numeric", "role": "bias", "serving_value": 1},
}


def _shown(rng: np.random.Generator, candidates: list[str]) -> dict[str, list[str | float]]:
    """Values of `SHOWN`, one for each candidate; some are missing."""
    nan = float("nan")
    return {
        "price_shown": [nan if rng.random() < 0.2 else float(rng.integers(1, 100)) for _ in candidates],
        "discount": [nan if rng.random() < 0.2 else float(rng.normal()) for _ in candidates],
        "badge": [("", "new", "sale", "top")[rng.integers(0, 4)] for _ in candidates],
        "slot": [str(place + 1) for place in range(len(candidates))],
        "depth": [float(place + 1) for place in range(len(candidates))],
    }


def _example(rng: np.random.Generator, split: str, shown: bool = False, aged: bool = False):
    import tensorflow as tf

    from tfx_pipeline.data.examples import raw_features

    taste = rng.integers(0, 2)
    history = [ITEMS[int(i) * 2 + taste] for i in rng.integers(0, 15, rng.integers(0, 6))]
    # Items above 30 are shown in eval only: out of vocabulary, some with content.
    candidates = [ITEMS[int(i)] for i in rng.choice(30 if split == "train" else 40, rng.integers(1, 5), replace=False)]
    labels = [int(int(c[1:]) % 2 == taste) for c in candidates]

    def feature(values):
        if not values or isinstance(values[0], str):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode() for v in values]))
        if isinstance(values[0], float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    columns = _shown(rng, candidates) if shown else {}
    ages = sorted((float(seconds) for seconds in rng.integers(1, 10**6, len(history))), reverse=True) if aged else []
    age = [] if rng.random() < 0.1 else [float(rng.integers(18, 70))]
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                raw_features.USER_ID: feature([f"u{rng.integers(0, 20)}"]),
                raw_features.HISTORY_ITEM_ID: feature(history),
                raw_features.CANDIDATE_ITEM_ID: feature(candidates),
                raw_features.LABEL: feature(labels),
                raw_features.REQUEST_TIME: feature([int(rng.integers(1, 10**9))]),
                raw_features.SPLIT: feature([split]),
                "gender": feature([] if rng.random() < 0.1 else [("f", "m")[rng.integers(0, 2)]]),
                "age": feature(age) if age else tf.train.Feature(float_list=tf.train.FloatList()),
                "income": feature([float(rng.lognormal())]),
                **{name: feature(values) for name, values in columns.items()},
                **({raw_features.HISTORY_AGE: tf.train.Feature(float_list={"value": ages})} if aged else {}),
            }
        )
    )


def _tally():
    """Counts of a log whose train split lasts from the first second of 1970 to the hundredth."""
    from tfx_pipeline.data.logs.tally import Tally

    tally = Tally()
    for key, count in ((("requests", "train"), 400), (("requests", "eval"), 100), (("users",), 20)):
        tally.add(*key, count=count)
    tally.range("time_us", "train", low=1_000_000, high=100_000_000)
    tally.range("cuts_us", low=101_000_000, high=111_000_000)
    return tally


def _make_tiny_world(root: Path, candidate: dict[str, dict] | None = None, age_buckets: int | None = None) -> TinyWorld:
    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform as tft
    from tensorflow_transform import beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils
    from tfx_bsl.public import tfxio

    from tfx_pipeline.components.behavior_log_example_gen.report import build_report, to_text
    from tfx_pipeline.config.ingestion import IngestionConfig
    from tfx_pipeline.config.model import Model
    from tfx_pipeline.config.schema import Evaluation, Features, Training
    from tfx_pipeline.data.content.table import ContentMatrix, Coverage, ItemContentTable, write_content
    from tfx_pipeline.data.examples import raw_features
    from tfx_pipeline.runners import beam_graphs
    from tfx_pipeline.runners.beam_args import runner_args
    from tfx_pipeline.transform.preprocessing import preprocessing_fn

    rng = np.random.default_rng(3)
    requests, transformed, graph = root / "requests", root / "transformed", root / "graph"
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    for split, count in (("train", 400), ("eval", 100)):
        (requests / f"Split-{split}").mkdir(parents=True)
        with tf.io.TFRecordWriter(str(requests / f"Split-{split}" / "data-00000-of-00001.gz"), options) as writer:
            for _ in range(count):
                example = _example(rng, split, bool(candidate), age_buckets is not None)
                writer.write(example.SerializeToString())

    features = Features.model_validate(
        {
            "user_id": {"min_count": 2},
            "item_id": {"oov_buckets": 2},
            "user": {"gender": {"kind": "categorical"}, "age": {"kind": "numeric"}},
            "context": {"income": {"kind": "numeric", "scaling": "quantiles", "buckets": 4}},
            "candidate": candidate or {},
        }
    )
    spec = {name: tf.io.VarLenFeature(tf.string) for name in (raw_features.USER_ID, raw_features.HISTORY_ITEM_ID)}
    spec |= {
        name: tf.io.VarLenFeature(tf.string) for name in (raw_features.CANDIDATE_ITEM_ID, raw_features.SPLIT, "gender")
    }
    spec |= {name: tf.io.VarLenFeature(tf.float32) for name in ("age", "income")}
    spec |= {name: tf.io.VarLenFeature(tf.int64) for name in (raw_features.LABEL, raw_features.REQUEST_TIME)}
    kinds = {"categorical": tf.string, "numeric": tf.float32}
    spec |= {name: tf.io.VarLenFeature(kinds[column["kind"]]) for name, column in (candidate or {}).items()}
    spec |= {raw_features.HISTORY_AGE: tf.io.VarLenFeature(tf.float32)} if age_buckets else {}
    schema = schema_utils.schema_from_feature_spec(spec)

    def transform(inputs):
        return preprocessing_fn(inputs, {"features": features.of_requests()})

    def source(split: str):
        return tfxio.TFExampleRecord(f"{requests}/Split-{split}/*", schema=schema)

    # As steps run.
    beam_graphs.remember()
    with (
        beam.Pipeline(argv=runner_args(["--runner=DirectRunner"])) as pipeline,
        tft_beam.Context(temp_dir=str(root / "tmp")),
    ):
        config = source("train").TensorAdapterConfig()
        train = pipeline | "train" >> source("train").BeamSource()
        fn = (train, config) | tft_beam.AnalyzeDataset(transform)
        _ = fn | tft_beam.WriteTransformFn(str(graph))
        for split in ("train", "eval"):
            data = pipeline | f"read {split}" >> source(split).BeamSource()
            rows, metadata = ((data, config), fn) | f"apply {split}" >> tft_beam.TransformDataset(
                output_record_batches=False
            )
            coder = tft.coders.ExampleProtoCoder(dataset_metadata.DatasetMetadata(metadata.schema).schema)
            _ = (
                rows
                | f"encode {split}" >> beam.Map(coder.encode)
                | f"write {split}"
                >> beam.io.WriteToTFRecord(f"{transformed}/Split-{split}/data", file_name_suffix=".gz")
            )

    # What TFX's Transform adds to TFT's own output.
    metadata_io.write_metadata(dataset_metadata.DatasetMetadata(schema), str(graph / "metadata"))
    present = np.array([item not in WITHOUT_CONTENT for item in ITEMS])
    modalities = {}
    for name, width in (("text", 6), ("image", 4)):
        vectors = rng.normal(size=(len(ITEMS), width)) + 2 * (np.arange(len(ITEMS)) % 2)[:, None]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[~present] = 0
        count = int(present.sum())
        coverage = Coverage(len(ITEMS), count, len(ITEMS) - count, 0, 0)
        # The texts were reduced from 9 numbers.
        basis = np.linalg.qr(rng.normal(size=(9, width)))[0].astype(np.float32) if name == "text" else None
        modalities[name] = ContentMatrix(
            vectors=vectors.astype(np.float16),
            present=present,
            storage_dtype="float16",
            source=f"{name}.npz",
            source_width=width if basis is None else len(basis),
            basis=basis,
            explained_variance=None,
            coverage=coverage,
        )
    write_content(ItemContentTable(ITEMS, modalities), root / "content")

    nowhere = {"path": str(root / "nowhere.parquet")}
    ingestion = IngestionConfig.model_validate(
        {
            "data": {"interactions": nowhere, "items": nowhere},
            "history": {"max_length": 4},
            "split": {"fractions": {}},
            "candidate": {name: column["kind"] for name, column in (candidate or {}).items()},
            "history_ages": age_buckets is not None,
        }
    )
    sections = {
        "ingestion": ingestion,
        "features": features,
        "model": Model(params={"id_dim": 8, "attention_dim": 8, "hidden_units": [16], "buckets": 9}),
        "training": Training(batch_size=32, epochs=2, seed=5),
        "evaluation": Evaluation(),
    }
    custom_config = {
        "name": "tiny",
        "code": "none",
        "warmup_candidates": [1, 7],
        "explain": True,
        "calibration": "none",
    } | {name: section.model_dump_json() for name, section in sections.items()}
    custom_config |= {"age_buckets": age_buckets} if age_buckets else {}
    report = root / "report"
    report.mkdir()
    (report / "report.json").write_text(to_text(build_report(_tally())))
    return TinyWorld(requests, report, transformed, graph, root / "content", custom_config)


@pytest.fixture(scope="session")
def tiny_world(once_per_run) -> TinyWorld:
    """Examples, transform graph and transformed examples (by TFT itself) and a content table of 40 items."""
    return once_per_run("tiny_world", _make_tiny_world)


def _train(world: TinyWorld, out: Path) -> Path:
    from tfx_pipeline.training.run_fn import run_fn

    run_fn(world.fn_args(out))
    return out


@pytest.fixture(scope="session")
def trained(tiny_world: TinyWorld, once_per_run) -> Path:
    """What `run_fn` leaves: `Format-Serving` (the exported model), `run` (training's documents), `state` (empty)."""
    return once_per_run("trained", lambda out: _train(tiny_world, out))


@pytest.fixture(scope="session")
def rounded(tiny_world: TinyWorld, once_per_run) -> Path:
    """As `trained`, exported in bfloat16."""
    from tfx_pipeline.training.run_fn import run_fn

    def train(out: Path) -> Path:
        run_fn(tiny_world.fn_args(out, precision="bfloat16"))
        return out

    return once_per_run("rounded", train)


@pytest.fixture(scope="session")
def recommending(tiny_world: TinyWorld, once_per_run) -> Path:
    """As `trained`, with a retrieval stage that ranks ten items; that of its own training is in `retrieval/run`.

    Beside the model lies an approximate index. Pages are in the order of both scores.
    """
    from tfx_pipeline.config.stages import Approximate, Retrieval
    from tfx_pipeline.training.retrieval.retrieval_fn import retrieval_fn
    from tfx_pipeline.training.run_fn import run_fn

    def train(out: Path) -> Path:
        retrieval = Retrieval(params={"id_dim": 8}, batch_size=32, epochs=2, random_negatives=8)
        retrieval_fn(tiny_world.fn_args(out / "retrieval", retrieval=retrieval.model_dump_json()))
        also = {
            "retrieval_run_uri": str(out / "retrieval" / "run"),
            "approximate": Approximate(at=20).model_dump_json(),
        }
        run_fn(tiny_world.fn_args(out, ranked_candidates=10, retrieval_weight=2.0, **also))
        return out

    return once_per_run("recommending", train)


@pytest.fixture(scope="session")
def shown_world(once_per_run) -> TinyWorld:
    """The tiny world with columns of candidates, `SHOWN`."""
    return once_per_run("shown_world", lambda root: _make_tiny_world(root, SHOWN))


@pytest.fixture(scope="session")
def shown_trained(shown_world: TinyWorld, once_per_run) -> Path:
    """As `trained`, with columns of candidates."""
    return once_per_run("shown_trained", lambda out: _train(shown_world, out))


@pytest.fixture(scope="session")
def aged_world(once_per_run) -> TinyWorld:
    """The tiny world with ages of history items, for models with six buckets of them."""
    return once_per_run("aged_world", lambda root: _make_tiny_world(root, age_buckets=6))


@pytest.fixture(scope="session")
def aged_trained(aged_world: TinyWorld, once_per_run) -> Path:
    """As `trained`, with ages of history items."""
    return once_per_run("aged_trained", lambda out: _train(aged_world, out))


@pytest.fixture(scope="session")
def tiny_data(tiny_world: TinyWorld):
    """The tiny world as the data of trials; its eval split stands for test too."""
    from tfx_pipeline.config.schema import Evaluation, Features
    from tfx_pipeline.training.trial_data import read_trial_data

    data = read_trial_data(
        examples=tiny_world.requests,
        transformed=tiny_world.transformed,
        transform_graph=tiny_world.transform_graph,
        content=tiny_world.content,
        features=Features.model_validate_json(tiny_world.custom_config["features"]),
        max_history=4,
        evaluation=Evaluation(),
        digest="tiny",
    )
    return dataclasses.replace(data, examples={**data.examples, "test": data.examples["eval"]})


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless browser that is started once, for the pages that tests look at."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine to open the page with")
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started
