"""nginx with the file of the repository, before three servers that say what reached them."""

import http.client
import http.server
import json
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import ROOT
from tests.support.services import require

FILE = ROOT / "deploy" / "container" / "nginx.conf"
INSTANCES = ("trader", "reader-1", "reader-2")


def certify(folder: Path) -> None:
    words = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=quantd",
    ]
    names = ["-addext", "subjectAltName=DNS:quantd,DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(["openssl", *words, *names], cwd=folder, check=True, capture_output=True)


def instance(folder: Path, name: str) -> http.server.ThreadingHTTPServer:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            headers = {
                key: self.headers[key]
                for key in ("Host", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "Upgrade")
            }
            body = json.dumps({"instance": name, **headers}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def written(folder: Path, ports: dict[str, int], plain: int, tls: int) -> Path:
    """The file of the repository with ports, certificates and folders of this test."""
    text = FILE.read_text()
    (folder / "mime.types").write_text("types { text/html html; }\n")
    changes = {
        "worker_processes auto": "worker_processes 1", "/etc/nginx/mime.types": f"{folder}/mime.types",
        "/run/secrets/site_certificate": f"{folder}/cert.pem", "/run/secrets/site_key": f"{folder}/key.pem",
        "/run/secrets/api_authority": f"{folder}/cert.pem", "/dev/stdout": f"{folder}/access.log",
        " /tmp/": f" {folder}/",
        "listen 80 ": f"listen 127.0.0.1:{plain} ", "listen 443 ": f"listen 127.0.0.1:{tls} ",
        "    listen [::]:80 default_server;\n": "", "    listen [::]:443 ssl http2 default_server;\n": "",
        **{f"{name}:8000": f"127.0.0.1:{port}" for name, port in ports.items()},
    }  # fmt: skip
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(text)
    return folder / "nginx.conf"


class Front:
    """nginx as a process, with the certificate that it shows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        certify(folder)
        self.instances = {name: instance(folder, name) for name in INSTANCES}
        self.plain, self.tls = free_port(), free_port()
        ports = {name: int(server.server_address[1]) for name, server in self.instances.items()}
        self.config = written(folder, ports, self.plain, self.tls)
        program = require("nginx")["nginx"]
        self.command = [program, "-e", str(folder / "errors.log"), "-p", str(folder), "-c", str(self.config)]
        self.process = subprocess.Popen([*self.command, "-g", "daemon off;"], stderr=subprocess.DEVNULL)
        self._context = ssl.create_default_context(cafile=str(folder / "cert.pem"))
        for _ in range(3_000):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.tls)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError((folder / "errors.log").read_text())

    def ask(self, method: str, path: str, count: int = 1, **headers: str) -> list[tuple[int, Any]]:
        connection = http.client.HTTPSConnection("localhost", self.tls, timeout=10, context=self._context)
        answers = []
        for _ in range(count):
            connection.request(method, path, headers=headers, body=b"{}" if method == "POST" else None)
            response = connection.getresponse()
            body = response.read()
            answers.append((response.status, json.loads(body) if response.status == 200 else body))
        connection.close()
        return answers

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)
        for server in self.instances.values():
            server.shutdown()
            server.server_close()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    require("nginx")
    started = Front(tmp_path_factory.mktemp("nginx"))
    yield started
    started.stop()


@pytest.mark.requirement("R-222", "R-223")
def test_nginx_accepts_the_file(front: Front) -> None:
    process = subprocess.run([*front.command, "-t"], capture_output=True, text=True, check=False)
    assert (process.returncode, "warn" in process.stderr) == (0, False), process.stderr
    front.config.with_name("wrong.conf").write_text(front.config.read_text().replace("least_conn", "most_conn"))
    wrong = [*front.command[:-1], str(front.config.with_name("wrong.conf")), "-t"]
    assert subprocess.run(wrong, capture_output=True, check=False).returncode == 1


@pytest.mark.requirement("R-222")
def test_reads_reach_all_three_instances_with_host_and_address_of_the_client(front: Front) -> None:
    answers = front.ask("GET", "/api/v1/status", 30, Host="trader.example", **{"X-Forwarded-For": "203.0.113.9"})
    assert {status for status, _ in answers} == {200}
    assert min(Counter(body["instance"] for _, body in answers)[name] for name in INSTANCES) >= 5
    headers = answers[0][1]
    assert (headers["Host"], headers["X-Real-IP"], headers["X-Forwarded-Proto"]) == (
        "trader.example",
        "127.0.0.1",
        "https",
    )
    assert headers["X-Forwarded-For"] == "127.0.0.1", "a client does not choose its address"


@pytest.mark.requirement("R-222", "R-225")
def test_commands_reach_the_trader_only_and_have_no_rate(front: Front) -> None:
    answers = front.ask("POST", "/api/v1/commands", 60)
    assert Counter((status, body["instance"]) for status, body in answers) == {(200, "trader"): 60}
    other = front.ask("POST", "/api/v1/orders", 60)
    passed = [body["instance"] for status, body in other if status == 200]
    assert set(passed) == {"trader"}
    assert {status for status, _ in other} == {200, 429}
    assert front.ask("GET", "/metrics")[0][0] == 404


@pytest.mark.requirement("R-222")
def test_the_link_of_a_tab_reaches_the_trader_with_its_upgrade(front: Front) -> None:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    answers = [front.ask("GET", "/api/v1/link", **upgrade)[0] for _ in range(6)]
    assert [(status, body["instance"], body["Upgrade"]) for status, body in answers] == [
        (200, "trader", "websocket")
    ] * 6


@pytest.mark.requirement("R-223")
def test_plain_http_is_redirected_and_no_query_is_logged(front: Front) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", front.plain, timeout=10)
    connection.request("GET", "/api/v1/status?token=word", headers={"Host": "trader.example"})
    response = connection.getresponse()
    assert response.status == 301
    assert response.getheader("Location") == "https://trader.example/api/v1/status?token=word"
    connection.close()
    front.ask("GET", "/api/v1/status?token=word")
    assert "word" not in (front.folder / "access.log").read_text()


@pytest.mark.requirement("R-222")
def test_reads_are_answered_while_the_trader_is_away(front: Front) -> None:
    front.instances["trader"].shutdown()
    front.instances["trader"].server_close()
    answers = front.ask("GET", "/api/v1/status", 12)
    assert {body["instance"] for status, body in answers if status == 200} == {"reader-1", "reader-2"}
    assert {status for status, _ in answers} == {200}
    assert front.ask("POST", "/api/v1/commands")[0][0] == 502
