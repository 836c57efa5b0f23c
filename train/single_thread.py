"""One thread a process, for processes that work side by side."""

import cv2
from threadpoolctl import threadpool_limits


def use_one_thread() -> None:
    """Let OpenCV and the matrix library use one thread in this process.

    Several processes that each start as many threads as there are cores wait for one another: drawing micrographs is
    then four times slower.
    """
    cv2.setNumThreads(1)
    threadpool_limits(1)
