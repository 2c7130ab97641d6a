// The exponential function that the kernels share: without branches, so that the compiler can do many at once.
#pragma once
#include <cstdint>
#include <cstring>

constexpr float LOG2_E = 1.44269504f;

// 2^y, by 2^n times a polynomial, with a relative error below 2e-7; y is bounded by -126 and 126.
inline float power_of_two(float y) {
    y = y > 126.0f ? 126.0f : y;
    y = y < -126.0f ? -126.0f : y;
    float shifted = y + 12582912.0f;  // 1.5 * 2^23: the integer nearest to y is in the lowest bits
    int32_t n;
    std::memcpy(&n, &shifted, 4);
    float r = y - (shifted - 12582912.0f);
    float p = 1.54035304e-4f;
    p = p * r + 1.33335581e-3f;
    p = p * r + 9.61812911e-3f;
    p = p * r + 5.55041087e-2f;
    p = p * r + 2.40226507e-1f;
    p = p * r + 6.93147181e-1f;
    p = p * r + 1.0f;
    int32_t bits = int32_t(uint32_t(n) << 23) + 0x3F800000;
    float power;
    std::memcpy(&power, &bits, 4);
    return p * power;
}
