"""The hook bus: order, STOP, waiting only where a handler waits, and failures by owner."""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import ClassVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.hooks.bus import STOP, Hook, HookBus, HookFailed, Outcome, _resume
from mongoosetw.xmpp.errors import BackendUnavailable


@dataclass(slots=True)
class Asked(Hook):
    """Collects answers."""

    may_wait: ClassVar[bool] = True
    answers: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Guarded(Hook):
    """Refuses when a handler fails."""

    fails_closed: ClassVar[bool] = True


@dataclass(slots=True)
class Insisting(Asked):
    """Is fired again when what a handler needs is away."""

    repeatable: ClassVar[bool] = True


class HookBusTests(SynchronousTestCase):
    """What handlers and their callers can rely on."""

    def setUp(self) -> None:
        """A bus of its own for each test."""
        self.bus = HookBus()
        self.gate: Deferred[None] = Deferred()

    def says(self, text: str, priority: int, outcome: Outcome = None) -> None:
        """Adds a handler that answers at once."""

        def handler(event: Asked) -> Outcome:
            event.answers.append(text)
            return outcome

        self.bus.add(Asked, priority, text, handler)

    def waits(self, text: str, priority: int, outcome: Outcome = None) -> None:
        """Adds a handler that answers when the gate opens."""

        async def handler(event: Asked) -> Outcome:
            await self.gate
            event.answers.append(text)
            return outcome

        self.bus.add(Asked, priority, text, handler)

    def test_lower_priorities_run_first(self) -> None:
        """Handlers run by priority, whatever the order of their registration."""
        self.says("late", 90)
        self.says("early", 10)
        self.bus.publish()
        event = Asked()
        self.assertIsNone(self.bus.fire(event))
        self.assertEqual(event.answers, ["early", "late"])

    def test_stop_ends_the_chain(self) -> None:
        """A handler that answers STOP is the last one that runs."""
        self.says("first", 1, STOP)
        self.says("second", 2)
        self.bus.publish()
        event = Asked()
        self.assertIs(self.bus.fire(event), STOP)
        self.assertEqual(event.answers, ["first"])

    def test_waiting_handler_holds_back_those_behind(self) -> None:
        """Behind a handler that waits, the chain goes on when it has answered."""
        self.says("before", 1)
        self.waits("waited", 2)
        self.says("behind", 3, STOP)
        self.bus.publish()
        event = Asked()
        outcome = self.bus.fire(event)
        assert isinstance(outcome, Deferred)
        self.assertEqual(event.answers, ["before"])
        self.gate.callback(None)
        self.assertIs(self.successResultOf(outcome), STOP)
        self.assertEqual(event.answers, ["before", "waited", "behind"])

    def test_waiting_handler_may_stop(self) -> None:
        """STOP after waiting ends the chain, too."""
        self.waits("waited", 1, STOP)
        self.says("behind", 2)
        self.bus.publish()
        event = Asked()
        outcome = self.bus.fire(event)
        assert isinstance(outcome, Deferred)
        self.gate.callback(None)
        self.assertIs(self.successResultOf(outcome), STOP)
        self.assertEqual(event.answers, ["waited"])

    def test_plain_handler_waits_only_when_it_has_to(self) -> None:
        """A plain function that returns no awaitable makes nobody wait."""
        must_wait = False

        def handler(event: Asked) -> Outcome | Awaitable[Outcome]:
            return self.gate.addCallback(lambda _: STOP) if must_wait else None  # type: ignore

        self.bus.add(Asked, 1, "mod_x", handler)
        self.bus.publish()
        self.assertIsNone(self.bus.fire(Asked()))
        must_wait = True
        outcome = self.bus.fire(Asked())
        assert isinstance(outcome, Deferred)
        self.gate.callback(None)
        self.assertIs(self.successResultOf(outcome), STOP)

    def test_failing_notification_goes_on(self) -> None:
        """A handler that raises, at once or after waiting, is logged, and the chain goes on."""

        def broken(event: Asked) -> Outcome:
            raise ValueError("at once")

        async def broken_later(event: Asked) -> Outcome:
            await self.gate
            raise ValueError("later")

        self.bus.add(Asked, 1, "mod_a", broken)
        self.bus.add(Asked, 2, "mod_b", broken_later)
        self.says("behind", 3)
        self.bus.publish()
        event = Asked()
        with self.assertLogs("mongoosetw.hooks.bus") as logs:
            outcome = self.bus.fire(event)
            assert isinstance(outcome, Deferred)
            self.gate.callback(None)
            self.assertIsNone(self.successResultOf(outcome))
        self.assertEqual(event.answers, ["behind"])
        self.assertIn("owner=mod_a", logs.output[0])
        self.assertIn("owner=mod_b", logs.output[1])

    def test_failing_check_fails_closed(self) -> None:
        """Where a hook fails closed, a handler that raises refuses the stanza."""

        def broken(event: Guarded) -> Outcome:
            raise ValueError("broken")

        self.bus.add(Guarded, 1, "mod_a", broken)
        self.bus.publish()
        with self.assertLogs("mongoosetw.hooks.bus"):
            self.assertRaises(HookFailed, self.bus.fire, Guarded())

    def test_without_backend(self) -> None:
        """What may be done again ends with that when a handler's database is away, at once or
        after waiting; what may not goes on."""

        async def away(event: Asked) -> Outcome:
            await self.gate
            raise BackendUnavailable("away")

        for hook in (Asked, Insisting):
            self.bus.add(hook, 1, "mod_a", away)
            self.bus.add(hook, 2, "mod_b", lambda event: event.answers.append("behind"))
        self.bus.publish()
        self.gate.callback(None)
        goes_on, ends = Asked(), Insisting()
        self.successResultOf(Deferred.fromCoroutine(self.bus.run(goes_on)))
        self.failureResultOf(Deferred.fromCoroutine(self.bus.run(ends)), BackendUnavailable)
        self.assertEqual((goes_on.answers, ends.answers), (["behind"], []))

    def test_coroutines_only_where_the_hook_may_wait(self) -> None:
        """A coroutine function is refused by a hook that may not wait."""

        async def handler(event: Guarded) -> Outcome:
            return None

        self.assertRaises(TypeError, self.bus.add, Guarded, 1, "mod_a", handler)

    def test_owner_is_removed_in_one_step(self) -> None:
        """A module's handlers go together, and only when that is published."""
        self.says("mod_a", 1)
        self.says("mod_b", 2)
        self.bus.publish()
        self.bus.remove_owner("mod_a")
        event = Asked()
        self.bus.fire(event)
        self.bus.publish()
        self.bus.fire(event)
        self.assertEqual(event.answers, ["mod_a", "mod_b", "mod_b"])

    def test_abandoned(self) -> None:
        """A coroutine that waits when the process ends is closed without a complaint."""

        async def waits() -> None:
            await Deferred()

        coroutine = waits()
        resumed = _resume(coroutine, coroutine.send(None))
        resumed.send(None)
        coroutine.close()
        resumed.close()
