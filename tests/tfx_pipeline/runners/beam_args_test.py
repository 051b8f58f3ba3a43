"""What is added to the arguments of Beam: never what somebody has said already."""

from __future__ import annotations

import pytest

from tfx_pipeline.runners.beam_args import runner_args

NOTHING_TO_INSTALL, UNSAFE = "--sdk_container_image=none", "--allow_unsafe_triggers"


@pytest.mark.parametrize(
    ("given", "added"),
    [
        (["--runner=DirectRunner"], [NOTHING_TO_INSTALL, UNSAFE]),
        (["--runner = DirectRunner", UNSAFE], [NOTHING_TO_INSTALL]),
        (["--runner=DirectRunner", "--setup_file=setup.py"], [UNSAFE]),
        (["--runner=PortableRunner", "--environment_type=EXTERNAL"], [NOTHING_TO_INSTALL]),
        (["--runner=FlinkRunner", "--environment_type=LOOPBACK"], [NOTHING_TO_INSTALL]),
        (["--runner=FlinkRunner", "--environment_type=EXTERNAL", "--sdk_container_image=mine:1"], []),
        (["--runner=FlinkRunner"], []),
        (["--runner=FlinkRunner", "--environment_type=PROCESS"], []),
        (["--runner=DataflowRunner"], []),
    ],
)
def test_workers_that_have_the_packages_are_given_none(given: list[str], added: list[str]) -> None:
    assert runner_args(given) == [*given, *added]
