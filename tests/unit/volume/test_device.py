from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.linux import mount
from orlop.linux.mountinfo import mount_points
from orlop.volume.device import DeviceMount, check_device, device_mount, named_host, needs_mount


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"type": "tmpfs", "device": "tmpfs", "o": "size=10m,noexec,nosuid"},
            DeviceMount("tmpfs", "tmpfs", mount.MS_NOEXEC | mount.MS_NOSUID, "size=10m"),
        ),
        ({"type": "none", "device": "/srv", "o": "bind"}, DeviceMount("/srv", "none", mount.MS_BIND)),
        (
            {"type": "none", "device": "/srv", "o": "rbind,ro,rslave"},
            DeviceMount(
                "/srv", "none", mount.MS_BIND | mount.MS_REC | mount.MS_RDONLY, "", mount.MS_SLAVE | mount.MS_REC
            ),
        ),
        ({"type": "ext4", "device": "/dev/vdb", "o": "ro,rw,defaults"}, DeviceMount("/dev/vdb", "ext4")),
        (
            {"type": "nfs", "device": ":/export", "o": "addr=server,vers=4"},
            DeviceMount(":/export", "nfs", 0, "addr=10.0.0.9,vers=4"),
        ),
        ({"type": "nfs", "device": ":/e", "o": "addr=10.1.1.1"}, DeviceMount(":/e", "nfs", 0, "addr=10.1.1.1")),
        ({"type": "cifs", "device": "//Server/s"}, DeviceMount("//10.0.0.9/s", "cifs")),
    ],
)
def test_the_options_become_the_arguments_of_a_mount(options: dict[str, str], expected: DeviceMount) -> None:
    assert device_mount(options, "10.0.0.9") == expected


def test_a_host_is_looked_up_where_the_kernel_does_not_do_it() -> None:
    assert named_host({"type": "nfs", "device": ":/e", "o": "vers=4,addr=server.example"}) == "server.example"
    assert named_host({"type": "nfs", "device": ":/e", "o": "addr=fd00::1"}) == ""
    assert named_host({"type": "cifs", "device": "//server/share"}) == "server"
    assert named_host({"type": "cifs", "device": "//10.0.0.1/share"}) == ""
    assert named_host({"type": "tmpfs", "device": "tmpfs", "o": "addr=server"}) == ""


def test_a_failure_is_told_in_dockers_words_and_without_the_password() -> None:
    plan = device_mount({"type": "cifs", "device": "//10.0.0.1/s", "o": "ro,password=secret,user=u"})
    assert plan.failure("/v/_data", "permission denied") == (
        "failed to mount local volume: mount //10.0.0.1/s:/v/_data, flags: 0x1, "
        "data: password=********,user=u: permission denied"
    )


def test_a_port_in_a_device_is_refused() -> None:
    check_device({"type": "cifs", "device": "//server/share"})
    for device in ("//server:445/share", "//server:x/share", "//[server/share"):
        with pytest.raises(InvalidArgument):
            check_device({"type": "cifs", "device": device})


@given(
    st.dictionaries(st.sampled_from(["type", "device", "o"]), st.text() | st.sampled_from(["cifs", "nfs", "addr=x"]))
)
def test_hostile_options_give_a_plan_or_a_clear_refusal(options: dict[str, str]) -> None:
    assert needs_mount(options) == bool(options.get("device") or options.get("type"))
    try:
        check_device(options)
    except InvalidArgument:
        return
    assert device_mount(options, "10.0.0.9").kind == options.get("type", "")


def test_mount_points_are_read_as_the_kernel_writes_them() -> None:
    lines = rb"""26 1 0:6 / /dev rw - devtmpfs devtmpfs rw
40 26 0:33 / /a\040b\134c rw,relatime shared:1 - tmpfs tmpfs rw
broken
"""
    assert mount_points(lines) == ["/dev", r"/a b\c"]
