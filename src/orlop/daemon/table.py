"""Every flag of orlopd: dockerd's, those that it lacks included, so that none is taken silently or called unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orlop.daemon.flags import Flag

__all__ = ["BY_KEY", "DEFAULTS", "FILE_ONLY", "FLAGS"]

_PROXIES = "set HTTP_PROXY, HTTPS_PROXY and NO_PROXY in the daemon's environment"
_NO_SWARM = "this version of Orlop has no cluster"
_OWN_RUNTIME = "containers run under Orlop's own runtime"
_OWN_NETWORK = "Orlop's rules stand in nftables, in a table of their own"

_HAD = (
    Flag("bip", usage="IPv4 address of the default bridge, with its prefix length"),
    Flag("bridge", short="b", usage='Bridge that containers are connected to; "none" for no network'),
    Flag("cgroup-parent", usage="Parent cgroup of all containers"),
    Flag("config-file", key=None, usage="Configuration file (default /etc/orlop/daemon.json)"),
    Flag("data-root", usage="Directory of everything that is kept (default /var/lib/orlop)"),
    Flag("debug", "bool", short="D", usage="Log more"),
    Flag("default-cgroupns-mode", usage='Cgroup namespace of containers ("host" | "private")'),
    Flag("default-shm-size", usage="Size of /dev/shm (default 64m)"),
    Flag("default-ulimit", "list", key="default-ulimits", usage="Resource limits of containers, name=soft[:hard]"),
    Flag("dns", "list", usage="DNS server for containers"),
    Flag("dns-opt", "list", key="dns-opts", usage="DNS option for containers"),
    Flag("dns-search", "list", usage="DNS search domain for containers"),
    Flag("exec-root", usage="Directory of what lives as long as the machine runs (default /run/orlop)"),
    Flag("fixed-cidr-v6", usage="IPv6 subnet of the default bridge"),
    Flag("group", short="G", usage="Group that may use the unix socket (default docker, where it exists)"),
    Flag("host", "list", short="H", key="hosts", usage="Socket to listen on: unix://, tcp://, fd://; repeatable"),
    Flag("icc", "bool", usage="Let containers of the default bridge talk to each other (default true)"),
    Flag("init", "bool", usage="Run an init process in every container"),
    Flag("init-path", usage="Path of the init program"),
    Flag("insecure-registry", "list", key="insecure-registries", usage="Registry that is used without verified TLS"),
    Flag("ip", usage="Host address that ports are published on (default 0.0.0.0)"),
    Flag("ip-forward", "bool", usage="Enable forwarding on the host (default true)"),
    Flag("ip-masq", "bool", usage="Masquerade what leaves the default bridge (default true)"),
    Flag("ipv6", "bool", usage="IPv6 on the default bridge"),
    Flag("label", "list", key="labels", usage="key=value label of the daemon"),
    Flag("log-driver", usage="Log driver of containers (default json-file)"),
    Flag("log-format", usage='Format of the daemon\'s log ("text" | "json")'),
    Flag("log-level", short="l", usage='Level of the daemon\'s log ("debug" | "info" | "warn" | "error" | "fatal")'),
    Flag("log-opt", "list", key="log-opts", usage="key=value option of the log driver"),
    Flag("max-concurrent-downloads", "int", usage="Layers that are downloaded at once (default 3)"),
    Flag("max-concurrent-uploads", "int", usage="Layers that are uploaded at once (default 5)"),
    Flag("max-download-attempts", "int", usage="Attempts to download a layer (default 5)"),
    Flag("mtu", "int", usage="MTU of the default bridge"),
    Flag("no-new-privileges", "bool", usage="Containers never gain privileges"),
    Flag("pidfile", short="p", usage="File of the daemon's process id (default <exec-root>/orlopd.pid)"),
    Flag("raw-logs", "bool", usage="Plain text in the daemon's log; it always is"),
    Flag("registry-mirror", "list", key="registry-mirrors", usage="Mirror that is asked before the registry"),
    Flag("seccomp-profile", usage='Seccomp profile of containers: a file, "builtin" or "unconfined"'),
    Flag("shutdown-timeout", "int", usage="Seconds that open calls may take when the daemon ends (default 15)"),
    Flag("tls", "bool", usage="TLS on TCP sockets; --tls=false allows TCP without it"),
    Flag("tlscacert", usage="Certificate authority that clients are verified with (default ~/.docker/ca.pem)"),
    Flag("tlscert", usage="TLS certificate (default ~/.docker/cert.pem)"),
    Flag("tlskey", usage="TLS key (default ~/.docker/key.pem)"),
    Flag("tlsverify", "bool", usage="TLS on TCP sockets, for clients with a certificate only"),
    Flag("trace", "bool", key=None, usage="Log each action of a start with its time"),
    Flag("validate", "bool", key=None, usage="Check the configuration and exit"),
    Flag("version", "bool", short="v", key=None, usage="Print the version and exit"),
    Flag("help", "bool", short="h", key=None, usage="Print this help and exit"),
)

_SETTLED = (  # dockerd's choices that are settled in Orlop: the one way is accepted, others are refused
    Flag("default-ipc-mode", only=("private",), lacks="set --ipc on the containers that need another mode"),
    Flag("default-runtime", only=("runc", "orlop"), lacks=_OWN_RUNTIME),
    Flag("experimental", "bool", only=("false",), lacks="there is nothing experimental to switch on"),
    Flag("firewall-backend", only=("nftables",), lacks=_OWN_NETWORK),
    Flag("ip6tables", "bool", only=("true",), lacks=_OWN_NETWORK),
    Flag("iptables", "bool", only=("true",), lacks=_OWN_NETWORK),
    Flag("live-restore", "bool", only=("true",), lacks="containers always run on when the daemon ends"),
    Flag("rootless", "bool", only=("false",), lacks="run orlopd as root"),
    Flag("selinux-enabled", "bool", only=("false",), lacks="labels are not set"),
    Flag("storage-driver", short="s", only=("overlay2", "overlayfs"), lacks="layers are joined by overlayfs"),
    Flag("userland-proxy", "bool", only=("false",), lacks="ports are published by nftables, without a proxy process"),
)

_LACKED = (
    Flag("add-runtime", "list", key="runtimes", lacks=_OWN_RUNTIME),
    Flag("allow-direct-routing", "bool", lacks=_OWN_NETWORK),
    Flag(
        "authorization-plugin", "list", key="authorization-plugins", lacks="there are no plugins; restrict the socket"
    ),
    Flag("bip6", lacks="use --fixed-cidr-v6"),
    Flag("bridge-accept-fwmark", lacks=_OWN_NETWORK),
    Flag("cdi-spec-dir", "list", key="cdi-spec-dirs", lacks="map devices by --device"),
    Flag("containerd", lacks="Orlop needs no containerd"),
    Flag("containerd-namespace", lacks="Orlop needs no containerd"),
    Flag("containerd-plugins-namespace", lacks="Orlop needs no containerd"),
    Flag("cpu-rt-period", "int", lacks="set --cpu-rt-period on the containers"),
    Flag("cpu-rt-runtime", "int", lacks="set --cpu-rt-runtime on the containers"),
    Flag("cri-containerd", "bool", lacks="Orlop needs no containerd"),
    Flag("default-address-pool", "list", key="default-address-pools", lacks="choose the bridge's address by --bip"),
    Flag("default-gateway", lacks="the bridge is the gateway"),
    Flag("default-gateway-v6", lacks="the bridge is the gateway"),
    Flag("default-network-opt", "list", key="default-network-opts", lacks="there is the default bridge only"),
    Flag("exec-opt", "list", key="exec-opts", lacks=_OWN_RUNTIME),
    Flag("feature", "list", key="features", lacks="there are no features to switch"),
    Flag("fixed-cidr", lacks="addresses are given from the whole subnet of --bip"),
    Flag("host-gateway-ip", "list", key="host-gateway-ips", lacks="host-gateway is the bridge's address"),
    Flag("http-proxy", lacks=_PROXIES),
    Flag("https-proxy", lacks=_PROXIES),
    Flag("ip-forward-no-drop", "bool", lacks="Orlop never sets a policy of the host's own chains"),
    Flag("metrics-addr", lacks="there are no metrics to ask for"),
    Flag("network-control-plane-mtu", "int", lacks=_NO_SWARM),
    Flag("network-diagnostic-port", "int", lacks=_NO_SWARM),
    Flag("no-proxy", lacks=_PROXIES),
    Flag("node-generic-resource", "list", key="node-generic-resources", lacks=_NO_SWARM),
    Flag("nri-opts", "list", lacks="there are no plugins"),
    Flag("restart", "bool", short="r", key=None, lacks="use the containers' --restart"),
    Flag("storage-opt", "list", key="storage-opts", lacks="layers are joined by overlayfs, which has no options"),
    Flag("swarm-default-advertise-addr", lacks=_NO_SWARM),
    Flag("userland-proxy-path", lacks="ports are published by nftables, without a proxy process"),
    Flag("userns-remap", lacks="user namespaces are not remapped"),
)

FLAGS = (*_HAD, *_SETTLED, *_LACKED)
BY_KEY: Mapping[str, Flag] = {flag.file_key: flag for flag in FLAGS if flag.file_key is not None}

FILE_ONLY: Mapping[str, str] = {  # of dockerd's configuration file, without a flag; why Orlop lacks it, "" if not
    "allow-nondistributable-artifacts": "layers that are kept outside of registries are neither pulled nor pushed",
    "builder": "",
    "proxies": _PROXIES,
    "swarm-raft-election-tick": _NO_SWARM,
    "swarm-raft-heartbeat-tick": _NO_SWARM,
}

DEFAULTS: Mapping[str, Any] = {
    "config-file": "/etc/orlop/daemon.json",
    "data-root": "/var/lib/orlop",
    "exec-root": "/run/orlop",
    "group": "docker",
    "icc": True,
    "ip-forward": True,
    "ip-masq": True,
    "log-driver": "json-file",
    "log-format": "text",
    "log-level": "info",
    "max-concurrent-downloads": 3,
    "max-concurrent-uploads": 5,
    "max-download-attempts": 5,
    "shutdown-timeout": 15,
}
