"""Instructions that change the image's configuration alone, and WORKDIR, which makes its directory too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orlop.build.convert import history, ports
from orlop.build.convert.building import Building
from orlop.build.convert.names import upper_first
from orlop.build.convert.paths import cleaned, joined
from orlop.build.convert.signals import check_signal
from orlop.build.convert.stages import Bound
from orlop.build.dockerfile import tree
from orlop.build.dockerfile.scope import NOT_VARIABLES, argument_value
from orlop.build.graph import Files, Json, MakeDirectory
from orlop.errors import InvalidArgument

__all__ = ["HANDLERS", "Handler"]

Handler = Callable[[Building, Bound, Any], None]


def _env(stage: Building, bound: Bound, instruction: tree.Env) -> None:
    pairs = [(stage.expand(pair.name), stage.expand(pair.value or "")) for pair in instruction.pairs]
    for name, value in pairs:
        stage.env[name] = value
        stage.set_variable(name, value)
    stage.commit(f"ENV {' '.join(f'{name}={value}' for name, value in pairs)}")
    stage.metadata(bound)


def _label(stage: Building, bound: Bound, instruction: tree.Label) -> None:
    labels: dict[str, str] = _collection(stage.config, "Labels")
    pairs = [(stage.expand(pair.name), stage.expand(pair.value or "")) for pair in instruction.pairs]
    labels.update(pairs)
    stage.commit(f"LABEL {' '.join(f'{name}={value}' for name, value in pairs)}")
    stage.metadata(bound)


def _arg(stage: Building, bound: Bound, instruction: tree.Arg) -> None:
    words: list[str] = []
    for pair in instruction.pairs:
        value, is_default = argument_value(pair, stage.around.request.arguments, stage.around.scope)
        if value is not None:
            value = stage.expand(value) if is_default else value
            if pair.name not in NOT_VARIABLES:
                stage.set_variable(pair.name, value)
        stage.declare(pair.name, value or "")
        words.append(pair.name if value is None else f"{pair.name}={value}")
    stage.commit(f"ARG {' '.join(words)}")
    stage.metadata(bound)


def _workdir(stage: Building, bound: Bound, instruction: tree.Workdir) -> None:
    path = joined(stage.directory, stage.expand(instruction.path))
    stage.config["WorkingDir"] = path
    if path == "/":
        stage.commit("WORKDIR /")
        stage.metadata(bound)
        return
    action = MakeDirectory(cleaned(path), stage.config.get("User") or "")
    shown = upper_first(stage.shown(instruction.original))
    stage.grow(bound, Files(stage.node, (action,)), shown, f"WORKDIR {path}")


def _user(stage: Building, bound: Bound, instruction: tree.User) -> None:
    stage.config["User"] = stage.expand(instruction.user)
    stage.commit(f"USER {stage.config['User']}")
    stage.metadata(bound)


def _maintainer(stage: Building, bound: Bound, instruction: tree.Maintainer) -> None:
    stage.author = instruction.maintainer
    stage.commit(f"MAINTAINER {instruction.maintainer}")
    stage.metadata(bound)


def _command(stage: Building, bound: Bound, instruction: tree.Command) -> None:
    words = list(instruction.words)
    if instruction.shell:
        words = [*stage.shell, " ".join(words)]
    if instruction.name == "cmd":
        stage.config["Cmd"] = words
        stage.config["ArgsEscaped"] = True
        stage.has_command = True
    else:
        stage.config["Entrypoint"] = words
        if not stage.has_command:  # an inherited CMD was meant for the inherited ENTRYPOINT
            stage.config.pop("Cmd", None)
    stage.commit(f"{instruction.name.upper()} {history.quoted(words)}")
    stage.metadata(bound)


def _shell(stage: Building, bound: Bound, instruction: tree.Shell) -> None:
    stage.config["Shell"] = list(instruction.words)
    stage.commit(f"SHELL {history.listed(instruction.words)}")
    stage.metadata(bound)


def _healthcheck(stage: Building, bound: Bound, instruction: tree.Healthcheck) -> None:
    check: Json = {
        "Test": [instruction.kind, *instruction.words],
        "Interval": instruction.interval,
        "Timeout": instruction.timeout,
        "StartPeriod": instruction.start_period,
        "StartInterval": instruction.start_interval,
        "Retries": instruction.retries,
    }
    stage.config["Healthcheck"] = check = {key: value for key, value in check.items() if value}
    stage.commit(history.health(check))
    stage.metadata(bound)


def _expose(stage: Building, bound: Bound, instruction: tree.Expose) -> None:
    words = [word for port in instruction.ports for word in stage.expand_words(port)]
    exposed = ports.parse(words)
    _collection(stage.config, "ExposedPorts").update((port, {}) for port in exposed)
    stage.commit(f"EXPOSE {history.listed(exposed)}")
    stage.metadata(bound)


def _volume(stage: Building, bound: Bound, instruction: tree.Volume) -> None:
    paths = [stage.expand(path) for path in instruction.paths]
    if "" in paths:
        raise InvalidArgument("VOLUME specified can not be an empty string")
    _collection(stage.config, "Volumes").update((path, {}) for path in paths)
    stage.commit(f"VOLUME {history.listed(paths)}")
    stage.metadata(bound)


def _stop_signal(stage: Building, bound: Bound, instruction: tree.StopSignal) -> None:
    signal = stage.expand(instruction.signal)
    check_signal(signal)
    stage.config["StopSignal"] = signal
    stage.commit(f"STOPSIGNAL {signal}")
    stage.metadata(bound)


def _on_build(stage: Building, bound: Bound, instruction: tree.OnBuild) -> None:
    stage.config.setdefault("OnBuild", []).append(instruction.expression)
    stage.metadata(bound)


def _collection(config: Json, key: str) -> Json:
    if not config.get(key):
        config[key] = {}
    found: Json = config[key]
    return found


HANDLERS: dict[type[tree.Instruction], Handler] = {
    tree.Arg: _arg,
    tree.Command: _command,
    tree.Env: _env,
    tree.Expose: _expose,
    tree.Healthcheck: _healthcheck,
    tree.Label: _label,
    tree.Maintainer: _maintainer,
    tree.OnBuild: _on_build,
    tree.Shell: _shell,
    tree.StopSignal: _stop_signal,
    tree.User: _user,
    tree.Volume: _volume,
    tree.Workdir: _workdir,
}
