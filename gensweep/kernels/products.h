// Matrix products in vectors of 16 numbers: of single ones in float32, or of pairs in bfloat16, with sums in float32.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace products {

constexpr int64_t LANES = 16;
using Vector = __m512;

using bfloat16 = uint16_t;  // its bits

inline Vector all(float x) { return _mm512_set1_ps(x); }
inline int64_t padded(int64_t n) { return (n + LANES - 1) / LANES * LANES; }
inline __mmask16 lanes(int64_t left) { return left >= LANES ? 0xFFFF : __mmask16((1 << left) - 1); }

inline Vector load(const float* from, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, from); }
inline void store(Vector numbers, __mmask16 mask, float* to) { _mm512_mask_storeu_ps(to, mask, numbers); }

// How numbers are held and multiplied: one after another.
struct Singles {
    static constexpr int64_t SIZE = 1;
    static Vector fused(Vector left, Vector right, Vector sum) { return _mm512_fmadd_ps(left, right, sum); }
    static void store(Vector numbers, float* to) { _mm512_store_ps(to, numbers); }
    static Vector joined(const Vector* rows) { return rows[0]; }
};

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define PRODUCTS_OF_PAIRS

inline Vector load(const bfloat16* from, __mmask16 mask) {
    return (Vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from)), 16);
}
inline __m256i rounded(Vector numbers) { return (__m256i)_mm512_cvtneps_pbh(numbers); }
inline void store(Vector numbers, __mmask16 mask, bfloat16* to) {
    _mm256_mask_storeu_epi16(to, mask, rounded(numbers));
}

// Two numbers in bfloat16 take the place of one, and their products are added up at once in float32.
struct Pairs {
    static constexpr int64_t SIZE = 2;
    static Vector fused(Vector left, Vector right, Vector sum) {
        return _mm512_dpbf16_ps(sum, (__m512bh)left, (__m512bh)right);
    }
    static void store(Vector numbers, float* to) { _mm256_store_si256((__m256i*)to, rounded(numbers)); }
    static Vector joined(const Vector* rows) {
        const __m512i upper = _mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded(rows[1])), 16);
        return (Vector)_mm512_or_epi32(upper, _mm512_cvtepu16_epi32(rounded(rows[0])));
    }
};
#endif

// R rows and 16 W columns of a matrix product, whose sums stay in registers: to = a b, or to += a b.
// Row r of a begins at r * down, and its numbers, or pairs, are `along` apart; b and to have as many columns.
template <typename Numbers, int R, int W, bool ADDED>
inline void block(const float* a, int64_t down, int64_t along, const float* b, int64_t inner, int64_t columns,
                  float* to) {
    Vector sums[R][W];
    for (int r = 0; r < R; ++r)
        for (int w = 0; w < W; ++w) sums[r][w] = ADDED ? _mm512_load_ps(to + r * columns + w * LANES) : all(0);
    for (int64_t i = 0; i < inner; ++i) {
        Vector right[W];
        for (int w = 0; w < W; ++w) right[w] = _mm512_load_ps(b + i * columns + w * LANES);
        for (int r = 0; r < R; ++r) {
            const Vector left = all(a[r * down + i * along]);
            for (int w = 0; w < W; ++w) sums[r][w] = Numbers::fused(left, right[w], sums[r][w]);
        }
    }
    for (int r = 0; r < R; ++r)
        for (int w = 0; w < W; ++w) _mm512_store_ps(to + r * columns + w * LANES, sums[r][w]);
}

// As many rows as there are, in blocks of R: the last one may take some more, which must be there.
template <typename Numbers, int R, int W, bool ADDED>
inline void strip(const float* a, int64_t rows, int64_t down, int64_t along, const float* b, int64_t inner,
                  int64_t columns, float* to) {
    for (int64_t r = 0; r < rows; r += R)
        block<Numbers, R, W, ADDED>(a + r * down, down, along, b, inner, columns, to + r * columns);
}

}  // namespace products
