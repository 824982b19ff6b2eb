"""Sockets on loopback, with faults on demand, and a storage on another port that sees what it is sent."""

import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from socketserver import ThreadingMixIn
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from tests.posthog_server.app import Redirect, application
from tests.posthog_server.model import RefusedError


@dataclass
class Fault:
    """One thing that goes wrong `times` times with requests whose path holds `where`.

    `kind`: a status to answer with, "cut before" (the request is lost), "cut after" (the answer is lost),
    "cut body" (the answer breaks off in the middle), "elsewhere" (redirected to another host) or "slow".
    """

    kind: object
    where: str = ""
    times: int = 1
    wait: float | None = None
    method: str | None = None
    then: object = None


class Server:
    """A `Project` and a `Warehouse` behind an address."""

    def __init__(self, project=None, warehouse=None):
        self.url = self.address = self.storage_url = ""
        self.begin(project, warehouse)

    def begin(self, project, warehouse=None):
        """Serve another project, as if nothing had been asked before; the sockets stay open."""
        self.project, self.warehouse = project, warehouse
        self.faults, self.asked, self.exports = [], [], {}
        self.part_rows, self.blobs, self.storage_headers = 40_000, {}, []
        self.cut_parts, self.captured = 0, []
        self.around = None  # of (method, path, act): makes faults of its own, as that of `in_process.Pool`
        self.url = self.address
        return self

    def call(self, method, rest, query, body, token):
        """The answer below /api/projects/."""
        number, _, path = rest.partition("/")
        if number == "@current":
            self.project._who(token)
            return {
                "id": self.project.number,
                "name": "Shop",
                "timezone": self.warehouse.zone if self.warehouse else "UTC",
            }
        if number != str(self.project.number):
            raise RefusedError(404, "not_found", "Project not found.")
        if path == "query/":
            self.project._who(token)
            self.project._scope(token, "query:read")
            return self.warehouse.answer(body)
        if path.startswith("file_download_batch_exports/"):
            return self._export(method, path.removeprefix("file_download_batch_exports/"), body, token)
        return self.project.handle(method, path, query, body, token)

    def _export(self, method, path, body, token):
        self.project._who(token)
        self.project._scope(token, "batch_export:write" if method == "POST" else "batch_export:read")
        if method == "POST":
            number = f"{len(self.exports):08d}-export"
            data = self.warehouse.parquet(
                body["data_interval_start"], body["data_interval_end"], body.get("include")
            )
            self.exports[number] = self._parts(number, data)
            return {"id": number}
        number, *more = [part for part in path.split("/") if part]
        if number not in self.exports:
            raise RefusedError(404, "not_found", "Not found.")
        files, rows = self.exports[number]
        if more:
            return Redirect(f"{self.storage_url}/{more[1]}")
        return {"id": number, "status": "Completed", "files": files, "records_completed": rows}

    def _parts(self, number, data):
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(pa.BufferReader(data))
        files = []
        for start in range(0, len(table), self.part_rows):
            sink = pa.BufferOutputStream()
            pq.write_table(table.slice(start, self.part_rows), sink, compression="zstd")
            name = f"{number}-{len(files)}"
            self.blobs[name] = sink.getvalue().to_pybytes()
            files.append(name)
        return files, len(table)

    def definitions(self):
        flags = [flag for flag in self.project.flags.values() if not flag["deleted"]]
        return {"flags": flags, "group_type_mapping": self.project.group_types, "cohorts": {}}

    # ---- wsgi -------------------------------------------------------------------------------------

    def __call__(self, environ, begin):
        def start_response(status, headers, exc_info=None):
            stamp = format_datetime(self.project.clock(), usegmt=True)
            return begin(status, [*headers, ("Date", stamp)], exc_info)

        environ["loopback.server"] = self
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        self.asked.append((method, path, environ.get("HTTP_AUTHORIZATION")))
        if self.around is not None:
            return self._around(method, path, environ, start_response)
        fault = self._fault(method, path)
        if fault is None:
            return application(environ, start_response)
        if fault.then is not None:
            fault.then()
        if isinstance(fault.kind, int):
            return self._refuse(fault, environ, start_response)
        if fault.kind == "slow":
            time.sleep(fault.wait)
            return application(environ, start_response)
        if fault.kind == "elsewhere":
            start_response(
                "302 Found", [("Location", f"{self.storage_url}/elsewhere"), ("Content-Length", "0")]
            )
            return [b""]
        if fault.kind == "edit":
            return application(environ, start_response)
        if fault.kind == "cut before":
            _cut(environ)
            return []
        content = b"".join(application(environ, start_response))
        if fault.kind == "cut after":
            _cut(environ)
            return []
        return _half(content, environ)

    def _around(self, method, path, environ, start_response):
        """The answer as `around` lets it through; it may act on the request after the client has gone."""
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = BytesIO(environ["wsgi.input"].read(length))
        begun = []

        def act():
            return b"".join(application(environ, lambda *given: begun.append(given)))

        try:
            content = self.around(method, path, act)
        except ConnectionError:
            _cut(environ)
            return []
        start_response(*begun[-1])
        return [content]

    def _fault(self, method, path):
        for fault in self.faults:
            if fault.times > 0 and fault.where in path and fault.method in (None, method):
                fault.times -= 1
                return fault
        return None

    def _refuse(self, fault, environ, start_response):
        """The body is made by the framework: the request goes to an address that raises it."""
        headers = {} if fault.wait is None else {"Retry-After": str(fault.wait)}
        words = {504: "Query has hit the max execution time before completing.", 429: ""}.get(
            fault.kind, "fault"
        )
        refused = RefusedError(fault.kind, "error", words, headers=headers)

        def raise_it(*arguments):
            raise refused

        environ["loopback.server"] = type("Refusing", (), {"call": staticmethod(raise_it), "url": self.url})()
        return application(environ, start_response)


def _cut(environ):
    environ["loopback.socket"].shutdown(socket.SHUT_RDWR)


def _half(content, environ):
    yield content[: len(content) // 2]
    _cut(environ)


class _Handler(ServerHandler):
    def log_exception(self, exc_info):
        pass

    def error_output(self, environ, start_response):
        return []


class _Requests(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass

    def get_environ(self):
        return {**super().get_environ(), "loopback.socket": self.connection}

    def handle(self):
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            return
        handler = _Handler(self.rfile, self.wfile, self.get_stderr(), self.get_environ(), multithread=True)
        handler.request_handler = self
        with suppress(OSError):
            handler.run(self.server.get_app())


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, address):
        pass


@contextmanager
def serving(project=None, warehouse=None):
    """A running `Server`; its storage listens on another port, which counts as another host."""
    server = Server(project, warehouse)

    class Storage(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            server.storage_headers.append(dict(self.headers))
            data = server.blobs.get(self.path.lstrip("/"), b"not there")
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if server.cut_parts > 0:
                server.cut_parts -= 1
                self.wfile.write(data[: len(data) // 2])
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                self.wfile.write(data)

    front = _Threads(("127.0.0.1", 0), _Requests)
    front.set_app(server)
    storage = ThreadingHTTPServer(("127.0.0.1", 0), Storage)
    storage.daemon_threads = True
    server.url = server.address = f"http://127.0.0.1:{front.server_port}"
    server.storage_url = f"http://127.0.0.1:{storage.server_port}"
    threads = [
        threading.Thread(target=one.serve_forever, args=(0.05,), daemon=True) for one in (front, storage)
    ]
    for thread in threads:
        thread.start()
    try:
        yield server
    finally:
        for one in (front, storage):
            one.shutdown()
            one.server_close()
