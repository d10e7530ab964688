"""Words and an example for each field of what is told about models; as ``request_fields``."""

from __future__ import annotations

from ai_core.api.description.request_fields import FieldText

_FILES = {
    "format": "gguf",
    "architecture": "qwen3",
    "quantization": "Q8_0",
    "trained_context": 2048,
    "size_bytes": 8_537_728,
    "problem": None,
}
_MEMORY = {"resident_bytes": 131_072_000, "weights_bytes": 8_394_240, "max_bytes": None}
_SETTINGS = {
    "context_length": None,
    "threads": None,
    "device": "auto",
    "quantization": "none",
    "max_sequences": None,
    "keep_alive": None,
    "pinned": False,
    "preload": True,
    "weight": 1.0,
    "own_chat_template": False,
    "trust_remote_code": False,
}
_TYPE = "Of its files: 'gguf', 'transformers' (safetensors), 'onnx'; 'remote': on another server."

MODEL_FIELDS: dict[str, FieldText] = {
    "ModelFacts.type": (_TYPE, "gguf"),
    "ModelDetails.type": (_TYPE, "gguf"),
    "ModelDetails.name": ("The name to use as 'model'.", "neo-demo"),
    "ModelDetails.description": ("What the file says of itself.", "qwen3 6M Q8_0"),
    "engine": ("What computes it; null where nobody knows.", "llama.cpp"),
    "engine_reason": ("Why this engine.", "The models file says so."),
    "ModelFacts.adapters": ("LoRA adapters that requests may name.", ["formal"]),
    "ModelDetails.adapters": ("LoRA adapters that requests may name.", ["formal"]),
    "ModelRemoved.name": ("The model's name.", "mistral-7b-instruct"),
    "was_here": ("False: there was nothing to delete.", True),
    "freed_bytes": ("Of the disk; 0 too where another model needs the same files.", 4_372_812_000),
    "last_used_at": (
        "When a request last came or ended; null: none did since the start, or it is computed elsewhere.",
        "2026-11-21T11:32:39+00:00",
    ),
    "fallback": ("The model that answers while this one is out of service.", None),
    "files": ("What its files say; null where they are not here, or not known.", _FILES),
    "FileFacts.format": ("Of the files.", "gguf"),
    "FileFacts.quantization": ("How most weights are stored.", "Q8_0"),
    "architecture": ("As the files name it.", "qwen3"),
    "trained_context": ("Tokens that it was trained for.", 2048),
    "size_bytes": ("On the disk.", 8_537_728),
    "problem": ("Why the files cannot be served, as far as can be seen from outside.", None),
    "repository": ("On the hub; null for other models.", "Qwen/Qwen3-0.6B-GGUF"),
    "ModelDetails.revision": ("Of that repository.", "main"),
    "ModelDetails.path": ("What an engine opens; null without the scope 'admin'.", None),
    "upstream_url": ("Where a remote model is; null without the scope 'admin'.", None),
    "missing": ("What requests may not ask of this engine.", []),
    "prefix": ("Which common beginnings of prompts are computed once.", "any"),
    "memory": ("What it holds, and what the models file allows.", _MEMORY),
    "resident_bytes": ("Of the engine process, as the engine last said; 0: none.", 131_072_000),
    "weights_bytes": ("Of the weights.", 8_394_240),
    "max_bytes": ("'max_memory' of the models file.", None),
    "ModelDetails.requests": ("How many it has.", {"running": 1, "waiting": 0}),
    "settings": ("What the models file says; null: the server's default.", _SETTINGS),
    "threads": ("Cores for it.", None),
    "device": ("Where it is computed.", "auto"),
    "ModelSettings.quantization": ("In which it is loaded, or which GGUF file is preferred.", "none"),
    "preload": ("Whether it is loaded when the server starts.", False),
    "weight": ("How much its loads count when room is needed.", 1.0),
    "own_chat_template": ("Whether the models file gives a chat template instead of the model's own.", False),
    "trust_remote_code": ("Whether code from the model's folder may run.", False),
    "sampling": ("What counts where requests leave these fields out.", {"temperature": 0.2}),
    "system_prompt": (
        "Put before conversations without a system message; null without the scope 'admin'.",
        None,
    ),
    "added": ("Models that are new.", ["qwen3-0.6b"]),
    "changed": ("Models that are served otherwise than before.", []),
    "removed": ("Models that are served no longer.", []),
    "unchanged": ("Models that go on as they were.", ["neo-demo"]),
}
