"""Image configurations (image-spec config.md, with Docker's additions): validated when they come in, cached after.

The bytes of a configuration are never changed: their digest is the image's id.
"""

from __future__ import annotations

from typing import Any

import msgspec

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.formats.duration import parse_rfc3339

__all__ = ["MAX_CONFIG", "MAX_LAYERS", "History", "ImageConfig", "Runtime", "parse_config"]

MAX_CONFIG = 8 << 20
MAX_LAYERS = 499
"""More layers than that the kernel does not stack."""


class _Health(msgspec.Struct, rename="pascal"):
    test: list[str] | None = None
    interval: int | None = None
    timeout: int | None = None
    start_period: int | None = None
    start_interval: int | None = None
    retries: int | None = None


class Runtime(msgspec.Struct, rename="pascal"):
    """The ``config`` object: defaults of containers."""

    hostname: str | None = None
    domainname: str | None = None
    user: str | None = None
    exposed_ports: dict[str, dict[str, Any] | None] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, dict[str, Any] | None] | None = None
    working_dir: str | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None
    stop_timeout: int | None = None
    args_escaped: bool | None = None
    healthcheck: _Health | None = None
    on_build: list[str] | None = None
    shell: list[str] | None = None


class History(msgspec.Struct):
    """How a layer came to be."""

    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


class _RootFS(msgspec.Struct):
    type: str = "layers"
    layers: list[str] | None = msgspec.field(default=None, name="diff_ids")

    @property
    def diff_ids(self) -> list[str]:
        """The digests of the layers' tars, bottom first."""
        return self.layers or []


class ImageConfig(msgspec.Struct):
    """The parts of a configuration that Orlop looks at."""

    architecture: str = ""
    os: str = ""
    variant: str | None = None
    os_version: str | None = msgspec.field(default=None, name="os.version")
    created: str | None = None
    author: str | None = None
    comment: str | None = None
    docker_version: str | None = None
    config: Runtime | None = None
    rootfs: _RootFS = msgspec.field(default_factory=_RootFS)
    history: list[History] | None = None

    @property
    def created_at(self) -> int:
        """When it was made, in ns; 0 if it does not say."""
        return _time(self.created)

    @property
    def labels(self) -> dict[str, str]:
        return (self.config.labels if self.config else None) or {}


_decoder = msgspec.json.Decoder(ImageConfig)


def parse_config(data: bytes) -> ImageConfig:
    """Parse and check a configuration. Raises `InvalidArgument`."""
    try:
        config = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"invalid image configuration: {error}") from None
    if config.rootfs.type != "layers":
        raise InvalidArgument(f"invalid image configuration: rootfs of type {config.rootfs.type!r}")
    if config.os not in ("", "linux"):
        raise InvalidArgument(f'image operating system "{config.os}" cannot be used on this platform')
    if len(config.rootfs.diff_ids) > MAX_LAYERS:
        raise InvalidArgument(f"max depth exceeded: the image has more than {MAX_LAYERS} layers")
    for diff_id in config.rootfs.diff_ids:
        Digest.parse(diff_id)
    return config


def _time(text: str | None) -> int:
    if not text:
        return 0
    try:
        return parse_rfc3339(text)
    except InvalidArgument:
        return 0
