"""What is mounted where in a container: ``-v``, ``--mount``, ``--tmpfs``, ``--volumes-from`` and the image's volumes.

Pure: data in, a list of `MountRequest` out, with dockerd's errors. Mounts and binds win over what comes from other
containers, and that over the volumes of the image. The engine then

- creates the source of a bind that has `create_source` set and is missing, and refuses another one that is missing
  with `missing_source`;
- creates the volumes (a request without a name is for an anonymous one), populates those that have `copy` set, and
  checks the type of what an image volume hides ("cannot mount volume over existing file, file exists /x");
- makes the `MountRecord`s; those that come from other containers are in the requests already.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from orlop.errors import InvalidArgument
from orlop.model.api.container import HostConfig, Mount
from orlop.model.record import MountRecord
from orlop.volume.modes import PROPAGATIONS, MountMode
from orlop.volume.tmpfs import check_tmpfs_options, tmpfs_options

__all__ = ["MountRequest", "VolumesFrom", "missing_source", "resolve", "volumes_from"]


@dataclass(frozen=True, slots=True)
class MountRequest:
    """One mount as asked for.

    `source` is a host path (bind); `name`, `driver`, `driver_options` and `labels` are a volume's; `options` are those
    of a `MountRecord`. `inherited` is the record to take over, with `rw` changed where that was asked.
    """

    type: str
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    driver_options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    mode: str = ""
    rw: bool = True
    propagation: str = ""
    copy: bool = False
    subpath: str = ""
    options: tuple[str, ...] = ()
    create_source: bool = False
    inherited: MountRecord | None = None

    @property
    def anonymous(self) -> bool:
        """Whether the volume is nobody's, and is gone with its last container by ``rm -v``."""
        return self.type == "volume" and not self.name


@dataclass(frozen=True, slots=True)
class VolumesFrom:
    """A container whose mounts are to be taken over, as far as nothing else is mounted there."""

    container: str
    rw: bool


def volumes_from(host_config: HostConfig) -> list[VolumesFrom]:
    """Return the containers that ``--volumes-from`` names."""
    return [_volumes_from(text) for text in host_config.volumes_from or ()]


def resolve(
    host_config: HostConfig,
    volumes: Iterable[str] = (),
    inherited: Sequence[tuple[VolumesFrom, Sequence[MountRecord]]] = (),
) -> list[MountRequest]:
    """Return the mounts of a container, outer ones first.

    `volumes` are the paths of the image's volumes and of ``-v /path`` (``Config.Volumes``, merged); `inherited` holds
    the records of each container of `volumes_from`. Raises `InvalidArgument`.
    """
    chosen: dict[str, MountRequest] = {}
    for source, records in inherited:
        for record in records:
            chosen[record.destination] = _inherit(record, source.rw)
    taken = set()
    for request in _asked(host_config):
        if request.destination in taken:
            raise InvalidArgument(f"Duplicate mount point: {request.destination}")
        taken.add(request.destination)
        chosen[request.destination] = request
    for path in volumes:
        destination = _destination(path, Mount(type="volume"))
        if destination not in chosen:
            driver = host_config.volume_driver
            chosen[destination] = MountRequest(type="volume", destination=destination, driver=driver, copy=True)
    return sorted(chosen.values(), key=lambda request: request.destination.count("/"))


def missing_source(path: str) -> InvalidArgument:
    """Return the error for a bind whose source is missing and is not to be created."""
    return InvalidArgument(f'invalid mount config for type "bind": bind source path does not exist: {path}')


def _asked(host_config: HostConfig) -> list[MountRequest]:
    binds = [_parse_bind(text, host_config.volume_driver) for text in host_config.binds or ()]
    mounts = [_parse_mount(mount, host_config.volume_driver) for mount in host_config.mounts or ()]
    tmpfs = [_parse_tmpfs(path, options) for path, options in (host_config.tmpfs or {}).items()]
    return binds + mounts + tmpfs


def _volumes_from(text: str) -> VolumesFrom:
    if not text:
        raise InvalidArgument("volumes-from specification cannot be an empty string")
    container, separator, mode_text = text.partition(":")
    mode = MountMode.parse(mode_text) if separator else MountMode()
    if mode is None or mode.propagation or mode.nocopy:
        raise InvalidArgument(f"invalid mode: {mode_text}")
    return VolumesFrom(container, mode.rw)


def _inherit(record: MountRecord, rw: bool) -> MountRequest:
    return MountRequest(
        type=record.type,
        destination=record.destination,
        source=record.source,
        name=record.name,
        driver=record.driver,
        mode=record.mode,
        rw=record.rw and rw,
        propagation=record.propagation,
        subpath=record.subpath,
        options=record.options,
        inherited=record,
    )


def _parse_bind(text: str, volume_driver: str) -> MountRequest:
    """Read ``[source:]destination[:mode]``: an absolute source is a host path, another one a volume's name."""
    invalid = f"invalid volume specification: '{text}'"
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise InvalidArgument(invalid)
    if len(parts) == 2 and MountMode.parse(parts[1]) is not None:
        raise InvalidArgument(invalid)  # a volume without a source has no mode: /data:ro
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    mode_text = parts[2] if len(parts) == 3 else ""
    mode = MountMode.parse(mode_text)
    if mode is None:
        raise InvalidArgument(f"invalid mode: {mode_text}")
    bind = source.startswith("/")
    try:
        destination = _destination(target, Mount(type="bind" if bind else "volume"))
    except InvalidArgument as error:
        raise InvalidArgument(f"{invalid}: {error.message}") from None
    if bind:
        return MountRequest(
            type="bind",
            destination=destination,
            source=clean_path(source),
            mode=mode_text,
            rw=mode.rw,
            propagation=mode.propagation or "rprivate",
            options=("rbind",),
            create_source=True,
        )
    return MountRequest(
        type="volume",
        destination=destination,
        name=source,
        driver=volume_driver,
        mode=mode_text or "z",
        rw=mode.rw,
        propagation=mode.propagation,
        copy=not mode.nocopy,
        options=("nocopy",) if mode.nocopy else (),
    )


def _parse_tmpfs(path: str, options: str) -> MountRequest:
    if clean_path(path) == "/":
        raise InvalidArgument("invalid specification: destination can't be '/'")
    if not path.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{path}' mount path must be absolute")
    parsed = tuple(option for option in options.split(",") if option)
    check_tmpfs_options(parsed)
    return MountRequest(type="tmpfs", destination=clean_path(path), rw="ro" not in parsed, options=parsed)


def _parse_mount(mount: Mount, volume_driver: str) -> MountRequest:
    if not mount.target:
        raise _invalid(mount, "field Target must not be empty")
    destination = _destination(mount.target, mount)
    request = MountRequest(type=mount.type, destination=destination, rw=not mount.read_only)
    if mount.type == "bind":
        return _parse_bind_mount(mount, request)
    if mount.type == "volume":
        return _parse_volume_mount(mount, request, volume_driver)
    if mount.type == "tmpfs":
        _refuse_fields(mount, "BindOptions", "VolumeOptions", "ImageOptions", "Source")
        try:
            options = tmpfs_options(mount.tmpfs_options, mount.read_only)
        except InvalidArgument as error:
            raise _invalid(mount, error.message) from None
        return replace(request, options=options)
    if mount.type in ("image", "cluster", "npipe"):
        raise _invalid(mount, f"mounts of type {mount.type} are not supported by this version of Orlop")
    raise _invalid(mount, "mount type unknown")


def _parse_bind_mount(mount: Mount, request: MountRequest) -> MountRequest:
    if not mount.source:
        raise _invalid(mount, "field Source must not be empty")
    options = mount.bind_options
    if options is not None and options.propagation and options.propagation not in PROPAGATIONS:
        raise _invalid(mount, f"invalid propagation mode: {options.propagation}")
    _refuse_fields(mount, "VolumeOptions", "ImageOptions")
    if not mount.source.startswith("/"):
        raise _invalid(mount, f"invalid mount path: '{mount.source}' mount path must be absolute")
    words = ["rbind"]
    if options is not None:
        if options.non_recursive:
            words = ["bind"]
        words += _read_only_words(mount)
    return replace(
        request,
        source=clean_path(mount.source),
        propagation=(options.propagation if options else "") or "rprivate",
        options=tuple(words),
        create_source=options is not None and options.create_mountpoint,
    )


def _read_only_words(mount: Mount) -> list[str]:
    """Return how deep read-only goes when that was asked; otherwise as deep as the kernel can."""
    options = mount.bind_options
    assert options is not None
    for name, given in (
        ("ReadOnlyNonRecursive", options.read_only_non_recursive),
        ("ReadOnlyForceRecursive", options.read_only_force_recursive),
    ):
        if given and not mount.read_only:
            raise InvalidArgument(f"mount options conflict: !ReadOnly && BindOptions.{name}")
    if options.read_only_non_recursive and options.read_only_force_recursive:
        raise InvalidArgument("mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive")
    if options.read_only_non_recursive:
        return ["ro-non-recursive"]
    return ["ro-force-recursive"] if options.read_only_force_recursive else []


def _parse_volume_mount(mount: Mount, request: MountRequest, volume_driver: str) -> MountRequest:
    _refuse_fields(mount, "BindOptions", "ImageOptions")
    options = mount.volume_options
    if options is not None and options.subpath:
        if not mount.source:
            raise _invalid(mount, "must not set Subpath when using anonymous volumes")
        if not _is_local(options.subpath):
            raise _invalid(mount, "subpath must be a relative path within the volume")
    if mount.read_only and not mount.source:
        raise _invalid(mount, "must not set ReadOnly mode when using anonymous volumes")
    request = replace(request, name=mount.source, driver=volume_driver, copy=True, mode="z")
    if options is None:
        return request
    driver = options.driver_config
    return replace(
        request,
        driver=driver.name if driver is not None and driver.name else volume_driver,
        driver_options=dict(driver.options or {}) if driver is not None else {},
        labels=dict(options.labels or {}),
        copy=not options.no_copy,
        subpath=options.subpath,
        options=("nocopy",) if options.no_copy else (),
    )


def _destination(target: str, mount: Mount) -> str:
    if clean_path(target) == "/":
        raise _invalid(mount, "invalid specification: destination can't be '/'")
    if not target.startswith("/"):
        raise _invalid(mount, f"invalid mount path: '{target}' mount path must be absolute")
    if "\0" in target:
        raise _invalid(mount, "invalid mount path: it holds a NUL")
    return clean_path(target)


def clean_path(path: str) -> str:
    """Return `path` without ``.``, ``..``, empty parts and trailing slashes, by text alone (Go's ``path.Clean``)."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _is_local(path: str) -> bool:
    return bool(path) and not path.startswith("/") and posixpath.normpath(path).partition("/")[0] != ".."


_FIELDS = {
    "BindOptions": "bind_options",
    "VolumeOptions": "volume_options",
    "ImageOptions": "image_options",
    "Source": "source",
}


def _refuse_fields(mount: Mount, *names: str) -> None:
    for name in names:
        if getattr(mount, _FIELDS[name]):
            raise _invalid(mount, f"field {name} must not be specified")


def _invalid(mount: Mount, reason: str) -> InvalidArgument:
    return InvalidArgument(f'invalid mount config for type "{mount.type}": {reason}')
