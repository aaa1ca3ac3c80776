"""The activeness probe of one group: whom does the network prefer? (protocol §2)

Every node asks every arbiter twice: from its own address (does the arbiter answer at all?) and from the floating
address (the answer goes to the node that the arbiter prefers). Where the second is answered the first may be spared.
The verdict is counted in a row, once per interval.
"""

from __future__ import annotations

from collections.abc import Mapping

from l3ha.base.names import SrgId, SrgState, Verdict
from l3ha.base.settings import Arbiter, EchoTarget, Srg
from l3ha.base.time import Duration, Instant, after
from l3ha.core.echo import Echo, EchoResult
from l3ha.core.events import Note, NoteKind
from l3ha.core.group import Group

MISLED_AFTER = 10
"""Verdicts in a row in contact after which "the router does not follow" is an alarm."""


class Probe:
    """Verdict and count of one group. The echoes themselves belong to the engine, because groups share them."""

    def __init__(self, srg: Srg, now: Instant) -> None:
        self.arbiters = srg.arbiters
        self.interval: Duration = srg.probe_interval
        self.verdict = Verdict.UNKNOWN
        self.count = 0
        self.next = now + self.interval
        self._quiet_until = now
        self.answered: frozenset[str] = frozenset()
        """Arbiters that have answered a floating echo of ours since the start."""
        self._told: frozenset[str] = frozenset()
        """The same by the word of the peer, or of the process that this one resumes."""

    @property
    def trusted(self) -> frozenset[str]:
        """Arbiters whose silence says something, for whatever reason; kept on disk for the process that resumes."""
        return self.answered | self._told

    def told(self, answered: frozenset[str]) -> None:
        """What somebody else knows: the peer, or at rule *resume* the earlier process. Without it a node that took over
        unheard, with a claim that a router has preferred too shortly to answer, never learns that it was outranked."""
        self._told = answered & {a.name for a in self.arbiters}

    def sample(self, now: Instant, echoes: Mapping[EchoTarget, Echo], *, active: bool) -> None:
        """Judge the samples that were just closed, if one is due."""
        for arbiter in self.arbiters:
            if arbiter.name not in self.answered and echoes[arbiter.floating].result is EchoResult.ANSWERED:
                self.answered |= {arbiter.name}
        if now < self.next:
            return
        self.next = after(now + self.interval // 2 - 1, self.interval)
        if any(echoes[a.own].skipped for a in self.arbiters):
            return  # whether the arbiter answers at all is asked from now on; until then the last verdict stands
        verdict = self._judge(echoes, active=active)
        if now < self._quiet_until:
            self.verdict, self.count = verdict, 0
        elif verdict is self.verdict:
            self.count += 1
        else:
            self.verdict, self.count = verdict, 1

    def restart(self) -> None:
        """All counts start again (gain or loss of contact)."""
        self.count = 0

    def announced(self, now: Instant, settle: Duration) -> None:
        """An own announcement went out: the counts stand at zero until the routers have settled."""
        self.count = 0
        self._quiet_until = now + settle

    def times(self, verdict: Verdict) -> int:
        """How many times in a row this verdict was given."""
        return self.count if self.verdict is verdict else 0

    def known(self, arbiter: Arbiter, echoes: Mapping[EchoTarget, Echo]) -> bool:
        """Own address answers now, and the floating one has answered since the start, here or at the peer."""
        return arbiter.name in self.trusted and echoes[arbiter.own].closed is EchoResult.ANSWERED

    def decisive(self, group: Group) -> tuple[object, ...]:
        """What may change a decision in contact: how often in a row no longer does once it is enough for any rule."""
        enough = max(group.srg.up, group.srg.down, MISLED_AFTER)
        return (self.verdict, self.answered, min(self.count, enough))

    def _judge(self, echoes: Mapping[EchoTarget, Echo], *, active: bool) -> Verdict:
        known = [a for a in self.arbiters if self.known(a, echoes)]
        if not known:
            return Verdict.UNKNOWN
        answers = [echoes[a.floating].closed is EchoResult.ANSWERED for a in known]
        if not any(answers):
            return Verdict.LOSE
        return Verdict.WIN if active or answers[0] else Verdict.PART


def follow(misled: set[SrgId], group: Group, probe: Probe) -> list[Note]:
    """In contact the probe only informs: a router that does not follow is the operator's to mend (protocol §2).

    ``misled`` are the groups of which that was said; it is said once, and once more when it is over.
    """
    if not group.contact:
        return []
    srg = group.srg.id
    lost = group.state is SrgState.ACTIVE and probe.times(Verdict.LOSE) >= MISLED_AFTER
    both = group.state is SrgState.BACKUP and not group.draining and probe.times(Verdict.WIN) >= MISLED_AFTER
    if (lost or both) and srg not in misled:
        misled.add(srg)
        text = "no router prefers this active node" if lost else "a router prefers this backup node"
        return [Note(NoteKind.ALARM, f"{text}: check its policy, filters and ECMP", srg, alarm=True)]
    if srg in misled and not lost and not both and probe.count >= MISLED_AFTER:
        misled.discard(srg)
        return [Note(NoteKind.ALARM, "the routers follow again", srg)]
    return []
