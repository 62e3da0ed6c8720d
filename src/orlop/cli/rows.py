"""What a container, an image and a volume show in lists: one method a column, named as in docker's templates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orlop.cli.humanize import ago, human_size, local_time
from orlop.cli.listing import Headings, Row
from orlop.cli.output import ellipsis
from orlop.formats.template import go_quote

__all__ = [
    "CONTAINER_HEADINGS",
    "IMAGE_HEADINGS",
    "VOLUME_HEADINGS",
    "ContainerRow",
    "ImageRow",
    "VolumeRow",
    "image_rows",
    "join_host_port",
    "short_id",
    "show_ports",
]

Json = Mapping[str, Any]


def short_id(identifier: str) -> str:
    """Return the first 12 digits of an ID, without its algorithm."""
    return identifier.partition(":")[2][:12] if ":" in identifier else identifier[:12]


def join_host_port(host: str, port: int | str) -> str:
    """Return ``host:port``, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


CONTAINER_HEADINGS: Headings = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Platform": "PLATFORM",
}


class ContainerRow(Row):
    """A container of ``GET /containers/json``."""

    headings = CONTAINER_HEADINGS

    def __init__(self, container: Json, *, truncate: bool) -> None:
        self._container = container
        self._truncate = truncate

    def ID(self) -> str:
        return short_id(self._container["Id"]) if self._truncate else str(self._container["Id"])

    def Names(self) -> str:
        names = [name[1:] for name in self._container.get("Names") or ()]
        if self._truncate:  # a name with a slash is a link's, seen from another container
            names = [name for name in names if "/" not in name][:1] or names
        return ",".join(names)

    def Image(self) -> str:
        image = str(self._container.get("Image") or "")
        if not image:
            return "<no image>"
        if not self._truncate:
            return image
        if short_id(self._container.get("ImageID", "")) == short_id(image):
            return short_id(image)
        return image.partition("@")[0].removeprefix("docker.io/library/").removeprefix("docker.io/")

    def Command(self) -> str:
        text = str(self._container.get("Command", ""))
        return go_quote(ellipsis(text, 20) if self._truncate else text)

    def CreatedAt(self) -> str:
        return local_time(self._container.get("Created", 0))

    def RunningFor(self) -> str:
        return ago(self._container.get("Created", 0))

    def Ports(self) -> str:
        return show_ports(self._container.get("Ports") or ())

    def State(self) -> str:
        return str(self._container.get("State", ""))

    def Status(self) -> str:
        return str(self._container.get("Status", ""))

    def Size(self) -> str:
        own = human_size(self._container.get("SizeRw") or 0, 3)
        total = self._container.get("SizeRootFs") or 0
        return f"{own} (virtual {human_size(total, 3)})" if total > 0 else own

    def Labels(self) -> str:
        return ",".join(sorted(f"{key}={value}" for key, value in (self._container.get("Labels") or {}).items()))

    def Label(self, name: str) -> str:
        return str((self._container.get("Labels") or {}).get(name, ""))

    def Mounts(self) -> str:
        names = [mount.get("Name") or mount.get("Source", "") for mount in self._container.get("Mounts") or ()]
        return ",".join(ellipsis(name, 15) if self._truncate else name for name in names)

    def LocalVolumes(self) -> str:
        return str(sum(mount.get("Driver") == "local" for mount in self._container.get("Mounts") or ()))

    def Networks(self) -> str:
        return ",".join((self._container.get("NetworkSettings") or {}).get("Networks") or ())

    def Platform(self) -> Any:
        return (self._container.get("ImageManifestDescriptor") or {}).get("platform")


def show_ports(ports: Iterable[Json]) -> str:
    """Return a container's ports in one line; consecutive ones that are published alike become a range."""
    ordered = sorted(
        ports, key=lambda port: (port["PrivatePort"], port.get("IP") or "", port.get("PublicPort") or 0, port["Type"])
    )
    groups: dict[str, tuple[int, int]] = {}
    done: list[str] = []
    single: list[str] = []
    for port in ordered:
        private, kind, address = port["PrivatePort"], port["Type"], port.get("IP") or ""
        if address and port.get("PublicPort", 0) != private:
            single.append(f"{join_host_port(address, port.get('PublicPort', 0))}->{private}/{kind}")
            continue
        key = f"{address}/{kind}" if address else kind
        first, last = groups.get(key, (private, private))
        if private not in (last, last + 1) or (private == last and key in groups):
            done.append(_port_group(key, first, last))
            first = private
        groups[key] = (first, private)
    done += [_port_group(key, first, last) for key, (first, last) in groups.items()]
    return ", ".join(done + single)


def _port_group(key: str, first: int, last: int) -> str:
    address, _, kind = key.rpartition("/")
    group = str(first) if first == last else f"{first}-{last}"
    return f"{join_host_port(address, group)}->{group}/{kind}" if address else f"{group}/{kind}"


IMAGE_HEADINGS: Headings = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}


class ImageRow(Row):
    """One name of an image of ``GET /images/json``."""

    headings = IMAGE_HEADINGS

    def __init__(self, image: Json, repository: str, tag: str, digest: str, *, truncate: bool) -> None:
        self._image = image
        self._repository = repository
        self._tag = tag
        self._digest = digest
        self._truncate = truncate

    def ID(self) -> str:
        return short_id(self._image["Id"]) if self._truncate else str(self._image["Id"])

    def Repository(self) -> str:
        return self._repository

    def Tag(self) -> str:
        return self._tag

    def Digest(self) -> str:
        return self._digest

    def CreatedSince(self) -> str:
        return ago(self._image.get("Created", 0))

    def CreatedAt(self) -> str:
        return local_time(self._image.get("Created", 0))

    def Size(self) -> str:
        return human_size(self._image.get("Size", 0), 3)

    def Containers(self) -> str:
        count = self._image.get("Containers", -1)
        return "N/A" if count == -1 else str(count)

    def VirtualSize(self) -> str:
        return human_size(self._image.get("Size", 0))

    def SharedSize(self) -> str:
        shared = self._image.get("SharedSize", -1)
        return "N/A" if shared == -1 else human_size(shared)

    def UniqueSize(self) -> str:
        size, shared = self._image.get("Size", -1), self._image.get("SharedSize", -1)
        return "N/A" if -1 in (size, shared) else human_size(size - shared)


def image_rows(images: Iterable[Json], *, truncate: bool, digests: bool, with_digest: bool) -> list[ImageRow]:
    """Return one row for each tag of each image; for each digest too, with `digests`.

    `with_digest` says that the digests of a tag are shown, so that a tag with several has several rows.
    """
    rows: list[ImageRow] = []
    for image in images:
        tags = [tag for tag in image.get("RepoTags") or () if tag != "<none>:<none>"]
        known = [digest for digest in image.get("RepoDigests") or () if digest != "<none>@<none>"]
        if not tags and not known:
            rows.append(ImageRow(image, "<none>", "<none>", "<none>", truncate=truncate))
            continue
        by_repository: dict[str, list[str]] = {}
        for text in known:
            repository, _, digest = text.partition("@")
            by_repository.setdefault(_familiar(repository), []).append(digest)
        tagged = [(_familiar(name), tag) for name, _, tag in (text.rpartition(":") for text in tags)]
        for repository, tag in tagged:
            shown = by_repository.get(repository, []) if with_digest else []
            rows += [ImageRow(image, repository, tag, digest, truncate=truncate) for digest in shown or ("<none>",)]
        names = {repository for repository, _ in tagged}
        for repository, found in by_repository.items():
            if repository not in names:
                shown = found if digests else [""]
                rows += [ImageRow(image, repository, "<none>", digest, truncate=truncate) for digest in shown]
    return rows


def _familiar(name: str) -> str:
    return name.removeprefix("docker.io/library/").removeprefix("docker.io/")


VOLUME_HEADINGS: Headings = {
    "Name": "VOLUME NAME",
    "Group": "GROUP",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "Availability": "AVAILABILITY",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Size": "SIZE",
    "Status": "STATUS",
}


class VolumeRow(Row):
    """A volume of ``GET /volumes``."""

    headings = VOLUME_HEADINGS

    def __init__(self, volume: Json) -> None:
        self._volume = volume

    def Name(self) -> str:
        return str(self._volume.get("Name", ""))

    def Driver(self) -> str:
        return str(self._volume.get("Driver", ""))

    def Scope(self) -> str:
        return str(self._volume.get("Scope", ""))

    def Mountpoint(self) -> str:
        return str(self._volume.get("Mountpoint", ""))

    def Labels(self) -> str:
        return ",".join(f"{key}={value}" for key, value in (self._volume.get("Labels") or {}).items())

    def Label(self, name: str) -> str:
        return str((self._volume.get("Labels") or {}).get(name, ""))

    def Links(self) -> str:
        usage = self._volume.get("UsageData")
        return "N/A" if usage is None else str(usage.get("RefCount", 0))

    def Size(self) -> str:
        usage = self._volume.get("UsageData")
        return "N/A" if usage is None else human_size(usage.get("Size", 0))

    def Group(self) -> str:
        return "N/A"  # Orlop has no cluster volumes

    def Availability(self) -> str:
        return "N/A"

    def Status(self) -> str:
        return "N/A"
