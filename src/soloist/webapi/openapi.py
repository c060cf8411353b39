"""The OpenAPI document of the management API.

Paths and verbs come from the route table; what an operation takes and answers is data here, put
together of named parts. Nothing else is answered: the tests send any request and hold every
answer against this document.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from soloist.core.instances import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from soloist.core.policy import StartPolicy
from soloist.core.status import RuntimeStatus

Json: TypeAlias = dict[str, Any]

VERSION = "3.1.0"

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_JSON = "application/json"
_TEXT = "text/plain"


class Endpoint(msgspec.Struct, frozen=True):
    """One verb on one path; ``operation`` names what :data:`OPERATIONS` tells of it."""

    method: str
    path: str
    operation: str


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What an operation takes and answers, by the names of parameters, bodies and responses."""

    summary: str
    parameters: tuple[str, ...] = ()
    body: str | None = None
    responses: Mapping[int, str]


def document(endpoints: Iterable[Endpoint], base_url: str) -> Json:
    """Return the document for these endpoints, served at ``base_url``."""
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        item = paths.setdefault(f"/{endpoint.path}", {})
        item[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": VERSION,
        "info": {
            "title": "Durable Functions HTTP management API, as Soloist serves it",
            "version": "1",
            "description": (
                "Names of query parameters and fixed parts of paths are compared without case."
                " An empty query value counts as absent; one that cannot be read is refused."
            ),
        },
        "servers": [{"url": base_url}],
        "security": [{"key": []}, {"code": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": SECURITY,
            "parameters": {name: _parameter(name) for name in PARAMETERS},
            "requestBodies": BODIES,
            "responses": {name: _response(each) for name, each in RESPONSES.items()},
            "headers": HEADERS,
            "schemas": SCHEMAS,
        },
    }


def _operation(endpoint: Endpoint) -> Json:
    operation = OPERATIONS[endpoint.operation]
    names = (*_PLACEHOLDER.findall(endpoint.path), *operation.parameters, *_EVERYWHERE)
    responses = {**operation.responses, **_ALWAYS}
    if endpoint.method == "POST":
        responses[413] = "TooLarge"
    described: Json = {
        "operationId": endpoint.operation,
        "summary": operation.summary,
        "tags": [endpoint.path.split("/", 1)[0]],
        "parameters": [_reference("parameters", name) for name in names],
        "responses": {
            str(status): _reference("responses", responses[status]) for status in sorted(responses)
        },
    }
    if operation.body is not None:
        described["requestBody"] = _reference("requestBodies", operation.body)
    return described


def _reference(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _parameter(name: str) -> Json:
    place, schema, description = PARAMETERS[name]
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": description,
        "schema": schema,
    }


def _response(parts: tuple[str, Json | None, tuple[str, ...]]) -> Json:
    description, schema, headers = parts
    response: Json = {"description": description}
    if headers:
        response["headers"] = {name: _reference("headers", name) for name in headers}
    if schema is not None:
        response["content"] = {_JSON: {"schema": schema}}
    return response


def _schema(name: str) -> Json:
    return _reference("schemas", name)


def _either(*schemas: Json) -> Json:
    return {"anyOf": list(schemas)}


_STRING: Json = {"type": "string"}
_NAME: Json = {"type": "string", "minLength": 1, "maxLength": 200}
_BOOLEAN: Json = {"type": "boolean"}
_SECONDS: Json = {"type": "number", "minimum": 0}
_INSTANT: Json = {"type": "string", "format": "date-time"}
_NULLABLE: Json = {"type": ["string", "null"]}
_ANYTHING: Json = {"description": "Any JSON value."}
_COUNT: Json = {"type": "integer", "minimum": 1}

_EVERYWHERE = ("taskHub", "connection")
_WAIT = ("timeout", "pollingInterval")
_SPAN = ("createdTimeFrom", "createdTimeTo", "runtimeStatus", "instanceIdPrefix", "name")
_PAGE = ("top", "x-ms-continuation-token")
_SIGNAL = ("op", "signalTime")
_OPERATED = ("lastOperationTimeFrom", "lastOperationTimeTo", "fetchState", *_PAGE)

SECURITY: Json = {
    "key": {"type": "apiKey", "in": "header", "name": "x-functions-key"},
    "code": {"type": "apiKey", "in": "query", "name": "code"},
}

PARAMETERS: dict[str, tuple[str, Json, str]] = {
    "functionName": ("path", _NAME, "The orchestrator, compared without case."),
    "instanceId": ("path", {"type": "string", "minLength": 1}, "An instance, or `@name@key`."),
    "eventName": ("path", _NAME, "What the orchestrator waits for, compared without case."),
    "entityName": ("path", _NAME, "The entity function, compared without case."),
    "entityKey": ("path", {"type": "string", "minLength": 1}, "`$` reads the empty key."),
    "taskHub": ("query", _STRING, "If it is not this hub, nothing is found."),
    "connection": ("query", _STRING, "Ignored."),
    "version": ("query", {**_STRING, "maxLength": 200}, "Instead of the hub's default version."),
    "ifExists": (
        "query",
        {"type": "string", "enum": [each.value for each in StartPolicy]},
        "What becomes of an instance that has the id already. An extension.",
    ),
    "timeout": ("query", _SECONDS, "Wait so many seconds for the end."),
    "pollingInterval": ("query", _SECONDS, "Accepted; must not exceed `timeout`."),
    "restartWithNewInstanceId": ("query", {**_BOOLEAN, "default": True}, "Or the same id."),
    "showInput": ("query", {**_BOOLEAN, "default": True}, "Whether inputs are shown."),
    "showHistory": ("query", {**_BOOLEAN, "default": False}, "Whether there is a history."),
    "showHistoryOutput": ("query", {**_BOOLEAN, "default": False}, "Whether it shows results."),
    "returnInternalServerErrorOnFailure": (
        "query",
        {**_BOOLEAN, "default": False},
        "Answer 500 when the instance has failed.",
    ),
    "createdTimeFrom": ("query", _INSTANT, "Created then or later. A purge needs it."),
    "createdTimeTo": ("query", _INSTANT, "Created then or earlier."),
    "runtimeStatus": (
        "query",
        {"type": "array", "items": _schema("RuntimeStatus")},
        "Repeated or separated by commas, compared without case.",
    ),
    "instanceIdPrefix": ("query", _STRING, "With `@` in front, entities are listed."),
    "name": (
        "query",
        {"type": "array", "items": _STRING, "maxItems": 100},
        "Function names, repeated or separated by commas, compared without case. An extension.",
    ),
    "top": (
        "query",
        {**_COUNT, "default": DEFAULT_PAGE_SIZE},
        f"Items a page has at most; no page has more than {MAX_PAGE_SIZE}.",
    ),
    "x-ms-continuation-token": ("header", _STRING, "From the answer with the page before."),
    "reason": ("query", _STRING, "Plain text for people."),
    "recursive": (
        "query",
        {**_BOOLEAN, "default": True},
        "Whether the sub-orchestrations end as well. An extension.",
    ),
    "op": ("query", {**_STRING, "maxLength": 200}, "The operation's name."),
    "signalTime": ("query", _INSTANT, "Not before then. An extension."),
    "lastOperationTimeFrom": ("query", _INSTANT, "Last operated on then or later."),
    "lastOperationTimeTo": ("query", _INSTANT, "Last operated on then or earlier."),
    "fetchState": ("query", {**_BOOLEAN, "default": False}, "Whether states are shown."),
}

BODIES: Json = {
    "Input": {"description": "Any JSON value, or nothing.", "content": {_JSON: {"schema": {}}}},
    "OperationInput": {
        "description": "Any JSON value, or nothing. Of another media type, it is a string.",
        "content": {_JSON: {"schema": {}}, _TEXT: {"schema": _STRING}},
    },
}

HEADERS: Json = {
    "Location": {"description": "Where the status is.", "schema": _STRING, "required": True},
    "Retry-After": {"description": "In seconds.", "schema": _COUNT, "required": True},
    "x-ms-continuation-token": {
        "description": "For the next page; empty when there is none.",
        "schema": _STRING,
        "required": True,
    },
}

SCHEMAS: Json = {
    "RuntimeStatus": {"type": "string", "enum": [each.value for each in RuntimeStatus]},
    "Fault": {
        "type": "object",
        "required": ["Message", "ExceptionMessage", "ExceptionType", "StackTrace"],
        "properties": {
            "Message": _STRING,
            "ExceptionMessage": _STRING,
            "ExceptionType": _STRING,
            "StackTrace": _STRING,
        },
    },
    "Conflict": {
        "allOf": [_schema("Fault")],
        "properties": {
            "instanceId": _STRING,
            "runtimeStatus": _schema("RuntimeStatus"),
            "createdTime": _INSTANT,
            "statusQueryGetUri": _STRING,
        },
    },
    "CheckStatus": {
        "type": "object",
        "additionalProperties": False,
        "required": (
            _links := [
                "id",
                "statusQueryGetUri",
                "sendEventPostUri",
                "terminatePostUri",
                "purgeHistoryDeleteUri",
                "restartPostUri",
                "suspendPostUri",
                "resumePostUri",
            ]
        ),
        "properties": dict.fromkeys(_links, _STRING),
    },
    "InstanceStatus": {
        "type": "object",
        "additionalProperties": False,
        "required": [
            "name",
            "instanceId",
            "runtimeStatus",
            "input",
            "customStatus",
            "output",
            "createdTime",
            "lastUpdatedTime",
        ],
        "properties": {
            "name": _STRING,
            "instanceId": _STRING,
            "runtimeStatus": _schema("RuntimeStatus"),
            "input": _ANYTHING,
            "customStatus": _ANYTHING,
            "output": _ANYTHING,
            "createdTime": _INSTANT,
            "lastUpdatedTime": _INSTANT,
            "historyEvents": {"type": "array", "items": _schema("HistoryEvent")},
        },
    },
    "HistoryEvent": {
        "type": "object",
        "additionalProperties": False,
        "required": ["EventType", "Timestamp"],
        "properties": {
            "EventType": {
                "type": "string",
                "enum": [
                    "ExecutionStarted",
                    "ExecutionCompleted",
                    "ExecutionTerminated",
                    "ExecutionSuspended",
                    "ExecutionResumed",
                    "ExecutionRewound",
                    "TaskScheduled",
                    "TaskCompleted",
                    "TaskFailed",
                    "SubOrchestrationInstanceCreated",
                    "SubOrchestrationInstanceCompleted",
                    "SubOrchestrationInstanceFailed",
                    "TimerCreated",
                    "TimerFired",
                    "EventSent",
                    "EventRaised",
                ],
            },
            "Timestamp": _INSTANT,
            "ScheduledTime": _INSTANT,
            "FireAt": _INSTANT,
            "FunctionName": _STRING,
            "Name": _STRING,
            "InstanceId": _STRING,
            "OrchestrationStatus": _schema("RuntimeStatus"),
            "Input": _NULLABLE,
            "Reason": _NULLABLE,
            "Details": _STRING,
            "Result": _ANYTHING,
        },
    },
    "Entity": {
        "type": "object",
        "additionalProperties": False,
        "required": ["entityId", "lastOperationTime", "state"],
        "properties": {
            "entityId": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "key"],
                "properties": {"name": _STRING, "key": _STRING},
            },
            "lastOperationTime": _INSTANT,
            "state": _ANYTHING,
        },
    },
    "Purged": {
        "type": "object",
        "additionalProperties": False,
        "required": ["instancesDeleted"],
        "properties": {"instancesDeleted": _COUNT},
    },
}

_FOLLOW = ("Location", "Retry-After")
_FAULT = _schema("Fault")
_STATUS = _schema("InstanceStatus")

RESPONSES: dict[str, tuple[str, Json | None, tuple[str, ...]]] = {
    "Started": ("It was started.", _schema("CheckStatus"), _FOLLOW),
    "Ended": ("What it came to, how it ended, or the instance that was there.", {}, ()),
    "Live": ("It has not ended.", _STATUS, _FOLLOW),
    "Final": ("It has ended.", _STATUS, ()),
    "FailedOrBroken": ("It has failed, and so much was asked for.", _either(_STATUS, _FAULT), ()),
    "Instances": (
        "A page of instances.",
        {"type": "array", "items": _STATUS},
        ("x-ms-continuation-token",),
    ),
    "Entities": (
        "A page of entities.",
        {"type": "array", "items": _schema("Entity")},
        ("x-ms-continuation-token",),
    ),
    "State": ("The state of the entity.", {}, ()),
    "Accepted": ("It is recorded and will happen.", None, ()),
    "Done": ("There is nothing to do.", None, ()),
    "Purged": ("How many are gone.", _schema("Purged"), ()),
    "Document": ("This document.", {"type": "object"}, ()),
    "Invalid": ("The request is malformed.", _FAULT, ()),
    "InvalidPurge": ("Without a beginning, or malformed.", _either(_FAULT, _STRING), ()),
    "Unauthorised": ("The key is missing or does not open this.", None, ()),
    "NotFound": ("Nothing of that name is here.", None, ()),
    "Conflict": ("The id is taken.", _schema("Conflict"), ()),
    "Gone": ("It has ended and takes no more.", None, ()),
    "WrongStatus": ("Its status does not allow it.", _STRING, ()),
    "TooLarge": ("The body is larger than the hub takes.", _FAULT, ()),
    "Full": ("The hub is full; try again.", _FAULT, ("Retry-After",)),
    "Broken": ("Something went wrong; the log tells.", _FAULT, ()),
    "Unavailable": ("The store does not answer; try again.", _FAULT, ("Retry-After",)),
}

_ALWAYS = {
    401: "Unauthorised",
    404: "NotFound",
    429: "Full",
    503: "Unavailable",
}
_REFUSED = {400: "Invalid", 500: "Broken"}
_START = Operation(
    summary="Start an orchestration.",
    parameters=("version", "ifExists", *_WAIT),
    body="Input",
    responses={**_REFUSED, 200: "Ended", 202: "Started", 409: "Conflict"},
)
_LIST_ENTITIES = Operation(
    summary="List entities.",
    parameters=_OPERATED,
    responses={**_REFUSED, 200: "Entities"},
)
_SIGNAL_ENTITY = Operation(
    summary="Signal an entity.",
    parameters=_SIGNAL,
    body="OperationInput",
    responses={**_REFUSED, 202: "Accepted"},
)
_DELETE_ENTITY = Operation(
    summary="Signal an entity with the operation `delete`.",
    responses={**_REFUSED, 202: "Accepted"},
)


def _control(summary: str, *parameters: str) -> Operation:
    responses = {**_REFUSED, 202: "Accepted", 410: "Gone"}
    return Operation(summary=summary, parameters=("reason", *parameters), responses=responses)


OPERATIONS: dict[str, Operation] = {
    "start": _START,
    "startAs": _START,
    "listInstances": Operation(
        summary="List instances in the order of their starts.",
        parameters=(*_SPAN, "showInput", *_PAGE),
        responses={**_REFUSED, 200: "Instances"},
    ),
    "purgeInstances": Operation(
        summary="Remove finished instances with their histories.",
        parameters=_SPAN,
        responses={**_REFUSED, 200: "Purged", 400: "InvalidPurge"},
    ),
    "getStatus": Operation(
        summary="Show one instance, or one entity as the orchestration that it is on Azure.",
        parameters=(
            "showInput",
            "showHistory",
            "showHistoryOutput",
            "returnInternalServerErrorOnFailure",
        ),
        responses={**_REFUSED, 200: "Final", 202: "Live", 500: "FailedOrBroken"},
    ),
    "purgeInstance": Operation(
        summary="Remove one finished instance with its history, or one entity.",
        responses={**_REFUSED, 200: "Purged", 412: "WrongStatus"},
    ),
    "raiseEvent": Operation(
        summary="Raise an external event.",
        body="Input",
        responses={**_REFUSED, 202: "Accepted", 410: "Gone"},
    ),
    "terminate": _control("End an instance.", "recursive"),
    "suspend": _control("Pause an instance; twice is like once."),
    "resume": _control("Let an instance go on; one that is not suspended is not changed."),
    "rewind": Operation(
        summary="Take back the failure of an instance and do again what had failed.",
        parameters=("reason",),
        responses={**_REFUSED, 202: "Accepted", 412: "WrongStatus"},
    ),
    "restart": Operation(
        summary="Start an instance's function again with the input that is stored for it.",
        parameters=("restartWithNewInstanceId", *_WAIT),
        responses={**_REFUSED, 200: "Ended", 202: "Started", 409: "Conflict"},
    ),
    "listEntities": _LIST_ENTITIES,
    "listEntitiesOfName": _LIST_ENTITIES,
    "signalEntity": _SIGNAL_ENTITY,
    "signalEntityWithoutKey": _SIGNAL_ENTITY,
    "deleteEntity": _DELETE_ENTITY,
    "deleteEntityWithoutKey": _DELETE_ENTITY,
    "readEntity": Operation(
        summary="Show the state that the last operation left.",
        responses={**_REFUSED, 200: "State"},
    ),
    "makePrimary": Operation(
        summary="Do nothing, for programs that ask for it.",
        responses={**_REFUSED, 200: "Done"},
    ),
    "describe": Operation(
        summary="This document.",
        responses={**_REFUSED, 200: "Document"},
    ),
}
