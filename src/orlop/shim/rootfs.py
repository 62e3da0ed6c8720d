"""The container's file tree: an overlay, the mounts of its specification, and everything hidden that must be.

All of it happens in the mount namespace of the container's first process, so nothing can leak on the host. Every
mount is made detached and attached to a *descriptor* of its target, which was opened beneath the root (openat2(2)
with RESOLVE_IN_ROOT): a link that somebody exchanges meanwhile changes nothing (CVE-2021-30465). The old root is seen
until `leave_host`; what needs the host's paths (sources, cgroups, sysctls) comes before it.
"""

from __future__ import annotations

import errno as numbers
import os
import stat
from collections.abc import Callable, Sequence
from typing import Any

from orlop.linux import mount, namespace, openat2, process
from orlop.linux.cgroup import mounts_for_container
from orlop.linux.proc import PROC_SUPER_MAGIC
from orlop.shim import devices, mounts
from orlop.shim.failure import StartError
from orlop.shim.mounts import MountPlan

__all__ = ["Rootfs", "open_working_directory"]

# What may be mounted over below /proc: files that programs such as lxcfs fake.
_PROC_FILES = frozenset(
    "/proc/" + name
    for name in (
        *("cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo"),
        *("sys/kernel/ns_last_pid", "sys/crypto/fips_enabled"),
    )
)
_PLAIN_DIRECTORY = frozenset(("proc", "sysfs"))  # no links on the way to these
_DIRECTORY = os.O_PATH | os.O_DIRECTORY


class Rootfs:
    """The tree while it is built. `fd` is its root directory."""

    def __init__(self, layers: dict[str, Any], place: str, given: Sequence[int] = ()) -> None:
        """Take a private mount namespace that was just made, and mount the overlay at `place`, a host directory.

        `given` are detached mounts that `MountPlan.given` counts. Raises `StartError`.
        """
        self._given = given
        self._sources: dict[int, int] = {}  # index of the mount: detached clone of its source
        self._layers = layers
        self._place = place
        self.masks = devices.Masks()
        self.fd = -1

    def clone_sources(self, entries: list[dict[str, Any]]) -> None:
        """Clone the sources of bind mounts while they still are in the peer groups of the host's mounts."""
        for index, entry in enumerate(entries):
            plan = mounts.parse(entry)
            if plan.kind == "bind" and not plan.given:
                try:
                    self._sources[index] = _clone_source(plan)
                except OSError as error:
                    raise _mount_error(plan, error) from error

    def mount_root(self) -> None:
        """Cut the namespace off from the host's, and mount the overlay."""
        try:
            mount.set_propagation("/", mount.MS_REC | mount.MS_PRIVATE)
            self.fd = self._attach_overlay()
        except OSError as error:
            raise StartError.from_os("rootfs", "error mounting the root file system", error) from error

    def mount_all(self, entries: list[dict[str, Any]], cgroup: Callable[[MountPlan], list[dict[str, Any]]]) -> None:
        """Perform the mounts in their order; `cgroup` says what stands for one of type ``cgroup``."""
        for index, entry in enumerate(entries):
            plan = mounts.parse(entry)
            if plan.kind in ("cgroup", "cgroup2"):
                for part in cgroup(plan):
                    self._mount(mounts.parse(part), None)
            else:
                self._mount(plan, self._sources.pop(index, None))

    def make_devices(self, entries: list[dict[str, Any]], more: list[dict[str, Any]]) -> None:
        """Fill /dev, unless it is the host's."""
        if any(entry["destination"].rstrip("/") == "/dev" and mounts.parse(entry).kind == "bind" for entry in entries):
            return
        try:
            dev_fd = openat2.make_directory(self.fd, "/dev")
            devices.make_nodes(dev_fd)
            devices.make_links(dev_fd)
            os.close(dev_fd)
        except OSError as error:
            raise StartError.from_os("devices", "error creating device nodes", error) from error
        for device in more:
            devices.make_node(self.fd, device)

    def make_console(self, slave: int) -> None:
        """Put the terminal at /dev/console, by descriptor (CVE-2025-52565)."""
        try:
            target = openat2.make_file(self.fd, "/dev/console")
            clone = mount.clone_tree("", slave)
            mount.move_mount(clone, target)
            os.close(clone)
            os.close(target)
        except OSError as error:
            raise StartError.from_os("console", "unable to set up /dev/console", error) from error

    def hide(self, masked: list[str], readonly: list[str]) -> None:
        """Put nothing over the masked paths, and make the read-only ones so. Paths that are not there are skipped."""
        for path in readonly:
            self._over(path, self._clone_read_only)
        for path in masked:
            self._over(path, lambda fd: self.masks.clone_for(os.fstat(fd).st_mode))

    def finish(self, *, readonly: bool, propagation: str) -> None:
        """Make the root what the specification says; call it when nothing has to be written any more."""
        try:
            if propagation:
                found = mounts.propagation_of(propagation)
                if found is None:
                    raise StartError("rootfs", f"rootfsPropagation={propagation} is not supported")
                mount.mount_setattr(self.fd, propagation=found[0], recursive=found[1])
            if readonly:
                mount.mount_setattr(self.fd, mount.ATTR_RDONLY)
        except OSError as error:
            raise StartError.from_os("rootfs", "error setting up the root file system", error) from error

    def leave_host(self) -> None:
        """Make the tree the root; nothing of the host is mounted here any more."""
        try:
            mount.pivot_root(self.fd)
        except OSError as error:
            raise StartError.from_os("rootfs", "error jailing process inside rootfs: pivot_root", error) from error

    def _attach_overlay(self) -> int:
        lower, upper, work = self._layers["lower"], self._layers.get("upper", ""), self._layers.get("work", "")
        words = (text.partition("=") for text in self._layers.get("options", ()))
        options = [(key, value if equals else None) for key, equals, value in words]
        place = os.open(self._place, _DIRECTORY | os.O_CLOEXEC)
        try:
            self.masks.attach(place)  # the overlay comes on top of it
            for fd in self._given:  # only what is in this namespace can be cloned
                if _is_directory(fd):
                    mount.mount_setattr(fd, propagation=mount.MS_PRIVATE)  # the root comes to lie on top of it
                    mount.move_mount(fd, place)
            if mount.knows_many_layers():
                overlay = mount.detached_overlay(lower, upper, work, options)
                mount.move_mount(overlay, place)
                return overlay
        finally:
            os.close(place)
        mount.mount_overlay(self._place, lower, upper, work, options)
        return os.open(self._place, _DIRECTORY | os.O_CLOEXEC)

    def _mount(self, plan: MountPlan, source: int | None) -> None:
        try:
            if plan.kind == "symlink":
                self._link(plan)
                return
            if plan.kind == "remount":
                self._remount(plan)
                return
            made = source if source is not None else self._make(plan)
            try:
                self._change(made, plan)
                self._attach(made, plan)
            finally:
                os.close(made)
        except OSError as error:
            raise _mount_error(plan, error) from error

    def _make(self, plan: MountPlan) -> int:
        """Return the detached mount that a plan asks for: of a new file system, or of something that is there."""
        if plan.kind != "bind":
            return mount.new_filesystem(plan.kind, plan.data, plan.set, plan.source or None)
        if not plan.given:
            return _clone_source(plan)
        given = self._given[int(plan.given)]
        return _clone_in(given, plan.beneath or "/", plan) if _is_directory(given) else os.dup(given)

    def _change(self, made: int, plan: MountPlan) -> None:
        flags, recursive = plan.propagation
        bind = plan.kind == "bind"
        if bind and not plan.recursive:  # one mount: all at once
            mount.mount_setattr(made, plan.set | plan.set_below, plan.clear | plan.clear_below, flags)
            return
        if bind or flags != mount.MS_PRIVATE:  # a new file system is private from the beginning
            mount.mount_setattr(made, propagation=flags, recursive=recursive)
        if plan.set_below or plan.clear_below:
            mount.mount_setattr(made, plan.set_below, plan.clear_below, recursive=True)
        if bind and (plan.set or plan.clear):
            mount.mount_setattr(made, plan.set, plan.clear)

    def _attach(self, made: int, plan: MountPlan) -> None:
        """Find or make the target beneath the root and attach there."""
        is_directory = _is_directory(made)
        if is_directory:
            rules = openat2.NO_SYMLINKS if plan.kind in _PLAIN_DIRECTORY else 0
            try:
                target = openat2.make_directory(self.fd, plan.destination, resolve=rules)
            except OSError as error:
                if rules and error.errno in (numbers.ELOOP, numbers.ENOTDIR):
                    text = f'filesystem "{plan.kind}" must be mounted on ordinary directory'
                    raise StartError("mount", text, errno=error.errno) from error
                raise
        else:
            target = openat2.make_file(self.fd, plan.destination)
        try:
            if _is_directory(target) != is_directory:
                raise NotADirectoryError(numbers.ENOTDIR, os.strerror(numbers.ENOTDIR), plan.destination)
            if plan.destination == "/proc" and mount.filesystem_type(made) != PROC_SUPER_MAGIC:
                raise StartError("mount", '"/proc" cannot be mounted because it is not of type proc')
            if mount.filesystem_type(target) == PROC_SUPER_MAGIC and plan.destination not in _PROC_FILES:
                raise StartError("mount", f'"{plan.destination}" cannot be mounted because it is inside /proc')
            mount.move_mount(made, target)
        finally:
            os.close(target)

    def _link(self, plan: MountPlan) -> None:
        parent, _, name = plan.destination.rpartition("/")
        directory = openat2.make_directory(self.fd, parent)
        try:
            os.symlink(plan.source, name, dir_fd=directory)
        finally:
            os.close(directory)

    def _remount(self, plan: MountPlan) -> None:
        fd = openat2.open_in_root(self.fd, plan.destination, _DIRECTORY)
        try:
            mount.mount_setattr(fd, plan.set, plan.clear)
        finally:
            os.close(fd)

    def _over(self, path: str, clone: Callable[[int], int]) -> None:
        """Attach what `clone` makes of a path on top of it."""
        try:
            target = openat2.open_in_root(self.fd, path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise StartError.from_os("hide", f"can't mask path {path}", error) from error
        try:
            made = clone(target)
            try:
                mount.move_mount(made, target)
            finally:
                os.close(made)
        except OSError as error:
            raise StartError.from_os("hide", f"can't mask path {path}", error) from error
        finally:
            os.close(target)

    def _clone_read_only(self, target: int) -> int:
        clone = mount.clone_tree("", target, recursive=True)
        mount.mount_setattr(clone, mount.ATTR_RDONLY, recursive=True)
        return clone


def cgroup_mounts(plan: MountPlan, path: str, *, private: bool) -> list[dict[str, Any]]:
    """Return what stands for a mount of type ``cgroup``: the container's own part of the hierarchies."""
    readonly = bool(plan.set & mount.ATTR_RDONLY)
    return mounts_for_container(path, private=private, readonly=readonly, destination=plan.destination)


def open_working_directory(root_fd: int, path: str, *, make: bool) -> None:
    """Go to a process's working directory, which is made if it is missing and `make` is set; see that it is inside.

    No magic link leads there, and the kernel must be able to name it (CVE-2024-21626). Raises `StartError`.
    """
    if not path.startswith("/"):
        raise StartError("cwd", f'Cwd must be an absolute path, "{path}" is not', plain=False)
    try:
        if make:
            fd = openat2.make_directory(root_fd, path)
        else:
            fd = openat2.open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY)
        try:
            os.fchdir(fd)
        finally:
            os.close(fd)
        if not process.current_directory().startswith("/"):
            raise StartError("cwd", "current working directory is outside of container mount namespace root")
    except OSError as error:
        raise StartError.from_os("cwd", f'chdir to cwd ("{path}") set in config.json failed', error) from error


def _clone_source(plan: MountPlan) -> int:
    """Return a detached clone of a bind mount's source."""
    if not plan.namespace:
        return _clone_beneath(plan.source, plan.beneath, plan) if plan.beneath else _clone(plan, plan.source)
    # Only a process that is in a mount namespace may clone what is mounted there (open_tree(2)).
    own = namespace.open_namespace("mount")
    theirs = os.open(plan.namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespace.setns(theirs, namespace.CLONE_NEWNS)
        return _clone_beneath("/", plan.source, plan)
    finally:
        namespace.setns(own, namespace.CLONE_NEWNS)
        os.close(theirs)
        os.close(own)


def _clone_beneath(root: str, path: str, plan: MountPlan) -> int:
    """Clone `path`, in which a container may put links as it likes, without leaving the directory `root`."""
    root_fd = os.open(root, _DIRECTORY | os.O_CLOEXEC)
    try:
        return _clone_in(root_fd, path, plan)
    finally:
        os.close(root_fd)


def _clone_in(root_fd: int, path: str, plan: MountPlan) -> int:
    found = openat2.open_in_root(root_fd, path, os.O_PATH)
    try:
        return _clone(plan, "", found)
    finally:
        os.close(found)


def _clone(plan: MountPlan, path: str, *directory: int) -> int:
    return mount.clone_tree(path, *directory, recursive=plan.recursive)


def _is_directory(fd: int) -> bool:
    return stat.S_ISDIR(os.fstat(fd).st_mode)


def _mount_error(plan: MountPlan, error: OSError) -> StartError:
    source = plan.source or plan.kind
    what = f'error mounting "{source}" to rootfs at "{plan.destination}": mount src={source}, dst={plan.destination}'
    return StartError.from_os("mount", what, error)
