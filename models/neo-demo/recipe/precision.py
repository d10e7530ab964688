"""Whether this processor trains faster with 16-bit matrix products."""

import time

import torch


def sixteen_bits_pay() -> bool:
    """Times both: with AMX or AVX-512 BF16 they are several times faster, without them slower."""
    return 1.2 * seconds(torch.bfloat16) < seconds(torch.float32)


def seconds(dtype: torch.dtype, rounds: int = 20) -> float:
    """The fastest of some rounds: the others may have been disturbed."""
    left, right = torch.ones(2048, 256, dtype=dtype), torch.ones(256, 768, dtype=dtype)
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        torch.mm(left, right)
        times.append(time.perf_counter() - began)
    return min(times)
