"""What a machine's kernel holds, asked again and again: one ``ip -batch`` answers all questions.

A process for each question would be most of what a watching lab costs, and the next sample would come later.
"""

from __future__ import annotations

import json
import subprocess
import threading
from typing import Any

from lab.command import LabError
from lab.topology import namespace


class Kernel:
    """One machine's, of one family (4 or 6). Threads may ask at the same time."""

    def __init__(self, tag: str, machine: str, family: int) -> None:
        self._argv = ["ip", "-n", namespace(tag, machine), f"-{family}", "-json", "-batch", "-"]
        self._turn = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, question: str) -> list[dict[str, Any]]:
        """What ``ip -json QUESTION`` prints. Raises ``LabError`` with its words where it fails.

        Not for ``link``, after which this ``ip`` would answer about no family any more.
        """
        assert not question.startswith("link"), question
        with self._turn:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(f"{question}\n")
                answer = process.stdout.readline()
            except OSError:
                answer = ""
            try:
                found: list[dict[str, Any]] = json.loads(answer)
            except ValueError:  # words, or nothing: it ends with the first question that fails
                said = f"{answer.strip()} {self._end()}".strip() or "no word"
                raise LabError(f"{' '.join(self._argv[:4])} {question}: {said}") from None
            return found

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                bufsize=1,
            )
        return self._process

    def _end(self) -> str:
        """End the process, if there is one; what it said last."""
        process, self._process = self._process, None
        if process is None:
            return ""
        process.kill()
        return process.communicate()[0].strip()

    def close(self) -> None:
        """No more questions for now; the next one starts anew."""
        with self._turn:
            self._end()
