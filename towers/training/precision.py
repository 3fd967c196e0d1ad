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
    """Return the precision that was asked for; auto is bfloat16 where it is faster."""
    on_gpu = config.accelerator is not Accelerator.cpu and torch.cuda.is_available()
    if config.precision is Products.auto:
        fast = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else _cpu_gains_by_bfloat16()
    else:
        fast = config.precision is Products.bfloat16
    return Bfloat16("cuda" if on_gpu else "cpu") if fast else Precision()


def _cpu_gains_by_bfloat16() -> bool:
    """Return whether products in bfloat16 outrun float32's here: by the processor's kind, so that a resumed run agrees.

    Measured (benchmarks/README.md): five times as fast with AMX and nearly twice with an EPYC's avx512_bf16, but half
    as fast with that of an Intel Xeon whose AMX a hypervisor hides.
    """
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}  # old torch: float32
    with_avx = able.get("avx512_bf16", False) and "Intel" not in able.get("cpu_name", "")
    return bool(able.get("amx_bf16", False) or with_avx)
