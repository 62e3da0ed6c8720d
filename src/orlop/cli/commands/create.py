"""`orlop run` and `orlop create`."""

from __future__ import annotations

import os
import re
from types import TracebackType
from typing import Any

from orlop import errors
from orlop.cli.command import at_least, command
from orlop.cli.create.body import create_body
from orlop.cli.create.flags import CONTAINER_FLAGS
from orlop.cli.failure import CommandError, daemon_message
from orlop.cli.flags import BOOL, STRING, Flag, Options
from orlop.cli.proxies import proxies
from orlop.cli.session import Session
from orlop.cli.terminal import check_input, is_terminal, terminal_size
from orlop.client import calls
from orlop.client.engine import Engine
from orlop.client.hijack import Hijacked
from orlop.client.transport import Response

__all__ = ["create", "run"]

Json = dict[str, Any]

_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


@command("[OPTIONS] IMAGE [COMMAND] [ARG...]", at_least(1), flags=CONTAINER_FLAGS, interspersed=False, complete="image")
def create(session: Session, options: Options, arguments: list[str]) -> None:
    """Create a container and print its ID."""
    body = _body(session, options, arguments, "create")
    session.print(_create(session, options, body))


@command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    at_least(1),
    flags=(
        *CONTAINER_FLAGS,
        Flag("detach", "d", BOOL, "Run in the background and print the container's ID"),
        Flag("detach-keys", "", STRING, "Keys that leave the container running"),
        Flag("sig-proxy", "", BOOL, "Pass signals on to the process", "true"),
    ),
    interspersed=False,
    complete="image",
)
def run(session: Session, options: Options, arguments: list[str]) -> int:
    """Create a container, start it, and stay joined with it unless detached."""
    body = _body(session, options, arguments, "run")
    if options.detach:
        if options.attach:
            raise CommandError("conflicting options: cannot specify both --attach and --detach")
        for key in ("AttachStdin", "AttachStdout", "AttachStderr", "StdinOnce"):
            body[key] = False
    else:
        check_input(attach=body["AttachStdin"], tty=body["Tty"])
    try:
        container = _create(session, options, body)
    except errors.Error as error:
        raise _start_error(error) from None
    if not (body["AttachStdin"] or body["AttachStdout"] or body["AttachStderr"]):
        session.print(container)
        try:
            session.engine.do(calls.container_start(container))
        except errors.Error as error:
            raise _start_error(error) from None
        return 0
    return _run_joined(session, options, body, container)


def _body(session: Session, options: Options, arguments: list[str], name: str) -> Json:
    try:
        if options.pull not in ("always", "missing", "never", ""):
            choices = '"always", "missing" or "never"'
            raise ValueError(f"invalid pull option: '{options.pull}': must be one of {choices}")
        if not options.disable_content_trust:
            from orlop.cli.commands.pull import NO_TRUST

            raise ValueError(NO_TRUST)
        body = create_body(options, arguments[0], arguments[1:])
    except ValueError as error:
        raise CommandError(_with_help(str(error), name), 125) from None
    if configured := proxies(session, options.env):
        body["Env"] = [*(f"{name}={value}" for name, value in configured.items()), *(body["Env"] or ())]
    return body


def _with_help(message: str, name: str) -> str:
    return f"orlop: {message}\n\nRun 'orlop {name} --help' for more information"


def _start_error(error: errors.Error) -> CommandError:
    """Return how `run` ends when its container could not be started, with the status that a shell would give."""
    message = daemon_message(error)
    if any(text in message for text in ("executable file not found", "no such file or directory")):
        status = 127
    elif "permission denied" in message or "is a directory" in message:
        status = 126
    else:
        status = 125
    return CommandError(_with_help(message, "run"), status)


def _create(session: Session, options: Options, body: Json) -> str:
    with _IDFile(options.cidfile) as id_file:
        _check_reference(body["Image"])
        if options.use_api_socket:
            _mount_socket(session, body)
        if options.pull == "always":
            _pull(session, body["Image"], options)
        body["HostConfig"]["ConsoleSize"] = list(terminal_size(1))
        call = calls.container_create(body, name=options.name, platform=_platform(options.platform))
        try:
            created = session.engine.do(call)
        except errors.NotFound:
            if options.pull != "missing" or _ID.fullmatch(body["Image"]):
                raise
            if not options.quiet:
                session.warn(f"Unable to find image '{_tagged(body['Image'])}' locally")
            _pull(session, body["Image"], options)
            created = session.engine.do(call)
        for warning in [*(created.get("Warnings") or ()), *_local_dns(options)]:
            session.warn(f"WARNING: {warning}")
        id_file.write(created["Id"])
        return str(created["Id"])


def _local_dns(options: Options) -> list[str]:
    return [
        f"Localhost DNS ({server}) may fail in containers."
        for server in options.dns
        if server.startswith("127.") or server == "::1"
    ]


def _platform(text: str) -> str:
    if not text:
        return ""
    from orlop.formats.platform import parse

    try:
        platform = parse(text, machine=os.uname().machine)
        return text.lower() if "/" in text else str(platform)
    except errors.InvalidArgument as error:
        raise errors.Error(f"error parsing specified platform: {error}") from None


def _check_reference(image: str) -> None:
    """Refuse what cannot be an image's name; plain names, which most are, are not parsed."""
    if re.fullmatch(r"[a-z0-9]+(?:[._/-][a-z0-9]+)*(?::\w+)?", image, re.ASCII):
        return
    from orlop.formats.reference import parse

    try:
        parse(image)
    except errors.InvalidArgument as error:
        if not _ID.fullmatch(image):
            raise errors.Error(error.message) from None


def _tagged(image: str) -> str:
    from orlop.formats.reference import parse

    return parse(image).tagged().familiar()


def _pull(session: Session, image: str, options: Options) -> None:
    from orlop.cli.commands.pull import pull_for_container

    pull_for_container(session, image, platform=options.platform, quiet=options.quiet)


def _mount_socket(session: Session, body: Json) -> None:
    endpoint = session.endpoint
    if endpoint.scheme != "unix":
        raise errors.Error(
            f"flag --use-api-socket can only be used with unix sockets: docker endpoint {endpoint.host} incompatible"
        )
    mounts = body["HostConfig"].setdefault("Mounts", [])
    mounts.append({"Type": "bind", "Source": endpoint.address, "Target": "/var/run/docker.sock", "BindOptions": {}})


class _IDFile:
    """The file of ``--cidfile``: it must be new, and is removed when no container was made."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._written = False

    def __enter__(self) -> _IDFile:
        if not self._path:
            return self
        try:
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        except FileExistsError:
            raise errors.Error(
                "container ID file found, make sure the other container isn't running or delete " + self._path
            ) from None
        except OSError as error:
            reason = f"open {self._path}: {(error.strerror or '').lower()}"
            raise errors.Error(f"failed to create the container ID file: {reason}") from None
        return self

    def write(self, container: str) -> None:
        if self._path:
            with open(self._path, "w", encoding="ascii") as file:
                file.write(container)
        self._written = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._path and not self._written:
            os.unlink(self._path)


def _run_joined(session: Session, options: Options, body: Json, container: str) -> int:
    from orlop.cli.joined import Joined
    from orlop.cli.signals import SignalRelay

    engine = session.engine
    with SignalRelay(everything=options.sig_proxy) as relay:
        stream = _attach(session.connect(), options, session, body, container)
        tty = body["Tty"] and is_terminal(1)

        def resize() -> None:
            height, width = terminal_size(1)
            if height or width:
                engine.do(calls.container_resize(container, height=height, width=width))

        joined = Joined(
            stream,
            relay,
            tty=body["Tty"],
            stdin=body["AttachStdin"],
            output=body["AttachStdout"] or body["AttachStderr"],
            detach_keys=options.detach_keys or session.config.text("detachKeys"),
            wait=lambda again: open_wait(session, container, removed=options.rm, again=again),
            on_signal=(lambda name: kill_quietly(engine, container, name)) if options.sig_proxy else None,
            resize=resize if tty else None,
        )
        try:
            engine.do(calls.container_start(container))
        except errors.Error as error:
            stream.close()
            if options.rm:
                joined.wait_removed()
            raise _start_error(error) from None
        joined.run()
        return 0 if joined.detached else joined.wait_status()


def _attach(engine: Engine, options: Options, session: Session, body: Json, container: str) -> Hijacked:
    return engine.hijack(
        calls.container_attach(
            container,
            stdin=body["AttachStdin"],
            stdout=body["AttachStdout"],
            stderr=body["AttachStderr"],
            detach_keys=options.detach_keys or session.config.text("detachKeys"),
        )
    )


def kill_quietly(engine: Engine, container: str, name: str) -> None:
    """Pass a signal on; a container that has ended meanwhile does not mind, nor can one be asked without a daemon."""
    try:
        engine.do(calls.container_kill(container, signal=name))
    except errors.Error:
        pass


def open_wait(session: Session, container: str, *, removed: bool, again: bool) -> Response:
    """Open a request for a container's exit status, before it is started, or `again` when it may have ended."""
    condition = "removed" if removed else "" if again else "next-exit"
    return session.connect().open(calls.container_wait(container, condition=condition))
