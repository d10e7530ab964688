// Opens the kernels to tests: plain C functions over services/ai-core/native.
#include "attention.h"
#include "q8_0_matmul.h"

#include <cstdlib>

namespace {

template <typename Work, typename Compute>
void with_scratch(const Work & work, int threads, Compute compute) {
    const size_t bytes = (neo::scratch_bytes(work, threads) + 63) / 64 * 64;
    char * scratch = static_cast<char *>(std::aligned_alloc(64, bytes));
    compute(work, scratch, threads);
    std::free(scratch);
}

}  // namespace

extern "C" void neo_multiply(
    const char * weights, const float * activations, float * result, long rows, long columns, long blocks, int threads) {
    const size_t row_bytes = static_cast<size_t>(blocks) * 32 * sizeof(float);
    const neo::MatMul product{
        weights,
        static_cast<size_t>(blocks) * 34,
        reinterpret_cast<const char *>(activations),
        row_bytes,
        reinterpret_cast<char *>(result),
        static_cast<size_t>(columns) * sizeof(float),
        rows,
        columns,
        blocks,
    };
    with_scratch(product, threads, neo::multiply);
}

extern "C" void neo_attend(
    const float * queries, const char * keys, const char * values, const char * mask, float * result, int bf16,
    float scale, long width, long rows, long heads, long kv_heads, long cells, int threads) {
    neo::Attention attention{};
    attention.queries = reinterpret_cast<const char *>(queries);
    attention.query_row_stride = width * sizeof(float);
    attention.query_head_stride = rows * width * sizeof(float);
    attention.keys = keys;
    attention.values = values;
    attention.key_stride = attention.value_stride = 2 * width;
    attention.key_head_stride = attention.value_head_stride = 2 * width * cells;
    attention.mask = mask;
    attention.mask_stride = 2 * cells;
    attention.result = result;
    attention.type = bf16 ? neo::KvType::bf16 : neo::KvType::f16;
    attention.scale = scale;
    attention.width = width;
    attention.rows = rows;
    attention.heads = heads;
    attention.kv_heads = kv_heads;
    attention.cells = cells;
    with_scratch(attention, threads, neo::attend);
}
