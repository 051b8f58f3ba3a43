from __future__ import annotations

import random
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import dmf_keras.models
from dmf_keras.models import (
    DMFConfig,
    ModalitySpec,
    ModelConfig,
    RankingModel,
    RankingSchema,
    build_model,
    model_config,
    model_names,
    register_model,
    registry,
)
from dmf_keras.models.inputs import CANDIDATE_INDEX, user_inputs

SCHEMA = RankingSchema(item_rows=10, content_rows=10, modalities={"text": ModalitySpec(4)})


def test_config_of_a_known_model():
    config = model_config("dmf", {"alpha": 0.25, "hidden_units": [8, 4]})
    assert isinstance(config, DMFConfig)
    assert (config.alpha, config.hidden_units, config.buckets) == (0.25, (8, 4), 35)
    assert DMFConfig(**config.to_dict()) == config


@pytest.mark.parametrize(("name", "params", "message"), [
    ("dfm", {}, r"no model 'dfm' \(did you mean 'dmf'\?\); models: .*dmf"),
    ("dmf", {"bucket": 3}, r"no parameter 'bucket' \(did you mean 'buckets'\?\); parameters: id_dim, .*embedding_l2"),
    ("dmf", {"alpha": 2}, "alpha must be a number from 0 to 1, got 2"),
    ("dmf", {"alpha": 1, "mixing": "gate"}, "strictly between 0 and 1 with gate mixing, got 1"),
    ("dmf", {"heads": 3}, r"attention_dim must be a multiple of heads \(3\), got 64"),
    ("dmf", {"hidden_units": []}, r"hidden_units must be a list of at least 1 integers, got \(\)"),
    ("dmf", {"hidden_units": [8, "x"]}, "each of hidden_units must be an integer of at least 1, got 'x'"),
    ("dmf", {"dropout": True}, "dropout must be a number from 0 to 0.95, got True"),
    ("dmf", {"bucket_edges": "log"}, "bucket_edges must be one of equal, quantile, got 'log'"),
    ("dmf", {"buckets": 0, "id_dim": 1.5}, "id_dim must .* got 1.5; buckets must .* got 0"),
])  # fmt: skip
def test_refuses_and_says_what_exists(name, params, message):
    with pytest.raises(ValueError, match=message):
        model_config(name, params)


def test_a_seed_decides_the_weights_and_nothing_else():
    state = random.getstate()
    weights = [
        [np.asarray(w) for w in build_model("dmf", {"hidden_units": [4]}, SCHEMA, seed=seed).weights]
        for seed in (1, 1, 2)
    ]
    assert random.getstate() == state
    assert all(np.array_equal(one, other) for one, other in zip(weights[0], weights[1], strict=True))
    assert not all(np.array_equal(one, other) for one, other in zip(weights[0], weights[2], strict=True))


@dataclass(frozen=True)
class PopularityConfig(ModelConfig):
    """Hyper-parameters of `Popularity`."""

    width: int = 1


class Popularity(RankingModel):
    """A user's own model: one score per item."""

    config_class = PopularityConfig

    def __init__(self, schema, config, **kwargs):
        import keras

        super().__init__(schema, config, **kwargs)
        self.scores = keras.layers.Embedding(schema.item_rows, config.width)
        self.scores.build((None,))
        self.built = True

    def encode_user(self, inputs, training=False):
        self.check_user_inputs(inputs)
        return {}

    def score(self, state, inputs, training=False):
        from keras import ops

        return ops.sum(self.scores(inputs[CANDIDATE_INDEX]), -1)


def test_a_model_of_a_user_is_built_and_trained_by_name(monkeypatch):
    # Other tests of this process, of the generated reference for one, must not see the model.
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    register_model("popularity", PopularityConfig, f"{__name__}:Popularity")
    register_model("popularity", PopularityConfig, f"{__name__}:Popularity")
    assert "popularity" in model_names()
    with pytest.raises(ValueError, match="'popularity' is registered already"):
        register_model("popularity", DMFConfig, "elsewhere:Model")

    import sys

    # pytest's import mode gives test modules names that Python cannot import again.
    sys.modules.setdefault(__name__, sys.modules[Popularity.__module__])
    model = build_model("popularity", {"width": 2}, SCHEMA, seed=0)
    x = {name: np.zeros([2] * len(spec.shape), np.int32) for name, spec in user_inputs(SCHEMA).items()}
    x |= {CANDIDATE_INDEX: np.array([[1, 2], [1, 2]]), "candidate_content_row": np.zeros((2, 2), np.int32)}
    model.compile("adam")
    before = model.evaluate(x, np.array([[1, 0], [1, 0]]), verbose=0)
    model.fit(x, np.array([[1, 0], [1, 0]]), epochs=20, verbose=0)
    assert model.evaluate(x, np.array([[1, 0], [1, 0]]), verbose=0) < before


def test_refuses_a_class_without_a_module():
    with pytest.raises(ValueError, match=r"\"package.module:Class\", got 'Model'"):
        register_model("mine", PopularityConfig, "Model")


def test_a_package_of_models_is_one_line_of_one_list():
    folders = {path.parent.name for path in Path(dmf_keras.models.__file__).parent.glob("*/__init__.py")}
    assert sorted(folders) == list(dmf_keras.models._PACKAGES)
    assert {registry.model_class(name).split(".")[2] for name in model_names()} == folders


@pytest.mark.parametrize("name", model_names())
def test_classes_of_a_built_in_model_are_public(name):
    module, model = registry.model_class(name).split(":")
    config = type(model_config(name, {}))
    assert {model, config.__name__} <= set(dmf_keras.models.__all__)
    assert getattr(dmf_keras.models, model) is getattr(import_module(module), model)
    assert getattr(dmf_keras.models, model).config_class is getattr(dmf_keras.models, config.__name__) is config


def test_a_model_says_in_words_what_its_parts_are(monkeypatch):
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    register_model("mine", PopularityConfig, "a:B", parts={"clicks": "popularity", "centric": "something else"})
    words = registry.parts_in_words()
    assert words["clicks"] == "popularity"
    assert words["centric"] == "modality-centric interest"  # of the built-in model, which was there first
