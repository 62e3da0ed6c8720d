"""The real docker command builds on Orlop, by the classic API (DOCKER_BUILDKIT=0)."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.usefixtures("image")]

Docker = Callable[..., CompletedProcess[str]]
Command = Callable[[str], tuple[list[str], dict[str, str]]]
Context = Callable[..., Path]


@pytest.fixture
def context(tmp_path: Path) -> Callable[..., Path]:
    """Write a Dockerfile and files into a directory and return it."""

    def write(dockerfile: str, **files: str) -> Path:
        (tmp_path / "Dockerfile").write_text(dockerfile)
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_a_build_prints_its_steps_and_is_cached_the_next_time(docker: Docker, context: Context) -> None:
    where = context('FROM busybox\nENV WHO=me\nCOPY a /a\nRUN echo $WHO; echo no >&2\nCMD ["cat", "/a"]\n', a="A\n")
    first = docker("build", "-t", "built", where)
    hexes = re.sub(r"\b[0-9a-f]{12}\b", "ID", first.stdout)
    hexes = re.sub(r"Sending build context to Docker daemon.*", "", hexes)
    assert hexes.strip().splitlines() == [
        "Step 1/5 : FROM busybox",
        " ---> ID",
        "Step 2/5 : ENV WHO=me",
        " ---> ID",
        "Step 3/5 : COPY a /a",
        " ---> ID",
        "Step 4/5 : RUN echo $WHO; echo no >&2",
        " ---> Running in ID",
        "me",
        "\x1b[91mno",
        "\x1b[0mRemoving intermediate container ID",
        " ---> ID",
        'Step 5/5 : CMD ["cat", "/a"]',
        " ---> ID",
        "Successfully built ID",
        "Successfully tagged built:latest",
    ]
    assert docker("run", "--rm", "built").stdout == "A\n"
    again = docker("build", "-t", "built", where)
    assert again.stdout.count("Using cache") == 4
    assert again.stdout.splitlines()[-2:] == first.stdout.splitlines()[-2:]


def test_quiet_prints_the_id_and_iidfile_has_it(docker: Docker, context: Context, tmp_path: Path) -> None:
    where = context("FROM busybox\nLABEL quiet=1\n")
    printed = docker("build", "-q", where).stdout.strip()
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", printed)
    docker("build", "--iidfile", tmp_path / "iid", where)
    assert (tmp_path / "iid").read_text() == printed


def test_stages_copy_from_each_other_and_a_target_is_enough(docker: Docker, context: Context) -> None:
    where = context(
        """
        FROM busybox AS tools
        RUN echo tool > /tool
        FROM busybox AS unneeded
        RUN exit 1
        FROM busybox AS final
        COPY --from=tools /tool /bin/tool
        COPY --from=0 /tool /zero
        FROM scratch AS last
        COPY --from=final /bin/tool /
        """
    )
    built = docker("build", "--target", "final", "-t", "staged", where)
    assert "exit 1" not in built.stdout
    assert docker("run", "--rm", "staged", "cat", "/bin/tool", "/zero").stdout == "tool\ntool\n"
    assert docker("build", "-q", where).stdout
    missing = docker("build", "--target", "finall", where, check=False)
    assert missing.returncode == 1
    assert 'target stage "finall" could not be found' in missing.stderr


def test_arguments_labels_and_names(docker: Docker, context: Context) -> None:
    where = context('ARG BASE=nope\nFROM $BASE\nARG A=1\nARG B\nRUN echo "a=$A b=$B" > /out\n')
    arguments = ["--build-arg", "BASE=busybox", "--build-arg", "A=2", "--build-arg", "UNUSED=x"]
    built = docker("build", *arguments, "--label", "l=m", "-t", "one", "-t", "two:3", where)
    assert "[Warning] One or more build-args [UNUSED] were not consumed" in built.stdout
    assert built.stdout.endswith("Successfully tagged one:latest\nSuccessfully tagged two:3\n")
    assert docker("run", "--rm", "two:3", "cat", "/out").stdout == "a=2 b=\n"
    assert json.loads(docker("inspect", "one", "--format", "{{json .Config.Labels}}").stdout) == {"l": "m"}


def test_a_failing_command_ends_the_build_with_its_code(docker: Docker, context: Context) -> None:
    failed = docker("build", "-t", "failed", context("FROM busybox\nRUN echo before; exit 9\n"), check=False)
    assert failed.returncode == 9
    assert "before" in failed.stdout
    assert failed.stderr.endswith("The command '/bin/sh -c echo before; exit 9' returned a non-zero code: 9\n")
    assert docker("images", "-q", "failed").stdout == ""


@pytest.mark.parametrize(
    ("dockerfile", "message"),
    [
        ("FROM busybox\nRUNN x\n", "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)"),
        ("", "the Dockerfile (Dockerfile) cannot be empty"),
        ("FROM busybox\nCOPY nope /\n", "COPY failed: file not found in build context or excluded by .dockerignore"),
        ("FROM busybox\nCOPY --from=nope /a /\n", "registry-1.docker.io"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(docker: Docker, context: Context, dockerfile: str, message: str) -> None:
    failed = docker("build", context(dockerfile), check=False)
    assert failed.returncode == 1
    assert message in failed.stderr


def test_a_dockerfile_may_be_elsewhere_or_come_by_stdin(docker: Docker, context: Context, tmp_path: Path) -> None:
    where = context("FROM nope\n", other__Dockerfile="FROM busybox\nCOPY a /\n", a="A")
    docker("build", "-q", "-f", where / "other/Dockerfile", where)
    docker("build", "-q", "-f", "-", where, input="FROM busybox\nCOPY a /\n")
    docker("build", "-q", "-", input="FROM busybox\nRUN true\n")
    missing = docker("build", "-f", where / "missing", where, check=False)
    assert missing.returncode == 1


def test_a_context_may_be_a_tar_of_any_compression(docker: Docker, cli_command: Command, tmp_path: Path) -> None:
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode=mode) as archive:
            for name, text in (("Dockerfile", "FROM busybox\nCOPY a /\n"), ("a", mode)):
                member = tarfile.TarInfo(name)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        words, environment = cli_command("docker")
        done = subprocess.run(
            [*words, "build", "-t", "tarred", "-"], input=data.getvalue(), env=environment, check=False
        )
        assert done.returncode == 0
        assert docker("run", "--rm", "tarred", "cat", "/a").stdout == mode


def test_ignored_files_stay_away_and_the_dockerfile_does_when_it_is_listed(docker: Docker, context: Context) -> None:
    where = context("FROM busybox\nCOPY . /all\nRUN find /all -type f | sort\n", a="A", b="B", keep__c="C", keep__d="D")
    (where / ".dockerignore").write_text("Dockerfile\n.dockerignore\nb\nkeep\n!keep/c\n")
    built = docker("build", where)
    assert "/all/a\n/all/keep/c\nRemoving" in built.stdout.replace("\r", "")
    (where / ".dockerignore").write_text("b\nkeep\n")
    assert "/all/.dockerignore\n/all/Dockerfile\n/all/a\nRemoving" in docker("build", where).stdout.replace("\r", "")


def test_a_touched_context_is_cached_and_an_edit_of_the_same_size_is_not(docker: Docker, context: Context) -> None:
    where = context("FROM busybox\nCOPY . /all\nRUN cat /all/a\n", a="one")
    docker("build", where)
    (where / "a").touch()
    assert docker("build", where).stdout.count("Using cache") == 2
    (where / "a").write_text("two")
    assert "two" in docker("build", where).stdout


def test_heredocs_and_tars_are_unpacked(docker: Docker, context: Context) -> None:
    where = context("FROM busybox\nADD a.tar.gz /\nRUN <<EOF\ncat /inside\necho again\nEOF\nCOPY <<EOF /here\nx\nEOF\n")
    with tarfile.open(where / "a.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("inside")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"in\n"))
    built = docker("build", "-t", "heredocs", where)
    assert "in\nagain\n" in built.stdout
    assert docker("run", "--rm", "heredocs", "cat", "/here").stdout == "x\n"


def test_an_image_that_loses_its_name_stays_without_one(docker: Docker, context: Context) -> None:
    first = docker("build", "-q", "-t", "moving", context("FROM busybox\nLABEL x=1\n")).stdout.strip()
    second = docker("build", "-q", "-t", "moving", context("FROM busybox\nLABEL x=2\n")).stdout.strip()
    assert first != second
    assert json.loads(docker("inspect", first).stdout)[0]["RepoTags"] == []
    assert json.loads(docker("inspect", second).stdout)[0]["RepoTags"] == ["moving:latest"]


def test_limits_hosts_and_networks_reach_the_steps(docker: Docker, context: Context) -> None:
    where = context("FROM busybox\nRUN cat /etc/hosts; ulimit -n; df -k /dev/shm | tail -1; ls /sys/class/net\n")
    built = docker(
        *("build", "--no-cache", "--add-host", "there:1.2.3.4", "--ulimit", "nofile=99:99", "--shm-size", "8m"),
        *("--network", "none", "--memory", "64m", where),
    )
    for found in ("1.2.3.4\tthere", "\n99\n", "8192", "\nlo\n"):
        assert found in built.stdout


def test_without_the_cache_everything_runs_again(docker: Docker, context: Context) -> None:
    where = context("FROM busybox\nRUN date +%N\n")
    docker("build", where)
    assert "Using cache" in docker("build", where).stdout
    assert "Using cache" not in docker("build", "--no-cache", where).stdout


def test_history_tells_the_instructions_and_their_sizes(docker: Docker, context: Context) -> None:
    docker("build", "-q", "-t", "storied", context("FROM busybox\nRUN echo x > /x\nCMD true\n"))
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", "storied").stdout.splitlines()
    assert history[:2] == ['CMD ["/bin/sh" "-c" "true"]', "RUN /bin/sh -c echo x > /x # buildkit"]


def test_an_interrupted_build_leaves_nothing(cli_command: Command, context: Context, orlopd: Daemon) -> None:
    words, environment = cli_command("docker")
    where = context("FROM busybox\nRUN echo begun; sleep 1000\n")
    building = subprocess.Popen(
        [*words, "build", where], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert building.stdout is not None
    for line in building.stdout:
        if line.startswith("begun"):
            break
    building.send_signal(signal.SIGINT)
    building.wait(20)
    building.stdout.close()
    deadline = time.monotonic() + 20
    while any(b"sleep\x001000" in command for command in orlopd.commands()):
        assert time.monotonic() < deadline, "the step of an interrupted build still runs"
        time.sleep(0.05)


def test_buildkit_is_refused_with_advice(docker: Docker, orlopd: Daemon) -> None:
    for path in ("/grpc", "/session", "/build?version=2"):
        status, body = orlopd.request("POST", path)
        assert status == 501
        assert "Set DOCKER_BUILDKIT=0" in json.loads(body)["message"]
    assert orlopd.request("GET", "/_ping")[0] == 200
