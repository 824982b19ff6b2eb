"""Where files are: on this disk, or behind a URL (`s3://`, `gs://`, `az://`, `https://`, `memory://` ...).

S3, GCS, Azure and HDFS are read by pyarrow, every other scheme by fsspec. Credentials are taken from the
environment (or a profile that those libraries read), never from a URL that could end up in a log.
"""

from __future__ import annotations

import atexit
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from canarykit.errors import ExportFormatError

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_SECRET = re.compile(r"://[^/?#@]*:[^/?#@]*@")
_OPTIONS = re.compile(r"\?[a-z_]+=[^*]*$")
_BY_ARROW = {"s3": "s3", "gs": "gs", "gcs": "gs", "abfs": "abfs", "abfss": "abfss", "hdfs": "hdfs"}
_REFUSED = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|Forbidden|Unauthorized|authenticate|\b40[13]\b"
)
_EMPTY = "__HIVE_DEFAULT_PARTITION__"
_KEYS = (
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AZURE_STORAGE_CONNECTION_STRING or "
    "AZURE_STORAGE_ACCOUNT_KEY, GOOGLE_APPLICATION_CREDENTIALS"
)
GS_RETRY_SECONDS = 30
"""How long Google's store is asked again where the URL does not say; its library's own: 15 minutes."""


@dataclass(frozen=True)
class Fingerprint:
    """What tells one version of a file from another, short of reading it."""

    path: str  # where it is, from the root of its filesystem
    size: int  # its bytes
    changed: float  # when it last changed (seconds since 1970)
    times: tuple[int, ...]  # everything its filesystem says of its times (nanoseconds), and its number there


@dataclass(frozen=True)
class ExportFile:
    """One file of an export."""

    path: str  # where it is on its filesystem
    filesystem: Any = None  # the pyarrow filesystem that has it; None for this disk
    url: str = ""  # how the caller named it

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.path.rstrip("/").rpartition("/")[2] if self.filesystem else Path(self.path).name

    @property
    def suffixes(self) -> list[str]:
        """Endings of its name, in lower case."""
        return [suffix.lower() for suffix in Path(self.name.partition("?")[0]).suffixes]

    @property
    def size(self) -> int:
        """Its bytes."""
        if self.filesystem is None:
            return Path(self.path).stat().st_size
        return int(self.filesystem.get_file_info(self.path).size or 0)

    def fingerprint(self) -> Fingerprint | None:
        """Which version of the file this is; None where its filesystem does not tell when it changed."""
        if self.filesystem is None:
            state = Path(self.path).stat()
            times = state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev
            changed = max(state.st_mtime_ns, state.st_ctime_ns) / 1e9
            return Fingerprint(str(Path(self.path).absolute()), state.st_size, changed, times)
        info = self.filesystem.get_file_info(self.path)
        if info.mtime_ns is None or info.size is None:
            return None
        name = self.url or f"{self.filesystem.type_name}:{self.path}"
        return Fingerprint(name, info.size, info.mtime_ns / 1e9, (info.mtime_ns,))

    def head(self, size: int = 4096) -> bytes:
        """Its first bytes."""
        try:
            with self.open() as stream:
                return bytes(stream.read(size))
        except OSError as problem:
            raise ExportFormatError(
                f"{self.url or self.path} cannot be read: {reason_of(problem)}"
            ) from problem

    def open(self) -> Any:
        """A binary file object."""
        if self.filesystem is None:
            return open(self.path, "rb")
        return self.filesystem.open_input_file(self.path)

    def local(self) -> str:
        """Its path on this disk; a file from elsewhere is copied first, once."""
        return self.path if self.filesystem is None else self._copy

    @cached_property
    def _copy(self) -> str:
        target = Path(tempfile.mkdtemp(dir=_folder())) / self.name.partition("?")[0]
        try:
            with self.open() as stream, target.open("wb") as out:
                shutil.copyfileobj(stream, out, 1 << 20)
        except OSError as problem:
            raise ExportFormatError(f"{self.url} cannot be read: {reason_of(problem)}") from problem
        return str(target)


def reason_of(problem: Exception) -> str:
    """The first line of what a reader says, and where the keys come from that were refused.

    Examples
    --------
    >>> print(reason_of(OSError("AWS Error ACCESS_DENIED: No response body.")))  # doctest: +ELLIPSIS
    AWS Error ACCESS_DENIED: No response body (keys are taken from the environment: ...)
    """
    reason = str(problem).split("\n")[0].rstrip(".")
    refused = _REFUSED.search(reason)
    return f"{reason} (keys are taken from the environment: {_KEYS})" if refused else reason


def is_url(text: str) -> bool:
    """Whether a path names a scheme."""
    return _SCHEME.match(text) is not None


def of_object(source: Any) -> ExportFile | None:
    """The file behind an open file object, of fsspec or any other kind; None if it is not one."""
    if hasattr(source, "fs") and hasattr(source, "path") and hasattr(source, "open"):  # fsspec's OpenFile
        return ExportFile(source.path, _wrapped(source.fs), str(source.full_name))
    if not callable(getattr(source, "read", None)):
        return None
    content = source.read()
    if isinstance(content, str):
        content = content.encode("utf-8")
    name = Path(str(getattr(source, "path", None) or getattr(source, "name", None) or "events")).name
    folder = Path(tempfile.mkdtemp(dir=_folder()))
    (folder / name).write_bytes(content)
    return ExportFile(str(folder / name), None, name)


def remote_listing(url: str) -> tuple[list[ExportFile], str]:
    """The files of a URL (one, those of a folder, or those that a pattern matches), and their root."""
    if _SECRET.search(url):
        raise ExportFormatError(
            f"the URL {_SECRET.sub('://…@', url)!r} carries a password; leave it out of the URL and put it "
            f"into the environment ({_KEYS})"
        )
    filesystem, path = _opened(url)
    from pyarrow import fs

    try:
        if "%" in path and filesystem.get_file_info(path).type == fs.FileType.NotFound:
            path = unquote(path)
        pattern = next((at for at, sign in enumerate(path) if sign in "*?["), None)
        if pattern is None or filesystem.get_file_info(path).type == fs.FileType.File:
            info = filesystem.get_file_info(path)
            if info.type == fs.FileType.File:
                return [ExportFile(path, filesystem, url)], path
            if info.type != fs.FileType.Directory:
                raise ExportFormatError(f"there is no file {url!r}")
            root, wanted = path, None
        else:
            root = path[:pattern].rpartition("/")[0]
            wanted = _pattern(path)
        listed = filesystem.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
    except OSError as problem:
        raise ExportFormatError(f"{url!r} cannot be reached: {reason_of(problem)}") from problem
    files = [info.path for info in listed if info.type == fs.FileType.File]
    kept = [file for file in sorted(files) if wanted is None or wanted.fullmatch(file)]
    head = url[: url.index("://") + 3]
    return [ExportFile(file, filesystem, head + file) for file in kept], root


def remote_table_format(file: ExportFile, root: str) -> str | None:
    """The table format whose folder holds a remote file, from the root of what was asked for down."""
    from pyarrow import fs

    folder = file.path.rpartition("/")[0]
    while folder and len(folder) >= len(root.rstrip("/")):
        if table_format := _remote_format(file.filesystem, folder, fs):
            return table_format
        folder = folder.rpartition("/")[0]
    return None


def hive_columns(path: str) -> dict[str, str | None]:
    """Columns that the folders of a path state, as in `day=2026-09-07/part-0.parquet`.

    Examples
    --------
    >>> hive_columns("events/day=2026-09-07/plan=pro%20plus/part-0.parquet")
    {'day': '2026-09-07', 'plan': 'pro plus'}
    """
    pairs = (part.partition("=") for part in Path(path).parent.parts if "=" in part)
    texts = {unquote(key): unquote(value) for key, _, value in pairs if key}
    return {key: None if value == _EMPTY else value for key, value in texts.items()}


@cache
def _folder() -> str:
    folder = tempfile.mkdtemp(prefix="canarykit-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _opened(url: str) -> tuple[Any, str]:
    from pyarrow import fs

    scheme = _SCHEME.match(url)[1].lower()  # type: ignore[index]
    if scheme == "file":
        return fs.LocalFileSystem(), unquote(url.partition("://")[2])
    if scheme in {"az", "abfs", "abfss", "wasb", "wasbs"}:
        return _azure(url)
    if scheme in _BY_ARROW:
        address = _escaped(url[len(scheme) :])
        if _BY_ARROW[scheme] == "gs" and "retry_limit_seconds=" not in address:
            address += f"{'&' if '?' in address else '?'}retry_limit_seconds={GS_RETRY_SECONDS}"
        try:
            return fs.FileSystem.from_uri(_BY_ARROW[scheme] + address)
        except (OSError, ValueError) as problem:
            raise ExportFormatError(f"{url!r} cannot be reached: {str(problem).splitlines()[0]}") from problem
    return _by_fsspec(url, scheme)


def _escaped(address: str) -> str:
    """A path as a URI has to have it, signs of a pattern too; what it names is decoded again by pyarrow."""
    options = _OPTIONS.search(address)
    end = len(address) if options is None else options.start()
    return quote(address[:end], safe="/:@") + address[end:]


def _azure(url: str) -> tuple[Any, str]:
    from pyarrow import fs

    account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME") or os.environ.get("AZURE_STORAGE_ACCOUNT")
    kind = getattr(fs, "AzureFileSystem", None)
    if kind is None or account is None:
        return _by_fsspec(url, "az" if url.startswith("az") else url.partition("://")[0])
    key = os.environ.get("AZURE_STORAGE_ACCOUNT_KEY") or os.environ.get("AZURE_STORAGE_KEY")
    return kind(account_name=account, account_key=key), url.partition("://")[2]


def _by_fsspec(url: str, scheme: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise ExportFormatError(
            f"{url!r} needs fsspec: pip install 'canarykit[cloud]' (and the package it names for {scheme}://)"
        ) from None
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as problem:
        raise ExportFormatError(f"{url!r} cannot be reached: {problem}") from problem
    return _wrapped(filesystem), path


def _wrapped(filesystem: Any) -> Any:
    from pyarrow import fs

    class Handler(fs.FSSpecHandler):
        """Files of fsspec whose failures are all of one kind."""

        def get_file_info(self, paths: Any) -> Any:
            with _one_kind_of_failure():
                return super().get_file_info(paths)

        def get_file_info_selector(self, selector: Any) -> Any:
            with _one_kind_of_failure():
                return super().get_file_info_selector(selector)

        def open_input_file(self, path: str) -> Any:
            import pyarrow as pa

            with _one_kind_of_failure():
                return pa.PythonFile(_File(self.fs.open(path, mode="rb")), mode="r")

    return fs.PyFileSystem(Handler(filesystem))


@contextmanager
def _one_kind_of_failure() -> Iterator[None]:
    """Libraries behind fsspec have errors of their own for refused keys and cut connections."""
    try:
        yield
    except OSError:
        raise
    except Exception as problem:
        raise OSError(str(problem) or type(problem).__name__) from problem


class _File(io.RawIOBase):
    """A file of fsspec."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def read(self, size: int = -1) -> bytes:
        with _one_kind_of_failure():
            return bytes(self._file.read(size))

    def close(self) -> None:
        self._file.close()
        super().close()


def _pattern(path: str) -> re.Pattern[str]:
    """A glob as a pattern: `**` crosses folders, `*` and `?` do not."""
    out, at = "", 0
    while at < len(path):
        if path.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
        elif path[at] == "*":
            out, at = out + "[^/]*", at + 1
        elif path[at] == "?":
            out, at = out + "[^/]", at + 1
        elif path[at] == "[" and "]" in path[at + 2 :]:
            end = path.index("]", at + 2)
            inside = path[at + 1 : end].replace("\\", "\\\\")
            out, at = out + "[" + ("^" + inside[1:] if inside[:1] == "!" else inside) + "]", end + 1
        else:
            out, at = out + re.escape(path[at]), at + 1
    return re.compile(out, re.DOTALL)


def _remote_format(filesystem: Any, folder: str, fs: Any) -> str | None:
    for name, inside in (("Delta", "_delta_log"), ("Hudi", ".hoodie"), ("Iceberg", "metadata")):
        try:
            info = filesystem.get_file_info(f"{folder}/{inside}")
            if info.type != fs.FileType.Directory:
                continue
            if name != "Iceberg":
                return name
            listed = filesystem.get_file_info(fs.FileSelector(f"{folder}/{inside}"))
            if any(item.path.endswith(".metadata.json") for item in listed):
                return name
        except OSError:
            return None
    return None
