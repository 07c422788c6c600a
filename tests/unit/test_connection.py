"""Which server `connect` goes to, and what it says when none answers."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from handfast.connection import DEFAULT_ADDRESS, connect, connect_config
from handfast.deltas.local import nearby_hub, write_hub
from handfast.errors import ConnectionProfileError, OtherProjectError, ServerUnavailableError
from handfast.server import EmbeddedServer
from handfast.server.state import ServerState, write_state


@pytest.fixture(scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    unused = tmp_path_factory.mktemp("server")
    async with await EmbeddedServer.start(unused, 0, ui=False, persistent=False) as server:
        yield server.address


@pytest.fixture
def nowhere() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"127.0.0.1:{closed.getsockname()[1]}"


@pytest.fixture(autouse=True)
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A user in an empty folder; called with a text, makes it the Temporal configuration file."""
    for variable in list(os.environ):
        if variable.startswith("TEMPORAL_"):
            monkeypatch.delenv(variable)
    file = tmp_path / "temporal.toml"
    file.touch()
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> None:
        file.write_text(text, encoding="utf-8")

    return write


async def test_a_refused_connection_is_one_line_with_the_remedy(nowhere: str) -> None:
    """Where nothing listens, the error names the address, the reason and both ways on."""
    with pytest.raises(ServerUnavailableError) as caught:
        await connect(nowhere)
    expected = (
        rf"no Temporal server answers at {re.escape(nowhere)} \(.*refused.*\); "
        r"start one with `handfast dev`, or set TEMPORAL_ADDRESS"
    )
    assert re.fullmatch(expected, str(caught.value))
    assert caught.value.address == nowhere


async def test_a_silent_server_is_given_up() -> None:
    """Something that accepts and never answers ends in the same error, after the time limit."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServerUnavailableError, match=r"silent for 0\.2 s"):
            await connect(target, timeout=timedelta(seconds=0.2))


async def test_an_address_that_is_none_is_refused() -> None:
    """A malformed address is the same one-line error, not a traceback of the SDK's."""
    with pytest.raises(ServerUnavailableError, match="not an address"):
        await connect("not an address")


async def test_the_environment_names_the_server(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE are honoured."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "from-the-environment")
    client = await connect()
    assert client.service_client.config.target_host == address
    assert client.namespace == "from-the-environment"


async def test_an_argument_beats_the_environment(address: str, nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the caller says outright wins over TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", nowhere)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "from-the-environment")
    client = await connect(address, namespace="from-the-caller")
    assert client.namespace == "from-the-caller"


@pytest.mark.parametrize("by", ["argument", "environment"])
async def test_a_profile_names_the_server(
    address: str, configure: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """A profile of Temporal's own configuration file is used, by argument or by TEMPORAL_PROFILE."""
    configure(f'[profile.elsewhere]\naddress = "{address}"\nnamespace = "from-the-profile"\n')
    if by == "environment":
        monkeypatch.setenv("TEMPORAL_PROFILE", "elsewhere")
    client = await connect(profile="elsewhere" if by == "argument" else None)
    assert client.service_client.config.target_host == address
    assert client.namespace == "from-the-profile"


async def test_an_unknown_profile_is_one_line(configure: Callable[[str], None]) -> None:
    """A profile that does not exist, or a file that is not TOML, says where to look."""
    with pytest.raises(ConnectionProfileError, match="'nope' not found; check TEMPORAL_PROFILE"):
        await connect(profile="nope")
    configure("x [[")
    with pytest.raises(ConnectionProfileError, match="TEMPORAL_CONFIG_FILE") as caught:
        await connect()
    assert "\n" not in str(caught.value)


async def test_the_embedded_server_of_the_folder_is_found(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the folder of a running embedded server no address is needed, and no key is sent."""
    home, below = tmp_path / ".handfast", tmp_path / "src" / "deep"
    home.mkdir()
    below.mkdir(parents=True)
    write_state(home, ServerState.of_new_process(os.getpid(), address, None))
    monkeypatch.chdir(below)
    monkeypatch.setenv("TEMPORAL_API_KEY", "for another server")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "from-the-environment")
    client = await connect()
    assert client.service_client.config.target_host == address
    assert client.service_client.config.api_key is None
    assert client.namespace == "from-the-environment"


def test_without_any_hint_it_is_the_usual_local_server(tmp_path: Path) -> None:
    """No argument, no configuration and only a dead embedded server: localhost:7233."""
    home = tmp_path / ".handfast"
    home.mkdir()
    write_state(home, ServerState.of_new_process(2**22 + 1, "127.0.0.1:1", None))
    assert connect_config(None, None) == {"target_host": DEFAULT_ADDRESS}


@pytest.fixture(scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Path, EmbeddedServer]]:
    """Another project, with a server of its own."""
    folder = tmp_path_factory.mktemp("shop").resolve()
    async with await EmbeddedServer.start(folder / ".handfast", 0, ui=False) as server:
        yield folder, server


async def test_another_projects_server_is_never_taken_by_accident(
    shop: tuple[Path, EmbeddedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody says which server, another project's on the usual port is left alone: its folder and how to choose
    it are named. It is taken where somebody does, and in its own folder."""
    folder, server = shop
    monkeypatch.setattr("handfast.connection.DEFAULT_ADDRESS", server.address)
    with pytest.raises(OtherProjectError) as refused:
        await connect()
    assert str(refused.value) == (
        f"the server at {server.address} is that of another project, {folder}; start one for this folder with "
        f"`handfast dev`, or choose that one with TEMPORAL_ADDRESS={server.address} (`--address`)"
    )
    assert isinstance(refused.value, ServerUnavailableError)
    await connect(server.address)
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
    await connect()
    monkeypatch.delenv("TEMPORAL_ADDRESS")
    (folder / "src").mkdir()
    monkeypatch.chdir(folder / "src")
    await connect()


async def test_a_plain_server_on_the_usual_port_is_taken(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is no project's, such as one of `temporal server start-dev`, is what that port is for."""
    monkeypatch.setattr("handfast.connection.DEFAULT_ADDRESS", address)
    assert (await connect()).service_client.config.target_host == address


def test_a_planted_state_file_is_ignored_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file of another account, a link, and an address that is not of this machine alone lead nowhere."""
    home = tmp_path / ".handfast"
    home.mkdir()
    alive = os.getpid()
    write_state(home, ServerState.of_new_process(alive, "127.0.0.1:7001", None))
    assert connect_config(None, None)["target_host"] == "127.0.0.1:7001"
    with monkeypatch.context() as other:
        other.setattr(os, "geteuid", lambda: os.getuid() + 1)
        assert connect_config(None, None) == {"target_host": DEFAULT_ADDRESS}
    (home / "server.json").rename(home / "elsewhere.json")
    (home / "server.json").symlink_to(home / "elsewhere.json")
    assert connect_config(None, None) == {"target_host": DEFAULT_ADDRESS}
    (home / "server.json").unlink()
    for address in ("10.0.0.7:7233", "collector.example.org:7233", "0.0.0.0:7233", "localhost.example.org:7233"):
        write_state(home, ServerState.of_new_process(alive, address, None))
        assert connect_config(None, None) == {"target_host": DEFAULT_ADDRESS}
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 6
    assert "belongs to another account" in said[0]
    assert "cannot be trusted" in said[1]
    assert all("no address of this machine alone" in line for line in said[2:])


def test_a_planted_hub_of_deltas_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs say on the way goes to the hub of this account's `handfast dev`, on this machine, or nowhere."""
    home = tmp_path / ".handfast"
    home.mkdir()
    write_hub(home, "127.0.0.1:7001", "handfast://t@127.0.0.1:7002")
    assert nearby_hub("127.0.0.1:7001") == "handfast://t@127.0.0.1:7002"
    with monkeypatch.context() as other:
        other.setattr(os, "geteuid", lambda: os.getuid() + 1)
        assert nearby_hub("127.0.0.1:7001") is None
    write_hub(home, "127.0.0.1:7001", "handfast://t@collector.example.org:7002")
    assert nearby_hub("127.0.0.1:7001") is None
