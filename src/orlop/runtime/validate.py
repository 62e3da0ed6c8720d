"""Check a configuration as dockerd does, with its texts: whether it makes sense, alone and on this machine.

Every field of ``HostConfig`` is applied somewhere or refused or warned of here. What needs the daemon's own
knowledge (other containers, volumes, ports, networks) is the engine's to check.
"""

from __future__ import annotations

from orlop.errors import Conflict, InvalidArgument
from orlop.formats import regexp
from orlop.formats.units import parse_decimal_size
from orlop.model.api.container import ContainerConfig, ContainerUpdate, HostConfig, LogConfig, RestartPolicy
from orlop.model.record import ContainerRecord
from orlop.runtime import devices, limits, mounts, namespaces, process, security, sysctls
from orlop.runtime.facts import HostFacts

__all__ = ["LOG_DRIVERS", "RUNTIMES", "validate", "validate_update"]

RUNTIMES = ("", "orlop", "runc", "io.containerd.runc.v2")
"""Names of the one runtime there is; clients that follow Docker's defaults send the last two."""

LOG_DRIVERS = ("", "json-file", "local", "none")
"""Names that the one journal there is goes by, as Docker's drivers are asked for; the first is the daemon's default."""

_LOG_OPTIONS = frozenset(
    ("max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size")
)
_MAX_LOG_FILES = 10_000
_MAX_CONSOLE = 0xFFFF
_MILLISECOND = 1_000_000


def validate(config: ContainerConfig, host: HostConfig, facts: HostFacts) -> list[str]:
    """Return warnings. Raises `InvalidArgument`."""
    _config(config)
    if host.auto_remove and host.restart_policy.name not in ("", "no"):
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
    _restart_policy(host.restart_policy)
    security.check(host)
    namespaces.check(config, host)
    warnings = limits.check(host, facts)
    _host(host)
    process.check_ulimits(host.ulimits)
    devices.check(host)
    mounts.check(host)
    sysctls.check(host.sysctls, namespaces.plan(host, _joined(host)), domainname=bool(config.domainname))
    return [*warnings, *_warnings(host, facts)]


def validate_update(record: ContainerRecord, update: ContainerUpdate, facts: HostFacts) -> list[str]:
    """Return warnings. Raises `InvalidArgument` for limits that are wrong, alone or beside those that stand.

    Raises `Conflict` for a restart policy of a container that is removed when it ends.
    """
    warnings = limits.check(update, facts, update=True)
    if update.restart_policy is not None:
        _restart_policy(update.restart_policy)
        if record.host_config.auto_remove and update.restart_policy.name not in ("", "no"):
            raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
    stands = record.host_config
    if update.nano_cpus and (stands.cpu_period or stands.cpu_quota):
        conflict = "Period" if stands.cpu_period else "Quota"
        raise InvalidArgument(
            f"Conflicting options: Nano CPUs cannot be updated as CPU {conflict} has already been set"
        )
    for asked, name in ((update.cpu_period, "Period"), (update.cpu_quota, "Quota")):
        if asked and stands.nano_cpus:
            raise InvalidArgument(f"Conflicting options: CPU {name} cannot be updated as NanoCPUs has already been set")
    swap = update.memory_swap or stands.memory_swap
    if update.memory > 0 and swap not in (0, -1) and update.memory > swap:
        raise InvalidArgument(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    if update.memory_swap > 0 and not update.memory and update.memory_swap < stands.memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    return warnings


def _config(config: ContainerConfig) -> None:
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidArgument(
            f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path"
        )
    for variable in config.env or ():
        if not variable or variable.startswith("="):
            raise InvalidArgument(f"invalid environment variable: {variable}")
        if "\0" in variable:
            raise InvalidArgument("invalid environment variable: it contains a NUL byte")
    health = config.healthcheck
    if health is None:
        return
    durations = (
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    )
    for name, duration in durations:
        if duration and duration < _MILLISECOND:
            raise InvalidArgument(f"{name} in Healthcheck cannot be less than 1ms")
    if health.retries < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")


def _restart_policy(policy: RestartPolicy) -> None:
    count = policy.maximum_retry_count
    match policy.name:
        case "always" | "unless-stopped" | "no":
            if count:
                text = "invalid restart policy: maximum retry count can only be used with 'on-failure'"
                raise InvalidArgument(text + (" and cannot be negative" if count < 0 else ""))
        case "on-failure":
            if count < 0:
                raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
        case "":
            if count:
                raise InvalidArgument("invalid restart policy: maximum retry count can only be used with 'on-failure'")
        case name:
            raise InvalidArgument(
                f"invalid restart policy: unknown policy '{name}'; "
                "use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            )


def _host(host: HostConfig) -> None:
    if host.isolation.lower() not in ("", "default"):
        raise InvalidArgument(f"Invalid isolation: \"{host.isolation}\" - linux only supports 'default'")
    if host.shm_size < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    if not -1000 <= host.oom_score_adj <= 1000:
        raise InvalidArgument(f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    if "" in (host.annotations or {}):
        raise InvalidArgument("invalid Annotations: the empty string is not permitted as an annotation key")
    if host.runtime not in RUNTIMES:
        raise InvalidArgument(f"unknown or invalid runtime name: {host.runtime}")
    if host.cgroup:
        raise InvalidArgument(f"invalid cgroup mode: {host.cgroup}")
    parts = host.cgroup_parent.split("/")
    if ".." in parts or not host.cgroup_parent.isprintable() or max(map(len, parts)) > 255 or len(parts) > 32:
        raise InvalidArgument(f"invalid cgroup parent: {host.cgroup_parent}")
    if len(host.console_size) != 2 or not all(0 <= size <= _MAX_CONSOLE for size in host.console_size):
        raise InvalidArgument("invalid console size")
    _log(host.log_config)
    for name in host.storage_opt or {}:
        if name.lower() == "size":
            raise InvalidArgument("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
        raise InvalidArgument(f"Unknown option {name}")


def _log(config: LogConfig) -> None:
    if config.type not in LOG_DRIVERS:
        raise InvalidArgument(f"logger: no log driver named '{config.type}' is registered")
    for name, value in (config.config or {}).items():
        if name not in _LOG_OPTIONS:
            raise InvalidArgument(f"unknown log opt '{name}' for {config.type or LOG_DRIVERS[1]} log driver")
        if name in ("labels-regex", "env-regex"):
            _expression(name, value)
        if name == "max-size" and value != "-1":
            parse_decimal_size(value)
        if name == "max-file" and not (value.isascii() and value.isdigit() and 0 < int(value) <= _MAX_LOG_FILES):
            raise InvalidArgument(f"invalid max-file: '{value}'")


def _expression(name: str, value: str) -> None:
    try:
        regexp.check(value)
    except regexp.BadExpression as error:
        raise InvalidArgument(f"invalid log opt '{name}': {error}") from None


def _joined(host: HostConfig) -> dict[str, str]:
    """Return the namespaces that are another container's, with a path that stands for any."""
    modes = {"network": host.network_mode, "pid": host.pid_mode, "ipc": host.ipc_mode}
    return {kind: mode for kind, mode in modes.items() if namespaces.connected_container(mode)}


def _warnings(host: HostConfig, facts: HostFacts) -> list[str]:
    warnings = []
    if host.network_mode == "host" and host.port_bindings:
        warnings.append("Published ports are discarded when using host network mode")
    if host.cgroupns_mode == "private" and not facts.cgroup_namespaces:
        warnings.append("Your kernel does not support cgroup namespaces.  Cgroup namespace setting discarded.")
    return warnings
