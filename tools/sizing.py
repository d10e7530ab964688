"""Which model fits on which server: prints the table of deploy/README.md, from the AI core's own estimates.

    .venv/bin/python tools/sizing.py

No model has to be here. For each, a GGUF file is laid out that has its shape and its size and no weights, and
the AI core is asked what it would reserve for it before it loads it (``ai_core.residency.estimate``). It
estimates rather too much than too little; what a loaded model holds is shown by ``ai-core models list``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gguf import GGMLQuantizationType, GGUFWriter
from msgspec import structs

from ai_core.catalog.gguf_header import read_header
from ai_core.engine.messages import EngineConfig
from ai_core.residency.estimate import cell_bytes, estimate
from ai_core.residency.process_memory import budget_for

GB = 10**9
SERVERS = (4, 8, 16, 32, 64)
"""Gigabytes of memory, as they are offered."""
OTHERS = 1.5 * GB
"""For the system and the rest of the suite, without ClamAV."""
CHAT = 2_000
"""Tokens of a chat: its instructions, a question with what was said before, and the answer."""


@dataclass(frozen=True, slots=True)
class Shape:
    """As the ``config.json`` beside the model's weights says."""

    name: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    inner: int
    """Width of the feed-forward layers."""
    vocabulary: int
    tied: bool
    """The output uses the matrix of the input's embeddings."""
    head_width: int = 128

    @property
    def parameters(self) -> int:
        """Weights, norms left out."""
        attention = self.width * self.head_width * (2 * self.heads + 2 * self.kv_heads)
        layer = attention + 3 * self.width * self.inner
        return self.layers * layer + self.vocabulary * self.width * (1 if self.tied else 2)


@dataclass(frozen=True, slots=True)
class Form:
    """How the weights are stored."""

    name: str
    kind: GGMLQuantizationType
    bits: float
    """Per weight, of whole files: scales, and the tensors that are kept finer, included."""
    openvino: bool
    """OpenVINO reads it, too."""


SHAPES = (
    Shape("Qwen3-0.6B", 28, 1024, 16, 8, 3072, 151_936, tied=True),
    Shape("Qwen3-1.7B", 28, 2048, 16, 8, 6144, 151_936, tied=True),
    Shape("Qwen3-4B", 36, 2560, 32, 8, 9728, 151_936, tied=True),
    Shape("Mistral-7B-Instruct-v0.3", 32, 4096, 32, 8, 14_336, 32_768, tied=False),
    Shape("Qwen3-8B", 36, 4096, 32, 8, 12_288, 151_936, tied=False),
    Shape("Qwen3-14B", 40, 5120, 40, 8, 17_408, 151_936, tied=False),
)
FORMS = (
    Form("Q8_0", GGMLQuantizationType.Q8_0, 8.5, openvino=True),
    Form("Q4_K_M", GGMLQuantizationType.Q4_K, 4.9, openvino=False),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One model in one form. Bytes."""

    model: str
    file: int
    llama_cpp: int
    openvino: int | None
    per_chat: int


def rows(folder: Path) -> Iterator[Row]:
    """All models in all forms; files are laid out in ``folder``, one after the other."""
    for shape in SHAPES:
        for form in FORMS:
            path = lay_out(shape, form, folder)
            config = EngineConfig(model_path=str(path))
            by_openvino = structs.replace(config, backend="openvino")
            yield Row(
                f"{shape.name} {form.name}",
                path.stat().st_size,
                estimate(config).total,
                estimate(by_openvino).total if form.openvino else None,
                CHAT * cell_bytes(read_header(path)),
            )
            path.unlink()


def server_for(needed: int | None) -> str:
    """The smallest that holds so much beside the rest of the suite."""
    fitting = (size for size in SERVERS if needed and budget_for(int(size * GB - OTHERS)) >= needed)
    return f"{size} GB" if (size := next(fitting, None)) else "–"


def lay_out(shape: Shape, form: Form, folder: Path) -> Path:
    """A file as large as the model's, of which the disk keeps the header only."""
    path = folder / f"{shape.name}-{form.name}.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(32_768)
    writer.add_block_count(shape.layers)
    writer.add_embedding_length(shape.width)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    # How long the list is counts, not what it says.
    writer.add_array("tokenizer.ggml.tokens", bytes(shape.vocabulary))
    size = int(shape.parameters * form.bits / 8)
    writer.add_tensor_info("weights", [shape.parameters // 256, 256], None, size, raw_dtype=form.kind)  # type: ignore[arg-type]
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        file.truncate(file.seek(0, 2) + size)
    return path


def table() -> str:
    """As Markdown."""
    head = ("model", "file", "with llama.cpp", "server", "with OpenVINO", "server", "of it each chat")
    with tempfile.TemporaryDirectory() as folder:
        body = [
            (
                row.model,
                in_gb(row.file),
                *(in_gb(row.llama_cpp), server_for(row.llama_cpp)),
                *(in_gb(row.openvino), server_for(row.openvino)),
                f"{row.per_chat / 10**6:.0f} MB",
            )
            for row in rows(Path(folder))
        ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *body))


def in_gb(count: int | None) -> str:
    """Bytes in words."""
    return f"{count / GB:.1f} GB" if count else "–"


if __name__ == "__main__":
    print(table())
