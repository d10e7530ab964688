// The product of Q8_0 weights with many rows of activations at once.
//
// Layouts are ggml's (ggml-common.h): a Q8_0 block is 32 signed bytes with one fp16 scale, a row of
// weights is `blocks` such blocks one after the other. Activations are rounded to the same form
// first, exactly as ggml's own CPU code does, so integer dot products are equal; only the order in
// which the blocks' products are summed as floats differs.
#pragma once

#include <cstddef>
#include <cstdint>

namespace neo {

struct MatMul {
    const char * weights;     // `columns` rows of `blocks` Q8_0 blocks
    size_t weight_stride;     // bytes from one of these rows to the next
    const char * activations; // `rows` rows of 32 * blocks floats
    size_t activation_stride; // bytes
    char * result;            // `rows` rows of `columns` floats
    size_t result_stride;     // bytes
    int64_t rows;
    int64_t columns;
    int64_t blocks;
};

// Bytes of scratch memory, 64-byte aligned, that a product needs with so many threads.
size_t scratch_bytes(const MatMul & product, int threads);

// Computes a product. Needs AVX-512 F, BW, VL and VNNI.
void multiply(const MatMul & product, char * scratch, int threads);

}  // namespace neo
