"""What an engine is told when it opens: the daemon's flags and ``daemon.json``, checked and typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from orlop.build.policy import BuilderGC
from orlop.model.api.container import Ulimit

__all__ = ["EngineConfig"]


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """The settings of one engine. Empty strings and zeroes mean "the engine's choice"."""

    data_root: Path = Path("/var/lib/orlop")
    exec_root: Path = Path("/run/orlop")
    bridge: str = ""  # -b; "none" for no default bridge
    bip: str = ""
    fixed_cidr6: str = ""
    ipv6: bool = False
    mtu: int = 0
    icc: bool = True
    ip_forward: bool = True
    ip_masq: bool = True
    default_ip: str = ""  # --ip
    dns: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    default_ulimits: dict[str, Ulimit] = field(default_factory=dict)
    default_shm_size: int = 64 << 20
    default_cgroupns_mode: str = ""
    cgroup_parent: str = ""
    init: bool = False
    init_path: str = ""
    log_driver: str = "json-file"
    log_options: dict[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    no_new_privileges: bool = False
    seccomp_profile: str = ""  # a file, "builtin" or "unconfined"
    shutdown_timeout: int = 15
    debug: bool = False
    trace: bool = False
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    max_concurrent_downloads: int = 3  # layers at once, 0 for any number
    max_concurrent_uploads: int = 5
    max_download_attempts: int = 5
    hosts: tuple[str, ...] = ()
    builder_gc: BuilderGC = field(default_factory=BuilderGC)
    build_insecure: bool = False  # steps of builds may ask for `--security=insecure`
