"""The mounts of a container in their order (OCI ``mounts``): the standard ones, then the user's by depth.

A mount of the user's on the place of a standard one replaces it; one on ``/dev`` replaces all that is below it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orlop.errors import InvalidArgument
from orlop.model.api.container import HostConfig
from orlop.model.record import ContainerRecord, MountRecord
from orlop.runtime import tmpfs
from orlop.runtime.process import INIT_PATH

__all__ = ["check", "plan", "rootfs_propagation"]

Mount = dict[str, Any]

DEFAULT_SHM_SIZE = 64 << 20
# Options of Orlop's own (mount(8) leaves names with x- to others): where a source is that a container can put links in.
SOURCE_BENEATH = "x-orlop-beneath"
SOURCE_NAMESPACE = "x-orlop-namespace"
_SHARED = ("shared", "rshared")
_SLAVE = ("slave", "rslave")
_PROPAGATIONS = ("private", "rprivate", *_SHARED, *_SLAVE)
# With a read-only root these stay writable: the kernel's own, or small file systems of the container's own.
_WRITABLE = ("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")


def plan(
    record: ContainerRecord,
    *,
    files: Mapping[str, str],
    shm: str | None = None,
    shm_namespace: str = "",
    init: str | None = None,
    writable_cgroups: bool = False,
    recursive_readonly: bool = True,
) -> list[Mount]:
    """Return the mounts.

    `files` maps paths in the container to files of the host (``/etc/hosts``…); `shm` is the host path that becomes
    ``/dev/shm`` instead of a tmpfs, or a path in the mount namespace `shm_namespace`; `init` the host path of an init
    program. `recursive_readonly` says that the kernel can make a whole tree read-only: then read-only binds are,
    unless the mount says otherwise.
    """
    host = record.host_config
    user = _user(record, recursive_readonly)
    standard = [
        mount
        for mount in _standard(host, shm, shm_namespace, writable_cgroups)
        if mount["destination"] not in user and not ("/dev" in user and mount["destination"].startswith("/dev/"))
    ]
    binds = {path: _bind(path, source, ["rbind", "rprivate"]) for path, source in files.items() if path not in user}
    if host.readonly_rootfs:
        for mount in (*standard, *binds.values()):
            if mount["destination"] not in _WRITABLE and "ro" not in mount["options"]:
                mount["options"].append("ro")
    chosen = sorted((*user.values(), *binds.values()), key=lambda mount: _depth(mount["destination"]))
    mounts = [*standard, *chosen]
    if init:
        mounts.append(_bind(INIT_PATH, init, ["bind", "ro"]))
    return mounts


def check(host: HostConfig) -> None:
    """Raise `InvalidArgument` for a tmpfs that cannot be."""
    for destination, data in (host.tmpfs or {}).items():
        if not destination.startswith("/"):
            raise InvalidArgument(f"invalid mount path: '{destination}' mount path must be absolute")
        if _clean(destination) == "/":
            raise InvalidArgument("invalid specification: destination can't be '/'")
        tmpfs.merge(data.split(","))


def rootfs_propagation(mounts: tuple[MountRecord, ...], mountinfo: Callable[[], str] | None = None) -> str:
    """Return OCI ``linux.rootfsPropagation``: what the root needs to be for the mounts to propagate as asked.

    With `mountinfo` (which returns proc(5)'s ``mountinfo``) a source that its own mount keeps from propagating is
    refused: `InvalidArgument` with dockerd's text.
    """
    wanted = "rprivate"
    for mount in mounts:
        if mount.propagation in _SHARED:
            wanted = "shared"
        elif mount.propagation in _SLAVE and wanted != "shared":
            wanted = "rslave"
        else:
            continue
        if mountinfo is not None and mount.type == "bind":
            _check_source(mount, mountinfo())
    return wanted


def _standard(host: HostConfig, shm: str | None, shm_namespace: str, writable_cgroups: bool) -> list[Mount]:
    writable = host.privileged
    read_only = [] if writable else ["ro"]
    cgroup_access = [] if writable or writable_cgroups else ["ro"]
    mounts: list[Mount] = [
        _mount("/proc", "proc", "proc", ["nosuid", "noexec", "nodev"]),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        _mount("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", *read_only]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*cgroup_access, "nosuid", "noexec", "nodev"]),
        _mount("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    ]
    if shm:
        place = [f"{SOURCE_NAMESPACE}={shm_namespace}"] if shm_namespace else []
        mounts.append(_bind("/dev/shm", shm, ["rbind", "rprivate", *place]))
    elif host.ipc_mode != "none":
        size = host.shm_size or DEFAULT_SHM_SIZE
        options = ["nosuid", "noexec", "nodev", "mode=1777", f"size={size}"]
        mounts.append(_mount("/dev/shm", "tmpfs", "shm", options))
    return mounts


def _user(record: ContainerRecord, recursive_readonly: bool) -> dict[str, Mount]:
    """Return the user's mounts by destination."""
    mounts = {}
    for destination, data in (record.host_config.tmpfs or {}).items():
        path = _clean(destination)
        mounts[path] = _tmpfs(path, data.split(","))
    for mount in record.mounts:
        path = _clean(mount.destination)
        if mount.type == "tmpfs":
            access = [] if mount.rw else ["ro"]
            options = [word for option in mount.options for word in option.split(",")]
            mounts[path] = _tmpfs(path, [*options, *access])
        else:
            mounts[path] = _bind(path, mount.source, _bind_options(mount, recursive_readonly))
    return mounts


def _bind_options(mount: MountRecord, recursive_readonly: bool) -> list[str]:
    recursive = "bind" not in mount.options
    options = ["rbind" if recursive else "bind"]
    if not mount.rw:
        whole_tree = recursive and recursive_readonly and "ro-non-recursive" not in mount.options
        if "ro-force-recursive" in mount.options and not recursive_readonly:
            raise InvalidArgument(
                "invalid mount config: ReadOnlyForceRecursive is set, but the kernel does not support recursive "
                "read-only mounts"
            )
        options.append("rro" if whole_tree else "ro")
    options.append(mount.propagation or "rprivate")
    if mount.subpath:
        options.append(f"{SOURCE_BENEATH}={mount.subpath}")
    return options


def _tmpfs(destination: str, options: list[str]) -> Mount:
    return _mount(destination, "tmpfs", "tmpfs", tmpfs.merge([*tmpfs.DEFAULTS, *options]))


def _bind(destination: str, source: str, options: list[str]) -> Mount:
    return _mount(destination, "bind", source, options)


def _mount(destination: str, kind: str, source: str, options: list[str]) -> Mount:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def _clean(path: str) -> str:
    """Return an absolute path without empty parts, ``.`` and ``..``."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _depth(path: str) -> int:
    return 0 if path == "/" else path.count("/")


def _check_source(mount: MountRecord, mountinfo: str) -> None:
    """Raise `InvalidArgument` unless the mount that holds the source passes on what is mounted in it."""
    holder, optional = "", ""
    for line in mountinfo.splitlines():
        fields = line.partition(" - ")[0].split(" ")
        if len(fields) < 6:
            continue
        point = fields[4].replace("\\040", " ")
        within = point == "/" or mount.source == point or mount.source.startswith(point + "/")
        # Of several mounts on one place the last hides the others.
        if within and len(point) >= len(holder):
            holder, optional = point, " ".join(fields[6:])
    shared, slave = "shared:" in optional, "master:" in optional
    if mount.propagation in _SHARED and not shared:
        raise InvalidArgument(f"path {mount.source} is mounted on {holder} but it is not a shared mount")
    if mount.propagation in _SLAVE and not (shared or slave):
        raise InvalidArgument(f"path {mount.source} is mounted on {holder} but it is not a shared or slave mount")
