"""Steps of hostile builds: what their links, names and programs point at outside is not reached, and not removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orlop.build.graph import Context, Exec, Mount, NodeFiles
from orlop.errors import Conflict, StartFailed
from orlop.formats.tar.entry import Entry, Kind
from support.build_lab import Lab, RecordingSink, build_lab

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def opened(image_archive: Path) -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with build_lab(image_archive) as found:
        yield found


@pytest.fixture
def lab(opened: Lab, secret: Path) -> Iterator[Lab]:
    """An engine, and a directory of the host with a secret, which has to be as it was."""
    yield opened
    opened.settle()


def _prepared(lab: Lab, script: str) -> tuple[Any, ...]:
    """Return the file system that a script makes of the image."""
    made, _ = lab.do(lab.run(script))
    return (*lab.base, made.layer)


def _run(lab: Lab, node: Exec, **fields: Any) -> tuple[set[str], str]:
    sink = RecordingSink()
    made = lab.do(lab.execute(node, fields.pop("base", None), sink, **fields))
    return set(lab.entries(made.layer)), sink.text()


@pytest.mark.parametrize("kind", ["bind", "cache"])
@pytest.mark.parametrize("target", ["{host}", "../../../../../../../..{host}", "/proc/self/root{host}", "/proc/1/cwd"])
def test_a_source_never_leads_out_of_what_it_is_in(lab: Lab, secret: Path, kind: Any, target: str) -> None:
    """CVE-2024-23651, and its like with links that lie still."""
    link = target.format(host=secret.parent)
    nodes = {1: _prepared(lab, f"mkdir -p /t{secret.parent}; echo inner > /t{secret}; ln -s {link} /t/out")}
    for source in ("/t/out", f"/t/../../..{secret.parent}", "/t/out/../out"):
        mount = Mount(kind, "/m", source, NodeFiles(1), read_only=True, id=f"{target}{source}")
        try:
            _, text = _run(lab, lab.step("cat /m/secret || true", mounts=(mount,)), nodes=nodes)
        except Exception as error:  # noqa: BLE001 that it is refused is as good
            text = str(error)
        assert secret.read_text() not in text


def test_a_target_never_leads_out_of_the_root_and_nothing_is_removed_there(lab: Lab, secret: Path) -> None:
    """CVE-2024-23652: the stub of a mount point is a link to a directory of the host."""
    host = secret.parent
    base = _prepared(lab, f"ln -s {host} /link; ln -s ../../../..{host} /up; ln -s {host}/new /etc/dangling")
    for target in ("/link", "/up", "/link/sub", "/up/new/sub", "/etc/dangling"):
        node = lab.step(f"echo 1 > {target}/x; ls {target}", mounts=(Mount("tmpfs", target),))
        assert _run(lab, node, base=base) == (set(), "x\n")
        assert list(host.iterdir()) == [secret]


def test_a_mount_point_that_the_step_exchanges_for_a_link_removes_nothing(lab: Lab, secret: Path) -> None:
    node = lab.step(f"mv /a /b; ln -s {secret.parent} /a; ls /b/m", mounts=(Mount("bind", "/a/m", "", None),))
    entries, _ = _run(lab, node)
    assert "a" in entries
    assert list(secret.parent.iterdir()) == [secret]


@pytest.mark.parametrize("path", ["/etc/hosts", "/etc/resolv.conf", "/dev", "/proc", "/sys"])
def test_what_every_step_has_mounted_goes_nowhere_else(lab: Lab, secret: Path, path: str) -> None:
    link = Entry(path.strip("/"), Kind.SYMLINK, mode=0o777, linkname=f"{secret.parent}/secret")
    base = (*lab.base, lab.layer(link))
    try:
        entries, _ = _run(lab, lab.step("true"), base=base)
    except StartFailed:  # as runc refuses to mount procfs and sysfs on a link
        entries = set()
    assert entries == set()


@pytest.mark.parametrize("directory", ["/proc/self/fd/{}", "/proc/self/fd/{}/../../../.."])
def test_no_descriptor_of_the_host_is_a_working_directory(lab: Lab, secret: Path, directory: str) -> None:
    """CVE-2024-21626."""
    for number in range(3, 24):
        node = lab.step(f"cat ../../../../../../../..{secret}", directory=directory.format(number))
        with pytest.raises(Exception) as failure:
            _run(lab, node)
        assert secret.read_text() not in str(failure.value)


def test_a_context_is_not_written_through_its_links(lab: Lab, secret: Path) -> None:
    context = lab.root / "context"
    context.mkdir(exist_ok=True)
    (context / "out").symlink_to(secret)
    for read_only in (True, False):
        mount = Mount("bind", "/m", "", Context(), read_only=read_only)
        _, text = _run(lab, lab.step("echo x > /m/out; cat /m/out; true", mounts=(mount,)))
        assert secret.read_text() not in text
    (context / "out").unlink()


def test_a_file_that_is_named_like_a_whiteout_is_refused(lab: Lab) -> None:
    with pytest.raises(Conflict, match=r"/tmp/\.wh\.passwd cannot be in a layer"):
        _run(lab, lab.step("touch /tmp/.wh.passwd"))


def test_a_script_and_its_command_are_what_they_are(lab: Lab) -> None:
    script = ("/../../x/../run/script", b"#!/bin/sh\necho $0\n")
    node = Exec(0, ("/run/script",), (), "/", script=script)
    assert _run(lab, node) == (set(), "/run/script\n")
