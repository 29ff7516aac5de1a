"""A Jupyter Server extension: kernel messages are sent at once.

Without TCP_NODELAY a key's echo waits for the acknowledgement of what was sent before it (tcp(7), Nagle's algorithm).
Jupyter Server 2.21 sets it for no websocket; the class of its kernel websockets' connections is a setting of its own.
"""

from __future__ import annotations

from typing import Any

from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.connection.base import BaseKernelWebsocketConnection

CLASS = "kernel_websocket_connection_class"


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "labkit.server"}]


def _load_jupyter_server_extension(app: ServerApp) -> None:
    """Whatever class is configured, its connections get TCP_NODELAY."""
    configured: type[BaseKernelWebsocketConnection] = app.web_app.settings[CLASS]

    class Prompt(configured):  # type: ignore[misc, valid-type]
        def connect(self) -> Any:
            self.websocket_handler.set_nodelay(True)
            return super().connect()

    app.web_app.settings[CLASS] = Prompt
