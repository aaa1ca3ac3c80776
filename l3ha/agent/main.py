"""``l3ha agent``: read the file, make the engine, serve.

Order of a start, because a restart must be back within the speaker's lease (2 s): what the first heartbeat needs comes
first; pyroute2 and structlog (0.3 s of imports) follow in threads once the engine runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from l3ha.agent.journal import JournaledEngine
from l3ha.agent.log import Log
from l3ha.agent.loop import EngineLike
from l3ha.agent.process import EXIT_CONFIG, serve
from l3ha.base.errors import ConfigError
from l3ha.base.settings import Settings
from l3ha.base.time import Instant
from l3ha.config.load import load
from l3ha.core import report
from l3ha.core.engine import Engine
from l3ha.core.events import Memory
from l3ha.core.status import Status
from l3ha.drivers.journal import JournalFiles, UnusableError


def run(
    config: Path | str,
    node: str | None,
    run_dir: Path | str,
    state_dir: Path | str,
    log_format: str,
    journal: Callable[[], JournalFiles] | None = None,
) -> int:
    """Run the agent in the foreground until it is told to end, and journal what enters it. Returns the exit code."""
    log = Log(log_format)
    reread = partial(load, Path(config), node)
    files: JournalFiles | None = None
    try:
        settings = reread()
        files = journal() if journal is not None else None
        return serve(settings, reread, Path(run_dir), Path(state_dir), log, partial(_engine, files))
    except ConfigError as error:
        for fault in error.faults:
            log.say("error", str(fault))
        log.say("critical", "the configuration has faults; the agent does not start")
        return EXIT_CONFIG
    except UnusableError as error:
        log.say("critical", f"the agent does not start: {error}")
        return EXIT_CONFIG
    finally:
        if files is not None:
            files.close()
        log.close()


def _engine(
    files: JournalFiles | None, settings: Settings, memory: tuple[Memory, ...], now: Instant
) -> tuple[EngineLike, Callable[[Instant], Status]]:
    if files is not None:
        journaled = JournaledEngine(settings, memory, os.urandom, now, files)
        return journaled, partial(report.status, journaled.engine)
    engine = Engine(settings, memory, os.urandom, now)
    return engine, partial(report.status, engine)
