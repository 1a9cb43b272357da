"""The Hugging Face Hub on this machine, as far as `huggingface_hub` asks it."""

import contextlib
import hashlib
import http.server
import json
import re
import threading

#: A branch with slashes in its name.
_BRANCH = "refs/convert/parquet"


class Hub:
    """Datasets by name and revision.

    Attributes:
        repositories: Commit and files of each (name, revision).
        requests: Method and path of each request.
    """

    def __init__(self):
        self.repositories = {}
        self.requests = []

    def add(self, name, files, *, commit, revision="main"):
        """Adds a commit, also by its branch."""
        for known in (revision, commit):
            self.repositories[name, known] = (commit, files)


def _handler(hub):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            hub.requests.append((self.command, self.path))
            path = self.path.replace("%2F", "/").partition("?")[0]
            info = re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/revision/(.+)", path)
            file = re.fullmatch(
                rf"/datasets/([^/]+/[^/]+)/resolve/({_BRANCH}|[^/]+)/(.+)", path
            )
            if info and (found := hub.repositories.get(info.groups())):
                commit, files = found
                siblings = [{"rfilename": name} for name in files]
                facts = {"id": info[1], "sha": commit, "siblings": siblings}
                self.answer(json.dumps(facts).encode(), "application/json", {})
            elif file and (found := hub.repositories.get(file.groups()[:2])):
                commit, files = found
                if file[3] not in files:
                    self.answer(
                        b"", "text/plain", {"X-Error-Code": "EntryNotFound"}, 404
                    )
                    return
                content = files[file[3]]
                etag = hashlib.sha256(content).hexdigest()
                headers = {"X-Repo-Commit": commit, "ETag": f'"{etag}"'}
                self.answer(content, "application/octet-stream", headers)
            else:
                self.answer(
                    b"{}", "application/json", {"X-Error-Code": "RepoNotFound"}, 404
                )

        def answer(self, content, kind, headers, status=200):
            self.send_response(status)
            headers = {**headers, "Content-Type": kind, "Content-Length": len(content)}
            for name, value in headers.items():
                self.send_header(name, str(value))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    return Handler


@contextlib.contextmanager
def serve():
    """Serves a hub; yields it and its address."""
    hub = Hub()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
