"""The messages between a host and its worker processes.

A connection carries frames: four bytes, big-endian, giving the length of what follows, then that
many bytes of UTF-8 JSON, an *array* of messages, so that whatever is ready travels together. Each
message is an object whose ``kind`` names it. ``call`` numbers pair an answer with its question;
each side numbers its own questions. The worker's side of the same protocol is
``soloist_worker.frames``; it reads plain dictionaries, because it needs the standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from soloist.contracts.executor import EntityOperation, EntityResult, FedTurn, Feed
from soloist.core.actions import EpisodeResult
from soloist.core.events import HistoryEvent
from soloist.core.failures import FailureDetails
from soloist.errors import AppError

MAX_FRAME_BYTES = 256 * 1024 * 1024
_LENGTH_BYTES = 4


class _Message(msgspec.Struct, frozen=True, tag_field="kind", gc=False):
    pass


class Load(_Message, frozen=True, tag="load"):
    """Host: change into ``app_dir``, import the app's ``script`` and describe it.

    ``threads`` bounds how many synchronous functions run at once. ``client_binding`` is the JSON
    text handed to durable client parameters of functions that no HTTP request called.
    A turn of an orchestrator that takes longer than ``slow_turn_seconds`` is reported.
    """

    app_dir: str
    script: str
    threads: int
    client_binding: str = ""
    slow_turn_seconds: float = 1.0


class Rebind(_Message, frozen=True, tag="rebind"):
    """Host: from now on, ``client_binding`` is another: the hub's system key was rotated."""

    client_binding: str


class RunEpisode(_Message, frozen=True, tag="episode"):
    """Host: one turn of an orchestrator; the fields are those of ``contracts.executor``."""

    call: int
    generation: int
    execution_id: str
    instance_id: str
    name: str
    position: int
    events: tuple[HistoryEvent, ...]
    past: tuple[HistoryEvent, ...] | None


class Forget(_Message, frozen=True, tag="forget"):
    """Host: drop the session of a generation, if it is held."""

    generation: int


class RunActivity(_Message, frozen=True, tag="activity"):
    """Host: run an activity; ``input`` is the JSON text that the orchestrator passed.

    ``feeds`` says where the orchestrator stands, if it may be fed the result at once.
    """

    call: int
    name: str
    input: str | None
    instance_id: str
    task_id: int
    generation: int
    feeds: Feed | None = None


class RunEntity(_Message, frozen=True, tag="entity"):
    """Host: run operations of an entity; the fields are those of ``contracts.executor``."""

    call: int
    name: str
    key: str
    state: str | None
    operations: tuple[EntityOperation, ...]


class RunHandle(_Message, frozen=True, tag="handle"):
    """Host: call the SDK's own handle of a modern orchestrator or entity.

    ``trigger`` is the type of its trigger; ``body`` is a request of the Durable Task protocol, as
    Base64, which only the SDK reads.
    """

    call: int
    trigger: str
    name: str
    body: str


class RunTimer(_Message, frozen=True, tag="timer"):
    """Host: run a timer function; the fields are those of ``contracts.executor``."""

    call: int
    function: str
    is_past_due: bool
    last_at: datetime | None
    next_at: datetime | None
    updated_at: datetime | None


class RunHttp(_Message, frozen=True, tag="http"):
    """Host: run an HTTP function. ``body`` is Base64; ``headers`` keep their order.

    ``client_binding`` is the JSON text handed to durable client parameters.
    """

    call: int
    function: str
    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    params: dict[str, str]
    route_params: dict[str, str]
    body: str
    client_binding: str


class ClientReply(_Message, frozen=True, tag="client_reply"):
    """Host: the management API's answer to a durable client; ``body`` is JSON text or ``None``."""

    call: int
    status: int
    body: str | None


class Stop(_Message, frozen=True, tag="stop"):
    """Host: finish what is running and exit."""


HostMessage = (
    Load
    | Rebind
    | RunEpisode
    | Forget
    | RunActivity
    | RunEntity
    | RunHandle
    | RunTimer
    | RunHttp
    | ClientReply
    | Stop
)


class Binding(msgspec.Struct, frozen=True):
    """One binding of a function, as the app declared it."""

    type: str
    name: str
    direction: str


class FunctionDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker found out about one function of the app.

    ``trigger`` is the trigger binding's type. ``durable_name`` is the name by which orchestrators,
    activities and entities are called; ``alias`` the Python name, when it differs. ``schedule``
    is a timer's NCRONTAB expression as written, ``is_monitored`` its ``use_monitor``.
    """

    name: str
    trigger: str
    bindings: tuple[Binding, ...]
    durable_name: str | None = None
    alias: str | None = None
    route: str | None = None
    methods: tuple[str, ...] = ()
    auth_level: str | None = None
    disabled: bool = False
    schedule: str | None = None
    runs_on_startup: bool = False
    is_monitored: bool | None = None


class Loaded(_Message, frozen=True, tag="loaded"):
    """Worker: the app is imported.

    ``is_modern``: its SDK runs orchestrators and entities itself, and speaks the Durable Task
    protocol (``azure-functions-durable`` 2.x).
    """

    functions: tuple[FunctionDescription, ...]
    python: str
    sdk: str
    is_modern: bool = False
    warnings: tuple[str, ...] = ()


class LoadFailed(_Message, frozen=True, tag="load_failed"):
    """Worker: the app cannot be hosted. ``traceback`` is the app's own, or empty."""

    message: str
    traceback: str


class EpisodeDone(_Message, frozen=True, tag="episode_done"):
    """Worker: the answer to ``RunEpisode``."""

    call: int
    result: EpisodeResult


class HistoryMissing(_Message, frozen=True, tag="history_missing"):
    """Worker: the session is not held; ask again with ``past``."""

    call: int


class ActivityDone(_Message, frozen=True, tag="activity_done"):
    """Worker: the answer to ``RunActivity``, with the ``turn`` of the orchestrator if it was fed."""

    call: int
    result: str | None = None
    failure: FailureDetails | None = None
    turn: FedTurn | None = None


class EntityDone(_Message, frozen=True, tag="entity_done"):
    """Worker: the answer to ``RunEntity``."""

    call: int
    result: EntityResult


class HandleDone(_Message, frozen=True, tag="handle_done"):
    """Worker: the answer to ``RunHandle``: the protocol's response as Base64, or why the handle
    itself failed; what the user's code comes to is in the response."""

    call: int
    body: str | None = None
    failure: FailureDetails | None = None


class TimerDone(_Message, frozen=True, tag="timer_done"):
    """Worker: the answer to ``RunTimer``."""

    call: int
    failure: FailureDetails | None = None


class SlowTurn(_Message, frozen=True, tag="slow_turn"):
    """Worker: an orchestrator has held up all others for ``seconds``; ``place`` is where its code
    stands (``file:line in function``). Said while it lasts, each time twice as late."""

    name: str
    instance_id: str
    seconds: float
    place: str


class Log(_Message, frozen=True, tag="log"):
    """Worker: the app has logged something; nothing answers it, and it may come before ``Loaded``.

    ``level`` is one of the five of ``logging``, ``logger`` the name of the app's logger.
    ``exception`` is a traceback, or empty. ``function`` and ``instance_id`` say what was running,
    where that is known.
    """

    level: int
    logger: str
    text: str
    exception: str = ""
    function: str | None = None
    instance_id: str | None = None


class HttpDone(_Message, frozen=True, tag="http_done"):
    """Worker: the answer to ``RunHttp``; ``body`` is Base64."""

    call: int
    status: int
    headers: tuple[tuple[str, str], ...]
    body: str


class Refusal(msgspec.Struct, frozen=True):
    """How the host refused a call of a durable client: ``status`` is one of HTTP."""

    status: int
    text: str


class HttpFailed(_Message, frozen=True, tag="http_failed"):
    """Worker: the function raised. ``refusal`` is there when a refusal of its durable client's
    call is what escaped."""

    call: int
    failure: FailureDetails
    refusal: Refusal | None = None


class ClientCall(_Message, frozen=True, tag="client_call"):
    """Worker: a durable client asks the management API.

    ``target`` is the path and query after the client's base URL, pasted raw by the SDK; ``data``
    is the request's body as JSON text, already in the encoding the SDK would have sent.
    """

    call: int
    method: str
    target: str
    data: str | None


WorkerMessage = (
    Loaded
    | LoadFailed
    | EpisodeDone
    | HistoryMissing
    | ActivityDone
    | EntityDone
    | HandleDone
    | TimerDone
    | SlowTurn
    | Log
    | HttpDone
    | HttpFailed
    | ClientCall
)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[WorkerMessage])


def encode_frame(messages: Sequence[HostMessage]) -> bytes:
    """Return one frame holding the messages."""
    body = _encoder.encode(messages)
    if len(body) > MAX_FRAME_BYTES:
        raise AppError(f"A frame of {len(body)} bytes exceeds the limit of {MAX_FRAME_BYTES}.")
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


class FrameReader:
    """Cuts a stream of bytes into messages, however it arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[WorkerMessage]:
        """Return the messages that are whole after ``data``.

        Raises:
            AppError: the other side does not keep to the protocol.
        """
        self._buffer += data
        messages: list[WorkerMessage] = []
        while len(self._buffer) >= _LENGTH_BYTES:
            length = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
            if length > MAX_FRAME_BYTES:
                raise AppError(f"The worker sent a frame of {length} bytes; something else spoke.")
            end = _LENGTH_BYTES + length
            if len(self._buffer) < end:
                break
            body = bytes(self._buffer[_LENGTH_BYTES:end])
            del self._buffer[:end]
            try:
                messages.extend(_decoder.decode(body))
            except msgspec.MsgspecError as error:
                raise AppError(f"The worker sent a malformed message: {error}.") from error
        return messages
