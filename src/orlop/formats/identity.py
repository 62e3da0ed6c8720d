"""Names of things: random ids, the rule for names, names for containers that were given none, chain ids.

An id is 64 hexadecimal digits, its short form the first 12. A short id is never all digits: some programs would read
it as a number.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable

from orlop.errors import InvalidArgument

__all__ = [
    "NAME_CHARACTERS",
    "chain_ids",
    "check_container_name",
    "is_id",
    "is_name",
    "new_id",
    "new_instance_id",
    "random_name",
    "short_id",
]

NAME_CHARACTERS = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
"""What a name is made of, as error messages say it; a name has two characters at least."""

_NAME = re.compile(rf"{NAME_CHARACTERS}+", re.ASCII)
_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)


def new_id() -> str:
    """Return a new random id."""
    while True:
        value = secrets.token_hex(32)
        if not value[:12].isdigit():
            return value


def new_instance_id() -> str:
    """Return the id of a new data root: six hexadecimal digits, short enough for the name of a network interface."""
    return secrets.token_hex(3)


def short_id(value: str) -> str:
    """Return the short form of an id, with or without the name of a digest algorithm before it."""
    return value.rpartition(":")[2][:12]


def is_id(text: str) -> bool:
    """Tell whether `text` is a whole id."""
    return _ID.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Tell whether `text` may name a container, a volume or a network."""
    return _NAME.fullmatch(text) is not None


def check_container_name(name: str) -> str:
    """Return the container's name without its optional leading slash. Raises `InvalidArgument`."""
    bare = name.removeprefix("/")
    if not is_name(bare):
        raise InvalidArgument(f"Invalid container name ({name}), only {NAME_CHARACTERS} are allowed")
    return bare


def random_name(attempt: int = 0) -> str:
    """Return a name such as ``brave_lantern``; from the second attempt on with a digit, for names that are taken."""
    name = f"{secrets.choice(_adjectives)}_{secrets.choice(_nouns)}"
    return f"{name}{secrets.randbelow(10)}" if attempt > 0 else name


def chain_ids(diff_ids: Iterable[str]) -> list[str]:
    """Return the chain id of each layer: its diff id together with all those below it (image-spec config.md)."""
    chain: list[str] = []
    for diff_id in diff_ids:
        if chain:
            diff_id = f"sha256:{hashlib.sha256(f'{chain[-1]} {diff_id}'.encode()).hexdigest()}"
        chain.append(diff_id)
    return chain


_ADJECTIVES = """
    able agile airy amber ample apt azure balmy blithe bold bonny brave breezy bright brisk briny buoyant calm candid
    careful cheery chief civil clear clever cordial cosy crisp curious dapper daring deft dewy distant early eager
    earnest easy even fair faithful fearless fine firm fleet fond fresh gallant gentle glad gleaming golden good
    graceful grand hale handy happy hardy hearty helpful humble jaunty jolly jovial keen kind lasting level light
    likely limber lively loyal lucid lucky mellow merry mighty mild modest neat nimble noble northern novel open
    patient placid plucky polite proud prudent quick quiet ready restful robust rosy rugged salty sandy sane sedate
    serene sharp silent silver simple sincere smart smooth snug sober solid sound spry stable starry steady stout
    sturdy sunny sure swift tender thrifty tidy tranquil trim true trusty upbeat vast versed vivid warm wary watchful
    western whole wise witty worthy zesty
"""

_NOUNS = """
    albatross anchor anchorage atoll auk avocet ballast barge bark barnacle barque bay beacon berth binnacle bluff boom
    bosun bow bowsprit brig brine buoy cape capstan caravel cargo catamaran cay channel chart clam clipper coast
    compass coral cordage cormorant cove coxswain crab crest current cutter cuttlefish dinghy dock dolphin dory
    dugong eddy eider estuary ferry fjord flagship foam fog frigate galleon galley gangway gannet gull gulf halyard
    harbour hatch haven hawser headland helm herring horizon hull inlet island isthmus jetty jib kayak keel kelp ketch
    knot lagoon lantern launch limpet longboat lookout lugger mackerel mainsail manatee marina marlin mast mate
    mooring moray narwhal nautilus navigator oar ocean orca orlop osprey otter oyster paddle pearl pelican penguin
    petrel pier pilot pinnace plankton plover pontoon porpoise port prow puffin quay raft reef regatta rigging rudder
    sailor sandbar schooner scupper seahorse seal sextant shallop shanty shark shell shoal shore skerry skiff sloop
    sound spar spindrift spinnaker spray squid starfish steamer stern sternpost strait surf swell tern tide tiller
    transom trawler trident trimaran tuna turtle urchin voyage wake walrus watch wave whale wharf whelk winch windlass
    yacht yardarm yawl
"""

_adjectives = _ADJECTIVES.split()
_nouns = _NOUNS.split()
