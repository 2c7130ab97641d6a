// Convolutions of 4 x 4 pixels in steps of 2, channels-last, by minimal filtering: F(4 x 4, 2 x 2) in float32, F(2 x 2,
// 2 x 2) in bfloat16.
//
// Pixels of even and of odd rows and columns are four images of half the size, each with 2 x 2 pixels of every filter:
// so 4 x 4 results take 25 products for each of them instead of 64, and 2 x 2 results 9 instead of 16.  Halving takes
// fine images to coarse ones; its transpose, doubling, is also how gradients by the fine images are computed, and the
// other way round.  What same_conv.cpp says of tiles and points holds here, too.
#include <cstdint>

#ifdef __AVX512F__
#include "winograd.h"

using namespace winograd;

namespace {

constexpr int FILTER = 2, PHASES = 4;

// F(4 x 4, 2 x 2), whose points are 0, 1, -1, 2 and infinity.
struct Fours {
    using Pixel = float;
    using Numbers = Singles;
    static constexpr int OUT = 4, IN = 5;
    // Tiles that go through at once: their points should stay in the cache, and large filters should not be read often.
    static constexpr int64_t TILES = 3 * STEP;

    // Inputs to points: B^T d.
    static void points_of_inputs(const Vector* d, int64_t step, Vector* to, int64_t to_step) {
        const Vector d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
        const Vector a = d3 - d2, b = all(2) * (d1 - d2);
        to[0] = all(2) * (d[0] - d2) + d3 - d1;
        to[to_step] = a - all(2) * d1;
        to[2 * to_step] = a + b;
        to[3 * to_step] = d3 - d1;
        to[4 * to_step] = d[4 * step] - d2 + all(2) * (d1 - d3);
    }

    // Points to results: A^T m.
    static void results_of_points(const Vector* m, int64_t step, Vector* to, int64_t to_step) {
        const Vector m1 = m[step], m2 = m[2 * step], m3 = m[3 * step];
        const Vector a = m1 + m2, b = m1 - m2;
        to[0] = m[0] + a + m3;
        to[to_step] = b + all(2) * m3;
        to[2 * to_step] = a + all(4) * m3;
        to[3 * to_step] = b + all(8) * m3 + m[4 * step];
    }

    // The transpose of that: A y.
    static void points_of_results(const Vector* y, int64_t step, Vector* to, int64_t to_step) {
        const Vector y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
        const Vector a = y[0] + y2, b = y1 + y3;
        to[0] = y[0];
        to[to_step] = a + b;
        to[2 * to_step] = a - b;
        to[3 * to_step] = y[0] + all(2) * y1 + all(4) * y2 + all(8) * y3;
        to[4 * to_step] = y3;
    }

    // Filters to points: G g.
    static void points_of_filters(const Vector* g, int64_t step, Vector* to, int64_t to_step) {
        const Vector g1 = g[step];
        to[0] = all(0.5f) * g[0];
        to[to_step] = all(-0.5f) * (g[0] + g1);
        to[2 * to_step] = all(1.0f / 6) * (g1 - g[0]);
        to[3 * to_step] = all(1.0f / 6) * g[0] + all(1.0f / 3) * g1;
        to[4 * to_step] = g1;
    }

    // The transpose of that: G^T u.
    static void filters_of_points(const Vector* u, int64_t step, Vector* to, int64_t to_step) {
        const Vector u1 = u[step], u2 = u[2 * step], u3 = u[3 * step];
        to[0] = all(0.5f) * (u[0] - u1) + all(1.0f / 6) * (u3 - u2);
        to[to_step] = all(-0.5f) * u1 + all(1.0f / 6) * u2 + all(1.0f / 3) * u3 + u[4 * step];
    }
};

#ifndef PRODUCTS_OF_PAIRS
using Twos = Fours;  // never called
#else
// F(2 x 2, 2 x 2), whose points are 0, 1 and infinity; names as above.
struct Twos {
    using Pixel = bfloat16;
    using Numbers = Pairs;
    static constexpr int OUT = 2, IN = 3;
    static constexpr int64_t TILES = 4 * STEP;

    static void points_of_inputs(const Vector* d, int64_t step, Vector* to, int64_t to_step) {
        const Vector d1 = d[step];
        to[0] = d[0] - d1;
        to[to_step] = d1;
        to[2 * to_step] = d[2 * step] - d1;
    }

    static void results_of_points(const Vector* m, int64_t step, Vector* to, int64_t to_step) {
        const Vector m1 = m[step];
        to[0] = m[0] + m1;
        to[to_step] = m1 + m[2 * step];
    }

    static void points_of_results(const Vector* y, int64_t step, Vector* to, int64_t to_step) {
        const Vector y0 = y[0], y1 = y[step];
        to[0] = y0;
        to[to_step] = y0 + y1;
        to[2 * to_step] = y1;
    }

    // Of two numbers as of results.
    static void points_of_filters(const Vector* g, int64_t step, Vector* to, int64_t to_step) {
        points_of_results(g, step, to, to_step);
    }

    static void filters_of_points(const Vector* u, int64_t step, Vector* to, int64_t to_step) {
        results_of_points(u, step, to, to_step);
    }
};
#endif

// A convolution of this shape: (images, height, width, fine channels, coarse channels), with height and width of the
// coarse images, and filters [coarse channels, 4, 4, fine channels].
template <typename F>
class Convolution {
 public:
    using Pixel = typename F::Pixel;
    using Numbers = typename F::Numbers;

    explicit Convolution(const int64_t* shape)
        : tiles{shape[0], shape[1], shape[2]},
          fine{2 * shape[1], 2 * shape[2], shape[3]},
          coarse{shape[1], shape[2], shape[4]} {}

    void to_coarse(const void* from, const float* w, const float* bias, void* to) const {
        const int64_t C = fine.channels, K = coarse.channels;
        const Points points(POINTS, PHASES * padded(C) / Numbers::SIZE, K);
        if (C % LANES) points.clear();
        for_blocks(C, K, [&](int64_t first, int64_t k) {
            Filters<NUMBERS> filters;
            filters.load([&](int n) { return w + filter(k, first, n / 4, n % 4); }, filter(1, 0, 0, 0), C - first, K - k);
            for (int phase = 0; phase < PHASES; ++phase) {
                const int64_t before = phase * padded(C);
                for (int64_t c = first; c < std::min(first + LANES, C); c += Numbers::SIZE)
                    points.store_rows<Numbers, POINTS>(before + c, before + C, k, [&](int64_t row, Vector* turned) {
                        Vector pixels[FILTER * FILTER];
                        for (int p = 0; p < FILTER * FILTER; ++p)
                            pixels[p] = filters.numbers[row - before - first][number(phase, p)];
                        turn<FILTER, F::IN, F::points_of_filters>(pixels, turned);
                    });
            }
        });
        through<Numbers, POINTS>(tiles.count(), F::TILES, points, PHASES * padded(C), reader_of_fine(from),
                                 writer(coarse, bias, 1, 0, 0, to));
    }

    void to_fine(const void* from, const float* w, const float* bias, void* to) const {
        const int64_t C = fine.channels, K = coarse.channels;
        for (int phase = 0; phase < PHASES; ++phase) {
            const int64_t down = phase / 2, right = phase % 2;
            const Points points(POINTS, (K + Numbers::SIZE - 1) / Numbers::SIZE, C);
#pragma omp parallel for schedule(static)
            for (int64_t first = 0; first < K; first += Numbers::SIZE)
                for (int64_t c = 0; c < C; c += LANES)
                    points.store_rows<Numbers, POINTS>(first, K, c, [&](int64_t k, Vector* turned) {
                        Vector pixels[FILTER * FILTER];
                        for (int i = 0; i < FILTER; ++i)
                            for (int j = 0; j < FILTER; ++j)
                                pixels[i * FILTER + j] = products::load(
                                    w + filter(k, c, 2 - 2 * i + down, 2 - 2 * j + right), lanes(C - c));
                        turn<FILTER, F::IN, F::points_of_filters>(pixels, turned);
                    });
            const auto read = [&](int64_t t, int64_t k, Vector* turned) {
                Vector tile[POINTS];
                coarse.load<F::IN>((const Pixel*)from, tiles.image(t), tiles.top(t) - down, tiles.left(t) - right, 1, k,
                                   tile);
                turn<F::IN, F::IN, F::points_of_inputs>(tile, turned);
            };
            through<Numbers, POINTS>(tiles.count(), F::TILES, points, K, read,
                                     writer(fine, bias, 2, 1 - down, 1 - right, to));
        }
    }

    // The gradient by filters of halving; of doubling, if `coarse_from` are its inputs and `fine_from` the gradients by
    // its results.
    void filter_gradient(const void* fine_from, const void* coarse_from, float* dw) const {
        const int64_t C = fine.channels, K = coarse.channels;
        const auto read_gradients = [&](int64_t t, int64_t k, Vector* turned) {
            Vector tile[F::OUT * F::OUT];
            coarse.load<F::OUT>((const Pixel*)coarse_from, tiles.image(t), tiles.top(t), tiles.left(t), 1, k, tile);
            turn<F::OUT, F::IN, F::points_of_results>(tile, turned);
        };
        const auto sums = summed<Numbers, POINTS>(tiles.count(), F::TILES, PHASES * padded(C), K,
                                                  reader_of_fine(fine_from), read_gradients);
        for_blocks(C, K, [&](int64_t first, int64_t k) {
            Filters<NUMBERS> filters;
            for (int64_t c = 0; c < std::min(LANES, C - first); ++c)
                for (int phase = 0; phase < PHASES; ++phase) {
                    Vector points[POINTS], pixels[FILTER * FILTER];
                    sums->load(phase * padded(C) + first + c, k, points);
                    turn<F::IN, FILTER, F::filters_of_points>(points, pixels);
                    for (int p = 0; p < FILTER * FILTER; ++p) filters.numbers[c][number(phase, p)] = pixels[p];
                }
            filters.store([&](int n) { return dw + filter(k, first, n / 4, n % 4); }, filter(1, 0, 0, 0), C - first,
                          K - k);
        });
    }

 private:
    static constexpr int POINTS = F::IN * F::IN, NUMBERS = PHASES * FILTER * FILTER;

    // Which of the 4 x 4 numbers of a filter is the p-th of the 2 x 2 of a phase.
    static int number(int phase, int p) {
        const int row = 2 * (p / FILTER) + phase / 2, column = 2 * (p % FILTER) + phase % 2;
        return row * 4 + column;
    }

    // The first of the numbers of a filter: those of a fine channel, at row i and column j.
    int64_t filter(int64_t k, int64_t c, int64_t i, int64_t j) const {
        return ((k * 4 + i) * 4 + j) * fine.channels + c;
    }

    // Reads a tile of pixels of one phase of the fine images; the channels of phases lie beside each other.
    auto reader_of_fine(const void* from) const {
        return [this, from](int64_t t, int64_t channel, Vector* turned) {
            Vector tile[POINTS];
            const int64_t phase = channel / padded(fine.channels), c = channel % padded(fine.channels);
            const int64_t top = 2 * tiles.top(t) + phase / 2 - 1, left = 2 * tiles.left(t) + phase % 2 - 1;
            fine.load<F::IN>((const Pixel*)from, tiles.image(t), top, left, 2, c, tile);
            turn<F::IN, F::IN, F::points_of_inputs>(tile, turned);
        };
    }

    // Writes a tile of results to images, where it begins at scale * (top, left) + (down, right).
    auto writer(const Pixels& images, const float* bias, int64_t scale, int64_t down, int64_t right, void* to) const {
        return [=, &images](int64_t t, int64_t k, const Vector* points) {
            Vector tile[F::OUT * F::OUT];
            turn<F::IN, F::OUT, F::results_of_points>(points, tile);
            images.store<F::OUT>(tile, bias, tiles.image(t), scale * tiles.top(t) + down, scale * tiles.left(t) + right,
                                 scale, k, (Pixel*)to);
        };
    }

    const Tiles<F::OUT> tiles;
    const Pixels fine, coarse;
};

// Runs the convolution of this shape and of images in bfloat16, if `half`, or float32.
template <typename Run>
void with(int half, const int64_t* shape, Run run) {
    choose<Convolution<Fours>, Convolution<Twos>>(half, shape, run);
}

}  // namespace

// Images are in bfloat16 if `half`.
extern "C" void halving_convolution(int half, const int64_t* shape, const void* fine, const float* w, const float* bias,
                                    void* coarse) {
    with(half, shape, [=](const auto& convolution) { convolution.to_coarse(fine, w, bias, coarse); });
}

extern "C" void doubling_convolution(int half, const int64_t* shape, const void* coarse, const float* w,
                                     const float* bias, void* fine) {
    with(half, shape, [=](const auto& convolution) { convolution.to_fine(coarse, w, bias, fine); });
}

extern "C" void halving_filter_gradient(int half, const int64_t* shape, const void* fine, const void* coarse,
                                        float* dw) {
    with(half, shape, [=](const auto& convolution) { convolution.filter_gradient(fine, coarse, dw); });
}

#else

extern "C" void halving_convolution(int, const int64_t*, const void*, const float*, const float*, void*) {}
extern "C" void doubling_convolution(int, const int64_t*, const void*, const float*, const float*, void*) {}
extern "C" void halving_filter_gradient(int, const int64_t*, const void*, const void*, float*) {}

#endif
