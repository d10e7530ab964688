"""The engine process: ``python -m ai_core.engine FD JSON`` (see ``messages.EngineConfig``).

One model, one thread. It ends when it is told to, or when the API process closes its end of the
socket; signals meant for the whole process group (Ctrl-C, a service manager's TERM) are left to
the API process, which drains first.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable

import msgspec

from ai_core.engine.backends.loading import CannotLoad, Loaded, LoadedEmbedder
from ai_core.engine.backends.port import Restful
from ai_core.engine.backends.registry import load
from ai_core.engine.chat.abilities import Abilities
from ai_core.engine.chat.template import BadTemplate, ChatTemplate
from ai_core.engine.constraints.compiler import GrammarCompiler
from ai_core.engine.constraints.compiling import tokenizer_for
from ai_core.engine.embedding.host import EmbeddingHost
from ai_core.engine.embedding.intake import EmbeddingIntake
from ai_core.engine.host import Host
from ai_core.engine.intake import Intake
from ai_core.engine.last_words import keep_texts_out
from ai_core.engine.loop import Loop, Wire, resident_bytes
from ai_core.engine.messages import EngineConfig, LoadFailed, Loading, Ready

PROGRESS_SECONDS = 0.2
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""Models are fetched elsewhere: what a library or a model's own code would ask a hub for, it asks nobody."""
FAILED_TO_LOAD = 4
"""Exit status after ``LoadFailed``."""


def main(arguments: list[str]) -> int:
    keep_texts_out()
    os.environ.update(OFFLINE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    descriptor, text = arguments
    config = msgspec.json.decode(text, type=EngineConfig)
    with socket.socket(fileno=int(descriptor)) as sock:
        return serve(Wire(sock), config)


def serve(wire: Wire, config: EngineConfig) -> int:
    """Load the model and run until told to end. Returns the exit status."""
    started = time.monotonic()
    try:
        loaded = load(config, _progress_reporter(wire))
        template = None if isinstance(loaded, LoadedEmbedder) else _template(loaded, config.chat_template)
    except (CannotLoad, BadTemplate) as error:
        wire.send(LoadFailed("cannot_load", str(error)))
        return FAILED_TO_LOAD
    if isinstance(loaded, LoadedEmbedder):
        return _serve_embeddings(wire, config, loaded, time.monotonic() - started)
    vocabulary = loaded.backend.capabilities().vocabulary
    compiler = GrammarCompiler(tokenizer_for(loaded.vocabulary, vocabulary), vocabulary)
    wire.send(_ready(loaded, template, seconds=time.monotonic() - started))
    host = Host(
        loaded.backend,
        loaded.vocabulary,
        Intake(
            loaded.vocabulary,
            template,
            loaded.backend.capabilities(),
            config.max_prompt_tokens,
            loaded.adapters,
        ),
        compiler,
        max_waiting=config.max_waiting,
        clock=time.monotonic,
        send=wire.send,
        resident_bytes=resident_bytes,
    )
    host.coalesces &= config.coalescing
    wire.watch(compiler.fileno(), host.take_compiled)
    try:
        Loop(wire, host, time.monotonic).run()
    finally:
        compiler.close()
        loaded.backend.close()
    return 0


def _serve_embeddings(wire: Wire, config: EngineConfig, loaded: LoadedEmbedder, seconds: float) -> int:
    wire.send(_ready_for_embeddings(loaded, seconds))
    host = EmbeddingHost(
        loaded.embedder,
        EmbeddingIntake(loaded.vocabulary, loaded.embedder.capabilities(), config.max_prompt_tokens),
        max_waiting=config.max_waiting,
        clock=time.monotonic,
        send=wire.send,
        resident_bytes=resident_bytes,
    )
    try:
        Loop(wire, host, time.monotonic).run()
    finally:
        loaded.embedder.close()
    return 0


def _template(loaded: Loaded, instead: str | None) -> ChatTemplate | None:
    vocabulary = loaded.vocabulary
    source = vocabulary.chat_template if instead is None else instead
    return None if source is None else ChatTemplate(source, vocabulary.bos_text, vocabulary.eos_text)


def _progress_reporter(wire: Wire) -> Callable[[float], None]:
    due = 0.0

    def report(progress: float) -> None:
        nonlocal due
        now = time.monotonic()
        if progress >= 1.0 or now >= due:
            due = now + PROGRESS_SECONDS
            wire.send(Loading(progress))

    return report


def _ready(loaded: Loaded, template: ChatTemplate | None, *, seconds: float) -> Ready:
    capabilities = loaded.backend.capabilities()
    abilities = Abilities() if template is None else template.abilities
    return Ready(
        backend=capabilities.name,
        description=loaded.description,
        context_length=capabilities.context_length,
        kv_cells=capabilities.kv_cells,
        max_sequences=capabilities.max_sequences,
        vocabulary=capabilities.vocabulary,
        parameters=loaded.parameters,
        has_chat_template=template is not None,
        supports_tools=abilities.calls is not None,
        supports_reasoning=abilities.thinking is not None,
        prefix=capabilities.prefix,
        missing=sorted(capabilities.missing),
        adapters=list(capabilities.adapters),
        can_rest=isinstance(loaded.backend, Restful),
        load_seconds=seconds,
        weights_bytes=loaded.weights_bytes,
    )


def _ready_for_embeddings(loaded: LoadedEmbedder, seconds: float) -> Ready:
    capabilities = loaded.embedder.capabilities()
    return Ready(
        backend=capabilities.name,
        description=loaded.description,
        context_length=capabilities.context_length,
        kv_cells=0,
        max_sequences=capabilities.inputs,
        vocabulary=capabilities.vocabulary,
        parameters=loaded.parameters,
        has_chat_template=False,
        prefix="none",
        load_seconds=seconds,
        weights_bytes=loaded.weights_bytes,
        kind="embedding",
        dimensions=capabilities.dimensions,
        pooling=capabilities.pooling,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
