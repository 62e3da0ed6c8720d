"""The first process of a container, from the shim's fork to the exec: the order of a start, seen from inside.

The network namespace comes first, because orlopd connects it while everything else is made here; the cgroup is made
by the shim meanwhile. Both are waited for as late as possible.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from orlop.linux import interfaces, mount, namespace, openat2, process
from orlop.linux.cgroup import open_cgroup
from orlop.linux.proc import PROC_SUPER_MAGIC
from orlop.shim import child, devices, identity, namespaces
from orlop.shim.failure import StartError
from orlop.shim.mounts import MountPlan
from orlop.shim.namespaces import NamespacePlan
from orlop.shim.rootfs import Rootfs, cgroup_mounts, open_working_directory
from orlop.shim.sync import ChildSide

__all__ = ["Bundle", "start"]


class Bundle(NamedTuple):
    """What the first process is made of. `streams` are its ends of the pipes (-1: no stdin); None with a terminal.

    `mounts` are the detached mounts that came with the request.
    """

    id: str
    spec: dict[str, Any]
    layers: dict[str, Any]
    run_dir: str
    spaces: NamespacePlan
    network: bool
    mounts: tuple[int, ...]
    streams: tuple[int, int, int] | None
    seccomp: bytes | None


def start(sock: socket.socket, bundle: Bundle) -> NoReturn:
    """Run in the forked child: make the container and become its program."""
    sync = ChildSide(sock)
    child.run_steps(sync, lambda: _steps(sync, bundle))


def _steps(sync: ChildSide, bundle: Bundle) -> NoReturn:
    spec, spaces = bundle.spec, bundle.spaces
    linux = spec.get("linux") or {}
    settings = spec["process"]
    _make_network(sync, bundle)
    namespaces.enter(spaces, "mount", "ipc", "uts")
    _name_host(spec, spaces)
    process.join_session_keyring(f"_ses.{bundle.id}")
    proc_fd, proc_fds = child.open_proc()
    sysctls = linux.get("sysctl") or {}
    _write_sysctls(sysctls, lambda name: not name.startswith("net"))
    identity.set_oom_score(int(settings.get("oomScoreAdj") or 0), proc_fd)
    identity.set_limits(settings.get("rlimits") or [])

    cgroup = _CgroupGate(sync, spaces, linux.get("cgroupsPath") or "")
    rootfs = _make_rootfs(bundle, cgroup)
    label = child.open_apparmor(proc_fd, settings)
    who = identity.look_up(settings.get("user") or {}, rootfs.fd, proc_fds)
    streams = _open_streams(sync, bundle, rootfs)
    rootfs.hide(linux.get("maskedPaths") or [], linux.get("readonlyPaths") or [])
    _configure_network(sync, bundle)
    _write_sysctls(sysctls, lambda name: name.startswith("net"))
    cgroup.wait()
    namespaces.enter(spaces, "cgroup")

    rootfs.leave_host()
    os.umask(0o022)
    open_working_directory(rootfs.fd, settings.get("cwd") or "/", make=True)
    rootfs.finish(
        readonly=bool((spec.get("root") or {}).get("readonly")), propagation=linux.get("rootfsPropagation") or ""
    )
    child.take_streams(streams, who, terminal=bundle.streams is None)
    if bundle.streams is None:
        child.control_terminal()
    child.become_program(sync, settings, who, bundle.seccomp, label)


class _CgroupGate:
    """Waits, once, for the shim's word that the cgroup is there, and joins it: nobody can do that as quickly."""

    def __init__(self, sync: ChildSide, spaces: NamespacePlan, path: str) -> None:
        self._sync = sync
        self._path = path
        self._private = spaces.has("cgroup")
        self._open = False

    def wait(self) -> None:
        if self._open:
            return
        self._sync.wait("go")
        self._open = True
        if self._path:
            try:
                open_cgroup(self._path).join(0)
            except OSError as error:
                raise StartError.from_os("cgroup", "unable to apply cgroup configuration", error) from error

    def mounts(self, plan: MountPlan) -> list[dict[str, Any]]:
        """Return what stands for a mount of type ``cgroup``."""
        if not self._path:
            return []
        self.wait()
        return cgroup_mounts(plan, self._path, private=self._private)


def _make_network(sync: ChildSide, bundle: Bundle) -> None:
    """Make or join the network namespace, and give a new one to orlopd if it is to be connected."""
    namespaces.enter(bundle.spaces, "network")
    if "network" not in bundle.spaces.new:
        return
    if bundle.network:
        fd = namespace.open_namespace("network")
        sync.send("netns", (fd,))
        os.close(fd)
    else:
        interfaces.loopback_up()


def _configure_network(sync: ChildSide, bundle: Bundle) -> None:
    """Wait until orlopd has connected the namespace, and bring up what it put there."""
    if not bundle.network or "network" not in bundle.spaces.new:
        return
    config = sync.wait("network")
    try:
        interfaces.configure(config)
    except OSError as error:
        raise StartError.from_os("network", f"unable to configure the network: {error}", error) from error


def _name_host(spec: dict[str, Any], spaces: NamespacePlan) -> None:
    """Set host and domain name, in a namespace of our own only."""
    if "uts" not in spaces.new:
        return
    try:
        if spec.get("hostname"):
            namespace.set_hostname(spec["hostname"])
        if spec.get("domainname"):
            namespace.set_domainname(spec["domainname"])
    except OSError as error:
        raise StartError.from_os("uts", "unable to set the host name", error) from error


def _write_sysctls(sysctls: dict[str, str], wanted: Callable[[str], bool]) -> None:
    """Write kernel parameters, which are those of our namespaces, through the host's procfs (CVE-2025-52881)."""
    directory = os.open("/proc/sys", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for name, value in sysctls.items():
        if wanted(name):
            try:
                _write_sysctl(directory, name if "/" in name else name.replace(".", "/"), str(value))
            except OSError as error:
                raise StartError.from_os("sysctl", f"open sysctl {name} file", error) from error
    os.close(directory)


def _write_sysctl(directory: int, path: str, value: str) -> None:
    rules = openat2.BENEATH | openat2.NO_XDEV | openat2.NO_SYMLINKS
    fd = openat2.openat2(directory, path, os.O_WRONLY, resolve=rules)
    try:
        if mount.filesystem_type(fd) != PROC_SUPER_MAGIC:
            raise StartError("sysctl", f"/proc/sys/{path} is not a file of procfs")
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def _make_rootfs(bundle: Bundle, cgroup: _CgroupGate) -> Rootfs:
    entries = bundle.spec.get("mounts") or []
    rootfs = Rootfs(bundle.layers, bundle.run_dir, bundle.mounts)
    rootfs.clone_sources(entries)
    rootfs.mount_root()
    rootfs.mount_all(entries, cgroup.mounts)
    rootfs.make_devices(entries, (bundle.spec.get("linux") or {}).get("devices") or [])
    return rootfs


def _open_streams(sync: ChildSide, bundle: Bundle, rootfs: Rootfs) -> tuple[int, int, int]:
    """Return the standard streams: the pipes, or a terminal whose master goes to the shim."""
    if bundle.streams is None:
        terminal = devices.open_terminal(rootfs.fd)
        sync.send("terminal", (terminal.master,))
        os.close(terminal.master)
        rootfs.make_console(terminal.slave)
        return (terminal.slave,) * 3
    stdin, stdout, stderr = bundle.streams
    return (rootfs.masks.open_null() if stdin < 0 else stdin), stdout, stderr
