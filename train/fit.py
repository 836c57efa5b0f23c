"""Training: one run from its options to a saved model; long runs can be stopped and resumed."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from pickle import UnpicklingError

import torch
from tqdm import tqdm

from grain_model.configuration_grain import GrainConfig
from grain_model.interrupts import ENDING_SIGNALS
from grain_model.loading import load_model
from grain_model.modeling_grain import GrainForInstanceSegmentation
from grain_model.segmentation_loss import segmentation_loss
from train.augment import augment
from train.border_loss import border_loss
from train.curves import write_curves
from train.datasets import Mixture, TrainingSamples, load_316l, load_instances, load_pseudo_masks, load_tbm
from train.device import computes_in_bfloat16, find_device
from train.fit_options import FitError, FitOptionError, FitOptions
from train.mask_loss import mask_loss
from train.sample_pool import SamplePool
from train.saving import save_trained_model, writing_run

# The curves have a row for each of the first DENSE_ROWS steps, then one every ROW_EVERY.
DENSE_ROWS = ROW_EVERY = 50


def fit(options: FitOptions) -> Trainer:
    """Train once, or go on with a run, and save the averaged model where the schedule is over.

    On a CPU the same options give the same losses, on the same machine with as many threads.

    Raises:
        FitError: If the run cannot start or go on, its loss is no number any more, or its folder cannot be written to.
        KeyboardInterrupt: After Ctrl-C, when the step in progress has ended and is saved.
        LabelledDataError: If the data are not laid out as expected.
        ModelError: If the model to start from cannot be loaded.
    """
    # Before anything is written: a run that cannot start leaves no folder.
    trainer = Trainer(options)
    refuse_rate_of_frozen_backbone(trainer.model, options, FitOptions.backbone_lr)
    if options.resume:
        trainer.load()
    with writing_run(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
        options.save()
    if trainer.train():
        model = trainer.averaged_model()
        if options.start_share:
            model = mix_weights(model, build_model(options), options.start_share)
        save_trained_model(model, options.out / "model")
        print(f"model saved to {options.out / 'model'}")
    else:
        print(f"stopped at step {trainer.progress.step} of {options.steps}: go on with --resume")
    if trainer.is_interrupted:
        raise KeyboardInterrupt
    return trainer


def refuse_rate_of_frozen_backbone(model: GrainForInstanceSegmentation, options: FitOptions, *defaults: float) -> None:
    """Raise a FitOptionError where a backbone that does not learn is given a learning rate other than the defaults."""
    if model.config.freeze_backbone and options.backbone_lr not in defaults:
        raise FitOptionError(
            "--backbone-lr would be ignored: the backbone is frozen. Expected is --train-backbone beside it. Add that, "
            "or leave out --backbone-lr."
        )


def build_model(options: FitOptions) -> GrainForInstanceSegmentation:
    """Make the model that a run starts from; what no weights are given for is drawn by the run's seed.

    Raises:
        ModelError: If a model to start from cannot be loaded.
    """
    torch.manual_seed(options.seed % 2**63)
    if options.init:
        # A copy, because loaded models are kept for the next caller.
        model = deepcopy(load_model(options.init))
        if options.train_backbone:
            # The model may have been saved with a frozen one.
            model.unfreeze_backbone()
        return model
    detail = (0, 0, 0, 0) if options.no_detail else GrainConfig().detail_channels
    if options.backbone:
        return GrainForInstanceSegmentation.from_backbone(
            options.backbone, freeze=not options.train_backbone, detail_channels=detail
        )
    return GrainForInstanceSegmentation(GrainConfig(detail_channels=detail))


@torch.no_grad()
def mix_weights(
    model: GrainForInstanceSegmentation, other: GrainForInstanceSegmentation, share: float
) -> GrainForInstanceSegmentation:
    """Make a model whose weights and batch statistics are `share` (0..1) of another's and the rest this one's.

    A mean of the weights before and after fine-tuning often does better than both on what neither was trained on
    (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022).
    """
    mixed, theirs = deepcopy(model), other.to(model.device).state_dict()
    for name, ours in mixed.state_dict().items():
        if ours.is_floating_point():
            ours.lerp_(theirs[name], share)
    return mixed


def build_mixture(options: FitOptions) -> Mixture:
    """Read the real micrographs that a run uses.

    Raises:
        LabelledDataError: If they are not laid out as expected.
    """
    if options.pseudo_only:
        return Mixture({"pseudo": load_pseudo_masks(options.data / "316l")}, {"pseudo": 1.0}, zoom=0.0)
    readers = {
        "tbm": lambda: load_tbm(options.data / "tbm"),
        "316l": lambda: load_316l(options.data / "316l"),
        "self-trained": lambda: load_instances(options.self_trained),
    }
    shares = options.real_shares
    sources = {name: readers[name]() for name in shares}
    if options.real_only:
        total = sum(shares.values())
        shares = {name: share / total for name, share in shares.items()}
    return Mixture(sources, shares)


@dataclass
class Progress:
    """Where a run stands."""

    step: int = 0
    seconds: float = 0.0


class Trainer:
    """One training run: model, averaged model, optimiser, samples and curves.

    Args:
        options: What the run depends on.
        model: What it starts from; made from the options if left out.
        mixture: The real micrographs; read as the options say if left out.
        keeps_checkpoints: Whether the run can be gone on with, or its curves are all that it saves.
    """

    def __init__(
        self,
        options: FitOptions,
        model: GrainForInstanceSegmentation | None = None,
        mixture: Mixture | None = None,
        *,
        keeps_checkpoints: bool = True,
    ) -> None:
        torch.manual_seed(options.seed % 2**63)
        self.options, self.keeps_checkpoints = options, keeps_checkpoints
        self.is_interrupted = False
        self.device = find_device(options.device)
        if self.device.type == "cpu":
            # A loss that can be repeated to the last bit, on the same machine with as many threads.
            torch.backends.mkldnn.deterministic = True
            torch.use_deterministic_algorithms(True, warn_only=True)
            # Every step writes its memory before it reads it; filling it first takes an eighth of the time.
            torch.utils.deterministic.fill_uninitialized_memory = False
        else:
            torch.backends.cudnn.benchmark = True
            torch.backends.cuda.matmul.allow_tf32 = True
        self.model = (model or build_model(options)).to(self.device).train()
        if options.keep_statistics:
            for layer in self.model.modules():
                if isinstance(layer, torch.nn.BatchNorm2d):
                    layer.eval()
        self.model.decoder.to(memory_format=torch.channels_last)
        self.average = deepcopy(self.model).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, options), betas=(0.9, 0.99), fused=self.device.type == "cuda"
        )
        self.samples = TrainingSamples(options.seed, options.side, mixture or build_mixture(options))
        self.progress = Progress()
        self.rows: list[dict[str, float]] = []
        # Losses since the last row of the curves.
        self.unwritten: list[torch.Tensor] = []

    def train(self, watch: Callable[[Trainer], bool] | None = None) -> bool:
        """Run until the schedule ends, until `stop_at`, or until Ctrl-C, which sets `is_interrupted`; then save.

        Args:
            watch: Called after every step; says whether to stop here.

        Returns:
            Whether the schedule is over.

        Raises:
            FitError: If the loss is no number any more, or the run's folder cannot be written to.
        """
        options, progress = self.options, self.progress
        pool = SamplePool(self.samples, options, self.device)
        pool.start(progress.step)
        before, last_save = progress.seconds, progress.seconds
        started = time.monotonic()
        bar = tqdm(initial=progress.step, total=options.steps, desc="fit", unit="step", mininterval=2)
        with bar, self._noting_interrupts():
            while not self.is_over():
                self.unwritten.append(self._step(*pool.next(progress.step, options.batch)))
                progress.step += 1
                progress.seconds = before + time.monotonic() - started
                if progress.step <= DENSE_ROWS or progress.step % ROW_EVERY == 0:
                    self._add_row()
                    bar.set_postfix(loss=f"{self.rows[-1]['loss']:.4f}", refresh=False)
                if progress.seconds - last_save > 60 * options.save_minutes:
                    last_save = progress.seconds
                    self.save()
                # Before the bar is drawn, which fails where Ctrl-C has ended its reader, such as `| tee`, as well.
                if self.is_interrupted:
                    break
                bar.update()
                if watch and watch(self):
                    break
            pool.close()
            self.save()
        return self.share_done >= 1

    @contextmanager
    def _noting_interrupts(self) -> Iterator[None]:
        """Take note of Ctrl-C, and of what ends a program like it, instead of breaking off in the midst of a step.

        The second one breaks off.
        """

        def note(*_: object) -> None:
            self.is_interrupted = True
            for number in heeded:
                signal.signal(number, signal.default_int_handler)
            # Not `print`, which may be what was interrupted; and Ctrl-C may have ended the reader.
            with suppress(OSError):
                os.write(2, b"\nstopping after this step; Ctrl-C again breaks off at once\n")

        # Where one is not heeded, as Ctrl-C in the background, that stays so; only the main thread may change it.
        is_main = threading.current_thread() is threading.main_thread()
        heeded = [n for n in ENDING_SIGNALS if is_main and signal.getsignal(n) is signal.default_int_handler]
        for number in heeded:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number in heeded:
                signal.signal(number, signal.default_int_handler)

    def is_over(self) -> bool:
        """Whether this run goes no further: the schedule is over, or `stop_at` is reached."""
        stop_at = self.options.stop_at
        return self.share_done >= 1 or (stop_at is not None and self.progress.step >= stop_at)

    def _add_row(self) -> None:
        loss = self._finite(torch.stack(self.unwritten).mean())
        self.unwritten = []
        rate = self.optimizer.param_groups[0]["lr"]
        seconds = round(self.progress.seconds, 2)
        self.rows.append({"step": self.progress.step, "seconds": seconds, "loss": loss, "lr": rate})

    def _finite(self, loss: torch.Tensor) -> float:
        """Give a loss as a number.

        Raises:
            FitError: If it is none: the model is dead then, and not to be saved.
        """
        if not math.isfinite(number := float(loss)):
            raise FitError(
                f"The loss is {number} at step {self.progress.step}, and the model will not recover. Expected is a "
                "finite number. Take a lower --lr: with --resume where there is a checkpoint.pt, else from the start."
            )
        return number

    @property
    def share_done(self) -> float:
        """How much of the schedule is over, by steps or by time: 0 at the start, 1 at the end."""
        done = self.progress.step / self.options.steps
        if self.options.minutes:
            done = max(done, self.progress.seconds / (60 * self.options.minutes))
        return done

    def _step(self, images: torch.Tensor, labels: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
        options = self.options
        seed = (options.seed * 1_000_003 + self.progress.step) % 2**63
        # Layers that draw at random, such as a backbone's stochastic depth, depend on the step alone too.
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        size = options.sizes[int(torch.randint(len(options.sizes), (1,), generator=generator))]
        pixels, ids, distance = augment(images, labels, distance, size, generator, turns_only=options.pseudo_only)
        pixels = pixels.to(memory_format=torch.channels_last)
        warm = min(1.0, (self.progress.step + 1) / max(options.warmup, 1))
        factor = warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(self.share_done, 1.0))))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        with torch.autocast(self.device.type, torch.bfloat16, enabled=computes_in_bfloat16(self.device)):
            logits = self.model(pixels).logits
        if options.pseudo_only:
            loss = mask_loss(logits, ids)
        else:
            loss = segmentation_loss(logits, ids, self.model.config, distance)
            if options.border_weight > 0:
                loss = loss + options.border_weight * border_loss(logits, ids)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self._update_average()
        return loss.detach()

    @torch.no_grad()
    def _update_average(self) -> None:
        # The memory grows with the run, so that the random start is forgotten at once.
        decay = min(self.options.ema, (1 + self.progress.step) / (10 + self.progress.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)

    def averaged_model(self) -> GrainForInstanceSegmentation:
        """The model with averaged weights and the running statistics of the live one."""
        for ours, theirs in zip(self.average.buffers(), self.model.buffers(), strict=True):
            ours.copy_(theirs)
        return self.average.eval()

    def save(self) -> None:
        """Write the checkpoint, if the run keeps any, and the curves; a crash while writing leaves the old ones.

        Raises:
            FitError: If a loss is no number, which leaves the old checkpoint, too, or they cannot be written.
        """
        unwritten = [self._finite(loss) for loss in self.unwritten]
        with writing_run(self.options.out):
            if self.keeps_checkpoints:
                self._write_checkpoint(unwritten)
            write_curves(self.rows, self.options.out)

    def _write_checkpoint(self, unwritten: list[float]) -> None:
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.progress.step,
            "seconds": self.progress.seconds,
            "rows": self.rows,
            "unwritten": unwritten,
        }
        part = self.options.out / "checkpoint.part"
        try:
            torch.save(state, part)
            part.replace(self.options.out / "checkpoint.pt")
        finally:
            part.unlink(missing_ok=True)

    def load(self) -> None:
        """Go on from the checkpoint in the run's folder.

        Raises:
            FitError: If there is none, it cannot be read, or it is of another model.
        """
        path = self.options.out / "checkpoint.pt"
        if not path.is_file():
            raise FitError(f"There is no {path} to go on from. --resume expects a run's folder. Check --out.")
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except (OSError, EOFError, RuntimeError, ValueError, LookupError, UnpicklingError) as error:
            # What the others say is about pickles.
            told = isinstance(error, OSError | RuntimeError)
            reason = f" ({error})".replace("\n", " ") if told else ""
            raise FitError(
                f"{path} cannot be read{reason}. Expected is the whole checkpoint of a run. Copy it again, or train "
                "anew with another --out."
            ) from error
        try:
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, LookupError, TypeError) as error:
            raise FitError(
                f"{path} is of another model than this run's. Expected is the one that the run began with. Leave out "
                "--init, --backbone, --no-detail and --train-backbone, which the run's options say."
            ) from error
        # Rates and decay are options, and those of today hold.
        for group, own in zip(self.optimizer.param_groups, parameter_groups(self.model, self.options), strict=True):
            group.update(peak=own["peak"], weight_decay=own["weight_decay"])
        self.progress = Progress(state["step"], state["seconds"])
        self.rows = state["rows"]
        self.unwritten = [torch.tensor(loss, device=self.device) for loss in state["unwritten"]]


def parameter_groups(model: GrainForInstanceSegmentation, options: FitOptions) -> list[dict]:
    """Split the trainable weights by learning rate and by whether they decay."""
    groups = []
    for part, rate in ((model.backbone, options.backbone_lr), (model.decoder, options.lr)):
        for decays in (True, False):
            weights = [p for p in part.parameters() if p.requires_grad and (p.ndim > 1) == decays]
            if weights:
                decay = options.weight_decay if decays else 0.0
                groups.append({"params": weights, "peak": rate, "lr": rate, "weight_decay": decay})
    return groups
