"""A JupyterLab on loopback with one notebook, headless Chromium to open it, a second way to its kernel."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import nbformat

ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WAIT = 90
"""Seconds that a busy machine may take for what takes one or two."""

QUIET_BROWSER = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def chromium():
    """A headless Chromium that asks nobody but the pages it is shown."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET_BROWSER))
        yield browser
        browser.close()


@contextmanager
def lab(folder, cells):
    """A JupyterLab on loopback whose only notebook holds the cells; gives its address and runtime folder."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    work, runtime = folder / "work", folder / "runtime"
    for each in (work, runtime):
        each.mkdir()
    nbformat.write(notebook, work / "clicks.ipynb")
    home = {
        name: str(folder / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR", "IPYTHONDIR")
    }
    home["JUPYTERLAB_WORKSPACES_DIR"] = str(folder / "workspaces")
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0", "--IdentityProvider.token=", f"--ServerApp.root_dir={work}",
        "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ]  # fmt: skip
    environment = {**os.environ, **home, "JUPYTER_RUNTIME_DIR": str(runtime), "PYTHONPATH": str(ROOT)}
    with open(folder / "lab.log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT)
    try:
        yield _address(server, runtime, folder / "lab.log"), runtime
    finally:
        server.terminate()
        server.wait(30)


def _address(server, runtime, log):
    """Where the server listens, once it answers."""
    until = time.monotonic() + WAIT
    while time.monotonic() < until and server.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            try:
                address = json.loads(file.read_text())["url"]
                with urlopen(f"{address}api/status", timeout=5):
                    return address
            except (OSError, ValueError):
                pass
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


@contextmanager
def kernel_of(runtime):
    """Asks the kernel behind the only notebook for values, as another notebook on it would."""
    from jupyter_client import BlockingKernelClient

    (connection,) = runtime.glob("kernel-*.json")
    client = BlockingKernelClient(connection_file=str(connection))
    client.load_connection_file()
    client.start_channels()

    def ask(expression):
        answer = client.execute_interactive(
            "", user_expressions={"answer": f"__import__('json').dumps({expression})"}, timeout=WAIT,
            store_history=False, output_hook=lambda message: None,
        )  # fmt: skip
        value = answer["content"]["user_expressions"]["answer"]
        assert value["status"] == "ok", value
        return json.loads(eval(value["data"]["text/plain"]))

    yield ask
    client.stop_channels()
