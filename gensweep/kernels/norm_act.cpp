// Group normalisation, scale and shift, SiLU and dropout of channels-last images, in few passes over the memory.
//
// An image of 32 px and 64 channels fits into the cache of a core, so it is read from the memory once, however often
// it is looked at here.  Only the input, the mask of dropout and two numbers a group are kept for the way back; the rest
// is computed again.  Compiled by library.py; norm_act.py says in PyTorch's words what is computed.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "power_of_two.h"

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace {

using bfloat16 = uint16_t;  // its bits

inline float load(float x) { return x; }
inline float load(bfloat16 x) {
    uint32_t bits = uint32_t(x) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
inline void store(float& to, float x) { to = x; }
inline void store(bfloat16& to, float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    // To nearest, ties to even.  A NaN must not become infinite by rounding: it is made quiet and cut.
    uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    uint32_t cut = (bits >> 16) | 0x40;
    to = uint16_t((bits & 0x7FFFFFFF) > 0x7F800000 ? cut : rounded);
}

// A row of results.  Processors that know bfloat16 round by one instruction, which compilers do not find.
inline void store_row(float* __restrict to, const float* __restrict from, int32_t n) {
    std::memcpy(to, from, sizeof(float) * n);
}
inline void store_row(bfloat16* __restrict to, const float* __restrict from, int32_t n) {
    int32_t c = 0;
#ifdef __AVX512BF16__
    for (; c + 16 <= n; c += 16) _mm256_storeu_si256((__m256i*)(to + c), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + c)));
#endif
    for (; c < n; ++c) store(to[c], from[c]);
}

// 1 / x for x from 1 to 2^126: a guess from the bits, then three steps of Newton's, a quarter of a division's time.
inline float reciprocal(float x) {
    int32_t bits;
    std::memcpy(&bits, &x, 4);
    bits = 0x7EF311C7 - bits;
    float y;
    std::memcpy(&y, &bits, 4);
    y *= 2.0f - x * y;
    y *= 2.0f - x * y;
    return y * (2.0f - x * y);
}

// 1 / (1 + exp(-x)), with an error below 2e-7.
inline float sigmoid(float x) { return reciprocal(1.0f + power_of_two(-x * LOG2_E)); }

struct Shape {
    int64_t images, pixels, channels, groups;
};

// Dropout: what stays of each element, 1 or 0 in the order of the memory, and the factor of what stays.
struct Mask {
    const uint8_t* kept;
    float scale;
};

// Mean and 1 / standard deviation of each group of an image, as (mean, rstd) pairs.
template <typename T>
void statistics(const T* __restrict x, const Shape& s, float eps, float* __restrict stats, float* __restrict work) {
    const int64_t C = s.channels, per_group = C / s.groups;
    float* __restrict offset = work;  // a value near the mean, so that squares lose no digits
    float* __restrict sum = work + C;
    float* __restrict square = work + 2 * C;
    std::vector<double> sums(C, 0.0), squares(C, 0.0);
    for (int64_t c = 0; c < C; ++c) offset[c] = load(x[c]);
    for (int64_t start = 0; start < s.pixels; start += 256) {
        const int64_t stop = start + 256 < s.pixels ? start + 256 : s.pixels;
        for (int64_t c = 0; c < C; ++c) sum[c] = square[c] = 0.0f;
        for (int64_t p = start; p < stop; ++p) {
            const T* __restrict row = x + p * C;
#pragma omp simd
            for (int64_t c = 0; c < C; ++c) {
                const float d = load(row[c]) - offset[c];
                sum[c] += d;
                square[c] += d * d;
            }
        }
        for (int64_t c = 0; c < C; ++c) {
            sums[c] += sum[c];
            squares[c] += square[c];
        }
    }
    const double P = double(s.pixels);
    for (int64_t g = 0; g < s.groups; ++g) {
        double mean = 0.0, squared = 0.0;
        for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c) mean += (offset[c] + sums[c] / P) / per_group;
        for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c) {
            const double away = offset[c] + sums[c] / P - mean;
            squared += squares[c] - sums[c] * sums[c] / P + P * away * away;
        }
        const double variance = squared / (P * per_group);
        stats[2 * g] = float(mean);
        stats[2 * g + 1] = float(1.0 / std::sqrt((variance > 0 ? variance : 0) + eps));
    }
}

// Normalisation, weights, scale and shift are a x + b in every channel.
void coefficients(const Shape& s, const float* stats, const float* weight, const float* bias, const float* scale_shift,
                  float* __restrict a, float* __restrict b) {
    const int64_t C = s.channels, per_group = C / s.groups;
    for (int64_t c = 0; c < C; ++c) {
        const float mean = stats[2 * (c / per_group)], rstd = stats[2 * (c / per_group) + 1];
        const float scale = scale_shift ? 1.0f + scale_shift[c] : 1.0f;
        const float shift = scale_shift ? scale_shift[C + c] : 0.0f;
        a[c] = rstd * weight[c] * scale;
        b[c] = (bias[c] - mean * rstd * weight[c]) * scale + shift;
    }
}

template <typename T, bool ACT, bool DROP>
void forward(const T* x, const Shape& s, const float* weight, const float* bias, const float* scale_shift, float eps,
             const Mask mask, T* y, float* stats) {
#pragma omp parallel
    {
        const int64_t C = s.channels, size = s.pixels * C;
        std::vector<float> room(3 * C);
        float* __restrict row = room.data() + 2 * C;
#pragma omp for
        for (int64_t n = 0; n < s.images; ++n) {
            float* mine = stats + 2 * s.groups * n;
            statistics(x + n * size, s, eps, mine, room.data());
            float* __restrict a = room.data();
            float* __restrict b = room.data() + C;
            coefficients(s, mine, weight, bias, scale_shift ? scale_shift + 2 * C * n : nullptr, a, b);
            for (int64_t p = 0; p < s.pixels; ++p) {
                const T* __restrict from = x + n * size + p * C;
                T* __restrict to = y + n * size + p * C;
                const uint8_t* __restrict kept = DROP ? mask.kept + n * size + p * C : nullptr;
#pragma omp simd
                for (int32_t c = 0; c < int32_t(C); ++c) {
                    const float z = a[c] * load(from[c]) + b[c];
                    const float out = ACT ? z * sigmoid(z) : z;
                    row[c] = DROP ? out * (float(kept[c]) * mask.scale) : out;
                }
                store_row(to, row, int32_t(C));
            }
        }
    }
}

// The gradient of z = a x + b, from that of what is made of it.
template <bool ACT>
inline float gradient(float dy, float z) {
    if (!ACT) return dy;
    const float s = sigmoid(z);
    return dy * (s + z * s * (1.0f - s));
}

// Writes dx, and for each image and channel the sums of dz and of dz times the normalised x.
template <typename T, bool ACT, bool DROP>
void backward(const T* dy, const T* x, const Shape& s, const float* weight, const float* bias, const float* scale_shift,
              const Mask mask, const float* stats, T* dx, float* sums) {
#pragma omp parallel
    {
        const int64_t C = s.channels, size = s.pixels * C, per_group = C / s.groups;
        std::vector<float> room(6 * C);
        float* __restrict row = room.data() + 5 * C;
#pragma omp for
        for (int64_t n = 0; n < s.images; ++n) {
            const float* mine = stats + 2 * s.groups * n;
            float* __restrict a = room.data();
            float* __restrict b = a + C;
            float* __restrict plain = a + 2 * C;   // sum of dz
            float* __restrict times = a + 3 * C;   // sum of dz x, then of dz times the normalised x
            float* __restrict scaled = a + 4 * C;
            coefficients(s, mine, weight, bias, scale_shift ? scale_shift + 2 * C * n : nullptr, a, b);
            for (int64_t c = 0; c < C; ++c) plain[c] = times[c] = 0.0f;
            for (int64_t c = 0; c < C; ++c) scaled[c] = mine[2 * (c / per_group)];
            for (int64_t p = 0; p < s.pixels; ++p) {
                const int64_t at = n * size + p * C;
                const uint8_t* __restrict kept = DROP ? mask.kept + at : nullptr;
                const T *__restrict from = x + at, *__restrict grad = dy + at;
                T* __restrict to = dx + at;  // keeps dz until the sums are known
#pragma omp simd
                for (int32_t c = 0; c < int32_t(C); ++c) {
                    const float value = load(from[c]);
                    const float dy = DROP ? load(grad[c]) * (float(kept[c]) * mask.scale) : load(grad[c]);
                    const float dz = gradient<ACT>(dy, a[c] * value + b[c]);
                    plain[c] += dz;
                    times[c] += dz * (value - scaled[c]);
                    row[c] = dz;
                }
                store_row(to, row, int32_t(C));
            }
            for (int64_t g = 0; g < s.groups; ++g) {
                const float mean = mine[2 * g], rstd = mine[2 * g + 1];
                double first = 0.0, second = 0.0;
                for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c) {
                    times[c] *= rstd;
                    sums[C * n + c] = plain[c];
                    sums[C * (s.images + n) + c] = times[c];
                    first += double(a[c]) * plain[c];
                    second += double(a[c]) * times[c];
                }
                first /= double(s.pixels * per_group);
                second /= double(s.pixels * per_group);
                // dx = a dz - first - second (x - mean) rstd, as a dz + plain + times x.
                for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c) {
                    times[c] = float(-second * rstd);
                    plain[c] = float(-first + second * rstd * mean);
                }
            }
            for (int64_t p = 0; p < s.pixels; ++p) {
                const T* __restrict from = x + n * size + p * C;
                T* __restrict to = dx + n * size + p * C;
#pragma omp simd
                for (int32_t c = 0; c < int32_t(C); ++c) {
                    row[c] = a[c] * load(to[c]) + plain[c] + times[c] * load(from[c]);
                }
                store_row(to, row, int32_t(C));
            }
        }
    }
}

template <typename T>
void choose_forward(const T* x, const Shape& s, const float* weight, const float* bias, const float* scale_shift,
                    float eps, int act, const Mask mask, T* y, float* stats) {
    auto* run = act ? (mask.kept ? forward<T, true, true> : forward<T, true, false>)
                    : (mask.kept ? forward<T, false, true> : forward<T, false, false>);
    run(x, s, weight, bias, scale_shift, eps, mask, y, stats);
}

template <typename T>
void choose_backward(const T* dy, const T* x, const Shape& s, const float* weight, const float* bias,
                     const float* scale_shift, int act, const Mask mask, const float* stats, T* dx, float* sums) {
    auto* run = act ? (mask.kept ? backward<T, true, true> : backward<T, true, false>)
                    : (mask.kept ? backward<T, false, true> : backward<T, false, false>);
    run(dy, x, s, weight, bias, scale_shift, mask, stats, dx, sums);
}

}  // namespace

extern "C" {

void norm_act_forward(int half, const void* x, const int64_t* shape, const float* weight, const float* bias,
                      const float* scale_shift, float eps, int act, const uint8_t* kept, float scale, void* y,
                      float* stats) {
    const Shape s{shape[0], shape[1], shape[2], shape[3]};
    const Mask mask{kept, scale};
    if (half)
        choose_forward((const bfloat16*)x, s, weight, bias, scale_shift, eps, act, mask, (bfloat16*)y, stats);
    else
        choose_forward((const float*)x, s, weight, bias, scale_shift, eps, act, mask, (float*)y, stats);
}

void norm_act_backward(int half, const void* dy, const void* x, const int64_t* shape, const float* weight,
                       const float* bias, const float* scale_shift, int act, const uint8_t* kept, float scale,
                       const float* stats, void* dx, float* sums) {
    const Shape s{shape[0], shape[1], shape[2], shape[3]};
    const Mask mask{kept, scale};
    if (half)
        choose_backward((const bfloat16*)dy, (const bfloat16*)x, s, weight, bias, scale_shift, act, mask, stats,
                        (bfloat16*)dx, sums);
    else
        choose_backward((const float*)dy, (const float*)x, s, weight, bias, scale_shift, act, mask, stats,
                        (float*)dx, sums);
}
}
