"""The server extension is installed with the package, and Jupyter Server takes it."""

import re
import subprocess
import sys


def test_the_installation_enables_it():
    command = [sys.executable, "-m", "jupyter", "server", "extension", "list"]
    run = subprocess.run(command, capture_output=True, text=True)
    said = [line.split() for line in re.sub(r"\x1b\[\d+m", "", run.stdout + run.stderr).splitlines()]
    assert ["labkit.server", "enabled"] in said
    assert [line for line in said if line[:1] == ["labkit.server"] and line[-1] == "OK"] != []


def test_connections_send_at_once_whatever_their_class():
    from jupyter_server.serverapp import ServerApp
    from tornado.web import Application

    from labkit import server

    class Configured:
        websocket_handler = None

        def connect(self):
            return "connected"

    class Handler:
        nodelay = False

        def set_nodelay(self, value):
            self.nodelay = value

    app = ServerApp()
    app.web_app = Application(**{server.CLASS: Configured})
    server._load_jupyter_server_extension(app)
    connection = app.web_app.settings[server.CLASS]()
    connection.websocket_handler = Handler()
    assert (connection.connect(), connection.websocket_handler.nodelay) == ("connected", True)
