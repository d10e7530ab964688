"""What a model will hold, told before it is loaded; and how much there is to hold it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.catalog.gguf_header import GgufHeader, Scalar
from ai_core.engine.messages import EngineConfig
from ai_core.residency.estimate import cell_bytes, estimate, size_of
from ai_core.residency.process_memory import budget_for, held_by, memory_limit

DEMO_MODEL = Path(__file__).resolve().parents[4] / "models/neo-demo/neo-demo.gguf"
GIB = 1 << 30


def test_the_cache_of_a_gguf_model_follows_from_its_shape() -> None:
    small = estimate(EngineConfig(model_path=str(DEMO_MODEL), kv_cells=4_096))
    large = estimate(EngineConfig(model_path=str(DEMO_MODEL), kv_cells=8_192))
    # 4 layers, 2 heads of keys and values, 64 wide, 2 bytes.
    assert large.cache - small.cache == 4_096 * 4 * 2 * (64 + 64) * 2
    assert large.total - small.total == large.cache - small.cache
    assert small.parameters > 3_000_000


def test_grouped_heads_take_less() -> None:
    def header(**more: int) -> GgufHeader:
        shape = {"block_count": 32, "attention.head_count": 32, "embedding_length": 4096} | more
        metadata: dict[str, Scalar] = {f"x.{key}": value for key, value in shape.items()}
        metadata["general.architecture"] = "x"
        return GgufHeader(metadata, {}, 0, 0, "", 0, 0)

    assert cell_bytes(header()) == 32 * 32 * 256 * 2
    assert cell_bytes(header(**{"attention.head_count_kv": 8})) == 32 * 8 * 256 * 2
    assert cell_bytes(None) > 0


def test_all_parts_and_all_files_of_a_folder_count(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"m-0000{number}-of-00002.gguf").write_bytes(b"x" * 100)
    assert size_of(tmp_path / "m-00001-of-00002.gguf") == 200
    assert size_of(tmp_path) == 200
    assert size_of(tmp_path / "none") == 0
    folder = estimate(EngineConfig(backend="transformers", model_path=str(tmp_path)))
    assert folder.total > 200


def test_a_file_that_is_no_model_counts_for_its_size_only(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(DEMO_MODEL.read_bytes()[:1_000_000])
    assert estimate(EngineConfig(model_path=str(broken))).cache == 0


def test_the_own_memory_is_measured_as_others_measure_it() -> None:
    own = psutil.Process()
    children = sum(child.memory_info().rss for child in own.children(recursive=True))
    assert held_by(own.pid) == pytest.approx(own.memory_info().rss + children, rel=0.1)
    assert held_by(2**22 + 1) == 0


def test_a_file_that_is_mapped_counts_whole(tmp_path: Path) -> None:
    import mmap

    file = tmp_path / "weights"
    file.write_bytes(b"x" * 300_000_000)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ):
        assert held_by(psutil.Process().pid, [file]) >= 300_000_000


def cgroup_tree(folder: Path, lines: str, files: dict[str, str], total_kib: int) -> tuple[Path, Path]:
    proc, cgroups = folder / "proc", folder / "cgroups"
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text(lines)
    (proc / "meminfo").write_text(f"MemTotal: {total_kib} kB\nMemFree: 1 kB\n")
    for name, text in files.items():
        (cgroups / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroups / name).write_text(text)
    return proc, cgroups


@pytest.mark.parametrize(
    ("lines", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "max\n"}, 8 * GIB),
        ("0::/\n", {"memory.max": f"{2 * GIB}\n"}, 2 * GIB),
        ("0::/a/b\n", {"a/memory.max": f"{3 * GIB}\n", "a/b/memory.max": "max\n"}, 3 * GIB),
        ("4:memory:/x\n", {"memory/x/memory.limit_in_bytes": str(GIB)}, GIB),
        ("4:memory:/x\n", {"memory/memory.limit_in_bytes": str(2**63 - 4096)}, 8 * GIB),
        ("0::/../..\n", {}, 8 * GIB),
    ],
)
def test_the_limit_is_that_of_the_container_or_the_machine(
    tmp_path: Path, lines: str, files: dict[str, str], limit: int
) -> None:
    assert memory_limit(*cgroup_tree(tmp_path, lines, files, 8 * GIB // 1024)) == limit


def test_where_nothing_is_known_there_is_no_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path, tmp_path) == 0
    assert budget_for(0) == 0


@given(st.integers(0, 2**50))
def test_a_reserve_is_left_and_half_is_always_for_models(limit: int) -> None:
    assert limit // 2 <= budget_for(limit) <= limit
    if limit > 16 * GIB:
        assert limit - budget_for(limit) >= 2 * GIB
