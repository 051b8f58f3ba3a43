"""What a runner adds to the arguments of Apache Beam."""

from __future__ import annotations

from collections.abc import Sequence

_TELLS_WHAT_WORKERS_RUN = ("--sdk_container_image", "--setup_file", "--extra_package", "--requirements_file")
_UNSAFE_TRIGGERS = "--allow_unsafe_triggers"
_DIRECT = "--runner=DirectRunner"
# Workers of this process, and of a pool that somebody started: both have their packages.
_HAVE_PACKAGES = ("--environment_type=LOOPBACK", "--environment_type=EXTERNAL")


def runner_args(args: Sequence[str]) -> list[str]:
    """The arguments, and those without which a step of a small log spends most of its time in preparations.

    Unless it is told what the workers run, TFX builds a package of itself for them in every step, which takes 3 to 4
    seconds; workers that are there already do not install it. And DirectRunner first downloads another runner, Prism,
    and hands it the pipeline if it can; it does not where triggers may be unsafe, of which this pipeline has none.
    """
    given = {arg.replace(" ", "") for arg in args}
    direct = _DIRECT in given
    if not direct and given.isdisjoint(_HAVE_PACKAGES):
        return list(args)
    told = any(arg.startswith(_TELLS_WHAT_WORKERS_RUN) for arg in args)
    added = [] if told else ["--sdk_container_image=none"]
    return [*args, *added, *([_UNSAFE_TRIGGERS] if direct and _UNSAFE_TRIGGERS not in args else [])]
