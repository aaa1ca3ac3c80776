"""ExaBGP's text: exactly one line of numbers out; any bytes in. The lines are as 4.2.25 and 5.0.15 wrote them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3ha.base.limits import PREFIXES_PER_COMMAND
from l3ha.wire.exabgp import (
    MAX_COMMAND,
    Ack,
    Announce,
    Heard,
    OtherEvent,
    Question,
    RouteLine,
    Session,
    SessionChanged,
    SessionLine,
    SessionsHeader,
    ShuttingDown,
    Signalled,
    Unknown,
    VersionLine,
    Withdraw,
    decode,
    encode,
)
from l3ha.wire.wish import Attributes

# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (
            Announce(
                "10.0.1.1",
                Attributes("10.0.1.2", local_preference=200),
                (65001, 7, 42),
                ("198.51.100.1/32", "198.51.100.2/32"),
            ),
            "neighbor 10.0.1.1 announce attributes next-hop 10.0.1.2 local-preference 200 "
            "large-community [65001:7:42] nlri 198.51.100.1/32 198.51.100.2/32",
        ),
        (
            Announce(
                "fd00:1::1",
                Attributes("fd00:1::2", med=100, as_path=(65010, 65010), communities=("65010:100", "65535:0")),
                (1, 2, 3),
                ("2001:db8::/32",),
            ),
            "neighbor fd00:1::1 announce attributes next-hop fd00:1::2 med 100 as-path [ 65010 65010 ] "
            "community [ 65010:100 65535:0 ] large-community [1:2:3] nlri 2001:db8::/32",
        ),
        (
            Announce("10.0.1.1", Attributes("10.0.1.2", med=0, as_path=()), (1, 2, 3), ("0.0.0.0/0",)),
            "neighbor 10.0.1.1 announce attributes next-hop 10.0.1.2 med 0 as-path [ ] large-community [1:2:3] "
            "nlri 0.0.0.0/0",
        ),
        (
            Withdraw("10.0.1.1", "10.0.1.2", (65001, 7, 45), ("198.51.100.1/32",)),
            "neighbor 10.0.1.1 withdraw attributes next-hop 10.0.1.2 large-community [65001:7:45] nlri 198.51.100.1/32",
        ),
        (Question.SESSIONS, "show neighbor summary"),
        (Question.ROUTES, "show adj-rib out"),
        (Question.VERSION, "version"),
    ],
)
def test_commands(command: Announce | Withdraw | Question, line: str) -> None:
    assert encode(command) == line.encode() + b"\n"


numbers = st.integers(0, (1 << 32) - 1)
prefixes = st.ip_addresses().map(lambda a: f"{a}/{a.max_prefixlen}")
announcements = st.builds(
    Announce,
    st.ip_addresses().map(str),
    st.builds(
        Attributes,
        st.ip_addresses().map(str),
        st.none() | numbers,
        st.none() | numbers,
        st.none() | st.lists(numbers, max_size=10).map(tuple),
        st.lists(
            st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(lambda c: f"{c[0]}:{c[1]}"), max_size=4
        ).map(tuple),
    ),
    st.tuples(numbers, numbers, numbers),
    st.lists(prefixes, min_size=1, max_size=PREFIXES_PER_COMMAND).map(tuple),
)
OTHER_COMMANDS = re.compile(
    r"(shutdown|restart|reload|reset|crash|teardown|flush|clear|help|debug|eor|route|watchdog) "
)


@given(announcements)
def test_one_line_of_known_words(command: Announce) -> None:
    """ExaBGP looks for its commands anywhere in a line: none but the one that is meant may be found."""
    line = encode(command)
    assert line.endswith(b"\n") and line.count(b"\n") == 1 and len(line) <= MAX_COMMAND
    text = line[:-1].decode("ascii")
    assert text.isprintable() and not OTHER_COMMANDS.search(text + " ")
    assert text.endswith(" nlri " + " ".join(command.prefixes))


@pytest.mark.parametrize("bad", ["graceful-shutdown", "self", "shutdown", "a b", "1\n2", "é", "", "fe80::1%eth0", "*"])
@pytest.mark.parametrize(
    "make",
    [
        lambda bad: Announce(bad, Attributes("10.0.0.1"), (1, 2, 3), ("10.0.0.0/8",)),
        lambda bad: Announce("10.0.0.2", Attributes(bad), (1, 2, 3), ("10.0.0.0/8",)),
        lambda bad: Announce("10.0.0.2", Attributes("10.0.0.1", communities=(bad,)), (1, 2, 3), ("10.0.0.0/8",)),
        lambda bad: Withdraw("10.0.0.2", "10.0.0.1", (1, 2, 3), (bad,)),
    ],
)
def test_no_word_slips_through(make: Callable[[str], Announce | Withdraw], bad: str) -> None:
    with pytest.raises(AssertionError):
        encode(make(bad))


@pytest.mark.parametrize("count", [0, PREFIXES_PER_COMMAND + 1])
def test_a_command_has_one_to_fifty_prefixes(count: int) -> None:
    with pytest.raises(AssertionError):
        encode(Withdraw("10.0.0.2", "10.0.0.1", (1, 2, 3), ("10.0.0.0/8",) * count))


# --- what ExaBGP says ---------------------------------------------------------------------------------------------

UP_5 = (
    '{ "exabgp": "5.0.0", "time": 1795240443.739799, "host" : "vm", "pid" : 19297, "ppid" : 19296, "counter": 2, '
    '"type": "state", "neighbor": { "address": { "local": "10.0.1.2", "peer": "10.0.1.1" }, "asn": { "local": 65001, '
    '"peer": 65001 }, "router-id": "10.0.1.2" , "state": "up" } }'
)
DOWN_42 = (
    '{ "exabgp": "4.0.1", "time": 1795240460.5356674, "host" : "vm", "pid" : 19325, "ppid" : 19324, "counter": 4, '
    '"type": "state", "neighbor": { "address": { "local": "fd00:1::2", "peer": "fd00:1::1" }, "asn": { "local": 65001, '
    '"peer": 65020 } , "state": "down", "reason": "peer reset, message (notification received (2,2)) error(\'utf-8\' '
    "codec can't decode byte 0xfd in position 0: invalid start byte)\" } }"
)
DOWN_UNESCAPED = DOWN_42.replace("message", 'message "with quotes" and \\ more')
SIGNAL = UP_5.replace('"state"', '"signal"', 1).replace('"state": "up"', '"code": "10", "name": "SIGUSR1"')
SHUTDOWN = (
    '{ "exabgp": "4.0.1", "time": 1795240475.7, "host" : "vm", "pid" : 19325, "ppid" : 19324, "counter": 4, '
    '"type": "notification", "notification": "shutdown" }'
)
REASON_42 = (
    "peer reset, message (notification received (2,2)) error('utf-8' codec can't decode byte 0xfd in position 0: "
    "invalid start byte)"
)


@pytest.mark.parametrize(
    ("line", "heard"),
    [
        ("done", Ack.DONE),
        ("error", Ack.ERROR),
        (UP_5, SessionChanged("10.0.1.1", Session.UP, "")),
        (UP_5.replace('"up"', '"connected"'), SessionChanged("10.0.1.1", Session.CONNECTED, "")),
        (DOWN_42, SessionChanged("fd00:1::1", Session.DOWN, REASON_42[:120])),
        (DOWN_UNESCAPED, SessionChanged("fd00:1::1", Session.DOWN, "")),
        (SIGNAL, Signalled("SIGUSR1")),
        (SHUTDOWN, ShuttingDown()),
        (SHUTDOWN.replace('"shutdown"', '"x"'), OtherEvent("notification")),
        ("Peer            AS        up/down state       |     #sent     #recvd", SessionsHeader()),
        ("10.0.1.1        65001     0:00:07 established           2          0", SessionLine("10.0.1.1", True)),
        ("10.0.1.1        65001        down established           2          0", SessionLine("10.0.1.1", True)),
        ("fd00:1::1       65020        down idle                  0          0", SessionLine("fd00:1::1", False)),
        ("10.0.1.1        65001   1 day, 0:00:07 established      2          0", SessionLine("10.0.1.1", True)),
        (
            "10.0.1.1 ipv4 unicast 198.51.100.1/32 next-hop 10.0.1.2",
            RouteLine("10.0.1.1", "198.51.100.1/32", "10.0.1.2"),
        ),
        (
            "neighbor 10.0.1.1 ipv6 unicast 2001:db8::1/128 next-hop fd00:1::2",
            RouteLine("10.0.1.1", "2001:db8::1/128", "fd00:1::2"),
        ),
        ("10.0.1.1 ipv4 unicast 10.0.0.0/8 next-hop self", RouteLine("10.0.1.1", "10.0.0.0/8", "192.0.2.1")),
        ("10.0.1.1 ipv6 unicast 2001:db8::/48 next-hop self", RouteLine("10.0.1.1", "2001:db8::/48", "2001:db8::1")),
        ("exabgp 4.2.25", VersionLine("4.2.25")),
        ("exabgp 5.0.15", VersionLine("5.0.15")),
        ("exabgp 4.2.25" + "9" * 100, Unknown("exabgp 4.2.25" + "9" * 100)),
        ("exabgp 5.0.15\x1b[2J", Unknown("exabgp 5.0.15?[2J")),
        (UP_5.replace('"up"', '"down", "reason": "\\u001b[2J"'), SessionChanged("10.0.1.1", Session.DOWN, "?[2J")),
        ("Done", Unknown("Done")),
        ("", Unknown("")),
        ("10.0.1.1 ipv4 unicast 198.51.100.1/24 next-hop 10.0.1.2", None),
        ("10.0.1.999 ipv4 unicast 198.51.100.1/32 next-hop 10.0.1.2", None),
        (UP_5.replace("10.0.1.1", "fe80::1%eth0"), None),
        (UP_5.replace('"up"', '"sideways"'), None),
        (UP_5.replace('{ "local": "10.0.1.2", "peer": "10.0.1.1" }', "7"), None),
        (UP_5[:200], None),
        ("{" * 100_000, None),
    ],
)
def test_lines(line: str, heard: object) -> None:
    found = decode(line.encode())
    assert found == heard if heard is not None else isinstance(found, Unknown)


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: ("{" + text).encode("utf-8", "replace")))
def test_any_bytes(line: bytes) -> None:
    assert isinstance(decode(line), Heard)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from([UP_5, SIGNAL, SHUTDOWN]), json_values, st.data())
def test_any_damage(line: str, value: object, data: st.DataObject) -> None:
    raw = json.loads(line)
    where = raw
    if "neighbor" in raw and data.draw(st.booleans()):
        where = raw["neighbor"]
    where[data.draw(st.sampled_from(sorted(where)))] = value
    assert isinstance(decode(json.dumps(raw).encode()), Heard)
