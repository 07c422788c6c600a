"""Prepare a namespace: register search attributes, and set its retention."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig, UpdateNamespaceInfo
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    RegisterNamespaceRequest,
    UpdateNamespaceRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from handfast.temporal.search_attributes import KEYS, SEARCH_ATTRIBUTES

DEFAULT_NAMESPACE: Final = "default"
"""The server always makes it, so its id tells servers apart, and its data may say whose server it is."""
PROJECT_KEY: Final = "handfast.project"
RPC_TIMEOUT: Final = timedelta(seconds=5)
USABLE_WAIT_S: Final = 30.0
USABLE_POLL_S: Final = 0.1

_TYPES: Final[Mapping[str, IndexedValueType.ValueType]] = {
    key.name: IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{key.indexed_value_type.name}") for key in KEYS
}


async def missing_search_attributes(client: Client, namespace: str | None = None) -> Mapping[str, str]:
    """Return our search attributes, with their types, that the namespace lacks.

    Args:
        namespace: Name of the namespace; None takes the client's.
    """
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=namespace or client.namespace), timeout=RPC_TIMEOUT
    )
    return {
        name: kind for name, kind in SEARCH_ATTRIBUTES.items() if listed.custom_attributes.get(name) != _TYPES[name]
    }


async def register_search_attributes(client: Client, namespace: str | None = None) -> Mapping[str, str]:
    """Register the missing search attributes, and return them. Some clusters ask for administrator rights."""
    missing = await missing_search_attributes(client, namespace)
    if missing:
        request = AddSearchAttributesRequest(
            namespace=namespace or client.namespace,
            search_attributes={name: _TYPES[name] for name in missing},
        )
        await client.operator_service.add_search_attributes(request, timeout=RPC_TIMEOUT)
    return missing


async def namespace_id(client: Client, namespace: str) -> str:
    """Return the random id of the namespace: two servers never share one."""
    described = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=namespace), timeout=RPC_TIMEOUT
    )
    return described.namespace_info.id


async def project_of(client: Client) -> str | None:
    """Return the folder of the project whose embedded server this is; None where it is no such server.

    Raises:
        RPCError: The server does not say.
    """
    described = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=DEFAULT_NAMESPACE), timeout=RPC_TIMEOUT
    )
    return described.namespace_info.data.get(PROJECT_KEY)


async def name_project(client: Client, project: str) -> None:
    """Let clients tell whose server this is, which may listen on everybody's usual port."""
    if await project_of(client) != project:
        info = UpdateNamespaceInfo(data={PROJECT_KEY: project})
        request = UpdateNamespaceRequest(namespace=DEFAULT_NAMESPACE, update_info=info)
        await client.workflow_service.update_namespace(request, timeout=RPC_TIMEOUT)


async def ensure_namespace(client: Client, namespace: str, retention: timedelta) -> None:
    """Make sure that the namespace exists and can be used, and that it keeps closed runs for *retention*.

    The stock development server keeps them for 24 hours and has no option for it; a change through the API is
    stored in its database and survives a restart.
    """
    keep = Duration()
    keep.FromTimedelta(retention)
    service = client.workflow_service
    try:
        described = await service.describe_namespace(DescribeNamespaceRequest(namespace=namespace), timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        await service.register_namespace(
            RegisterNamespaceRequest(namespace=namespace, workflow_execution_retention_period=keep),
            timeout=RPC_TIMEOUT,
        )
        await _wait_usable(client, namespace)
        return
    if described.config.workflow_execution_retention_ttl.ToTimedelta() != retention:
        await service.update_namespace(
            UpdateNamespaceRequest(namespace=namespace, config=NamespaceConfig(workflow_execution_retention_ttl=keep)),
            timeout=RPC_TIMEOUT,
        )


async def _wait_usable(client: Client, namespace: str) -> None:
    """Wait until the server's cache of namespaces, which it refreshes every few seconds, has the new one."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + USABLE_WAIT_S
    while True:
        try:
            await missing_search_attributes(client, namespace)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND or loop.time() > give_up_at:
                raise
            await asyncio.sleep(USABLE_POLL_S)
        else:
            return
