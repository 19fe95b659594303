"""No core dumps: the memory of a process that dies has keys in it, and pictures of videos."""

import resource


def forbid() -> None:
    """Neither this process nor any that it starts leaves one, an embedded PostgreSQL and Ray included. Handlers that
    the system pipes dumps to (`kernel.core_pattern`) see the limit, and are to heed it; systemd's keeps none then."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
