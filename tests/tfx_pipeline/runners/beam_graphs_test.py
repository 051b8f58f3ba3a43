"""What Beam is made to remember is what it would work out."""

from __future__ import annotations

import inspect
from unittest import mock

import apache_beam as beam
import pytest
from apache_beam.options import pipeline_options
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions, WorkerOptions
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import core, userstate

from tfx_pipeline.runners import beam_graphs


@pytest.fixture(autouse=True)
def _remembering():
    with (
        mock.patch.object(core, "get_function_args_defaults", beam_graphs._look_up),
        mock.patch.object(PipelineOptions, "view_as", beam_graphs._parse),
    ):
        beam_graphs.remember()
        yield


class Plain(beam.DoFn):
    def process(self, element, factor=2, moment=beam.DoFn.TimestampParam):
        yield element * factor


class Counting(beam.DoFn):
    COUNT = userstate.CombiningValueStateSpec("count", sum)

    def process(self, element, count=beam.DoFn.StateParam(COUNT)):  # noqa: B008
        count.add(1)
        yield element[0], count.read()


@pytest.mark.parametrize("dofn", [Plain(), Counting(), core.CallableWrapperDoFn(lambda x, y=3: [x + y])])
def test_signatures_are_those_that_beam_finds(dofn):
    for name in dir(dofn):
        method = getattr(dofn, name)
        if not inspect.ismethod(method):
            continue
        first, again = core.get_function_args_defaults(method), core.get_function_args_defaults(method)
        assert first == again == beam_graphs._look_up(method)
        first[0].append("mine")
        assert core.get_function_args_defaults(method) == again


def test_two_functions_of_one_class_keep_their_own_defaults():
    one, other = (core.CallableWrapperDoFn(lambda x, y=default: [x + y]) for default in (1, 2))
    found = [core.get_function_arguments(dofn, "process")[1] for dofn in (one, other, one)]
    assert found == [[1], [2], [1]]


def test_state_is_still_found():
    specs, _ = userstate.get_dofn_specs(Counting())
    assert specs == {Counting.COUNT}
    assert not userstate.is_stateful_dofn(Plain())


def test_views_share_values_as_beams_do():
    flags = ["--runner=DirectRunner", "--direct_num_workers=3", "--experiment=a"]
    options = PipelineOptions(flags)
    direct = options.view_as(DirectOptions)
    assert direct.direct_num_workers == 3
    direct.direct_num_workers = 5
    assert options.view_as(DirectOptions).direct_num_workers == 5
    assert PipelineOptions(flags).view_as(DirectOptions).direct_num_workers == 3
    options.view_as(pipeline_options.DebugOptions).experiments.append("b")
    assert options.view_as(pipeline_options.DebugOptions).experiments == ["a", "b"]
    assert PipelineOptions(flags).view_as(pipeline_options.DebugOptions).experiments == ["a"]
    assert isinstance(direct.view_as(StandardOptions), StandardOptions)
    assert PipelineOptions(flags, sdk_container_image="x").view_as(WorkerOptions).sdk_container_image == "x"


@pytest.mark.parametrize("view", [StandardOptions, DirectOptions, WorkerOptions, pipeline_options.GoogleCloudOptions])
def test_a_view_has_all_options_that_beams_has(view):
    flags = ["--runner=DirectRunner", "--direct_num_workers=3"]
    ours, theirs = PipelineOptions(flags).view_as(view), beam_graphs._parse(PipelineOptions(flags), view)
    assert ours.get_all_options() == theirs.get_all_options()
    assert ours._visible_option_list() == theirs._visible_option_list()


def test_pipelines_give_what_they_gave():
    with beam.Pipeline(options=PipelineOptions(["--runner=DirectRunner"])) as pipeline:
        numbers = pipeline | beam.Create([1, 2, 3])
        assert_that(numbers | beam.ParDo(Plain(), 3), equal_to([3, 6, 9]), label="plain")
        counted = numbers | beam.Map(lambda x: ("key", x)) | beam.ParDo(Counting())
        assert_that(counted | beam.CombineGlobally(beam.combiners.CountCombineFn()), equal_to([3]), label="count")
