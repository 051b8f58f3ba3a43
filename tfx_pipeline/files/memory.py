"""How much memory there is left for this process."""

from __future__ import annotations

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def available_bytes(meminfo: Path = _MEMINFO, group: Path = _GROUP) -> int | None:
    """Memory that can be had without swapping: of the machine or, where that is less, of the process's control group.

    Args:
        meminfo: what Linux says of the machine.
        group: folder of the control group, of the second version; that of a container.

    Returns:
        None where the system does not say.
    """
    found = [_of_machine(meminfo), _of_group(group)]
    return min((each for each in found if each is not None), default=None)


def _of_machine(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kibibytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return 1024 * kibibytes[0] if kibibytes else None


def _of_group(group: Path) -> int | None:
    try:
        most = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
        statistics = (group / "memory.stat").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    if not most.isdecimal():
        return None
    # Pages of files, which the kernel gives back first, count as used.
    facts = dict(zip(statistics[::2], statistics[1::2], strict=False))
    return max(0, int(most) - used + int(facts.get("inactive_file", 0)))
