"""docker and orlop print the same for the same answers of an engine."""

from __future__ import annotations

import json
import time

import pytest

from support.fake_engine import Answer, FakeEngine
from support.side_by_side import Run

pytestmark = pytest.mark.docker

ID = "4c01db0b339c0ab0e6c1e9ae0a6a0f2c9a5e8b7d6f5e4d3c2b1a09f8e7d6c5b4"
OTHER = "9f8e7d6c5b4a392817060f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a"
IMAGE = "sha256:" + "ab" * 32
NOW = int(time.time())


def summary(identifier: str = ID, **changes: object) -> dict[str, object]:
    return {
        "Id": identifier,
        "Names": ["/web"],
        "Image": "busybox:latest",
        "ImageID": IMAGE,
        "Command": "sh -c 'while true; do sleep 1; done'",
        "Created": NOW - 3700,
        "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"PrivatePort": 443, "Type": "tcp"},
            {"PrivatePort": 444, "Type": "tcp"},
            {"IP": "127.0.0.1", "PrivatePort": 90, "PublicPort": 90, "Type": "udp"},
            {"IP": "127.0.0.1", "PrivatePort": 91, "PublicPort": 91, "Type": "udp"},
        ],
        "Labels": {"com.example.tier": "front", "a": "1"},
        "State": "running",
        "Status": "Up About an hour",
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {"Networks": {"bridge": {"NetworkID": "n"}}},
        "Mounts": [
            {"Type": "volume", "Name": "data-volume-with-a-long-name", "Source": "", "Driver": "local"},
            {"Type": "bind", "Source": "/srv"},
        ],
        **changes,
    }


@pytest.fixture
def containers(engine: FakeEngine) -> FakeEngine:
    engine.on(
        "GET",
        "/containers/json",
        [
            summary(),
            summary(
                OTHER,
                Names=["/other/alias", "/db"],
                Image="sha256:" + "cd" * 32,
                Command='echo "hi <there>"\n',
                Ports=[],
                Labels=None,
                State="exited",
                Status="Exited (0) 2 days ago",
                Created=NOW - 3 * 86400,
                Mounts=[],
                SizeRw=12345678,
                SizeRootFs=987654321,
            ),
        ],
    )
    return engine


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-a"],
        ["-aq"],
        ["--no-trunc"],
        ["-s"],
        ["-n", "3"],
        ["-l"],
        ["--filter", "status=running", "--filter", "label=a=1"],
        ["--format", "json"],
        ["--format", "{{json .}}"],
        ["--format", "{{.ID}}"],
        ["--format", r"{{.ID}}\t{{.Names}}"],
        ["--format", "table {{.ID}}\t{{.Labels}}\t{{.Mounts}}"],
        ["--format", "table {{.Names}}\t{{.Size}}"],
        ["--format", '{{.Label "com.example.tier"}}|{{.Networks}}|{{.State}}'],
        ["--format", 'table {{.Label "com.example.some-tier"}}\t{{upper .Names}}\t{{.LocalVolumes}}'],
        ["--format", '{{if eq .State "running"}}{{.Names}} runs{{else}}{{.Names | upper}}{{end}}'],
        ["--format", "{{.CreatedAt}} {{.RunningFor}} {{json .Ports}}"],
        ["--format", '{{range split .Labels ","}}<{{.}}>{{end}}'],
        ["--format", "raw"],
        ["-q", "--format", "{{.Names}}"],
        ["--format", "{{.Names"],
        ["--format", "{{nonsense .Names}}"],
    ],
)
def test_ps(containers: FakeEngine, both: Run, arguments: list[str]) -> None:
    both("ps", *arguments)
    asked = containers.asked("GET", "/containers/json")
    if asked:
        assert asked[0].query == asked[1].query


def test_ps_of_nothing(engine: FakeEngine, both: Run) -> None:
    engine.on("GET", "/containers/json", [])
    both("ps")
    both("container", "ls", "-q")
    both("ps", "--format", "table {{.Names}}")


@pytest.fixture
def images(engine: FakeEngine) -> FakeEngine:
    base = {
        "Containers": -1,
        "Labels": None,
        "ParentId": "",
        "SharedSize": -1,
        "RepoDigests": [],
        "Created": NOW - 90 * 86400,
        "Size": 4261550,
    }
    engine.on(
        "GET",
        "/images/json",
        [
            {**base, "Id": IMAGE, "RepoTags": ["busybox:latest"], "RepoDigests": ["busybox@sha256:" + "1" * 64]},
            {**base, "Id": "sha256:" + "cd" * 32, "RepoTags": [], "Size": 1234567890},
            {**base, "Id": "sha256:" + "ef" * 32, "RepoTags": ["host:5000/a/b:v1", "host:5000/a/b:v2"], "Size": 999},
            {**base, "Id": "sha256:" + "01" * 32, "RepoTags": [], "RepoDigests": ["alpine@sha256:" + "2" * 64]},
        ],
    )
    return engine


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-a"],
        ["-q"],
        ["--no-trunc"],
        ["--digests"],
        ["--filter", "dangling=true"],
        ["busybox"],
        ["--format", "json"],
        ["--format", "{{.Repository}}:{{.Tag}} {{.Size}} {{.ID}}"],
        ["--format", "table {{.Repository}}\t{{.Digest}}\t{{.CreatedAt}}"],
        ["--format", "{{.VirtualSize}} {{.SharedSize}} {{.UniqueSize}} {{.Containers}}"],
        ["--format", "raw"],
    ],
)
def test_images(images: FakeEngine, both: Run, arguments: list[str]) -> None:
    both("images", *arguments)
    first, second = images.asked("GET", "/images/json")
    assert first.query == second.query


def inspected(**changes: object) -> dict[str, object]:
    return {
        "Id": ID,
        "Created": "2026-11-24T08:00:00.123456789Z",
        "Path": "sh",
        "Args": ["-c", "a < b && c > d"],
        "State": {
            "Status": "running",
            "Running": True,
            "Paused": False,
            "Restarting": False,
            "OOMKilled": False,
            "Dead": False,
            "Pid": 4242,
            "ExitCode": 0,
            "Error": "",
            "StartedAt": "2026-11-24T08:00:01Z",
            "FinishedAt": "0001-01-01T00:00:00Z",
        },
        "Image": IMAGE,
        "Name": "/web",
        "RestartCount": 0,
        "HostConfig": {
            "Binds": None,
            "NetworkMode": "bridge",
            "AutoRemove": False,
            "NanoCpus": 1500000000,
            "Memory": 67108864,
            "Links": None,
        },
        "Mounts": [
            {
                "Type": "bind",
                "Source": "/srv",
                "Destination": "/data",
                "Mode": "",
                "RW": True,
                "Propagation": "rprivate",
            }
        ],
        "Config": {
            "Hostname": "4c01db0b339c",
            "Tty": False,
            "OpenStdin": False,
            "Env": ["PATH=/bin", "A=1"],
            "Cmd": ["sh"],
            "Image": "busybox",
            "Labels": {"com.example.a": "x", "b": "y"},
        },
        "NetworkSettings": {
            "Ports": {
                "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
                "9/udp": [{"HostIp": "127.0.0.1", "HostPort": "10"}],
                "443/tcp": None,
            },
            "IPAddress": "172.17.0.2",
            "Networks": {"bridge": {"IPAddress": "172.17.0.2", "Gateway": "172.17.0.1", "Aliases": None}},
        },
        **changes,
    }


@pytest.fixture
def one_container(engine: FakeEngine) -> FakeEngine:
    engine.on("GET", "/containers/web/json", inspected())
    return engine


@pytest.mark.parametrize(
    "format",
    [
        "{{.Id}}",
        "{{.ID}} {{.Name}}",
        "{{.State.Status}} {{.State.Pid}} {{.State.Running}}",
        "{{json .State.Running}} {{json .Name}} {{json .Config.Env}}",
        "{{json .Config.Labels}}",
        "{{json .Args}}",
        "{{.NetworkSettings.IPAddress}}",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        "{{range $p, $conf := .NetworkSettings.Ports}}{{$p}} -> {{(index $conf 0).HostPort}}\n{{end}}",
        '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}',
        '{{index .Config.Labels "com.example.a"}}',
        '{{index .Config.Labels "none"}}.',
        "{{.Config.Env}} {{.Config.Cmd}}",
        "{{.HostConfig.NanoCpus}} {{.HostConfig.NanoCPUs}}",
        "{{.HostConfig.Memory}} {{.HostConfig.AutoRemove}}",
        "{{if .State.Health}}{{.State.Health.Status}}{{else}}no check{{end}}",
        "{{with .State.Health}}{{.Status}}{{end}}",
        "{{len .Mounts}} {{range .Mounts}}{{.Source}}:{{.Destination}} {{.RW}}{{end}}",
        '{{join .Args "|"}} {{upper .Name}} {{printf "%.12s" .ID}}',
        "{{range .Config.Env}}{{println .}}{{end}}",
        "{{.Nope}}",
        "{{.State.Nope}}",
        "{{.State",
        "text only",
        "",
        "json",
    ],
)
def test_inspect_formats(one_container: FakeEngine, both: Run, format: str) -> None:
    if format == "{{range $p, $conf := .NetworkSettings.Ports}}{{$p}} -> {{(index $conf 0).HostPort}}\n{{end}}":
        ports = {"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "9/udp": [{"HostIp": "", "HostPort": "10"}]}
        one_container.on("GET", "/containers/web/json", inspected(NetworkSettings={"Ports": ports}))
    both("inspect", "--format", format, "web")


def test_inspect_finds_the_kind(engine: FakeEngine, both: Run) -> None:
    for kind in ("containers", "images"):
        engine.refuse("GET", f"/{kind}/.*", 404, f"No such {kind[:-1]}: data")
    engine.refuse("GET", "/networks/.*", 404, "network data not found")
    engine.refuse("GET", "/volumes/.*", 404, "get nothing: no such volume")
    engine.on("GET", "/info", {"Swarm": {"ControlAvailable": False}})
    engine.refuse("GET", "/plugins/.*", 404, 'plugin "data" not found')
    engine.on(
        "GET",
        "/volumes/data",
        {"Name": "data", "Driver": "local", "Mountpoint": "/m", "Scope": "local", "Labels": {}, "Options": None},
    )
    both("inspect", "data")
    both("inspect", "--type", "volume", "data", "-f", "{{.Mountpoint}}")
    both("inspect", "data", "nothing")
    both("inspect", "--type", "bogus", "data")
    both("container", "inspect", "nothing")
    both("volume", "inspect", "data")


@pytest.mark.parametrize(
    "arguments", [["web"], ["web", "80"], ["web", "80/tcp"], ["web", "9/udp"], ["web", "99"], ["web", "x"]]
)
def test_port(one_container: FakeEngine, both: Run, arguments: list[str]) -> None:
    both("port", *arguments)


def test_top(engine: FakeEngine, both: Run) -> None:
    answer = {"Titles": ["UID", "PID", "CMD"], "Processes": [["root", "1", "sh"], ["root", "12345", "a long command"]]}
    engine.on("GET", "/containers/web/top", answer)
    both("top", "web")
    both("top", "web", "-o", "pid,cmd")
    first, second = engine.asked("GET", "/containers/web/top")[2:]
    assert first.query == second.query == {"ps_args": ["-o pid,cmd"]}


def test_diff(engine: FakeEngine, both: Run) -> None:
    engine.on(
        "GET",
        "/containers/web/changes",
        [{"Path": "/a", "Kind": 0}, {"Path": "/a/b", "Kind": 1}, {"Path": "/c", "Kind": 2}],
    )
    both("diff", "web")


@pytest.mark.parametrize(
    "arguments",
    [[], ["-q"], ["--no-trunc"], ["-H=false"], ["--format", "{{.ID}} {{.CreatedBy}}"], ["--format", "json"]],
)
def test_history(engine: FakeEngine, both: Run, arguments: list[str]) -> None:
    engine.on(
        "GET",
        "/images/busybox/history",
        [
            {
                "Id": IMAGE,
                "Created": NOW - 100000,
                "CreatedBy": 'CMD\t["sh"]',
                "Size": 0,
                "Comment": "buildkit",
                "Tags": None,
            },
            {"Id": "<missing>", "Created": 0, "CreatedBy": "x" * 60, "Size": 4261550, "Comment": "", "Tags": None},
        ],
    )
    both("history", *arguments, "busybox")


@pytest.mark.parametrize("command", ["stop", "start", "restart", "kill", "rm", "pause", "unpause"])
def test_state_changes_print_names_and_errors(engine: FakeEngine, both: Run, command: str) -> None:
    verb = {"rm": "DELETE"}.get(command, "POST")
    suffix = "" if command == "rm" else f"/{command}"
    engine.on(verb, f"/containers/(a|c){suffix}", Answer(status=204))
    engine.refuse(verb, f"/containers/b{suffix}", 404, "No such container: b")
    both(command, "a", "b", "c")
    both(command, "a")
    both(command, "b")
    if command == "rm":
        both("rm", "-f", "b")
        both("rm", "/")


def test_flags_of_state_changes_reach_the_engine(engine: FakeEngine, both: Run) -> None:
    engine.on("POST", "/containers/a/(stop|kill|restart)", Answer(status=204))
    engine.on("DELETE", "/containers/a", Answer(status=204))
    for arguments in (
        ["stop", "-t", "3", "-s", "HUP", "a"],
        ["stop", "--time=0", "a"],
        ["kill", "-s", "9", "a"],
        ["restart", "-t0", "a"],
        ["rm", "-vfl", "a"],
    ):
        engine.requests.clear()
        both(*arguments)
        first, second = (request for request in engine.requests if request.path != "/_ping")
        assert first.query == second.query


def test_wait_rename_update(engine: FakeEngine, both: Run) -> None:
    engine.on("POST", "/containers/a/wait", {"StatusCode": 137})
    engine.refuse("POST", "/containers/b/wait", 404, "No such container: b")
    both("wait", "a", "b")
    engine.on("POST", "/containers/a/rename", Answer(status=204))
    engine.refuse("POST", "/containers/b/rename", 409, 'Conflict. The container name "/c" is already in use')
    both("rename", "a", "c")
    both("rename", "b", "c")
    both("rename", "b", " ")
    engine.on("POST", "/containers/a/update", {"Warnings": ["careful"]})
    engine.refuse("POST", "/containers/b/update", 404, "No such container: b")
    both("update", "a")
    both("update", "-m", "64m", "--cpus=1.5", "--restart", "on-failure:3", "--pids-limit=-1", "a", "b")
    both("update", "--restart=on-failure:x", "a")
    first, second, *_ = (request for request in engine.requests if request.path == "/containers/a/update")
    assert _set(first.json) == _set(second.json)


def _set(value: object) -> object:
    """Return JSON without what is empty: Go leaves some of it out."""
    if isinstance(value, dict):
        found = {key: _set(item) for key, item in value.items()}
        return {key: item for key, item in found.items() if item not in (None, "", 0, False, [], {}, [0, 0])}
    return [_set(item) for item in value] if isinstance(value, list) else value


def test_tag_rmi_and_prunes(engine: FakeEngine, both: Run) -> None:
    engine.on("POST", "/images/a/tag", Answer(status=201))
    both("tag", "a", "host:5000/b/c:v1")
    both("tag", "a", "B:x")
    first, second = engine.asked("POST", "/images/a/tag")
    assert first.query == second.query
    engine.on("DELETE", "/images/a", [{"Untagged": "a:latest"}, {"Deleted": IMAGE}])
    engine.refuse("DELETE", "/images/b", 404, "No such image: b:latest")
    both("rmi", "a", "b")
    both("rmi", "-f", "b")
    engine.on("POST", "/containers/prune", {"ContainersDeleted": [ID, OTHER], "SpaceReclaimed": 1234567})
    engine.on("POST", "/images/prune", {"ImagesDeleted": [{"Untagged": "a"}, {"Deleted": IMAGE}], "SpaceReclaimed": 99})
    engine.on("POST", "/volumes/prune", {"VolumesDeleted": ["v"], "SpaceReclaimed": 5})
    engine.on("POST", "/networks/prune", {"NetworksDeleted": ["n"]})
    engine.on("POST", "/build/prune", {"CachesDeleted": None, "SpaceReclaimed": 0})
    both("container", "prune", "-f")
    both("container", "prune", stdin=b"y\n")
    both("image", "prune", "-af", "--filter", "until=1h")
    both("image", "prune", stdin=b"y\n")
    both("volume", "prune", "-f")
    both("volume", "prune", "-a", stdin=b"y\n")
    both("system", "prune", "-f", "--volumes")
    both("system", "prune", "-a", "--filter", "label=x", stdin=b"y\n")
    both("system", "prune", "--volumes", "--filter", "until=1h")


def test_volumes(engine: FakeEngine, both: Run) -> None:
    volumes = [
        {"Name": name, "Driver": "local", "Scope": "local", "Mountpoint": "/m", "Labels": None}
        for name in ("b10", "b9")
    ]
    engine.on("GET", "/volumes", {"Volumes": volumes, "Warnings": None})
    both("volume", "ls")
    both("volume", "ls", "-q")
    both("volume", "ls", "--format", "json")
    both("volume", "ls", "--format", "table {{.Name}}\t{{.Scope}}\t{{.Size}}")
    engine.on("POST", "/volumes/create", volumes[0])
    both("volume", "create", "--label", "a=b", "-o", "type=tmpfs", "b10")
    engine.on("DELETE", "/volumes/a", Answer(status=204))
    engine.refuse("DELETE", "/volumes/b", 409, "remove b: volume is in use - [x]")
    both("volume", "rm", "a", "b")


def test_events(engine: FakeEngine, both: Run) -> None:
    event = {
        "status": "start",
        "id": ID,
        "from": "busybox",
        "Type": "container",
        "Action": "start",
        "Actor": {"ID": ID, "Attributes": {"image": "busybox", "name": "web"}},
        "scope": "local",
        "time": 1764000000,
        "timeNano": 1764000000012345678,
    }
    engine.on(
        "GET", "/events", Answer(json.dumps(event).encode() + b"\n" + json.dumps({**event, "Type": "network"}).encode())
    )
    both("events", "--since", "1764000000", "--until", "1764000001")
    both("events", "--since", "2025-01-01T00:00:00Z", "--filter", "type=container", "--format", "json")
    both("events", "--since=0", "--format", "{{.Type}} {{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}}")
    for index in (0, 2):
        pair = engine.asked("GET", "/events")[index : index + 2]
        assert pair[0].query == pair[1].query


def frame(number: int, text: bytes) -> bytes:
    return bytes((number, 0, 0, 0)) + len(text).to_bytes(4, "big") + text


def test_logs(one_container: FakeEngine, both: Run) -> None:
    body = frame(1, b"out\n") + frame(2, b"err\n") + frame(1, b"more\n")
    one_container.on(
        "GET", f"/containers/{ID}/logs", Answer(body, content_type="application/vnd.docker.multiplexed-stream")
    )
    both("logs", "web")
    outcome = both("logs", "-ft", "-n", "5", "--details", "--since", "1764000000", "web")
    assert (outcome.stdout, outcome.stderr) == ("out\nmore\n", "err\n")
    first, second = one_container.asked("GET", f"/containers/{ID}/logs")[2:]
    assert first.query == second.query
    both("logs", "--since", "nonsense", "web")


def test_load_and_import(engine: FakeEngine, both: Run) -> None:
    progress = b'{"stream":"Loaded image: busybox:latest\\n"}\r\n'
    engine.on("POST", "/images/load", Answer(progress))
    both("load", stdin=b"archive")
    both("load", "-q", stdin=b"archive")
    both("load", "-i", "/does/not/exist")
    assert {request.body for request in engine.asked("POST", "/images/load")} == {b"archive"}
    engine.on("POST", "/images/create", Answer(b'{"status":"sha256:ab"}\r\n'))
    both("import", "-m", "note", "-c", "CMD sh", "-", "a/b:v1", stdin=b"tar")
    first, second = engine.asked("POST", "/images/create")
    assert (first.query, first.body) == (second.query, second.body)
    engine.on("POST", "/images/load", Answer(b'{"errorDetail":{"message":"bad archive"},"error":"bad archive"}\r\n'))
    both("load", stdin=b"x")


def test_stats_without_stream(engine: FakeEngine, both: Run) -> None:
    sample = {
        "name": "/web",
        "id": ID,
        "cpu_stats": {"cpu_usage": {"total_usage": 400}, "system_cpu_usage": 3000, "online_cpus": 2},
        "precpu_stats": {"cpu_usage": {"total_usage": 100}, "system_cpu_usage": 1000},
        "memory_stats": {"usage": 5000000, "limit": 100000000, "stats": {"inactive_file": 1000000}},
        "networks": {"eth0": {"rx_bytes": 1234, "tx_bytes": 99}, "eth1": {"rx_bytes": 1, "tx_bytes": 1}},
        "blkio_stats": {
            "io_service_bytes_recursive": [{"op": "read", "value": 4096}, {"op": "write", "value": 1 << 20}]
        },
        "pids_stats": {"current": 3},
    }
    engine.on("GET", "/containers/(web|4c01db0b339c)/stats", sample)
    engine.on("GET", "/containers/json", [summary()])
    engine.on("GET", "/events", b"")
    both("stats", "--no-stream", "web")
    both("stats", "--no-stream", "--no-trunc", "--format", "{{.Container}} {{.ID}} {{.PIDs}}", "web")
    both("stats", "--no-stream", "--format", "json", "web")
    engine.refuse("GET", "/containers/gone/stats", 404, "No such container: gone")
    both("stats", "--no-stream", "gone")


def test_disk_usage(engine: FakeEngine, both: Run) -> None:
    image = {
        "Id": IMAGE,
        "RepoTags": ["busybox:latest"],
        "RepoDigests": [],
        "Created": NOW - 9999,
        "Size": 500,
        "SharedSize": 100,
        "Containers": 1,
    }
    engine.on(
        "GET",
        "/system/df",
        {
            "LayersSize": 1000,
            "Images": [image, {**image, "RepoTags": [], "Containers": 0}],
            "Containers": [summary(SizeRw=10, SizeRootFs=20), summary(SizeRw=30, State="exited")],
            "Volumes": [{"Name": "v", "Driver": "local", "UsageData": {"RefCount": 0, "Size": 77}}],
            "BuildCache": [
                cached("f" * 25, Shared=True, LastUsedAt="2026-01-02T12:00:00.5Z", Parents=["a" * 25]),
                cached("a" * 25, InUse=True, LastUsedAt=None, Type="exec.cachemount"),
                cached("c" * 25, LastUsedAt="2026-01-02T11:00:00Z", Size=1234567),
            ],
        },
    )
    both("system", "df")
    both("system", "df", "-v")
    both("system", "df", "--format", "{{.Type}} {{.Reclaimable}}")
    both("system", "df", "--format", "json")


def cached(id: str, **fields: object) -> dict[str, object]:
    """Return a part of the build cache."""
    item = {"ID": id, "Type": "regular", "Description": "[1/2] RUN true", "InUse": False, "Shared": False}
    return item | {"Size": 5000, "CreatedAt": "2026-01-01T10:00:00Z", "UsageCount": 2} | fields


def test_info(engine: FakeEngine, docker: Run, orlop: Run) -> None:
    engine.on(
        "GET",
        "/info",
        {
            "ID": "x-y-z",
            "Containers": 3,
            "ContainersRunning": 1,
            "ContainersPaused": 0,
            "ContainersStopped": 2,
            "Images": 4,
            "Driver": "overlay2",
            "DriverStatus": [["Backing Filesystem", "extfs"]],
            "Plugins": {
                "Volume": ["local"],
                "Network": ["bridge", "host"],
                "Authorization": None,
                "Log": ["json-file"],
            },
            "LoggingDriver": "json-file",
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": "1",
            "KernelVersion": "6.18",
            "OperatingSystem": "Debian",
            "OSType": "linux",
            "Architecture": "x86_64",
            "NCPU": 2,
            "MemTotal": 25000000000,
            "DockerRootDir": "/var/lib/x",
            "Name": "host",
            "Labels": ["a=b"],
            "ServerVersion": "28.0",
            "Runtimes": {"runc": {"path": "runc"}},
            "DefaultRuntime": "runc",
            "Swarm": {"LocalNodeState": "inactive"},
            "LiveRestoreEnabled": True,
            "InitBinary": "docker-init",
            "ContainerdCommit": {"ID": "c"},
            "RuncCommit": {"ID": "r"},
            "InitCommit": {"ID": "i"},
            "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
            "DefaultAddressPools": [{"Base": "172.17.0.0/16", "Size": 24}],
            "RegistryConfig": {"InsecureRegistryCIDRs": ["127.0.0.0/8"], "IndexConfigs": {}, "Mirrors": ["https://m/"]},
            "Warnings": ["WARNING: No swap limit support"],
        },
    )
    ours, theirs = orlop("info"), docker("info")
    assert ours.stdout.partition("Server:")[2] == theirs.stdout.partition("Server:")[2]
    assert (ours.stderr, ours.status) == (theirs.stderr, theirs.status)
    for format in (
        "{{.ServerVersion}} {{.Driver}} {{.NCPU}}",
        "{{json .Plugins.Network}}",
        "{{.Nope",
        "{{.Swarm.LocalNodeState}}",
    ):
        assert orlop("info", "--format", format) == docker("info", "--format", format)


def test_version(engine: FakeEngine, docker: Run, orlop: Run) -> None:
    details = {
        "ApiVersion": "1.51",
        "MinAPIVersion": "1.24",
        "GitCommit": "abc",
        "GoVersion": "go1",
        "Os": "linux",
        "Arch": "amd64",
        "BuildTime": "2026-11-01T10:00:00.000000000+00:00",
        "Experimental": "false",
    }
    engine.on(
        "GET",
        "/version",
        {
            "Platform": {"Name": "Some Engine"},
            "Components": [
                {"Name": "Engine", "Version": "28.0", "Details": details},
                {"Name": "runc", "Version": "1.3", "Details": {"GitCommit": "v1"}},
            ],
            "Version": "28.0",
            "ApiVersion": "1.51",
            "MinAPIVersion": "1.24",
            "Os": "linux",
            "Arch": "amd64",
        },
    )
    ours, theirs = orlop("version"), docker("version")
    assert ours.stdout.partition("Server:")[2] == theirs.stdout.partition("Server:")[2]
    for format in (
        "{{.Server.Version}}",
        "{{.Server.APIVersion}} {{.Server.Os}}",
        "{{.Client.Context}}",
        "{{json .Server.Platform}}",
    ):
        assert orlop("version", "--format", format) == docker("version", "--format", format)


def test_no_daemon(engine: FakeEngine, both: Run) -> None:
    nowhere = {"DOCKER_HOST": "unix:///does/not/exist.sock"}
    for arguments in (["ps"], ["run", "--rm", "busybox"], ["inspect", "a"], ["stop", "a"], ["images"]):
        both(*arguments, env=nowhere)
    both("-H", "tcp://127.0.0.1:1", "ps")
    both("--context", "x", "-H", "unix:///a", "ps")


def test_an_older_engine_is_spoken_to_in_its_version(containers: FakeEngine, both: Run) -> None:
    containers.maximum = "1.44"
    both("ps")
