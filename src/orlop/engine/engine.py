"""The engine: all parts of one instance, opened in order and closed in reverse.

An engine is one data root. It is made of parts that do not know each other (store, images, snapshots, runtime, network,
volumes) and of use cases (`orlop.engine.containers`, `.images`, `.volumes`, `.system`) that join them. It belongs to
one event loop; `closing` is set once, when the daemon goes down, and containers run on.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orlop.build.cache import Cache
from orlop.engine import reconcile, revival
from orlop.engine.background import Background
from orlop.engine.config import EngineConfig
from orlop.engine.containers import health
from orlop.engine.containers.registry import Registry
from orlop.engine.containers.supervise import Supervisor
from orlop.engine.events import Events
from orlop.errors import Error, Internal, InvalidArgument
from orlop.formats import identity
from orlop.image.fetch import Fetches
from orlop.image.images import Images
from orlop.image.slots import Slots
from orlop.image.snapshots.overlay import OverlaySnapshots
from orlop.linux import cgroup
from orlop.linux.seccomp import profile
from orlop.model.api.container import HostConfig
from orlop.model.record import ContainerRecord
from orlop.network.drivers.bridge import BridgeDriver
from orlop.network.network import BridgeOptions
from orlop.runtime import apparmor, security
from orlop.runtime.attach import Parking
from orlop.runtime.facts import HostFacts, read_facts
from orlop.runtime.native import NativeRuntime
from orlop.store.store import Store
from orlop.volume.local import LocalVolumes

if TYPE_CHECKING:
    from orlop.engine.builds.builds import Builds

__all__ = ["Engine"]

log = logging.getLogger(__name__)

DEFAULT_BRIDGE = "orlop0"


class Engine:
    """One instance of Orlop. Made by `open`, ended by `close`."""

    config: EngineConfig
    instance: str  # 6 hex characters, part of every name that the kernel is given
    facts: HostFacts
    store: Store
    build_cache: Cache
    _builds: Builds | None = None
    images: Images
    uploads: Slots  # layers that are uploaded at once
    fetches: Fetches
    snapshots: OverlaySnapshots
    containers: Registry
    supervisor: Supervisor
    runtime: NativeRuntime
    parking: Parking
    bridge: BridgeDriver | None
    volumes: LocalVolumes
    events: Events
    seccomp_profile: dict[str, Any] | None  # the daemon's own, in Docker's format; None for the built-in one
    closing = False

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.checking = asyncio.Lock()  # held while the store is being checked
        self._background = Background()
        self._parts = contextlib.AsyncExitStack()

    @classmethod
    async def open(cls, config: EngineConfig) -> Engine:
        """Open every part and take back what a previous engine left running.

        Raises `errors.Error` with what is missing; nothing stays open then.
        """
        engine = cls(config)
        try:
            await engine._open()
        except BaseException:
            await engine.close()
            raise
        return engine

    async def _open(self) -> None:
        config, parts = self.config, self._parts
        self.instance = _instance(config.data_root)
        for directory in (config.data_root / "containers", config.data_root / "tmp", config.exec_root / "c"):
            directory.mkdir(mode=0o710, parents=True, exist_ok=True)
        await asyncio.to_thread(self._load_apparmor)
        self.facts = await asyncio.to_thread(read_facts)
        self.seccomp_profile = _seccomp_profile(config.seccomp_profile)
        self.store = await Store.open(config.data_root / "orlop.db")
        parts.push_async_callback(self.store.close)
        self.events = await Events.open(self.store)
        parts.push_async_callback(self.events.close)
        self.build_cache = await Cache.open(self.store)
        self.images = await Images.open(config.data_root, self.store, keep=self.build_cache.names)
        parts.push_async_callback(self.images.close)
        await self.build_cache.sift(self.images)
        parts.push_async_callback(self._settle_build_cache)
        self.fetches = Fetches(
            self.images.depot,
            self.images.partials,
            concurrency=config.max_concurrent_downloads,
            attempts=config.max_download_attempts,
        )
        parts.push_async_callback(self.fetches.close)
        self.uploads = Slots(config.max_concurrent_uploads)
        self.snapshots = OverlaySnapshots(config.data_root, self.images.layers)
        self.volumes = LocalVolumes(config.data_root, self.store)
        await self.volumes.open()
        parts.push_async_callback(self.volumes.close)
        self.containers = Registry(self.store, self.spawn)
        await self.containers.load()
        await self.release_images()
        self.supervisor = Supervisor(self)
        self.parking = Parking()
        parts.callback(self.parking.close)
        self.runtime = NativeRuntime(config.exec_root, self.supervisor, self._kill_rest)
        await self.runtime.open()
        parts.push_async_callback(self.runtime.close)
        await reconcile.adopt(self)
        self.bridge = await self._open_bridge()
        if self.bridge:
            parts.push_async_callback(self.bridge.close)
        await reconcile.sweep(self)
        parts.push_async_callback(self._background.close)
        parts.push_async_callback(self._close_builds)
        parts.callback(health.end_all, self)
        revival.restart_wanted(self)
        self.spawn(asyncio.to_thread(self._compile_seccomp), "compiling the seccomp profile")

    async def _open_bridge(self) -> BridgeDriver | None:
        config = self.config
        if config.bridge == "none":
            return None
        options = BridgeOptions(
            instance=self.instance,
            name=config.bridge or DEFAULT_BRIDGE,
            own=not config.bridge,
            network_id=self.network_id("bridge"),
            address=config.bip,
            mtu=config.mtu,
            default_ip=config.default_ip,
            ipv6=config.ipv6,
            fixed_cidr6=config.fixed_cidr6,
            icc=config.icc,
            masquerade=config.ip_masq,
            ip_forward=config.ip_forward,
        )
        driver = BridgeDriver(options)
        live = [container for container in self.containers if container.task]
        await driver.open([endpoint for container in live for endpoint in container.record.endpoints])
        for container in live:
            for endpoint in container.record.endpoints:
                await driver.adopt(endpoint, container.state.shim_pid)
        return driver

    def reconfigure(self, config: EngineConfig) -> None:
        """Take over what of `config` may change while the engine is open."""
        self.config = config
        self.fetches.slots.resize(config.max_concurrent_downloads)
        self.fetches.attempts = config.max_download_attempts
        self.uploads.resize(config.max_concurrent_uploads)

    async def close(self) -> None:
        """Let go of everything; containers run on under their shims."""
        self.closing = True
        await self._parts.aclose()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[None]:
        """Run `work` beside the answers; it ends with the engine, and what it raises is logged under `name`."""
        return self._background.spawn(work, name)

    def directory(self, container_id: str) -> Path:
        """Return a container's directory under the data root."""
        return self.config.data_root / "containers" / container_id

    def cgroup_path(self, record: ContainerRecord) -> str:
        """Return the path of a container's cgroup below the root of each hierarchy."""
        parent = record.host_config.cgroup_parent
        if parent:
            return f"/{parent.strip('/')}/orlop-{self.instance}-{record.id}"
        return f"/orlop-{self.instance}/{record.id}"

    @property
    def builds(self) -> Builds:
        """What serves builds. It is loaded by the first of them, so that a daemon without any starts sooner."""
        if self._builds is None:
            from orlop.engine.builds.builds import Builds

            self._builds = Builds(self)
        return self._builds

    async def _close_builds(self) -> None:
        if self._builds is not None:
            await self._builds.close()

    async def _settle_build_cache(self) -> None:
        """Bring to the disk what builds that failed have finished, so that it survives the machine's going down."""
        try:
            await self.build_cache.settle(self.images.sync)
        except (Error, OSError) as error:
            log.warning("finished steps of builds are not on the disk: %s", error)

    def _load_apparmor(self) -> None:
        try:
            apparmor.load_default()
        except Error as error:
            log.warning("containers run without AppArmor: %s", error)

    def _compile_seccomp(self) -> None:
        """Compile the default container's seccomp program (30 to 50 ms) before the first start needs it."""
        profile = security.seccomp(HostConfig(), self.facts, self.seccomp_profile)
        if profile is not None:
            security.compiled(profile)

    async def release_images(self) -> None:
        """Free the images that were removed by force and that no container needs any more."""
        await self.images.release({container.record.image_id for container in self.containers})

    def _kill_rest(self, container_id: str) -> None:
        """Kill whatever runs in a container's cgroup; runs in a thread, when its shim died."""
        container, guest = self.containers.get(container_id), self.supervisor.guests.get(container_id)
        if container:
            cgroup.open_cgroup(self.cgroup_path(container.record)).kill()
        elif guest:
            cgroup.open_cgroup(guest.cgroup_path).kill()

    def network_id(self, name: str) -> str:
        """Return the id of a predefined network: the same for the life of the data root."""
        return hashlib.sha256(f"{self.instance}/{name}".encode()).hexdigest()


def _instance(data_root: Path) -> str:
    """Return the data root's instance id, made at its first use."""
    path = data_root / "instance"
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        data_root.mkdir(mode=0o710, parents=True, exist_ok=True)
        text = identity.new_instance_id()
        fresh = path.with_suffix(".new")
        fresh.write_text(text + "\n")
        fresh.rename(path)
    if len(text) != 6 or any(char not in "0123456789abcdef" for char in text):
        raise Internal(f"{path} does not hold an instance id (6 hexadecimal characters)")
    return text


def _seccomp_profile(setting: str) -> dict[str, Any] | None:
    """Return the daemon's seccomp profile: that of a file, an empty one for "unconfined", None for the built-in one."""
    if setting in ("", "builtin", "default"):
        return None
    if setting == "unconfined":
        return {}
    try:
        return profile.parse(Path(setting).read_text())
    except OSError as error:
        raise InvalidArgument(f"opening seccomp profile ({setting}) failed: {error.strerror}") from None
