"""Two threads that share out pieces of work: the heavy calls (read, hash, compress, write) release the GIL.

Invariant: when ``share_out`` returns or raises, no thread of it runs any more.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

WORKERS = 2
_REPORT_INTERVAL_S = 0.2

Item = TypeVar("Item")
# Called with the bytes done and the bytes there are, on the caller's thread; what it raises ends the work.
Progress = Callable[[int, int], None]


def ignore_progress(done_bytes: int, total_bytes: int) -> None:
    """Report to nobody."""


def share_out(
    items: Iterable[Item],
    make_worker: Callable[[], Callable[[Item], None]],
    *,
    item_bytes: int,
    total_bytes: int,
    progress: Progress = ignore_progress,
) -> None:
    """Give every item to one of two workers, each made in its own thread; the first error ends all.

    ``progress`` hears of ``item_bytes`` more per finished item, a few times a second and at the end.
    """
    remaining = iter(items)
    lock = threading.Lock()
    stopping = threading.Event()
    done_items = 0

    def work() -> None:
        nonlocal done_items
        handle = make_worker()
        while not stopping.is_set():
            with lock:
                item = next(remaining, None)
            if item is None:
                return
            handle(item)
            with lock:
                done_items += 1

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="storage") as pool:
        futures = [pool.submit(work) for _ in range(WORKERS)]
        try:
            while wait(futures, _REPORT_INTERVAL_S, FIRST_EXCEPTION).not_done:
                for future in futures:
                    if future.done():
                        future.result()
                progress(min(done_items * item_bytes, total_bytes), total_bytes)
            for future in futures:
                future.result()
        finally:
            stopping.set()
    progress(total_bytes, total_bytes)
