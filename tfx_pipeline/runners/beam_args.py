"""The arguments of Apache Beam: what is wrong with them, and what a runner adds."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import create_runner

from tfx_pipeline.config.spelling import did_you_mean
from tfx_pipeline.errors import ConfigError

_TELL_WHAT_WORKERS_RUN = ("sdk_container_image", "setup_file", "extra_packages", "requirements_file")
# By the classes that Beam makes of what is said: `direct` is DirectRunner too, and that one chooses among some.
_DIRECT, _DATAFLOW = "SwitchingDirectRunner", "DataflowRunner"
# Their workers are in containers unless the arguments say otherwise; their job servers have options of their own.
_IN_CONTAINERS = ("PortableRunner", "FlinkRunner", "SparkRunner")
# Workers of this process, and of a pool that somebody started: both have their packages.
_HAVE_PACKAGES = ("LOOPBACK", "EXTERNAL")


def runner_args(args: Sequence[str]) -> list[str]:
    """The arguments, and those without which a step of a small log spends most of its time in preparations.

    Unless it is told what the workers run, TFX builds a package of itself for them in every step, which takes 3 to 4
    seconds; workers that are there already do not install it. And DirectRunner first downloads another runner, Prism,
    and hands it the pipeline if it can; it does not where triggers may be unsafe, of which this pipeline has none.

    Raises:
        ConfigError: Beam would refuse an argument or pass over it, or the steps cannot run where they say.
    """
    args = [_without_spaces(arg) for arg in args]
    options = _parsed(args)
    runner = _runner(str(options["runner"] or "DirectRunner"))
    _check_known(runner, options)
    _check_workers(runner, options)
    direct = runner == _DIRECT
    if not direct and options["environment_type"] not in _HAVE_PACKAGES:
        return args
    told = any(options[name] for name in _TELL_WHAT_WORKERS_RUN)
    added = [] if told else ["--sdk_container_image=none"]
    return [*args, *added, *(["--allow_unsafe_triggers"] if direct and not options["allow_unsafe_triggers"] else [])]


def _without_spaces(arg: str) -> str:
    """Without those about the first `=`, with which Beam would pass over it."""
    name, equals, value = arg.partition("=")
    return f"{name.strip()}{equals}{value.strip()}" if name.startswith("--") else arg


def _parsed(args: Sequence[str]) -> dict[str, object]:
    """The options by name, Beam's defaults and those that Beam does not know included."""
    before = ""
    for arg in args:
        # Beam passes over both without a word.
        if not arg.startswith("-") and (not before.startswith("-") or "=" in before):
            raise ConfigError(f"beam.args: '{arg}' is no option; options begin with --, as --runner=DirectRunner")
        if arg.startswith("-") and " " in arg.partition("=")[0]:
            name, _, value = arg.partition(" ")
            raise ConfigError(f"beam.args: '{arg}' is one argument; write '{name}={value}'")
        before = arg
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            options: dict[str, object] = PipelineOptions(list(args)).get_all_options(retain_unknown_options=True)
    except SystemExit:
        # argparse prints all that there is, and last what is wrong.
        raise ConfigError(f"beam.args: {told.getvalue().strip().rpartition('error: ')[2]}") from None
    return options


def _runner(name: str) -> str:
    """The class of a runner that there is."""
    try:
        return type(create_runner(name)).__name__
    except (ValueError, ImportError, AttributeError) as error:
        raise ConfigError(f"beam.args: --runner={name}: {error}") from None


def _check_known(runner: str, options: Mapping[str, object]) -> None:
    """Raises ConfigError about an option that nobody knows; a job server may know what Beam's Python does not."""
    known = PipelineOptions([]).get_all_options()
    unknown = [name for name in options if name not in known]
    if unknown and runner not in _IN_CONTAINERS:
        meant = did_you_mean(f"--{unknown[0]}", [f"--{name}" for name in known])
        raise ConfigError(f"beam.args: Beam has no option '--{unknown[0]}'{f'; {meant}' if meant else ''}")


def _check_workers(runner: str, options: Mapping[str, object]) -> None:
    """Raises ConfigError where workers could not do the work of the steps."""
    if runner == _DATAFLOW:
        raise ConfigError(
            f"beam.args: workers of {_DATAFLOW} are machines of Google's, which cannot read the files that steps hand "
            "to each other on the disk of this one; take a runner whose workers share a disk with it (docs/SCALE.md)"
        )
    if runner in _IN_CONTAINERS and not (options["environment_type"] or options["sdk_container_image"]):
        raise ConfigError(
            f"beam.args: {runner} starts its workers in containers of Beam's own image, which have neither this "
            "package nor the disk of this machine; say where they are: --environment_type=EXTERNAL, PROCESS or "
            "LOOPBACK, or --sdk_container_image of an image that has both (docs/SCALE.md)"
        )
