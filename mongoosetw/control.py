"""The control socket: how ``mongoosectl`` talks to the running server.

A Unix socket in the data directory that only the server's user can open. A request is one line of
JSON, ``{"command": "session kick", "args": {"jid": "…"}}``; the answer is one line, either
``{"result": …}`` or ``{"error": "what was wrong"}``. Answers come in the order of the requests.
"""

import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from mongoosetw.socketpath import check_path

SOCKET_NAME: Final = "mongoosectl.sock"
MAX_REQUEST: Final = 1024 * 1024
"""Bytes of the longest request."""

logger = logging.getLogger(__name__)

Args: TypeAlias = dict[str, Any]
Command: TypeAlias = Callable[[Args], Any]
"""Takes the arguments; returns JSON, an awaitable of it, or a Deferred. Raises CommandError."""


class CommandError(Exception):
    """A request that cannot be fulfilled; the text is for the operator."""


def required(args: Args, name: str) -> str:
    """Return a text argument.

    :raises CommandError: when it is missing or no text.
    """
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise CommandError(f"the argument {name!r} is missing")
    return value


class Control:
    """The table of commands and the way of a request through it."""

    def __init__(self, told: tuple[type[Exception], ...] = ()) -> None:
        """Start without commands.

        :param told: besides :class:`CommandError`, the exceptions whose text is an answer.
        """
        self._commands: dict[str, Command] = {}
        self._told: tuple[type[Exception], ...] = (CommandError, *told)

    def command(self, name: str) -> Callable[[Command], Command]:
        """Register a function under a name such as ``account register``.

        :raises ValueError: when the name is taken.
        """

        def register(function: Command) -> Command:
            if name in self._commands:
                raise ValueError(f"the command {name!r} exists already")
            self._commands[name] = function
            return function

        return register

    def remove(self, name: str) -> None:
        """Take a command away."""
        del self._commands[name]

    def names(self) -> list[str]:
        """Return the commands' names, sorted."""
        return sorted(self._commands)

    async def answer(self, line: bytes) -> bytes:
        """Return the answer to one request line, without the line's end."""
        try:
            name, args = parse_request(line)
            answer = {"result": await self._run(name, args)}
            logger.info("control_command command=%s", name)
        except self._told as error:
            answer = {"error": str(error) or type(error).__name__}
        return json.dumps(answer, ensure_ascii=False, default=str).encode()

    async def _run(self, name: str, args: Args) -> Any:
        function = self._commands.get(name)
        if function is None:
            raise CommandError(f"unknown command {name!r}; there are: {', '.join(self.names())}")
        result = function(args)
        if isinstance(result, Awaitable):
            result = await result
        return result


def parse_request(line: bytes) -> tuple[str, Args]:
    """Return a request's command and arguments.

    :raises CommandError: when the line is not a request.
    """
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise CommandError("a request is one line of JSON") from None
    if not isinstance(request, dict) or not isinstance(request.get("command"), str):
        raise CommandError('a request is {"command": "…", "args": {…}}')
    args = request.get("args", {})
    if not isinstance(args, dict):
        raise CommandError('"args" is an object')
    return request["command"], args


class ControlProtocol(LineOnlyReceiver):
    """One connection of ``mongoosectl``."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_REQUEST

    def __init__(self, control: Control) -> None:
        self._control = control
        self._last: Deferred[None] | None = None
        self._lost = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note that nobody waits for an answer any more."""
        self._lost = True

    def lineReceived(self, line: bytes) -> None:
        """Answer after the requests before this one."""
        previous = self._last
        done = self._last = Deferred.fromCoroutine(self._answer(line, previous))
        done.addErrback(self._failed)

    async def _answer(self, line: bytes, previous: "Deferred[None] | None") -> None:
        if previous is not None:
            await previous
        answer = await self._control.answer(line)
        if not self._lost:
            self.sendLine(answer)

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        logger.error("control_command_failed", exc_info=error)
        if not self._lost:
            text = f"internal error, see the server's log: {type(error).__name__}"
            self.sendLine(json.dumps({"error": text}).encode())


class ControlFactory(Factory):
    """Makes the protocol of each connection."""

    noisy = False

    def __init__(self, control: Control) -> None:
        self._control = control

    def buildProtocol(self, addr: object) -> ControlProtocol:
        """Return a protocol for a new connection."""
        protocol = ControlProtocol(self._control)
        protocol.factory = self
        return protocol


def remove_stale(path: Path) -> None:
    """Remove a socket on which nobody listens: a killed server leaves its own behind.

    Not by a lock with a process id (``wantPID``): in a container the new server often has the
    process id of the killed one, and would wait for itself.
    """
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)


class ControlService(Service):
    """Listens on the control socket while the server runs."""

    def __init__(self, reactor: Any, control: Control, path: str | Path) -> None:
        """Prepare to listen at ``path``; nothing is opened before the service starts.

        :param reactor: an ``IReactorUNIX``.
        """
        self._reactor = reactor
        self._control = control
        self._path = Path(path)
        self._port: IListeningPort | None = None

    def startService(self) -> None:
        """Open the socket.

        :raises twisted.internet.error.CannotListenError: when another server has it.
        :raises PathTooLong: when no socket can be there.
        """
        check_path(self._path)
        super().startService()
        remove_stale(self._path)
        # The mode is right from the first moment on, not only after the chmod.
        mask = os.umask(0o177)
        try:
            self._port = self._reactor.listenUNIX(
                str(self._path), ControlFactory(self._control), mode=0o600
            )
        finally:
            os.umask(mask)

    def stopService(self) -> "Deferred[None] | None":
        """Close and remove the socket."""
        super().stopService()
        port, self._port = self._port, None
        return None if port is None else cast(Any, port).stopListening()
