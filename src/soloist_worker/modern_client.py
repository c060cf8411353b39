"""The durable clients of ``azure-functions-durable`` 2.x: they speak gRPC to the host by themselves;
only the management links that they make are given codes, so that each link opens itself only."""

from __future__ import annotations

import sys
from typing import Any

from soloist_worker.client import is_hosts, with_codes

_CLIENT_MODULE = "azure.durable_functions.client"
_CLIENTS = ("DurableFunctionsClient", "SyncDurableFunctionsClient")
_LINKS = "_get_client_response_links"
_STOCK = "_soloist_stock"


def install() -> None:
    """Put codes into the links that the SDK's clients make, if the app has the SDK."""
    module = sys.modules.get(_CLIENT_MODULE)
    for name in _CLIENTS:
        client_class = getattr(module, name, None)
        if client_class is not None and _STOCK not in vars(client_class):
            _patch_links(client_class)


def _patch_links(client_class: Any) -> None:
    """Replace the method that every management link comes from. Clients that were not made for a
    host of ours keep the stock one."""
    stock = getattr(client_class, _LINKS)

    def links_of(self: Any, request: Any, instance_id: str, *args: Any, **options: Any) -> Any:
        links = stock(self, request, instance_id, *args, **options)
        if is_hosts(self.rpcBaseUrl):
            query = self.requiredQueryStringParameters
            links.update(with_codes(links, query, self.taskHubName, instance_id))
        return links

    setattr(client_class, _STOCK, stock)
    setattr(client_class, _LINKS, links_of)
