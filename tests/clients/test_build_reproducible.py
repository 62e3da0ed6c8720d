"""The same Dockerfile gives the same image, byte for byte, when SOURCE_DATE_EPOCH says when that is."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.docker]

Cli = Callable[..., subprocess.CompletedProcess[str]]

EPOCH = 1_500_000_000
DOCKERFILE = """\
FROM busybox AS made
WORKDIR /work
COPY . .
RUN mkdir deep && echo x > deep/file && ln deep/file deep/same && ln -s file deep/link && chmod 4711 deep/file
RUN rm first && mkfifo pipe && chown -R 5:6 deep && touch -d @1000 deep/old
FROM scratch
COPY --from=made /work /work
COPY <<EOF /note
written here
EOF
LABEL made=twice
CMD ["/work/second"]
"""


def test_the_same_build_gives_the_same_image_and_layers(docker: Cli, image: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    found = []
    for moment in (EPOCH + 10, EPOCH + 500):  # what is younger than the epoch gets its time
        for name in ("first", "second"):
            (tmp_path / name).write_text(name)
            os.utime(tmp_path / name, (moment, moment))
        build = ("build", "-q", "--no-cache", "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}", "-t", "twice", tmp_path)
        made = docker(*build).stdout.strip()
        shown = json.loads(docker("inspect", "twice").stdout)[0]
        assert shown["Id"] == made
        assert shown["Created"] == "2017-07-14T02:40:00Z"
        found.append((made, shown["RootFS"]["Layers"]))
    assert found[0] == found[1]
    docker("rmi", "twice")
    docker("builder", "prune", "-af")


def test_without_it_a_build_has_its_own_time(docker: Cli, image: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo x > /file\n")
    first, second = (docker("build", "-q", "--no-cache", tmp_path).stdout.strip() for _ in range(2))
    assert first != second
    docker("rmi", first, second)
    docker("builder", "prune", "-af")
