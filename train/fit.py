"""`python -m train fit`: train the model; long runs can be stopped and resumed."""

import argparse
import csv
import json
import math
import random
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from grain_model.configuration_grain import GrainConfig
from grain_model.modeling_grain import GrainForInstanceSegmentation
from grain_model.segmentation_loss import segmentation_loss

from .augment import augment
from .datasets import Mixture, TrainingSamples, load_316l, load_instances, load_pseudo_masks, load_tbm

SHARD_SIZE = "15MB"
# Shares of the real sources among the samples where they are given; the rest is synthetic.
REAL_SHARES = {"tbm": 0.02, "self-trained": 0.15}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: checkpoint, curves, model/")
    parser.add_argument("--config", type=Path, help="JSON with any of these options; what is typed wins")
    parser.add_argument("--data", type=Path, help="folder with 316l/ and tbm/ (weak labels)")
    parser.add_argument("--self-trained", type=Path, help="folder with images/ and instances/ made by an earlier model")
    parser.add_argument("--weak-share", type=float, default=0.0, help="share of 316l/ with its weak labels (default 0)")
    parser.add_argument("--pseudo-only", action="store_true", help="the seed's game: train on pseudo masks alone")
    parser.add_argument("--real-only", action="store_true", help="no synthetic micrographs (for the ablation)")
    parser.add_argument("--no-detail", action="store_true", help="no detail branch (for the ablation)")
    parser.add_argument("--backbone", help="Hub id or folder of a Dinov2 model: its weights, frozen")
    parser.add_argument("--train-backbone", action="store_true", help="with --backbone: train it too")
    parser.add_argument("--init", help="model folder, or 'embedded', to start from")
    parser.add_argument("--steps", type=int, default=20000, help="length of the schedule (default 20000)")
    parser.add_argument("--minutes", type=float, help="end the schedule after this time if that comes first")
    parser.add_argument("--batch", type=int, default=32, help="pictures a step (default 32)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 252, 280, 308], help="sides of the cuts in px")
    parser.add_argument("--side", type=int, default=320, help="side of the samples that are cut (default 320)")
    parser.add_argument("--reuse", type=int, default=4, help="how often a sample is cut on average (default 4)")
    parser.add_argument("--pool", type=int, default=2048, help="samples kept for reuse (default 2048)")
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate of the decoder")
    parser.add_argument("--backbone-lr", type=float, default=4e-4, help="peak learning rate of the backbone")
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--warmup", type=int, default=400, help="steps of linear warm-up")
    parser.add_argument("--ema", type=float, default=0.9995, help="decay of the averaged weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that draw samples")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--save-minutes", type=float, default=5.0, help="time between checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")


def run(args: argparse.Namespace) -> int:
    """Train, write curves and checkpoints, and save the averaged model."""
    args.out.mkdir(parents=True, exist_ok=True)
    choices = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items() if k not in ("run", "command")}
    choices = {k: v for k, v in choices.items() if not callable(v)}
    (args.out / "options.json").write_text(json.dumps(choices, indent=2) + "\n")
    trainer = Trainer(args)
    if args.resume:
        trainer.load()
    trainer.train()
    save_model(trainer.averaged_model(), args.out / "model")
    print(f"model saved to {args.out / 'model'}")
    return 0


def build_model(args: argparse.Namespace) -> GrainForInstanceSegmentation:
    """Make the model that a run starts from."""
    if args.init:
        from grain_model.loading import EMBEDDED_WEIGHTS

        folder = EMBEDDED_WEIGHTS if args.init == "embedded" else args.init
        return GrainForInstanceSegmentation.from_pretrained(folder, dtype=torch.float32)
    detail = (0, 0, 0, 0) if args.no_detail else GrainConfig().detail_channels
    if args.backbone:
        return from_backbone(args.backbone, freeze=not args.train_backbone, detail_channels=detail)
    return GrainForInstanceSegmentation(GrainConfig(detail_channels=detail))


def from_backbone(source: str, *, freeze: bool = True, **options: object) -> GrainForInstanceSegmentation:
    """Start a model from the weights of a Dinov2 model, with a fresh decoder."""
    from transformers import AutoModel

    backbone = AutoModel.from_pretrained(source, dtype=torch.float32)
    layers = backbone.config.num_hidden_layers
    depths = sorted({max(round(layers * k / 4), 1) for k in (1, 2, 3, 4)})
    config = GrainConfig(backbone_config=backbone.config, token_depths=depths, **options)
    model = GrainForInstanceSegmentation(config)
    model.backbone.load_state_dict(backbone.state_dict())
    if freeze:
        model.freeze_backbone()
    return model


def build_mixture(args: argparse.Namespace) -> Mixture:
    """Read the real micrographs that a run uses."""
    sources, shares = {}, dict(REAL_SHARES)
    if args.pseudo_only:
        return Mixture({"pseudo": load_pseudo_masks(args.data)}, {"pseudo": 1.0})
    if args.data:
        sources["tbm"] = load_tbm(args.data / "tbm")
    if args.weak_share > 0:
        sources["316l"], shares["316l"] = load_316l(args.data / "316l"), args.weak_share
    if args.self_trained:
        sources["self-trained"] = load_instances(args.self_trained)
    shares = {name: shares[name] for name in sources}
    if args.real_only:
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
        args: Options as `add_arguments` defines them.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        random.seed(args.seed)
        np.random.seed(args.seed)
        torch.manual_seed(args.seed)
        self.args, self.device = args, torch.device(args.device)
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            torch.backends.cuda.matmul.allow_tf32 = True
        self.model = build_model(args).to(self.device).train()
        self.model.decoder.to(memory_format=torch.channels_last)
        self.average = deepcopy(self.model).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, args), betas=(0.9, 0.99), fused=self.device.type == "cuda"
        )
        self.samples = TrainingSamples(args.seed, args.side, build_mixture(args))
        self.fresh = max(args.batch // args.reuse, 1)
        self.progress = Progress()
        self.rows: list[dict[str, float]] = []

    def train(self) -> None:
        """Run until the schedule ends."""
        args, progress = self.args, self.progress
        pool = SamplePool(self.samples, args.pool, self.fresh, 4 * args.batch, args.workers, args.seed, self.device)
        pool.start(progress.step)
        bar = tqdm(initial=progress.step, total=args.steps, desc="fit", unit="step", mininterval=2)
        before, last_save, running = progress.seconds, 0.0, []
        started = time.monotonic()
        while self._done() < 1:
            running.append(self._step(*pool.next(progress.step, args.batch)))
            progress.step += 1
            progress.seconds = before + time.monotonic() - started
            bar.update()
            if progress.step <= 50 or progress.step % 50 == 0:
                loss = float(torch.stack(running).mean())
                running = []
                rate = self.optimizer.param_groups[0]["lr"]
                self.rows.append(
                    {"step": progress.step, "seconds": round(progress.seconds, 2), "loss": loss, "lr": rate}
                )
                bar.set_postfix(loss=f"{loss:.4f}")
            if progress.seconds - before - last_save > 60 * args.save_minutes:
                last_save = progress.seconds - before
                self.save()
        bar.close()
        pool.close()
        self.save()

    def _done(self) -> float:
        """How much of the schedule is over, by steps or by time, 0..1."""
        done = self.progress.step / self.args.steps
        if self.args.minutes:
            done = max(done, self.progress.seconds / (60 * self.args.minutes))
        return done

    def _step(self, images: torch.Tensor, labels: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
        args = self.args
        generator = torch.Generator().manual_seed((args.seed * 1_000_003 + self.progress.step) % 2**63)
        size = args.sizes[int(torch.randint(len(args.sizes), (1,), generator=generator))]
        pixels, ids, distance = augment(images, labels, distance, size, generator)
        pixels = pixels.to(memory_format=torch.channels_last)
        warm = min(1.0, (self.progress.step + 1) / max(args.warmup, 1))
        factor = warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(self._done(), 1.0))))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.model(pixels).logits
        loss = segmentation_loss(logits, ids, self.model.config, distance)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self._update_average()
        return loss.detach()

    @torch.no_grad()
    def _update_average(self) -> None:
        # The memory grows with the run, so that the random start is forgotten at once.
        decay = min(self.args.ema, (1 + self.progress.step) / (10 + self.progress.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)

    def averaged_model(self) -> GrainForInstanceSegmentation:
        """The model with averaged weights and the running statistics of the live one."""
        for ours, theirs in zip(self.average.buffers(), self.model.buffers(), strict=True):
            ours.copy_(theirs)
        return self.average.eval()

    def save(self) -> None:
        """Write the checkpoint and the curves; a crash while writing leaves the old ones."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.progress.step,
            "seconds": self.progress.seconds,
            "rows": self.rows,
        }
        part = self.args.out / "checkpoint.part"
        torch.save(state, part)
        part.replace(self.args.out / "checkpoint.pt")
        write_curves(self.rows, self.args.out)

    def load(self) -> None:
        """Go on from the checkpoint in the run's folder."""
        state = torch.load(self.args.out / "checkpoint.pt", map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(state["step"], state["seconds"])
        self.rows = state["rows"]


class SamplePool:
    """A ring of the latest samples on the training device; drawing is slower than training, so each is cut often.

    The content at a step depends only on the step, so that a resumed run sees the same batches.
    """

    def __init__(
        self,
        samples: TrainingSamples,
        capacity: int,
        fresh: int,
        first: int,
        workers: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.samples, self.fresh, self.seed, self.device = samples, fresh, seed, device
        self.capacity = max(capacity, first)
        self.first, self.workers = first, workers
        side = samples.side
        self.images = torch.zeros((self.capacity, 3, side, side), dtype=torch.uint8, device=device)
        self.labels = torch.zeros((self.capacity, side, side), dtype=torch.int16, device=device)
        self.distance = torch.zeros((self.capacity, side, side), dtype=torch.uint8, device=device)
        self.filled = 0

    def start(self, step: int) -> None:
        """Fill the ring as it stood before `step` and start drawing."""
        end = self.first + step * self.fresh
        begin = max(end - self.capacity, 0)
        loader = DataLoader(
            self.samples,
            batch_size=self.fresh,
            sampler=_CountFrom(begin),
            num_workers=self.workers,
            worker_init_fn=_single_thread,
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


class _CountFrom(torch.utils.data.Sampler):
    """Endless indices from `begin` on."""

    def __init__(self, begin: int) -> None:
        self.begin = begin

    def __iter__(self):
        index = self.begin
        while True:
            yield index
            index += 1


def _single_thread(worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def parameter_groups(model: GrainForInstanceSegmentation, args: argparse.Namespace) -> list[dict]:
    """Split the trainable weights by learning rate and by whether they decay."""
    groups = []
    for part, rate in ((model.backbone, args.backbone_lr), (model.decoder, args.lr)):
        for decays in (True, False):
            weights = [p for p in part.parameters() if p.requires_grad and (p.ndim > 1) == decays]
            if weights:
                decay = args.weight_decay if decays else 0.0
                groups.append({"params": weights, "peak": rate, "lr": rate, "weight_decay": decay})
    return groups


def write_curves(rows: list[dict[str, float]], out: Path) -> None:
    """Write the curves as CSV and as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with (out / "curves.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "seconds", "loss", "lr"])
        writer.writeheader()
        writer.writerows(rows)
    if len(rows) < 2:
        return
    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(8, 5), layout="constrained")
    top.plot([r["step"] for r in rows], [r["loss"] for r in rows], color="tab:blue")
    top.set(ylabel="loss", yscale="log")
    bottom.plot([r["step"] for r in rows], [r["lr"] for r in rows], color="tab:orange")
    bottom.set(ylabel="learning rate", xlabel="step")
    figure.savefig(out / "curves.png", dpi=110)
    plt.close(figure)


def save_model(model: GrainForInstanceSegmentation, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Save a folder that transformers loads without this package: weights, image processor and their code.

    Args:
        model: The model; it is not changed.
        folder: Where to; made if it does not exist.
        dtype: What the weights are stored as, in shards; they are loaded as float32 all the same.
    """
    from transformers.dynamic_module_utils import custom_object_save

    from grain_model.image_processing_grain import GrainImageProcessor
    from grain_model.pipeline_grain import CUSTOM_PIPELINES, GrainCountingPipeline

    stored = deepcopy(model).to("cpu", dtype)
    # A class has one auto class of its own, which transformers adds; this is the second.
    stored.config.auto_map = {"AutoModelForImageSegmentation": "modeling_grain.GrainForInstanceSegmentation"}
    stored.config.custom_pipelines = CUSTOM_PIPELINES
    stored.save_pretrained(folder, max_shard_size=SHARD_SIZE)
    custom_object_save(GrainCountingPipeline, folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    GrainImageProcessor().save_pretrained(folder)
