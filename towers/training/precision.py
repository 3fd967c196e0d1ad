"""In what the products of a step are taken."""

import torch
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from torch.optim import Optimizer

from towers.training.config import Accelerator, Products, TrainConfig
from towers.types import RunError


class Bfloat16(MixedPrecision):
    """Products in bfloat16, weights in float32.

    bfloat16 has the range of float32, so nothing is scaled, and Lightning's refusal to clip the
    gradients of a fused optimiser, which is about scaling, does not apply.
    """

    def __init__(self, device: str) -> None:
        super().__init__("bf16-mixed", device)

    def clip_gradients(self, optimizer: Optimizer, *arguments: object, **named: object) -> None:
        """Clip as in float32."""
        Precision.clip_gradients(self, optimizer, *arguments, **named)  # type: ignore[arg-type]


def products_of(config: TrainConfig, begun: str = "auto") -> Products:
    """Return in what a run's products are taken.

    Args:
        config: As asked. For auto a run goes on in what it was begun in, wherever it does; a new one takes bfloat16
            where that is faster, else float32.
        begun: What the run was begun in, auto for a new one.

    Raises:
        RunError: This version knows no such products.
    """
    if begun not in Products.__members__:
        raise RunError(f"the run was begun in precision={begun}, which this version lacks; choose another run=FOLDER")
    asked = config.precision if config.precision is not Products.auto else Products[begun]
    if asked is not Products.auto:
        return asked
    faster = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu(config) else _cpu_gains_by_bfloat16()
    return Products.bfloat16 if faster else Products.float32


def precision_of(config: TrainConfig) -> Precision:
    """Return Lightning's plugin for it."""
    if products_of(config) is Products.float32:
        return Precision()
    return Bfloat16("cuda" if on_gpu(config) else "cpu")


def on_gpu(config: TrainConfig) -> bool:
    """Return whether training is on a GPU here."""
    return config.accelerator is not Accelerator.cpu and torch.cuda.is_available()


def _cpu_gains_by_bfloat16() -> bool:
    """Return whether products in bfloat16 outrun float32's here, by the processor's kind: see benchmarks/README.md.

    They do with AMX and with an EPYC's avx512_bf16, not with that of an Intel Xeon whose AMX a hypervisor hides.
    """
    if not hasattr(torch.cpu, "get_capabilities"):  # torch before 2026 does not tell whose processor it is
        return torch.cpu._is_amx_tile_supported()
    able = torch.cpu.get_capabilities()
    with_avx = able.get("avx512_bf16", False) and "Intel" not in able.get("cpu_name", "")
    return bool(able.get("amx_bf16", False) or with_avx)
