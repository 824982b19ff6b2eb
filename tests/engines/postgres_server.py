"""A PostgreSQL server of one's own, where Debian's package or the search path has the programs."""

import contextlib
import glob
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


class NoServerError(Exception):
    """No PostgreSQL server is installed."""


def program(name: str) -> str | None:
    """A program of the server, where Debian or the search path has it."""
    return shutil.which(name) or max(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), default=None)


@contextlib.contextmanager
def serving(settings: str = "") -> Iterator[dict[str, object]]:
    """Where to connect: a server with a folder of its own, on a free port; gone with its use."""
    initdb, control = program("initdb"), program("pg_ctl")
    if initdb is None or control is None:
        raise NoServerError("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    base = Path(tempfile.mkdtemp())  # other users cannot look into folders of pytest's
    data, as_user = base / "data", []
    if os.getuid() == 0:  # it refuses to run as root
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(base, "postgres")
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off {settings}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True, "cwd": base}
    prepare = [*as_user, initdb, "-D", str(data), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(prepare, **quiet)
    server = [*as_user, control, "-D", str(data), "-w", "-l", str(base / "log")]
    subprocess.run([*server, "-o", options, "start"], **quiet)
    try:
        yield {"host": "127.0.0.1", "port": port, "user": "postgres"}
    finally:
        subprocess.run([*server, "-m", "immediate", "stop"], **quiet)
        shutil.rmtree(base)
