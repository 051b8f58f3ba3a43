"""What is added to the arguments of Beam, never what somebody has said already, and what is refused."""

from __future__ import annotations

import pytest

from tfx_pipeline.errors import ConfigError
from tfx_pipeline.runners.beam_args import runner_args

NOTHING_TO_INSTALL, UNSAFE = "--sdk_container_image=none", "--allow_unsafe_triggers"


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ([], [NOTHING_TO_INSTALL, UNSAFE]),
        (["--runner=DirectRunner"], [NOTHING_TO_INSTALL, UNSAFE]),
        (["--runner", "DirectRunner", UNSAFE], [NOTHING_TO_INSTALL]),
        (["--runner=direct"], [NOTHING_TO_INSTALL, UNSAFE]),
        (["--runner=DirectRunner", "--setup_file=setup.py"], [UNSAFE]),
        (["--runner=PortableRunner", "--environment_type=EXTERNAL"], [NOTHING_TO_INSTALL]),
        (["--runner=FlinkRunner", "--environment_type", "LOOPBACK"], [NOTHING_TO_INSTALL]),
        (["--runner=FlinkRunner", "--environment_type=EXTERNAL", "--sdk_container_image=mine:1"], []),
        (["--runner=SparkRunner", "--sdk_container_image=mine:1"], []),
        (["--runner=FlinkRunner", "--environment_type=PROCESS"], []),
        # Of its job server.
        (["--runner=FlinkRunner", "--environment_type=PROCESS", "--checkpointing_interval=60000"], []),
    ],
)
def test_workers_that_have_the_packages_are_given_none(given: list[str], added: list[str]) -> None:
    assert runner_args(given) == [*given, *added]


def test_spaces_about_a_value_are_none_of_it() -> None:
    assert runner_args(["--runner = DirectRunner", UNSAFE]) == ["--runner=DirectRunner", UNSAFE, NOTHING_TO_INSTALL]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--direct_numworkers=2"], r"no option '--direct_numworkers'; did you mean '--direct_num_workers'\?"),
        (["--runner=PrismRunner", "--colour=red"], "no option '--colour'"),
        (["--direct_num_workers=two"], "argument --direct_num_workers: invalid int value: 'two'"),
        (["--direct_running_mode=threads"], "argument --direct_running_mode: invalid choice: 'threads'"),
        (["runner=FlinkRunner"], "'runner=FlinkRunner' is no option; options begin with --"),
        (["--runner=DirectRunner", "2"], "'2' is no option"),
        (["--runner FlinkRunner"], "write '--runner=FlinkRunner'"),
        (["--runner=Sparks"], "--runner=Sparks: Unexpected pipeline runner.*SparkRunner"),
        (["--runner=flink"], "FlinkRunner starts its workers"),
        (["--runner=no.such.Runner"], "--runner=no.such.Runner: No module named 'no'"),
        (["--runner=DataflowRunner", "--project=p", "--region=r"], "Google's, which cannot read.*SCALE.md"),
        (["--runner=FlinkRunner"], "FlinkRunner starts its workers in containers.*--environment_type=EXTERNAL"),
        (["--runner=SparkRunner", "--spark_master_url=local[2]"], "SparkRunner starts its workers in containers"),
        (["--runner=PortableRunner", "--job_endpoint=localhost:1"], "PortableRunner starts its workers"),
    ],
)
def test_what_beam_would_refuse_late_or_pass_over_is_refused_before_any_step(given: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^beam\.args: .*{message}"):
        runner_args(given)
