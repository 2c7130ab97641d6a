// Philox4x32-10 (Salmon et al. 2011): four words of 32 bits for each sample and block, as exact as any other way.
#include <cstdint>

namespace {

constexpr uint64_t MULTIPLIER_0 = 0xD2511F53, MULTIPLIER_1 = 0xCD9E8D57;
constexpr uint32_t WEYL_0 = 0x9E3779B9, WEYL_1 = 0xBB67AE85;
constexpr int ROUNDS = 10;

}  // namespace

// samples is [rows], words [4, rows, blocks]; a counter is (block, stream, low half of the sample, its high half).
extern "C" void philox(const int64_t* samples, int64_t rows, int64_t blocks, int64_t stream, int64_t key,
                       int64_t* __restrict words) {
    const int64_t size = rows * blocks;
    for (int64_t row = 0; row < rows; ++row) {
        const uint64_t sample = uint64_t(samples[row]);
        int64_t* out = words + row * blocks;
#pragma omp simd
        for (int64_t block = 0; block < blocks; ++block) {
            uint32_t x0 = uint32_t(block), x1 = uint32_t(stream), x2 = uint32_t(sample), x3 = uint32_t(sample >> 32);
            uint32_t k0 = uint32_t(key), k1 = uint32_t(uint64_t(key) >> 32);
            for (int round = 0; round < ROUNDS; ++round) {
                const uint64_t p0 = MULTIPLIER_0 * x0, p1 = MULTIPLIER_1 * x2;
                x0 = uint32_t(p1 >> 32) ^ x1 ^ k0, x1 = uint32_t(p1);
                x2 = uint32_t(p0 >> 32) ^ x3 ^ k1, x3 = uint32_t(p0);
                k0 += WEYL_0, k1 += WEYL_1;
            }
            out[block] = x0, out[block + size] = x1, out[block + 2 * size] = x2, out[block + 3 * size] = x3;
        }
    }
}
