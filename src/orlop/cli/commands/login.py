"""`orlop login` and `orlop logout`."""

from __future__ import annotations

import sys

from orlop import errors
from orlop.cli.command import at_most, command
from orlop.cli.credentials.auth import INDEX_SERVER, Auth, host_of, key_of
from orlop.cli.credentials.stores import store_for
from orlop.cli.failure import CommandError, daemon_message
from orlop.cli.flags import BOOL, STRING, Flag, Options
from orlop.cli.note import write_note
from orlop.cli.session import Session
from orlop.cli.terminal import is_terminal
from orlop.client import calls

__all__ = ["login", "logout"]

_DEFAULT_NAMES = ("", "docker.io")
_OTHER_ACCOUNT = "To login with a different account, run 'orlop logout' followed by 'orlop login'"


@command(
    "[OPTIONS] [SERVER]",
    at_most(1),
    flags=(
        Flag("password", "p", STRING, "Password or personal access token"),
        Flag("password-stdin", "", BOOL, "Read the password or personal access token from STDIN"),
        Flag("username", "u", STRING, "User name"),
    ),
    long="Log in to a registry.\nWithout a server that is Docker Hub.",
    complete="registry",
)
def login(session: Session, options: Options, arguments: list[str]) -> None:
    """Have a registry accept credentials, and keep them."""
    _check(options)
    password = _password(session, options)
    server = arguments[0] if arguments else ""
    server = INDEX_SERVER if server in _DEFAULT_NAMES else server
    key = server if server == INDEX_SERVER else host_of(server)
    known = Auth(server=key)
    if not options.username and not password:
        try:
            known = store_for(session.config, key).get(key)._replace(server=key, identity_token="")
        except errors.Error:
            known = Auth(server=key)
    status = None
    if known.username and known.password:
        status = _with_stored(session, known)
    if status is None:
        status = _with_given(session, options.username, password, known)
    if status:
        session.print(status)


def _check(options: Options) -> None:
    if options.given("password-stdin"):
        if options.given("password"):
            raise CommandError("conflicting options: cannot specify both --password and --password-stdin")
        if not options.given("username"):
            raise CommandError("the --password-stdin option requires --username to be set")
    if options.given("username") and not options.username:
        raise CommandError("username is empty")
    if options.given("password") and not options.password:
        raise CommandError("password is empty")


def _password(session: Session, options: Options) -> str:
    if options.password:
        session.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if not options.password_stdin:
        return str(options.password)
    return sys.stdin.buffer.read().decode(errors="surrogateescape").removesuffix("\n").removesuffix("\r")


def _with_stored(session: Session, known: Auth) -> str | None:
    """Try the credentials that are kept; None when they do not do any more."""
    session.warn(f"Authenticating with existing credentials... [Username: {known.username}]")
    write_note(_OTHER_ACCOUNT, 2)
    session.warn("\n")
    try:
        answer = session.engine.do(calls.registry_login(known.body()))
    except errors.Unauthorized:
        session.warn("Stored credentials invalid or expired")
        return None
    except errors.Error as error:
        session.warn(f"Login did not succeed, error: {daemon_message(error)}")
        return None
    _keep(session, known, answer)
    return str(answer.get("Status") or "")


def _with_given(session: Session, username: str, password: str, known: Auth) -> str:
    if not (username and password) and not is_terminal(0):
        raise CommandError("Error: Cannot perform an interactive login from a non TTY device")
    from orlop.cli.credentials.prompt import ask_credentials

    auth = ask_credentials(username, password, known.username, known.server)
    answer = session.engine.do(calls.registry_login(auth.body()))
    _keep(session, auth, answer)
    return str(answer.get("Status") or "")


def _keep(session: Session, auth: Auth, answer: dict[str, str]) -> None:
    if token := answer.get("IdentityToken"):
        auth = auth._replace(password="", identity_token=token)
    try:
        store_for(session.config, auth.server).put(auth)
    except errors.Error as error:
        raise CommandError(f"Error saving credentials: {error.message}") from None
    except OSError as error:
        reason = f"open {error.filename}: {(error.strerror or '').lower()}"
        raise CommandError(f"Error saving credentials: {reason}") from None


@command(
    "[SERVER]",
    at_most(1),
    long="Log out from a registry.\nWithout a server that is Docker Hub.",
    complete="registry",
)
def logout(session: Session, options: Options, arguments: list[str]) -> None:
    """Forget the credentials of a registry."""
    server = arguments[0] if arguments else ""
    names = [INDEX_SERVER]
    if server:
        host = host_of(server)
        # Clients have kept credentials under any of these.
        names = [server, host, f"http://{host}", f"https://{host}"]
        if key_of(host) == INDEX_SERVER:
            names.append(INDEX_SERVER)
    else:
        _forget_web_login(session)
    session.print(f"Removing login credentials for {host_of(server) if server else INDEX_SERVER}")
    failed: dict[str, str] = {}
    for name in names:
        try:
            store_for(session.config, name).erase(name)
        except errors.Error as error:
            failed[name] = error.message
        except OSError as error:
            failed[name] = f"open {error.filename}: {(error.strerror or '').lower()}"
    if len(failed) == len(set(names)):
        session.warn("WARNING: could not erase credentials:")
        for name, reason in failed.items():
            session.warn(f"{name}: {reason}")


def _forget_web_login(session: Session) -> None:
    """Erase the tokens that docker's login by a browser keeps beside the credentials proper."""
    store = store_for(session.config, INDEX_SERVER)
    refresh, access = f"{INDEX_SERVER}refresh-token", f"{INDEX_SERVER}access-token"
    try:
        # Docker's client keeps "token..client"; anything else is not its own.
        if len(store.get(refresh).password.split("..")) != 2:
            return
        store.erase(access)
        store.erase(refresh)
    except (errors.Error, OSError) as error:
        session.warn(f"WARNING: {error}")
        return
    session.warn("WARNING: the token of docker's web-based login is erased here, but not revoked at Docker Hub")
