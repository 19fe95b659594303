"""`automations tenants` and `users`: what has to be there before anybody can sign in. For who runs the server."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import typer

from pipeline.record import Record
from serving.settings import load
from serving.terminal import new_console

if TYPE_CHECKING:
    from serving.db.database import Database
    from serving.places import Places

T = TypeVar("T")

tenants = typer.Typer(help="Whom videos, jobs and people belong to; two tenants never see each other.")
users = typer.Typer(help="People who sign in.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class NewTenant(Record, frozen=True, kw_only=True):
    """What `tenants create` prints."""

    id: str
    name: str
    key: str
    """A first key, which may do everything in it."""


class ListedTenant(Record, frozen=True, kw_only=True):
    """What `tenants list` prints of one."""

    id: str
    name: str
    created_at: str


class NewUser(Record, frozen=True, kw_only=True):
    """What `users create` prints."""

    id: str
    tenant_id: str
    email: str
    role: str
    invitation: str | None = None
    """Where it was asked for instead of a password."""


@tenants.command("create")
def create_tenant(name: Annotated[str, typer.Argument(help="What it is called.")], as_json: AsJson = False) -> None:
    """Make a tenant, and print its id and a first key, which may do everything in it. The key is not shown again."""
    from serving.auth import tenants
    from serving.db.database import SYSTEM, Database

    async def make(database: Database, secret: bytes) -> NewTenant:
        async with database.write("tenant.create", SYSTEM) as session:
            tenant, key = await tenants.create(session, secret, name)
        return NewTenant(id=tenant.id, name=tenant.name, key=key)

    made = _with_database(make)
    if as_json:
        print_json(made)
    else:
        print(f"tenant  {made.id}\nkey     {made.key}  (shown only now; it may do everything)")


@tenants.command("list")
def list_tenants(as_json: AsJson = False) -> None:
    """Print all tenants."""
    from sqlmodel import col, select

    from serving.db.accounts import Tenant
    from serving.db.database import SYSTEM, Database

    async def look(database: Database, _: bytes) -> tuple[ListedTenant, ...]:
        async with database.read(SYSTEM) as session:
            rows = (await session.exec(select(Tenant).order_by(col(Tenant.created_at), col(Tenant.id)))).all()
        return tuple(ListedTenant(id=row.id, name=row.name, created_at=row.created_at.isoformat()) for row in rows)

    found = _with_database(look)
    if as_json:
        print_json(found)
    else:
        for one in found:
            new_console(highlight=False).print(f"{one.id}  {one.created_at}  {one.name}", markup=False, soft_wrap=True)


@tenants.command("quota")
def set_quota(
    tenant: Annotated[str, typer.Argument(help="Id of the tenant.")],
    quota_bytes: Annotated[
        str | None,
        typer.Argument(metavar="BYTES", help="Bytes it may keep; 0: no bound; default: upload.tenant_max_bytes."),
    ] = None,
    quota_minutes: Annotated[
        str | None,
        typer.Option(
            "--minutes",
            metavar="MINUTES",
            help="Minutes of video it may keep; 0: no bound; default: upload.tenant_max_minutes.",
        ),
    ] = None,
) -> None:
    """Say how much a tenant may keep. What it keeps beyond that stays, but nothing comes to it."""
    from serving.db.database import SYSTEM, Database
    from serving.errors import InvalidRequest
    from serving.uploads import minutes, quota

    if quota_bytes is None and quota_minutes is None:
        raise InvalidRequest("say how many bytes, or `--minutes`, or both")
    for given, what in ((quota_bytes, "bytes"), (quota_minutes, "minutes")):
        if given not in (None, "default") and not (given.isascii() and given.isdigit() and len(given) < 19):
            raise InvalidRequest(f"{given}: a number of {what}, or `default`")

    def number(given: str) -> int | None:
        return None if given == "default" else int(given)

    async def write(database: Database, _: bytes) -> None:
        async with database.write("tenant.quota", SYSTEM) as session:
            if quota_bytes is not None:
                await quota.set_quota(session, tenant, number(quota_bytes))
            if quota_minutes is not None:
                await minutes.set_quota(session, tenant, number(quota_minutes))

    _with_database(write)
    print(tenant, *([quota_bytes] if quota_bytes else []), *([f"{quota_minutes} minutes"] if quota_minutes else []))


@users.command("create")
def create_user(
    email: Annotated[str, typer.Argument(help="What they sign in with.")],
    role: Annotated[str, typer.Option(help="`viewer`, `editor` or `admin`.")] = "viewer",
    tenant: Annotated[str | None, typer.Option(help="Id of the tenant; not needed where there is one only.")] = None,
    name: Annotated[str | None, typer.Option(help="What they are called; the email where it is left out.")] = None,
    invite: Annotated[
        bool, typer.Option("--invite", help="Ask for no password; print an invitation to set one, good for a day.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let somebody sign in. The password is asked for, or read from standard input where that is no terminal."""
    from serving.api.account_records import UserRequest
    from serving.auth import invitations, tenants, users
    from serving.auth.passwords import Passwords
    from serving.db.database import SYSTEM, Database
    from serving.errors import InvalidRequest, NotFound

    given = {"email": email, "name": name or email, "role": role} | ({} if invite else {"password": _password()})
    try:
        request = msgspec.convert(given, UserRequest)
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error)) from None

    async def make(database: Database, secret: bytes) -> NewUser:
        async with database.read(SYSTEM) as session:
            of = await tenants.resolved(session, tenant)
            if of is None:
                raise NotFound("say with --tenant which tenant; `automations tenants list` prints them")
            about = await users.known_about(session, of, request.email, request.name)
        hashed = None
        if request.password is not msgspec.UNSET:
            passwords = Passwords()
            hashed = await passwords.chosen(request.password, about)
            passwords.close()
        async with database.write("user.write", of) as session:
            user = await users.create(session, of, request.email, request.name, request.role, hashed)
            invited = await invitations.invite(session, secret, user, lasts_s) if hashed is None else None
        shown = None if invited is None else invited.shown
        return NewUser(id=user.id, tenant_id=user.tenant_id, email=user.email, role=user.role, invitation=shown)

    lasts_s = load().settings.auth.invitation_s
    made = _with_database(make)
    if as_json:
        print_json(made)
    else:
        print(f"{made.id}  {made.email}  {made.role} of {made.tenant_id}")
        if made.invitation is not None:
            print(f"invitation  {made.invitation}  (shown only now; for /v1/auth/password)")


def _password() -> str:
    """Never an argument: those are seen by all users of the machine, and kept in the shell's history."""
    if sys.stdin.isatty():
        return typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return sys.stdin.readline().rstrip("\r\n")


def _with_database(what: "Callable[[Database, bytes], Awaitable[T]]") -> T:
    """Do it with the server's database and secret. Raises as `with_place`."""
    return with_place(lambda database, place: what(database, place.secret))


def with_place(what: "Callable[[Database, Places], Awaitable[T]]") -> T:
    """Do it with the server's database, where everything is. What it writes is in the audit log, as the command that is
    run just now.

    Raises:
        DatabaseMisconfigured: its schema is not up to date.
        MasterKeyMissing, AuditKeyMissing, Altered: something is written, and cannot be noted; see `AuditSigner.key`.
    """
    from serving import places
    from serving.audit.acting import ACTING, commanding
    from serving.audit.keeping import Keeping
    from serving.db import migrate
    from serving.db.database import Database
    from serving.errors import DatabaseMisconfigured

    async def run(place: "Places") -> T:
        database = Database(place.database_url, pool_size=1)
        try:
            behind = await migrate.behind(database)
            if behind is not None:
                raise DatabaseMisconfigured(behind)
            keeping = Keeping(database, place.keyring)
            ACTING.set(commanding(name))
            done = await what(database, place)
            ACTING.set(None)
            await keeping.keep()
            return done
        finally:
            await database.close()

    name = _command()
    with places.places(load().settings, migrated=False) as place:
        return asyncio.run(run(place))


def _command() -> str:
    """The command that is run, by its words alone: `keys rotate`. What follows them may be anybody's name."""
    from serving.cli import app

    words: list[str] = []
    found: object = typer.main.get_command(app)
    for word in sys.argv[1:]:
        found = getattr(found, "commands", {}).get(word)
        if found is None:
            break
        words.append(word)
    return " ".join(words)


def print_json(value: object) -> None:
    """Print a record as JSON."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n")
