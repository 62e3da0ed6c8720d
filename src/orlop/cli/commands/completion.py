"""`orlop completion`: scripts for shells, and the hidden command that they ask for words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orlop import errors
from orlop.cli.command import Command, at_least, command, exactly
from orlop.cli.failure import CommandError
from orlop.cli.flags import BOOL, Flag, Options
from orlop.cli.session import Session
from orlop.cli.tree import GROUPS, Tree
from orlop.client import calls

__all__ = ["complete", "completion", "words"]

# Each script asks `orlop __complete WORD…` with the words up to the cursor; every line is a word, a tab and a help.
_BASH = """\
# Completion of orlop for bash: source <(orlop completion bash)
_orlop() {
    local IFS=$'\\n' words
    words=$(orlop __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1)
    COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _orlop orlop
"""
_ZSH = """\
#compdef orlop
# Completion of orlop for zsh: source <(orlop completion zsh)
_orlop() {
    local line
    local -a found
    while IFS= read -r line; do
        found+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}")
    done < <(orlop __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ${#found} )); then _describe 'orlop' found; else _files; fi
}
compdef _orlop orlop
"""
_FISH = """\
# Completion of orlop for fish: orlop completion fish | source
function __orlop_complete
    set -l words (commandline -opc) (commandline -ct)
    orlop __complete -- $words[2..-1] 2>/dev/null
end
complete -c orlop -f -a '(__orlop_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


@command("bash|zsh|fish", exactly(1))
def completion(session: Session, options: Options, arguments: list[str]) -> None:
    """Print the script that makes a shell complete orlop's command lines."""
    script = _SCRIPTS.get(arguments[0])
    if script is None:
        raise CommandError(f"no completion for {arguments[0]}: there is bash, zsh and fish")
    session.print(script.rstrip("\n"))


@command("-- WORD...", at_least(1), interspersed=False)
def complete(session: Session, options: Options, arguments: list[str]) -> None:
    """Print what the last word may become."""
    for word, help in words(session, arguments):
        session.print(f"{word}\t{help}")


def words(session: Session, arguments: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Yield the completions of the last of `arguments` with their help."""
    *before, last = arguments
    tree = Tree()
    path: tuple[str, ...] = ()
    position = 0
    if before and before[0] in GROUPS:
        path, position = (before[0],), 1
    if position >= len(before):
        yield from _commands(tree, path, last)
        return
    entry = tree.by_path.get((*path, before[position]))
    if entry is None:
        return
    chosen = entry.load()
    assert isinstance(chosen, Command)
    if last.startswith("-"):
        yield from _flags(chosen.flags, last)
    elif chosen.complete and _wants_argument(chosen, before[position + 1 :]):
        yield from _names(session, chosen.complete, last)


def _commands(tree: Tree, path: tuple[str, ...], last: str) -> Iterable[tuple[str, str]]:
    found = [(name, entry.help) for name, entry in tree.members(path)]
    for name, help in sorted([*found, *(() if path else GROUPS.items())]):
        if name.startswith(last):
            yield name, help


def _flags(flags: Iterable[Flag], last: str) -> Iterable[tuple[str, str]]:
    for flag in flags:
        if not flag.hidden and f"--{flag.name}".startswith(last):
            yield f"--{flag.name}", flag.help


def _wants_argument(command: Command, words: Sequence[str]) -> bool:
    """Say whether the next word is an argument: not a flag's value, and of a command's first ones."""
    by_name = {f"--{flag.name}": flag for flag in command.flags} | {f"-{flag.short}": flag for flag in command.flags}
    given = 0
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag = by_name.get(word)
        if flag is not None and flag.kind is not BOOL:
            if not rest:
                return False
            rest.pop(0)
        elif not word.startswith("-"):
            given += 1
    return command.interspersed or given == 0


def _names(session: Session, kind: str, last: str) -> Iterable[tuple[str, str]]:
    try:
        found = _FINDERS[kind](session)
    except errors.Error:  # completion has nobody to tell
        return
    for name, help in found:
        if name.startswith(last):
            yield name, help


def _containers(session: Session) -> list[tuple[str, str]]:
    found = session.engine.do(calls.container_list(all=True))
    return [(name[1:], f"{item['Image']}, {item['Status']}") for item in found for name in item["Names"][:1]]


def _images(session: Session) -> list[tuple[str, str]]:
    return [
        (tag.removesuffix(":latest"), item["Id"][:19])
        for item in session.engine.do(calls.image_list())
        for tag in item.get("RepoTags") or ()
    ]


def _kept(session: Session) -> list[tuple[str, str]]:
    return [(item["Id"][:12], " ".join(item["Command"])) for item in session.engine.do(calls.build_kept())]


def _registries(session: Session) -> list[tuple[str, str]]:
    return [(server, "") for server in {**session.config.mapping("auths"), **session.config.mapping("credHelpers")}]


def _networks(session: Session) -> list[tuple[str, str]]:
    return [(network["Name"], network["Driver"]) for network in session.engine.do(calls.network_list())]


def _volumes(session: Session) -> list[tuple[str, str]]:
    found = session.engine.do(calls.volume_list()).get("Volumes") or ()
    return [(volume["Name"], volume["Driver"]) for volume in found]


_FINDERS = {
    "container": _containers,
    "image": _images,
    "kept": _kept,
    "network": _networks,
    "registry": _registries,
    "volume": _volumes,
}
