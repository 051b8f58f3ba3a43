"""How much memory there is left for this process."""

from __future__ import annotations

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def available_bytes(meminfo: Path = _MEMINFO, group: Path = _GROUP) -> int | None:
    """Memory that can be had, swap included: of the machine or, where that is less, of the process's control group.

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
    kibibytes = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
    available = kibibytes.get("MemAvailable")
    return None if available is None else 1024 * (available + kibibytes.get("SwapFree", 0))


def _of_group(group: Path) -> int | None:
    try:
        most = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
        statistics = (group / "memory.stat").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    if not most.isdecimal():
        return None
    # Pages of files and the like, which the kernel takes back where they are needed, count as used.
    facts = dict(zip(statistics[::2], statistics[1::2], strict=False))
    given_back = sum(int(facts.get(name, 0)) for name in ("inactive_file", "active_file", "slab_reclaimable"))
    return max(0, min(int(most), int(most) - used + given_back))
