#!/usr/bin/env python3
"""What `make run` does once the set-up is done: a daemon, an image, a first container, and what to try next.

Everything is done only if it is missing, so that a second run is quick. ``--stop`` ends the daemon instead.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ORLOP = ROOT / ".venv/bin/orlop"
ORLOPD = ROOT / ".venv/bin/orlopd"
SOCKET = Path("/run/orlop/orlop.sock")
LOG = Path("/var/log/orlopd.log")
START_SECONDS = 30.0
IMAGE = "busybox:latest"
READER_LEFT = 141  # how orlop ends when nobody reads its output any more

# Runs inside the container; each line shows one kind of isolation.
TOUR = """
echo "  host name   $(hostname)"
echo "  processes   this shell is pid $$, nothing of the host is seen: $(ls -d /proc/[0-9]* | wc -l) in all"
echo "  mounts      $(wc -l </proc/self/mounts), root is $(awk '$2 == "/" {print $3}' /proc/self/mounts)"
echo "  address     $(ip -4 -o addr show eth0 2>/dev/null | awk '{print $4}')"
echo "  user        $(id -un), capabilities $(awk '/CapEff/ {print $2}' /proc/self/status)"
"""

NEXT = f"""
Try next:
  {ORLOP} run -it --rm busybox sh      a shell in a container
  {ORLOP} ps -a                        what there is
  {ORLOP} --help                       everything else

The docker command works on it, too:
  export DOCKER_HOST=unix://{SOCKET}
  docker run --rm busybox echo hello

The log of the daemon is {LOG}; `make stop` ends it (its containers run on).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stop", action="store_true", help="stop the daemon")
    if parser.parse_args().stop:
        stop()
        return
    if os.geteuid() != 0:
        fail("orlopd makes namespaces and networks, which only root may: run `sudo make run`")
    if not answers():
        start()
    load_image()
    say("A container, seen from inside:")
    shown = orlop("run", "--rm", IMAGE, "sh", "-c", TOUR, capture=False)
    if shown.returncode not in (0, READER_LEFT):
        fail(f"the container ended with status {shown.returncode}")
    say(f"and from outside: host {socket.gethostname()}, {len(Path('/proc/mounts').read_text().splitlines())} mounts.")
    say(NEXT)


def say(text: str) -> None:
    """Print at once; a reader that leaves (`make run | head`) does not keep the rest from being done."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def answers() -> bool:
    """Tell whether a daemon answers on the socket."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(SOCKET))
            connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: orlop\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def start() -> None:
    """Start orlopd in the background and wait until it answers; show the end of its log if it does not."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    begin = LOG.stat().st_size if LOG.exists() else 0
    with LOG.open("ab") as log:
        daemon = subprocess.Popen(
            [ORLOPD, f"--host=unix://{SOCKET}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if daemon.poll() is not None:
            fail(f"orlopd ended with status {daemon.returncode}. The end of {LOG}:\n{log_tail(begin)}")
        if time.monotonic() > deadline:
            daemon.terminate()
            fail(f"orlopd does not answer after {START_SECONDS:.0f} s. The end of {LOG}:\n{log_tail(begin)}")
        time.sleep(0.05)
    say(f"orlopd is running (pid {daemon.pid}), listening on {SOCKET}")


def stop() -> None:
    """End the daemon that listens on the socket."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(SOCKET))
            pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError:
        say("no orlopd is running")
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + START_SECONDS
    while answers() and time.monotonic() < deadline:
        time.sleep(0.05)
    say(f"orlopd (pid {pid}) was stopped; containers run on")


def log_tail(begin: int) -> str:
    with LOG.open("rb") as log:
        log.seek(begin)
        return "\n".join(log.read().decode(errors="replace").splitlines()[-20:])


def load_image() -> None:
    """Load the base image unless there is one of its name."""
    if orlop("image", "inspect", IMAGE).returncode == 0:
        return
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "busybox.tar"
        made = subprocess.run([sys.executable, ROOT / "scripts/base_image.py", "--tag", IMAGE, archive])
        if made.returncode:
            fail("the base image could not be made")
        loaded = orlop("load", "-i", str(archive))
        if loaded.returncode:
            fail(f"the base image could not be loaded: {loaded.stderr.strip()}")
    say(f"loaded the base image {IMAGE}")


def orlop(*arguments: str, capture: bool = True) -> subprocess.CompletedProcess[str]:
    command = [str(ORLOP), "--host", f"unix://{SOCKET}", *arguments]
    return subprocess.run(command, capture_output=capture, text=True, stdin=subprocess.DEVNULL)


def fail(message: str) -> None:
    sys.exit(f"make run: {message}")


if __name__ == "__main__":
    main()
