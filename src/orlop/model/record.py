"""The records that the store keeps: what Orlop knows of an object between two starts of the daemon.

Records are frozen; a change is a new record (`msgspec.structs.replace`) written in one transaction. Times are
nanoseconds since the epoch, 0 for never.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from orlop.model.api.container import ContainerConfig, EndpointSettings, HostConfig

__all__ = [
    "BuildStepRecord",
    "ContainerRecord",
    "ContainerState",
    "EndpointRecord",
    "EventRecord",
    "ImageRecord",
    "LastBuildRecord",
    "LayerRecord",
    "MountRecord",
    "PublishedPort",
    "Rootfs",
    "Status",
    "StepTrace",
    "VolumeRecord",
]

Status = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The base of all records."""


class MountRecord(Record, frozen=True, kw_only=True):
    """One mount of a container, resolved.

    `source` is a host path (bind; for a volume its ``_data`` directory), empty for tmpfs. `options` holds what else
    was asked: ``nocopy``, ``rbind``/``bind``, propagation, ``ro-recursive``…, or the data string of a tmpfs.
    """

    type: Literal["bind", "volume", "tmpfs"]
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    mode: str = ""
    rw: bool = True
    propagation: str = ""
    options: tuple[str, ...] = ()
    subpath: str = ""
    from_image: bool = False  # declared by the image's VOLUME or as an anonymous volume: gone with `rm -v`


class PublishedPort(Record, frozen=True, kw_only=True):
    """A port of a container that is reachable from outside: host address and port, container port, tcp|udp|sctp."""

    host_ip: str
    host_port: int
    container_port: int
    protocol: str


class EndpointRecord(Record, frozen=True, kw_only=True):
    """A container's end of a network, as it stands."""

    network: str  # name
    network_id: str
    endpoint_id: str
    ifname: str = "eth0"  # inside
    host_ifname: str = ""
    address: str = ""  # IPv4, no prefix
    prefix: int = 0
    gateway: str = ""
    address6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    mac: str = ""
    ports: tuple[PublishedPort, ...] = ()


class ContainerState(Record, frozen=True, kw_only=True):
    """Where in its life a container is. `boot_id` is the kernel's at the time of the start."""

    status: Status = "created"
    pid: int = 0
    shim_pid: int = 0
    boot_id: str = ""
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: int = 0
    finished_at: int = 0
    starting: bool = False  # a start was begun; found at the daemon's start it means that one was cut off


class ContainerRecord(Record, frozen=True, kw_only=True):
    """A container: its configuration, its state and what it holds."""

    id: str
    name: str  # without the leading slash
    created_at: int
    image_id: str  # sha256:…
    config: ContainerConfig
    host_config: HostConfig
    path: str = ""  # the program: first word of entrypoint + command
    args: tuple[str, ...] = ()
    networks: dict[str, EndpointSettings] = msgspec.field(default_factory=dict)  # asked for, by network name
    endpoints: tuple[EndpointRecord, ...] = ()  # held while it runs
    mounts: tuple[MountRecord, ...] = ()
    state: ContainerState = ContainerState()
    restart_count: int = 0
    stopped_by_user: bool = False
    platform: str = "linux"


class LayerRecord(Record, frozen=True, kw_only=True):
    """A layer as an image names it. `blob` is the digest of the kept (compressed) blob, `size` its bytes.

    `tar_size` is the bytes of the plain tar, 0 where that was not noted.
    """

    diff_id: str
    blob: str = ""
    media_type: str = ""
    size: int = 0
    unpacked_size: int = 0
    tar_size: int = 0


class ImageRecord(Record, frozen=True, kw_only=True):
    """An image of this store: named by the digest of its configuration, which stands in the content store."""

    id: str  # sha256:…, digest of the config blob
    created_at: int = 0
    manifest: str = ""  # digest of the manifest it came with, if any
    layers: tuple[LayerRecord, ...] = ()
    size: int = 0  # bytes of all unpacked layers, as docker counts
    architecture: str = ""
    os: str = "linux"
    variant: str = ""
    loaded_at: int = 0
    digests: tuple[str, ...] = ()  # name@sha256:…
    tagged_at: int = 0  # when a name was last given to it here
    removed: bool = False  # deleted by force while containers use it: kept for them, shown to nobody
    parent: str = ""  # id of the image whose container it was committed from


class VolumeRecord(Record, frozen=True, kw_only=True):
    """A named volume."""

    name: str
    created_at: int
    driver: str = "local"
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    options: dict[str, str] = msgspec.field(default_factory=dict)
    anonymous: bool = False


class EventRecord(Record, frozen=True, kw_only=True):
    """Something happened: one line of `docker events`."""

    time: int  # ns
    type: str
    action: str
    actor: str
    attributes: dict[str, str] = msgspec.field(default_factory=dict)


class Rootfs(Record, frozen=True, kw_only=True):
    """An overlay: `lower` directories, topmost first, a private upper and work directory, and mount options (k=v)."""

    lower: tuple[str, ...]
    upper: str
    work: str
    options: tuple[str, ...] = ()


class BuildStepRecord(Record, frozen=True, kw_only=True):
    """A step that was carried out, and what came of it: the build cache. It keeps its layer as an image does.

    `base` are the diff ids of the layers that its layer lies on, bottom first; none where it lies on any. `boot_id` is
    the kernel's while the layer may not be on the disk yet.
    """

    key: str  # sha256:…
    layer: LayerRecord
    base: tuple[str, ...] = ()
    description: str = ""
    kind: str = "regular"  # Docker's types of build cache: regular, source.local, exec.cachemount, …
    created_at: int = 0
    used_at: int = 0
    uses: int = 0
    seconds: float = 0.0  # what the work took
    boot_id: str = ""


class StepTrace(Record, frozen=True, kw_only=True):
    """A step of the last build of a target: what its key was made of.

    `parts` are the inputs by ``sort:name``; `files` names, for inputs that are many files, the list of these.
    """

    stage: str
    instruction: str
    text: str
    key: str
    parts: dict[str, str] = msgspec.field(default_factory=dict)
    files: dict[str, str] = msgspec.field(default_factory=dict)


class LastBuildRecord(Record, frozen=True, kw_only=True):
    """The last build of a target that went well, for telling what changed since."""

    name: str
    built_at: int
    steps: tuple[StepTrace, ...] = ()
