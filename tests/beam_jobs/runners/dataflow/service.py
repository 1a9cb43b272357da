"""Fake of the service: Beam's real client submits to it."""

import http.server
import json
import threading


class Service:
    """Fake of Dataflow's REST API for one job of one region.

    Attributes:
        url: Address of the service.
        submitted: The submitted job.
        states: States to answer with in turn; the last one is repeated.
        error: Message of the failed job.
    """

    def __init__(self, states, error=""):
        self.submitted = None
        self.states = list(states)
        self.error = error
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.submitted = json.loads(body)
                self.answer(200, {"id": "job-1", "currentState": "JOB_STATE_PENDING"})

            def do_GET(self):
                path = self.path.partition("?")[0]
                jobs = "/v1b3/projects/my-project/locations/europe-west4/jobs/job-1"
                if path == f"{jobs}/messages":
                    self.answer(200, {"jobMessages": service.messages()})
                elif path == f"{jobs}/metrics":
                    self.answer(200, {"metrics": []})
                elif path == jobs and service.states:
                    self.answer(200, {"id": "job-1", "currentState": service.state()})
                else:  # As for a job of another region, or of somebody else.
                    self.answer(403, {"error": {"code": 403, "message": "no"}})

            def answer(self, status, content):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
        self.url = f"http://localhost:{self._server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def state(self):
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def messages(self):
        if not self.error:
            return []
        return [
            {
                "messageText": self.error,
                "messageImportance": "JOB_MESSAGE_ERROR",
                "time": "2026-11-22T13:05:09Z",
            }
        ]
