"""What a host configuration is when the user did not say: pure functions from what was asked to what is kept."""

from __future__ import annotations

import msgspec

from orlop.engine.config import EngineConfig
from orlop.model.api.container import HostConfig, LogConfig, RestartPolicy
from orlop.runtime import resources
from orlop.runtime.facts import HostFacts
from orlop.runtime.security import MASKED_PATHS, READONLY_PATHS

__all__ = ["fill", "network_mode"]


def fill(host: HostConfig, config: EngineConfig, facts: HostFacts) -> HostConfig:
    """Return `host` with the engine's defaults in the place of what is empty."""
    changes: dict[str, object] = {"network_mode": network_mode(host.network_mode)}
    if not host.ipc_mode:
        changes["ipc_mode"] = "private"
    if not host.cgroupns_mode:
        private = facts.cgroup_version == 2 and not host.privileged
        changes["cgroupns_mode"] = config.default_cgroupns_mode or ("private" if private else "host")
    if not host.shm_size and (host.ipc_mode or "private") in ("private", "shareable"):
        changes["shm_size"] = config.default_shm_size
    if not host.cgroup_parent:
        changes["cgroup_parent"] = config.cgroup_parent
    if not host.restart_policy.name:
        changes["restart_policy"] = RestartPolicy(
            name="no", maximum_retry_count=host.restart_policy.maximum_retry_count
        )
    if not host.log_config.type:
        options = {**config.log_options, **(host.log_config.config or {})}
        changes["log_config"] = LogConfig(type=config.log_driver, config=options)
    elif host.log_config.config is None:
        changes["log_config"] = msgspec.structs.replace(host.log_config, config={})
    if not host.runtime:
        changes["runtime"] = "runc"
    if host.init is None and config.init:
        changes["init"] = True
    unmasked = "systempaths=unconfined" in (host.security_opt or [])
    if host.masked_paths is None and not host.privileged:
        changes["masked_paths"] = [] if unmasked else list(MASKED_PATHS)
    if host.readonly_paths is None and not host.privileged:
        changes["readonly_paths"] = [] if unmasked else list(READONLY_PATHS)
    changes["security_opt"] = _security(host.security_opt)
    return resources.adapt(msgspec.structs.replace(host, **changes), facts)


def network_mode(mode: str) -> str:
    """Return the mode under which Docker ≥ 26 keeps the default network."""
    return "bridge" if mode in ("", "default") else mode


def _security(options: list[str] | None) -> list[str] | None:
    """``systempaths=unconfined`` is turned into empty path lists and is not kept."""
    if options is None:
        return None
    return [option for option in options if option != "systempaths=unconfined"] or None
