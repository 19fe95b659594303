"""Settings of the embedded server for the machine that it is on. PostgreSQL's own are made for machines of 1 GB, where
a graph of vectors would be read from disk again and again. And what its log may not say."""

import os
from pathlib import Path
from typing import Final

#: Share of the machine's memory that the server's cache takes at most, and its bounds, MiB. PostgreSQL's manual speaks
#: of a quarter; here frames and models want the rest. It is taken as it is filled.
_CACHE_SHARE, _LEAST_CACHE_MIB, _MOST_CACHE_MIB = 8, 128, 4096

#: What a container may have at most: version 2 of control groups, and version 1.
_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

#: The file with the settings, and the line of PostgreSQL's own that has it read.
_FILE: Final = "automations.conf"
_LINE: Final = f"include_if_exists = '{_FILE}'"


def memory_bytes() -> int:
    """What this machine has, or this container may use."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for place in _LIMITS:
        if place.exists() and (limit := place.read_text().strip()).isdecimal():
            found.append(int(limit))
    return min(found)


#: What its log says of values: nothing. By default a row that cannot be kept is told whole, in the detail of the error.
_QUIET: Final = {
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


def settings(memory: int) -> dict[str, str]:
    """Settings of a server on a machine with so much memory, bytes."""
    mib = memory // 2**20
    cache = min(max(mib // _CACHE_SHARE, _LEAST_CACHE_MIB), _MOST_CACHE_MIB)
    return {
        "shared_buffers": f"{cache}MB",
        # What the system keeps of files besides.
        "effective_cache_size": f"{max(mib // 2, 2 * cache)}MB",
        # Disks without arms: a page elsewhere costs hardly more than the next one.
        "random_page_cost": "1.1",
        **_QUIET,
    }


def tune(folder: Path, memory: int) -> None:
    """Write the settings into a database's folder; they hold from the next start on.

    Args:
        memory: of the machine, bytes.
    """
    main = folder / "postgresql.conf"
    lines = "".join(f"{name} = {value}\n" for name, value in settings(memory).items())
    (folder / _FILE).write_text(f"# Written at each start; what is set below it in postgresql.conf wins.\n{lines}")
    said = main.read_text()
    if _LINE not in said.splitlines():
        main.write_text(f"{said.rstrip()}\n{_LINE}\n")
