"""Every call of the Engine API that Orlop's client makes, as a function from arguments to a `Call`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orlop.client.call import (
    Call,
    Json,
    encode_filters,
    path,
    returns_json,
    returns_nothing,
    returns_raw,
    select,
)

Filters = Mapping[str, Iterable[str]]
Body = bytes | Iterable[bytes]


# Containers


def container_list(
    *, all: bool = False, limit: int = -1, size: bool = False, filters: Filters | None = None
) -> Call[list[Json]]:
    query = {"all": all, "limit": limit if limit > 0 else None, "size": size, "filters": encode_filters(filters)}
    return Call("GET", "/containers/json", returns_json, query=query)


def container_create(body: Json, *, name: str = "", platform: str = "") -> Call[Json]:
    return Call("POST", "/containers/create", returns_json, query={"name": name, "platform": platform}, json_body=body)


def container_inspect(ref: str) -> Call[Json]:
    return Call("GET", path("containers", ref, "json"), returns_json)


def container_inspect_raw(ref: str, *, size: bool = False) -> Call[bytes]:
    return Call("GET", path("containers", ref, "json"), returns_raw, query={"size": size})


def container_start(ref: str, *, detach_keys: str = "", checkpoint: str = "", directory: str = "") -> Call[None]:
    query = {"detachKeys": detach_keys, "checkpoint": checkpoint, "checkpoint-dir": directory}
    return Call("POST", path("containers", ref, "start"), returns_nothing, query=query)


def container_stop(ref: str, *, signal: str = "", timeout: int | None = None) -> Call[None]:
    return Call("POST", path("containers", ref, "stop"), returns_nothing, query={"signal": signal, "t": timeout})


def container_restart(ref: str, *, signal: str = "", timeout: int | None = None) -> Call[None]:
    return Call("POST", path("containers", ref, "restart"), returns_nothing, query={"signal": signal, "t": timeout})


def container_kill(ref: str, *, signal: str = "") -> Call[None]:
    return Call("POST", path("containers", ref, "kill"), returns_nothing, query={"signal": signal})


def container_pause(ref: str) -> Call[None]:
    return Call("POST", path("containers", ref, "pause"), returns_nothing)


def container_unpause(ref: str) -> Call[None]:
    return Call("POST", path("containers", ref, "unpause"), returns_nothing)


def container_rename(ref: str, name: str) -> Call[None]:
    return Call("POST", path("containers", ref, "rename"), returns_nothing, query={"name": name})


def container_resize(ref: str, *, height: int, width: int) -> Call[None]:
    return Call("POST", path("containers", ref, "resize"), returns_nothing, query={"h": str(height), "w": str(width)})


def container_remove(ref: str, *, volumes: bool = False, link: bool = False, force: bool = False) -> Call[None]:
    query = {"v": volumes, "link": link, "force": force}
    return Call("DELETE", path("containers", ref), returns_nothing, query=query)


def container_wait(ref: str, *, condition: str = "") -> Call[Json]:
    return Call("POST", path("containers", ref, "wait"), returns_json, query={"condition": condition})


def container_top(ref: str, arguments: Sequence[str] = ()) -> Call[Json]:
    return Call("GET", path("containers", ref, "top"), returns_json, query={"ps_args": " ".join(arguments)})


def container_stats(ref: str, *, stream: bool = True, one_shot: bool = False) -> Call[Json]:
    query = {"stream": "1" if stream else "0", "one-shot": one_shot}
    return Call("GET", path("containers", ref, "stats"), returns_json, query=query)


def container_changes(ref: str) -> Call[list[Json] | None]:
    return Call("GET", path("containers", ref, "changes"), returns_json)


def container_update(ref: str, body: Json) -> Call[Json]:
    return Call("POST", path("containers", ref, "update"), returns_json, json_body=body)


def container_prune(filters: Filters | None = None) -> Call[Json]:
    return Call("POST", "/containers/prune", returns_json, query={"filters": encode_filters(filters)})


def container_commit(
    ref: str,
    *,
    repo: str = "",
    tag: str = "",
    comment: str = "",
    author: str = "",
    changes: Sequence[str] = (),
    pause: bool = True,
) -> Call[Json]:
    query = {
        "container": ref,
        "repo": repo,
        "tag": tag,
        "comment": comment,
        "author": author,
        "changes": list(changes),
        "pause": "" if pause else "0",
    }
    return Call("POST", "/commit", returns_json, query=query)


def container_export(ref: str) -> Call[bytes]:
    return Call("GET", path("containers", ref, "export"), returns_raw)


def container_logs(
    ref: str,
    *,
    since: str = "",
    until: str = "",
    timestamps: bool = False,
    follow: bool = False,
    tail: str = "",
    details: bool = False,
) -> Call[bytes]:
    query: dict[str, Any] = {
        "stdout": True,
        "stderr": True,
        "since": since,
        "until": until,
        "timestamps": timestamps,
        "follow": follow,
        "tail": tail,
        "details": details,
    }
    return Call("GET", path("containers", ref, "logs"), returns_raw, query=query)


def container_attach(
    ref: str,
    *,
    stdin: bool = False,
    stdout: bool = False,
    stderr: bool = False,
    logs: bool = False,
    detach_keys: str = "",
) -> Call[bytes]:
    query: dict[str, Any] = {
        "stream": True,
        "stdin": stdin,
        "stdout": stdout,
        "stderr": stderr,
        "logs": logs,
        "detachKeys": detach_keys,
    }
    return Call("POST", path("containers", ref, "attach"), returns_raw, query=query)


# Exec


def exec_create(ref: str, body: Json) -> Call[str]:
    return Call("POST", path("containers", ref, "exec"), select("Id"), json_body=body)


def exec_start(exec_id: str, body: Json) -> Call[bytes]:
    return Call("POST", path("exec", exec_id, "start"), returns_raw, json_body=body)


def exec_inspect(exec_id: str) -> Call[Json]:
    return Call("GET", path("exec", exec_id, "json"), returns_json)


def exec_resize(exec_id: str, *, height: int, width: int) -> Call[None]:
    return Call("POST", path("exec", exec_id, "resize"), returns_nothing, query={"h": str(height), "w": str(width)})


# Images


def image_list(*, all: bool = False, filters: Filters | None = None) -> Call[list[Json]]:
    return Call("GET", "/images/json", returns_json, query={"all": all, "filters": encode_filters(filters)})


def image_inspect_raw(name: str, *, platform: str = "") -> Call[bytes]:
    return Call("GET", path("images", name, "json"), returns_raw, query={"platform": platform})


def image_history(name: str, *, platform: str = "") -> Call[list[Json]]:
    return Call("GET", path("images", name, "history"), returns_json, query={"platform": platform})


def image_layers(name: str, *, files: bool = True) -> Call[Json]:
    query = {"files": "1" if files else "0"}
    return Call("GET", "/orlop" + path("images", name, "layers"), returns_json, query=query)


def image_diff(before: str, after: str) -> Call[Json]:
    return Call("GET", "/orlop/images/diff", returns_json, query={"from": before, "to": after})


def image_tag(name: str, *, repo: str, tag: str) -> Call[None]:
    return Call("POST", path("images", name, "tag"), returns_nothing, query={"repo": repo, "tag": tag})


def image_remove(
    name: str, *, force: bool = False, no_prune: bool = False, platforms: Sequence[str] = ()
) -> Call[list[Json]]:
    query = {"force": force, "noprune": no_prune, "platforms": list(platforms)}
    return Call("DELETE", path("images", name), returns_json, query=query)


def image_prune(filters: Filters | None = None) -> Call[Json]:
    return Call("POST", "/images/prune", returns_json, query={"filters": encode_filters(filters)})


def image_load(body: Body, *, quiet: bool = False, platform: str = "") -> Call[bytes]:
    query = {"quiet": "1" if quiet else "0", "platform": platform}
    return Call("POST", "/images/load", returns_raw, query=query, body=body)


def image_import(
    body: Body,
    *,
    source: str,
    repo: str = "",
    message: str = "",
    changes: Sequence[str] = (),
    platform: str = "",
) -> Call[bytes]:
    query: dict[str, Any] = {
        "fromSrc": source,
        "repo": repo,
        "message": message,
        "changes": list(changes),
        "platform": platform,
    }
    return Call("POST", "/images/create", returns_raw, query=query, body=body)


def image_pull(image: str, *, tag: str = "", platform: str = "", auth: str = "") -> Call[bytes]:
    """`auth` is the value of ``X-Registry-Auth``, here and below."""
    query = {"fromImage": image, "tag": tag, "platform": platform}
    return Call("POST", "/images/create", returns_raw, query=query, headers=_auth(auth))


def image_push(name: str, *, tag: str = "", platform: str = "", auth: str = "") -> Call[bytes]:
    query = {"tag": tag, "platform": platform}
    return Call("POST", path("images", name, "push"), returns_raw, query=query, headers=_auth(auth))


def image_save(names: Sequence[str], *, platform: str = "") -> Call[bytes]:
    return Call("GET", "/images/get", returns_raw, query={"names": list(names), "platform": platform})


def image_search(term: str, *, limit: int = 0, filters: Filters | None = None, auth: str = "") -> Call[list[Json]]:
    query = {"term": term, "limit": limit if limit > 0 else None, "filters": encode_filters(filters)}
    return Call("GET", "/images/search", returns_json, query=query, headers=_auth(auth))


def manifest_inspect(name: str, *, verbose: bool = False, insecure: bool = False, auth: str = "") -> Call[Json]:
    """Orlop's own: a manifest or an index as its registry has it; `verbose` asks for what an index names, too."""
    query = {"verbose": verbose, "insecure": insecure}
    return Call("GET", path("orlop", "manifests", name), returns_json, query=query, headers=_auth(auth))


def _auth(value: str) -> list[tuple[str, str]]:
    return [("X-Registry-Auth", value)] if value else []


# Networks


def network_list(filters: Filters | None = None) -> Call[list[Json]]:
    return Call("GET", "/networks", returns_json, query={"filters": encode_filters(filters)})


def network_inspect_raw(name: str, *, verbose: bool = False) -> Call[bytes]:
    return Call("GET", path("networks", name), returns_raw, query={"verbose": "true" if verbose else ""})


def network_prune(filters: Filters | None = None) -> Call[Json]:
    return Call("POST", "/networks/prune", returns_json, query={"filters": encode_filters(filters)})


# Volumes


def volume_list(filters: Filters | None = None) -> Call[Json]:
    return Call("GET", "/volumes", returns_json, query={"filters": encode_filters(filters)})


def volume_create(body: Json) -> Call[Json]:
    return Call("POST", "/volumes/create", returns_json, json_body=body)


def volume_inspect_raw(name: str) -> Call[bytes]:
    return Call("GET", path("volumes", name), returns_raw)


def volume_remove(name: str, *, force: bool = False) -> Call[None]:
    return Call("DELETE", path("volumes", name), returns_nothing, query={"force": force})


def volume_prune(filters: Filters | None = None) -> Call[Json]:
    return Call("POST", "/volumes/prune", returns_json, query={"filters": encode_filters(filters)})


# The daemon


def ping() -> Call[None]:
    return Call("HEAD", "/_ping", returns_nothing)


def version() -> Call[Json]:
    return Call("GET", "/version", returns_json)


def info() -> Call[Json]:
    return Call("GET", "/info", returns_json)


def events(*, since: str = "", until: str = "", filters: Filters | None = None) -> Call[Json]:
    query = {"since": since, "until": until, "filters": encode_filters(filters)}
    return Call("GET", "/events", returns_json, query=query)


def registry_login(auth: Json) -> Call[Json]:
    """Have the daemon try credentials at their registry; the answer may bring a token to keep instead."""
    return Call("POST", "/auth", returns_json, json_body=auth)


def disk_usage(*, kinds: Sequence[str] = ()) -> Call[Json]:
    """`kinds` (container, image, volume, build-cache) are what is asked for, all of them if none is named."""
    return Call("GET", "/system/df", returns_json, query={"type": list(kinds)})


def system_check(*, repair: bool = False) -> Call[Json]:
    return Call("POST", "/orlop/system/check", returns_json, query={"repair": repair})


# Builds


def build_prune(
    filters: Filters | None = None,
    *,
    all: bool = False,
    keep_storage: int = 0,
    reserved_space: int = 0,
    max_used_space: int = 0,
    min_free_space: int = 0,
) -> Call[Json]:
    """Sizes are in bytes, 0 for none."""
    query = {
        "all": all,
        "filters": encode_filters(filters),
        "keep-storage": keep_storage or None,
        "reserved-space": reserved_space or None,
        "max-used-space": max_used_space or None,
        "min-free-space": min_free_space or None,
    }
    return Call("POST", "/build/prune", returns_json, query=query)


def build_context(manifest: Body) -> Call[Json]:
    """Orlop's own, as those below: announce what is in a context; the answer says which contents are missing."""
    return Call("POST", "/orlop/build/contexts", returns_json, body=manifest, headers=_JSON_LINES)


def build_context_tar(archive: Body) -> Call[Json]:
    return Call("POST", "/orlop/build/contexts", returns_json, query={"format": "tar"}, body=archive)


def build_files(context: str, files: Body) -> Call[None]:
    return Call(
        "POST", path("orlop", "build", "contexts", context, "files"), returns_nothing, body=files, headers=_BYTES
    )


def build(body: Json, *, registries: str = "") -> Call[bytes]:
    """`registries` is the value of ``X-Registry-Config``."""
    headers = [("X-Registry-Config", registries)] if registries else []
    return Call("POST", "/orlop/build", returns_raw, json_body=body, headers=headers)


def build_kept() -> Call[list[Json]]:
    return Call("GET", "/orlop/build/kept", returns_json)


def build_shell(kept: str, *, tty: bool, height: int = 0, width: int = 0) -> Call[bytes]:
    query = {"tty": tty, "h": height or None, "w": width or None}
    return Call("POST", path("orlop", "build", "kept", kept, "shell"), returns_raw, query=query)


def build_shell_resize(kept: str, *, height: int, width: int) -> Call[None]:
    query = {"h": str(height), "w": str(width)}
    return Call("POST", path("orlop", "build", "kept", kept, "resize"), returns_nothing, query=query)


def build_dismiss(kept: str) -> Call[None]:
    return Call("DELETE", path("orlop", "build", "kept", kept), returns_nothing)


_JSON_LINES = (("Content-Type", "application/jsonl"),)
_BYTES = (("Content-Type", "application/octet-stream"),)
