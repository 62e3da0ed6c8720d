"""Runs in the VM. ``loop``: load and delete images for ever, tell each step. ``check``: what is there afterwards?"""

from __future__ import annotations

import itertools
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.archives import Image, docker_archive, layer, member, tree
from support.daemon import Daemon
from support.netns import network_namespace

PLACE = Path("/var/tmp/orlop-power")  # on the disk that is kept
BASE = tree({f"base/{number}": bytes([number]) * 5000 for number in range(40)})
LEANING = layer(member("base/more", b"m" * 50_000))


def say(*words: object) -> None:
    print(*words, flush=True)


def loop(daemon: Daemon) -> None:
    archive = PLACE / "archive.tar"
    for number in itertools.count():
        top = tree({f"top/{index}": b"%d" % number * 3000 for index in range(20)})
        archive.write_bytes(docker_archive(Image([BASE, LEANING, top], [f"image:{number}"])))
        daemon.load(archive)
        say("loaded", number)
        if number >= 2:
            say("deleting", number - 2)
            daemon.json("DELETE", f"/images/image:{number - 2}")
            say("deleted", number - 2)


def check(daemon: Daemon) -> None:
    images = daemon.json("GET", "/images/json")
    say("there", *sorted(int(name.partition(":")[2]) for image in images for name in image["RepoTags"]))
    done = daemon.cli("orlop", "system", "check", check=False, timeout=300)
    say(done.stdout, done.stderr)
    say("checked", done.returncode)


def main() -> None:
    PLACE.mkdir(exist_ok=True)
    shutil.rmtree(PLACE / "docker", ignore_errors=True)
    with network_namespace() as netns:
        daemon = Daemon(PLACE, netns)
        daemon.start()
        {"loop": loop, "check": check}[sys.argv[1]](daemon)
        daemon.stop()


if __name__ == "__main__":
    main()
