"""The journal: what an engine took is replayed to the same effects, and whatever is wrong with a file is said."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import l3ha
from l3ha.agent.journal import JournaledEngine
from l3ha.base.names import Intent, SrgId, Term
from l3ha.base.settings import EchoTarget, Settings
from l3ha.base.time import MS, SECOND, Instant
from l3ha.cli.main import cli
from l3ha.core import image, journal
from l3ha.core.engine import Engine
from l3ha.core.events import (
    Answer,
    ClearStatistics,
    Datagram,
    EchoAnswer,
    EchoFailed,
    Effect,
    Event,
    Exit,
    InterfaceChanged,
    Memory,
    NewSettings,
    Note,
    RequestFailover,
    RequestMaintenance,
    RequestStop,
    Send,
    SpeakerDown,
    SpeakerLine,
    SpeakerUp,
    Tick,
)
from l3ha.core.icl import IclPeer
from l3ha.core.recorder import Recorder
from l3ha.drivers.journal import MIB, RESERVE, JournalFiles, UnusableError, segments
from l3ha.sim.campaign import run
from l3ha.sim.case import case
from l3ha.sim.clock import generator
from l3ha.sim.replay import Verdict, event_text, replay
from l3ha.sim.setting import Variant, settings
from l3ha.sim.world import World

ROOT = Path(__file__).parent.parent
BUDGET_S = 10.0
WALL = 1_700_000_000 * SECOND


class Shelf:
    """A sink in memory, with segments of a size that a test chooses."""

    def __init__(self, size: int = 1 << 30) -> None:
        self.size, self.now = size, 0
        self.segments: list[list[bytes]] = []
        self.why: str | None = None

    @property
    def full(self) -> bool:
        return self.now >= self.size

    def begin(self, segment: bytes) -> None:
        self.segments.append([segment])
        self.now = 0

    def append(self, record: bytes) -> None:
        self.segments[-1].append(record)
        self.now += len(record)

    def fail(self, why: str) -> None:
        self.why = why

    def files(self, directory: Path) -> Path:
        for segment in self.segments:
            write(directory, b"".join(segment))
        return directory


def write(directory: Path, data: bytes) -> Path:
    path = directory / f"l3ha-{len(list(directory.iterdir())) + 1:08}.journal"
    path.write_bytes(data)
    return path


def replayed(path: Path, core: type[Engine] = Engine, *, trace: bool = True) -> tuple[Verdict, str]:
    lines: list[str] = []
    verdict = replay(path, lines.append, trace=trace, core=core)
    return verdict, "\n".join(lines)


# --- a whole world ----------------------------------------------------------------------------------------------------


def shelves(seed: int, size: int) -> list[Shelf]:
    """The journals of every agent that a case starts."""
    found: list[Shelf] = []

    class Journaled(Engine):
        def __init__(
            self, settings: Settings, memory: tuple[Memory, ...], entropy: Callable[[int], bytes], now: Instant
        ) -> None:
            found.append(Shelf(size))
            recorder = Recorder(found[-1], entropy, lambda: WALL)
            super().__init__(settings, memory, recorder.entropy, now)
            recorder.begin(self, settings, memory, now)
            RECORDERS[id(self)] = recorder

        def step(self, event: Event, now: Instant) -> tuple[Effect, ...]:
            return RECORDERS[id(self)].step(super().step, event, now)

    def stage(world: World) -> None:
        world.agent_core = Journaled

    outcome = run(case(seed), stage=stage)
    assert not outcome.failed, outcome.text
    assert outcome.events == run(case(seed)).events, "the journal changes nothing"
    return found


RECORDERS: dict[int, Recorder] = {}


@pytest.mark.parametrize("seed", [2, 5, 9, 21])
def test_a_case_is_replayed_to_the_same_effects_from_every_segment(seed: int, tmp_path: Path) -> None:
    """Segments of 30 kB: the state is written and made again every few seconds, in all states that the case has."""
    found = shelves(seed, 30_000)
    assert all(shelf.why is None for shelf in found)
    assert len(found) >= 2 and sum(len(s.segments) for s in found) > 2 * len(found)
    for shelf in found:
        shelf.files(tmp_path)
    verdict, text = replayed(tmp_path)
    assert verdict is Verdict.SAME, text
    for file in segments(tmp_path)[3::4]:
        assert replayed(file)[0] is Verdict.SAME, "and each by itself"


def test_a_journal_is_replayed_in_another_process_with_another_order_of_sets(tmp_path: Path) -> None:
    for shelf in shelves(5, 30_000):
        shelf.files(tmp_path)
    words = [sys.executable, "-m", "l3ha", "sim", "--replay", str(tmp_path)]
    for seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=tmp_path, env=env)
        assert done.returncode == 0, done.stdout + done.stderr


# --- every event ------------------------------------------------------------------------------------------------------

OWN = settings(1, Variant())
TARGET = EchoTarget("100.64.11.2", "100.64.11.1", 100 * MS)
OTHERS: tuple[Event, ...] = (
    SpeakerUp(),
    SpeakerLine(b"\xff not a report"),
    InterfaceChanged("eth1", True, "carrier"),
    Datagram("icl", "100.64.0.9", None, b"nonsense"),
    Datagram("icl", "100.64.0.2", 255, bytes(200)),
    EchoAnswer(TARGET, b"?" * 40),
    EchoFailed(TARGET, "Network is \udcff unreachable"),
    RequestFailover(1, SrgId(7), None),
    NewSettings(replace(OWN, digest=b"n" * 8, srgs=(replace(OWN.srgs[0], routes=("10.0.0.0/8",)),))),
    ClearStatistics(),
    RequestMaintenance(2, True),
    SpeakerDown(),
)


def script() -> list[tuple[Event, Instant]]:
    """Every kind of event, a pause of 3 s in the middle, and an end."""
    steps: list[tuple[Event, Instant]] = []
    now = 5 * SECOND
    for event in (*OTHERS[:6], None, *OTHERS[6:], RequestStop(Intent.LEAVING, 0)):
        now += 3 * SECOND if event is None else 0
        for _ in range(5):
            now += 20 * MS
            steps.append((Tick(), now))
        steps.append((event or Tick(), now))
    steps += [(Tick(), now + n * 20 * MS) for n in range(1, 200)]
    return steps


class Played:
    """The script's journal."""

    def __init__(self, core: type[Engine] = Engine, size: int = 1 << 30) -> None:
        self.shelf = Shelf(size)
        recorder = Recorder(self.shelf, generator("journal").randbytes, lambda: WALL)
        memory = (Memory(SrgId(1), Term(2), Term(3), frozenset({"r1", "r2"})),)
        engine = core(OWN, memory, recorder.entropy, 5 * SECOND)
        recorder.begin(engine, OWN, memory, 5 * SECOND)
        self.effects: list[tuple[Effect, ...]] = []
        for event, now in script():
            self.effects.append(recorder.step(engine.step, event, now))
            if Exit() in self.effects[-1]:
                break

    def file(self, directory: Path) -> Path:
        return write(directory, b"".join(self.shelf.segments[0]))


def test_every_event_is_written_and_read(tmp_path: Path) -> None:
    played = Played()
    verdict, text = replayed(played.file(tmp_path))
    assert verdict is Verdict.SAME, text
    assert "the agent ended as it was told" in text
    assert "from 2023-11-14 22:13:20.000 UTC" in text
    for told in ("pause", "--- NewSettings 6e6e6e6e6e6e6e6e", "answer: maintenance on", "no such SRG"):
        assert told in text
    assert OWN.private_key.hex() not in text and repr(OWN.private_key) not in text
    _, records = journal.read(b"".join(played.shelf.segments[0]))
    read = [r for r in records if isinstance(r, journal.Step)]
    assert [(s.event, s.now) for s in read] == script()[: len(read)]
    assert [len(s.effects) for s in read] == [len(e) for e in played.effects]


def test_the_middle_of_a_journal_is_enough_and_what_is_missing_is_said(tmp_path: Path) -> None:
    Played(size=1_000).shelf.files(tmp_path)
    files = segments(tmp_path)
    assert len(files) > 4
    for gone in (0, 1, 3):
        files[gone].unlink()
    verdict, text = replayed(tmp_path)
    assert verdict is Verdict.SAME, text
    assert "segment 2 of start" in text and "; 2 before it are missing" in text and "; 1 before it are missing" in text


# --- what differs -----------------------------------------------------------------------------------------------------


class Polite(Engine):
    """Words an answer otherwise."""

    def step(self, event: Event, now: Instant) -> tuple[Effect, ...]:
        effects = super().step(event, now)
        if not isinstance(event, RequestFailover):
            return effects
        return tuple(replace(e, text="please configure it") if isinstance(e, Answer) else e for e in effects)


class Louder(IclPeer):
    """Draws entropy that nothing is made of."""

    def tick(self, now: Instant) -> list[Send]:
        if now == 5 * SECOND + 260 * MS:  # an instant at which nothing else is drawn
            self.session._entropy(1)
        return super().tick(now)


class Spender(Engine):
    def __init__(
        self, settings: Settings, memory: tuple[Memory, ...], entropy: Callable[[int], bytes], now: Instant
    ) -> None:
        super().__init__(settings, memory, entropy, now)
        self.peers = {p.id: Louder(settings, p, entropy, now) for p in settings.peers}


def index(event: Event) -> int:
    return [e for e, _ in script()].index(event) + 1


def test_another_effect_is_found_in_its_step(tmp_path: Path) -> None:
    file = Played().file(tmp_path)
    verdict, text = replayed(file, Polite, trace=False)
    assert verdict is Verdict.DIFFERENT
    asked = next(e for e in OTHERS if isinstance(e, RequestFailover))
    assert f"the first difference is in step {index(asked)}, " in text and event_text(asked) in text
    assert "ANOTHER" in text and "please configure it" in text
    assert "what was told before:" in text and "EchoFailed" in text


def test_entropy_that_was_not_drawn_then_is_a_difference(tmp_path: Path) -> None:
    verdict, text = replayed(Played().file(tmp_path), Spender)
    assert verdict is Verdict.DIFFERENT and "the entropy is not: +1 bytes drawn" in text, text
    (tmp_path / "other").mkdir()
    verdict, text = replayed(Played(Spender).file(tmp_path / "other"))
    assert verdict is Verdict.DIFFERENT and "the entropy is not: -1 bytes drawn" in text, text


class Faulty(Engine):
    def step(self, event: Event, now: Instant) -> tuple[Effect, ...]:
        if isinstance(event, RequestMaintenance):
            raise AssertionError("a contradiction")
        return super().step(event, now)


def test_the_step_that_ended_the_agent_is_in_its_journal(tmp_path: Path) -> None:
    shelf = Shelf()
    recorder = Recorder(shelf, generator("journal").randbytes, lambda: WALL)
    engine = Faulty(OWN, (), recorder.entropy, SECOND)
    recorder.begin(engine, OWN, (), SECOND)
    recorder.step(engine.step, Tick(), SECOND)
    with pytest.raises(AssertionError):
        recorder.step(engine.step, RequestMaintenance(1, True), 2 * SECOND)
    shelf.files(tmp_path)
    verdict, text = replayed(tmp_path, Faulty)
    assert verdict is Verdict.SAME and "a fault of its own: AssertionError: a contradiction" in text, text
    verdict, text = replayed(tmp_path)
    assert verdict is Verdict.DIFFERENT
    assert "  then: AssertionError: a contradiction\n  now:  no fault" in text


# --- damage -----------------------------------------------------------------------------------------------------------

RECORDS = Played().shelf.segments[0][:40]
HEAD, WHOLE = RECORDS[0], b"".join(RECORDS)
BOUNDARIES = {len(b"".join(RECORDS[:n])) for n in range(1, 41)}


@given(st.integers(len(journal.MAGIC), len(WHOLE) - 1), st.booleans())
def test_a_torn_tail_is_told_and_costs_only_itself(cut: int, zeros: bool) -> None:
    data = WHOLE[:cut] + bytes(50 if zeros else 0)
    if cut < min(BOUNDARIES):
        with pytest.raises(journal.JournalError):
            journal.read(data)
        return
    _, records = journal.read(data)
    whole = cut in BOUNDARIES
    if zeros and not whole:
        return  # the cut record ends in zeros: damaged or torn, test below
    found = list(records)
    assert isinstance(found[-1], journal.Torn) is (zeros or not whole)
    assert sum(isinstance(r, journal.Step) for r in found) == sum(b <= cut for b in BOUNDARIES) - 1


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_always_seen(at: int, bit: int) -> None:
    damaged = WHOLE[:at] + bytes([WHOLE[at] ^ 1 << bit]) + WHOLE[at + 1 :]
    with pytest.raises(journal.JournalError):
        list(journal.read(damaged)[1])


def layout(body: bytes) -> bytes:
    """A record as the head of ``journal.py`` draws it."""
    size = len(body).to_bytes(4, "little")
    return size + crc32(size).to_bytes(4, "little") + crc32(body).to_bytes(4, "little") + body


def test_the_layout_of_records() -> None:
    tick = bytes((1,)) + (5).to_bytes(8, "little") + (2).to_bytes(4, "little") + (1).to_bytes(2, "little") + bytes((0,))
    assert journal.record(journal.DONE, Tick(), 5, b"dr", [b"abcd"]) == layout(tick + b"drabcd")
    said = bytes((2,)) + (5).to_bytes(8, "little") + bytes(4) + (7).to_bytes(2, "little") + bytes((3,))
    assert journal.record(journal.RAISED, SpeakerLine(b"line"), 5, b"", [b"a fault"]) == layout(said + b"a faultline")


@pytest.mark.parametrize("zeros", [1, 11, 12, 13, 5000])
def test_zeros_at_the_end_are_a_torn_record(zeros: int) -> None:
    """The file had its new size when the power went, and not its new content."""
    data = WHOLE[: max(BOUNDARIES)]
    whole = list(journal.read(data)[1])
    assert list(journal.read(data + bytes(zeros))[1]) == [*whole, journal.Torn(zeros)]
    if zeros >= 12:
        with pytest.raises(journal.JournalError, match=f"damaged at byte {len(data)}$"):
            list(journal.read(data + bytes(zeros) + b"x")[1])


def test_where_it_is_damaged_is_said() -> None:
    """A damaged length is no torn end, though the record may seem to go on behind the end of the file."""
    at = sorted(BOUNDARIES)[3]
    for place, what in ((at + 1, "the length of a record"), (at + 12, "the content of a record")):
        data = bytearray(WHOLE)
        data[place] ^= 0x40
        with pytest.raises(journal.JournalError, match=f"damaged at byte {at}: {what}"):
            list(journal.read(bytes(data))[1])


@pytest.mark.parametrize(
    "event",
    [
        Tick(),
        *(Datagram("icl", "100.64.0.9", ttl, b"data") for ttl in (None, 0, 1, 255)),
        Datagram("päth", "fd00::1", 64, b""),
        EchoAnswer(TARGET, b"?"),
        SpeakerLine(b""),
        RequestMaintenance(2, True),
    ],
)
def test_each_form_of_an_event_comes_back(event: Event) -> None:
    record = journal.record(journal.DONE, event, 7, b"drawn", [b"one.", b"two."])
    (step,) = journal.read(HEAD + record)[1]
    assert step == journal.Step(event, 7, b"drawn", (b"one.", b"two."), None)


@pytest.mark.parametrize(
    "said",
    [b"7", b"{}", b"[]", json.dumps(image.write(TARGET)).encode(), json.dumps(image.write(Intent.LEAVING)).encode()],
)
def test_what_is_no_event_is_refused(said: bytes) -> None:
    tag = bytes((4,))
    step = bytes((1,)) + bytes(8) + bytes(4) + bytes(2) + tag + said
    with pytest.raises(journal.JournalError, match="a record makes no sense"):
        list(journal.read(HEAD + layout(step))[1])


def test_a_damaged_segment_is_said_and_the_others_are_replayed(tmp_path: Path) -> None:
    Played(size=1_000).shelf.files(tmp_path)
    bad = segments(tmp_path)[1]
    data = bytearray(bad.read_bytes())
    data[-5] ^= 1
    bad.write_bytes(data)
    verdict, text = replayed(tmp_path)
    assert verdict is Verdict.UNREADABLE
    assert f"{bad}: damaged at byte" in text
    assert text.count("all the same") == len(segments(tmp_path)) - 1


def headed(**other: object) -> bytes:
    """A journal with another head."""
    size = int.from_bytes(WHOLE[len(journal.MAGIC) :][:4], "little")
    at = len(journal.MAGIC) + 12
    head = json.loads(WHOLE[at : at + size])
    return journal.MAGIC + journal.framed(json.dumps(head | other).encode()) + WHOLE[at + size :]


FOREIGN = {
    "another version": (headed(software="9.9"), f"written by l3ha 9.9; this is l3ha {l3ha.__version__}"),
    "another format": (WHOLE.replace(b"journal 4", b"journal 1"), "another format: l3ha-journal 1"),
    "not a journal": (b"\x7fELF" + bytes(100), "not a journal of l3ha"),
    "empty": (b"", "not a journal of l3ha"),
    "no head": (journal.MAGIC, "no complete head"),
    "no state": (headed(image=["T", 1, 2]), "settings and terms"),
    "a class of others": (headed(number=1, image={"x": ["X", "os.system", {}]}), "unknown class 'os.system'"),
    "an attribute of Python": (headed(number=1, image={"__class__": 1}), "an attribute '__class__'"),
    "an odd member": (headed(image=["T", ["E", "base.names.Level", "__init__"], ["T"]]), "cannot be made again"),
    "deep": (headed(image=json.loads("[" * 500 + "]" * 500)), "cannot be made again"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused_with_its_reason(name: str, tmp_path: Path) -> None:
    data, reason = FOREIGN[name]
    done = CliRunner().invoke(cli, ["sim", "--replay", str(write(tmp_path, data))])
    assert done.exit_code == 2 and reason in done.output, done.output
    assert "Traceback" not in done.output


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nothing").mkdir()
    for name, reason in (("pipe", "not a regular file"), ("nothing", "no segment"), ("none", "No such file")):
        verdict, text = replayed(tmp_path / name)
        assert verdict is Verdict.UNREADABLE and reason in text
    assert CliRunner().invoke(cli, ["sim", "--trace", "--seed", "1"]).exit_code == 2


JSON = st.recursive(
    st.none() | st.integers() | st.text() | st.sampled_from(["X", "T", "D", "R", "Q", "S", "E", "core.srg.SrgMachine"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_no_image_does_more_than_be_refused(content: object) -> None:
    try:
        made = image.write(image.read(content))
    except image.BadImageError:
        return
    assert image.write(image.read(made)) == made, "what is made is of the known kinds, and can be written again"


def test_what_has_no_words_ends_the_journal_and_not_the_engine(tmp_path: Path) -> None:
    shelf = Shelf(0)
    recorder = Recorder(shelf, generator("journal").randbytes, lambda: WALL)
    engine = Engine(OWN, (), recorder.entropy, SECOND)
    recorder.begin(engine, OWN, (), SECOND)
    engine.srgs[SrgId(1)].reason = object()  # type: ignore[assignment]
    assert recorder.step(engine.step, Tick(), SECOND)
    assert shelf.why is not None and "builtins.object" in shelf.why


def test_after_its_end_nothing_is_kept() -> None:
    """An agent whose journal has ended draws for months: what it draws must not pile up."""
    shelf = Shelf()
    recorder = Recorder(shelf, generator("journal").randbytes, lambda: WALL)
    engine = Engine(OWN, (), recorder.entropy, SECOND)
    recorder.begin(engine, OWN, (), SECOND)
    recorder.entropy(8)
    recorder.end()
    assert len(recorder.entropy(8)) == 8
    recorder.begin(engine, OWN, (), SECOND)
    heads = [journal.read(segment[0])[0] for segment in shelf.segments]
    assert [bool(head.drawn) for head in heads] == [True, False] and [head.number for head in heads] == [0, 1]


# --- files ------------------------------------------------------------------------------------------------------------


LIMIT = 16 * MIB


def until(check: Callable[[], object]) -> None:
    deadline = time.monotonic() + BUDGET_S
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_files_are_bounded_private_and_go_on_after_a_restart(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    for start in range(6):
        files = JournalFiles(directory, LIMIT)
        for n in range(3):
            files.begin(b"%d/%d" % (start, n))
            while not files.full:
                files.append(bytes(200_000))
        files.close()
        assert files.problem is None
    found = segments(directory)
    total = sum(f.stat().st_size for f in found)
    assert LIMIT - 2 * LIMIT // 8 - RESERVE <= total <= LIMIT
    assert [f.read_bytes()[:3] for f in found] == [b"%d/%d" % divmod(n, 3) for n in range(18 - len(found), 18)]
    assert {f.stat().st_mode & 0o777 for f in found} == {0o600} and directory.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_is_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    (tmp_path / "link").symlink_to(tmp_path)
    held = JournalFiles(tmp_path / "held", LIMIT)
    cases = (("file", "cannot keep"), ("open", "chmod 0700"), ("link", "cannot keep"), ("held", "another agent"))
    for name, reason in cases:
        with pytest.raises(UnusableError, match=reason):
            JournalFiles(tmp_path / name, LIMIT)
    held.close()
    JournalFiles(tmp_path / "held", LIMIT).close()


def test_a_directory_that_vanishes_is_one_alarm_and_the_engine_goes_on(tmp_path: Path) -> None:
    files = JournalFiles(tmp_path / "journal", LIMIT)
    engine = JournaledEngine(OWN, (), generator("journal").randbytes, SECOND, files)
    (tmp_path / "journal").rename(tmp_path / "gone")
    until(lambda: files.problem)
    told = [e for n in range(100) for e in engine.step(Tick(), SECOND + n * 20 * MS)]
    alarms = [e.text for e in told if isinstance(e, Note) and "the journal in" in e.text]
    assert alarms == [f"the journal in {tmp_path / 'journal'} ends here: No such file or directory"]
    assert any(isinstance(e, Send) for e in told)
    files.close()


def test_a_disk_that_hangs_ends_the_journal(tmp_path: Path) -> None:
    files = JournalFiles(tmp_path / "journal", 1 << 40)
    for _ in range(40):
        files.append(bytes(MIB))
    assert files.problem is not None and "does not keep up" in files.problem
    files.close()


def test_a_state_too_great_for_its_segment_ends_the_journal(tmp_path: Path) -> None:
    files = JournalFiles(tmp_path / "journal", LIMIT)
    files.begin(bytes(3 * MIB // 2))
    assert files.problem is not None and "the limit is too low" in files.problem
    files.close()


# --- the agent --------------------------------------------------------------------------------------------------------

CLUSTER = """
[cluster]
name = "alone"
asn = 65010
[icl]
port = 27411
[node.n1]
id = 1
public_key = "{n1}"
private_key_file = "n1.key"
router_id = "10.0.0.1"
paths.icl = "100.64.0.11"
neighbor.r1 = {{ address = "100.64.0.13", local_address = "100.64.0.11", asn = 65001 }}
[node.n2]
id = 2
public_key = "{n2}"
private_key_file = "n2.key"
router_id = "10.0.0.2"
paths.icl = "100.64.0.12"
neighbor.r1 = {{ address = "100.64.0.13", local_address = "100.64.0.12", asn = 65001 }}
[srg.1]
priority = {{ n1 = 200, n2 = 100 }}
floating = ["100.64.0.99/32"]
routes = ["100.64.0.99/32"]
"""


READ = "the configuration was read again"


class Alone:
    """A real agent whose addresses no interface has: it hears nobody, and its heartbeats still go on."""

    def __init__(self, base: Path, *words: str, file_size: int | None = None) -> None:
        keys = {}
        for node in ("n1", "n2"):
            (base / f"{node}.key").unlink(missing_ok=True)
            made = CliRunner().invoke(cli, ["keygen", "--json", "--out", str(base / f"{node}.key")])
            keys[node] = json.loads(made.output)["public_key"]
        (base / "l3ha.toml").write_text(CLUSTER.format(**keys))
        self.log = base / f"log-{time.monotonic_ns()}"
        self.journal = base / "journal"
        where = ["--config", "l3ha.toml", "--node", "n1", "--run-dir", "run", "--state-dir", "state"]
        line = [sys.executable, "-m", "l3ha", *where, "agent", "--log-format", "json", "--journal", "journal", *words]
        with self.log.open("wb") as stderr:
            self.process = subprocess.Popen(
                line, stderr=stderr, cwd=base, env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"}
            )
        if file_size is not None:
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (file_size, file_size))

    def __enter__(self) -> Alone:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def written(self) -> int:
        return sum(f.stat().st_size for f in segments(self.journal)) if self.journal.is_dir() else 0

    def reload(self) -> None:
        """The file is read again, and its settings are in the journal."""
        until(lambda: self.written() > 0)
        before = self.texts().count(READ)
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.texts().count(READ) > before)

    def texts(self) -> list[str]:
        return [str(json.loads(line)["event"]) for line in self.log.read_text().splitlines()]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the agent needs raw sockets")


@needs_root
def test_an_agent_that_was_stopped_and_one_that_was_killed_are_replayed(tmp_path: Path) -> None:
    with Alone(tmp_path) as first:
        first.reload()
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(BUDGET_S) == 0, first.log.read_text()
    before = first.written()
    with Alone(tmp_path) as second:
        until(lambda: second.written() > before)
        second.process.kill()
        second.process.wait()
    done = CliRunner().invoke(cli, ["sim", "--replay", str(tmp_path / "journal"), "--trace"])
    assert done.exit_code == 0, done.output
    assert "the agent ended as it was told" in done.output
    for text, count in (("started l3ha", 2), ("--- NewSettings", 1), ("--- RequestStop(", 1)):
        assert done.output.count(text) == count
    torn = segments(tmp_path / "journal")[-1]
    torn.write_bytes(torn.read_bytes()[:-3])
    done = CliRunner().invoke(cli, ["sim", "--replay", str(torn)])
    assert done.exit_code == 0 and "the last record is torn" in done.output


@needs_root
def test_a_full_disk_is_one_alarm_and_the_agent_goes_on(tmp_path: Path) -> None:
    with Alone(tmp_path, file_size=6_000) as agent:
        agent.reload()
        agent.reload()
        until(lambda: any("ends here: File too large" in t for t in agent.texts()))
        assert agent.process.poll() is None
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(BUDGET_S) == 0
    assert sum("ends here" in t for t in agent.texts()) == 1
    verdict, text = replayed(tmp_path / "journal")
    assert verdict is Verdict.SAME and "torn" in text, text


def test_a_bad_directory_stops_the_start_like_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("")
    with Alone(tmp_path) as agent:
        assert agent.process.wait(BUDGET_S) == 78
        assert any("cannot keep the journal there: " in t for t in agent.texts())
