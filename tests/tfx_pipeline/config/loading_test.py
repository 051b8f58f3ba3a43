"""From a file and `--set` to a configuration: what is none at all, overrides, paths, all problems at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tfx_pipeline.config.conftest import MINIMAL
from tfx_pipeline.config import load_config
from tfx_pipeline.config.schema import Training
from tfx_pipeline.errors import ConfigError


def refused(file: Path, content: str | bytes) -> str:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as error:
        load_config(file)
    return str(error.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read configuration '.*/no\.yaml': No such file or directory"):
        load_config(tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match=r"configuration .* is not a file"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must hold sections such as 'data:' and 'split:', got nothing"),
        ("# all commented out\n", "must hold sections such as 'data:' and 'split:', got nothing"),
        ("- name: shop\n", "must hold sections such as 'data:' and 'split:', got a list"),
        ("shop", "must hold sections such as 'data:' and 'split:', got a str"),
        (b"name: \xff\xfe\n", "is not UTF-8 text"),
        ("name: shop\ndata: [\n", "line 3: not valid YAML: expected the node content, but found '<stream end>'"),
        ("name: shop\n\x01", "not valid YAML: unacceptable character #x0001"),
        ("name: shop\nday: 2025-13-01\n", "line 2: '2025-13-01' cannot be read: month must be in 1..12"),
        ("name: !!python/object/apply:os.getcwd []\n", "could not determine a constructor for the tag"),
        ("? [name]\n: shop\n", "line 1: a key must be a word, not a list or a mapping"),
        ("name: a\ndata:\nname: b\n", "line 3: key 'name' is given twice (first on line 1); keep one"),
        (
            "training:\n  epochs: 1\n  seed: 1\n  epochs: 1\n",
            "line 4: key 'epochs' is given twice (first on line 2); keep one",
        ),
    ],
    ids=["empty", "comments", "list", "word", "latin", "cut", "control", "month", "tag", "odd key", "twice", "inner"],
)
def test_what_is_no_configuration_is_refused_with_file_and_place(tmp_path, content, message):
    file = tmp_path / "config.yaml"
    text = refused(file, content)
    assert text.startswith(str(file))
    assert message in text
    assert len(text.splitlines()) == 1


def test_the_same_key_in_two_sections_is_no_duplicate_and_merging_is_allowed(load):
    config = load(more="training: &common {seed: 3}\nserving: {push_dir: a}\nevaluation: {rare_below: 3}\n")
    assert config.training.seed == 3
    config = load(more="training:\n  <<: {seed: 4, epochs: 9}\n  seed: 5\n")
    assert (config.training.seed, config.training.epochs) == (5, 9)


def test_all_problems_are_listed_at_once_with_their_keys(refusal, config_file):
    more = "history: {max_length: 0}\ntraining: {epochs: none, sed: 1}\nmodel: {name: dnf}\nextra: 1\n"
    problems = refusal("split.fractions.train=2", "content.modalities.text.dtype=int4", more=more)
    keys = {problem.partition(":")[0] for problem in problems}
    assert keys == {
        "history.max_length",
        "training.epochs",
        "training.sed",
        "model",
        "extra",
        "split.fractions.train",
        "content.modalities.text.dtype",
    }
    with pytest.raises(ConfigError) as error:
        load_config(config_file)
    assert str(error.value).startswith(f"{config_file} has 5 problems:\n  ")


def test_absent_sections_are_named(tmp_path):
    text = refused(tmp_path / "config.yaml", "name: shop\ndata: {items: {}}\n")
    for key in ("output", "data.interactions", "data.items.path", "split"):
        assert f"\n  {key}: required, but absent" in text


def test_paths_are_relative_to_the_file(load, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/of/somebody")
    config = load("data.items.path=/elsewhere/items.csv", "data.users.path=~/users.csv", "serving.push_dir=../models")
    assert config.data.interactions.path == tmp_path / "log.parquet"
    assert config.output == tmp_path / "runs" / "shop"
    assert config.data.items.path == Path("/elsewhere/items.csv")
    assert config.data.users.path == Path("/home/of/somebody/users.csv")
    assert config.push_dir == tmp_path.parent / "models"


def test_an_override_wins_and_may_open_a_new_section(load):
    config = load(
        "training.epochs=2",
        "training.epochs=3",
        "data.users.path=users.csv",
        "features.user.age.kind=numeric",
        "data.interactions.columns.request=session",
        "model.params.hidden_units=[8, 4]",
        "evaluation.thresholds.gauc.min_change=-0.01",
        "data.schema_file=a=b.pbtxt",
        more="training: {epochs: 9, seed: 1}\n",
    )
    assert (config.training.epochs, config.training.seed) == (3, 1)
    assert config.features.user["age"].kind == "numeric"
    assert config.data.interactions.columns.request == "session"
    assert config.data.interactions.columns.user == "user_id"
    assert config.model.params == {"hidden_units": [8, 4]}
    assert config.evaluation.thresholds["gauc"].min_change == -0.01
    assert config.data.schema_file.name == "a=b.pbtxt"


def test_an_override_can_take_a_section_away_and_put_another_in(load):
    config = load("split.fractions=null", "split.dates.eval_from=2025-01-01", "split.dates.test_from=2025-02-01")
    assert config.split.fractions is None
    assert config.split.dates.eval_from.month == 1


def test_an_override_fills_a_section_whose_keys_are_all_commented_out(load, refusal):
    assert load("training.epochs=3", more="training:\n  # epochs: 5\n").training.epochs == 3
    problems = refusal(more="training:\n  # epochs: 5\n")
    assert problems == ["training: should be a section with keys such as batch_size, epochs, patience (given: nothing)"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs", "--set wants key.path=value, got 'training.epochs'"),
        ("=3", "--set wants key.path=value, got '=3'"),
        ("training..epochs=3", "--set wants key.path=value, got 'training..epochs=3'"),
        ("training.=3", "--set wants key.path=value, got 'training.=3'"),
        ("training.epochs=[1", "--set training.epochs: value '[1': line 1: not valid YAML: "),
        (
            "data.earliest_time=2025-02-30",
            "--set data.earliest_time: value '2025-02-30': line 1: '2025-02-30' cannot be ",
        ),
        ("model.params={a: 1, a: 2}", "--set model.params: value '{a: 1, a: 2}': line 1: key 'a' is given twice"),
        ("name.first=x", "--set name.first: 'name' is the value 'shop', not a section"),
        ("content.modalities.text.path.x=1", "'content.modalities.text.path' is the value 'text.npz', not a section"),
    ],
)
def test_a_bad_override_is_refused_with_the_override(refusal, override, message):
    (problem,) = refusal(override)
    assert message in problem


@given(
    epochs=st.integers(1, 10**6),
    rate=st.floats(1e-9, 1e3),
    seed=st.integers(0, 2**32 - 1),
)
def test_numbers_arrive_as_they_were_written(tmp_path_factory, epochs, rate, seed):
    file = tmp_path_factory.mktemp("numbers") / "config.yaml"
    file.write_text(MINIMAL)
    # repr writes 1e-05, which YAML reads as text: it must become the number all the same.
    overrides = [f"training.epochs={epochs}", f"training.learning_rate={rate!r}", f"training.seed={seed}"]
    training = load_config(file, overrides).training
    assert training == Training(epochs=epochs, learning_rate=rate, seed=seed)
