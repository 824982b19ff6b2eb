"""A pool without sockets, for thousands of schedules: what `urllib3` would have done with the answer."""

import json
from email.utils import format_datetime
from urllib.parse import parse_qsl, urlsplit

from urllib3.exceptions import MaxRetryError, ProtocolError

from tests.posthog_server.model import RefusedError


class Answer:
    """As much of urllib3's response as the transport looks at."""

    def __init__(self, status, content, headers):
        self.status, self.headers = status, headers
        self.data = json.dumps(content).encode()

    def release_conn(self):
        pass


class Pool:
    """Answers requests by a `Project`; `around` may make faults, before and after the server acts."""

    def __init__(self, project, around=None):
        self.project = project
        self.around = around or (lambda method, path, act: act())
        self.asked = []

    def request(self, method, url, *, body=None, headers=None, retries=None, **options):
        parts = urlsplit(url)
        path = parts.path.removeprefix(f"/api/projects/{self.project.number}/")
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        content = None if body is None else json.loads(body)
        self.asked.append((method, path, content))

        def act():
            return self.project.handle(method, path, dict(parse_qsl(parts.query)), content, token)

        for attempt in range(1 + (retries.total or 0)):
            try:
                return self._answer(200, self.around(method, path, act), parts)
            except RefusedError as refused:
                if refused.status in (retries.status_forcelist or ()) and attempt < (retries.total or 0):
                    continue
                return self._answer(refused.status, refused.plain(), parts, refused.headers)
            except ConnectionError as problem:
                if attempt < (retries.total or 0):
                    continue
                raise MaxRetryError(self, url, ProtocolError(str(problem))) from None
        raise AssertionError

    def _answer(self, status, content, parts, headers=None):
        text = json.dumps(content).replace("{host}", f"{parts.scheme}://{parts.netloc}")
        stamp = format_datetime(self.project.clock(), usegmt=True)
        return Answer(status, json.loads(text), {"Date": stamp, **(headers or {})})
