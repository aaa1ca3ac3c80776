"""The digest: the same where two nodes would behave the same, another where one thing that matters differs."""

from __future__ import annotations

import pytest

from tests.test_config import TEXT, settings, without

SAME: list[list[tuple[str, str]]] = [
    [("[cluster]", "# a comment\n\n[cluster]")],
    [("port = 7411\n", "")],
    [("multiplier = 5", 'multiplier = 5\n[timers]\nnoactive = "0.2s"\nboot = "10s"')],
    [('preempt = false', "")],
    [("hold_time = 9", 'router = "r1"\nnext_hop = "100.64.11.2"\npreference = "local-preference"')],
    [('paths.icl = "100.64.0.1"', 'paths.icl = { one_hop = true, address = "100.64.0.1" }')],
    [('"10.1.0.0/16", "10.2.0.0/16"', '"10.2.0.0/16", "10.1.0.0/255.255.0.0"')],
    [('private_key_file = "/etc/l3ha/n1.key"', 'private_key_file = "/elsewhere"'), ("# psk_file", "psk_file")],
    [("n1 = 200, n2 = 100", "n2 = 100, n1 = 200")],
    [("hold_time = 9", "bfd = false")],
    [('"fd00:255::1/128"', '"fd00:255:0::0:1/128"')],
    [('interface = "r1" ', 'interface = "r1"\nweight = 100\nrise = 1\nfall = 1\ninterval = "1s" ')],
]  # fmt: skip

OTHER: list[tuple[list[tuple[str, str]], str]] = [
    ([('"edge"', '"edge2"')], "cluster"),
    ([("7411", "7412")], "icl"),
    ([("multiplier = 5", "multiplier = 6")], "icl"),
    ([("[speaker]", '[timers]\nboot = "11s"\n[speaker]')], "timers"),
    ([('"lower"', '"keep"')], "speaker"),
    ([("hold_time = 9", "hold_time = 8")], "node.n1"),
    ([("hold_time = 9", 'password_file = "x"')], "node.n1"),
    ([("hold_time = 9", "bfd = true")], "node.n1"),
    ([("hold_time = 9", 'bfd = { source = "frr" }')], "node.n1"),
    ([('paths.icl = "100.64.0.2"', 'paths.icl = "100.64.0.3"')], "node.n2"),
    ([("n1 = 200", "n1 = 201")], "srg.1"),
    ([("preempt = false", "preempt = true")], "srg.1"),
    ([('["r1", "r2"]', '["r2", "r1"]')], "srg.1"),
    ([('"10.1.0.0/16", ', "")], "srg.1"),
    ([("weight = 50", "weight = 51")], "srg.1"),
    ([("[srg.1]", '[srg.0]\nroutes = ["192.0.2.1/32"]\n[srg.1]')], "srg.0"),
]


def test_sections() -> None:
    s = settings()
    assert len(s.digest) == 8
    assert set(s.sections) == {"cluster", "icl", "timers", "speaker", "node.n1", "node.n2", "srg.0", "srg.1"}
    assert {len(v) for v in s.sections.values()} == {4}


@pytest.mark.parametrize("changes", SAME)
def test_writing_does_not_count(changes: list[tuple[str, str]]) -> None:
    assert settings(*changes).digest == settings().digest


def test_order_of_sections_does_not_count() -> None:
    cut, _ = without("[node.n1]", "[node.n2]")
    assert settings((cut, ""), ("[srg.1]", cut + "[srg.1]")).digest == settings().digest
    assert cut in TEXT


@pytest.mark.parametrize(("changes", "sections"), OTHER)
def test_a_difference_is_named(changes: list[tuple[str, str]], sections: str) -> None:
    before, after = settings(), settings(*changes)
    assert before.digest != after.digest
    differing = {name for name in after.sections if before.sections[name] != after.sections[name]}
    assert differing == set(sections.split())


def test_a_bfd_session_counts_and_the_name_of_its_key_does_not() -> None:
    def digest(text: str) -> bytes:
        return settings(("hold_time = 9", f"bfd = {text}")).digest

    assert digest("true") == digest('{ interval = "0.1s", multiplier = 3 }') != digest("{ multiplier = 4 }")
    signed = digest('{ auth = { key_file = "a" } }')
    assert signed == digest('{ auth = { key_id = 1, key_file = "b" } }') != digest("true")
    assert signed != digest('{ auth = { key_id = 2, key_file = "a" } }')
