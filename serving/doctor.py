"""`automations doctor`: what this machine decodes and runs, what holds hostile videos in, how to mend the rest."""

import asyncio
import os
import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.decode.available import machine
from pipeline.errors import Altered, InvalidSettings, VideoError
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.media import SandboxedMedia
from pipeline.synthesis import write_video
from serving.settings import Settings
from serving.storage.address import address
from serving.storage.key_address import master_key
from serving.terminal import plain

_UNREADABLE = (
    "no video can be read: see what the process wrote above, and its limits (worker.memory_bytes, worker.inspect_s) in "
    "`automations config show`"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool
    says: str
    fix: str | None = None
    """What to do, one line; None where nothing needs doing."""
    vital: bool = False
    """Whether videos cannot be analysed, or not safely, without it."""


def examine(sandbox: Sandbox) -> list[Finding]:
    """Look at everything. Takes seconds, for libraries are loaded."""
    return [_system(), *examine_isolation(sandbox), *_decoders(), *_models()]


def examine_storage(settings: Settings) -> list[Finding]:
    """Whether objects can be kept where they are to be, if that is elsewhere."""
    where = address(settings.storage.url, settings.storage.endpoint)
    if where is None:
        return []
    from serving.storage.choosing import objects

    try:
        asyncio.run(objects(settings, Path(settings.server.data_dir)).check())
    except (OSError, InvalidSettings) as error:
        return [Finding("objects", False, str(error), "see docs/storage.md for what has to be allowed, and to be set")]
    return [Finding("objects", True, f"{where}: written, read, listed and deleted")]


def examine_master_key(settings: Settings) -> list[Finding]:
    """Whether a service that has the master key wraps a key, unwraps it, and refuses it as another's."""
    value = settings.storage.master_key.strip()
    where = master_key("storage.master_key", value) if value else b""
    if isinstance(where, bytes):
        return []
    from serving.errors import MasterKeyMissing
    from serving.storage.keyring import fresh_key, tenant_key_of
    from serving.storage.masters import masters

    key, ours, another = fresh_key(), tenant_key_of("doctor", 1), tenant_key_of("another", 1)

    async def tried() -> bool:
        master = masters([where], 0.0)
        wrapped = await master.wrap(key, ours)
        if await master.unwrap(wrapped, ours, master.name) != key:
            raise Altered("what was wrapped is unwrapped as something else")
        try:
            await master.unwrap(wrapped, another, master.name)
        except Altered:
            return True
        return False

    fix = "see docs/security.md for what has to be allowed, and where credentials are looked for"
    try:
        bound = asyncio.run(tried())
    except (MasterKeyMissing, Altered, InvalidSettings) as error:
        return [Finding("master key", False, str(error), fix)]
    if not bound:
        says = f"{where}: it does not see to it that a key is unwrapped as whose it was wrapped"
        fix = "use a key of type aes256-gcm96, and a newer version: it has to heed `associated_data`"
        return [Finding("master key", False, says, fix)]
    return [Finding("master key", True, f"{where}: wraps, unwraps, and as nothing else")]


def examine_database(settings: Settings) -> list[Finding]:
    """Whether nobody can listen to what is said to the database, if that is elsewhere."""
    if not settings.server.database_url:
        return []
    from serving.db import tls

    told = tls.weakness(settings.server.database_url)
    return [Finding("database", told is None, told or "with TLS, or on this machine", tls.REMEDY)]


def print_findings(findings: list[Finding], console: Console) -> None:
    """A table of what is there, and below it what to do."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for one in findings:
        mark = "[green]ok[/green]" if one.good else "[bold red]no[/bold red]" if one.vital else "[yellow]no[/yellow]"
        table.add_row(mark, one.what, plain(one.says))
    console.print(table)
    for one in findings:
        if one.fix and not one.good:
            console.print(plain(f"{one.what}: {one.fix}"), highlight=False)


def _system() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    says = f"{platform.system()} {platform.machine()}, {cores} cores, Python {platform.python_version()}"
    return Finding("system", True, says)


def examine_isolation(sandbox: Sandbox) -> list[Finding]:
    """Which layers hold the processes of `sandbox` in, and whether a video can be read in spite of them."""
    try:
        held = sandbox.isolation()
    except VideoError as error:
        return [Finding("isolation", False, str(error), _UNREADABLE, vital=True)]
    missing = "; ".join(held.missing)
    return [
        Finding(
            "isolation",
            held.syscalls,
            "videos are read without files, network or processes (seccomp)" if held.syscalls else missing,
            "run on Linux, x86-64 or AArch64, with a kernel that has seccomp filters",
            vital=True,
        ),
        Finding(
            "rights",
            not held.kept,
            "; ".join(f"kept: {right}" for right in held.kept)
            or "user id, capabilities and file tree are given up by the processes that read videos",
            "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1), or run as root with the "
            "capabilities KILL, SETGID, SETPCAP, SETUID and SYS_CHROOT",
        ),
        Finding(
            "network namespace",
            held.network,
            "empty for the processes that read videos" if held.network else missing,
            "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1), or run as root",
        ),
        _reading(sandbox),
    ]


def _reading(sandbox: Sandbox) -> Finding:
    try:
        with tempfile.TemporaryDirectory() as folder:
            frames = (np.full((1080, 1920, 3), 60 * number, np.uint8) for number in range(4))
            path = write_video(Path(folder) / "example.mp4", frames, fps=4)
            SandboxedMedia(path, sandbox).inspect()
    except (VideoError, OSError) as error:
        return Finding("reading", False, str(error), _UNREADABLE, vital=True)
    return Finding("reading", True, "a video of 1080 lines was read in such a process", vital=True)


def _decoders() -> list[Finding]:
    return [
        Finding(
            f"{one.library} on {one.device}",
            one.works,
            f"version {one.version}" if one.works else f"{one.why_not}",
            one.fix,
            vital=one.library == "pyav",
        )
        for one in machine()
    ]


def _models() -> list[Finding]:
    from models.catalog import DEFAULT, load
    from models.device import place
    from models.errors import ModelError

    placement = place(None, None)
    found = [Finding("models run on", True, f"{placement.device} in {placement.dtype}")]
    try:
        load("bundled")
        found.append(Finding("bundled model", True, "loads; knows drawn shapes and colours only"))
    except ModelError as error:
        found.append(Finding("bundled model", False, str(error), "install the package again", vital=True))
    try:
        loaded = load("auto")
    except ModelError as error:
        return [*found, Finding(DEFAULT, False, str(error))]
    here = loaded.model.info.name != "bundled"
    fix = "connect to huggingface.co once, or give --model local-dir:FOLDER"
    found.append(Finding(DEFAULT, here, "is here" if here else "is not on this machine and cannot be downloaded", fix))
    return found
