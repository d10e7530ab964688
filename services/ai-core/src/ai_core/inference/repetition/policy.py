"""Whether an answer may stand for another, and what has to be equal for it. Pure."""

from __future__ import annotations

import msgspec

from ai_core.engine.messages import Sampling, Submit
from ai_core.inference.requests import CachePolicy

SCHEDULING = frozenset({"id", "priority", "fairness_key", "timeout", "alone"})
"""Fields of a request that say when it is computed, not what comes out. Every other field counts, also
one that is added tomorrow: a needless miss is better than a wrong answer."""

_encode = msgspec.msgpack.Encoder().encode


def deterministic(sampling: Sampling) -> bool:
    """Whether the same request has the same answer: no choice is left to chance, or chance has a seed."""
    return sampling.temperature == 0 or sampling.seed is not None


def applies(policy: CachePolicy, submit: Submit) -> bool:
    """Whether a request may be answered with what another one got."""
    return policy == "always" or (policy == "auto" and deterministic(submit.sampling))


def identity(submit: Submit, variant: int) -> bytes:
    """The same bytes for requests with the same answer. The order of fields in a schema counts: a model
    reads them in that order.

    Args:
        variant: which of several choices this is. Those of a deterministic request are told apart by
            their seeds, or are the same.
    """
    sampling = msgspec.structs.replace(
        submit.sampling, logit_bias=dict(sorted(submit.sampling.logit_bias.items()))
    )
    fields = {name: getattr(submit, name) for name in submit.__struct_fields__ if name not in SCHEDULING} | {
        "sampling": sampling
    }
    return _encode((0 if deterministic(sampling) else variant, fields))
