"""A hub on loopback that takes commits of small files, as its client sends them."""

import base64
import contextlib
import http.server
import json
import threading


class Hub:
    """What the server got.

    Attributes:
        endpoint: Its address.
        repositories: Request that made each repository, by kind and name.
        files: Content by kind, repository and path.
        refuse: Status for all that writes; None to accept it.
    """

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.repositories = {}
        self.files = {}
        self.refuse = None

    def create(self, body):
        kind = body.get("type") or "model"
        name = f"{body['organization']}/{body['name']}"
        self.repositories[kind, name] = body
        return {"url": f"{self.endpoint}/{name}", "id": name}

    def preupload(self, body):
        modes = [
            {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
            for file in body["files"]
        ]
        return {"files": modes}

    def commit(self, kind, name, lines):
        for line in lines:
            if line["key"] == "file":
                value = line["value"]
                content = base64.b64decode(value["content"])
                self.files[kind, name, value["path"]] = content
        return {
            "success": True,
            "commitUrl": f"{self.endpoint}/{name}/commit/{40 * 'a'}",
            "commitOid": 40 * "a",
        }


@contextlib.contextmanager
def serving():
    """Yields a `Hub` that is asked over HTTP."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.answer({})

        def do_POST(self):
            content = self.rfile.read(int(self.headers["Content-Length"]))
            parts = self.path.partition("?")[0].split("/")
            if hub.refuse is not None:
                self.answer({"error": "no right to write"}, hub.refuse)
            elif self.path == "/api/repos/create":
                self.answer(hub.create(json.loads(content)))
            elif self.path.startswith("/api/validate-yaml"):
                self.answer({"errors": [], "warnings": []})
            elif "preupload" in parts:
                self.answer(hub.preupload(json.loads(content)))
            elif "commit" in parts:
                lines = map(json.loads, content.splitlines())
                kind, name = parts[2].removesuffix("s"), "/".join(parts[3:5])
                self.answer(hub.commit(kind, name, lines))
            else:
                self.answer({"error": f"unknown: {self.path}"}, 404)

        def answer(self, body, status=200):
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = Hub(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
