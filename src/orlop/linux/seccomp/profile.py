"""Docker's default seccomp profile, and Docker's profile format.

A profile in Docker's format depends on the container and the machine: a rule may hold only with a capability, on an
architecture, from a kernel version on. `resolve` decides that and gives an OCI ``linux.seccomp``, which
`orlop.linux.seccomp.compile` turns into a program. The default, `DEFAULT`, is equal in effect to the one of
github.com/moby/profiles: what is not named gives EPERM; a container may not make namespaces, mount, load modules or
programs into the kernel, use io_uring, or open sockets of families that reach the hypervisor or the kernel's
cryptography, unless it has the capability for it.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable
from typing import Any

from orlop.errors import InvalidArgument

__all__ = ["DEFAULT", "parse", "resolve"]

Json = dict[str, Any]

_PROCESS = """
    alarm brk capget capset clock_adjtime clock_adjtime64 clock_getres clock_getres_time64
    clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 execve execveat exit exit_group fork getcpu
    getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpgid getpgrp getpid getppid
    getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid gettid gettimeofday
    getuid getuid32 get_robust_list get_thread_area adjtimex ioprio_get ioprio_set membarrier nanosleep pause prctl
    prlimit64 process_mrelease restart_syscall rseq sched_getaffinity sched_getattr sched_getparam
    sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp
    setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority
    setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setuid
    setuid32 set_robust_list set_thread_area set_tid_address sysinfo time times ugetrlimit umask uname vfork wait4
    waitid waitpid riscv_hwprobe uretprobe landlock_add_rule landlock_create_ruleset landlock_restrict_self
"""
_SIGNAL = """
    kill pidfd_open pidfd_send_signal rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
    rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack signalfd signalfd4 sigprocmask
    sigreturn tgkill tkill timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
    timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
"""
_MEMORY = """
    cachestat madvise map_shadow_stack memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect
    mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages
"""
_WAIT_AND_SHARE = """
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake ipc mq_getsetattr mq_notify mq_open
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd
    _newselect poll ppoll ppoll_time64 pselect6 pselect6_time64 select semctl semget semop semtimedop
    semtimedop_time64 shmat shmctl shmdt shmget
"""
_FILE = """
    access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
    fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl
    fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64
    fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat inotify_add_watch
    inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents
    io_pgetevents_time64 io_setup io_submit lchown lchown32 lgetxattr link linkat listmount listxattr listxattrat
    llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at
    newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink
    readlinkat readv removexattr removexattrat rename renameat renameat2 rmdir sendfile sendfile64 setxattr setxattrat
    splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs tee truncate
    truncate64 unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev
"""
_NETWORK = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
    recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair
"""

# Address families that socket(2) may open beside those below 12: not those of virtual machines' hosts (VSOCK, 40),
# of the kernel's own cryptography (ALG, 38), or of radio links and cards nobody keeps up.
_FAMILIES_BELOW = 12
_FAMILIES = (13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45)
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_NAMESPACE_FLAGS = 0x7E020000  # every CLONE_NEW… of clone(2) but CLONE_NEWTIME

_WITH_CAPABILITY = {
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_ADMIN": (
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr "
        "lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl "
        "quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare"
    ),
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module init_module finit_module",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    "CAP_SYS_RAWIO": "iopl ioperm",
    "CAP_SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYSLOG": "syslog",
    "CAP_BPF": "bpf",
    "CAP_PERFMON": "perf_event_open",
}
_ON_ARCHITECTURE = {
    ("ppc64le",): "sync_file_range2 swapcontext",
    ("arm", "arm64"): "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    ("amd64", "x32"): "arch_prctl",
    ("amd64", "x32", "x86"): "modify_ldt",
    ("s390", "s390x"): "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
    ("riscv64",): "riscv_flush_icache",
}
_SUB_ARCHITECTURES = {
    "SCMP_ARCH_X86_64": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "SCMP_ARCH_AARCH64": ["SCMP_ARCH_ARM"],
    "SCMP_ARCH_MIPS64": ["SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64N32"],
    "SCMP_ARCH_MIPSEL64": ["SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64N32"],
    "SCMP_ARCH_S390X": ["SCMP_ARCH_S390"],
    "SCMP_ARCH_RISCV64": [],
    "SCMP_ARCH_LOONGARCH64": [],
}

# uname(2) machine → Docker's name in `arches`, and libseccomp's name in `archMap`.
_MACHINES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "i686": ("x86", "SCMP_ARCH_X86"),
    "mips64": ("mips64", "SCMP_ARCH_MIPS64"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
    "loongarch64": ("loong64", "SCMP_ARCH_LOONGARCH64"),
}


def _allow(names: str, **conditions: Any) -> Json:
    return {"names": names.split(), "action": "SCMP_ACT_ALLOW", **conditions}


def _argument(index: int, value: int, operator: str) -> list[Json]:
    return [{"index": index, "value": value, "op": f"SCMP_CMP_{operator}"}]


def _default() -> Json:
    rules = [_allow(names) for names in (_PROCESS, _SIGNAL, _MEMORY, _WAIT_AND_SHARE, _FILE, _NETWORK)]
    rules.append(_allow("process_vm_readv process_vm_writev ptrace", includes={"minKernel": "4.8"}))
    rules.append(_allow("socket", args=_argument(0, _FAMILIES_BELOW, "LT")))
    rules += [_allow("socket", args=_argument(0, family, "EQ")) for family in _FAMILIES]
    rules += [_allow("personality", args=_argument(0, value, "EQ")) for value in _PERSONALITIES]
    rules += [_allow(names, includes={"arches": list(arches)}) for arches, names in _ON_ARCHITECTURE.items()]
    rules += [_allow(names, includes={"caps": [name]}) for name, names in _WITH_CAPABILITY.items()]
    no_admin = {"caps": ["CAP_SYS_ADMIN"]}
    mask = "MASKED_EQ"
    swapped = ["s390", "s390x"]  # clone(2) takes its flags second there
    rules.append(_allow("clone", args=_argument(0, _NAMESPACE_FLAGS, mask), excludes={**no_admin, "arches": swapped}))
    rules.append(
        _allow("clone", args=_argument(1, _NAMESPACE_FLAGS, mask), includes={"arches": swapped}, excludes=no_admin)
    )
    # Its flags are behind a pointer: ENOSYS makes programs fall back to clone.
    rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS, "excludes": no_admin})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.EPERM,
        "archMap": [{"architecture": name, "subArchitectures": subs} for name, subs in _SUB_ARCHITECTURES.items()],
        "syscalls": rules,
    }


DEFAULT = _default()
"""Docker's default profile, in Docker's format."""


def parse(text: str) -> Json:
    """Return the profile that `text` holds (Docker's JSON). Raises `InvalidArgument` with dockerd's texts."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"Decoding seccomp profile failed: {error}") from error
    _check(document)
    return dict(document)


def resolve(document: Json, capabilities: frozenset[str], kernel: tuple[int, int], machine: str) -> Json | None:
    """Return the OCI ``linux.seccomp`` of a profile for a container; None if the profile says nothing at all.

    `capabilities` is the container's bounding set, `machine` the name that uname(2) gives.
    """
    if not document.get("defaultAction") and not document.get("syscalls"):
        return None
    arch, native = _MACHINES.get(machine, (machine, ""))
    architectures = list(document.get("architectures") or ())
    for entry in document.get("archMap") or ():
        if entry["architecture"] == native:
            architectures += [native, *(entry.get("subArchitectures") or ())]
    syscalls = []
    for rule in document.get("syscalls") or ():
        if _holds(rule, capabilities, kernel, arch):
            names = rule.get("names") or [rule["name"]]
            kept = {key: rule[key] for key in ("action", "errnoRet", "args") if rule.get(key) is not None}
            syscalls.append({"names": list(names), **kept})
    resolved: Json = {"defaultAction": document["defaultAction"], "architectures": architectures, "syscalls": syscalls}
    for key in ("defaultErrnoRet", "flags"):
        if document.get(key) is not None:
            resolved[key] = document[key]
    return resolved


def _holds(rule: Json, capabilities: frozenset[str], kernel: tuple[int, int], arch: str) -> bool:
    """Say whether a rule counts: every one of its `includes` must hold, and none of its `excludes`."""
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("arches") and arch not in includes["arches"]:
        return False
    if not capabilities.issuperset(includes.get("caps") or ()):
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    if arch in (excludes.get("arches") or ()):
        return False
    if not capabilities.isdisjoint(excludes.get("caps") or ()):
        return False
    return not (excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]))


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _check(document: Any) -> None:
    """Raise `InvalidArgument` unless the document has the form of a profile; values are the compiler's to check."""
    _expect(isinstance(document, dict), "a profile is an object")
    if document.get("architectures") and document.get("archMap"):
        raise InvalidArgument(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, "
            "use either 'architectures' or 'archMap'"
        )
    _expect(isinstance(document.get("defaultAction", ""), str), "defaultAction is a string")
    _expect(bool(document.get("defaultAction")) or not document.get("syscalls"), "there is no defaultAction")
    _expect(_strings(document.get("architectures") or []), "architectures is a list of strings")
    _expect(_number_or_none(document.get("defaultErrnoRet")), "defaultErrnoRet is a number")
    for entry in _objects(document.get("archMap"), "archMap"):
        _expect(isinstance(entry.get("architecture"), str), "architecture is a string")
        _expect(_strings(entry.get("subArchitectures") or []), "subArchitectures is a list of strings")
    for rule in _objects(document.get("syscalls"), "syscalls"):
        _check_rule(rule)


def _check_rule(rule: Json) -> None:
    if rule.get("name") and rule.get("names"):
        raise InvalidArgument(
            "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'"
        )
    names = rule.get("names") or [rule.get("name")]
    _expect(_strings(names) and all(names), "a rule names its system calls")
    _expect(isinstance(rule.get("action"), str), "action is a string")
    _expect(_number_or_none(rule.get("errnoRet")), "errnoRet is a number")
    for argument in _objects(rule.get("args"), "args"):
        numbers = (argument.get("index", 0), argument.get("value", 0), argument.get("valueTwo", 0))
        _expect(all(_is_number(number) for number in numbers), "index, value and valueTwo are numbers")
        _expect(isinstance(argument.get("op"), str), "op is a string")
    for filters in (rule.get("includes") or {}, rule.get("excludes") or {}):
        _expect(isinstance(filters, dict), "includes and excludes are objects")
        _expect(_strings(filters.get("caps") or []), "caps is a list of strings")
        _expect(_strings(filters.get("arches") or []), "arches is a list of strings")
        version = filters.get("minKernel", "0.0")
        parts = version.split(".") if isinstance(version, str) else []
        _expect(len(parts) == 2 and all(part.isdecimal() for part in parts), f"invalid kernel version {version!r}")


def _objects(value: Any, name: str) -> Iterable[Json]:
    value = value or []
    _expect(isinstance(value, list) and all(isinstance(item, dict) for item in value), f"{name} is a list of objects")
    return list(value)


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def _number_or_none(value: Any) -> bool:
    return value is None or _is_number(value)


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise InvalidArgument(f"Decoding seccomp profile failed: {what}")
