// Compiled for AVX-512 with VNNI; backend.cpp calls it only on processors that have them.
//
// The weights of 16 output columns are rearranged on the fly so that one 512-bit register holds
// four consecutive weights of each column. One VPDPBUSD then multiplies them with four activations
// broadcast from memory: 64 multiplications per instruction and no horizontal sums at all, where
// ggml's kernel for this type spends about six 256-bit instructions on 32. The rearranging is paid
// once per call and shared by all rows.
//
// VPDPBUSD multiplies unsigned bytes with signed ones. So weights are stored with 128 added, and
// what that adds to the sum, 128 times the sum of the activations, is taken off at the start.

#include "q8_0_matmul.h"

#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <cstring>

namespace neo {
namespace {

constexpr int kBlock = 32;         // elements with one scale
constexpr size_t kBlockBytes = 34; // fp16 scale, then 32 bytes
constexpr int kColumns = 16;       // output columns side by side in a register
constexpr int kRows = 16;          // activation rows that share one pass over a panel
constexpr size_t kPackedBytes = kBlock * kColumns;

// Activations as bytes, in the order in which the kernel reads them: [tile][block][row in tile].
struct Activations {
    int8_t * bytes;       // 32 per row and block
    float * scales;
    int32_t * corrections; // -128 times the sum of the 32 bytes
};

// The weights of 16 columns: [block][four consecutive elements][column], and [block][column].
struct Panel {
    uint8_t * bytes;
    float * scales;
};

size_t aligned(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

int64_t tiles(const MatMul & product) {
    return (product.rows + kRows - 1) / kRows;
}

size_t panel_bytes(const MatMul & product) {
    return static_cast<size_t>(product.blocks) * (kPackedBytes + kColumns * sizeof(float));
}

// One block of 32 floats, as ggml's quantize_row_q8_0 rounds it.
void quantize_block(const float * x, int8_t * bytes, float * scale, int32_t * correction) {
    const __m512 low = _mm512_loadu_ps(x);
    const __m512 high = _mm512_loadu_ps(x + 16);
    const float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
    const float inverse = largest != 0.0f ? 127.0f / largest : 0.0f;
    const __m512 factor = _mm512_set1_ps(inverse);
    const __m512i first = _mm512_cvtps_epi32(_mm512_mul_ps(low, factor));
    const __m512i second = _mm512_cvtps_epi32(_mm512_mul_ps(high, factor));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(bytes), _mm512_cvtsepi32_epi8(first));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(bytes + 16), _mm512_cvtsepi32_epi8(second));
    const __m128i half = _mm_cvtps_ph(_mm_set_ss(largest / 127.0f), _MM_FROUND_TO_NEAREST_INT);
    *scale = _mm_cvtss_f32(_mm_cvtph_ps(half));
    *correction = -128 * _mm512_reduce_add_epi32(_mm512_add_epi32(first, second));
}

void quantize_row(const MatMul & product, int64_t row, const Activations & out) {
    const auto * x = reinterpret_cast<const float *>(product.activations + row * product.activation_stride);
    const int64_t tile = row / kRows;
    for (int64_t block = 0; block < product.blocks; ++block) {
        const int64_t place = (tile * product.blocks + block) * kRows + row % kRows;
        quantize_block(x + block * kBlock, out.bytes + place * kBlock, out.scales + place, out.corrections + place);
    }
}

// Transposes 8 x 8 double words in each half: register j then holds double word j of 16 columns.
void transpose(__m512i r[8]) {
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    const __m512i high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    __m512i pairs[8];
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    __m512i fours[8];
    for (int i = 0; i < 8; i += 4) {
        fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
        r[i] = _mm512_permutex2var_epi64(fours[i], low, fours[i + 4]);
        r[i + 4] = _mm512_permutex2var_epi64(fours[i], high, fours[i + 4]);
    }
}

// Columns beyond the last one repeat it; they are computed and thrown away.
void pack(const MatMul & product, int64_t first_column, const Panel & panel) {
    const char * column[kColumns];
    for (int i = 0; i < kColumns; ++i) {
        const int64_t index = std::min<int64_t>(first_column + i, product.columns - 1);
        column[i] = product.weights + index * product.weight_stride;
    }
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
    for (int64_t block = 0; block < product.blocks; ++block) {
        const size_t offset = block * kBlockBytes;
        alignas(32) uint16_t halves[kColumns];
        __m512i registers[8];
        for (int i = 0; i < kColumns; ++i) {
            std::memcpy(&halves[i], column[i] + offset, sizeof(uint16_t));
        }
        for (int i = 0; i < 8; ++i) {
            const auto * near = reinterpret_cast<const __m256i *>(column[i] + offset + 2);
            const auto * far = reinterpret_cast<const __m256i *>(column[i + 8] + offset + 2);
            registers[i] = _mm512_inserti64x4(
                _mm512_castsi256_si512(_mm256_loadu_si256(near)), _mm256_loadu_si256(far), 1);
        }
        transpose(registers);
        auto * out = reinterpret_cast<__m512i *>(panel.bytes + block * kPackedBytes);
        for (int i = 0; i < 8; ++i) {
            _mm512_store_si512(out + i, _mm512_xor_si512(registers[i], sign));
        }
        const __m256i scales = _mm256_load_si256(reinterpret_cast<const __m256i *>(halves));
        _mm512_store_ps(panel.scales + block * kColumns, _mm512_cvtph_ps(scales));
    }
}

// ROWS activation rows of one tile times one panel.
template <int ROWS>
void multiply_tile(
    const Panel & panel, const Activations & tile, int64_t blocks, char * result, size_t stride, __mmask16 columns) {
    __m512 sums[ROWS];
    for (int row = 0; row < ROWS; ++row) {
        sums[row] = _mm512_setzero_ps();
    }
    for (int64_t block = 0; block < blocks; ++block) {
        const auto * packed = reinterpret_cast<const __m512i *>(panel.bytes + block * kPackedBytes);
        __m512i weights[8];
        for (int i = 0; i < 8; ++i) {
            weights[i] = _mm512_load_si512(packed + i);
        }
        const __m512 scales = _mm512_load_ps(panel.scales + block * kColumns);
        const int8_t * bytes = tile.bytes + block * kRows * kBlock;
#pragma GCC unroll 16
        for (int row = 0; row < ROWS; ++row) {
            __m512i dot = _mm512_set1_epi32(tile.corrections[block * kRows + row]);
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) {
                int32_t four;
                std::memcpy(&four, bytes + row * kBlock + 4 * i, sizeof four);
                dot = _mm512_dpbusd_epi32(dot, weights[i], _mm512_set1_epi32(four));
            }
            const __m512 scale = _mm512_mul_ps(scales, _mm512_set1_ps(tile.scales[block * kRows + row]));
            sums[row] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scale, sums[row]);
        }
    }
    for (int row = 0; row < ROWS; ++row) {
        _mm512_mask_storeu_ps(result + row * stride, columns, sums[row]);
    }
}

void multiply_panel(const MatMul & product, const Panel & panel, const Activations & all, int64_t first_column) {
    const int64_t width = std::min<int64_t>(kColumns, product.columns - first_column);
    const auto columns = static_cast<__mmask16>((1u << width) - 1);
    char * result = product.result + first_column * sizeof(float);
    for (int64_t tile = 0; tile < tiles(product); ++tile) {
        const int64_t place = tile * product.blocks * kRows;
        const Activations part{all.bytes + place * kBlock, all.scales + place, all.corrections + place};
        char * out = result + tile * kRows * product.result_stride;
        const int64_t rows = std::min<int64_t>(kRows, product.rows - tile * kRows);
        // Whole fours: what a last tile computes beyond its rows must not be stored.
        alignas(64) float spare[kRows * kColumns];
        const bool fits = rows % 4 == 0;
        char * target = fits ? out : reinterpret_cast<char *>(spare);
        const size_t stride = fits ? product.result_stride : kColumns * sizeof(float);
        switch ((rows + 3) / 4) {
            case 1: multiply_tile<4>(panel, part, product.blocks, target, stride, columns); break;
            case 2: multiply_tile<8>(panel, part, product.blocks, target, stride, columns); break;
            case 3: multiply_tile<12>(panel, part, product.blocks, target, stride, columns); break;
            default: multiply_tile<16>(panel, part, product.blocks, target, stride, columns);
        }
        for (int64_t row = 0; !fits && row < rows; ++row) {
            std::memcpy(out + row * product.result_stride, spare + row * kColumns, width * sizeof(float));
        }
    }
}

Activations carve(const MatMul & product, char * scratch) {
    const size_t places = static_cast<size_t>(tiles(product) * product.blocks * kRows);
    auto * bytes = reinterpret_cast<int8_t *>(scratch);
    auto * scales = reinterpret_cast<float *>(scratch + aligned(places * kBlock));
    return {bytes, scales, reinterpret_cast<int32_t *>(scales + aligned(places * sizeof(float)) / sizeof(float))};
}

size_t activation_bytes(const MatMul & product) {
    const size_t places = static_cast<size_t>(tiles(product) * product.blocks * kRows);
    return aligned(places * kBlock) + 2 * aligned(places * sizeof(float));
}

}  // namespace

size_t scratch_bytes(const MatMul & product, int threads) {
    return activation_bytes(product) + threads * aligned(panel_bytes(product));
}

void multiply(const MatMul & product, char * scratch, int threads) {
    const Activations activations = carve(product, scratch);
    char * panels = scratch + activation_bytes(product);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t row = 0; row < product.rows; ++row) {
            quantize_row(product, row, activations);
        }
        char * own = panels + omp_get_thread_num() * aligned(panel_bytes(product));
        auto * bytes = reinterpret_cast<uint8_t *>(own);
        const Panel panel{bytes, reinterpret_cast<float *>(bytes + product.blocks * kPackedBytes)};
#pragma omp for schedule(dynamic, 4) nowait
        for (int64_t column = 0; column < product.columns; column += kColumns) {
            pack(product, column, panel);
            multiply_panel(product, panel, activations, column);
        }
    }
}

}  // namespace neo
