// Attention over a KV cache that many sequences share.
//
// Every query row of the mask says which cells it may look at; the others cost nothing but the look
// at the mask. Neighbouring rows that look at nearly the same cells (a prompt being read) are
// computed together, rows of different sequences each for themselves. The heads that share keys and
// values always go together, so each key is fetched and converted once for all of them.
//
// Online softmax: Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018); tiles:
// Dao et al., "FlashAttention" (2022). All sums are kept as 32-bit floats.
#pragma once

#include <cstddef>
#include <cstdint>

namespace neo {

enum class KvType { f16, bf16 };

struct Attention {
    const char * queries;  // [heads][rows][width] floats; strides in bytes below
    size_t query_row_stride;
    size_t query_head_stride;
    const char * keys;     // [kv_heads][cells][width] of `type`
    size_t key_stride;
    size_t key_head_stride;
    const char * values;   // the same shape
    size_t value_stride;
    size_t value_head_stride;
    const char * mask;     // [rows][cells] fp16: added to the scores, -inf for cells not looked at
    size_t mask_stride;
    float * result;        // [rows][heads][width]
    KvType type;
    float scale;
    int64_t width;         // of a head; a multiple of 64
    int64_t rows;
    int64_t heads;
    int64_t kv_heads;
    int64_t cells;
};

size_t scratch_bytes(const Attention & attention, int threads);

// Needs AVX-512 F, BW, VL and DQ.
void attend(const Attention & attention, char * scratch, int threads);

}  // namespace neo
