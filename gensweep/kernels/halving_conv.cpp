// Convolutions of 4 x 4 pixels in steps of 2, in float32 and channels-last, by minimal filtering F(4 x 4, 2 x 2).
//
// Pixels of even and of odd rows and columns are four images of half the size, each with 2 x 2 pixels of every filter:
// so 4 x 4 results take 25 products for each of them instead of 64.  Halving takes fine images to coarse ones; its
// transpose, doubling, is also how gradients by the fine images are computed, and the other way round.  What
// same_conv.cpp says of tiles and points holds here, too.
#include <cstdint>

#ifdef __AVX512F__
#include "winograd.h"

using namespace winograd;

namespace {

constexpr int OUT = 4, IN = 5, FILTER = 2, PHASES = 4;
// Tiles that go through at once: their points should stay in the cache, and large filters should not be read often.
constexpr int64_t TILES = 3 * STEP;

// Inputs to points: B^T d, for the points 0, 1, -1, 2 and infinity.
inline void points_of_inputs(const Vector* d, int64_t step, Vector* to, int64_t to_step) {
    const Vector d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
    const Vector a = d3 - d2, b = all(2) * (d1 - d2);
    to[0] = all(2) * (d[0] - d2) + d3 - d1;
    to[to_step] = a - all(2) * d1;
    to[2 * to_step] = a + b;
    to[3 * to_step] = d3 - d1;
    to[4 * to_step] = d[4 * step] - d2 + all(2) * (d1 - d3);
}

// Points to results: A^T m.
inline void results_of_points(const Vector* m, int64_t step, Vector* to, int64_t to_step) {
    const Vector m1 = m[step], m2 = m[2 * step], m3 = m[3 * step];
    const Vector a = m1 + m2, b = m1 - m2;
    to[0] = m[0] + a + m3;
    to[to_step] = b + all(2) * m3;
    to[2 * to_step] = a + all(4) * m3;
    to[3 * to_step] = b + all(8) * m3 + m[4 * step];
}

// The transpose of that: A y.
inline void points_of_results(const Vector* y, int64_t step, Vector* to, int64_t to_step) {
    const Vector y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
    const Vector a = y[0] + y2, b = y1 + y3;
    to[0] = y[0];
    to[to_step] = a + b;
    to[2 * to_step] = a - b;
    to[3 * to_step] = y[0] + all(2) * y1 + all(4) * y2 + all(8) * y3;
    to[4 * to_step] = y3;
}

// Filters to points: G g.
inline void points_of_filters(const Vector* g, int64_t step, Vector* to, int64_t to_step) {
    const Vector g1 = g[step];
    to[0] = all(0.5f) * g[0];
    to[to_step] = all(-0.5f) * (g[0] + g1);
    to[2 * to_step] = all(1.0f / 6) * (g1 - g[0]);
    to[3 * to_step] = all(1.0f / 6) * g[0] + all(1.0f / 3) * g1;
    to[4 * to_step] = g1;
}

// The transpose of that: G^T u.
inline void filters_of_points(const Vector* u, int64_t step, Vector* to, int64_t to_step) {
    const Vector u1 = u[step], u2 = u[2 * step], u3 = u[3 * step];
    to[0] = all(0.5f) * (u[0] - u1) + all(1.0f / 6) * (u3 - u2);
    to[to_step] = all(-0.5f) * u1 + all(1.0f / 6) * u2 + all(1.0f / 3) * u3 + u[4 * step];
}

// A convolution's fine and coarse images, and its filters [coarse channels, 4, 4, fine channels].
struct Problem {
    explicit Problem(const int64_t* shape)
        : tiles{shape[0], shape[1], shape[2]},
          fine{2 * shape[1], 2 * shape[2], shape[3]},
          coarse{shape[1], shape[2], shape[4]} {}

    // The first of the numbers of a filter: those of a fine channel, at row i and column j.
    int64_t filter(int64_t k, int64_t c, int64_t i, int64_t j) const {
        return ((k * 4 + i) * 4 + j) * fine.channels + c;
    }

    const Tiles<OUT> tiles;
    const Pixels fine, coarse;
};

// Reads n tiles of 5 x 5 pixels of each phase of the fine images; phases lie beside each other.
auto reader_of_fine(const float* x, const Problem& problem) {
    return [=, &problem](int64_t first, int64_t n, const Points& to) {
        const Tiles<OUT>& tiles = problem.tiles;
        for (int64_t t = first; t < first + n; ++t)
            for (int phase = 0; phase < PHASES; ++phase)
                for (int64_t c = 0; c < problem.fine.channels; c += LANES) {
                    Vector tile[IN * IN], points[IN * IN];
                    const int64_t top = 2 * tiles.top(t) + phase / 2 - 1, left = 2 * tiles.left(t) + phase % 2 - 1;
                    problem.fine.load<IN>(x, tiles.image(t), top, left, 2, c, tile);
                    turn<IN, IN, points_of_inputs>(tile, points);
                    to.store(points, t - first, phase * padded(problem.fine.channels) + c);
                }
    };
}

// Writes n tiles of 4 x 4 results to images, where the tiles begin at their scale * (top, left) + (down, right).
auto writer(const Pixels& images, const Tiles<OUT>& tiles, const float* bias, int64_t scale, int64_t down, int64_t right,
            float* y) {
    return [=, &images, &tiles](int64_t first, int64_t n, const Points& products) {
        for (int64_t t = first; t < first + n; ++t)
            for (int64_t k = 0; k < images.channels; k += LANES) {
                Vector points[IN * IN], tile[OUT * OUT];
                products.load(t - first, k, points);
                turn<IN, OUT, results_of_points>(points, tile);
                images.store<OUT>(tile, bias, tiles.image(t), scale * tiles.top(t) + down, scale * tiles.left(t) + right,
                             scale, k, y);
            }
    };
}

}  // namespace

// shape is (images, height, width, fine channels, coarse channels), of the coarse images.
extern "C" void halving_convolution(const int64_t* shape, const float* fine, const float* w, const float* bias,
                                    float* coarse) {
    const Problem problem(shape);
    const int64_t C = problem.fine.channels, K = problem.coarse.channels;
    const Points points(IN * IN, PHASES * padded(C), K);
    const Filters filters(problem.filter(1, 0, 0, 0));
    if (C % LANES) points.clear();
    for_pairs(C, K, [&](int64_t c, int64_t k) {
        for (int phase = 0; phase < PHASES; ++phase) {
            Vector filter[FILTER * FILTER], turned[IN * IN];
            for (int i = 0; i < FILTER; ++i)
                for (int j = 0; j < FILTER; ++j)
                    filter[i * FILTER + j] =
                        filters.load(w + problem.filter(k, c, 2 * i + phase / 2, 2 * j + phase % 2), lanes(K - k));
            turn<FILTER, IN, points_of_filters>(filter, turned);
            points.store(turned, phase * padded(C) + c, k);
        }
    });
    const auto write = writer(problem.coarse, problem.tiles, bias, 1, 0, 0, coarse);
    through<Singles>(problem.tiles.count(), TILES, points, PHASES * padded(C), reader_of_fine(fine, problem), write);
}

extern "C" void doubling_convolution(const int64_t* shape, const float* coarse, const float* w, const float* bias,
                                     float* fine) {
    const Problem problem(shape);
    const int64_t C = problem.fine.channels, K = problem.coarse.channels;
    for (int phase = 0; phase < PHASES; ++phase) {
        const int64_t down = phase / 2, right = phase % 2;
        const Points points(IN * IN, K, C);
#pragma omp parallel for schedule(static)
        for (int64_t k = 0; k < K; ++k)
            for (int64_t c = 0; c < C; c += LANES) {
                Vector filter[FILTER * FILTER], turned[IN * IN];
                for (int i = 0; i < FILTER; ++i)
                    for (int j = 0; j < FILTER; ++j)
                        filter[i * FILTER + j] = _mm512_maskz_loadu_ps(
                            lanes(C - c), w + problem.filter(k, c, 2 - 2 * i + down, 2 - 2 * j + right));
                turn<FILTER, IN, points_of_filters>(filter, turned);
                points.store(turned, k, c);
            }
        const Tiles<OUT>& tiles = problem.tiles;
        const auto read = [&](int64_t first, int64_t n, const Points& to) {
            for (int64_t t = first; t < first + n; ++t)
                for (int64_t k = 0; k < K; k += LANES) {
                    Vector tile[IN * IN], each[IN * IN];
                    problem.coarse.load<IN>(coarse, tiles.image(t), tiles.top(t) - down, tiles.left(t) - right, 1, k,
                                            tile);
                    turn<IN, IN, points_of_inputs>(tile, each);
                    to.store(each, t - first, k);
                }
        };
        through<Singles>(tiles.count(), TILES, points, K, read, writer(problem.fine, tiles, bias, 2, 1 - down, 1 - right, fine));
    }
}

// The gradient by filters of halving; of doubling, if `coarse` are its inputs and `fine` the gradients by its results.
extern "C" void halving_filter_gradient(const int64_t* shape, const float* fine, const float* coarse, float* dw) {
    const Problem problem(shape);
    const int64_t C = problem.fine.channels, K = problem.coarse.channels;
    const auto read_gradients = [&](int64_t first, int64_t n, const Points& to) {
        const Tiles<OUT>& tiles = problem.tiles;
        for (int64_t t = first; t < first + n; ++t)
            for (int64_t k = 0; k < K; k += LANES) {
                Vector tile[OUT * OUT], each[IN * IN];
                problem.coarse.load<OUT>(coarse, tiles.image(t), tiles.top(t), tiles.left(t), 1, k, tile);
                turn<OUT, IN, points_of_results>(tile, each);
                to.store(each, t - first, k);
            }
    };
    const auto sums = summed<Singles>(problem.tiles.count(), TILES, IN * IN, PHASES * padded(C), K,
                             reader_of_fine(fine, problem), read_gradients);
    const Filters filters(problem.filter(1, 0, 0, 0));
    for_pairs(C, K, [&](int64_t c, int64_t k) {
        for (int phase = 0; phase < PHASES; ++phase) {
            Vector each[IN * IN], filter[FILTER * FILTER];
            sums->load(phase * padded(C) + c, k, each);
            turn<IN, FILTER, filters_of_points>(each, filter);
            for (int i = 0; i < FILTER; ++i)
                for (int j = 0; j < FILTER; ++j)
                    filters.store(filter[i * FILTER + j], lanes(K - k),
                                  dw + problem.filter(k, c, 2 * i + phase / 2, 2 * j + phase % 2));
        }
    });
}

#else

extern "C" void halving_convolution(const int64_t*, const float*, const float*, const float*, float*) {}
extern "C" void doubling_convolution(const int64_t*, const float*, const float*, const float*, float*) {}
extern "C" void halving_filter_gradient(const int64_t*, const float*, const float*, float*) {}

#endif
