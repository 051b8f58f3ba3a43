"""Labels of models, and the section `comparison`."""

from __future__ import annotations

import sys

import pytest

from dmf_keras.models import model_names
from tfx_pipeline.config.label import Label

MODALITIES = ["text", "image", "audio"]
TWO = "    image: {path: image.npz}\n"


@pytest.mark.parametrize(
    ("text", "label", "written"),
    [
        ("dmf", Label("dmf", ()), "dmf"),
        ("dmf@text", Label("dmf", ("text",)), "dmf@text"),
        # Order and repeats say nothing, all of them is none.
        ("dmf@image+text", Label("dmf", ("text", "image")), "dmf@text+image"),
        ("dmf@text+text", Label("dmf", ("text",)), "dmf@text"),
        ("din@audio+text+image", Label("din", ()), "din"),
    ],
)
def test_label(text, label, written):
    assert Label.parse(text, MODALITIES) == label
    assert str(label) == written


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("dnf", r"no model 'dnf' \(did you mean 'dmf'\?\); models: content_concat, diff_msin, din, dmf"),
        ("dmf@txt", r"'dmf@txt': no modality 'txt' \(did you mean 'text'\?\); modalities: text, image, audio"),
        ("dmf@", "no modality ''; modalities: text"),
        ("@text", "no model ''"),
    ],
)
def test_unknown_labels_list_what_exists(text, problem):
    with pytest.raises(ValueError, match=problem):
        Label.parse(text, MODALITIES)


def test_without_the_section_every_model_is_compared(load):
    comparison = load().comparison
    assert (comparison.labels(), comparison.seeds, comparison.reference) == (model_names(), 3, "dmf")


@pytest.mark.parametrize(
    ("section", "compared"),
    [
        ("{models: {din: {id_dim: 8}}}", model_names()),
        ("{models: {dmf: {alpha: 0.3}}}", model_names()),
        ("{models: {din: {}, simtier: {}}}", model_names()),
        ("{models: {dmf@text: {}}}", [*model_names(), "dmf@text"]),
        ("{models: {din: {}, dmf: {}}}", ["din", "dmf"]),
        ("{models: {din: {}, dmf: {}}, reference: din}", ["din", "dmf"]),
        ("{models: {din: {}, dmf: {}}, reference: simtier}", model_names()),
    ],
)
def test_models_without_the_reference_or_beside_nothing_override_and_choose_nothing(load, section, compared):
    assert load(more=f"{TWO}comparison: {section}\n").comparison.labels() == compared


def test_shared_hyper_parameters_go_to_the_models_that_have_them(load):
    more = """
model: {params: {id_dim: 48, buckets: 21}}
comparison:
  models: {dmf: {alpha: 0.3}, dmf@text: {buckets: 9}, din: {}, mean_pooling: {id_dim: 8}}
"""
    config = load(more=TWO + more)
    found = {
        text: config.comparison.params(Label.parse(text, ["text", "image"]), config.model.params, config.model.name)
        for text in ("dmf", "dmf@text", "dmf@image", "din", "mean_pooling", "simtier")
    }
    assert found == {
        "dmf": {"id_dim": 48, "buckets": 21, "alpha": 0.3},
        "dmf@text": {"id_dim": 48, "buckets": 9, "alpha": 0.3},
        "dmf@image": {"id_dim": 48, "buckets": 21, "alpha": 0.3},
        "din": {"id_dim": 48},
        "mean_pooling": {"id_dim": 8},
        "simtier": {"id_dim": 48, "buckets": 21},
    }


def test_learning_rate_and_batches_may_be_a_models_own(load):
    more = """
training: {epochs: 7, learning_rate: 0.5}
comparison:
  training: {dmf: {learning_rate: 0.1, batch_size: 8}, dmf@text: {batch_size: 9}}
"""
    config = load(more=TWO + more)
    for text, expected in {"dmf": (0.1, 8), "dmf@text": (0.1, 9), "dmf@image": (0.1, 8), "din": (0.5, 1024)}.items():
        training = config.comparison.training_of(Label.parse(text, ["text", "image"]), config.training)
        assert (training.learning_rate, training.batch_size) == expected
        assert training.epochs == 7


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        (
            "{models: {dnf: {}}}",
            "comparison.models: no model 'dnf' (did you mean 'dmf'?); models: content_concat, diff_msin, din, ",
        ),
        ("{models: {dmf@sound: {}}}", "comparison.models: 'dmf@sound': no modality 'sound'; modalities: text, image"),
        ("{models: {dmf@image+text: {}}}", "comparison.models: 'dmf@image+text' is 'dmf': write it so"),
        ("{models: {dmf: {idd_im: 3}}}", "comparison.models: model 'dmf' has no parameter 'idd_im'"),
        ("{models: {din: {id_dim: 0}}}", "comparison.models: id_dim must be an integer of at least 1, got 0"),
        ("{models: {din: 5}}", "comparison.models.din: should be a section with keys of your choice (given: 5)"),
        (
            "{training: {dnf: {}}}",
            "comparison.training: no model 'dnf' (did you mean 'dmf'?); models: content_concat, diff_msin, din, ",
        ),
        ("{training: {dmf: {epochs: 3}}}", "comparison.training.dmf.epochs: unknown key"),
        ("{training: {dmf: {batch_size: 0}}}", "comparison.training.dmf.batch_size: should be greater than or equal"),
        ("{seeds: 0}", "comparison.seeds: should be greater than or equal to 1 (given: 0)"),
        ("{reference: dnf}", "comparison.reference: no model 'dnf'"),
        ("{model: {}}", "comparison.model: unknown key; did you mean 'models'?; allowed: models, training, seeds,"),
    ],
)
def test_refusals(refusal, section, problem):
    (found,) = refusal(more=f"{TWO}comparison: {section}\n")
    assert found.startswith(problem)


@pytest.fixture
def own_models(tmp_path, monkeypatch) -> None:
    """Beside the configuration a module that registers `mine` and `mine_too`."""
    from dmf_keras.models import registry

    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_compared_models.py").write_text(
        "from dmf_keras.models import MeanPoolingConfig\n"
        "from dmf_keras.models.registry import register_model\n"
        "class Mine: pass\n"
        "for name in ('mine', 'mine_too'):\n"
        "    register_model(name, MeanPoolingConfig, 'my_compared_models:Mine')\n"
    )
    yield
    sys.modules.pop("my_compared_models", None)


@pytest.mark.usefixtures("own_models")
def test_hyper_parameters_of_a_model_of_ones_own_go_to_no_model_of_the_library(load):
    more = """
model: {name: mine, module: my_compared_models, params: {id_dim: 48}}
comparison: {models: {dmf: {buckets: 9}, mine: {}}}
"""
    config = load(more=more)
    shared = config.model.params, config.model.name
    found = {
        text: config.comparison.params(Label.parse(text, ["text"]), *shared) for text in ("mine", "mine_too", "dmf")
    }
    assert found == {"mine": {"id_dim": 48}, "mine_too": {"id_dim": 48}, "dmf": {"buckets": 9}}


@pytest.mark.usefixtures("own_models")
def test_a_model_of_ones_own_can_be_compared(load):
    config = load(more="model: {module: my_compared_models}\ncomparison: {models: {mine: {}, dmf: {}}}\n")
    assert config.comparison.labels() == ["mine", "dmf"]
