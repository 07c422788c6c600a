"""Connect to a Temporal server: a named, a configured, the embedded, or the usual local one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from temporalio.client import Client, Plugin
from temporalio.converter import DataConverter
from temporalio.envconfig import ClientConfigProfile, ClientConnectConfig
from temporalio.service import RPCError

from handfast.definitions.schema.arguments import checked
from handfast.encryption.codec import protected
from handfast.encryption.keyring import EncryptionAt, keyring_named
from handfast.errors import ConnectionProfileError, OtherProjectError, ServerUnavailableError
from handfast.server.state import nearest_state
from handfast.temporal.namespace import project_of
from handfast.temporal.rpc import REASON_LENGTH

__all__ = ["DEFAULT_ADDRESS", "DEFAULT_TASK_QUEUE", "connect", "connect_config"]

DEFAULT_ADDRESS: Final = "localhost:7233"
DEFAULT_TASK_QUEUE: Final = "agents"
CONNECT_TIMEOUT: Final = timedelta(seconds=5)


@checked
async def connect(
    address: str | None = None,
    *,
    profile: str | None = None,
    namespace: str | None = None,
    plugins: Sequence[Plugin] = (),
    data_converter: DataConverter | None = None,
    encryption: EncryptionAt = None,
    timeout: timedelta = CONNECT_TIMEOUT,
) -> Client:
    """Connect to Temporal, and make sure that it answers.

    The address is the first of: *address*; what `TEMPORAL_ADDRESS` or the profile says; the embedded server
    whose `.handfast/server.json` lies in the current folder or above; `localhost:7233`, unless the embedded server of
    another project listens there. Certificates, API key
    and headers come from the environment and the profile, except for an embedded server, which has none.

    Args:
        profile: A profile of Temporal's configuration file; by default `TEMPORAL_PROFILE`, or "default".
        namespace: Name of the namespace; by default `TEMPORAL_NAMESPACE`, the profile's, or "default".
        data_converter: Temporal's default one when None (a plugin may extend it).
        encryption: A key ring, or the file that holds one, which encrypts everything that the client sends. By default
            the file that ``HANDFAST_ENCRYPTION_KEYS`` names; False for none.

    Raises:
        ConnectionProfileError: The configuration file or a profile in it cannot be used.
        ServerUnavailableError: Nothing answers there within *timeout*.
        OtherProjectError: Nobody said where to connect, and the server on the usual port is another project's.
        DefinitionError: *encryption* names no key ring.
    """
    converter, headers = protected(data_converter or DataConverter.default, keyring_named(encryption, "connect"))
    config, chosen = await asyncio.to_thread(_resolved, address, profile)
    if namespace is not None:
        config["namespace"] = namespace
    target = config["target_host"]
    try:
        client = await asyncio.wait_for(
            Client.connect(**config, plugins=plugins, data_converter=converter, header_codec_behavior=headers),
            timeout=timeout.total_seconds(),
        )
    except TimeoutError as error:
        reason = f"silent for {timeout.total_seconds():g} s"
        raise ServerUnavailableError(target, reason) from error
    except (RuntimeError, ValueError) as error:
        raise ServerUnavailableError(target, _reason(error)) from error
    if not chosen:
        await _refuse_other_project(client)
    return client


def connect_config(address: str | None, profile: str | None) -> ClientConnectConfig:
    """Work out where to connect and how; the result always names an address."""
    return _resolved(address, profile)[0]


async def _refuse_other_project(client: Client) -> None:
    """Never take a server for ours only because it listens on everybody's usual port.

    Raises:
        OtherProjectError: It is the embedded server of another folder.
    """
    try:
        project = await project_of(client)
    except RPCError:
        return  # a server that does not say is none of ours
    here = Path.cwd()
    if project is not None and Path(project) not in (here, *here.parents):
        raise OtherProjectError(client.service_client.config.target_host, project)


def _resolved(address: str | None, profile: str | None) -> tuple[ClientConnectConfig, bool]:
    """Work out where to connect, and whether anything says so: an argument, the environment, a profile, the folder."""
    try:
        config = ClientConfigProfile.load(profile).to_client_connect_config()
    except Exception as error:  # of the SDK's native module, which exports no class of it
        raise ConnectionProfileError(" ".join(str(error).split())) from error
    if address is not None:
        config["target_host"] = address
    if "target_host" in config:
        return config, True
    embedded = nearest_state(Path.cwd())
    if embedded is None:
        config["target_host"] = DEFAULT_ADDRESS
        return config, False
    plain = ClientConnectConfig(target_host=embedded.address)
    if "namespace" in config:
        plain["namespace"] = config["namespace"]
    return plain, True


def _reason(error: Exception) -> str:
    # The SDK nests several errors in one text; the innermost message tells what happened.
    text = " ".join(str(error).split())
    quoted = re.findall(r'(?:message|error): "([^"]+)"', text)
    return (quoted[-1] if quoted else text)[:REASON_LENGTH]
