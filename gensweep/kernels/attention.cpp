// softmax(scale q k^T) v in bfloat16, for few pixels: the scores of four queries stay in the cache, in float32.
//
// For processors that multiply bfloat16 in vectors; with tiles for it (AMX) PyTorch's own attention is as good.
#include <cstdint>
#include <cstring>
#include <vector>

#include "power_of_two.h"

#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
#include <immintrin.h>

namespace {

constexpr int64_t ROWS = 4, LANES = 16;

using bfloat16 = uint16_t;  // its bits
using Pair = uint32_t;      // two that are multiplied in one go

inline Pair pair(bfloat16 first, bfloat16 second) { return Pair(first) | Pair(second) << 16; }

// 16 W columns of `product`.
template <int W>
inline void block(const Pair* a, int64_t stride, const Pair* b, int64_t inner, int64_t columns, float* out) {
    __m512 sums[ROWS][W];
    for (int r = 0; r < ROWS; ++r)
        for (int w = 0; w < W; ++w) sums[r][w] = _mm512_setzero_ps();
    for (int64_t i = 0; i < inner; ++i) {
        __m512bh right[W];
        for (int w = 0; w < W; ++w) right[w] = (__m512bh)_mm512_loadu_si512(b + i * columns + w * LANES);
        for (int r = 0; r < ROWS; ++r) {
            const __m512bh left = (__m512bh)_mm512_set1_epi32(int(a[r * stride + i]));
            for (int w = 0; w < W; ++w) sums[r][w] = _mm512_dpbf16_ps(sums[r][w], left, right[w]);
        }
    }
    for (int r = 0; r < ROWS; ++r)
        for (int w = 0; w < W; ++w) _mm512_storeu_ps(out + r * columns + w * LANES, sums[r][w]);
}

// Four rows of a matrix product: a is [ROWS, inner] with a stride between its rows, b [inner, columns], both of pairs.
void product(const Pair* a, int64_t stride, const Pair* b, int64_t inner, int64_t columns, float* out) {
    int64_t c = 0;
    for (; c + 4 * LANES <= columns; c += 4 * LANES) block<4>(a, stride, b + c, inner, columns, out + c);
    for (; c < columns; c += LANES) block<1>(a, stride, b + c, inner, columns, out + c);
}

// exp(scale (s - max s)) of a row of scores, rounded; returns the sum before rounding.
float exponentials(float* __restrict scores, int64_t n, float scale, bfloat16* __restrict weights) {
    float most = scores[0], sum = 0.0f;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < n; ++i) most = scores[i] > most ? scores[i] : most;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) {
        scores[i] = power_of_two((scores[i] - most) * (scale * LOG2_E));
        sum += scores[i];
    }
    for (int64_t i = 0; i < n; i += LANES)
        _mm256_storeu_si256((__m256i*)(weights + i), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(scores + i)));
    return sum;
}

}  // namespace

extern "C" int attention_is_compiled() { return 1; }

// qkv is [b, n, 3, heads, d] and y [b, n, heads, d]; n and d are multiples of 16.
extern "C" void attention_forward(const void* qkv, const int64_t* shape, float scale, void* y) {
    const int64_t n = shape[1], heads = shape[2], d = shape[3], row = 3 * heads * d;
#pragma omp parallel
    {
        std::vector<Pair> keys(n * d / 2), values(n * d / 2);
        std::vector<bfloat16> weights(ROWS * n);
        std::vector<float> scores(ROWS * n), out(ROWS * d);
#pragma omp for
        for (int64_t each = 0; each < shape[0] * heads; ++each) {
            const int64_t image = each / heads, head = each % heads;
            const bfloat16* q = (const bfloat16*)qkv + image * n * row + head * d;
            const bfloat16 *k = q + heads * d, *v = q + 2 * heads * d;
            for (int64_t i = 0; i < n; ++i)
                for (int64_t c = 0; c < d / 2; ++c) std::memcpy(&keys[c * n + i], k + i * row + 2 * c, sizeof(Pair));
            for (int64_t i = 0; i < n / 2; ++i)
                for (int64_t c = 0; c < d; ++c) values[i * d + c] = pair(v[2 * i * row + c], v[(2 * i + 1) * row + c]);
            for (int64_t i = 0; i < n; i += ROWS) {
                float sums[ROWS];
                product((const Pair*)(q + i * row), row / 2, keys.data(), d / 2, n, scores.data());
                for (int64_t r = 0; r < ROWS; ++r)
                    sums[r] = exponentials(&scores[r * n], n, scale, &weights[r * n]);
                product((const Pair*)weights.data(), n / 2, values.data(), n / 2, d, out.data());
                for (int64_t r = 0; r < ROWS; ++r) {
                    bfloat16* to = (bfloat16*)y + ((image * n + i + r) * heads + head) * d;
                    for (int64_t c = 0; c < d; c += LANES) {
                        const __m512 mean = _mm512_div_ps(_mm512_loadu_ps(&out[r * d + c]), _mm512_set1_ps(sums[r]));
                        _mm256_storeu_si256((__m256i*)(to + c), (__m256i)_mm512_cvtneps_pbh(mean));
                    }
                }
            }
        }
    }
}

#else

extern "C" int attention_is_compiled() { return 0; }
extern "C" void attention_forward(const void*, const int64_t*, float, void*) {}

#endif
