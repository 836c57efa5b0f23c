"""The latest training samples, from which batches are drawn."""

from __future__ import annotations

import itertools
import multiprocessing
import signal

import cv2
import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader

from train.datasets import TrainingSamples
from train.fit_options import FitError, FitOptions


class SamplePool:
    """A ring of the latest samples on the training device; drawing is slower than training, so each is cut often.

    The content at a step depends only on the step, so that a resumed run sees the same batches.

    Raises:
        FitError: If there are to be processes that draw, and the system cannot copy its own.
    """

    def __init__(self, samples: TrainingSamples, options: FitOptions, device: torch.device) -> None:
        if options.workers and "fork" not in multiprocessing.get_all_start_methods():
            raise FitError(
                f"--workers {options.workers} asks for processes that are copied (fork), which this system cannot do. "
                "Expected is 0 here: samples are then drawn between the steps. Add --workers 0."
            )
        self.samples, self.device = samples, device
        self.seed, self.workers = options.seed, options.workers
        self.fresh = max(options.batch // options.reuse, 1)
        # Samples arrive `fresh` at a time, so the ring begins with a whole number of arrivals.
        self.first = -(-4 * options.batch // self.fresh) * self.fresh
        self.capacity = max(options.pool, self.first)
        side = samples.side
        self.images = torch.zeros((self.capacity, 3, side, side), dtype=torch.uint8, device=device)
        self.labels = torch.zeros((self.capacity, side, side), dtype=torch.int16, device=device)
        self.distance = torch.zeros((self.capacity, side, side), dtype=torch.uint8, device=device)
        self.filled = 0

    def start(self, step: int) -> None:
        """Fill the ring as it stood before `step` and start drawing."""
        # Before the processes are copied: each draws with one thread, and none may wait for threads left behind.
        threadpool_limits(1, user_api="blas")
        end = self.first + step * self.fresh
        begin = max(end - self.capacity, 0) // self.fresh * self.fresh
        loader = DataLoader(
            self.samples,
            batch_size=self.fresh,
            sampler=itertools.count(begin),
            num_workers=self.workers,
            worker_init_fn=_start_worker,
            prefetch_factor=4 if self.workers else None,
            pin_memory=self.device.type == "cuda",
            multiprocessing_context="fork" if self.workers else None,
        )
        self.filled = begin
        self.stream = iter(loader)
        while self.filled < end:
            self._take()

    def _take(self) -> None:
        images, labels, distance = next(self.stream)
        slots = torch.arange(self.filled, self.filled + len(images)) % self.capacity
        self.images[slots] = images.to(self.device, non_blocking=True)
        self.labels[slots] = labels.to(self.device, non_blocking=True)
        self.distance[slots] = distance.to(self.device, non_blocking=True)
        self.filled += len(images)

    def next(self, step: int, batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw `batch` samples; then let the ring move on."""
        generator = torch.Generator().manual_seed((self.seed * 7_368_787 + step) % 2**63)
        pick = torch.randint(min(self.filled, self.capacity), (batch,), generator=generator).to(self.device)
        drawn = self.images[pick], self.labels[pick], self.distance[pick]
        self._take()
        return drawn

    def close(self) -> None:
        """Stop the processes that draw."""
        del self.stream


def _start_worker(_: int) -> None:
    # Ctrl-C reaches every process of a terminal; these are needed until the run has ended its step.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Not `use_one_thread`, whose libraries would wait for threads that a copied process does not have.
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
