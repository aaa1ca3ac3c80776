"""The configuration file: what is read, and what is refused with which words on which line."""

# ruff: noqa: E501  (tables of cases: one case, one line)

from __future__ import annotations

import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from l3ha.base.errors import ConfigError, Fault
from l3ha.base.names import LeaseEnd, NodeId
from l3ha.base.settings import Bfd, BfdAuth, EchoTarget, FrrBfd, MonitorKind, Preempt, Preference, Profile, Settings
from l3ha.base.time import HOUR, MINUTE, MS, SECOND
from l3ha.config import lint
from l3ha.config.document import Document, parse
from l3ha.config.load import check, errors_of, load, settings_for

EXAMPLE = Path(__file__).parent.parent / "exabgp-conf" / "l3ha.toml"
TEXT = EXAMPLE.read_text()
FILE = "/nowhere/l3ha.toml"


def edited(*changes: tuple[str, str]) -> str:
    """The example with pieces of text replaced, each where it stands first."""
    text = TEXT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def document(*changes: tuple[str, str]) -> Document:
    return parse(edited(*changes).encode(), FILE)


def faults(*changes: tuple[str, str]) -> list[Fault]:
    return errors_of(document(*changes))


def settings(*changes: tuple[str, str], node: str = "n1") -> Settings:
    d = document(*changes)
    assert errors_of(d) == []
    return settings_for(d, node)


def warned(*changes: tuple[str, str]) -> list[Fault]:
    d = document(*changes)
    assert errors_of(d) == []
    return list(lint.warnings(d))


def without(start: str, end: str) -> tuple[str, str]:
    """A change that cuts from one piece of text up to another."""
    begin = TEXT.index(start)
    return TEXT[begin : TEXT.index(end, begin)], ""


# --- what is read -----------------------------------------------------------------------------------------------------


def test_the_example_has_neither_errors_nor_warnings() -> None:
    assert check(EXAMPLE) == ([], [])


def test_example_as_settings() -> None:
    s = settings()
    assert (s.cluster, s.id, s.name, s.psk, s.private_key) == ("edge", 1, "n1", bytes(32), b"")
    assert s.timers.heartbeat == 100 * MS
    assert s.timers.noactive == 200 * MS
    assert s.timers.boot == 10 * SECOND
    assert s.speaker.lease_end is LeaseEnd.LOWER
    (peer,) = s.peers
    assert (peer.id, peer.name, len(peer.public_key)) == (2, "n2", 32)
    assert [(p.name, p.local, p.remote, p.port, p.router, p.one_hop) for p in peer.paths] == [
        ("icl", "100.64.0.1", "100.64.0.2", 7411, None, True),
        ("r1", "100.64.11.2", "100.64.12.2", 7411, "r1", False),
        ("r2", "100.64.21.2", "100.64.22.2", 7411, "r2", False),
    ]
    r1, r2 = s.neighbors
    assert (r1.local_asn, r1.asn, r1.router, r1.router_id) == (65010, 65010, "r1", "100.64.11.2")
    assert (r1.next_hop, r1.next_hop6, r1.hold_time, r1.port) == ("100.64.11.2", "fd00:11::2", 9, 179)
    assert r1.preference == Preference(Profile.LOCAL_PREFERENCE, 50, 100, 1000)
    assert r2.preference == Preference(Profile.MED, 4294967295, 4294967294, 4294967000)
    (srg,) = s.srgs
    assert srg.priorities == {NodeId(1): 200, NodeId(2): 100}
    assert (srg.preempt, srg.blind_after, srg.threshold, srg.up, srg.down) == (None, None, 100, 2, 3)
    assert [(a.own, a.floating) for a in srg.arbiters] == [
        (
            EchoTarget("100.64.11.2", "100.64.11.1", 100 * MS),
            EchoTarget("100.64.255.1", "100.64.11.1", 100 * MS),
        ),
        (
            EchoTarget("100.64.21.2", "100.64.21.1", 100 * MS),
            EchoTarget("100.64.255.1", "100.64.21.1", 100 * MS),
        ),
    ]
    link, beyond = srg.monitors
    assert (link.kind, link.subject, link.echo) == (MonitorKind.INTERFACE, "r1", None)
    assert (link.weight, link.rise, link.fall, link.interval) == (100, 1, 1, SECOND)
    assert beyond.echo == EchoTarget("100.64.11.2", "10.2.0.10", 100 * MS)
    assert (beyond.weight, beyond.rise, beyond.fall) == (50, 2, 3)


def test_the_other_node_sees_the_mirror_image() -> None:
    s = settings(node="n2")
    assert s.peers[0].paths[0].remote == "100.64.0.1"
    assert s.neighbors[0].local_address == "100.64.12.2"
    assert s.digest == settings().digest


@pytest.mark.parametrize(
    ("text", "preempt"),
    [
        ("true", Preempt(MINUTE, 3, HOUR)),
        ("false", None),
        ('{ stable_for = "5s", max = 1 }', Preempt(5 * SECOND, 1, HOUR)),
    ],
)
def test_preempt(text: str, preempt: Preempt | None) -> None:
    assert settings(("preempt = false", f"preempt = {text}")).srgs[0].preempt == preempt


def test_a_path_may_be_a_table() -> None:
    icl = 'paths.icl = { address = "100.64.0.1", interface = "eth9", one_hop = false }'
    path = settings(('paths.icl = "100.64.0.1"', icl)).peers[0].paths[0]
    assert (path.interface, path.one_hop, path.router) == ("eth9", False, None)


def test_two_sessions_to_one_router_are_one_router() -> None:
    v6 = '[node.n1.neighbor.r1v6]\nrouter = "r1"\naddress = "fd00:11::1"\nlocal_address = "fd00:11::2"\nasn = 65010\n'
    s = settings(("[node.n1.neighbor.r2]", v6 + "\n[node.n1.neighbor.r2]"))
    assert [n.router for n in s.neighbors] == ["r1", "r1", "r2"]
    assert s.neighbors[1].next_hop == "fd00:11::2"
    assert s.srgs[0].arbiters[0].own.destination == "100.64.11.1"


def test_arbiter_of_a_router_takes_the_family_that_its_session_has() -> None:
    v6 = [
        (f'address = "100.64.1{n}.1"\nlocal_address = "100.64.1{n}.2"\nnext_hop6 = "fd00:1{n}::2"',
         f'address = "fd00:1{n}::1"\nlocal_address = "fd00:1{n}::2"')
        for n in (1, 2)
    ]  # fmt: skip
    arbiter = settings(*v6).srgs[0].arbiters[0]
    assert arbiter.floating == EchoTarget("fd00:255::1", "fd00:11::1", 100 * MS)
    assert arbiter.own.source == "fd00:11::2"


def test_a_literal_arbiter_is_asked_from_the_first_neighbor_address_of_its_family() -> None:
    arbiter = settings(('["r1", "r2"]', '["192.0.2.1", "r2"]')).srgs[0].arbiters[0]
    assert (arbiter.name, arbiter.own.source, arbiter.floating.source) == ("192.0.2.1", "100.64.11.2", "100.64.255.1")


def test_preference_profiles() -> None:
    both = [(f'next_hop6 = "fd00:2{n}::2"\n', f'next_hop6 = "fd00:2{n}::2"\npreference = "prepend"\n') for n in (1, 2)]
    assert settings(*both).neighbors[1].preference == Preference(Profile.PREPEND, 6, 3, 0)
    table = '{ profile = "community", communities = ["65010:50", "65010:100", "65010:0200"] }'
    both = [(f'next_hop6 = "fd00:2{n}::2"\n', f'next_hop6 = "fd00:2{n}::2"\npreference = {table}\n') for n in (1, 2)]
    assert settings(*both).neighbors[1].preference.communities == ("65010:50", "65010:100", "65010:200")


def test_only_on() -> None:
    change = ('interface = "r1"', 'interface = "r1"\nonly_on = ["n2"]')
    assert [m.name for m in settings(change).srgs[0].monitors] == ["beyond-r2"]
    assert [m.name for m in settings(change, node="n2").srgs[0].monitors] == ["link-r1", "beyond-r2"]


def test_one_node_alone() -> None:
    s = settings(without("[node.n2]", "[srg.1]"), (", n2 = 100", ""))
    assert s.peers == ()
    assert s.srgs[0].priorities == {NodeId(1): 200}


def test_node_group() -> None:
    group = '[srg.0]\nroutes = ["198.51.100.1/32"]\nshutdown_on_failure = ["r1"]\nfailure_route = "0.0.0.0/0"\n'
    s = settings(("[srg.1]", f"{group}[srg.1]"))
    assert s.node_group.routes == ("198.51.100.1/32",)
    assert (s.node_group.shutdown_on_failure, s.node_group.failure_route) == (("r1",), "0.0.0.0/0")


# --- which node -------------------------------------------------------------------------------------------------------


def test_node_from_argument_then_environment_then_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L3HA_NODE", "n2")
    assert load(EXAMPLE, "n1", secrets=False).name == "n1"
    assert load(EXAMPLE, secrets=False).name == "n2"
    monkeypatch.delenv("L3HA_NODE")
    with pytest.raises(ConfigError, match=r'there is no node ".*" \(the host name\), those are n1, n2.*L3HA_NODE'):
        load(EXAMPLE, secrets=False)


@pytest.mark.parametrize("host", ["n2", "n2.example.net"])
def test_host_name(host: str) -> None:
    code = f"from l3ha.config.load import load; print(load({str(EXAMPLE)!r}, secrets=False).name)"
    script = f"hostname {host} && exec {sys.executable} -c {code!r}"
    environment = {k: v for k, v in os.environ.items() if k != "L3HA_NODE"}
    environment["PYTHONPATH"] = str(EXAMPLE.parent.parent)
    argv = ["unshare", "--uts", "sh", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip("needs the right to make a UTS namespace")
    assert done.stdout.strip() == "n2", done.stderr


def test_an_unknown_node_is_a_fault_of_its_own_and_hides_nothing() -> None:
    with pytest.raises(ConfigError) as caught:
        load(EXAMPLE, "n11", secrets=False)
    assert 'there is no node "n11", those are n1, n2; did you mean "n1"?' in str(caught.value)


# --- the file as a whole ----------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        errors, warnings = check(path)
        assert [str(e) for e in errors] == [f"{path}:0: cannot be read: {reason}"]
        assert warnings == []
        with pytest.raises(ConfigError):
            load(path, "n1")


@pytest.mark.parametrize(
    ("data", "line", "text"),
    [
        (b"[cluster]\nname = \n", 2, "TOML syntax: Invalid value"),
        (b"[cluster]\n\nname = 'x", 3, "TOML syntax: "),
        (b"[cluster]\nname = 'a'\nname = 'b'\n", 3, "TOML syntax: Cannot overwrite a value"),
        (b"[cluster]\n# \xff\n", 2, "is not UTF-8 text"),
        (b"a = " + b"[" * 5000, 0, "is nested too deeply"),
        (b"a = " + b"9" * 5000, 0, "TOML syntax: "),
        (b"#" * (1 << 20) + b"#", 0, "is larger than 1 MiB"),
    ],
)
def test_not_toml(data: bytes, line: int, text: str) -> None:
    (fault,) = errors_of(parse(data, FILE))[:1]
    assert (fault.line, fault.key) == (line, "")
    assert fault.text.startswith(text)


def test_an_empty_file_says_what_is_missing() -> None:
    assert [str(f) for f in errors_of(parse(b"", FILE))] == [
        f"{FILE}:0: cluster: is missing",
        f"{FILE}:0: node: is missing; write a table [node.NAME] for every node",
    ]


def test_all_faults_at_once_in_order_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "l3ha.toml"
    path.write_text(
        edited(
            ('interval = "100ms"', 'interval = "100"'),
            ("multiplier = 5", 'multipler = "5"'),
            ('paths.icl = "100.64.0.2"', 'paths.icl = "100.64.0.256"'),
            ("n1 = 200, n2 = 100", "n1 = 200"),
            ('"10.1.0.0/16"', '"10.1.0.1/16"'),
            ("weight = 50", "weight = true"),
        )
    )
    with pytest.raises(ConfigError) as caught:
        load(path, "n1")
    assert [str(f).removeprefix(f"{path}:") for f in caught.value.faults] == [
        '11: icl.interval: "100" is not a duration; use a unit, such as "100ms", "2s" or "1h"',
        '12: icl.multipler: is not a known key; did you mean "multiplier"?',
        "20: node.n1.private_key_file: /etc/l3ha/n1.key: cannot be read: No such file or directory",
        '43: node.n2.paths.icl: "100.64.0.256" is not an IPv4 or IPv6 address',
        '66: srg.1.routes.2: "10.1.0.1/16" has host bits set; the network is "10.1.0.0/16"',
        "76: srg.1.monitor.1.weight: is true, must be a whole number without quotes",
    ]


def test_a_fault_in_one_section_does_not_hide_a_relation_in_another() -> None:
    found = faults(("id = 1", "id = 0"), ("n1 = 200, ", ""), ("lease_end", "lease_ends"))
    assert {f.key for f in found} == {"node.n1.id", "srg.1.priority", "speaker.lease_ends"}


def test_loading_is_fast(tmp_path: Path) -> None:
    routes = ",\n".join(f'"10.{n // 250}.{n % 250}.0/24"' for n in range(990))
    path = tmp_path / "l3ha.toml"
    path.write_text(edited(('"10.1.0.0/16", "10.2.0.0/16"', routes)))
    began = time.perf_counter()
    load(path, "n1", secrets=False)
    assert time.perf_counter() - began < 1


# --- one fault each ---------------------------------------------------------------------------------------------------

R1 = 'next_hop6 = "fd00:11::2"'
CASES: list[tuple[str, str, str, str]] = [
    # text in the example, what it becomes, key of the fault, its text
    ("[cluster]", "[clustre]", "clustre", 'not a known section, those are cluster, icl, timers, speaker, node, srg; did you mean "cluster"'),
    ('name = "edge"', "name = 5", "cluster.name", "is 5, must be text in quotes"),
    ('name = "edge"\n', "", "cluster.name", "is missing (Name of the cluster"),
    ('name = "edge"', 'name = "my edge"', "cluster.name", '"my edge" is not a name'),
    ("asn = 65010 ", "asn = 23456 ", "cluster.asn", "is 23456, which is reserved (AS_TRANS, RFC 6793)"),
    ("asn = 65010 ", "asn = 4294967296 ", "cluster.asn", "must be an AS number, 1 to 4294967294"),
    ("asn = 65010 ", 'asn = "65010" ', "cluster.asn", 'is "65010", must be a whole number without quotes'),
    ("asn = 65010 ", "# asn = 65010 ", "node.n1.asn", "is missing here and in [cluster]"),
    ("port = 7411", "port = 0", "icl.port", "is 0, must be 1 to 65535"),
    ('interval = "100ms"', "interval = 100", "icl.interval", 'is 100, must be a number with a unit in quotes, such as "100ms"'),
    ('interval = "100ms"', 'interval = "0s"', "icl.interval", 'must be more than zero and at most 720h'),
    ('interval = "100ms"', f'interval = "{"9" * 400}s"', "icl.interval", "is not a duration"),
    ("multiplier = 5", "multiplier = 0x" + "f" * 9000, "icl.multiplier", "is a very great number, must be 2 to 100"),
    ("# psk_file", "key_file", "icl.key_file", 'is not a known key; did you mean "psk_file"?'),
    ('"lower"', '"lowest"', "speaker.lease_end", "is \"lowest\", must be 'lower', 'withdraw' or 'keep'"),
    ("[speaker]", "[[speaker]]", "speaker", "is a list, must be a table"),
    ("[node.n1]", '[node."n 1"]', "node.n 1", '"n 1" is not a name'),
    ("id = 2", "id = 1", "node.n2.id", "is 1 as that of node n1; every node needs its own"),
    ("id = 2", "id = 11", "node.n2.id", "is 11, must be 1 to 10"),
    ('"0HPtha', '"0HPth', "node.n1.public_key", "is not base64"),
    ('"0HPt', '"', "node.n1.public_key", "is 29 bytes long, must be 32"),
    ("0HPthaHvZ8ylDjqtEd34rXjuSgs0PHs7qskGPPxSDic=", "A" * 43 + "=", "node.n1.public_key", "is all zero"),
    ("0HPthaHvZ8ylDjqtEd34rXjuSgs0PHs7qskGPPxSDic=", "AQ" + "A" * 41 + "=", "node.n1.public_key", "not a usable X25519 key"),
    ("yRMCPXEQYmjflSiYEQEVzzoc4kI3VO3ojJe37NGbkWc=", "0HPthaHvZ8ylDjqtEd34rXjuSgs0PHs7qskGPPxSDic=", "node.n2.public_key", "is that of node n1 too"),
    ('paths.icl = "100.64.0.1"', "paths.icl = 5", "node.n1.paths.icl", "is 5, must be text in quotes"),
    ('paths.icl = "100.64.0.1"', 'paths.icl = "127.0.0.1"', "node.n1.paths.icl", "is a loopback address"),
    ('paths.icl = "100.64.0.1"', 'paths.icl = "fe80::1"', "node.n1.paths.icl", "is a link-local address"),
    ('paths.icl = "100.64.0.1"', 'paths.icl = "fe80::1%eth0"', "node.n1.paths.icl", "has a zone"),
    ('paths.icl = "100.64.0.1"', 'paths.icl = "100.64.0.1/30"', "node.n1.paths.icl", "write it without the mask"),
    ('paths.icl = "100.64.0.1"', 'paths.icl = "fd00::1"', "node.n2.paths.icl", "is 100.64.0.2, but the other end is fd00::1; both must be of one family"),
    ('paths.icl = "100.64.0.1"', 'paths.icl = { adress = "100.64.0.1" }', "node.n1.paths.icl.adress", 'did you mean "address"'),
    ('paths.icl = "100.64.0.1"', 'paths."i l" = "100.64.0.1"', "node.n1.paths.i l", '"i l" is not a name'),
    ('paths.icl = "100.64.0.1"', 'paths.icl = "100.64.11.2"', "node.n1.paths.r1", "is 100.64.11.2 as path icl"),
    ('paths.icl = "100.64.0.2"', 'paths.icl = "100.64.0.1"', "node.n2.paths.icl", "is 100.64.0.1, which is an address of node n1 already (node.n1.paths.icl)"),
    ('address = "100.64.11.1"', 'address = "100.64.22.2"', "node.n1.neighbor.r1.address", "is an address of node n2"),
    ('address = "100.64.11.1"', 'address = "fd00:11::1"', "node.n1.neighbor.r1.address", "both must be of one family"),
    ('address = "100.64.11.1"', 'address = "100.64.11.2"', "node.n1.neighbor.r1.address", "the same as local_address"),
    ('address = "100.64.21.1"', 'address = "100.64.11.1"', "node.n1.neighbor.r2.address", "is 100.64.11.1 as that of neighbor r1"),
    ('address = "100.64.11.1"\n', "", "node.n1.neighbor.r1.address", "is missing (The router's address)"),
    ("hold_time = 9", "hold_time = 2", "node.n1.neighbor.r1.hold_time", "is 2, must be 0 or at least 3"),
    ("hold_time = 9", "bdf = true", "node.n1.neighbor.r1.bdf", 'did you mean "bfd"?'),
    ("hold_time = 9", "bfd = 50", "node.n1.neighbor.r1.bfd", "is 50, must be a table"),
    ("hold_time = 9", 'bfd = { interval_ms = 50 }', "node.n1.neighbor.r1.bfd.interval_ms", 'did you mean "interval"?'),
    ("hold_time = 9", 'bfd = { multiplier = 1 }', "node.n1.neighbor.r1.bfd.multiplier", "is 1, must be 2 to 50"),
    ("hold_time = 9", 'bfd = { interval = "9ms", multiplier = 20 }', "node.n1.neighbor.r1.bfd.interval", "is 9ms, must be 10ms to 10s"),
    ("hold_time = 9", 'bfd = { interval = "11s" }', "node.n1.neighbor.r1.bfd.interval", "is 11s, must be 10ms to 10s"),
    ("hold_time = 9", 'bfd = { min_ttl = 250 }', "node.n1.neighbor.r1.bfd.min_ttl", "is for multihop only; one hop always demands 255"),
    ("hold_time = 9", 'bfd = { multihop = true, min_ttl = 255 }', "node.n1.neighbor.r1.bfd.min_ttl", "is 255, must be 1 to 254"),
    ("hold_time = 9", 'bfd = { auth = { type = "md5", key_file = "x" } }', "node.n1.neighbor.r1.bfd.auth.type", "must be 'meticulous-keyed-sha1' or 'keyed-sha1'"),
    ("hold_time = 9", 'bfd = { auth = {} }', "node.n1.neighbor.r1.bfd.auth.key_file", "is missing"),
    ("hold_time = 9", 'bfd = { source = "bird" }', "node.n1.neighbor.r1.bfd.source", "must be 'l3ha' or 'frr'"),
    ("hold_time = 9", 'bfd = { source = "frr", interval = "100ms" }', "node.n1.neighbor.r1.bfd.interval", "bfdd has its own, in frr.conf"),
    ("hold_time = 9", 'bfd = { source = "frr", multiplier = 3 }', "node.n1.neighbor.r1.bfd.multiplier", 'is for source = "l3ha"'),
    ("hold_time = 9", 'bfd = { source = "frr", multihop = false }', "node.n1.neighbor.r1.bfd.multihop", 'is for source = "l3ha"'),
    ("hold_time = 9", 'bfd = { source = "frr", min_ttl = 250 }', "node.n1.neighbor.r1.bfd.min_ttl", 'is for source = "l3ha"'),
    ("hold_time = 9", 'bfd = { source = "frr", auth = { key_file = "k" } }', "node.n1.neighbor.r1.bfd.auth", 'is for source = "l3ha"'),
    ("hold_time = 9", 'bfd = { source = "frr", poll = "19ms" }', "node.n1.neighbor.r1.bfd.poll", "is 19ms, must be 20ms to 10s"),
    ("hold_time = 9", 'bfd = { source = "frr", poll = "11s" }', "node.n1.neighbor.r1.bfd.poll", "is 11s, must be 20ms to 10s"),
    ("hold_time = 9", 'bfd = { source = "frr", vty_socket = "run" }', "node.n1.neighbor.r1.bfd.vty_socket", "is not an absolute path"),
    ("hold_time = 9", 'bfd = { poll = "1s" }', "node.n1.neighbor.r1.bfd.poll", 'is for source = "frr" only'),
    ("hold_time = 9", 'bfd = { vrf = "red" }', "node.n1.neighbor.r1.bfd.vrf", 'is for source = "frr" only'),
    ("hold_time = 9", 'bfd = { vty_socket = "/run/frr" }', "node.n1.neighbor.r1.bfd.vty_socket", 'is for source = "frr" only'),
    ('interface = "r1" ', 'bfd = "r1" ', "srg.1.monitor.0.bfd", '"r1" is not a neighbor of node n1 with bfd; those are none'),
    (R1, 'next_hop = "fd00:11::2"', "node.n1.neighbor.r1.next_hop", "for IPv6 routes write next_hop6"),
    (R1, 'next_hop6 = "10.0.0.1"', "node.n1.neighbor.r1.next_hop6", "must be an IPv6 address"),
    (R1, 'preference = "medd"', "node.n1.neighbor.r1.preference", "must be 'local-preference', 'med', 'community' or 'prepend'"),
    (R1, 'preference = "prepend"', "node.n1.neighbor.r1.preference", "the router discards a path with its own AS"),
    ('next_hop6 = "fd00:21::2"', 'preference = "local-preference"', "node.n1.neighbor.r2.preference", "not sent to an eBGP neighbor"),
    (R1, "preference = { low = 100 }", "node.n1.neighbor.r1.preference", "low is 100, medium 100, high 1000; must be low < medium < high"),
    (R1, "preference = { high = 4134967281 }", "node.n1.neighbor.r1.preference", "must be at most 4134967280"),
    ('next_hop6 = "fd00:21::2"', "preference = { high = 160000014 }", "node.n1.neighbor.r2.preference", "must be at least 160000015"),
    ('next_hop6 = "fd00:21::2"', 'preference = { profile = "med", medium = 4294967295 }', "node.n1.neighbor.r2.preference", "must be low > medium > high"),
    ('next_hop6 = "fd00:21::2"', 'preference = { profile = "prepend", low = 31 }', "node.n1.neighbor.r2.preference", "must be at most 30"),
    (R1, 'preference = "community"', "node.n1.neighbor.r1.preference", "communities are missing"),
    (R1, 'preference = { profile = "community", communities = ["1:1", "1:2"] }', "node.n1.neighbor.r1.preference", "must be three different ones"),
    (R1, 'preference = { profile = "community", communities = ["1:1", "1:2", "graceful-shutdown"] }', "node.n1.neighbor.r1.preference.communities.2", "ExaBGP would run some of them"),
    (R1, 'preference = { communities = ["1:1", "1:2", "1:3"] }', "node.n1.neighbor.r1.preference", "communities belong to the profile community"),
    (R1, "preference = { low = 51 }", "node.n2.neighbor.r1.preference", "is not the same as that of node.n1.neighbor.r1; router r1 compares them"),
    ("[srg.1]", "[srg.21]", "srg.21", "is not the number of a group; write 1 to 20"),
    ("[srg.1]", "[srg.01]", "srg.01", "is not the number of a group"),
    ("n1 = 200", "n1 = 255", "srg.1.priority.n1", "is 255, must be 1 to 254"),
    ("n1 = 200", "n3 = 200", "srg.1.priority.n3", "is not a node, those are n1, n2"),
    ("n1 = 200, ", "", "srg.1.priority", "has no entry for node n1"),
    ("preempt = false", "preempt = 1", "srg.1.preempt", "is 1, must be a table"),
    ("preempt = false", 'preempt = { stable = "1s" }', "srg.1.preempt.stable", 'did you mean "stable_for"'),
    ('floating = ["100.64.255.1/32"', 'floating = ["100.64.255.0/24"', "srg.1.floating.0", "is a network; a floating address ends in /32"),
    ('floating = ["100.64.255.1/32"', 'floating = ["100.64.255.1"', "srg.1.floating.0", 'a single address is "100.64.255.1/32"'),
    ('floating = ["100.64.255.1/32"', 'floating = ["100.64.255.2/32"', "srg.1.floating.0", "is not among the routes of the group"),
    ('"100.64.255.1/32", "fd00:255::1/128", "10.1', '"100.64.0.1/32", "100.64.255.1/32", "fd00:255::1/128", "100.64.255.1/32", "10.1', "srg.1.routes.3", "is written twice"),
    ('floating = ["100.64.255.1/32"', 'floating = ["100.64.0.1/32"', "srg.1.floating.0", "is an address of a link"),
    ('"10.1.0.0/16"', '"10.1.0.0/33"', "srg.1.routes.2", "is not an IPv4 or IPv6 prefix"),
    ('"10.1.0.0/16"', '"224.0.0.0/4"', "srg.1.routes.2", "multicast"),
    ('"10.1.0.0/16"', "true", "srg.1.routes.2", "is true, must be text in quotes"),
    ('["r1", "r2"]', "[]", "srg.1.probe.arbiters", "must have at least 1 entries"),
    ('["r1", "r2"]', '["r1", "r3"]', "srg.1.probe.arbiters.1", '"r3" is neither an address nor a router of node n1; those are r1, r2'),
    ('["r1", "r2"]', '["r1", "r1"]', "srg.1.probe.arbiters.1", "is written twice"),
    ('["r1", "r2"]', '["2001:db8::1"]', "srg.1.probe.arbiters.0", "node n1 has no neighbor with an IPv6 local_address"),
    ('floating = ["100.64.255.1/32", ', "floating = [", "srg.1.probe.arbiters.0", "no floating address is of that family"),
    ('interface = "r1" ', 'interface = "a name of an interface" ', "srg.1.monitor.0.interface", "is not the name of an interface"),
    ('interface = "r1" ', 'interface = "r1"\nip = "10.2.0.1" ', "srg.1.monitor.0", "has 2 subjects, must have exactly one of interface, ip, bgp, bfd"),
    ('interface = "r1" ', 'bgp = "r9" ', "srg.1.monitor.0.bgp", '"r9" is not a neighbor of node n1; those are r1, r2'),
    ('interface = "r1" ', 'interface = "r1"\nonly_on = ["n3"] ', "srg.1.monitor.0.only_on", '"n3" is not a node'),
    ('ip = "10.2.0.10"', 'ip = "2001:db8::10"', "srg.1.monitor.1.ip", "node n1 has no IPv6 address of a neighbor or path"),
    ('"beyond-r2"', '"link-r1"', "srg.1.monitor.1.name", "is the name of another monitor"),
    ("[srg.1]", '[srg.0]\nroutes = ["10.1.0.0/16"]\n[srg.1]', "srg.1.routes.2", "is in srg.0 already"),
    ("[srg.1]", '[srg.0]\nshutdown_on_failure = ["r1"]\nmonitor = [{ name = "a", interface = "r1" }]\n[srg.1]', "srg.0.shutdown_on_failure.0", "once shut down it could never recover"),
    ("[srg.1]", "[srg.0]\npriority = {}\n[srg.1]", "srg.0.priority", "is not a known key"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "key", "text"), CASES, ids=[f"{c[2]}-{i}" for i, c in enumerate(CASES)])
def test_fault(old: str, new: str, key: str, text: str) -> None:
    found = faults((old, new))
    assert any(f.key == key and text in f.text for f in found), "\n".join(map(str, found))
    source = edited((old, new)).splitlines()
    last = key.rstrip(".0123456789").rpartition(".")[2]
    for fault in found:
        if (
            fault.key == key
            and "is missing" not in fault.text
            and "has no" not in fault.text
            and "not the same" not in fault.text
        ):
            line = source[fault.line - 1]
            assert fault.line > 0
            assert last in line or "monitor" in line, f"{fault} points at {line}"


def test_three_nodes_are_refused() -> None:
    third = TEXT[TEXT.index("[node.n2]") : TEXT.index("[srg.1]")].replace("n2", "n3")
    assert any("this version runs one or two nodes" in f.text for f in faults(("[srg.1]", third + "[srg.1]")))


def test_nodes_without_a_common_path() -> None:
    changes = [(f"paths.{p} = ", f"paths.{p}x = ") for p in ("icl", "r1", "r2")]
    assert any("has no path name in common with node n1" in f.text for f in faults(*changes))


def test_a_node_without_neighbors() -> None:
    found = faults(without("[node.n1.neighbor.r1]", "[node.n2]"))
    assert any(f.key == "node.n1.neighbor" and "is missing" in f.text for f in found)


def test_two_groups_may_not_share_what_moves() -> None:
    group = TEXT[TEXT.index("[srg.1]") :]
    text = TEXT + group.replace("srg.1", "srg.2")
    found = [f"{f.key} {f.text}" for f in errors_of(parse(text.encode(), FILE))]
    assert "srg.2.floating.0 100.64.255.1/32 is in srg.1 already; it can move with one group only" in found
    assert sum("is in srg.1 already" in f for f in found) == 6


def test_too_many_routes() -> None:
    held = len(tomllib.loads(TEXT)["srg"]["1"]["routes"])
    routes = ", ".join(f'"10.{n // 250}.{n % 250}.0/24"' for n in range(10_000 - held))
    group = f"[srg.2]\npriority = {{ n1 = 1, n2 = 2 }}\nroutes = [{routes}]\n"
    assert not errors_of(parse((TEXT + group).encode(), FILE))
    for number in (2, 3, 4):
        more = '[srg.{}]\npriority = {{ n1 = 1, n2 = 2 }}\nroutes = ["192.168.{}.0/24"]\n'
        group += more.format(number + 1, number)
    found = errors_of(parse((TEXT + group).encode(), FILE))
    assert [(f.key, f.text) for f in found] == [
        ("srg.3.routes", "makes 10001 routes in all groups, must be at most 10000; write an aggregate for some")
    ]
    assert found[0].line == TEXT.count("\n") + 6


def test_messages_are_printable() -> None:
    found = faults(('name = "edge"', 'name = "a\\u001b[31m\\nb"'), ("[icl]", '["\\u001b[2J"]\n[icl]'))
    assert found
    assert all(str(f).isprintable() for f in found)


def test_bfd() -> None:
    def of(text: str) -> Bfd | None:
        found = settings(("hold_time = 9", f"bfd = {text}")).neighbors[0].bfd
        assert not isinstance(found, FrrBfd)
        return found

    assert settings().neighbors[0].bfd is None and of("false") is None
    assert of("true") == of("{}") == Bfd(100 * MS, 3, 255, None, None)
    assert of('{ interval = "50ms", multiplier = 4, interface = "r1" }') == Bfd(50 * MS, 4, 255, "r1", None)
    assert of("{ multihop = true }") == Bfd(100 * MS, 3, 254, None, None)
    assert of("{ multihop = true, min_ttl = 60 }") == Bfd(100 * MS, 3, 60, None, None)
    signed = of('{ auth = { key_file = "r1.key" } }')
    assert signed is not None and signed.auth == BfdAuth(5, 1, b""), "the key was not read"
    other = of('{ auth = { type = "keyed-sha1", key_id = 7, key_file = "r1.key" } }')
    assert other is not None and other.auth == BfdAuth(4, 7, b"")


def test_bfd_of_frr() -> None:
    def of(text: str) -> Bfd | FrrBfd | None:
        return settings(("hold_time = 9", f"bfd = {text}")).neighbors[0].bfd

    assert of('{ source = "l3ha" }') == of("true")
    assert of('{ source = "frr" }') == FrrBfd("/run/frr", 100 * MS, None, None)
    text = '{ source = "frr", poll = "50ms", vty_socket = "/run/frr/red", interface = "e0", vrf = "red" }'
    assert of(text) == FrrBfd("/run/frr/red", 50 * MS, "e0", "red")
    assert of("{ witness = true }") == Bfd(100 * MS, 3, 255, None, None, True)
    for text in ('{ source = "frr" }', "{ witness = true }"):
        assert warned(("hold_time = 9", f"hold_time = 90\nbfd = {text}")) == []


def test_what_bfdd_says_is_no_witness() -> None:
    (fault,) = faults(("hold_time = 9", 'bfd = { source = "frr", witness = true }'))
    assert fault.key == "node.n1.neighbor.r1.bfd.witness" and "older than T_det" in fault.text


def test_a_fault_of_bfd_has_its_line() -> None:
    (fault,) = faults(("hold_time = 9", 'bfd.source = "frr"\nbfd.multiplier = 3'))
    assert fault.line == TEXT[: TEXT.index("hold_time = 9")].count("\n") + 2


def test_bfd_shortens_a_long_hold_time() -> None:
    assert warned(("hold_time = 9", "hold_time = 90\nbfd = true")) == []


def test_a_bfd_monitor() -> None:
    both = [("hold_time = 9", "bfd = true"), ("hold_time = 9", "\n"), ("hold_time = 9", "bfd = true")]
    group = settings(*both, ('interface = "r1" ', 'bfd = "r1" ')).srgs[0]
    watched = group.monitors[0]
    assert (watched.kind, watched.subject, watched.rise, watched.fall) == (MonitorKind.BFD, "r1", 1, 1)


# --- warnings ---------------------------------------------------------------------------------------------------------

WARNINGS: list[tuple[list[tuple[str, str]], str, str]] = [
    ([("hold_time = 9", "hold_time = 90")], "node.n1.neighbor.r1.hold_time", "is 90 s: for so long the router keeps"),
    ([("hold_time = 9", "hold_time = 0")], "node.n1.neighbor.r1.hold_time", "never notices"),
    ([('paths.r1 = "100.64.11.2"', ""), ('paths.r2 = "100.64.21.2"', "")], "node.n1.paths", "silence cannot fire, takeover waits for the BGP hold time"),
    ([('paths.r1 = "100.64.11.2"', ""), ('paths.r2 = "100.64.21.2"', "")], "node.n2.paths", "icl is the only path"),
    ([('paths.r1 = "100.64.11.2"', "")], "node.n2.paths.r1", "node n1 has no path of this name"),
    ([('paths.icl = "100.64.0.1"', 'paths.icl = { address = "100.64.0.1", one_hop = false }')], "node.n2.paths.icl", "TTL 255"),
    ([(f'"fd00:2{n}::2"\n', f'"fd00:2{n}::2"\npreference = "prepend"\n') for n in (1, 2)], "node.n1.neighbor.r2.preference", "no fencing"),
    ([("id = 2", "id = 2\nasn = 65011"), *[(f'next_hop6 = "fd00:1{n}::2"', 'preference = "med"') for n in (1, 2)]], "node.n2.neighbor.r2.preference", "router r2 sees AS 65010 from n1 and AS 65011 from n2"),
    ([('interval = "100ms"', 'interval = "50ms"\nallow_unsafe_timers = true')], "icl.allow_unsafe_timers", "slack is 200ms"),
    ([("hold_time = 9", 'bfd = { interval = "50ms" }')], "node.n1.neighbor.r1.bfd.interval", "slack is 100ms: false alarms on a busy machine"),
    ([("hold_time = 9", 'bfd = { interval = "101ms", witness = true }')], "node.n1.neighbor.r1.bfd.witness", "detects too late to be a witness: within T_det - 2 x icl.interval = 300ms"),
    ([("[speaker]", '[timers]\nverify = "400ms"\n[speaker]')], "timers.verify", "planned moves may be handed back"),
    ([("n1 = 200", "n1 = 100")], "srg.1.priority", "the greater id decides"),
    ([('probe = { arbiters = ["r1", "r2"], interval = "100ms", up = 2, down = 3 }', "")], "srg.1.probe", "without arbiters"),
    ([('["r1", "r2"]', '["r2"]')], "srg.1.probe.arbiters", "is only one"),
    ([('routes = ["100.64.255.1/32"', 'routes = ["100.64.255.0/24"')], "srg.1.floating.0", "is not a route of its own"),
    ([('interface = "r1" ', 'interface = "r1"\nweight = 30 ')], "srg.1.threshold", "all monitors of node n1 weigh 80, the threshold is 100"),
    ([('"10.1.0.0/16"', '"100.64.0.0/24"')], "srg.1.routes.2", "covers the link of node.n1.paths.icl"),
    ([(f'next_hop6 = "fd00:{n}1::2"', "") for n in (1, 2)], "srg.1.routes", "no neighbor of node n1 gets the IPv6 routes"),
    ([without("[srg.1]", "\n[[srg.1.monitor]]"), without("[[srg.1", "[[srg.1.monitor]]\nname = \"bey"), ("[[srg.1.monitor]]\nname = \"beyond-r2\"\nip = \"10.2.0.10\"\nweight = 50", "")], "srg", "there is no group"),
    ([('"100.64.0.1" ', '{ address = "100.64.0.1", interface = "icl0" } '), ("[srg.1]", '[srg.0]\nshutdown_on_failure = ["icl0"]\n[srg.1]')], "srg.0.shutdown_on_failure.0", "carries path icl of node n1"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "key", "text"), WARNINGS, ids=[f"{w[1]}-{i}" for i, w in enumerate(WARNINGS)])
def test_warning(changes: list[tuple[str, str]], key: str, text: str) -> None:
    found = warned(*changes)
    assert any(f.key == key and text in f.text for f in found), "\n".join(map(str, found))


def test_many_routes_want_a_slower_clock() -> None:
    """3000 prefixes a second, every neighbor's counted: 2 neighbors x 1000 routes take 0.67 s."""
    routes = ", ".join(f'"10.{n // 250}.{n % 250}.0/24"' for n in range(1000))
    more = f"[srg.2]\npriority = {{ n1 = 1, n2 = 2 }}\nroutes = [{routes}]\n"
    found = [f for f in lint.warnings(parse((TEXT + more).encode(), FILE)) if f.key == "timers.bgp"]
    assert len(found) == 1 and 'Write bgp = "1s", and drain, verify and settle no less' in found[0].text
    slow = TEXT + more + '[timers]\nbgp = "1s"\n'
    assert "[timers]" not in TEXT
    document = parse(slow.encode(), FILE)
    assert not errors_of(document)
    assert not [f for f in lint.warnings(document) if f.key == "timers.bgp"]


MANY = ", ".join(f'"10.{n // 250}.{n % 250}.0/24"' for n in range(1000))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("", "", ""),
        ("[srg.2]", '[srg.0]\nroutes = ["10.99.0.0/16"]\n[srg.2]', "srg.0 has routes of its own"),
        ("[srg.2]", '[[srg.0.monitor]]\nname = "x"\nbgp = "r1"\n[srg.2]', "srg.0 watches it"),
        ("[node.n1.neighbor.r2]", '[node.n1.neighbor.r2]\nrouter = "r1"', "its router has several sessions"),
        ("[speaker]", "[srg.0]\nroutes = ['10.99.0.0/16']\n[speaker]\ndrop_from = 0", ""),
    ],
)
def test_where_many_routes_are_lowered_one_by_one_all_the_same(old: str, new: str, reason: str) -> None:
    text = TEXT + f"[srg.2]\npriority = {{ n1 = 1, n2 = 2 }}\nroutes = [{MANY}]\n"
    assert old in text
    found = [f.text for f in lint.warnings(parse(text.replace(old, new, 1).encode(), FILE)) if "drop_from" in f.key]
    assert all(reason in text and "neighbor r" in text for text in found) and bool(found) == bool(reason), found


def test_a_session_with_a_short_hold_time_is_not_kept_waiting_for_many_routes() -> None:
    routes = ", ".join(f'"10.{n // 250}.{n % 250}.0/24"' for n in range(3500))
    text = (TEXT + f"[srg.2]\npriority = {{ n1 = 1, n2 = 2 }}\nroutes = [{routes}]\n").replace(
        "hold_time = 9", "hold_time = 3", 1
    )
    found = [f.text for f in lint.warnings(parse(text.encode(), FILE)) if f.key == "speaker.drop_from"]
    assert len(found) == 2 and all("of node n1" in f and "half a hold time of 3 s" in f for f in found), found
