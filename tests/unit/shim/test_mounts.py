from orlop.linux import mount
from orlop.shim.mounts import parse, propagation_of


def test_options_become_attributes_and_the_rest_is_the_file_systems() -> None:
    plan = parse(
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "strictatime", "mode=1777", "size=64k", "sync"],
        }
    )
    wanted = mount.ATTR_NOSUID | mount.ATTR_NOEXEC | mount.ATTR_NODEV | mount.ATTR_STRICTATIME
    assert (plan.kind, plan.source, plan.set) == ("tmpfs", "shm", wanted)
    assert plan.data == (("mode", "1777"), ("size", "64k"), ("sync", None))


def test_the_later_of_two_contradicting_options_counts() -> None:
    assert parse({"destination": "/x", "options": ["ro", "rw"]}).set == 0
    assert parse({"destination": "/x", "options": ["rw", "ro"]}).set == mount.ATTR_RDONLY
    assert parse({"destination": "/x", "options": ["noatime", "strictatime"]}).set == mount.ATTR_STRICTATIME


def test_a_bind_mount_may_be_recursive_and_read_only_all_the_way_down() -> None:
    plan = parse({"destination": "/x", "source": "/y", "options": ["rbind", "rro", "rslave"]})
    assert (plan.kind, plan.recursive, plan.set, plan.set_below) == ("bind", True, 0, mount.ATTR_RDONLY)
    assert plan.propagation == (mount.MS_SLAVE, True)


def test_nothing_propagates_unless_asked() -> None:
    assert parse({"destination": "/x", "options": ["bind"]}).propagation == (mount.MS_PRIVATE, True)
    assert propagation_of("shared") == (mount.MS_SHARED, False)
    assert propagation_of("rshare") is None
