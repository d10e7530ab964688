"""How a request is recognised without keeping its text."""

from __future__ import annotations

import hashlib

import msgspec

from ai_core.engine.messages import Submit
from ai_core.residency.quarantine import Fingerprint


def fingerprint(model: str, request: Submit) -> Fingerprint:
    """SHA-256 of what decides a computation: model, adapter, text, tools, sampling and grammar."""
    text = (request.messages, request.chat, request.prompt, request.inputs)
    computed = (model, request.adapter, *text, request.sampling, request.grammar)
    return hashlib.sha256(msgspec.msgpack.encode(computed)).digest()
