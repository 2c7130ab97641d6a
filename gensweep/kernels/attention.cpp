// softmax(scale q k^T) v in bfloat16 and its gradients, for few pixels: scores stay in the cache, in float32.
//
// For processors that multiply bfloat16 in vectors; with tiles for it (AMX) PyTorch's own attention is as good.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "power_of_two.h"

#ifdef __AVX512F__
#include "products.h"
#endif

#if defined(PRODUCTS_OF_PAIRS) && !defined(__AMX_BF16__)

using namespace products;

namespace {

constexpr int64_t ROWS = 4;  // queries that are looked at together

// Numbers or pairs in rows of whole vectors.
class Matrix {
 public:
    Matrix(int64_t rows, int64_t columns)
        : columns(columns), numbers_((float*)std::aligned_alloc(64, rows * columns * sizeof(float)), std::free) {}
    float* operator[](int64_t row) const { return numbers_.get() + row * columns; }

    const int64_t columns;

 private:
    std::unique_ptr<float, decltype(&std::free)> numbers_;
};

// Rows of a head's queries, keys, values or results, `apart` from one another.
struct Rows {
    const bfloat16* first;
    int64_t count, width, apart;

    const bfloat16* operator[](int64_t row) const { return first + row * apart; }
    const float* pairs(int64_t row) const { return (const float*)(*this)[row]; }

    // [width / 2, count], of pairs of neighbouring columns.
    void turned(const Matrix& to) const {
        for (int64_t i = 0; i < count; ++i)
            for (int64_t c = 0; c < width / 2; ++c) std::memcpy(to[c] + i, pairs(i) + c, sizeof(float));
    }
    // [count / 2, width], of pairs of neighbouring rows.
    void joined(const Matrix& to) const {
        for (int64_t i = 0; i < count; i += 2)
            for (int64_t c = 0; c < width; c += LANES) {
                const Vector rows[2] = {load((*this)[i] + c, 0xFFFF), load((*this)[i + 1] + c, 0xFFFF)};
                _mm512_store_ps(to[i / 2] + c, Pairs::joined(rows));
            }
    }
};

// ROWS rows of a matrix product; row r of a begins at r * down, and its pairs are `along` apart.
void multiply(const float* a, int64_t down, int64_t along, const Matrix& b, int64_t inner, float* to) {
    const int64_t columns = b.columns;
    int64_t c = 0;
    for (; c + 4 * LANES <= columns; c += 4 * LANES)
        block<Pairs, ROWS, 4, false>(a, down, along, b[0] + c, inner, columns, to + c);
    for (; c < columns; c += LANES) block<Pairs, ROWS, 1, false>(a, down, along, b[0] + c, inner, columns, to + c);
}

// exp(scale (s - max s)) of n scores in their place; returns their sum.
float exponentials(float* __restrict scores, int64_t n, float scale) {
    float most = scores[0], sum = 0.0f;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < n; ++i) most = scores[i] > most ? scores[i] : most;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) {
        scores[i] = power_of_two((scores[i] - most) * (scale * LOG2_E));
        sum += scores[i];
    }
    return sum;
}

// From gradients g by n weights w to those by their scores, in the same place: scale w (g - sum of w g).
void gradients_of_scores(const float* __restrict weights, int64_t n, float scale, float* __restrict gradients) {
    float mean = 0.0f;
#pragma omp simd reduction(+ : mean)
    for (int64_t i = 0; i < n; ++i) mean += weights[i] * gradients[i];
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) gradients[i] = scale * weights[i] * (gradients[i] - mean);
}

// n numbers times a factor, rounded.
void round_row(const float* from, int64_t n, float factor, bfloat16* to) {
    for (int64_t i = 0; i < n; i += LANES) store(all(factor) * _mm512_loadu_ps(from + i), 0xFFFF, to + i);
}

// The shape of all arguments: (images, pixels, heads, channels of a head).
struct Heads {
    const int64_t images, n, heads, d;

    int64_t count() const { return images * heads; }
    // Of qkv [b, n, 3, heads, d]: 0 is q, 1 is k, 2 is v.
    Rows of(const void* qkv, int64_t each, int64_t which) const {
        const int64_t first = (each / heads * n * 3 + which) * heads + each % heads;
        return {(const bfloat16*)qkv + first * d, n, d, 3 * heads * d};
    }
    // Of y [b, n, heads, d].
    Rows of(const void* y, int64_t each) const {
        return {(const bfloat16*)y + (each / heads * n * heads + each % heads) * d, n, d, heads * d};
    }
};

}  // namespace

extern "C" int attention_is_compiled() { return 1; }

// qkv is [b, n, 3, heads, d] and y [b, n, heads, d]; n and d are multiples of 16.
extern "C" void attention_forward(const void* qkv, const int64_t* shape, float scale, void* y) {
    const Heads all_heads{shape[0], shape[1], shape[2], shape[3]};
    const int64_t n = all_heads.n, d = all_heads.d;
#pragma omp parallel
    {
        const Matrix keys(d / 2, n), values(n / 2, d), scores(ROWS, n), weights(ROWS, n / 2), out(ROWS, d);
#pragma omp for
        for (int64_t each = 0; each < all_heads.count(); ++each) {
            const Rows q = all_heads.of(qkv, each, 0), results = all_heads.of(y, each);
            all_heads.of(qkv, each, 1).turned(keys);
            all_heads.of(qkv, each, 2).joined(values);
            for (int64_t i = 0; i < n; i += ROWS) {
                float sums[ROWS];
                multiply(q.pairs(i), q.apart / 2, 1, keys, d / 2, scores[0]);
                for (int64_t r = 0; r < ROWS; ++r) {
                    sums[r] = exponentials(scores[r], n, scale);
                    round_row(scores[r], n, 1.0f, (bfloat16*)weights[r]);
                }
                multiply(weights[0], n / 2, 1, values, n / 2, out[0]);
                for (int64_t r = 0; r < ROWS; ++r) round_row(out[r], d, 1.0f / sums[r], (bfloat16*)results[i + r]);
            }
        }
    }
}

// The gradient by qkv, from that by y; weights are computed again.
extern "C" void attention_backward(const void* qkv, const void* dy, const int64_t* shape, float scale, void* d_qkv) {
    const Heads all_heads{shape[0], shape[1], shape[2], shape[3]};
    const int64_t n = all_heads.n, d = all_heads.d;
#pragma omp parallel
    {
        const Matrix turned_keys(d / 2, n), turned_values(d / 2, n);
        const Matrix keys(n / 2, d), queries(n / 2, d), gradients(n / 2, d);
        const Matrix weights(n / 2, n), d_scores(n / 2, n);  // of pairs of neighbouring queries
        const Matrix row(ROWS, n), d_row(ROWS, n), rounded_row(ROWS, n / 2), out(ROWS, d);
#pragma omp for
        for (int64_t each = 0; each < all_heads.count(); ++each) {
            const Rows q = all_heads.of(qkv, each, 0), grad = all_heads.of(dy, each);
            all_heads.of(qkv, each, 1).turned(turned_keys);
            all_heads.of(qkv, each, 2).turned(turned_values);
            all_heads.of(qkv, each, 1).joined(keys);
            q.joined(queries);
            grad.joined(gradients);
            const auto write = [&](int64_t which, int64_t i) {
                for (int64_t r = 0; r < ROWS; ++r)
                    round_row(out[r], d, 1.0f, (bfloat16*)all_heads.of(d_qkv, each, which)[i + r]);
            };
            for (int64_t i = 0; i < n; i += ROWS) {
                multiply(q.pairs(i), q.apart / 2, 1, turned_keys, d / 2, row[0]);
                multiply(grad.pairs(i), grad.apart / 2, 1, turned_values, d / 2, d_row[0]);
                for (int64_t r = 0; r < ROWS; ++r) {
                    const float share = 1.0f / exponentials(row[r], n, scale);
                    for (int64_t j = 0; j < n; ++j) row[r][j] *= share;
                    gradients_of_scores(row[r], n, scale, d_row[r]);
                    round_row(d_row[r], n, 1.0f, (bfloat16*)rounded_row[r]);
                }
                for (int64_t r = 0; r < ROWS; r += 2)
                    for (int64_t j = 0; j < n; j += LANES) {
                        const Vector of_weights[2] = {_mm512_load_ps(row[r] + j), _mm512_load_ps(row[r + 1] + j)};
                        const Vector of_scores[2] = {_mm512_load_ps(d_row[r] + j), _mm512_load_ps(d_row[r + 1] + j)};
                        _mm512_store_ps(weights[(i + r) / 2] + j, Pairs::joined(of_weights));
                        _mm512_store_ps(d_scores[(i + r) / 2] + j, Pairs::joined(of_scores));
                    }
                multiply(rounded_row[0], n / 2, 1, keys, n / 2, out[0]);
                write(0, i);
            }
            for (int64_t j = 0; j < n; j += ROWS) {
                multiply(d_scores[0] + j, 1, n, queries, n / 2, out[0]);
                write(1, j);
                multiply(weights[0] + j, 1, n, gradients, n / 2, out[0]);
                write(2, j);
            }
        }
    }
}

#else

extern "C" int attention_is_compiled() { return 0; }
extern "C" void attention_forward(const void*, const int64_t*, float, void*) {}
extern "C" void attention_backward(const void*, const void*, const int64_t*, float, void*) {}

#endif
