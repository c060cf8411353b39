"""The door: who may come through it, what is said to those who may not, and bad messages."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf.empty_pb2 import Empty

from proofs.hosts import HostDied
from proofs.hubs import HubProcess
from tests.rpc.sdk import stub_of

TOKEN = "a-token-of-sixteen-characters-or-more"
SERVICE = pb.DESCRIPTOR.services_by_name["TaskHubSidecarService"]


@pytest.fixture(scope="module")
def hub(sqlite_hub: HubProcess) -> HubProcess:
    return sqlite_hub


@pytest.fixture(scope="module")
def channel(hub: HubProcess) -> Iterator[Any]:
    with grpc.insecure_channel(hub.address) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel: Any) -> Any:
    return stub_of(channel)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    try:
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
                *("-keyout", str(key), "-out", str(cert), "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            ],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("there is no openssl here to make a certificate with")
    return cert, key


def refused(call: Any, *arguments: Any, **options: Any) -> tuple[grpc.StatusCode, str]:
    """Make a call that must be refused; return the status and its text."""
    with pytest.raises(grpc.RpcError) as refusal:
        call(*arguments, **options)
    error: Any = refusal.value
    return error.code(), error.details()


def test_every_rpc_of_the_protocol_is_answered(channel: Any) -> None:
    for method in SERVICE.methods:
        if method.server_streaming:
            continue
        call = channel.unary_unary(f"/{SERVICE.full_name}/{method.name}")
        try:
            call(b"", timeout=10)
        except grpc.RpcError as refusal:
            error: Any = refusal
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                assert "one task hub" in error.details(), method.name
            else:
                assert error.code() is not grpc.StatusCode.INTERNAL, method.name
                assert error.code() is not grpc.StatusCode.UNKNOWN, method.name
            assert error.details(), method.name


def test_a_hub_is_made_when_its_host_starts_and_not_removed_from_afar(stub: Any) -> None:
    stub.CreateTaskHub(pb.CreateTaskHubRequest())
    for call, request in (
        (stub.CreateTaskHub, pb.CreateTaskHubRequest(recreateIfExists=True)),
        (stub.DeleteTaskHub, pb.DeleteTaskHubRequest()),
    ):
        code, text = refused(call, request)
        assert code is grpc.StatusCode.UNIMPLEMENTED
        assert "--task-hub" in text


def test_the_hub_that_a_caller_names_must_be_this_one(stub: Any) -> None:
    stub.Hello(Empty())
    stub.Hello(Empty(), metadata=[("taskhub", "Default")])
    code, text = refused(stub.Hello, Empty(), metadata=[("taskhub", "other")])
    assert code is grpc.StatusCode.NOT_FOUND
    assert "'other'" in text and "'default'" in text
    stream = stub.GetWorkItems(pb.GetWorkItemsRequest(), metadata=[("taskhub", "other")])
    assert refused(lambda: next(stream))[0] is grpc.StatusCode.NOT_FOUND


def test_what_is_no_message_of_the_protocol_is_refused(channel: Any) -> None:
    for name in ("StartInstance", "CompleteOrchestratorTask", "QueryInstances"):
        call = channel.unary_unary(f"/{SERVICE.full_name}/{name}")
        code, text = refused(call, b"\xff\xff\xff\xff")
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert name in text
    code, _ = refused(channel.unary_unary(f"/{SERVICE.full_name}/NoSuchCall"), b"")
    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_values_outside_their_range_are_refused(stub: Any) -> None:
    far = pb.CreateInstanceRequest(name="f")
    far.scheduledStartTimestamp.seconds = 10**15
    odd = pb.InstanceQuery.FromString(b"\x08\x63")
    token = pb.InstanceQuery()
    token.continuationToken.value = "not ours"
    for call, request in (
        (stub.StartInstance, far),
        (stub.QueryInstances, pb.QueryInstancesRequest(query=odd)),
        (stub.QueryInstances, pb.QueryInstancesRequest(query=token)),
        (stub.SignalEntity, pb.SignalEntityRequest(instanceId="no entity", name="x")),
        (stub.GetEntity, pb.GetEntityRequest(instanceId="")),
        (stub.PurgeInstances, pb.PurgeInstancesRequest()),
    ):
        assert refused(call, request)[0] is grpc.StatusCode.INVALID_ARGUMENT, request


def test_a_payload_over_the_limit_is_refused(stub: Any) -> None:
    request = pb.CreateInstanceRequest(name="f", instanceId="large")
    request.input.value = "x" * (4 * 1024 * 1024 + 1)
    code, text = refused(stub.StartInstance, request)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "--max-payload-bytes" in text
    assert not stub.GetInstance(pb.GetInstanceRequest(instanceId="large")).exists


def test_a_message_over_the_limit_is_refused(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "hub.db", "--grpc-max-message-bytes", "100000")
    with grpc.insecure_channel(hub.address) as channel:
        stub = stub_of(channel)
        request = pb.CreateInstanceRequest(name="f")
        request.input.value = "x" * 200_000
        assert refused(stub.StartInstance, request)[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        stub.Hello(Empty())
    hub.stop()


def test_health_can_be_asked_for(channel: Any) -> None:
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"") == b"\x08\x01"
    name = SERVICE.full_name.encode()
    assert check(b"\x0a" + bytes([len(name)]) + name) == b"\x08\x01"
    assert refused(check, b"\x0a\x01x")[0] is grpc.StatusCode.NOT_FOUND
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
    assert next(watch) == b"\x08\x01"
    watch.cancel()


def test_a_token_opens_the_door_and_is_never_shown(tmp_path: Path) -> None:
    hub = HubProcess(
        tmp_path / "hub.db", "--log-level", "debug", environment={"SOLOIST_GRPC_TOKEN": TOKEN}
    )
    with grpc.insecure_channel(hub.address) as channel:
        stub = stub_of(channel)
        for presented in (None, "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer "):
            metadata = None if presented is None else [("authorization", presented)]
            code, text = refused(stub.Hello, Empty(), metadata=metadata)
            assert code is grpc.StatusCode.UNAUTHENTICATED
            assert TOKEN not in text
        stub.Hello(Empty(), metadata=[("authorization", f"Bearer {TOKEN}")])
        stub.Hello(Empty(), metadata=[("authorization", f"bearer {TOKEN}")])
        assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"") == b"\x08\x01"
    hub.stop()
    assert TOKEN not in hub.text


def test_tls_is_spoken_when_there_is_a_certificate(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    hub = HubProcess(
        tmp_path / "hub.db",
        *("--grpc-host", "0.0.0.0", "--grpc-token-file", str(token)),
        *("--grpc-tls-cert", str(cert), "--grpc-tls-key", str(key)),
    )
    credentials = grpc.ssl_channel_credentials(cert.read_bytes())
    metadata = [("authorization", f"Bearer {TOKEN}")]
    with grpc.secure_channel(f"localhost:{hub.port}", credentials) as channel:
        stub_of(channel).Hello(Empty(), metadata=metadata, timeout=20)
    with grpc.insecure_channel(f"localhost:{hub.port}") as channel:
        stub = stub_of(channel)
        code, _ = refused(stub.Hello, Empty(), metadata=metadata, timeout=20)
        assert code is grpc.StatusCode.UNAVAILABLE
    hub.stop()


def test_a_door_that_would_be_open_to_everybody_is_not_opened(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = map(str, certificate)
    tls = ("--grpc-tls-cert", cert, "--grpc-tls-key", key)
    short = tmp_path / "short"
    short.write_text("short")
    for options, word in (
        (("--grpc-host", "0.0.0.0"), "TLS"),
        (("--grpc-host", "0.0.0.0", *tls), "token"),
        (("--grpc-tls-cert", cert), "belong together"),
        (("--grpc-token-file", str(short)), "16 characters"),
        (("--grpc-token-file", str(tmp_path / "none")), "--grpc-token-file"),
        (("--grpc-tls-cert", str(tmp_path / "x"), "--grpc-tls-key", key), "cannot be read"),
    ):
        with pytest.raises(HostDied) as death:
            HubProcess(tmp_path / "hub.db", *options)
        assert word in str(death.value)
        assert "Traceback" not in str(death.value)


def test_a_taken_port_is_told(hub: HubProcess, tmp_path: Path) -> None:
    with pytest.raises(HostDied) as death:
        HubProcess(tmp_path / "hub.db", port=hub.port)
    assert str(death.value) == (
        f"Error: Cannot listen for gRPC on 127.0.0.1 port {hub.port}: something else listens there."
        " Stop it, or choose another with --grpc-port.\n"
    )
