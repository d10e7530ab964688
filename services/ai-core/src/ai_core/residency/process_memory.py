"""How much memory processes hold, and how much there is. Linux; elsewhere nothing is measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_KIB = 1024
_LEAST_RESERVE = 1 << 30
_RESERVED_SHARE = 0.15


def held_by(pid: int, files: Iterable[Path] = (), proc: Path = PROC) -> int:
    """Bytes in RAM of a process and those that it started; 0 where that cannot be told.

    Args:
        files: of the model. Those that are mapped count whole, because they will be read: the kernel may
            just have dropped some of their pages.
    """
    return sum(_of_one(one, files, proc) for one in _family(pid, proc))


def _of_one(pid: int, files: Iterable[Path], proc: Path) -> int:
    # RssAnon, RssFile and RssShmem: proc(5).
    figures = _status(proc / str(pid) / "status")
    mapped = _mapped_bytes(proc / str(pid) / "maps", files) if files else 0
    return figures.get("RssAnon", 0) + figures.get("RssShmem", 0) + max(figures.get("RssFile", 0), mapped)


def _status(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    figures = (line.split() for line in lines if line.startswith("Rss"))
    return {words[0].rstrip(":"): int(words[1]) * _KIB for words in figures}


def _mapped_bytes(path: Path, files: Iterable[Path]) -> int:
    names = {str(file.resolve()) for file in files}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    # address perms offset dev inode pathname
    fields = (line.split(maxsplit=5) for line in lines)
    ranges = (words[0].split("-") for words in fields if len(words) == 6 and words[5] in names)
    return sum(int(end, 16) - int(start, 16) for start, end in ranges)


def _family(pid: int, proc: Path) -> Iterator[int]:
    yield pid
    for children in (proc / str(pid) / "task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:
            continue
        for child in found:
            yield from _family(int(child), proc)


def budget_for(limit: int) -> int:
    """What models may hold of ``limit`` bytes, if nobody says otherwise: the rest is for the API, the
    channels, the databases and the kernel's cache of files."""
    reserve = max(_LEAST_RESERVE, int(limit * _RESERVED_SHARE))
    return max(limit - reserve, limit // 2)


def memory_limit(proc: Path = PROC, cgroups: Path = _CGROUPS) -> int:
    """Bytes that this process and its children may hold: what its cgroups allow, at most the machine's
    RAM; 0 where that cannot be told."""
    ram = _total_ram(proc)
    limits = [limit for limit in (*_cgroup_limits(proc, cgroups), ram) if limit > 0]
    return min(limits, default=0)


def _total_ram(proc: Path) -> int:
    try:
        lines = (proc / "meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * _KIB for line in lines if line.startswith("MemTotal:")), 0)


def _cgroup_limits(proc: Path, cgroups: Path) -> Iterator[int]:
    """Of the own group and those around it: cgroups(7), versions 2 and 1."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            yield from _limits_up(cgroups, group, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _limits_up(cgroups / "memory", group, "memory.limit_in_bytes")


def _limits_up(root: Path, group: str, name: str) -> Iterator[int]:
    # In a container the path may be that of the host, and only the root is there.
    place = Path(group.lstrip("/"))
    for folder in (place, *place.parents):
        try:
            text = (root / folder / name).read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            yield int(text)
