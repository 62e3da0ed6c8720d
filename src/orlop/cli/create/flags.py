"""The flags that `run` and `create` share: everything of a container's configuration."""

from __future__ import annotations

import os

from orlop.cli.create import values
from orlop.cli.create.mounts import parse_mount
from orlop.cli.create.networks import parse_network
from orlop.cli.flags import BOOL, INT, INT64, LIST, MAP, STRING, UINT16, UINT64, Flag, Kind, listed
from orlop.cli.kinds import BYTES, DECIMAL, DURATION, SWAP

__all__ = ["CONTAINER_FLAGS"]

Pairs = dict[str, str]


def _add_sysctl(pairs: Pairs, text: str) -> Pairs:
    name, _, value = values.sysctl(text).partition("=")
    return {**pairs, name: value}


def _add_ulimit(limits: dict[str, values.Json], text: str) -> dict[str, values.Json]:
    limit = values.ulimit(text)
    return {**limits, limit["Name"]: limit}


ATTACH = listed(values.attach)
ENVIRONMENT = listed(values.environment)
LABELS = listed(values.label)
SYSCTLS = Kind("map", _add_sysctl, dict, ())
ULIMITS = Kind("ulimit", _add_ulimit, dict, ())
THROTTLE_BYTES = listed(values.throttle_bytes)
THROTTLE_OPERATIONS = listed(values.throttle_operations)

CONTAINER_FLAGS = (
    # What runs
    Flag("attach", "a", ATTACH, "Connect STDIN, STDOUT or STDERR"),
    Flag("entrypoint", "", STRING, "Run this instead of the image's ENTRYPOINT"),
    Flag("env", "e", ENVIRONMENT, "Set an environment variable (NAME=value, or NAME to pass one on)"),
    Flag("env-file", "", LIST, "Read environment variables from a file"),
    Flag("hostname", "h", STRING, "Host name of the container"),
    Flag("domainname", "", STRING, "NIS domain name of the container"),
    Flag("interactive", "i", BOOL, "Keep STDIN open"),
    Flag("tty", "t", BOOL, "Give the container a terminal"),
    Flag("user", "u", STRING, "User, by name or number (user[:group])"),
    Flag("group-add", "", LIST, "Further groups of the user"),
    Flag("workdir", "w", STRING, "Working directory in the container"),
    Flag("init", "", BOOL, "Run an init process that passes signals on and reaps processes"),
    Flag("label", "l", LABELS, "Set a label (name=value)"),
    Flag("label-file", "", LIST, "Read labels from a file"),
    Flag("annotation", "", MAP, "Add an annotation for the OCI runtime", "map[]"),
    Flag("cidfile", "", STRING, "Write the container's ID to a file"),
    Flag("rm", "", BOOL, "Remove the container and its anonymous volumes when it exits"),
    Flag("restart", "", STRING, "When to restart the container: no, on-failure[:N], always, unless-stopped", "no"),
    Flag("stop-signal", "", STRING, "Signal that asks the container to stop"),
    Flag("stop-timeout", "", INT, "Seconds between the stop signal and SIGKILL"),
    # Networks
    Flag("network", "", listed(parse_network, "network"), "Connect to a network"),
    Flag("*net", "", listed(parse_network, "network"), "Connect to a network", store="network"),
    Flag("network-alias", "", LIST, "Further name of the container in the network"),
    Flag("*net-alias", "", LIST, "Further name of the container in the network", store="network_alias"),
    Flag("publish", "p", LIST, "Publish a port on the host ([[address:]port:]container port[/protocol])"),
    Flag("publish-all", "P", BOOL, "Publish all exposed ports on free ports of the host"),
    Flag("expose", "", LIST, "Expose a port or a range of ports"),
    Flag("link", "", listed(values.link), "Make another container known by a name"),
    Flag("link-local-ip", "", LIST, "Link-local address of the container"),
    Flag("ip", "", STRING, "IPv4 address of the container"),
    Flag("ip6", "", STRING, "IPv6 address of the container"),
    Flag("mac-address", "", STRING, "MAC address of the container"),
    Flag("add-host", "", listed(values.add_host), "Add a line to /etc/hosts (host:ip)"),
    Flag("dns", "", listed(values.address), "DNS server"),
    Flag("dns-option", "", LIST, "Option for the resolver"),
    Flag("*dns-opt", "", LIST, "Option for the resolver", store="dns_option"),
    Flag("dns-search", "", listed(values.dns_search), "DNS search domain"),
    # Files
    Flag("volume", "v", LIST, "Mount a directory of the host or a volume (source:target[:options])"),
    Flag("mount", "", listed(parse_mount, "mount"), "Mount something (type=…,source=…,target=…)"),
    Flag("tmpfs", "", LIST, "Mount a tmpfs (path[:options])"),
    Flag("volume-driver", "", STRING, "Driver of the volumes"),
    Flag("volumes-from", "", LIST, "Mount the volumes of another container"),
    Flag("read-only", "", BOOL, "Mount the root filesystem read-only"),
    Flag("storage-opt", "", LIST, "Option for the storage driver"),
    Flag("device", "", LIST, "Give the container a device of the host"),
    Flag("device-cgroup-rule", "", listed(values.device_rule), "Add a rule to the devices that may be used"),
    Flag("gpus", "", listed(values.gpus, "gpu-request"), "Give the container GPUs ('all' for all of them)"),
    Flag("use-api-socket", "", BOOL, "Mount the daemon's socket, with what is needed to log in"),
    # Security
    Flag("cap-add", "", LIST, "Add a capability"),
    Flag("cap-drop", "", LIST, "Take a capability away"),
    Flag("privileged", "", BOOL, "Give the container all privileges"),
    Flag("security-opt", "", LIST, "Security option (seccomp=FILE, apparmor=…, no-new-privileges, …)"),
    Flag("userns", "", STRING, "User namespace"),
    Flag("cgroupns", "", STRING, "Cgroup namespace (host, private)"),
    Flag("ipc", "", STRING, "IPC namespace"),
    Flag("pid", "", STRING, "PID namespace"),
    Flag("uts", "", STRING, "UTS namespace"),
    Flag("cgroup-parent", "", STRING, "Parent of the container's cgroup"),
    Flag("isolation", "", STRING, "Isolation technology"),
    Flag("runtime", "", STRING, "OCI runtime"),
    # Logs and health
    Flag("log-driver", "", STRING, "Driver of the log"),
    Flag("log-opt", "", LIST, "Option for the log driver"),
    Flag("health-cmd", "", STRING, "Command that checks the container's health"),
    Flag("health-interval", "", DURATION, "Time between checks (ms|s|m|h)", "0s"),
    Flag("health-retries", "", INT, "Failures in a row that mean unhealthy"),
    Flag("health-start-interval", "", DURATION, "Time between checks in the start period (ms|s|m|h)", "0s"),
    Flag("health-start-period", "", DURATION, "Time at the start in which failures do not count (ms|s|m|h)", "0s"),
    Flag("health-timeout", "", DURATION, "Longest time that a check may take (ms|s|m|h)", "0s"),
    Flag("no-healthcheck", "", BOOL, "Leave out the image's HEALTHCHECK"),
    # Resources
    Flag("memory", "m", BYTES, "Limit of memory"),
    Flag("memory-reservation", "", BYTES, "Memory that stays when the host runs short"),
    Flag("memory-swap", "", SWAP, "Limit of memory and swap together, -1 for none"),
    Flag("memory-swappiness", "", INT64, "How willingly memory is swapped (0 to 100)", "-1"),
    Flag("kernel-memory", "", BYTES, "Limit of kernel memory"),
    Flag("shm-size", "", BYTES, "Size of /dev/shm"),
    Flag("oom-kill-disable", "", BOOL, "Do not kill the container when memory runs out"),
    Flag("oom-score-adj", "", INT, "How soon the host kills the container (-1000 to 1000)"),
    Flag("pids-limit", "", INT64, "Most processes, -1 for no limit"),
    Flag("cpus", "", DECIMAL, "Number of CPUs"),
    Flag("cpu-shares", "c", INT64, "Share of CPU time"),
    Flag("cpu-period", "", INT64, "Period of the CPU quota in microseconds"),
    Flag("cpu-quota", "", INT64, "CPU time in a period, in microseconds"),
    Flag("cpu-rt-period", "", INT64, "Period of the real-time quota in microseconds"),
    Flag("cpu-rt-runtime", "", INT64, "Real-time CPU time in a period, in microseconds"),
    Flag("cpu-count", "", INT64, "Number of CPUs (Windows only)"),
    Flag("cpu-percent", "", INT64, "Percentage of CPUs (Windows only)"),
    Flag("cpuset-cpus", "", STRING, "CPUs to run on (0-3, 0,1)"),
    Flag("cpuset-mems", "", STRING, "Memory nodes to use (0-3, 0,1)"),
    Flag("blkio-weight", "", UINT16, "Share of block I/O, 10 to 1000, 0 for the default"),
    Flag("blkio-weight-device", "", listed(values.weight), "Share of one device's I/O", "[]"),
    Flag("device-read-bps", "", THROTTLE_BYTES, "Bytes a second read from a device", "[]"),
    Flag("device-read-iops", "", THROTTLE_OPERATIONS, "Reads a second from a device", "[]"),
    Flag("device-write-bps", "", THROTTLE_BYTES, "Bytes a second written to a device", "[]"),
    Flag("device-write-iops", "", THROTTLE_OPERATIONS, "Writes a second to a device", "[]"),
    Flag("io-maxbandwidth", "", BYTES, "Bandwidth of the system drive (Windows only)"),
    Flag("io-maxiops", "", UINT64, "Operations a second of the system drive (Windows only)"),
    Flag("ulimit", "", ULIMITS, "Limit of a process (name=soft[:hard])", "[]"),
    Flag("sysctl", "", SYSCTLS, "Kernel parameter of the container's namespaces", "map[]"),
    # The image
    Flag("name", "", STRING, "Name of the container"),
    Flag("platform", "", STRING, "Platform of the image", os.environ.get("DOCKER_DEFAULT_PLATFORM", "")),
    Flag("pull", "", STRING, 'When to pull the image ("always", "missing", "never")', "missing"),
    Flag("quiet", "q", BOOL, "Do not show the progress of a pull"),
    Flag("disable-content-trust", "", BOOL, "Do not verify the image's signature", "true"),
    Flag("help", "", BOOL, "Print usage"),
)
