"""The API socket under clients that send what no client would: the daemon answers, stays small and injects nothing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support.attacker import Attacker
from support.daemon import Daemon

pytestmark = pytest.mark.root

JSON_HEADERS = b"Host: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
MIB = 1 << 20


def connected(daemon: Daemon, timeout: float = 20) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    deadline = time.monotonic() + timeout
    while True:
        try:
            sock.connect(str(daemon.socket))
            break
        except BlockingIOError:  # the backlog is full
            assert time.monotonic() < deadline
            time.sleep(0.01)
    sock.settimeout(timeout)
    return sock


def talk(daemon: Daemon, data: bytes, *, end: bool = False, timeout: float = 20) -> bytes:
    """Send raw bytes and return what comes back until the daemon hangs up (or resets) or `timeout` is over."""
    answer = b""
    with connected(daemon, timeout) as sock, contextlib.suppress(OSError):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(data)
        if end:
            sock.shutdown(socket.SHUT_WR)
        while block := sock.recv(65536):
            answer += block
    return answer


def status_of(answer: bytes) -> int:
    words = answer.split(None, 2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/1.") else 0


def post(daemon: Daemon, path: str, body: bytes) -> tuple[int, Any]:
    head = b"POST " + path.encode() + b" HTTP/1.1\r\n" + JSON_HEADERS + b"Content-Length: %d\r\n\r\n" % len(body)
    answer = talk(daemon, head + body)
    return status_of(answer), json.loads(answer.partition(b"\r\n\r\n")[2] or b"null")


def memory(daemon: Daemon) -> int:
    return int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1]) * 4096


@pytest.fixture(autouse=True)
def frugal(attacker: Attacker) -> Iterator[None]:
    """Whatever comes, the daemon does not grow by more than a few bodies."""
    before = memory(attacker.daemon)
    yield
    assert memory(attacker.daemon) - before < 96 * MIB


GARBAGE = random.Random(5).randbytes(5000)


@pytest.mark.parametrize(
    "data",
    [
        GARBAGE,
        b"\0" * 5000,
        b"\r\n" * 5000 + GARBAGE,
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + GARBAGE,  # the beginning of TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + GARBAGE,
        b"POST /containers/x/attach HTTP/1.1\r\n" + GARBAGE + b"\r\n\r\n",
        b"GET /_ping HTTP/9.9\r\n\r\n",
        b"GET http://[::1/_ping HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /exec/x/start HTTP/1.1\r\n" + JSON_HEADERS + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n0\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\n" + JSON_HEADERS + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_what_is_not_http_is_answered_by_an_error(attacker: Attacker, data: bytes) -> None:
    answer = talk(attacker.daemon, data, end=True)
    assert status_of(answer) in (0, 400, 404, 405, 505), answer
    assert attacker.daemon.answers()


def test_a_request_hidden_in_another_is_not_done(attacker: Attacker, orlopd: Daemon) -> None:
    """Request smuggling: both lengths at once, on a route that is ours to cut and on one that is the parser's."""
    hidden = (
        b"POST /volumes/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    for path in (b"/containers/x/attach", b"/exec/x/start", b"/containers/create"):
        for lengths in (
            b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (len(hidden) + 5),
            b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            b"Transfer-Encoding: xchunked\r\nContent-Length : 0\r\n\r\n",
            b"Content-Length: 0\r\nX: y\n\r\n\r\n",
        ):
            talk(orlopd, b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + lengths + hidden, end=True)
    assert orlopd.json("GET", "/volumes")["Volumes"] in ([], None)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /_ping HTTP/1.1\r\nX: ",
        b"POST /containers/x/attach HTTP/1.1\r\nX: ",
        b"POST /containers/",
        b"GET /_ping HTTP/1.1\r\n" + b"X: y\r\n" * 4000,
    ],
)
def test_a_head_without_end_is_cut_off(attacker: Attacker, head: bytes) -> None:
    started = memory(attacker.daemon)
    answer = talk(attacker.daemon, head + b"a" * (48 * MIB), end=True)
    assert status_of(answer) in (0, 400, 414, 431)
    assert memory(attacker.daemon) - started < 32 * MIB


@pytest.mark.parametrize(
    "part",
    [
        b"GET /_pi",
        b"GET /_ping HTTP/1.1\r\nHost:",
        b"POST /containers/create HTTP/1.1\r\n" + JSON_HEADERS + b"Content-Length: 1000\r\n\r\n{",
        b"POST /exec/x/start HTTP/1.1\r\n" + JSON_HEADERS + b"Content-Length: 1000\r\n\r\n{",
        b"POST /images/load HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n200\r\nhalf",
        b"POST /images/create?fromSrc=-&repo=x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\nhalf",
    ],
)
def test_half_a_request_is_given_up_with_its_client(attacker: Attacker, part: bytes) -> None:
    for end in (True, False):
        with connected(attacker.daemon) as sock:
            sock.sendall(part)
            if end:
                sock.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    assert status_of(sock.recv(65536)) in (0, 200, 400, 404)  # a load tells of errors in its stream
    assert attacker.daemon.answers()


def test_a_thousand_idle_clients_keep_nobody_out(attacker: Attacker) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(1000):
            sock = stack.enter_context(connected(attacker.daemon))
            sock.sendall((b"", b"GET /_ping HT", b"POST /containers/x/attach HTTP/1.1\r\n")[number % 3])
        assert attacker.shell("echo served").output == "served\n"
    deadline = time.monotonic() + 10
    while len(os.listdir(f"/proc/{attacker.daemon.pid}/fd")) > 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"[" * 3_000_000, "invalid JSON"),
        (b'{"HostConfig":' * 200_000, "invalid JSON"),
        (b'{"Labels":' + b"[" * 900 + b"]" * 900 + b"}", "$.Labels"),
        (b'{"Image":"' + b"x" * (20 * MIB) + b'"}', "request body is larger than"),
        (b'{"Image":"busybox","Cmd":["\xff\xfe"]}', "invalid JSON"),
        (b'{"Image":"busybox","Cmd":["\\ud800"]}', "invalid JSON"),
        (b'{"Image":"busybox"} {"Image":"busybox"}', "unexpected content after JSON"),
        (b"null", "config cannot be empty"),
        (b'"x"', "invalid JSON"),
        (b'{"Image":"busybox","HostConfig":{"Memory":1e400}}', "invalid JSON"),
        (b'{"Image":"busybox","HostConfig":{"Memory":9223372036854775808}}', "$.HostConfig.Memory"),
        (b'{"Image":"busybox","HostConfig":{"Memory":' + b"9" * 5000 + b"}}", "invalid JSON"),
        (b'{"Image":"busybox","HostConfig":{"Binds":{"a":1}}}', "$.HostConfig.Binds"),
        (b'{"Image":"busybox","HostConfig":{"Binds":["/tmp\\u0000x:/v"]}}', "$.HostConfig.Binds"),
        (b'{"Image":"busybox","Labels":{"a\\u0000":"b"}}', "$.Labels"),
        (b'{"Image":"busybox","StopSignal":"NOPE"}', "invalid signal: NOPE"),
        (b'{"Image":"busybox","HostConfig":{"ConsoleSize":[1,2,3]}}', "invalid console size"),
        (b'{"Image":"busybox","HostConfig":{"LogConfig":{"Type":"../x"}}}', "no log driver named '../x'"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_bodies_that_make_no_sense_are_the_clients_mistake(attacker: Attacker, body: bytes, text: str) -> None:
    status, answer = post(attacker.daemon, "/containers/create", body)
    assert (status, text in answer["message"]) == (400, True), answer


HOSTILE_WORDS = (
    "\0",
    "../../etc",
    "\xff",
    "\r\nX: y",
    "-1",
    "9" * 30,
    "NaN",
    "[",
    '{"a":1}',
    "[" * 3000,
    "a" * 9000,
    "²",
)


def test_no_field_of_a_query_breaks_the_daemon(attacker: Attacker) -> None:
    container = attacker.start("busybox", "sleep", "1000")
    own = f"/containers/{container}"
    calls = {
        "GET /containers/json": ("filters", "limit"),
        f"GET {own}/logs?stdout=1": ("since", "until", "tail"),
        f"POST {own}/kill": ("signal",),
        f"POST {own}/resize": ("h", "w"),
        f"POST {own}/attach": ("detachKeys",),
        f"POST {own}/wait": ("condition",),
        "GET /events?until=1": ("since", "filters"),
        "GET /images/json": ("filters",),
        "POST /images/busybox/tag": ("repo", "tag"),
        "POST /containers/prune": ("filters",),
        "POST /containers/create": ("name", "platform"),
    }
    for call, names in calls.items():
        method, path = call.split()
        for name in names:
            for word in HOSTILE_WORDS:
                if name == "condition" and word != "\0":
                    continue  # another condition would wait
                query = f"{path}{'&' if '?' in path else '?'}{name}={quote(word)}"
                status, data = attacker.daemon.request(method, query)
                assert status != 500, (method, query[:200], data)
    assert attacker.daemon.request("GET", f"{own}/top?ps_args=%00")[0] == 400


def test_no_name_in_a_path_breaks_the_daemon(attacker: Attacker) -> None:
    calls = (
        *("GET /containers/{}/json", "DELETE /containers/{}", "GET /images/{}/json", "DELETE /images/{}"),
        *(
            "GET /volumes/{}",
            "DELETE /volumes/{}",
            "GET /exec/{}/json",
            "GET /networks/{}",
            "GET /{}",
            "GET /v{}/_ping",
        ),
    )
    names = ("%00", "..", "%2e%2e%2fetc", "a%2fb", "%ff", "%0a", "a" * 9000, "%25", "*", "sha256:" + "a" * 64, "@", "%")
    for name in names:
        for call in calls:
            method, path = call.format(name).split()
            status, data = attacker.daemon.request(method, path)
            assert status in (301, 400, 404, 405, 409, 501), (call, name[:20], status, data)


INJECTIONS = ("\n6.6.6.6 bank", "\r6.6.6.6 bank", "\x0b6.6.6.6", "\u2028x", " x", "\0", "\x1b[2J")


@pytest.mark.parametrize("injected", INJECTIONS)
def test_no_line_gets_into_the_files_of_names(attacker: Attacker, injected: str) -> None:
    """/etc/hosts, /etc/hostname and /etc/resolv.conf, by any field."""
    fields: list[dict[str, Any]] = [
        {"Hostname": f"a{injected}"},
        {"Domainname": f"a{injected}"},
        *({"host": {"ExtraHosts": [value]}} for value in (f"a{injected}:1.2.3.4", f"a:1.2.3.4{injected}")),
        *({"host": {name: [f"1.2.3.4{injected}"]}} for name in ("Dns", "DnsSearch", "DnsOptions")),
        {"host": {"Links": [f"x:a{injected}"]}},
    ]
    for field in fields:
        assert attacker.shell("true", **field).code == -1, field


@pytest.mark.parametrize("injected", ["\nPATH=/evil", "\r\nX", "=\n=", "é\u2028"])
def test_lines_in_variables_and_labels_stay_in_them(attacker: Attacker, injected: str) -> None:
    value = f"A=1{injected}"
    outcome = attacker.run(
        "busybox", "sh", "-c", "cat /proc/1/environ | tr '\\0' '#'", Env=[value], Labels={injected: injected}
    )
    assert f"#{value}#" in f"#{outcome.output}", outcome
    container = attacker.start("busybox", "sleep", "1000", Labels={f"a{injected}": injected})
    assert attacker.daemon.json("GET", f"/containers/{container}/json")["Config"]["Labels"] == {
        f"a{injected}": injected
    }
    filters = quote(json.dumps({"container": [container]}))
    events = attacker.daemon.request("GET", f"/events?since=1&until={time.time():.0f}&filters={filters}")[
        1
    ].splitlines()
    assert all(json.loads(line)["Actor"]["ID"] == container for line in events)


def test_annotations_are_data(attacker: Attacker) -> None:
    host = {
        "Annotations": {
            "org.orlop.init": "/evil",
            "io.podman.annotations.userns": "host",
            "a\nb": "c",
            "run.oci.hooks": "x",
        }
    }
    assert attacker.shell("id -u", host=host).output == "0\n"
