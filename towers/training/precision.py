"""In what the products of a step are taken."""

import torch
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from torch.optim import Optimizer

from towers.training.config import Accelerator, Products, TrainConfig


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


def precision_of(config: TrainConfig) -> Precision:
    """Return the precision that was asked for; auto is bfloat16 where the machine has instructions for it."""
    on_gpu = config.accelerator is not Accelerator.cpu and torch.cuda.is_available()
    if config.precision is Products.auto:
        fast = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else _cpu_has_bfloat16()
    else:
        fast = config.precision is Products.bfloat16
    return Bfloat16("cuda" if on_gpu else "cpu") if fast else Precision()


def _cpu_has_bfloat16() -> bool:
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
