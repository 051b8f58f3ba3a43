"""What a runner adds to the arguments of Apache Beam."""

from __future__ import annotations

from collections.abc import Sequence

_TELLS_WHAT_WORKERS_RUN = ("--sdk_container_image", "--setup_file", "--extra_package", "--requirements_file")
_UNSAFE_TRIGGERS = "--allow_unsafe_triggers"


def direct_here(args: Sequence[str]) -> list[str]:
    """The arguments, and for DirectRunner those that keep a step in this process.

    Unless it is told what the workers run, TFX builds a package of itself for them in every step, which takes 3 to 4
    seconds. And DirectRunner first downloads another runner, Prism, and hands it the pipeline if it can; it does not
    where triggers may be unsafe, of which this pipeline has none.
    """
    if not any(arg.replace(" ", "") == "--runner=DirectRunner" for arg in args):
        return list(args)
    told = any(arg.startswith(_TELLS_WHAT_WORKERS_RUN) for arg in args)
    added = [] if told else ["--sdk_container_image=none"]
    return [*args, *added, *([] if _UNSAFE_TRIGGERS in args else [_UNSAFE_TRIGGERS])]
