"""The arguments of Apache Beam: what is wrong with them, and what a runner adds."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import create_runner

from tfx_pipeline.config.spelling import did_you_mean
from tfx_pipeline.errors import ConfigError

_TELLS_WHAT_WORKERS_RUN = ("--sdk_container_image", "--setup_file", "--extra_package", "--requirements_file")
_UNSAFE_TRIGGERS = "--allow_unsafe_triggers"
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
    options, unknown = _parsed(args)
    runner = _runner(str(options["runner"] or "DirectRunner"))
    direct = runner == _DIRECT
    if unknown and runner not in _IN_CONTAINERS:
        meant = did_you_mean(f"--{unknown[0]}", [f"--{name}" for name in options])
        raise ConfigError(f"beam.args: Beam has no option '--{unknown[0]}'{f'; {meant}' if meant else ''}")
    _check_workers(runner, options, args)
    if not direct and options["environment_type"] not in _HAVE_PACKAGES:
        return args
    told = any(arg.startswith(_TELLS_WHAT_WORKERS_RUN) for arg in args)
    added = [] if told else ["--sdk_container_image=none"]
    return [*args, *added, *([_UNSAFE_TRIGGERS] if direct and _UNSAFE_TRIGGERS not in args else [])]


def _without_spaces(arg: str) -> str:
    """Without those about the first `=`, with which Beam would pass over it."""
    name, equals, value = arg.partition("=")
    return f"{name.strip()}{equals}{value.strip()}" if name.startswith("--") else arg


def _parsed(args: Sequence[str]) -> tuple[dict[str, object], list[str]]:
    """The options by name, Beam's defaults included, and the names of those that Beam does not know."""
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
        with contextlib.redirect_stderr(told), _quiet():
            options: dict[str, object] = PipelineOptions(list(args)).get_all_options()
            given = PipelineOptions(list(args)).get_all_options(retain_unknown_options=True)
    except SystemExit:
        # argparse prints all that there is, and last what is wrong.
        raise ConfigError(f"beam.args: {told.getvalue().strip().rpartition('error: ')[2]}") from None
    return options, [name for name in given if name not in options]


def _runner(name: str) -> str:
    """The class of a runner that there is."""
    try:
        return type(create_runner(name)).__name__
    except (ValueError, ImportError, AttributeError) as error:
        raise ConfigError(f"beam.args: --runner={name}: {error}") from None


def _check_workers(runner: str, options: dict[str, object], args: Sequence[str]) -> None:
    """Raises ConfigError where workers could not do the work of the steps."""
    if runner == _DATAFLOW:
        raise ConfigError(
            f"beam.args: workers of {_DATAFLOW} are machines of Google's, which cannot read the files that steps hand "
            "to each other on the disk of this one; take a runner whose workers share a disk with it (docs/SCALE.md)"
        )
    told = options["environment_type"] or any(arg.startswith("--sdk_container_image") for arg in args)
    if runner in _IN_CONTAINERS and not told:
        raise ConfigError(
            f"beam.args: {runner} starts its workers in containers of Beam's own image, which have neither this "
            "package nor the disk of this machine; say where they are: --environment_type=EXTERNAL, PROCESS or "
            "LOOPBACK, or --sdk_container_image of an image that has both (docs/SCALE.md)"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What Beam warns of is refused here, or for a job server to know."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)
