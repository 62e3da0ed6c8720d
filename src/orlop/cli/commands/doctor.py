"""`orlop doctor`: what this machine lacks for containers, what will not work for it, and how to mend it.

Nothing is changed: what can only be found out by doing is done in a child process, in namespaces of its own. The
daemon need not run.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from orlop import errors
from orlop.cli.command import command
from orlop.cli.flags import BOOL, STRING, Flag, Options
from orlop.cli.humanize import bytes_size
from orlop.cli.session import Session
from orlop.cli.terminal import is_terminal
from orlop.client import calls

__all__ = ["Finding", "doctor", "examine"]

OK, WARNING, ERROR = "ok", "warning", "error"
_MARKS = {OK: ("✓", "\033[32m"), WARNING: ("!", "\033[33m"), ERROR: ("✗", "\033[31m")}
_OLDEST_KERNEL = (5, 12)  # mount_setattr(2), which makes bind mounts read-only all the way down
_LITTLE_SPACE = 2 << 30

_NEEDED_CAPABILITIES = frozenset(
    f"CAP_{name}"
    for name in (
        *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_ADMIN", "SYS_CHROOT", "SYS_PTRACE"),
    )
)
# What a missing capability means for users, where it is not the end of everything.
_WANTED_CAPABILITIES = {
    "CAP_SYS_RESOURCE": "limits above the daemon's own (--ulimit, negative --oom-score-adj) are refused",
    "CAP_AUDIT_WRITE": "containers start without it",
}
# Controllers, and what does not work without them.
_CONTROLLERS = {
    "memory": "--memory has no effect",
    "cpu": "--cpus and --cpu-shares have no effect",
    "cpuset": "--cpuset-cpus has no effect",
    "pids": "--pids-limit has no effect",
    "devices": "access to devices is not limited",
    "freezer": "pause does not work",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: `level` is ok, warning or error; `remedy` says how to mend it, or is empty."""

    check: str
    level: str
    message: str
    remedy: str = ""


@command(
    "[OPTIONS]",
    flags=(
        Flag("json", "", BOOL, "Print the findings as JSON"),
        Flag("data-root", "", STRING, "Directory of the daemon's data", "/var/lib/orlop"),
    ),
)
def doctor(session: Session, options: Options, arguments: list[str]) -> int:
    """Check the machine; the exit status is 1 when something essential is missing."""
    findings = list(examine(session, options.data_root))
    if options.json:
        import json

        session.print(json.dumps([asdict(finding) for finding in findings], indent=4, ensure_ascii=False))
    else:
        for finding in findings:
            _print(finding, colour=is_terminal(1))
    return 1 if any(finding.level == ERROR for finding in findings) else 0


def _print(finding: Finding, *, colour: bool) -> None:
    mark, paint = _MARKS[finding.level]
    sys.stdout.write(f"{paint}{mark}\033[0m " if colour else f"{mark} ")
    sys.stdout.write(f"{finding.check}: {finding.message}\n")
    if finding.remedy:
        sys.stdout.write(f"    {finding.remedy}\n")


def examine(session: Session, data_root: str) -> Iterable[Finding]:
    """Yield what each check found."""
    yield _kernel(os.uname().release)
    yield from _namespaces()
    yield _probe("overlay", _try_overlay, "image layers cannot be mounted", "modprobe overlay")
    yield _seccomp()
    yield _cgroups()
    yield _capabilities()
    yield _probe("network links", _try_links, "only --network none and host work", "modprobe -a bridge veth")
    yield from _firewall()
    yield _library("libseccomp.so.2", "libseccomp2", "containers run without a seccomp profile only")
    yield _init_program()
    yield _space(data_root)
    yield _docker_cli()
    yield _daemon(session)


def _kernel(release: str) -> Finding:
    match = re.match(r"(\d+)\.(\d+)", release)
    if match is None or (int(match[1]), int(match[2])) < _OLDEST_KERNEL:
        needed = ".".join(map(str, _OLDEST_KERNEL))
        return Finding("kernel", ERROR, f"{release} is older than {needed}", "install a newer kernel")
    return Finding("kernel", OK, release)


def _namespaces() -> Iterable[Finding]:
    kinds = {"mnt": ERROR, "pid": ERROR, "net": ERROR, "ipc": ERROR, "uts": ERROR, "cgroup": WARNING, "user": WARNING}
    missing = [kind for kind in kinds if not os.path.exists(f"/proc/self/ns/{kind}")]
    if not missing:
        yield Finding("namespaces", OK, ", ".join(kinds))
    for kind in missing:
        yield Finding("namespaces", kinds[kind], f"the kernel has no {kind} namespaces", "use another kernel")


def _in_child(action: Callable[[], None]) -> str:
    """Run `action` in a child process; return what went wrong, or an empty text."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        problem = ""
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - all that this process does is to tell it
            problem = str(error) or type(error).__name__
        os.write(writer, problem.encode()[:4000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        problem = pipe.read().decode(errors="replace")
    os.waitpid(child, 0)
    return problem


def _probe(check: str, action: Callable[[], None], consequence: str, remedy: str) -> Finding:
    problem = _in_child(action)
    if not problem:
        return Finding(check, OK, "works")
    if os.geteuid() != 0:
        return Finding(check, WARNING, f"could not be tried without root ({problem})", "run orlop doctor as root")
    return Finding(check, ERROR, f"{consequence} ({problem})", remedy)


def _try_overlay() -> None:
    from tempfile import mkdtemp

    from orlop.linux import mount, namespace

    namespace.unshare(namespace.FLAGS["mount"])
    mount.set_propagation("/", mount.MS_PRIVATE | mount.MS_REC)
    directory = mkdtemp(prefix="orlop-doctor-")
    mount.mount("tmpfs", directory, "tmpfs")
    try:
        layers = [os.path.join(directory, name) for name in ("lower", "upper", "work")]
        for layer in layers:
            os.mkdir(layer)
        os.close(mount.detached_overlay([layers[0]], layers[1], layers[2]))
    finally:
        mount.umount2(directory)
        os.rmdir(directory)


def _try_links() -> None:
    from orlop.formats import rtnetlink
    from orlop.linux import namespace
    from orlop.linux.netlink import Netlink

    namespace.unshare(namespace.FLAGS["network"])
    with Netlink() as netlink:
        netlink.perform([rtnetlink.add_bridge("orlop-try"), rtnetlink.add_veth("orlop-a", peer="orlop-b")])


def _try_nftables() -> None:
    from orlop.linux import namespace
    from orlop.linux.nftables import Nftables

    namespace.unshare(namespace.FLAGS["network"])
    with Nftables() as nftables:
        nftables.run("add table inet orlop_try { chain nat { type nat hook prerouting priority -100 ; }; }")


def _seccomp() -> Finding:
    try:
        with open("/proc/sys/kernel/seccomp/actions_avail", encoding="ascii") as file:
            actions = file.read().split()
    except OSError:
        return Finding(
            "seccomp", ERROR, "the kernel filters no system calls", "use a kernel with CONFIG_SECCOMP_FILTER"
        )
    if "errno" in actions:
        return Finding("seccomp", OK, "system calls can be filtered")
    return Finding("seccomp", ERROR, "the kernel cannot refuse a system call", "use a newer kernel")


def _cgroups() -> Finding:
    from orlop.linux.cgroup import detect

    try:
        host = detect()
    except OSError as error:
        return Finding("cgroups", ERROR, str(error), "mount -t cgroup2 none /sys/fs/cgroup")
    missing = {name: effect for name, effect in _CONTROLLERS.items() if name not in host.controllers}
    if missing:
        text = "; ".join(f"{name}: {effect}" for name, effect in missing.items())
        remedy = "boot with cgroup_enable=memory" if "memory" in missing else "enable the controllers"
        return Finding("cgroups", WARNING, f"version {host.version} lacks controllers ({text})", remedy)
    return Finding("cgroups", OK, f"version {host.version} with {', '.join(sorted(_CONTROLLERS))}")


def _capabilities() -> Finding:
    from orlop.linux.capability import bounding

    held = bounding()
    if missing := sorted(_NEEDED_CAPABILITIES - held):
        return Finding("capabilities", ERROR, f"missing: {', '.join(missing)}", "run orlopd with all capabilities")
    if wanted := {name: effect for name, effect in _WANTED_CAPABILITIES.items() if name not in held}:
        text = "; ".join(f"{name}: {effect}" for name, effect in wanted.items())
        return Finding("capabilities", WARNING, f"missing: {text}", "run orlopd with all capabilities")
    return Finding("capabilities", OK, f"{len(held)} can be given to containers")


def _firewall() -> Iterable[Finding]:
    problem = _in_child(_try_nftables)
    if problem:
        if os.geteuid() != 0:
            yield Finding("nftables", WARNING, f"could not be tried without root ({problem})", "run it as root")
        else:
            yield Finding(
                "nftables",
                ERROR,
                f"containers reach nothing outside and ports cannot be published ({problem})",
                "apt-get install libnftables1 && modprobe nf_tables",
            )
        return
    yield Finding("nftables", OK, "works")
    from orlop.linux.firewall import forwarding_blockers

    try:
        blockers = forwarding_blockers()
    except OSError as error:
        yield Finding("firewall", WARNING, f"the host's rules could not be read ({error})")
        return
    for blocker in blockers:
        text, _, remedy = blocker.partition(" This lets them through: ")
        yield Finding("firewall", WARNING, text, remedy)
    if not blockers:
        yield Finding("firewall", OK, "no rule of the host drops what containers send and receive")


def _library(name: str, package: str, consequence: str) -> Finding:
    from glob import glob

    if glob(f"/usr/lib/*/{name}*") or glob(f"/usr/lib*/{name}*") or glob(f"/lib/*/{name}*"):
        return Finding(name, OK, "installed")
    return Finding(name, ERROR, f"not installed: {consequence}", f"apt-get install {package}")


def _init_program() -> Finding:
    found = next(
        (path for name in ("tini-static", "catatonit", "tini", "docker-init") if (path := shutil.which(name))), ""
    )
    if found:
        return Finding("init program", OK, found)
    return Finding("init program", WARNING, "none found: --init does not work", "apt-get install tini")


def _space(data_root: str) -> Finding:
    path = data_root
    while not os.path.isdir(path):
        path = os.path.dirname(path) or "/"
    state = os.statvfs(path)
    free = state.f_bavail * state.f_frsize
    if free < _LITTLE_SPACE or (state.f_files and state.f_favail < 10_000):
        return Finding("disk", WARNING, f"only {bytes_size(free)} free in {path}", "orlop system prune")
    return Finding("disk", OK, f"{bytes_size(free)} free in {path}")


def _docker_cli() -> Finding:
    path = shutil.which("docker")
    if path is None:
        return Finding("docker command", OK, "not installed; orlop does not need it")
    return Finding("docker command", OK, f"{path} works with Orlop too, with DOCKER_HOST at Orlop's socket")


def _daemon(session: Session) -> Finding:
    try:
        host = session.endpoint.host
        version = session.engine.do(calls.version())["Version"]
    except errors.Error as error:
        return Finding("daemon", WARNING, error.message, "start it: orlopd")
    return Finding("daemon", OK, f"version {version} answers at {host}")
