"""Requests to one server: JSON in and out, retries of what may be repeated, and the key to its own host only.

urllib3 alone does the HTTP. It is there wherever JupyterLab is, its `Retry` knows Retry-After, and it does
what it is told: `requests` would put a password from ~/.netrc in place of our key, and `urllib.request`
sends the key on to wherever a redirect points.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util import Retry, Timeout

from canarykit.files import beside
from canarykit.release.keys import Key
from canarykit.release.refusals import KeyRefusedError, RateLimitError, ServerError, UnreachableError, refusal

_HERE = {"localhost", "127.0.0.1", "::1"}
_TRIES = 4
_BUSY = (429, 500, 502, 503, 504)
_QUERY_BUSY = (429, 502, 503)  # a query that was too heavy is not asked again as it stands
_CHUNK_BYTES = 1 << 20


def wall_clock() -> datetime:
    """This machine's time."""
    return datetime.now(UTC)


def check_host(host: str) -> str:
    """The host as `https://name`, refused where a key could be read on the way.

    Examples
    --------
    >>> check_host("posthog.acme.io/")
    'https://posthog.acme.io'
    """
    text = host.strip().rstrip("/")
    parts = urlsplit(text if "://" in text else f"https://{text}")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise KeyRefusedError(f"host is {host!r}; expected an address such as 'https://us.posthog.com'")
    if parts.username or parts.password:
        raise KeyRefusedError("host holds a user name or password; give the address alone")
    if parts.scheme == "http" and parts.hostname not in _HERE:
        raise KeyRefusedError(f"host is {host!r}: the key would travel in the clear; use https://")
    port = f":{parts.port}" if parts.port else ""
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}{port}{parts.path.rstrip('/')}"


class _TooLongError(Exception):
    """The server asks for more patience than there is."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class _Patience(Retry):
    """urllib3's retries; a wait beyond `longest` seconds is not slept through but said."""

    longest = 60.0

    def new(self, **changed: Any) -> _Patience:
        """The next state of these retries, as patient as this one."""
        following: _Patience = super().new(**changed)
        following.longest = self.longest
        return following

    def sleep(self, response: Any = None) -> None:
        asked = None if response is None else _wait_of(self, response)
        if asked is not None and asked > self.longest:
            raise _TooLongError(asked)
        super().sleep(response)


class Transport:
    """One server and one key, which is sent to this host and to no other.

    `host` is checked by `check_host`; `authorization` is the form of that header; `timeout` the seconds to
    wait for a connection, and for each part of an answer; `patience` the longest Retry-After in seconds that
    is waited for: beyond it `RateLimitError` says how long. `pool` is anything with urllib3's `request`, for
    tests; `clock` this machine's time.
    """

    def __init__(
        self,
        host: str,
        key: Key,
        *,
        authorization: str = "Bearer {}",
        timeout: float = 60.0,
        patience: float = 60.0,
        pool: Any = None,
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:
        self.host: str = check_host(host)
        self.clock = clock
        self.patience = patience
        self.skew: timedelta | None = None
        self._key, self._form = key, authorization
        self._timeout = Timeout(connect=10.0, read=timeout)
        self._pool = pool if pool is not None else _pool_for(self.host)

    def __repr__(self) -> str:
        return f"Transport({self.host!r})"

    def now(self) -> datetime:
        """The server's time, by its last answer; this machine's where none came yet."""
        return self.clock() + (self.skew or timedelta())

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """The JSON under a path; repeated where the connection breaks or the server is busy."""
        return self._json("GET", path, query=query, again=_BUSY)

    def ask(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST of a question that changes nothing, so that it may be repeated."""
        return self._json("POST", path, body=body, again=_QUERY_BUSY)

    def write(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """A write: sent once, never repeated. `UnreachableError` means that it may have arrived."""
        return self._json(method, path, body=body or {}, again=())

    def write_openly(self, url: str, body: Mapping[str, Any]) -> None:
        """POST to a public address, without the key."""
        self._send("POST", url, body=body, again=(), with_key=False)

    def pages(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Every item of a list, page after page; `next` must stay on this host."""
        answer = self.get(path, query)
        while True:
            if isinstance(answer, list):
                yield from answer
                return
            yield from answer.get("results") or ()
            following = answer.get("next")
            if not following:
                return
            self._require_this_host(str(following))
            answer = self._json("GET", str(following), again=_BUSY)

    def save(self, path: str, file: str | PathLike[str]) -> int:
        """Download into a file, through a redirect to storage that never sees the key; the bytes written.

        The file appears under its name only when it is whole.
        """
        with beside(file) as unfinished:
            for _ in range(_TRIES - 1):
                try:
                    return self._save_once(path, unfinished)
                except UnreachableError:
                    continue
            return self._save_once(path, unfinished)

    def _save_once(self, path: str, part: Path) -> int:
        answer = self._send("GET", self._url(path), again=_BUSY, preload=False, keep_redirect=True)
        if 300 <= answer.status < 400:
            where = urljoin(self._url(path), answer.headers.get("Location", ""))
            answer.release_conn()
            if not self._is_this_host(where):
                check_host(f"{urlsplit(where).scheme}://{urlsplit(where).netloc}")
            with_key = self._is_this_host(where)
            answer = self._send("GET", where, again=_BUSY, preload=False, with_key=with_key)
        broke, size = "", 0
        try:
            with part.open("wb") as stream:
                for piece in answer.stream(_CHUNK_BYTES):
                    size += stream.write(piece)
        except (HTTPError, OSError) as problem:
            broke = type(problem).__name__
        finally:
            answer.release_conn()
        if broke:
            raise UnreachableError(f"the download of {path} broke off after {size:,} bytes ({broke})")
        return size

    def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        again: tuple[int, ...],
    ) -> Any:
        url = self._url(path)
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query, doseq=True)
        for _ in range(_TRIES if again else 1):
            answer = self._send(method, url, body=body, again=again)
            content = _read_json(answer.data)
            if content is not _BROKEN:
                return content
            if "json" not in answer.headers.get("Content-Type", "json"):
                kind = answer.headers["Content-Type"]
                asked = f"{method} {urlsplit(url).path}"
                raise ServerError(f"{asked} answered {kind}, not JSON; is {self.host} the right host?")
        raise UnreachableError(f"the answer to {method} {urlsplit(url).path} broke off")

    def _send(
        self,
        method: str,
        url: str,
        *,
        again: tuple[int, ...],
        body: Mapping[str, Any] | None = None,
        preload: bool = True,
        with_key: bool = True,
        keep_redirect: bool = False,
    ) -> Any:
        """One request with its retries; every failure becomes an error that never knew the key."""
        asked = f"{method} {urlsplit(url).path}"
        answer, broke, wait = None, "", 0.0
        try:
            answer = self._pool.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=self._headers(with_key, body is not None),
                retries=self._retries(method, again),
                redirect=False,
                timeout=self._timeout,
                preload_content=preload,
            )
        except _TooLongError as problem:
            wait = problem.seconds
        except (HTTPError, OSError) as problem:
            broke = _short(problem)
        # Raised out here, without the frames and the chain that knew the headers.
        if wait:
            raise _limit(asked, wait)
        if answer is None:
            unsure = "" if again or method == "GET" else "; whether it arrived is not known"
            raise UnreachableError(f"{asked} got no answer from {urlsplit(url).netloc}: {broke}{unsure}")
        self._note_time(answer)
        if 300 <= answer.status < 400 and not keep_redirect:
            return self._follow(answer, method, url, again=again, preload=preload)
        if answer.status >= 400:
            data = answer.data
            raise refusal(answer.status, data, asked=asked, wait=_wait_of(_Patience(), answer))
        return answer

    def _follow(self, answer: Any, method: str, url: str, *, again: tuple[int, ...], preload: bool) -> Any:
        where = urljoin(url, answer.headers.get("Location", ""))
        self._require_this_host(where)
        if method != "GET" or where == url:
            raise ServerError(f"{method} {urlsplit(url).path} was redirected to {urlsplit(where).path}")
        return self._send(method, where, again=again, preload=preload)

    def _headers(self, with_key: bool, has_body: bool) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "canarykit"}
        if has_body:
            headers["Content-Type"] = "application/json"
        if with_key:
            headers["Authorization"] = self._key.header(self._form)
        return headers

    def _retries(self, method: str, again: tuple[int, ...]) -> Retry:
        retries = _Patience(
            total=_TRIES if again else 0,
            redirect=0,
            status_forcelist=again,
            allowed_methods=[method if again else "GET"],  # an empty list would mean: any
            backoff_factor=0.5,
            raise_on_status=False,
            respect_retry_after_header=bool(again),
        )
        retries.longest = self.patience
        return retries

    def _url(self, path: str) -> str:
        return path if "://" in path else f"{self.host}/{path.lstrip('/')}"

    def _is_this_host(self, url: str) -> bool:
        ours, theirs = urlsplit(self.host), urlsplit(url)
        return (ours.scheme, ours.hostname, _port(ours)) == (theirs.scheme, theirs.hostname, _port(theirs))

    def _require_this_host(self, url: str) -> None:
        if not self._is_this_host(url):
            other = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
            raise ServerError(
                f"{self.host} sends us on to {other}; the key goes to its own host only. "
                f"If that is where the project is, pass host={other!r}"
            )

    def _note_time(self, answer: Any) -> None:
        try:
            said = parsedate_to_datetime(answer.headers.get("Date", ""))
        except (TypeError, ValueError):
            return
        apart = said - self.clock()
        # The header has whole seconds: less than two is not told apart from none.
        self.skew = apart if abs(apart) >= timedelta(seconds=2) else timedelta()


_BROKEN = object()


def _read_json(data: bytes) -> Any:
    """The content; `_BROKEN` where it is no JSON. Without a length, an answer may break off unnoticed."""
    try:
        return json.loads(data or b"{}")
    except ValueError:
        return _BROKEN


def _pool_for(host: str) -> Any:
    """A pool that goes through the proxy of the environment, where one is set for this host."""
    parts = urlsplit(host)
    proxy = getproxies().get(parts.scheme)
    if proxy and parts.hostname not in _HERE and not proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(proxy)
    return urllib3.PoolManager()


def _port(parts: Any) -> int:
    return int(parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0))


def _wait_of(retries: Retry, response: Any) -> float | None:
    header = response.headers.get("Retry-After")
    if header is None:
        return None
    try:
        return float(retries.parse_retry_after(header))
    except HTTPError:
        return None


def _limit(asked: str, wait: float) -> RateLimitError:
    problem = refusal(429, b'{"detail": "throttled"}', asked=asked, wait=wait)
    assert isinstance(problem, RateLimitError)
    return problem


def _short(problem: BaseException) -> str:
    """The innermost reason in a few words; urllib3 nests them, and repeats the address."""
    if isinstance(problem, MaxRetryError) and problem.reason is not None:
        problem = problem.reason
    return f"{type(problem).__name__}: {str(problem)[:160]}"
