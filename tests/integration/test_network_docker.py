"""The network as the docker command and a container's own programs see it."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orlop.linux.namespace import CLONE_NEWNET, setns
from support.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

Cli = Callable[..., subprocess.CompletedProcess[str]]

SERVER = ("sh", "-c", "hostname > /index.html; exec httpd -f -p 80 -h /")


def fetch(daemon: Daemon, host: str, port: int) -> str:
    """Return what a container's web server says (its id's first 12 digits) to a client on the daemon's host."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    wanted = os.open(daemon.netns.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(wanted, CLONE_NEWNET)
        connection = http.client.HTTPConnection(host, port, timeout=10)
        connection.connect()
    finally:
        setns(before, CLONE_NEWNET)
        os.close(before)
        os.close(wanted)
    connection.request("GET", "/")
    text = connection.getresponse().read().decode().strip()
    connection.close()
    return text


@pytest.fixture
def run(docker: Cli, image: str) -> Iterator[Callable[..., str]]:
    """Start a web server with options of `docker run`; return its id. All are removed at the end."""
    started: list[str] = []

    def start(*options: str) -> str:
        identity = docker("run", "-d", *options, image, *SERVER).stdout.strip()
        started.append(identity)
        docker("exec", identity, "sh", "-c", "until wget -q -O /dev/null http://127.0.0.1; do :; done")
        return identity

    yield start
    if started:
        docker("rm", "-f", *started)


def test_a_published_port_is_served_on_every_address(run: Callable[..., str], docker: Cli, orlopd: Daemon) -> None:
    identity = run("-p", "8080:80", "-p", "127.0.0.1:8081:80")

    assert [fetch(orlopd, host, 8080) for host in ("127.0.0.1", "127.0.0.7", "::1")] == [identity[:12]] * 3
    assert fetch(orlopd, "127.0.0.1", 8081) == identity[:12]
    assert sorted(docker("port", identity).stdout.splitlines()) == [
        "80/tcp -> 0.0.0.0:8080",
        "80/tcp -> 127.0.0.1:8081",
        "80/tcp -> [::]:8080",
    ]


def test_a_port_that_is_taken_is_told_in_dockers_words(
    run: Callable[..., str], docker: Cli, orlopd: Daemon, image: str
) -> None:
    run("-p", "8080:80")
    refused = docker("run", "--rm", "--name", "late", "-p", "8080:80", image, "true", check=False)
    assert refused.returncode == 125
    assert re.search(
        r"Error response from daemon: failed to set up container networking: driver failed programming external "
        r"connectivity on endpoint late \([0-9a-f]{64}\): Bind for 0\.0\.0\.0:8080 failed: port is already allocated",
        refused.stderr,
    )
    namespace = os.open(orlopd.netns.path, os.O_RDONLY | os.O_CLOEXEC)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    setns(namespace, CLONE_NEWNET)
    taken = socket.create_server(("0.0.0.0", 8082))
    setns(before, CLONE_NEWNET)
    with taken:
        refused = docker("run", "--rm", "-p", "8082:80", image, "true", check=False)
    os.close(namespace)
    os.close(before)
    assert re.search(
        r": failed to bind host port for 0\.0\.0\.0:8082:172\.\d+\.\d+\.\d+:80/tcp: address already in use",
        refused.stderr,
    )


def test_a_container_has_an_address_a_mac_made_of_it_and_a_way_out(docker: Cli, image: str) -> None:
    script = "cat /sys/class/net/eth0/address; ip -o -4 addr show dev eth0; ip route; cat /etc/hosts; hostname"
    mac, address, *rest = docker("run", "--rm", image, "sh", "-c", script).stdout.splitlines()
    matched = re.search(r"inet (172\.\d+\.(\d+)\.(\d+))/16 brd", address)
    assert matched
    assert mac.startswith("02:42:ac:")
    assert mac.endswith(f"{int(matched[2]):02x}:{int(matched[3]):02x}")
    assert rest[0].startswith("default via 172.")
    assert f"{matched[1]}\t{rest[-1]}" in rest
    chosen = docker("run", "--rm", "--mac-address", "02:aa:bb:cc:dd:ee", image, "cat", "/sys/class/net/eth0/address")
    assert chosen.stdout == "02:aa:bb:cc:dd:ee\n"


def test_containers_that_start_and_end_together_have_ports_of_their_own(
    run: Callable[..., str], docker: Cli, orlopd: Daemon
) -> None:
    with ThreadPoolExecutor(8) as pool:
        identities = list(pool.map(lambda _: run("-p", "80"), range(8)))
        ports = [
            int(docker("port", identity, "80").stdout.splitlines()[0].rpartition(":")[2]) for identity in identities
        ]
        answers = list(pool.map(lambda port: fetch(orlopd, "127.0.0.1", port), ports))
    assert answers == [identity[:12] for identity in identities]
    assert len(set(ports)) == 8


def test_a_network_of_none_has_loopback_alone(docker: Cli, image: str) -> None:
    assert docker("run", "--rm", "--network", "none", image, "ls", "/sys/class/net").stdout == "lo\n"


def test_a_link_between_containers_that_are_kept_apart_is_refused(
    daemon: Callable[..., Daemon], image_archive: Path
) -> None:
    apart = daemon("--icc=false")
    apart.load(image_archive)
    apart.cli("docker", "run", "-d", "--name", "server", "busybox", "sleep", "1000")
    refused = apart.cli("docker", "create", "--link", "server", "busybox", check=False)
    assert "links need containers that reach each other" in refused.stderr
    apart.restart("--icc=true")
    apart.cli("docker", "create", "--name", "client", "--link", "server", "busybox", "true")
    apart.restart()
    assert "keeps them apart (--icc=false)" in apart.cli("docker", "start", "-a", "client", check=False).stderr
