"""The control socket of a supervisor: asks its workers, and makes one answer of theirs."""

import logging
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, DeferredList

from mongoosetw import __version__
from mongoosetw.cluster.asking import Unreachable
from mongoosetw.cluster.merging import MERGES, Answers
from mongoosetw.cluster.scrape import merge
from mongoosetw.cluster.worker_process import State, Worker
from mongoosetw.control import Args, Command, CommandError, Control, required
from mongoosetw.control_commands import change_level
from mongoosetw.http.exposition import exposition
from mongoosetw.logs import UnknownLevel

if TYPE_CHECKING:
    from mongoosetw.cluster.supervisor import SupervisorService

logger = logging.getLogger(__name__)
ROLLING: Final = frozenset({"cluster drain", "cluster leave", "cluster restart"})
"""Commands for one worker, if it is named, or all; the supervisor itself carries them out."""


class SupervisorControl(Control):
    """Commands of the supervisor itself; all others go to one worker, or to all."""

    def __init__(self, supervisor: "SupervisorService") -> None:
        super().__init__((UnknownLevel,))
        self._supervisor = supervisor

    async def _run(self, name: str, args: Args) -> Any:
        if name in ROLLING:
            return await super()._run(name, args)
        node = args.pop("node", None)
        if node is not None:
            return await self._of_node(str(node), name, args)
        if name in self._commands:
            return await super()._run(name, args)
        merged = MERGES.get(name)
        if merged is None:
            return await self._of_any(name, args)
        return merged(await self.of_all(name, args))

    async def _of_node(self, node: str, name: str, args: Args) -> Any:
        """Asks the one that was named.

        :raises CommandError: there is none of this name, it refuses or does not answer.
        """
        (worker,) = self.chosen(node)
        try:
            return await self._supervisor.ask(worker, name, args)
        except Unreachable as error:
            raise CommandError(str(error)) from None

    def chosen(self, node: str | None) -> list[Worker]:
        """The worker of this name; all without one.

        :raises CommandError: there is none of this name.
        """
        workers = self._supervisor.workers
        found = [worker for worker in workers if node in (None, worker.name)]
        if not found:
            names = ", ".join(worker.name for worker in workers)
            raise CommandError(f"there is no node {node} here; there are: {names}")
        return found

    async def _of_any(self, name: str, args: Args) -> Any:
        """Asks the first that is there.

        :raises CommandError: it refuses, or none is there.
        """
        for worker in self._supervisor.workers:
            try:
                return await self._supervisor.ask(worker, name, args)
            except Unreachable as error:
                logger.info("worker_unreachable worker=%s reason=%s", worker.name, error)
        raise CommandError("no worker is running")

    async def of_all(self, name: str, args: Args) -> Answers:
        """Asks all that are there, at the same time.

        :raises CommandError: all refuse, or none is there.
        """
        answers, refusals = await self.of_each(name, args)
        if not answers:
            raise CommandError(next(iter(refusals.values()), "no worker is running"))
        return answers

    async def of_each(self, name: str, args: Args) -> tuple[Answers, dict[str, str]]:
        """Asks all that are there, at the same time; why some of these have not answered."""
        workers = [w for w in self._supervisor.workers if w.state is State.RUNNING]
        asked = [Deferred.fromCoroutine(self._supervisor.ask(w, name, args)) for w in workers]
        outcomes: Any = await DeferredList(asked, consumeErrors=True)
        answers: Answers = []
        refusals: dict[str, str] = {}
        for worker, (success, result) in zip(workers, outcomes, strict=True):
            if success:
                answers.append((worker.name, result))
            elif result.check(CommandError, Unreachable):
                refusals[worker.name] = str(result.value)
            else:
                result.raiseException()
        return answers, refusals


def supervisor_control(supervisor: "SupervisorService") -> Control:
    """The table of a supervisor's own commands."""
    control = SupervisorControl(supervisor)

    _add_looks(control, supervisor)

    @control.command("reload")
    async def reload(args: Args) -> Any:
        """Read the configuration again, everywhere."""
        changes = MERGES["reload"](await control.of_all("reload", args))
        supervisor.take_configuration()
        return changes

    @control.command("loglevel set")
    async def set_levels(args: Args) -> Any:
        """Change a level everywhere."""
        change_level({**args, "level": required(args, "level")})
        return MERGES["loglevel set"](await control.of_all("loglevel set", args))

    def roll(what: str) -> Command:
        def begin(args: Args) -> dict[str, Any]:
            chosen = control.chosen(args.get("node"))
            supervisor.rolling.begin(what, chosen)
            return {what: [worker.name for worker in chosen]}

        return begin

    for what in ("drain", "leave", "restart"):
        control.command(f"cluster {what}")(roll(what))

    @control.command("stop")
    def stop(args: Args) -> dict[str, Any]:
        """Stop all workers, and the supervisor."""
        supervisor.stop()
        return {"stopping": True}

    return control


def _add_looks(control: SupervisorControl, supervisor: "SupervisorService") -> None:
    """What tells how the workers are."""

    @control.command("status")
    async def status(args: Args) -> dict[str, Any]:
        """Say what runs."""
        found, refusals = await control.of_each("status", args)
        answers = dict(found)
        return {
            "version": __version__,
            "uptime": round(supervisor.reactor.seconds() - supervisor.started_at),
            "domains": sorted(supervisor.config.general.hosts),
            "sessions": sum(answer["own_sessions"] for answer in answers.values()),
            "workers": [_describe(w, answers.get(w.name)) for w in supervisor.workers],
            **_silent(refusals),
        }

    @control.command("cluster status")
    async def cluster_status(args: Args) -> dict[str, Any]:
        """Say what the workers know of the nodes."""
        answers, refusals = await control.of_each("cluster status", args)
        silent = {w.name: str(w.state) for w in supervisor.workers if w.state is not State.RUNNING}
        return {**MERGES["cluster status"](answers), **_silent(silent | refusals)}

    @control.command("metrics")
    async def metrics(args: Args) -> str:
        """The metrics of all workers, and of the supervisor."""
        texts = {supervisor.config.cluster.name: exposition().decode()}
        answers, _ = await control.of_each("own metrics", args)
        return merge(texts | dict(answers))


def _describe(worker: Worker, answer: dict[str, Any] | None) -> dict[str, Any]:
    sessions = None if answer is None else answer["own_sessions"]
    return worker.describe() | {"sessions": sessions}


def _silent(reasons: dict[str, str]) -> dict[str, list[dict[str, str]]]:
    """Says who has not answered, if anybody has not."""
    rows = [{"node": node, "why": why} for node, why in sorted(reasons.items())]
    return {"silent": rows} if rows else {}
