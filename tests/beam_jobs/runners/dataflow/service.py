"""Fake of the service, which Beam's real client talks to over HTTP."""

import dataclasses
import http.server
import json
import re
import socket
import threading
import urllib.parse

PROJECT = "my-project"
REGION = "europe-west4"
_JOBS = f"/v1b3/projects/{PROJECT}/locations/{REGION}/jobs"
_ENDED = ("DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED")
#: Number of JOB_MESSAGE_ERROR.
_ERROR = "4"
#: Views of a job by what requests call them.
_VIEWS = {
    **dict.fromkeys(("", "JOB_VIEW_SUMMARY", "1"), "SUMMARY"),
    **dict.fromkeys(("JOB_VIEW_ALL", "2"), "ALL"),
    **dict.fromkeys(("JOB_VIEW_DESCRIPTION", "3"), "DESCRIPTION"),
}
#: Jobs in a page of a list.
_PAGE_SIZE = 2


@dataclasses.dataclass
class FakeJob:
    """A job, which goes through its states as it is looked at.

    Attributes:
        content: The job as it was submitted.
        states: States to answer with in turn; the last one is repeated.
        errors: Messages of importance JOB_MESSAGE_ERROR.
        metrics: Values of the service's own metrics by name.
        counters: Values of the counters of workers by name.
        states_of_cancelling: `states` once it was asked to be cancelled.
        times: Times of its creation and of its last state.
    """

    content: dict
    states: list
    errors: tuple = ()
    metrics: dict = dataclasses.field(default_factory=dict)
    counters: dict = dataclasses.field(default_factory=dict)
    states_of_cancelling: tuple = ("CANCELLING", "CANCELLED")
    times: tuple = ("2026-11-22T13:05:09Z", "2026-11-22T14:06:10Z")

    def describe(self, job_id, *, view="SUMMARY"):
        """Returns the job as the service shows it."""
        shown = {
            "id": job_id,
            "name": self.content["name"],
            "type": self.content.get("type", "JOB_TYPE_BATCH"),
            "currentState": f"JOB_STATE_{self.states[0]}",
            "createTime": self.times[0],
            "startTime": self.times[0],
            "currentStateTime": self.times[1],
        }
        more = {"SUMMARY": (), "DESCRIPTION": ("labels",)}
        names = more.get(view, ("labels", "environment"))
        return shown | {name: self.content[name] for name in names}

    def list_messages(self, *, only_errors):
        basic = () if only_errors else ("Worker configuration: n2-standard-4.",)
        for level, texts in (("ERROR", self.errors), ("BASIC", basic)):
            for text in texts:
                yield {
                    "messageText": text,
                    "messageImportance": f"JOB_MESSAGE_{level}",
                    "time": self.times[0],
                }

    def list_metrics(self):
        for name, value in self.metrics.items():
            yield metric("dataflow/v1b3", name, value)
            yield metric("dataflow/v1b3", name, value + 1, tentative="true")
        for name, value in self.counters.items():
            context = {"namespace": "labeling", "step": "s2"}
            yield metric("user", name, value, **context)
            yield metric("user", name, value, tentative="true", **context)


def metric(origin, name, value, **context):
    described = {"origin": origin, "name": name, "context": context}
    return {"name": described, "scalar": value}


class Service:
    """Fake of Dataflow's REST API for one region of one project.

    Attributes:
        url: Address of the service.
        jobs: Jobs by id; `job-1` is the first that is submitted.
        requests: Method and rest of the path of each request.
    """

    def __init__(self, states=("DONE",), **job):
        self.jobs = {}
        self.requests = []
        self._next = {"states": list(states)} | job
        self._faults = []
        self._changed = threading.Condition()
        self._is_over = threading.Event()
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_any(self):
                length = int(self.headers.get("Content-Length") or 0)
                content = json.loads(self.rfile.read(length) or "{}")
                status, answer = service.answer(self.command, self.path, content)
                if status is None:
                    # Closed without an answer, as a connection that is reset.
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            do_GET = do_POST = do_PUT = handle_any  # noqa: N815

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://localhost:{self._server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def submitted(self):
        """The first submitted job."""
        return self.jobs["job-1"].content

    def add(self, job_id, states=("RUNNING",), **content):
        """Adds a job of another process."""
        described = {"name": job_id, "labels": {}, "environment": {}} | content
        self.jobs[job_id] = FakeJob(described, list(states))
        return self.jobs[job_id]

    def fail(self, method, path, status, message="", *, times=1, view=None):
        """Lets requests fail; without a status, their connection is closed.

        `path` is a pattern of what follows `.../jobs`; with `view`, only requests of
        that view of a job fail.
        """
        self._faults += [(method, path, status, message, view)] * times

    def hang(self, method, path):
        """Gives a request no answer until the service ends."""
        self.fail(method, path, "hang")

    def wait_for(self, method, path):
        """Waits until a request has come."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: any(
                    found == method and re.fullmatch(path, rest)
                    for found, rest in self.requests
                ),
                60,
            ), self.requests

    def answer(self, method, url, content):
        """Returns the status and the content of an answer."""
        path, _, query = url.partition("?")
        rest = path.removeprefix(_JOBS)
        values = dict(urllib.parse.parse_qsl(query))
        view = _VIEWS[values.get("view", "")]
        for fault in self._faults:
            is_meant = fault[0] == method and re.fullmatch(fault[1], rest)
            if is_meant and fault[4] in (None, view):
                self._faults.remove(fault)
                found = fault[2], {"error": {"code": fault[2], "message": fault[3]}}
                break
        else:
            found = self._find(method, path, rest, values, content)
        with self._changed:
            self.requests.append((method, rest))
            self._changed.notify_all()
        if found and found[0] == "hang":
            self._is_over.wait()
            return None, None
        # As for a job of another region, or of somebody else.
        return found or (403, {"error": {"code": 403, "message": "no"}})

    def _find(self, method, path, rest, query, content):
        job_id, _, part = rest.removeprefix("/").partition("/")
        if path == rest:
            return None
        if not job_id:
            return self._create(content) if method == "POST" else self._list(query)
        job = self.jobs.get(job_id)
        if job is None:
            return None
        if method == "PUT":
            assert content["requestedState"] in ("JOB_STATE_CANCELLED", 5)
            job.states = list(job.states_of_cancelling)
            return 200, {}
        if part == "messages":
            level = query.get("minimumImportance")
            messages = job.list_messages(only_errors=level == _ERROR)
            return 200, {"jobMessages": list(messages)}
        if part == "metrics":
            return 200, {"metrics": list(job.list_metrics())}
        view = _VIEWS[query.get("view", "")]
        if view != "SUMMARY":
            return 200, job.describe(job_id, view=view)
        found = job.describe(job_id)
        if len(job.states) > 1:
            job.states.pop(0)
        return 200, found

    def _create(self, content):
        job_id = f"job-{1 + sum(name.startswith('job-') for name in self.jobs)}"
        self.jobs[job_id] = FakeJob(content, **self._next)
        return 200, {"id": job_id, "currentState": "JOB_STATE_PENDING"}

    def _list(self, query):
        assert query["filter"] in ("ACTIVE", "3")
        start = int(query.get("pageToken", 0))
        end = start + _PAGE_SIZE
        active = {
            name: job for name, job in self.jobs.items() if job.states[0] not in _ENDED
        }
        page = [job.describe(name) for name, job in list(active.items())[start:end]]
        more = {"nextPageToken": str(end)} if end < len(active) else {}
        return 200, {"jobs": page} | more
