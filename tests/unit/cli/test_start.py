"""What the command loads before it does something, and what it says of itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orlop.cli.command import Command
from orlop.cli.commands import doctor
from orlop.cli.commands.completion import words
from orlop.cli.main import run
from orlop.cli.session import Session
from orlop.cli.ssh import ssh_command
from orlop.cli.tree import TABLE
from orlop.client.endpoint import Selection

# Each of these takes as long to load as all that `orlop ps` needs.
HEAVY = (
    "asyncio",
    "h11",
    "click",
    "aiohttp",
    "msgspec",
    "gotpl",
    "dataclasses",
    "inspect",
    "urllib",
    "pathlib",
    "ssl",
    "subprocess",
)


# A reference is a dataclass.
REFERENCES = {"dataclasses", "inspect"}


@pytest.mark.parametrize(
    ("words", "module", "allowed"),
    [
        (["ps"], "orlop.cli.rows", set()),
        (["run", "busybox"], "orlop.cli.create.body", set()),
        (["pull", "-q", "a/b:1"], "orlop.cli.progress", REFERENCES),
        (["push", "-q", "a/b:1"], "orlop.cli.note", REFERENCES),
        (["save", "x"], "orlop.cli.outfile", set()),
        (["login", "-u", "a", "--password-stdin"], "orlop.cli.credentials.stores", set()),
    ],
)
def test_a_command_loads_nothing_heavy(tmp_path: Path, words: list[str], module: str, allowed: set[str]) -> None:
    program = (
        "import sys; from orlop.cli.main import run\n"
        f"status = run(['-H', 'unix://{tmp_path}/none', *{words!r}])\n"
        f"print(status in (1, 125), [name for name in {HEAVY!r} if name in sys.modules], {module!r} in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
        env={"PYTHONPATH": ":".join(sys.path), "HOME": str(tmp_path)},
    )
    assert done.stdout == f"True {[name for name in HEAVY if name in allowed]} True\n"


def test_every_command_can_be_loaded_and_has_a_help(capsys: pytest.CaptureFixture[str]) -> None:
    for entry in TABLE:
        command = entry.load()
        assert isinstance(command, Command)
        assert run([*entry.paths[0], "--help"]) == 0
        assert capsys.readouterr().out.startswith(f"Usage:  orlop {' '.join(entry.paths[0])}")


def test_paths_and_flags_are_told_apart() -> None:
    paths = [path for entry in TABLE for path in entry.paths]
    assert len(paths) == len(set(paths))
    for entry in TABLE:
        command = entry.load()
        assert isinstance(command, Command)
        names = [flag.name for flag in command.flags]
        shorts = [flag.short for flag in command.flags if flag.short]
        assert (len(names), len(shorts)) == (len(set(names)), len(set(shorts)))


def session(tmp_path: Path) -> Session:
    return Session(Selection(host=f"unix://{tmp_path}/none"), str(tmp_path))


def test_completion_knows_commands_flags_and_groups(tmp_path: Path) -> None:
    def found(*typed: str) -> list[str]:
        return [word for word, _ in words(session(tmp_path), typed)]

    assert found("ver") == ["version"]
    assert {"container", "run", "volume"} <= set(found(""))
    assert found("container", "sta") == ["start", "stats"]
    assert found("run", "--memory-s") == ["--memory-swap", "--memory-swappiness"]
    assert found("stop", "") == []  # no daemon: nothing to offer, and no error
    assert found("nonsense", "") == []
    assert {"pull", "push", "save"} <= set(found("image", ""))
    assert found("manifest", "") == ["inspect"]
    (tmp_path / "config.json").write_text('{"auths": {"example.com": {}}, "credHelpers": {"other.com": "x"}}')
    assert found("logout", "e") == ["example.com"]


def test_what_docker_has_and_orlop_has_not_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("buildx", "container cp", "manifest create", "network create"):
        assert run(["-H", f"unix://{tmp_path}/none", *line.split()]) == 1
        assert f"'{line}' is not in this version of Orlop" in capsys.readouterr().err


def test_completion_scripts_are_understood_by_their_shells(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert run(["completion", "tcsh"]) == 1


def test_ssh_is_called_with_what_the_address_says() -> None:
    assert ssh_command("u@h:22")[:8] == ["ssh", "-o", "ConnectTimeout=30", "-T", "-l", "u", "-p", "22"]
    assert ssh_command("h")[4:6] == ["--", "h"]
    assert ssh_command("-oProxyCommand=x")[4] == "--"


def test_doctor_needs_no_daemon_and_speaks_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = run(["-H", f"unix://{tmp_path}/none", "doctor", "--json", "--data-root", str(tmp_path / "a/b")])
    findings = json.loads(capsys.readouterr().out)
    by_check = {finding["check"]: finding for finding in findings}
    assert {
        "kernel",
        "namespaces",
        "overlay",
        "seccomp",
        "cgroups",
        "capabilities",
        "nftables",
        "disk",
        "daemon",
    } <= set(by_check)
    assert by_check["daemon"]["level"] == "warning"
    assert status == (1 if any(finding["level"] == "error" for finding in findings) else 0)
    assert all(finding["remedy"] for finding in findings if finding["level"] == "error")


def test_doctor_judges_kernels() -> None:
    assert doctor._kernel("5.11.0").level == "error"
    assert doctor._kernel("5.12.0-x").level == "ok"
    assert doctor._kernel("6.1.0-18-amd64").level == "ok"
    assert doctor._kernel("strange").level == "error"


def test_doctor_tells_what_a_probe_said() -> None:
    def fail() -> None:
        raise OSError("no such thing")

    finding = doctor._probe("x", fail, "nothing works", "do something")
    assert finding.level in ("error", "warning")
    assert "no such thing" in finding.message
    assert doctor._probe("x", lambda: None, "", "").level == "ok"
