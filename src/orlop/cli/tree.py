"""The names of all commands and where each lives: the only thing that is read before a command is known.

A command has one or more paths ("container ls", "ps"); within a group the first is its name and the others are
aliases. The module is imported when the command runs.
"""

from __future__ import annotations

__all__ = ["COMMON", "GROUPS", "TABLE", "Entry", "Tree"]


class Entry:
    """A command: `where` is module and attribute below `orlop.cli.commands`, `help` its line in a list."""

    __slots__ = ("help", "hidden", "paths", "where")

    def __init__(self, where: str, help: str, *paths: str, hidden: bool = False) -> None:
        self.where = where
        self.help = help
        self.paths = tuple(tuple(path.split()) for path in paths)
        self.hidden = hidden

    def load(self) -> object:
        """Import the command."""
        from importlib import import_module

        module, _, attribute = self.where.partition(":")
        return getattr(import_module(f"orlop.cli.commands.{module}"), attribute)

    def canonical(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """Return the name proper of a command that was called by `path`."""
        return next(candidate for candidate in self.paths if candidate[:-1] == path[:-1])


GROUPS = {
    "builder": "Manage builds",
    "container": "Manage containers",
    "image": "Manage images",
    "manifest": "Look at manifests in registries",
    "network": "Manage networks",
    "registry": "Run a registry of one's own",
    "system": "Manage Orlop",
    "volume": "Manage volumes",
}

COMMON = ("run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search", "version", "info")

TABLE = (
    Entry("create:run", "Create and run a new container from an image", "container run", "run"),
    Entry("create:create", "Create a new container", "container create", "create"),
    Entry("exec:exec", "Run a command in a running container", "container exec", "exec"),
    Entry("attach:attach", "Connect the terminal to a running container", "container attach", "attach"),
    Entry("start:start", "Start stopped containers", "container start", "start"),
    Entry("lifecycle:stop", "Stop running containers", "container stop", "stop"),
    Entry("lifecycle:restart", "Restart containers", "container restart", "restart"),
    Entry("lifecycle:kill", "Send a signal to running containers", "container kill", "kill"),
    Entry("lifecycle:pause", "Freeze all processes of containers", "container pause", "pause"),
    Entry("lifecycle:unpause", "Thaw the processes of paused containers", "container unpause", "unpause"),
    Entry("lifecycle:rename", "Give a container another name", "container rename", "rename"),
    Entry("lifecycle:remove", "Remove containers", "container rm", "container remove", "rm"),
    Entry("lifecycle:wait", "Wait until containers stop, then print their exit codes", "container wait", "wait"),
    Entry("update:update", "Change the limits of containers", "container update", "update"),
    Entry("list:containers", "List containers", "container ls", "container list", "container ps", "ps"),
    Entry("logs:logs", "Show the output of a container", "container logs", "logs"),
    Entry("look:top", "Show the processes of a container", "container top", "top"),
    Entry("look:port", "Show the published ports of a container", "container port", "port"),
    Entry("look:diff", "Show what a container changed in its filesystem", "container diff", "diff"),
    Entry("stats:stats", "Watch the resource usage of containers", "container stats", "stats"),
    Entry("commit:commit", "Make an image of what a container has changed", "container commit", "commit"),
    Entry("save:export", "Write a container's filesystem to a tar archive", "container export", "export"),
    Entry("inspect:inspect_container", "Show all details of containers", "container inspect"),
    Entry("prune:containers", "Remove all stopped containers", "container prune"),
    Entry("list:images", "List images", "image ls", "image list", "images"),
    Entry("build:build", "Build an image from a Dockerfile", "image build", "build", "builder build"),
    Entry("builder:prune", "Remove build cache", "builder prune"),
    Entry("builder:disk_usage", "Show what the build cache keeps", "builder du"),
    Entry("builder:shell", "Open a shell in what was kept of a step", "builder shell"),
    Entry("builder:dismiss", "Remove what was kept of steps", "builder dismiss"),
    Entry("pull:pull", "Download an image from a registry", "image pull", "pull"),
    Entry("push:push", "Upload an image to a registry", "image push", "push"),
    Entry("save:save", "Write images to a tar archive", "image save", "save"),
    Entry("image:load", "Load images from a tar archive", "image load", "load"),
    Entry("image:import_", "Make an image of a filesystem archive", "image import", "import"),
    Entry("image:tag", "Give an image another name", "image tag", "tag"),
    Entry("image:remove", "Remove images", "image rm", "image remove", "rmi"),
    Entry("image:history", "Show the layers of an image", "image history", "history"),
    Entry("inspect:inspect_image", "Show all details of images", "image inspect"),
    Entry("anatomy:diff", "Show which files differ between two images", "image diff"),
    Entry("prune:images", "Remove unused images", "image prune"),
    Entry("login:login", "Log in to a registry", "login"),
    Entry("login:logout", "Log out from a registry", "logout"),
    Entry("search:search", "Look for images in a registry", "search"),
    Entry("manifest:inspect", "Show a manifest or an index as its registry has it", "manifest inspect"),
    Entry("volume:create", "Create a volume", "volume create"),
    Entry("volume:list_volumes", "List volumes", "volume ls", "volume list"),
    Entry("volume:remove", "Remove volumes", "volume rm", "volume remove"),
    Entry("inspect:inspect_volume", "Show all details of volumes", "volume inspect"),
    Entry("prune:volumes", "Remove unused local volumes", "volume prune"),
    Entry("network:list_networks", "List networks", "network ls", "network list"),
    Entry("inspect:inspect_network", "Show all details of networks", "network inspect"),
    Entry("inspect:inspect", "Show all details of containers, images, volumes and networks", "inspect"),
    Entry("system:events", "Watch what happens in the daemon", "system events", "events"),
    Entry("info:info", "Show information on the daemon and its host", "system info", "info"),
    Entry("system:disk_usage", "Show how much disk space is used", "system df"),
    Entry("check:check", "Verify what the daemon keeps, and mend it", "system check"),
    Entry("prune:system", "Remove unused data", "system prune"),
    Entry("system:dial_stdio", "Connect standard input and output to the daemon", "system dial-stdio", hidden=True),
    Entry("version:version", "Show the versions of client and daemon", "version"),
    Entry("registry:serve", "Serve a registry", "registry serve"),
    Entry("registry:collect", "Remove what no manifest in a registry needs", "registry gc"),
    Entry("doctor:doctor", "Check whether this machine can run containers", "doctor"),
    Entry("completion:completion", "Print the completion script of a shell", "completion"),
    Entry("completion:complete", "List completions of a command line", "__complete", hidden=True),
)


class Tree:
    """All commands, by path and by group."""

    def __init__(self, table: tuple[Entry, ...] = TABLE) -> None:
        self.table = table
        self.by_path = {path: entry for entry in table for path in entry.paths}

    def members(self, group: tuple[str, ...]) -> list[tuple[str, Entry]]:
        """Return the visible commands of a group (the root is the empty path) with their names, sorted."""
        found = {}
        for entry in self.table:
            names = [path[-1] for path in entry.paths if path[:-1] == group]
            if names and not entry.hidden:
                found[names[0]] = entry
        return sorted(found.items())
