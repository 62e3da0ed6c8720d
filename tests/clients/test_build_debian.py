"""Builds as people have them: a Python application on a Debian base, a C program alone in its image.

Packages come from a small apt repository and a package index, which are filled here and served on the gateway's
address.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]

Cli = Callable[..., subprocess.CompletedProcess[str]]
CACHE = Path("/var/tmp/orlop-debian-builds.tar")
PORT = 8099

APPLICATION = """\
FROM debian:builds AS base
ARG GATEWAY
RUN <<EOF
set -e
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
echo "deb [trusted=yes] http://$GATEWAY/apt ./" > /etc/apt/sources.list
apt-get update
apt-get install -y --no-install-recommends greeting
rm -rf /var/lib/apt/lists/*
EOF

FROM base AS venv
ARG GATEWAY
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache pip install -q --index-url http://$GATEWAY/simple \\
    --trusted-host ${GATEWAY%:*} -r requirements.txt

FROM base
COPY --from=venv /opt/venv /opt/venv
RUN useradd --system --uid 999 app
WORKDIR /srv
COPY --chown=app app.py .
USER app
ENV PATH=/opt/venv/bin:$PATH
CMD ["python3", "app.py"]
"""

PROGRAM = """\
FROM debian:builds AS compiler
WORKDIR /src
COPY hello.c .
RUN mkdir /out && tcc -o /out/hello hello.c && ldd /out/hello | grep -o '/[^ ]*' | xargs cp -L --parents -t /out
FROM scratch
COPY --from=compiler /out/ /
ENTRYPOINT ["/hello"]
"""


@pytest.fixture(scope="module")
def tree() -> Path:
    """A Debian with Python, venv and a C compiler as a tar file, made once a machine."""
    if CACHE.exists():
        return CACHE
    if shutil.which("debootstrap") is None:
        pytest.skip("needs debootstrap")
    directory, fresh = CACHE.with_suffix(".tree"), CACHE.with_suffix(".new")
    shutil.rmtree(directory, ignore_errors=True)
    packages = "python3-minimal,python3-venv,tcc,libc6-dev"
    try:
        command = ["debootstrap", "--variant=minbase", f"--include={packages}", "stable", str(directory)]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"debootstrap could not make a Debian: {made.stdout[-300:]}{made.stderr[-300:]}")
        subprocess.run(["tar", "--xattrs", "-C", directory, "-cf", fresh, "."], check=True)
        fresh.rename(CACHE)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return CACHE


@pytest.fixture
def debian(tree: Path, docker: Cli) -> Iterator[str]:
    docker("import", "--change", "CMD /bin/bash", tree, "debian:builds", timeout=300)
    yield "debian:builds"
    docker("rmi", "-f", "debian:builds")
    docker("builder", "prune", "-af", env={"DOCKER_BUILDKIT": "0"})


@pytest.fixture
def packages(orlopd: Daemon, docker: Cli, tmp_path: Path) -> Iterator[str]:
    """Serve a repository with the package ``greeting``, an index with the distribution ``shout``; give the address."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb")
    root = tmp_path / "served"
    _make_repository(root / "apt")
    _make_index(root / "simple/shout")
    networks = json.loads(docker("network", "inspect", "bridge").stdout)
    gateway = networks[0]["IPAM"]["Config"][0]["Gateway"]
    command = ["python3", "-m", "http.server", "--bind", "0.0.0.0", "--directory", str(root), str(PORT)]
    server = subprocess.Popen(
        orlopd.netns.command(*command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    try:
        time.sleep(0.5)
        yield f"{gateway}:{PORT}"
    finally:
        server.kill()
        server.wait()


def _make_repository(apt: Path) -> None:
    package = apt.parent / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "usr/share/greeting").mkdir(parents=True)
    (package / "usr/share/greeting/text").write_text("hello")
    fields = ("Package: greeting", "Version: 1.0", "Architecture: all", "Maintainer: none <none@localhost>")
    (package / "DEBIAN/control").write_text("\n".join((*fields, "Description: a word", "")))
    apt.mkdir()
    file = apt / "greeting_1.0_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", package, file], check=True, capture_output=True)
    data = file.read_bytes()
    more = (f"Filename: ./{file.name}", f"Size: {len(data)}", f"SHA256: {hashlib.sha256(data).hexdigest()}")
    (apt / "Packages").write_text("\n".join((*fields, *more, "Description: a word", "")))


def _make_index(index: Path) -> None:
    index.mkdir(parents=True)
    name = "shout-1.0-py3-none-any.whl"
    with zipfile.ZipFile(index / name, "w") as wheel:
        wheel.writestr("shout.py", "def shout(text):\n    return text.upper() + '!'\n")
        wheel.writestr("shout-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: shout\nVersion: 1.0\n")
        wheel.writestr("shout-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("shout-1.0.dist-info/RECORD", "")
    (index / "index.html").write_text(f'<a href="{name}">{name}</a>')


def test_a_python_application_is_built_and_runs(debian: str, packages: str, docker: Cli, tmp_path: Path) -> None:
    context = tmp_path / "application"
    context.mkdir()
    (context / "Dockerfile").write_text(APPLICATION)
    (context / "requirements.txt").write_text("shout==1.0\n")
    program = "import getpass, shout\ntext = open('/usr/share/greeting/text').read()\n"
    (context / "app.py").write_text(program + "print(shout.shout(text), getpass.getuser())\n")
    build = ("build", "--build-arg", f"GATEWAY={packages}", "-t", "application", context)
    docker(*build, timeout=300)
    assert docker("run", "--rm", "application").stdout == "HELLO! app\n"
    assert docker("run", "--rm", "application", "sh", "-c", "ls /root/.cache 2>/dev/null; id -u").stdout == "999\n"
    (context / "app.py").write_text(program + "print(shout.shout(text), 'again')\n")
    changed = docker(*build, timeout=300).stdout
    assert docker("run", "--rm", "application").stdout == "HELLO! again\n"
    assert changed.count("Running in") == 0
    docker("rmi", "application")


def test_a_c_program_is_alone_in_its_image(debian: str, docker: Cli, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(PROGRAM)
    (tmp_path / "hello.c").write_text('#include <stdio.h>\nint main(void) { puts("hello from C"); return 0; }\n')
    docker("build", "-t", "program", tmp_path, timeout=300)
    assert docker("run", "--rm", "program").stdout == "hello from C\n"
    assert len(json.loads(docker("inspect", "-f", "{{json .RootFS.Layers}}", "program").stdout)) == 1
    docker("rmi", "program")
