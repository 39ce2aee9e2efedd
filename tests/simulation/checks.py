"""What has to be true when all is healed and time has passed."""

from typing import TYPE_CHECKING

from mongoosetw.cluster.sessions.redis import RedisDirectory
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.testing.nodes import MemoryNode
from mongoosetw.xmpp.jid import JID
from tests.simulation.device import Device
from tests.simulation.messages import Message, Receipt

if TYPE_CHECKING:  # types only
    from tests.simulation.world import World

Entry = tuple[str, int, int | None, tuple[str, ...]]
"""Node, sid, priority and flags of a session."""


def _entry(node: str, session: SessionLike) -> Entry:
    place = node if session.local else str(getattr(session, "node", "?"))
    return place, session.sid, session.priority, tuple(sorted(session.flags))


def registry(world: "World") -> list[str]:
    """Every node knows all sessions that it follows as their owners do; so do the devices."""
    truth: dict[JID, Entry] = {}
    problems = []
    for node in world.cluster.nodes.values():
        for session in node.server.hosts["localhost"].sessions:
            if session.local:
                if session.jid in truth:
                    problems.append(f"{session.jid} is on {truth[session.jid]} and {node.name}")
                truth[session.jid] = _entry(node.name, session)
    for node in world.cluster.nodes.values():
        sessions = node.server.hosts["localhost"].sessions
        known = {session.jid: _entry(node.name, session) for session in sessions}
        for jid in dict.fromkeys((*truth, *known)):
            if truth.get(jid) != known.get(jid) and _follows(node, jid):
                problems.append(f"{node.name} has {jid} as {known.get(jid)}, not {truth.get(jid)}")
    return problems + _devices(world, truth)


def _follows(node: MemoryNode, jid: JID) -> bool:
    """Whether a node has to know a session."""
    cluster = node.server.cluster
    assert cluster is not None
    known = cluster.directory
    return not isinstance(known, RedisDirectory) or known.follows(jid.bare)


def _devices(world: "World", truth: dict[JID, Entry]) -> list[str]:
    problems = []
    bound = {}
    for device in world.devices:
        if device.wanted and not device.bound:
            problems.append(f"{device} could not come back")
        if device.bound:
            if device.jid in bound:
                problems.append(f"two devices believe that they are {device}")
            assert device.line is not None
            bound[device.jid] = device
            priority = None if device.status is None else device.priority
            entry = truth.get(device.jid)
            if entry is None or (entry[0], entry[2]) != (device.line.node.name, priority):
                where = f"on {device.line.node.name} with priority {priority}"
                problems.append(f"{device} believes to be {where}, not {entry}")
            elif ("carbons" in entry[3]) != device.carbons:
                problems.append(f"{device} has the flags {entry[3]}")
    problems += [f"{jid} has a session, but no device" for jid in truth if jid not in bound]
    return problems


def presence(world: "World") -> list[str]:
    """Every available device sees its contacts, and its user's devices, as they are."""
    statuses: dict[JID, dict[JID, str]] = {}
    for device in world.devices:
        if device.bound and device.status is not None:
            statuses.setdefault(device.user, {})[device.jid] = device.status
    problems = []
    for device in world.devices:
        if device.bound and device.status is not None:
            wanted: dict[JID, str] = dict(statuses[device.user])
            for contact in world.rosters.seen_by(device.user):
                wanted |= statuses.get(contact, {})
            problems += _compare(device, wanted)
    return problems


def _compare(device: Device, wanted: dict[JID, str]) -> list[str]:
    return [
        f"{device} sees {jid} as {device.view.get(jid)}, who is {wanted.get(jid)}"
        for jid in dict.fromkeys((*wanted, *device.view))
        if device.view.get(jid) != wanted.get(jid)
    ]


def messages(world: "World") -> list[str]:
    """What the server has acknowledged has arrived, in order, and more than once only by its id."""
    unmanaged = {device.user for device in world.devices if not device.managed}
    problems = []
    for message in world.messages.values():
        safe = message.to.bare not in unmanaged and not _at_risk(world, message)
        if message.acknowledged and safe and not message.arrivals and not message.returned:
            problems.append(f"{message} was acknowledged and is lost")
        ids = {receipt.stanza_id for receipt in message.arrivals}
        if len(message.arrivals) > 1 and len(ids) > 1 and not _several(message):
            problems.append(f"{message} has arrived several times, with the ids {sorted(ids)}")
    return problems + order(world)


def _at_risk(world: "World", message: Message) -> bool:
    risks = world.risks.get(message.to.bare, ())
    return any(begin <= message.at <= end for begin, end in risks)


def _several(message: Message) -> bool:
    """Whether each session got it once: one for a bare JID, or for a full one that is gone, may
    go to several (RFC 6121 §8.5.2.1.1, §8.5.3.2.1)."""
    sessions = [(receipt.device, receipt.binding) for receipt in message.arrivals]
    to_it = any(receipt.device == message.to for receipt in message.arrivals)
    return not to_it and len(set(sessions)) == len(sessions)


def order(world: "World") -> list[str]:
    """What one session sends to another one's full JID arrives there in order.

    Before a session is available it gets what is for its address (RFC 6121 §8.5.3.1), but not what
    waits: what an older one of the address has not acknowledged comes after that (XEP-0160 §2).
    """
    last: dict[tuple[JID, int, JID, int, bool], tuple[float, int]] = {}
    problems = []
    for message in world.messages.values():
        if message.to.is_bare:
            continue
        for receipt in _first_arrivals(world, message):
            to = receipt.device, receipt.binding, receipt.available
            key = (message.sender, message.binding, *to)
            before = last.get(key, (0.0, 0))
            if receipt.at < before[0]:
                problems.append(f"{message} has arrived before message {before[1]}")
            last[key] = max(before, (receipt.at, message.number))
    return problems


def _first_arrivals(world: "World", message: Message) -> list[Receipt]:
    """The first arrival at each session to whose full JID, and during which, it was sent."""
    found: dict[int, Receipt] = {}
    for receipt in message.arrivals:
        if receipt.device == message.to and message.at > receipt.bound_at:
            found.setdefault(receipt.binding, receipt)
    return list(found.values())


GROUPS = {"registry": registry, "presence": presence, "messages": messages}
