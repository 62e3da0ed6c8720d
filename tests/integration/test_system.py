"""What the docker command shows of the whole engine, and what it tidies up."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]


def test_info_version_df_and_prune_by_the_docker_command(daemon: Callable[..., Daemon], image_archive: Path) -> None:
    own = daemon("--label=a=b")
    own.load(image_archive)
    own.cli("docker", "create", "--name", "old", "-v", "/anonymous", "busybox", "true")
    own.cli("docker", "volume", "create", "named")

    info = json.loads(own.cli("docker", "info", "--format", "{{json .}}").stdout)
    assert not info.get("ServerErrors")
    assert (info["Containers"], info["ContainersStopped"], info["Images"], info["Labels"]) == (1, 1, 1, ["a=b"])
    assert info["Driver"] == "overlay2"
    version = own.cli("docker", "version", "--format", "{{.Server.APIVersion}} {{.Server.MinAPIVersion}}").stdout
    assert version == "1.51 1.24\n"

    usage = own.cli("docker", "system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}").stdout
    assert usage.splitlines() == ["Images 1 1", "Containers 1 0", "Local Volumes 2 1", "Build Cache 0 0"]

    kept = own.cli("docker", "volume", "prune", "-f").stdout
    assert kept.startswith("Total reclaimed space: 0B")  # the anonymous one is in use, the other has a name
    pruned = own.cli("docker", "system", "prune", "-af", "--volumes").stdout
    assert re.search(r"Deleted Containers:\n[0-9a-f]{64}\n", pruned)
    assert re.search(r"Deleted Volumes:\n[0-9a-f]{64}\n", pruned)
    assert "untagged: busybox:latest" in pruned
    assert own.cli("docker", "image", "ls", "-q").stdout == ""
    assert own.cli("docker", "volume", "prune", "-af").stdout.startswith("Deleted Volumes:\nnamed\n")
