"""Time contenders turn by turn in one run, after checking that they give the same answer."""

import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROUNDS = 3


@dataclass(frozen=True)
class Contender:
    """One way to get the answer.

    `rows` is how many of the benchmark's rows it handles in a call (None: all): a slow peer may run on a
    sample, its time is then scaled up and its line says `peer_rows`. `answer` turns what `run` returns into
    something `same` can compare; it is called once, outside the clock.
    """

    run: Callable[[], Any]
    rows: int | None = None
    answer: Callable[[Any], Any] = lambda result: result


def compare(
    bench: str,
    size: int,
    ours: Contender | Callable[[], Any],
    peers: Mapping[str, Contender | Callable[[], Any]],
    *,
    same: Callable[[Any, Any], bool] | None = None,
    rounds: int = ROUNDS,
    warmups: int = 1,
) -> Iterator[dict[str, Any]]:
    """Lines of one comparison: `{"bench", "size", "ours_s", "peer", "peer_s", "ratio", "peak_mb", ...}`.

    Every contender runs `warmups` times untimed, in turn (which also compiles and fills caches; the first
    run yields the answer for `same(ours, theirs)`), then `rounds` times in turn; the medians are compared.
    One untimed run is enough but for a virtual machine that compiles what it has run often. `peak_mb` is the
    memory our own first call needed beyond what was loaded before it. `ratio` is peer_s / ours_s, `cpu_ratio`
    the same of this process's processor time over all threads: on a busy machine the steadier number, and for
    contenders of one thread the same thing; a peer that works in another process is not in it.
    """
    mine = ours if isinstance(ours, Contender) else Contender(ours)
    others = {name: peer if isinstance(peer, Contender) else Contender(peer) for name, peer in peers.items()}
    result, peak_mb = peak_of(mine.run)
    wanted = mine.answer(result)
    del result
    for name, peer in others.items():
        got = peer.answer(peer.run())
        if same is not None and not same(wanted, got):
            raise AssertionError(
                f"{bench}: {name} gives another answer than ours; a ratio would mean nothing"
            )
    del wanted
    for _ in range(warmups - 1):
        for contender in (mine, *others.values()):
            contender.run()
    spent: dict[str, list[tuple[float, float]]] = {"": [], **{name: [] for name in others}}
    for _ in range(rounds):
        for name, contender in {"": mine, **others}.items():
            scale = size / (contender.rows or size)
            wall, cpu = stopwatch(contender.run)
            spent[name].append((wall * scale, cpu * scale))
    ours_s, ours_cpu = (statistics.median(clock) for clock in zip(*spent[""], strict=True))
    for name, peer in others.items():
        peer_s, peer_cpu = (statistics.median(clock) for clock in zip(*spent[name], strict=True))
        line: dict[str, Any] = {
            "bench": bench,
            "size": size,
            "ours_s": significant(ours_s),
            "peer": name,
            "peer_s": significant(peer_s),
            "ratio": significant(peer_s / ours_s),
            "peak_mb": round(peak_mb, 1),
            "cpu_ratio": significant(peer_cpu / ours_cpu),
        }
        if peer.rows is not None and peer.rows != size:
            line["peer_rows"] = peer.rows
        yield {**line, **processor()}


def timed(run: Callable[[], Any]) -> float:
    """Seconds of one call by the clock on the wall."""
    return stopwatch(run)[0]


def stopwatch(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of one call, on the wall and on the processor; its result is freed after the clocks stop."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    seconds = time.perf_counter() - wall, time.process_time() - cpu
    del result
    return seconds


def peak_of(run: Callable[[], Any]) -> tuple[Any, float]:
    """The result of one call, and the MB by which it raised this process above where it stood."""
    gc.collect()
    reset = Path("/proc/self/clear_refs")
    try:
        reset.write_text("5")  # Linux: start the high-water mark afresh
    except OSError:
        import resource

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        result = run()
        unit = 1024 if sys.platform != "darwin" else 1024**2
        return result, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit
    before = status_mb("VmRSS")
    result = run()
    return result, max(0.0, status_mb("VmHWM") - before)


def processor() -> dict[str, Any]:
    """The processor's name and the bits of its widest integer vectors, which compiled kernels use."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    widths = {"avx512bw": 512, "avx2": 256, "sse2": 128, "neon": 128}
    bits = max((width for name, width in widths.items() if features.get(name)), default=0)
    return {"processor": _processor_name() or binding.get_host_cpu_name(), "vector_bits": bits}


def significant(value: float, digits: int = 4) -> float:
    """`value` to a few significant digits, for printing."""
    return float(f"{value:.{digits}g}")


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def status_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0
