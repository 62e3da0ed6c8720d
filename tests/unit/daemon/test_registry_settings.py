from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.cli import main as cli
from orlop.cli.commands import registry
from orlop.cli.flags import BOOL, INT, LIST, STRING
from orlop.daemon import flags
from orlop.daemon.hosts import Host
from orlop.daemon.registry import main
from orlop.daemon.registry.control import describe
from orlop.daemon.registry.settings import COMMANDS, Serving, collection, help_text, is_local, serving
from orlop.errors import InvalidArgument
from orlop.registry.storage.storage import Collection, Report


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The registry's process sets its own; this one is that of all tests."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def settings(line: str) -> Serving:
    return serving(flags.parse(line.split(), COMMANDS["serve"].flags)[0])


def test_without_anything_the_registry_is_for_this_machine() -> None:
    found = settings("")
    assert (found.root, found.hosts) == (Path("/var/lib/orlop-registry"), (Host("tcp", "127.0.0.1", 5000),))
    assert (found.tls, found.htpasswd, found.read_only, found.upload_expiry) == (None, None, False, 86400)


@pytest.mark.parametrize(
    ("text", "host", "local"),
    [
        ("localhost", Host("tcp", "localhost", 5000), True),
        ("127.1.2.3:80", Host("tcp", "127.1.2.3", 80), True),
        ("[::1]:80", Host("tcp", "::1", 80), True),
        ("[::]", Host("tcp", "::", 5000), False),
        ("0.0.0.0:0", Host("tcp", "0.0.0.0", 0), False),
        ("tcp://registry:5001", Host("tcp", "registry", 5001), False),
        ("unix:/a/b", Host("unix", "/a/b"), True),
        ("unix:///a/b", Host("unix", "/a/b"), True),
        ("fd://", Host("fd", "*"), True),
    ],
)
def test_addresses_are_read_and_those_that_others_reach_are_told_apart(text: str, host: Host, local: bool) -> None:
    found = settings(f"--plain-http --listen {text}").hosts[0]
    assert (found, is_local(found)) == (host, local)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--listen 0.0.0.0:5000", "say --plain-http if you really want this"),
        ("--listen 127.0.0.1 --listen host:1", "tcp://host:1: without TLS"),
        ("--tls-cert a", "TLS needs both --tls-cert and --tls-key"),
        ("--tls-client-ca a", "TLS needs both --tls-cert and --tls-key"),
        ("--log-level loud", "--log-level must be one of debug, info, warn, error: loud"),
        ("--upload-expiry soon", 'invalid argument "soon" for "--upload-expiry" flag'),
        ("--upload-expiry=-1s", "--upload-expiry must not be negative"),
        ("--shutdown-timeout=-1", "--shutdown-timeout must not be negative"),
        ("--root=", "--root must not be empty"),
    ],
)
def test_settings_that_make_no_sense_are_refused(line: str, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        settings(line)
    assert text in caught.value.message


def test_tls_makes_an_open_address_an_ordinary_one() -> None:
    found = settings("--listen 0.0.0.0:443 --tls-cert a --tls-key b --tls-client-ca c")
    assert found.tls is not None
    assert (found.tls.certificate, found.tls.key, found.tls.ca) == ("a", "b", "c")


def test_a_collection_has_a_grace() -> None:
    assert collection({}) == (Path("/var/lib/orlop-registry"), Collection(grace=3600))
    assert collection({"root": "/r", "grace": "0", "untagged": True, "dry-run": True}) == (
        Path("/r"),
        Collection(0, untagged=True, dry_run=True),
    )


def test_what_a_collection_did_is_said_in_a_line_or_three() -> None:
    report = Report(manifests=1, blobs=2, bytes=3000, kept_blobs=4, recent_blobs=5)
    assert describe(report, Collection(0)).splitlines() == [
        "2 blobs and 1 manifests removed, 3kB freed",
        "4 blobs are in use",
        "5 blobs are not in use and stay: they were pushed or asked for lately (--grace)",
    ]
    assert "would be removed" in describe(report, Collection(0, dry_run=True))


def test_the_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in COMMANDS.items():
        assert main.run([name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert shown == help_text(name) + "\n"
        assert all(f"--{flag.name}" in shown and flag.usage in shown for flag in command.flags)
    assert main.run([]) == 1
    capsys.readouterr()
    assert main.run(["--help"]) == 0
    assert capsys.readouterr().out == help_text() + "\n"


def test_mistakes_on_the_command_line_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for line, text in (
        ("push", "orlop-registry: unknown command: push\nSee 'orlop-registry --help'.\n"),
        ("serve x", "\"orlop-registry serve\" accepts no arguments\nSee 'orlop-registry serve --help'.\n"),
        ("gc --listen x", "orlop-registry: unknown flag: --listen\nSee 'orlop-registry gc --help'.\n"),
        (f"gc --root {tmp_path}", f"orlop-registry: there is no registry in {tmp_path}\n"),
    ):
        assert main.run(line.split()) == 1
        assert capsys.readouterr().err.endswith(text)


def test_the_orlop_command_has_the_same_flags_and_hands_them_on(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {BOOL: "bool", INT: "int", LIST: "list", STRING: "string"}
    for name, command in (("serve", registry.serve), ("gc", registry.collect)):
        ours = {flag.name: kinds[flag.kind] for flag in command.flags if not flag.hidden}
        assert ours == {flag.name: flag.kind for flag in COMMANDS[name].flags}
        assert all(flag.help in help_text(name) for flag in command.flags if not flag.hidden)
    executed: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda path, words: executed.append([Path(path).name, *words]))
    cli.run(["registry", "serve", "--listen", "a:1", "--listen=unix:/b", "--read-only", "--shutdown-timeout=3"])
    cli.run(["registry", "gc", "--dry-run=false", "--grace", "2h"])
    assert executed == [
        [
            *["orlop-registry"] * 2,
            "serve",
            "--listen=a:1",
            "--listen=unix:/b",
            "--read-only=true",
            "--shutdown-timeout=3",
        ],
        [*["orlop-registry"] * 2, "gc", "--grace=2h", "--dry-run=false"],
    ]
