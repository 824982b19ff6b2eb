"""Events behind URLs, on a real S3 server and a web server on this machine: read, refused, cut off."""

import io
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

import canarykit as ck
from canarykit.errors import ExportFormatError

READ = [ck.read_posthog, ck.scan_posthog]


def events(*people, day="2026-09-07"):
    times = pd.date_range(f"{day} 09:00", periods=len(people), freq="h", tz="UTC")
    return pd.DataFrame({"event": "paid", "timestamp": times, "distinct_id": people})


def people_of(log):
    return sorted(log.select(["person_id"])["person_id"])


@pytest.fixture(scope="module")
def server():
    moto = pytest.importorskip("moto.server")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def bucket(server, monkeypatch):
    """An S3 bucket with one folder a day; everything about the server is said in the environment."""
    from pyarrow import fs

    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    store = fs.S3FileSystem(endpoint_override=environment["AWS_ENDPOINT_URL"], allow_bucket_creation=True)
    store.create_dir("releases")
    for who, day in (("ada", "2026-09-07"), ("bob", "2026-09-08")):
        content = io.BytesIO()
        events(who, day=day).to_parquet(content)
        with store.open_output_stream(f"releases/events/day={day}/part 0%.parquet") as out:
            out.write(content.getvalue())
    yield environment["AWS_ENDPOINT_URL"]
    _checks_keys(environment["AWS_ENDPOINT_URL"], after="inf")


def _checks_keys(endpoint, after="0"):
    """Let the server refuse keys that it does not know, from so many requests on."""
    import urllib.request

    request = urllib.request.Request(
        f"{endpoint}/moto-api/reset-auth", after.encode(), {"Content-Type": "text/plain"}, method="POST"
    )
    urllib.request.urlopen(request).close()


@pytest.mark.parametrize("read", READ)
def test_a_bucket_is_read_by_folder_by_pattern_and_by_file_with_the_days_of_its_folders(read, bucket):
    log = read("s3://releases/events")
    assert people_of(log) == ["ada", "bob"]
    assert set(log.select(["day"])["day"]) == {"2026-09-07", "2026-09-08"}
    assert people_of(read("s3://releases/events/day=2026-09-0[78]/*.parquet")) == ["ada", "bob"]
    assert people_of(read("s3://releases/events/day=2026-09-07/part 0%.parquet")) == ["ada"]
    assert people_of(read("s3://releases/events/day%3D2026-09-08/part%200%25.parquet")) == ["bob"]
    with pytest.raises(ExportFormatError, match="there is no file 's3://releases/none"):
        read("s3://releases/none.parquet")


def test_a_key_that_is_refused_is_a_sentence_that_says_where_keys_come_from(bucket):
    log = ck.scan_posthog("s3://releases/events")
    _checks_keys(bucket)
    with pytest.raises(
        ExportFormatError, match=r"'s3://releases/events' cannot be reached.*AWS_ACCESS_KEY_ID"
    ):
        ck.read_posthog("s3://releases/events")
    with pytest.raises(ExportFormatError, match=r"^part 0%.parquet.* cannot be read: .*AWS_ACCESS_KEY_ID"):
        log.event_names()
    with pytest.raises(ExportFormatError, match=r"^part 0%.parquet.* cannot be read"):
        people_of(log)


@pytest.mark.parametrize("url", ["s3://key:hush@releases/events", "https://ada:hush@host/events.parquet"])
def test_a_password_in_a_url_is_refused_and_not_repeated(url):
    with pytest.raises(ExportFormatError, match="carries a password; leave it out") as refused:
        ck.read_posthog(url)
    assert "hush" not in str(refused.value)


class _Cut(SimpleHTTPRequestHandler):
    """A web server whose answers end after `limit` bytes, if that is set, whatever length they announced."""

    limit = None

    def copyfile(self, source, outputfile):
        outputfile.write(source.read() if self.limit is None else source.read()[: self.limit])
        self.close_connection = True

    def log_message(self, *words):
        pass


@pytest.fixture
def web(tmp_path, monkeypatch):
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(_Cut, "limit", None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Cut, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    events("ada", "bob").to_parquet(tmp_path / "events.parquet")
    lines = events("ada", "bob").to_json(orient="records", lines=True, date_format="iso")
    (tmp_path / "events.jsonl").write_text(lines)
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("name", ["events.parquet", "events.jsonl"])
def test_a_file_of_a_web_server_is_read_and_one_cut_short_is_told(read, name, web, monkeypatch):
    assert people_of(read(f"{web}/{name}")) == ["ada", "bob"]
    monkeypatch.setattr(_Cut, "limit", 40)
    with pytest.raises(ExportFormatError, match=r"cannot be re|cut short"):
        people_of(read(f"{web}/{name}"))
    with pytest.raises(ExportFormatError, match="there is no file"):
        read(f"{web}/none.parquet")


def test_a_failure_of_any_library_behind_a_url_is_a_sentence():
    """As with Azure's, whose error for a key that is refused is one of its own."""
    fsspec = pytest.importorskip("fsspec")

    class RefusedError(Exception):
        pass

    class Closed(fsspec.AbstractFileSystem):
        protocol = "closed"

        def info(self, path, **options):
            raise RefusedError("Server failed to authenticate the request.\nRequestId: 7")

    fsspec.register_implementation("closed", Closed, clobber=True)
    with pytest.raises(
        ExportFormatError, match=r"cannot be reached: Server failed.*AZURE_STORAGE"
    ) as refused:
        ck.read_posthog("closed://releases/events")
    assert "RequestId" not in str(refused.value)


def test_google_s_store_is_not_asked_for_a_quarter_of_an_hour(monkeypatch):
    from canarykit.events import locations

    monkeypatch.setattr(locations, "GS_RETRY_SECONDS", 0.5)
    monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", "http://127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(ExportFormatError, match="'gs://anonymous@releases/events' cannot be reached"):
        ck.scan_posthog("gs://anonymous@releases/events")
    assert time.monotonic() - begun < 60
