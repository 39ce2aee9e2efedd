"""How a worker process is watched and started again, on a test's clock."""

import signal
from typing import Any
from unittest.mock import patch

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.cluster.worker import ALIVE, LIFE, READY, Orders
from mongoosetw.cluster.worker_process import FAILURES, State, Worker, new_incarnation

PID = 4_000_000
"""Above the greatest process id: should a signal be sent after all, it reaches nobody."""


class Process:
    """What Twisted gives as the transport of a process."""

    pid = PID


class FakeReactor(Clock):
    """A clock that starts processes which do nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[dict[str, Any]] = []

    def spawnProcess(self, protocol: Any, executable: str, args: Any, **options: Any) -> None:
        """Notes a start."""
        self.started.append(options)
        protocol.transport = Process()


class WorkerProcessTests(SynchronousTestCase):
    """One worker."""

    def setUp(self) -> None:
        """A worker that has been started."""
        self.reactor = FakeReactor()
        self.states: list[State] = []
        self.given_up: list[Worker] = []
        self.signals: list[int] = []
        patched = patch(
            "mongoosetw.cluster.worker_process.os.kill",
            lambda pid, number: self.signals.append(number),
        )
        patched.start()
        self.addCleanup(patched.stop)
        self.worker = Worker(self.reactor, self, 1, "alpha.1")
        self.worker.start()

    def orders(self, index: int) -> tuple[Orders, list[int]]:
        """What the process is told."""
        return Orders("m.toml", index, 2, 1, {}, False, None), [77, 78]

    def changed(self, worker: Worker) -> None:
        """Notes a state."""
        self.states.append(worker.state)

    def hopeless(self, worker: Worker) -> None:
        """Notes the end of patience."""
        self.given_up.append(worker)

    def end(self, number: int | None = signal.SIGSEGV) -> None:
        """The process ends."""
        ended: Any = ProcessDone(0) if number is None else ProcessTerminated(None, number, 0)
        self.worker.processEnded(Failure(ended))

    def test_sockets_are_passed(self) -> None:
        """The process gets the listening sockets, the pipe of its life, and its orders."""
        passed = self.reactor.started[0]["childFDs"]
        self.assertEqual((passed[10], passed[11], passed[LIFE], passed[0]), (77, 78, "r", "w"))
        self.assertIn('"index": 1', self.reactor.started[0]["env"]["MONGOOSETW_WORKER"])

    def test_life(self) -> None:
        """A worker runs when it says so, is frozen when it is silent, and runs when it speaks."""
        self.worker.childDataReceived(LIFE, READY)
        self.reactor.advance(4)
        self.worker.check(5, 60)
        self.assertEqual(self.worker.state, State.RUNNING)
        self.reactor.advance(2)
        self.worker.check(5, 60)
        self.assertEqual(self.worker.state, State.FROZEN)
        self.worker.childDataReceived(LIFE, ALIVE)
        self.assertEqual(self.worker.state, State.RUNNING)
        self.assertEqual(self.signals, [])

    def test_killed_when_frozen_for_long(self) -> None:
        """A worker that stays silent is killed."""
        self.worker.childDataReceived(LIFE, READY)
        for _ in range(2):
            self.reactor.advance(61)
            self.worker.check(5, 60)
        self.assertEqual(self.signals, [signal.SIGKILL])

    def test_slow_start_is_no_freeze(self) -> None:
        """Before it is ready a worker may take its time: a database may be upgraded."""
        self.reactor.advance(600)
        self.worker.check(5, 60)
        self.assertEqual((self.worker.state, self.signals), (State.STARTING, []))

    def test_growing_delay(self) -> None:
        """Each start that fails makes the next one wait longer."""
        waited = []
        for _ in range(4):
            self.end()
            begun, count = self.reactor.seconds(), len(self.reactor.started)
            while len(self.reactor.started) == count:
                self.reactor.advance(0.25)
            waited.append(self.reactor.seconds() - begun)
        self.assertEqual(waited, [0.5, 1.0, 2.0, 4.0])

    def test_long_life_forgives(self) -> None:
        """A worker that has run for a while starts quickly again, however often it has ended."""
        for _ in range(3 * FAILURES):
            self.reactor.advance(100)
            self.end()
            self.assertEqual(self.worker.state, State.WAITING)
            self.reactor.advance(0.5)
            self.assertEqual(self.worker.state, State.STARTING)
        self.assertEqual(self.given_up, [])

    def test_crash_loop(self) -> None:
        """A worker that always ends at once is given up, also if it ends without an error."""
        for n in range(FAILURES):
            self.assertEqual(self.given_up, [])
            self.end(None if n % 2 else signal.SIGSEGV)
            self.reactor.advance(30)
        self.assertEqual(self.given_up, [self.worker])
        self.assertEqual(len(self.reactor.started), FAILURES)

    def test_stop(self) -> None:
        """A worker is asked to end, is woken for that, and is killed if it does not."""
        ended: list[bool] = []
        self.worker.stop(lambda: ended.append(True), 30)
        self.assertEqual(self.signals, [signal.SIGCONT, signal.SIGTERM])
        self.reactor.advance(30)
        self.assertEqual(self.signals[2:], [signal.SIGKILL])
        self.end()
        self.assertEqual((ended, self.worker.state), ([True], State.STOPPED))
        self.reactor.advance(60)
        self.assertEqual(len(self.reactor.started), 1)

    def test_stop_while_waiting(self) -> None:
        """A worker that waits for its next start is stopped at once, and not started."""
        self.end()
        ended: list[bool] = []
        self.worker.stop(lambda: ended.append(True), 30)
        self.assertEqual(ended, [True])
        self.reactor.advance(60)
        self.assertEqual(len(self.reactor.started), 1)

    def test_stray_output(self) -> None:
        """What a worker writes beside the log is logged, line by line."""
        with self.assertLogs("mongoosetw.cluster.worker_process", "WARNING") as logged:
            self.worker.childDataReceived(2, b"Fatal Python")
            self.worker.childDataReceived(2, b" error\nmore")
        self.assertIn("line=Fatal Python error", logged.output[0])

    def test_incarnations_grow(self) -> None:
        """Each process has a greater number than the one before, although the clock goes back."""
        first = new_incarnation(0)
        self.assertGreater(new_incarnation(first), first)
        self.assertEqual(new_incarnation(first + 10**12), first + 10**12 + 1)


