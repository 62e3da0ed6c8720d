import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.model.api.container import (
    BindOptions,
    HostConfig,
    Mount,
    TmpfsOptions,
    VolumeDriverConfig,
    VolumeOptions,
)
from orlop.model.record import MountRecord
from orlop.volume.resolve import MountRequest, VolumesFrom, resolve, volumes_from


def bind(text: str) -> MountRequest:
    (request,) = resolve(HostConfig(binds=[text]))
    return request


def mount(**fields: object) -> MountRequest:
    (request,) = resolve(HostConfig(mounts=[Mount(**fields)]))  # type: ignore[arg-type]
    return request


def refusal(host_config: HostConfig) -> str:
    with pytest.raises(InvalidArgument) as caught:
        resolve(host_config)
    return caught.value.message


def test_an_absolute_source_is_bound_and_made_if_missing() -> None:
    request = bind("/srv//data/:/data/../www/:ro,rslave")
    assert (request.type, request.source, request.destination) == ("bind", "/srv/data", "/www")
    assert (request.rw, request.propagation, request.mode, request.create_source) == (
        False,
        "rslave",
        "ro,rslave",
        True,
    )
    assert bind("/a:/b").propagation == "rprivate"


def test_another_source_is_a_volume() -> None:
    request = bind("data:/data")
    assert (request.type, request.name, request.copy, request.mode, request.rw) == ("volume", "data", True, "z", True)
    assert not request.anonymous
    assert bind("data:/data:nocopy").copy is False
    assert bind("/data").anonymous


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid volume specification: ''"),
        (":/x", "invalid volume specification: ':/x'"),
        ("/a:/b:ro:z", "invalid volume specification: '/a:/b:ro:z'"),
        ("/data:ro", "invalid volume specification: '/data:ro'"),
        ("/a:/b:rx", "invalid mode: rx"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        (
            "/a:/",
            "invalid volume specification: '/a:/': invalid mount config for type \"bind\": "
            "invalid specification: destination can't be '/'",
        ),
        (
            "v:b",
            "invalid volume specification: 'v:b': invalid mount config for type \"volume\": "
            "invalid mount path: 'b' mount path must be absolute",
        ),
    ],
)
def test_malformed_binds_are_refused_as_dockerd_does(text: str, message: str) -> None:
    assert refusal(HostConfig(binds=[text])) == message


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (Mount(type="bind", source="/a"), "field Target must not be empty"),
        (Mount(type="bind", target="/b"), "field Source must not be empty"),
        (Mount(type="bind", source="a", target="/b"), "invalid mount path: 'a' mount path must be absolute"),
        (Mount(type="bind", source="/a", target="b"), "invalid mount path: 'b' mount path must be absolute"),
        (
            Mount(type="bind", source="/a", target="/b", bind_options=BindOptions(propagation="wide")),
            "invalid propagation mode: wide",
        ),
        (
            Mount(type="bind", source="/a", target="/b", volume_options=VolumeOptions()),
            "field VolumeOptions must not be specified",
        ),
        (Mount(type="volume", target="/b", read_only=True), "must not set ReadOnly mode when using anonymous volumes"),
        (
            Mount(type="volume", source="v", target="/b", volume_options=VolumeOptions(subpath="../x")),
            "subpath must be a relative path within the volume",
        ),
        (Mount(type="tmpfs", source="/a", target="/b"), "field Source must not be specified"),
        (Mount(type="disk", target="/b"), "mount type unknown"),
    ],
)
def test_wrong_mounts_are_refused_as_dockerd_does(wrong: Mount, reason: str) -> None:
    assert refusal(HostConfig(mounts=[wrong])) == f'invalid mount config for type "{wrong.type}": {reason}'


def test_a_mount_s_options_are_kept() -> None:
    driver = VolumeDriverConfig(name="local", options={"a": "b"})
    request = mount(
        type="volume",
        source="v",
        target="/v",
        volume_options=VolumeOptions(no_copy=True, labels={"x": "y"}, subpath="a/b", driver_config=driver),
    )
    assert (request.copy, request.subpath, request.labels, request.options) == (False, "a/b", {"x": "y"}, ("nocopy",))
    assert (request.driver, request.driver_options) == ("local", {"a": "b"})
    deep = mount(
        type="bind",
        source="/a",
        target="/b",
        read_only=True,
        bind_options=BindOptions(non_recursive=True, read_only_force_recursive=True),
    )
    assert (deep.options, deep.create_source) == (("bind", "ro-force-recursive"), False)


def test_a_tmpfs_has_its_options_as_words() -> None:
    request = mount(type="tmpfs", target="/t", tmpfs_options=TmpfsOptions(size_bytes=64 << 20, mode=0o1770))
    assert request.options == ("mode=1770", "size=64m")
    (flag,) = resolve(HostConfig(tmpfs={"/run/": "size=1m,noexec"}))
    assert (flag.destination, flag.options) == ("/run", ("size=1m", "noexec"))
    for bad in ("lowerdir=/etc", "size=1m;x", "uid=x", "size"):
        assert refusal(HostConfig(tmpfs={"/t": bad})) == f'invalid tmpfs option "{bad}"'


def test_a_destination_is_mounted_once() -> None:
    twice = HostConfig(binds=["/a:/x", "v:/x/"])
    assert refusal(twice) == "Duplicate mount point: /x"
    mixed = HostConfig(binds=["/a:/x"], mounts=[Mount(type="tmpfs", target="/x")])
    assert refusal(mixed) == "Duplicate mount point: /x"


def test_mounts_win_over_other_containers_and_these_over_the_image() -> None:
    records = [MountRecord(type="volume", name=name, destination=f"/{name}") for name in ("one", "two")]
    requests = resolve(
        HostConfig(binds=["/host:/one"]),
        volumes=["/two", "/three"],
        inherited=[(VolumesFrom("c", rw=False), records)],
    )
    found = {request.destination: request for request in requests}
    assert found["/one"].source == "/host"
    assert (found["/two"].name, found["/two"].rw, found["/two"].inherited) == ("two", False, records[1])
    assert found["/three"].anonymous


def test_outer_mounts_come_before_inner_ones() -> None:
    requests = resolve(HostConfig(binds=["/a:/x/y/z", "/b:/x", "/c:/x/y"]))
    assert [request.destination for request in requests] == ["/x", "/x/y", "/x/y/z"]


def test_volumes_from_names_a_container_and_perhaps_a_mode() -> None:
    assert volumes_from(HostConfig(volumes_from=["web", "db:ro"])) == [
        VolumesFrom("web", True),
        VolumesFrom("db", False),
    ]
    for text, message in (
        ("", "volumes-from specification cannot be an empty string"),
        ("web:rslave", "invalid mode: rslave"),
        ("web:nocopy", "invalid mode: nocopy"),
        ("web:x", "invalid mode: x"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            volumes_from(HostConfig(volumes_from=[text]))
        assert caught.value.message == message


@given(st.text(alphabet="ab/:.,roz \0"))
def test_hostile_binds_give_absolute_destinations_or_a_refusal(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        assert bind(text).destination.startswith("/")
