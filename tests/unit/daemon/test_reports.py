"""What the daemon tells: its log, and systemd."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.daemon import log, systemd


@pytest.fixture
def restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("orlop")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


@pytest.mark.usefixtures("restored")
def test_text_lines_have_level_message_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "text")
    logging.getLogger("orlop.x").info("it %s", "runs", extra={"container": "abc", "why": 'a "b"'})
    logging.getLogger("orlop.x").debug("unheard")
    logging.getLogger("asyncio").info("unheard")
    line = capsys.readouterr().err
    assert line.startswith('time="')
    assert line.endswith(' level=info msg="it runs" container=abc why="a \\"b\\""\n')


@pytest.mark.usefixtures("restored")
def test_json_lines_carry_tracebacks_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("debug", "json")
    try:
        raise ValueError("oh")
    except ValueError:
        logging.getLogger("orlop.x").exception("failed")
    (line,) = capsys.readouterr().err.splitlines()
    document = json.loads(line)
    assert (document["level"], document["msg"]) == ("error", "failed")
    assert "ValueError: oh" in document["error"]


@pytest.mark.parametrize("address", ["path", "abstract"])
def test_systemd_is_told_by_datagrams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name if address == "abstract" else name)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if address == "abstract" else name)
        systemd.notify_ready()
        systemd.notify_reloading()
        systemd.notify_stopping()
        messages = [manager.recv(200).decode() for _ in range(3)]
    assert messages[0] == "READY=1"
    assert messages[1].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert messages[2] == "STOPPING=1"


def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.notify_ready()
