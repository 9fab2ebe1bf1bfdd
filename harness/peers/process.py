"""The near end of a peer: its process, asked and answered in lines of JSON.

A peer that crashes, hangs or answers nonsense raises `PeerError`, one sentence, and is ended.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import psutil

from ..machine.cores import binding, born_on

GRACE_SECONDS = 5.0  # to leave by itself when its input ends
_CHUNK = 1 << 16


class PeerError(Exception):
    """Why a peer has no figure, one sentence."""


class Process:
    """A running worker.

    Args:
        command: an interpreter and what it runs.
        threads: OpenMP threads it may use.
        name: what messages call it.
        cores: logical cores that it is pinned to; None for all of this process.
        own: it runs this package, in this environment.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        threads: int,
        name: str,
        *,
        cores: Collection[int] | None = None,
        own: bool = False,
    ) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._rest = b""
        unbound = set(os.environ) - set(binding())
        environment = {k: os.environ[k] for k in unbound if own or not k.startswith("PYTHON")}
        environment["OMP_NUM_THREADS"] = str(threads)
        environment["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # no pool of compilers stays behind
        try:
            with born_on(cores):
                self._process = subprocess.Popen(
                    list(map(str, command)),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    env=environment,
                    bufsize=0,
                )
        except OSError as reason:
            self._errors.close()
            raise PeerError(f"{name} does not start: {reason}.") from reason

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send one request and wait for its answer.

        Raises:
            PeerError: no answer within `seconds`, the process ended, or it reports an error.
        """
        pipe = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(json.dumps(request).encode() + b"\n")
        except OSError:
            raise self._ended() from None
        line = self._line(time.monotonic() + seconds, seconds)
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self._fail(f"{self.name} answered {line[:60]!r}, which is not a JSON object.")
        if "error" in answer:
            raise self._fail(f"{self.name}: {answer['error']}.")
        return answer

    def idle_share(self, seconds: float = 0.2) -> float:
        """Share of one core that it takes while nothing is asked of it."""
        try:
            process = psutil.Process(self._process.pid)
            before = process.cpu_times()
            time.sleep(seconds)
            after = process.cpu_times()
        except psutil.Error:
            raise self._ended() from None
        taken = (after.user - before.user) + (after.system - before.system)
        return max(0.0, taken) / seconds

    def kill(self) -> None:
        """End it at once; whoever waits for its answer gets a `PeerError`."""
        self._process.kill()

    def close(self) -> None:
        """End it: by the end of its input, or by force where that does not help."""
        if self._errors.closed:
            return
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _line(self, deadline: float, seconds: float) -> bytes:
        pipe = self._process.stdout
        assert pipe is not None
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self._process.kill()
                    raise self._fail(f"{self.name} gave no answer within {seconds:.0f} s.")
                chunk = os.read(pipe.fileno(), _CHUNK)
                if not chunk:
                    raise self._ended()
                self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _ended(self) -> PeerError:
        """What it wrote last to standard error is the best account of why."""
        try:
            status = self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        said = f": {lines[-1].strip()}" if lines else ""
        return self._fail(f"{self.name} ended with status {status}{said}.")

    def _fail(self, sentence: str) -> PeerError:
        self.close()
        return PeerError(sentence)
