"""Preference levels as BGP attributes (protocol §4): strictly ordered, HIGH by term, then rank."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from l3ha.base.names import Level, NodeId, Term
from l3ha.base.settings import Preference, Profile
from l3ha.core import preference
from l3ha.wire.wish import Attributes
from tests.world import settings

NEIGHBOR = settings(1).neighbors[0]
LP = Preference(Profile.LOCAL_PREFERENCE, 50, 100, 1000)
MED = Preference(Profile.MED, 4294967295, 4294967294, 4294967000)
COMMUNITY = replace(MED, profile=Profile.COMMUNITY, communities=("65000:50", "65000:100", "65000:200"))
PREPEND = Preference(Profile.PREPEND, 6, 3, 0)

terms = st.integers(0, preference.MAX_TERM)
ranks = st.integers(1, preference.RANKS - 1)


def make(p: Preference, level: Level, term: int = 0, rank: int = 1) -> Attributes:
    a = preference.attributes(replace(NEIGHBOR, preference=p), level, Term(term), rank, ipv6=False)
    assert a is not None
    return a


def desire(a: Attributes) -> tuple[int, int, int]:
    """How a router ranks it: local preference, then path length, then MED."""
    return (a.local_preference or 0, -len(a.as_path or ()), -(a.med or 0))


@given(st.tuples(terms, ranks), st.tuples(terms, ranks))
def test_the_newer_claim_wins_everywhere(a: tuple[int, int], b: tuple[int, int]) -> None:
    for p in (LP, MED, COMMUNITY):
        mine, theirs = desire(make(p, Level.HIGH, *a)), desire(make(p, Level.HIGH, *b))
        assert (mine > theirs) == (a > b) and (mine == theirs) == (a == b)


def test_the_ballot_in_figures() -> None:
    """Two nodes of two versions compare theirs at the same router: sixteen ranks to a term, ten million terms."""
    assert make(LP, Level.HIGH, 7, 3).local_preference == 1000 + 7 * 16 + 3
    assert make(MED, Level.HIGH, 7, 3).med == 4294967000 - 7 * 16 - 3
    last = make(LP, Level.HIGH, 10_000_000).local_preference
    assert last == 1000 + 160_000_000 + 1
    assert make(LP, Level.HIGH, 10_000_001).local_preference == last, "beyond it there is no room in every profile"


def test_as_an_engineer_writes_it() -> None:
    hop = NEIGHBOR.next_hop
    assert preference.describe(make(LP, Level.LOW)) == f"next-hop {hop}, local-preference 50"
    assert preference.describe(make(PREPEND, Level.MEDIUM)) == f"next-hop {hop}, as-path 65001 65001 65001 65001"
    assert preference.describe(make(COMMUNITY, Level.MEDIUM)) == f"next-hop {hop}, med 4294967294, community 65000:100"
    two = Attributes(hop, med=0, communities=("65000:1", "65000:2"))
    assert preference.describe(two) == f"next-hop {hop}, med 0, community 65000:1 65000:2"


@given(terms, ranks)
def test_levels_are_strictly_ordered_and_fit_in_32_bits(term: int, rank: int) -> None:
    for p in (LP, MED, COMMUNITY, PREPEND):
        low, medium, high = (desire(make(p, level, term, rank)) for level in Level)
        assert low < medium < high
        for level in Level:
            a = make(p, level, term, rank)
            assert all(0 <= n < 1 << 32 for n in (a.local_preference or 0, a.med or 0))


def test_community_marks_the_level() -> None:
    assert [make(COMMUNITY, level).communities for level in Level] == [("65000:50",), ("65000:100",), ("65000:200",)]


def test_prepend_writes_the_whole_path() -> None:
    """ExaBGP uses ``as-path`` verbatim: our own AS once, plus what is prepended."""
    assert make(PREPEND, Level.HIGH).as_path == (65001,)
    assert make(PREPEND, Level.MEDIUM).as_path == (65001,) * 4
    assert make(PREPEND, Level.LOW).as_path == (65001,) * 7


def test_next_hop_follows_the_family() -> None:
    assert preference.attributes(NEIGHBOR, Level.LOW, Term(0), 1, ipv6=True) is None, "no IPv6 next hop: not sent"
    both = replace(NEIGHBOR, next_hop6="fd00::1")
    a = preference.attributes(both, Level.LOW, Term(0), 1, ipv6=True)
    assert a is not None and a.next_hop == "fd00::1"
    six = replace(NEIGHBOR, local_address="fd00::2", next_hop="fd00::2")
    assert preference.attributes(six, Level.LOW, Term(0), 1, ipv6=False) is None
    b = preference.attributes(six, Level.LOW, Term(0), 1, ipv6=True)
    assert b is not None and b.next_hop == "fd00::2"


def test_rank_is_priority_then_id() -> None:
    priorities = {NodeId(1): 200, NodeId(2): 100}
    assert [preference.rank_of(n, priorities) for n in priorities] == [2, 1]
    equal = {NodeId(1): 100, NodeId(2): 100}
    assert [preference.rank_of(n, equal) for n in equal] == [1, 2]
