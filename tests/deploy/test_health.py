"""The container's health check tells by exit code and one line whether the server is up."""

import http.server
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.end_to_end

HEALTH = Path(__file__).parents[2] / "deploy" / "health.py"


class Answers(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(self.status if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def answer():
    """Return what makes a server answer /health with a status, and gives its port."""
    servers = []

    def start(status, tls=None):
        server = http.server.HTTPServer(("127.0.0.1", 0), type("Answer", (Answers,), {"status": status}))
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return server.server_port

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(port, **more):
    environment = {"VOXSTACK_SERVE_PORT": str(port), **more}
    words = [sys.executable, "-I", HEALTH]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, timeout=20)
    return done.returncode, done.stdout + done.stderr


def test_a_server_that_is_up_is_healthy(answer):
    assert ask(answer(200)) == (0, "")


def test_another_status_is_told(answer):
    port = answer(503)
    assert ask(port) == (1, f"health: port {port}: got status 503, want 200\n")


def test_where_nobody_listens_is_told():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        code, said = ask(port)
    assert code == 1
    assert said.startswith(f"health: port {port}: ")
    assert said.endswith(f"{os.strerror(111)}\n")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes a certificate, is not here")
def test_a_server_with_tls_is_asked_over_tls(answer, tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=other"]
    words = ["openssl", "req", *kind, "-keyout", key, "-out", cert]
    subprocess.run(words, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    port = answer(200, tls)
    assert ask(port, VOXSTACK_SERVE_TLS_CERT=str(cert)) == (0, "")
