"""Endings: what the pair has come to when the world stands still, and which bad endings are known (protocol §9)."""

from __future__ import annotations

from l3ha.base.names import SrgState
from l3ha.base.time import SECOND, Duration
from l3ha.core import picture
from l3ha.core.facts import Rule
from l3ha.core.icl import MAX_GRACE
from l3ha.core.srg import SrgMachine
from l3ha.sim import bounds
from l3ha.sim.bounds import Law
from l3ha.sim.faults import CHANCE, Fault, Kind
from l3ha.sim.judge import Violation, any_contact
from l3ha.sim.setting import GROUP, NODES, ROUTERS
from l3ha.sim.world import World

STEP: Duration = SECOND // 10
"""How often the world is looked at while it comes to rest."""

_HANGS = frozenset({Kind.EXABGP_ERRORS, Kind.EXABGP_HANG, Kind.EXABGP_MUTE, Kind.EXABGP_SLOW, Kind.FREEZE_NODE})

_MISLEADING = _HANGS | {
    Kind.LINK_DOWN,
    Kind.BLACKHOLE,
    Kind.ROUTER_DOWN,
    Kind.ACL,
    Kind.ECMP,
    Kind.LIE,
    Kind.KILL_HELPER,
    Kind.KILL_EXABGP,
}


def machine(world: World, node: int) -> SrgMachine | None:
    """The group's machine on a node whose agent runs."""
    n = world.nodes[node]
    return n.agent.engine.srgs[GROUP] if n.running and n.agent is not None else None


def settled(world: World) -> bool:
    """One confirmed ACTIVE (and one BACKUP, in contact, where there are two), all mended, every router follows."""
    pair = {n: machine(world, n) for n in world.nodes}
    active = [n for n, m in pair.items() if m is not None and m.state is SrgState.ACTIVE and m.confirmed]
    backup = [n for n, m in pair.items() if m is not None and m.state is SrgState.BACKUP and not m.draining]
    if len(active) != 1 or len(backup) != len(pair) - 1:
        return False
    engines = [a.engine for n in pair if (a := world.nodes[n].agent) is not None]
    followed = all(r.best() == active[0] for r in world.routers.values())
    if any(e._stop is not None for e in engines):
        return False  # told to stop before everything healed: it ends in its own time, and is started again
    met = len(pair) == 1 or all(any_contact(e) for e in engines)
    return followed and met and all(e.speaker.synced() and e.speaker.all_up() for e in engines)


def held_back(world: World) -> bool:
    """Whether a BACKUP would have the group by its priority."""
    pair = {n: machine(world, n) for n in world.nodes}
    active = [m.priority for m in pair.values() if m is not None and m.state is SrgState.ACTIVE]
    return any(
        m is not None and m.state is SrgState.BACKUP and m.priority > max(active, default=0) for m in pair.values()
    )


def describe(world: World) -> str:
    """Both nodes and both routers in one line."""
    words = []
    for n in world.nodes:
        m = machine(world, n)
        if m is None:
            words.append(f"n{n} down")
            continue
        agent = world.nodes[n].agent
        assert agent is not None
        e = agent.engine
        right = "" if m.confirmed or m.state is not SrgState.ACTIVE else "?"
        words.append(
            f"n{n} {m.state}{right} t{m.term}/{m.seen} [{m.rule}] contact={any_contact(e)} "
            f"reach={sorted(e.speaker.reach())} node={e.node.state} synced={e.speaker.synced()} "
            f"probe={e.probes[GROUP].verdict}"
        )
    return "; ".join([*words, *(f"{r.name}->{r.best()}" for r in world.routers.values())])


def cure(world: World) -> Duration:
    """Extra time for an ExaBGP that hung or lost answers until just now, and for an agent that was told to stop or that
    announced a restart."""
    hung = bounds.EXABGP_CURE if any(k in _HANGS for k in world.kinds) else 0
    hung += MAX_GRACE if Kind.RESTART in world.kinds else 0
    return hung + (bounds.left(world.variant.timers) if Kind.STOP in world.kinds else 0)


def of_chance(world: World) -> list[Fault]:
    """Active faults that throw dice for ever."""
    return [f for f in world.active if f.kind in CHANCE]


def in_core(world: World, core: tuple[int, str]) -> list[Fault]:
    """Active faults of one node, its links and one router, and all that throw dice."""
    node, router = core
    mine = [f for f in world.active if f.node == node or (f.place == router and not f.node and f.kind is not Kind.CUT)]
    return mine + [f for f in of_chance(world) if f not in mine]


def judge(world: World, core: tuple[int, str] | None) -> str:
    """L2, L3, L4: let it come to rest, then watch. Returns what kind of ending it is."""
    t = world.variant.timers
    wait = bounds.core_settled(t, world.variant.hold) + bounds.PROCESSES_START + cure(world)
    if world.variant.blind_after is not None:
        wait += world.variant.blind_after
    if world.nodes[1].settings.srgs[0].preempt is not None:
        wait += bounds.preempted(t, world.nodes[1].settings.srgs[0].preempt.stable_for)
    if not _rests(world, wait):
        before = len(world.judge.transitions)
        world.run(bounds.STEADY)
        after = world.judge.transitions[before:]
        for n in world.nodes:
            if sum(1 for _, who, _ in after if who == n) > bounds.STEADY_CHANGES:
                raise Violation(Law.L3, f"{after[:6]}; {describe(world)}", world.clock.now)
    return _serves(world, core)


def _rests(world: World, limit: Duration) -> bool:
    """Until nothing has changed for as long as any timer may run in silence: what begins now would have begun by then.
    False where that does not come within ``limit``."""
    outside = max(world.variant.hold, world.variant.blind_after or 0)
    patience = max(bounds.STEADY, bounds.at_rest(world.variant.timers, outside) + cure(world))
    end = quiet_since = world.clock.now
    end += limit
    while world.clock.now < quiet_since + patience:
        if world.clock.now >= end:
            return False
        known = len(world.judge.transitions)
        world.run(min(STEP, end - world.clock.now))
        if len(world.judge.transitions) > known:
            quiet_since = world.clock.now
    return True


def _serves(world: World, core: tuple[int, str] | None) -> str:
    """L2 and L4 at the end, each known exception by its geometry."""
    able = [n for n in world.nodes if _able(world, n)]
    for name, router in world.routers.items():
        near = [n for n in able if world.conditions.both_ways(n, name)]
        best = router.best()
        if near and (best is None or not world.conditions.both_ways(best, name)):
            raise Violation(Law.L4, f"{name} -> {best}; {describe(world)}", world.clock.now)
    active = [n for n in world.nodes if (m := machine(world, n)) is not None and m.state is SrgState.ACTIVE]
    for n in active:
        if _cut_off(world, n):
            raise Violation(
                Law.L3, f"n{n} is cut off from everything and stays ACTIVE; {describe(world)}", world.clock.now
            )
    known = accepted(world, active, able)
    if core is not None and core[0] in able and not active and not known:
        raise Violation(Law.L2, f"nobody is ACTIVE; {describe(world)}", world.clock.now)
    if core is None and able and not active and not known:
        raise Violation(Law.L4, f"nobody is ACTIVE; {describe(world)}", world.clock.now)
    if len(active) == 2 and talk(world):
        raise Violation(Law.L3, f"two are ACTIVE although they could talk; {describe(world)}", world.clock.now)
    if len(active) == 2 and not known:
        raise Violation(Law.L3, f"two are ACTIVE and every router is honest; {describe(world)}", world.clock.now)
    return known or f"{len(active)} ACTIVE"


def talk(world: World) -> bool:
    """Whether heartbeats can travel both ways on one path (the same one: an echo goes back where it came from)."""
    paths = [p.name for peer in world.nodes[1].settings.peers for p in peer.paths]
    return all(n.running for n in world.nodes.values()) and any(
        all(world.conditions.carries(p, n) for n in NODES) for p in paths
    )


def _cut_off(world: World, node: int) -> bool:
    """Neither a link nor a word of the peer, and an ExaBGP that would tell."""
    hung = any(f.node == node and f.kind in _HANGS for f in world.active)
    return not hung and not talk(world) and not any(world.conditions.both_ways(node, r) for r in ROUTERS)


def _able(world: World, node: int) -> bool:
    n = world.nodes[node]
    if not n.running or n.agent is None:
        return False
    e = n.agent.engine
    return bool(e.speaker.reach()) and not picture.ineligible(e, GROUP, n.local())


def accepted(world: World, active: list[int], able: list[int]) -> str:
    """The endings that no rule cures (protocol §9), recognised by what is broken; empty where it is none of them.

    K1 crossed single links. K2 no heartbeat gets through, and besides a link, a router or an ExaBGP is not what it
    should be, so that the probe cannot tell who is preferred (no excuse for a node without any link: it knows that);
    the same where each node has won at its own router and one of these then answers nobody: who won there stays ACTIVE,
    unconfirmed. (To step down instead is worse: the exploration then ends with nobody ACTIVE two to five times as
    often, also where the peer is simply dead.) K3 the peer is gone or unheard and no reachable arbiter answers the
    floating address to anybody who could take over: nobody becomes ACTIVE, traffic follows the only route. K4 no
    heartbeat gets through and ``blind_after`` is configured: a node that no router has ever answered takes over beside
    the one that they prefer. That is what *blind* is for: availability before certainty.
    """
    c = world.conditions
    links = {n: {r for r in ROUTERS if c.both_ways(n, r)} for n in world.nodes}
    if len(links) == 2 and all(len(near) == 1 for near in links.values()) and links[1] != links[2]:
        return "K1 crossed single links"
    misled = any(f.kind in _MISLEADING for f in world.active)
    if len(active) == 2 and not talk(world) and misled:
        return "K2 unheard, and the probe is misled"
    blind = any((m := machine(world, n)) is not None and m.rule is Rule.BLIND for n in active)
    if len(active) == 2 and not talk(world) and blind:
        return "K4 unheard, and one took over blindly"
    if not active and not talk(world) and able:
        silent = [n for n in able if all(not _hears(world, n, r) for r in links[n])]
        if len(silent) == len(able):
            return "K3 no arbiter answers"
    return ""


def _hears(world: World, node: int, router: str) -> bool:
    """Whether the router would answer a floating echo to this node."""
    c = world.conditions
    if router in c.acl:
        return False
    if router in c.lie:
        return c.lie[router] == node
    return router in c.ecmp or world.routers[router].best() == node


__all__ = ["accepted", "cure", "describe", "in_core", "judge", "machine", "of_chance", "settled", "talk"]
