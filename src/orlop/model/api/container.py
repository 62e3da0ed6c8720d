"""Bodies of the container routes (`/containers/…`), as a client sends them and as they are kept and shown again.

A field that a client may leave out has Go's zero value as default; a field whose absence means something else than
its zero value is ``None`` by default.
"""

from __future__ import annotations

import msgspec

from orlop.model.api.base import Body, Json

__all__ = [
    "BindOptions",
    "ContainerConfig",
    "ContainerCreate",
    "ContainerUpdate",
    "DeviceMapping",
    "DeviceRequest",
    "EndpointIPAMConfig",
    "EndpointSettings",
    "HealthConfig",
    "HostConfig",
    "ImageOptions",
    "LogConfig",
    "Mount",
    "NetworkingConfig",
    "PortBinding",
    "Resources",
    "RestartPolicy",
    "ThrottleDevice",
    "TmpfsOptions",
    "Ulimit",
    "VolumeDriverConfig",
    "VolumeOptions",
    "WeightDevice",
]


class HealthConfig(Body, frozen=True, kw_only=True, omit_defaults=True):
    """How to find out whether a container is well. Durations are in nanoseconds."""

    test: list[str] = []
    interval: int = 0
    timeout: int = 0
    retries: int = 0
    start_period: int = 0
    start_interval: int = 0


class ContainerConfig(Body, frozen=True, kw_only=True):
    """What runs in a container: the portable half of its configuration."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, Json | None] | None = None
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: list[str] | str | None = None
    healthcheck: HealthConfig | None = None
    args_escaped: bool = False
    image: str = ""
    volumes: dict[str, Json | None] | None = None
    working_dir: str = ""
    entrypoint: list[str] | str | None = None
    network_disabled: bool = False
    mac_address: str = ""
    on_build: list[str] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: list[str] | None = None


class WeightDevice(Body, frozen=True, kw_only=True):
    """The block I/O weight (10 to 1000) of one host device."""

    path: str = ""
    weight: int = 0


class ThrottleDevice(Body, frozen=True, kw_only=True):
    """A limit on one host device, in bytes or operations a second."""

    path: str = ""
    rate: int = 0


class DeviceMapping(Body, frozen=True, kw_only=True):
    """A host device that the container gets; permissions are of ``rwm``."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Body, frozen=True, kw_only=True):
    """A request to a device driver (GPUs)."""

    driver: str = ""
    count: int = 0
    device_ids: list[str] | None = msgspec.field(default=None, name="DeviceIDs")
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None


class Ulimit(Body, frozen=True, kw_only=True):
    """One resource limit (getrlimit(2)); -1 is unlimited."""

    name: str = ""
    soft: int = 0
    hard: int = 0


class RestartPolicy(Body, frozen=True, kw_only=True):
    """When a container that ended is started again: ``no``, ``always``, ``unless-stopped`` or ``on-failure``."""

    name: str = ""
    maximum_retry_count: int = 0


class LogConfig(Body, frozen=True, kw_only=True):
    """The log driver and its options."""

    type: str = ""
    config: dict[str, str] | None = None


class PortBinding(Body, frozen=True, kw_only=True):
    """The host's end of a published port; a port may be a range, an empty one is chosen by the engine."""

    host_ip: str = msgspec.field(default="", name="HostIp")
    host_port: str = ""


class BindOptions(Body, frozen=True, kw_only=True, omit_defaults=True):
    """Options of a bind mount."""

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class VolumeDriverConfig(Body, frozen=True, kw_only=True, omit_defaults=True):
    """The driver that makes a volume, and its options."""

    name: str = ""
    options: dict[str, str] | None = None


class VolumeOptions(Body, frozen=True, kw_only=True, omit_defaults=True):
    """Options of a volume mount."""

    no_copy: bool = False
    labels: dict[str, str] | None = None
    subpath: str = ""
    driver_config: VolumeDriverConfig | None = None


class ImageOptions(Body, frozen=True, kw_only=True, omit_defaults=True):
    """Options of an image mount."""

    subpath: str = ""


class TmpfsOptions(Body, frozen=True, kw_only=True, omit_defaults=True):
    """Options of a tmpfs mount: size in bytes, mode as an integer."""

    size_bytes: int = 0
    mode: int = 0
    options: list[list[str]] | None = None


class Mount(Body, frozen=True, kw_only=True, omit_defaults=True):
    """A mount as `--mount` asks for it."""

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None


class Resources(Body, frozen=True, kw_only=True):
    """The limits that can also be changed while a container runs (`docker update`). Memory is in bytes."""

    cpu_shares: int = 0
    memory: int = 0
    nano_cpus: int = 0
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = msgspec.field(default=None, name="BlkioDeviceReadIOps")
    blkio_device_write_iops: list[ThrottleDevice] | None = msgspec.field(default=None, name="BlkioDeviceWriteIOps")
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceMapping] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None
    kernel_memory: int = 0
    kernel_memory_tcp: int = msgspec.field(default=0, name="KernelMemoryTCP")
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    pids_limit: int | None = None
    ulimits: list[Ulimit] | None = None
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: int = msgspec.field(default=0, name="IOMaximumIOps")
    io_maximum_bandwidth: int = 0


class HostConfig(Resources, frozen=True, kw_only=True):
    """How a container stands on its host: the other half of its configuration."""

    binds: list[str] | None = None
    container_id_file: str = msgspec.field(default="", name="ContainerIDFile")
    log_config: LogConfig = LogConfig()
    network_mode: str = ""
    port_bindings: dict[str, list[PortBinding] | None] | None = None
    restart_policy: RestartPolicy = RestartPolicy()
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    mounts: list[Mount] | None = None
    console_size: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    annotations: dict[str, str] | None = None
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    cgroupns_mode: str = ""
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] | None = None
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: dict[str, str] | None = None
    tmpfs: dict[str, str] | None = None
    uts_mode: str = ""
    userns_mode: str = ""
    shm_size: int = 0
    sysctls: dict[str, str] | None = None
    runtime: str = ""
    isolation: str = ""
    init: bool | None = None
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None


class EndpointIPAMConfig(Body, frozen=True, kw_only=True, omit_defaults=True):
    """Addresses that a client asks for."""

    ipv4_address: str = ""
    ipv6_address: str = ""
    link_local_ips: list[str] | None = None


class EndpointSettings(Body, frozen=True, kw_only=True):
    """A container's end of one network: what was asked and, in answers, what is."""

    ipam_config: EndpointIPAMConfig | None = None
    links: list[str] | None = None
    aliases: list[str] | None = None
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None
    gw_priority: int = 0
    network_id: str = ""
    endpoint_id: str = ""
    gateway: str = ""
    ip_address: str = ""
    ip_prefix_len: int = 0
    ipv6_gateway: str = ""
    global_ipv6_address: str = ""
    global_ipv6_prefix_len: int = 0
    dns_names: list[str] | None = msgspec.field(default=None, name="DNSNames")


class NetworkingConfig(Body, frozen=True, kw_only=True):
    """The networks that a container is connected to when it is created."""

    endpoints_config: dict[str, EndpointSettings | None] | None = None


class ContainerCreate(ContainerConfig, frozen=True, kw_only=True):
    """The body of `POST /containers/create`."""

    host_config: HostConfig | None = None
    networking_config: NetworkingConfig | None = None


class ContainerUpdate(Resources, frozen=True, kw_only=True):
    """The body of `POST /containers/{id}/update`."""

    restart_policy: RestartPolicy | None = None
