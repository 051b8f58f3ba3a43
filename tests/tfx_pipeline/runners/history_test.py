"""Why a step ran: a real pipeline of quick steps in a real store, run after run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tfx import v1 as tfx
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.types import standard_artifacts

from tfx_pipeline.runners.history import PEAK_MEMORY, RunHistory

NAME = "quick"
ANOTHER_REASON = "asked to, its outputs are gone, or Beam's arguments changed"

# No `from __future__ import annotations` here: TFX reads the annotations of a component's function as they are.


@component
def Write(
    text: OutputArtifact[standard_artifacts.String],
    settings: Parameter[str],
    repeat: Parameter[int],
):
    text.value = settings * repeat


@component
def Read(text: InputArtifact[standard_artifacts.String], fail: Parameter[int]):
    if fail:
        raise RuntimeError(f"told to fail, having read {text.value}")


Explained = dict[str, tuple[str, str]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Explained]:
    """run(**changes): runs the pipeline; state and reason of each step."""
    connection = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))

    def _run(
        settings: object = None, repeat: int = 1, fail: int = 0, cache: bool = True, lookup: bool = False
    ) -> Explained:
        text = settings if isinstance(settings, str) else json.dumps(settings or {"rate": 0.1, "layers": [8]})
        write = Write(settings=text, repeat=repeat)
        components = [write, Read(text=write.outputs["text"], fail=fail)]
        if lookup:
            latest = tfx.dsl.Resolver(
                strategy_class=tfx.dsl.experimental.LatestArtifactStrategy,
                text=tfx.dsl.Channel(type=standard_artifacts.String),
            )
            latest.add_upstream_node(write)
            components.append(latest.with_id("Latest"))
        pipeline = tfx.dsl.Pipeline(
            pipeline_name=NAME,
            pipeline_root=str(tmp_path / "artifacts"),
            metadata_connection_config=connection,
            components=components,
            enable_cache=cache,
        )
        nodes = [node.id for node in components]
        with metadata.Metadata(connection) as store:
            history = RunHistory(store.store, NAME)
            previous = {node: history.last_complete(node) for node in nodes}
        LocalDagRunner().run(pipeline)
        with metadata.Metadata(connection) as store:
            history = RunHistory(store.store, NAME)
            return {node: history.explain(history.last(node), previous[node]) for node in nodes}

    return _run


@pytest.fixture
def history(tmp_path):
    """The store of `run`, to be opened after it."""
    connection = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    with metadata.Metadata(connection) as store:
        yield RunHistory(store.store, NAME)


def test_the_first_run_and_one_with_nothing_changed(run):
    assert run() == {"Write": ("ran", "first run"), "Read": ("ran", "first run")}
    assert run() == {"Write": ("cached", "nothing changed"), "Read": ("cached", "nothing changed")}


def test_a_changed_property_is_named_down_to_the_key_and_what_follows_from_it_as_an_input(run):
    run({"rate": 0.1, "layers": [8]})
    assert run({"rate": 0.2, "layers": [8]}) == {
        "Write": ("ran", "changed: settings.rate"),
        "Read": ("ran", "changed: input text"),
    }
    # An added key, a removed one, a nested value.
    assert run({"layers": [8, 4], "seed": 1})["Write"] == (
        "ran",
        "changed: settings.layers, settings.rate, settings.seed",
    )


def test_a_property_that_is_no_json_object_is_named_as_a_whole(run):
    run("one")
    assert run("two", repeat=3)["Write"] == ("ran", "changed: repeat, settings")
    assert run('["a"]', repeat=3)["Write"] == ("ran", "changed: settings")


def test_only_the_step_that_changed_runs(run):
    run()
    assert run(repeat=2)["Write"] == ("ran", "changed: repeat")
    assert run(repeat=2) == {"Write": ("cached", "nothing changed"), "Read": ("cached", "nothing changed")}


def test_going_back_to_old_settings_finds_the_old_results(run):
    run(repeat=1)
    run(repeat=2)
    assert run(repeat=1) == {"Write": ("cached", "nothing changed"), "Read": ("cached", "nothing changed")}


def test_a_run_without_cache_was_asked_for(run):
    run()
    states = run(cache=False)
    assert states["Write"] == ("ran", ANOTHER_REASON)
    assert states["Read"] == ("ran", "changed: input text")


def test_outputs_that_are_gone_are_made_again(run, tmp_path):
    run()
    shutil.rmtree(tmp_path / "artifacts")
    assert run()["Write"] == ("ran", ANOTHER_REASON)


def test_a_resolver_looks_up_anew_and_nothing_is_the_matter(run):
    assert run(lookup=True)["Latest"] == ("ran", "first run")
    assert run(lookup=True)["Latest"] == ("ran", "looks up anew in every run")


def test_a_failed_run_is_no_earlier_run_to_compare_with(run):
    with pytest.raises(RuntimeError, match="told to fail"):
        run(fail=1)
    assert run() == {"Write": ("cached", "nothing changed"), "Read": ("ran", "first run")}


def test_memory_is_kept_with_a_step_and_is_no_reason_to_run_it_again(run, tmp_path):
    run()
    connection = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    with metadata.Metadata(connection) as store:
        history = RunHistory(store.store, NAME)
        history.note_memory(history.last("Write"), 1234)
        assert history.last("Write").custom_properties[PEAK_MEMORY].int_value == 1234
    assert run()["Write"] == ("cached", "nothing changed")
    assert run({"rate": 0.2, "layers": [8]})["Write"] == ("ran", "changed: settings.rate")


def test_outputs_are_found_through_the_cache(run, history):
    run({"rate": 0.5})
    run({"rate": 0.5})
    first, second = history.executions("Write")
    ((made,),), ((reused,),) = history.outputs(first.id).values(), history.outputs(second.id).values()
    assert made.uri == reused.uri
    assert Path(reused.uri).exists()
    assert reused.TYPE_NAME == "String"


def test_a_node_that_never_ran_has_no_executions(run, history):
    assert history.executions("Write") == []
    assert history.last_complete("Write") is None
    run()
    assert history.executions("Unheard") == []
    assert len(history.executions("Write")) == 1
