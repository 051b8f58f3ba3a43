"""What a runner adds to the arguments of Apache Beam."""

from __future__ import annotations

from collections.abc import Sequence


def direct_without_package(args: Sequence[str]) -> list[str]:
    """The arguments, and for DirectRunner one that keeps TFX from building a package of itself for remote workers.

    It does so for every Beam step, which takes 3 to 4 seconds each, unless it is told what the workers run.
    """
    direct = any(arg.replace(" ", "") == "--runner=DirectRunner" for arg in args)
    told = ("--sdk_container_image", "--setup_file", "--extra_package", "--requirements_file")
    return [*args, "--sdk_container_image=none"] if direct and not any(a.startswith(told) for a in args) else list(args)
