// Compiled for AVX-512; backend.cpp calls it only on processors that have it.

#include "attention.h"

#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace neo {
namespace {

constexpr int kLanes = 16;
constexpr int kChunk = 64;   // cells at a time
constexpr int kSlice = 64;   // of a head's width at a time, in registers
constexpr int kFour = 4;     // queries at a time, in registers
constexpr int kQueries = 64; // queries of one tile at most, all heads of a group counted
constexpr float kLog2E = 1.44269504088896f;

// Consecutive rows that are computed together; `looked_at` has one bit per cell.
struct Tile {
    int64_t first_row;
    int64_t rows;
};

// What all threads share, and what each has of its own.
struct Shared {
    uint64_t * bits;  // [rows][words]: which cells a row looks at
    int32_t * counts; // [rows]
    Tile * tiles;     // [rows]
};

struct Own {
    uint64_t * bits;  // [words]: the cells of the tile
    int32_t * cells;  // [cells + kChunk]: their indices
    float * queries;  // [kQueries][width], multiplied by scale and log2 e
    float * keys;     // [width][kChunk]
    float * values;   // [kChunk][width]
    float * scores;   // [kQueries][kChunk]
    float * sums;     // [kQueries][width]
    float * largest;  // [kQueries]
    float * weights;  // [kQueries]: sums of the exponentials
};

size_t aligned(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

int64_t words(const Attention & a) {
    return (a.cells + 63) / 64;
}

template <typename T>
T * take(char *& scratch, size_t count) {
    T * taken = reinterpret_cast<T *>(scratch);
    scratch += aligned(count * sizeof(T));
    return taken;
}

Shared take_shared(const Attention & a, char *& scratch) {
    Shared shared{};
    shared.bits = take<uint64_t>(scratch, a.rows * words(a));
    shared.counts = take<int32_t>(scratch, a.rows);
    shared.tiles = take<Tile>(scratch, a.rows);
    return shared;
}

Own take_own(const Attention & a, char *& scratch) {
    Own own{};
    own.bits = take<uint64_t>(scratch, words(a));
    own.cells = take<int32_t>(scratch, a.cells + kChunk);
    own.queries = take<float>(scratch, kQueries * a.width);
    own.keys = take<float>(scratch, kChunk * a.width);
    own.values = take<float>(scratch, kChunk * a.width);
    own.scores = take<float>(scratch, kQueries * kChunk);
    own.sums = take<float>(scratch, kQueries * a.width);
    own.largest = take<float>(scratch, kQueries);
    own.weights = take<float>(scratch, kQueries);
    return own;
}

// --- which cells -----------------------------------------------------------------------------------

void find_cells(const Attention & a, int64_t row, const Shared & shared) {
    const auto * mask = reinterpret_cast<const uint16_t *>(a.mask + row * a.mask_stride);
    uint64_t * bits = shared.bits + row * words(a);
    const __m512i minus_infinity = _mm512_set1_epi16(static_cast<int16_t>(0xfc00));
    int32_t count = 0;
    for (int64_t word = 0; word < words(a); ++word) {
        uint64_t found = 0;
        for (int half = 0; half < 2; ++half) {
            const int64_t start = word * 64 + half * 32;
            const int64_t left = std::clamp<int64_t>(a.cells - start, 0, 32);
            const auto valid = static_cast<__mmask32>(left == 32 ? ~0u : (1u << left) - 1);
            const __m512i values = _mm512_maskz_loadu_epi16(valid, mask + start);
            const uint64_t seen = _mm512_mask_cmpneq_epi16_mask(valid, values, minus_infinity);
            found |= seen << (32 * half);
        }
        bits[word] = found;
        count += std::popcount(found);
    }
    shared.counts[row] = count;
}

// Puts neighbours together as long as that makes nobody look at many more cells.
int64_t make_tiles(const Attention & a, const Shared & shared, uint64_t * together) {
    const int64_t most = std::max<int64_t>(1, kQueries / (a.heads / a.kv_heads));
    int64_t count = 0;
    for (int64_t row = 0; row < a.rows;) {
        Tile tile{row, 1};
        std::memcpy(together, shared.bits + row * words(a), words(a) * sizeof(uint64_t));
        int64_t fewest = shared.counts[row];
        while (tile.rows < most && row + tile.rows < a.rows) {
            const uint64_t * next = shared.bits + (row + tile.rows) * words(a);
            int64_t all = 0;
            for (int64_t word = 0; word < words(a); ++word) {
                all += std::popcount(together[word] | next[word]);
            }
            fewest = std::min<int64_t>(fewest, shared.counts[row + tile.rows]);
            if (all > fewest + fewest / 4 + 16) {
                break;
            }
            for (int64_t word = 0; word < words(a); ++word) {
                together[word] |= next[word];
            }
            ++tile.rows;
        }
        shared.tiles[count++] = tile;
        row += tile.rows;
    }
    return count;
}

int64_t list_cells(const Attention & a, const Shared & shared, const Tile & tile, const Own & own) {
    std::memset(own.bits, 0, words(a) * sizeof(uint64_t));
    for (int64_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
        for (int64_t word = 0; word < words(a); ++word) {
            own.bits[word] |= shared.bits[row * words(a) + word];
        }
    }
    int64_t count = 0;
    for (int64_t word = 0; word < words(a); ++word) {
        for (uint64_t left = own.bits[word]; left != 0; left &= left - 1) {
            own.cells[count++] = static_cast<int32_t>(word * 64 + std::countr_zero(left));
        }
    }
    return count;
}

// --- numbers ---------------------------------------------------------------------------------------

__m512 load_as_float(const char * from, KvType type) {
    const __m256i raw = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
    if (type == KvType::f16) {
        return _mm512_cvtph_ps(raw);
    }
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16));
}

// 2^x to about one unit in the last place, for x <= 0; 0 for -inf. Coefficients: Taylor's series of
// 2^f, |f| <= 1/2, whose first omitted term is about 2^-23.
__m512 exp2(__m512 x) {
    x = _mm512_max_ps(x, _mm512_set1_ps(-150.0f));
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 rest = _mm512_sub_ps(x, whole);
    __m512 sum = _mm512_set1_ps(1.5403530e-4f);
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1.3333558e-3f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(9.6181291e-3f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(5.5504109e-2f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(2.4022651e-1f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(6.9314718e-1f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(sum, whole);
}

void transpose_16x16(__m512 r[16]) {
    __m512 t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
        r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
        r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
        r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
    }
    // r[4g + j] holds, in lane l, element 4l + j of rows 4g .. 4g + 3.
    for (int j = 0; j < 4; ++j) {
        const __m512 a = _mm512_shuffle_f32x4(r[j], r[4 + j], 0x44);
        const __m512 b = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0x44);
        const __m512 c = _mm512_shuffle_f32x4(r[j], r[4 + j], 0xee);
        const __m512 d = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0xee);
        t[j] = _mm512_shuffle_f32x4(a, b, 0x88);
        t[4 + j] = _mm512_shuffle_f32x4(a, b, 0xdd);
        t[8 + j] = _mm512_shuffle_f32x4(c, d, 0x88);
        t[12 + j] = _mm512_shuffle_f32x4(c, d, 0xdd);
    }
    for (int i = 0; i < 16; ++i) {
        r[i] = t[i];
    }
}

// --- one chunk of cells ----------------------------------------------------------------------------

void load_chunk(const Attention & a, int64_t kv_head, const int32_t * cells, const Own & own) {
    const char * keys = a.keys + kv_head * a.key_head_stride;
    const char * values = a.values + kv_head * a.value_head_stride;
    for (int group = 0; group < kChunk; group += kLanes) {
        for (int64_t d = 0; d < a.width; d += kLanes) {
            __m512 block[kLanes];
            for (int i = 0; i < kLanes; ++i) {
                block[i] = load_as_float(keys + cells[group + i] * a.key_stride + 2 * d, a.type);
            }
            transpose_16x16(block);
            for (int i = 0; i < kLanes; ++i) {
                _mm512_store_ps(own.keys + (d + i) * kChunk + group, block[i]);
            }
        }
    }
    for (int cell = 0; cell < kChunk; ++cell) {
        const char * value = values + cells[cell] * a.value_stride;
        for (int64_t d = 0; d < a.width; d += kLanes) {
            _mm512_store_ps(own.values + cell * a.width + d, load_as_float(value + 2 * d, a.type));
        }
    }
}

// Products of four queries with a chunk of keys.
void score_four(const float * queries, int64_t width, const Own & own, float * scores) {
    __m512 sums[kFour][kChunk / kLanes];
    for (auto & row : sums) {
        for (auto & sum : row) {
            sum = _mm512_setzero_ps();
        }
    }
    for (int64_t d = 0; d < width; ++d) {
        __m512 keys[kChunk / kLanes];
#pragma GCC unroll 4
        for (int i = 0; i < kChunk / kLanes; ++i) {
            keys[i] = _mm512_load_ps(own.keys + d * kChunk + i * kLanes);
        }
#pragma GCC unroll 4
        for (int q = 0; q < kFour; ++q) {
            const __m512 query = _mm512_set1_ps(queries[q * width + d]);
#pragma GCC unroll 4
            for (int i = 0; i < kChunk / kLanes; ++i) {
                sums[q][i] = _mm512_fmadd_ps(query, keys[i], sums[q][i]);
            }
        }
    }
    for (int q = 0; q < kFour; ++q) {
        for (int i = 0; i < kChunk / kLanes; ++i) {
            _mm512_store_ps(scores + q * kChunk + i * kLanes, sums[q][i]);
        }
    }
}

// Adds the mask of one row to the scores of its heads; lanes from `count` on are no cells.
void add_mask(
    const Attention & a, int64_t row, const int32_t * cells, int64_t count, int64_t group, float * scores) {
    const auto * mask = reinterpret_cast<const uint16_t *>(a.mask + row * a.mask_stride);
    for (int i = 0; i < kChunk; i += kLanes) {
        alignas(32) uint16_t halves[kLanes];
        for (int lane = 0; lane < kLanes; ++lane) {
            halves[lane] = i + lane < count ? mask[cells[i + lane]] : 0xfc00;
        }
        const __m512 added = _mm512_mul_ps(
            _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i *>(halves))),
            _mm512_set1_ps(kLog2E));
        for (int64_t head = 0; head < group; ++head) {
            float * place = scores + head * kChunk + i;
            _mm512_store_ps(place, _mm512_add_ps(_mm512_load_ps(place), added));
        }
    }
}

// Scores become weights under the largest score so far; what was summed under an older one shrinks.
void weigh(const Attention & a, int64_t query, const Own & own) {
    float * scores = own.scores + query * kChunk;
    __m512 s[kChunk / kLanes];
    __m512 top = _mm512_set1_ps(own.largest[query]);
    for (int i = 0; i < kChunk / kLanes; ++i) {
        s[i] = _mm512_load_ps(scores + i * kLanes);
        top = _mm512_max_ps(top, s[i]);
    }
    const float largest = _mm512_reduce_max_ps(top);
    if (largest == -INFINITY) {
        std::memset(scores, 0, kChunk * sizeof(float));
        return;
    }
    const __m512 under = _mm512_set1_ps(largest);
    __m512 total = _mm512_setzero_ps();
    for (int i = 0; i < kChunk / kLanes; ++i) {
        s[i] = exp2(_mm512_sub_ps(s[i], under));
        total = _mm512_add_ps(total, s[i]);
        _mm512_store_ps(scores + i * kLanes, s[i]);
    }
    if (largest > own.largest[query]) {
        const float shrink = std::exp2(own.largest[query] - largest);
        own.weights[query] *= shrink;
        float * sums = own.sums + query * a.width;
        for (int64_t d = 0; d < a.width; d += kLanes) {
            _mm512_store_ps(sums + d, _mm512_mul_ps(_mm512_load_ps(sums + d), _mm512_set1_ps(shrink)));
        }
        own.largest[query] = largest;
    }
    own.weights[query] += _mm512_reduce_add_ps(total);
}

// Adds a chunk's values, by the weights of four queries, to 64 elements of their sums.
void add_four(const float * weights, const Own & own, int64_t width, int64_t slice, float * sums) {
    __m512 held[kFour][kSlice / kLanes];
    for (int q = 0; q < kFour; ++q) {
        for (int i = 0; i < kSlice / kLanes; ++i) {
            held[q][i] = _mm512_load_ps(sums + q * width + slice + i * kLanes);
        }
    }
    for (int cell = 0; cell < kChunk; ++cell) {
        __m512 values[kSlice / kLanes];
#pragma GCC unroll 4
        for (int i = 0; i < kSlice / kLanes; ++i) {
            values[i] = _mm512_load_ps(own.values + cell * width + slice + i * kLanes);
        }
#pragma GCC unroll 4
        for (int q = 0; q < kFour; ++q) {
            const __m512 weight = _mm512_set1_ps(weights[q * kChunk + cell]);
#pragma GCC unroll 4
            for (int i = 0; i < kSlice / kLanes; ++i) {
                held[q][i] = _mm512_fmadd_ps(weight, values[i], held[q][i]);
            }
        }
    }
    for (int q = 0; q < kFour; ++q) {
        for (int i = 0; i < kSlice / kLanes; ++i) {
            _mm512_store_ps(sums + q * width + slice + i * kLanes, held[q][i]);
        }
    }
}

// --- one tile --------------------------------------------------------------------------------------

void begin(const Attention & a, const Tile & tile, int64_t kv_head, int64_t queries, const Own & own) {
    const int64_t group = a.heads / a.kv_heads;
    const __m512 factor = _mm512_set1_ps(a.scale * kLog2E);
    for (int64_t query = 0; query < queries; ++query) {
        const bool real = query < tile.rows * group;
        const int64_t row = tile.first_row + query / group;
        const int64_t head = kv_head * group + query % group;
        const char * from = a.queries + row * a.query_row_stride + head * a.query_head_stride;
        float * to = own.queries + query * a.width;
        for (int64_t d = 0; d < a.width; d += kLanes) {
            const __m512 part = real ? _mm512_loadu_ps(reinterpret_cast<const float *>(from) + d) : _mm512_setzero_ps();
            _mm512_store_ps(to + d, _mm512_mul_ps(part, factor));
            _mm512_store_ps(own.sums + query * a.width + d, _mm512_setzero_ps());
        }
        own.largest[query] = -INFINITY;
        own.weights[query] = 0.0f;
    }
}

void finish(const Attention & a, const Tile & tile, int64_t kv_head, const Own & own) {
    const int64_t group = a.heads / a.kv_heads;
    for (int64_t query = 0; query < tile.rows * group; ++query) {
        const int64_t row = tile.first_row + query / group;
        const int64_t head = kv_head * group + query % group;
        // A row that looks at nothing (padding) gives zeros.
        const __m512 share = _mm512_set1_ps(own.weights[query] > 0.0f ? 1.0f / own.weights[query] : 0.0f);
        float * to = a.result + (row * a.heads + head) * a.width;
        for (int64_t d = 0; d < a.width; d += kLanes) {
            _mm512_storeu_ps(to + d, _mm512_mul_ps(_mm512_load_ps(own.sums + query * a.width + d), share));
        }
    }
}

void attend_tile(const Attention & a, const Shared & shared, const Tile & tile, int64_t kv_head, const Own & own) {
    const int64_t group = a.heads / a.kv_heads;
    const int64_t queries = (tile.rows * group + kFour - 1) / kFour * kFour;
    begin(a, tile, kv_head, queries, own);
    const int64_t count = list_cells(a, shared, tile, own);
    // A last, partial chunk repeats a cell, under a mask that hides it.
    std::fill_n(own.cells + count, kChunk, count ? own.cells[count - 1] : 0);
    for (int64_t start = 0; start < count; start += kChunk) {
        const int32_t * cells = own.cells + start;
        load_chunk(a, kv_head, cells, own);
        for (int64_t query = 0; query < queries; query += kFour) {
            score_four(own.queries + query * a.width, a.width, own, own.scores + query * kChunk);
        }
        for (int64_t row = 0; row < tile.rows; ++row) {
            float * scores = own.scores + row * group * kChunk;
            add_mask(a, tile.first_row + row, cells, count - start, group, scores);
        }
        for (int64_t query = 0; query < queries; ++query) {
            weigh(a, query, own);
        }
        for (int64_t query = 0; query < queries; query += kFour) {
            for (int64_t slice = 0; slice < a.width; slice += kSlice) {
                add_four(own.scores + query * kChunk, own, a.width, slice, own.sums + query * a.width);
            }
        }
    }
    finish(a, tile, kv_head, own);
}

}  // namespace

size_t scratch_bytes(const Attention & attention, int threads) {
    char * end = nullptr;
    take_shared(attention, end);
    for (int thread = 0; thread < threads; ++thread) {
        take_own(attention, end);
    }
    return reinterpret_cast<size_t>(end);
}

void attend(const Attention & attention, char * scratch, int threads) {
    const Shared shared = take_shared(attention, scratch);
    char * first = scratch;
    take_own(attention, scratch);
    const size_t own_bytes = static_cast<size_t>(scratch - first);
    int64_t tiles = 0;
#pragma omp parallel num_threads(threads)
    {
        char * mine = first + omp_get_thread_num() * own_bytes;
        const Own own = take_own(attention, mine);
#pragma omp for schedule(static)
        for (int64_t row = 0; row < attention.rows; ++row) {
            find_cells(attention, row, shared);
        }
#pragma omp single
        tiles = make_tiles(attention, shared, own.bits);
        // The last tiles of a prompt look at most cells: they go first, so that no thread ends late.
#pragma omp for schedule(dynamic, 1) nowait
        for (int64_t item = tiles * attention.kv_heads - 1; item >= 0; --item) {
            attend_tile(attention, shared, shared.tiles[item / attention.kv_heads], item % attention.kv_heads, own);
        }
    }
}

}  // namespace neo
