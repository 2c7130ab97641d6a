// Convolutions of 3 x 3 pixels, which may lie apart, channels-last, by Winograd's minimal filtering: F(4 x 4, 3 x 3) in
// float32, F(2 x 2, 3 x 3) in bfloat16, which keeps fewer digits than the larger tiles lose.
//
// A tile of 4 x 4 results takes 36 products for each pair of channels instead of 144, one of 2 x 2 results 16 instead
// of 36: tiles of inputs and the filters become as many points each, points are multiplied, and the products become
// results.  A few tiles at a time go through all of it in the cache of a core.  Gradients by inputs are such a
// convolution, with turned filters; those by filters are the same steps backwards.  Filters, their gradients and sums
// are in float32 throughout.  Compiled by library.py; winograd.py says in PyTorch's words what is computed.
#include <cstdint>

#ifdef __AVX512F__
#include "winograd.h"

using namespace winograd;

namespace {

constexpr int FILTER = 3;

// F(4 x 4, 3 x 3), whose points are 0, 1, -1, 2, -2 and infinity.
struct Fours {
    using Pixel = float;
    using Numbers = Singles;
    static constexpr int OUT = 4, IN = 6;
    static constexpr int64_t TILES = 2 * STEP;  // that go through at once

    // Inputs to points: B^T d.
    static void points_of_inputs(const Vector* d, int64_t step, Vector* to, int64_t to_step) {
        const Vector d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step];
        const Vector a = d4 - all(4) * d2, b = d3 - all(4) * d1, c = d4 - d2, e = all(2) * (d3 - d1);
        to[0] = all(4) * d[0] - all(5) * d2 + d4;
        to[to_step] = a + b;
        to[2 * to_step] = a - b;
        to[3 * to_step] = c + e;
        to[4 * to_step] = c - e;
        to[5 * to_step] = all(4) * d1 - all(5) * d3 + d[5 * step];
    }

    // Points to results: A^T m.
    static void results_of_points(const Vector* m, int64_t step, Vector* to, int64_t to_step) {
        const Vector m1 = m[step], m2 = m[2 * step], m3 = m[3 * step], m4 = m[4 * step];
        const Vector a = m1 + m2, b = m1 - m2, c = m3 + m4, d = m3 - m4;
        to[0] = m[0] + a + c;
        to[to_step] = b + all(2) * d;
        to[2 * to_step] = a + all(4) * c;
        to[3 * to_step] = b + all(8) * d + m[5 * step];
    }

    // The transpose of that: A y.
    static void points_of_results(const Vector* y, int64_t step, Vector* to, int64_t to_step) {
        const Vector y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
        const Vector a = y[0] + y2, b = y1 + y3, c = y[0] + all(4) * y2, d = all(2) * y1 + all(8) * y3;
        to[0] = y[0];
        to[to_step] = a + b;
        to[2 * to_step] = a - b;
        to[3 * to_step] = c + d;
        to[4 * to_step] = c - d;
        to[5 * to_step] = y3;
    }

    // Filters to points: G g.
    static void points_of_filters(const Vector* g, int64_t step, Vector* to, int64_t to_step) {
        const Vector g1 = g[step], g2 = g[2 * step];
        const Vector a = all(-1.0f / 6) * (g[0] + g2), b = all(-1.0f / 6) * g1;
        const Vector c = all(1.0f / 24) * g[0] + all(1.0f / 6) * g2, d = all(1.0f / 12) * g1;
        to[0] = all(0.25f) * g[0];
        to[to_step] = a + b;
        to[2 * to_step] = a - b;
        to[3 * to_step] = c + d;
        to[4 * to_step] = c - d;
        to[5 * to_step] = g2;
    }

    // The transpose of that: G^T u.
    static void filters_of_points(const Vector* u, int64_t step, Vector* to, int64_t to_step) {
        const Vector u1 = u[step], u2 = u[2 * step], u3 = u[3 * step], u4 = u[4 * step];
        const Vector a = all(-1.0f / 6) * (u1 + u2), b = u3 + u4;
        to[0] = all(0.25f) * u[0] + a + all(1.0f / 24) * b;
        to[to_step] = all(-1.0f / 6) * (u1 - u2) + all(1.0f / 12) * (u3 - u4);
        to[2 * to_step] = a + all(1.0f / 6) * b + u[5 * step];
    }
};

#ifndef PRODUCTS_OF_PAIRS
using Twos = Fours;  // never called
#else
// F(2 x 2, 3 x 3), whose points are 0, 1, -1 and infinity; names as above.
struct Twos {
    using Pixel = bfloat16;
    using Numbers = Pairs;
    static constexpr int OUT = 2, IN = 4;
    static constexpr int64_t TILES = 4 * STEP;

    static void points_of_inputs(const Vector* d, int64_t step, Vector* to, int64_t to_step) {
        const Vector d1 = d[step], d2 = d[2 * step];
        to[0] = d[0] - d2;
        to[to_step] = d1 + d2;
        to[2 * to_step] = d2 - d1;
        to[3 * to_step] = d1 - d[3 * step];
    }

    static void results_of_points(const Vector* m, int64_t step, Vector* to, int64_t to_step) {
        const Vector m1 = m[step], m2 = m[2 * step];
        to[0] = m[0] + m1 + m2;
        to[to_step] = m1 - m2 - m[3 * step];
    }

    static void points_of_results(const Vector* y, int64_t step, Vector* to, int64_t to_step) {
        const Vector y1 = y[step];
        to[0] = y[0];
        to[to_step] = y[0] + y1;
        to[2 * to_step] = y[0] - y1;
        to[3 * to_step] = -y1;
    }

    static void points_of_filters(const Vector* g, int64_t step, Vector* to, int64_t to_step) {
        const Vector a = all(0.5f) * (g[0] + g[2 * step]), b = all(0.5f) * g[step];
        to[0] = g[0];
        to[to_step] = a + b;
        to[2 * to_step] = a - b;
        to[3 * to_step] = g[2 * step];
    }

    static void filters_of_points(const Vector* u, int64_t step, Vector* to, int64_t to_step) {
        const Vector a = all(0.5f) * (u[step] + u[2 * step]);
        to[0] = u[0] + a;
        to[to_step] = all(0.5f) * (u[step] - u[2 * step]);
        to[2 * to_step] = a + u[3 * step];
    }
};
#endif

// A convolution of this shape: (images, height, width, dilation, inputs, outputs).  Pixels that lie `dilation` apart
// see nothing of those between them: they are images of their own, which tiles are of.
template <typename F>
class Convolution {
 public:
    using Pixel = typename F::Pixel;
    using Numbers = typename F::Numbers;

    explicit Convolution(const int64_t* shape)
        : dilation(shape[3]),
          tiles{shape[0] * dilation * dilation, shape[1] / dilation, shape[2] / dilation},
          inputs{shape[1], shape[2], shape[4]},
          outputs{shape[1], shape[2], shape[5]} {}

    // x [b, h, w, inputs] to y [b, h, w, outputs].
    void run(const void* x, const float* w, bool turned, const float* bias, void* y) const {
        const int64_t C = inputs.channels, K = outputs.channels;
        const Points filters(POINTS, (C + Numbers::SIZE - 1) / Numbers::SIZE, K);
        read_filters(w, turned, filters);
        const auto write = [&](int64_t t, int64_t k, const Vector* points) {
            Vector tile[F::OUT * F::OUT];
            turn<F::IN, F::OUT, F::results_of_points>(points, tile);
            outputs.store<F::OUT>(tile, bias, image(t), top(t), left(t), dilation, k, (Pixel*)y);
        };
        through<Numbers, POINTS>(tiles.count(), F::TILES, filters, C, reader_of_inputs(x), write);
    }

    void filter_gradient(const void* x, const void* dy, float* dw) const {
        const int64_t C = inputs.channels, K = outputs.channels;
        const auto read_gradients = [&](int64_t t, int64_t k, Vector* points) {
            Vector tile[F::OUT * F::OUT];
            outputs.load<F::OUT>((const Pixel*)dy, image(t), top(t), left(t), dilation, k, tile);
            turn<F::OUT, F::IN, F::points_of_results>(tile, points);
        };
        const auto sums =
            summed<Numbers, POINTS>(tiles.count(), F::TILES, C, K, reader_of_inputs(x), read_gradients);
        for_blocks(C, K, [&](int64_t first, int64_t k) {
            Filters<NUMBERS> filters;
            for (int64_t c = 0; c < std::min(LANES, C - first); ++c) {
                Vector points[POINTS];
                sums->load(first + c, k, points);
                turn<F::IN, FILTER, F::filters_of_points>(points, filters.numbers[c]);
            }
            filters.store([&](int n) { return dw + (k * NUMBERS + n) * C + first; }, NUMBERS * C, C - first, K - k);
        });
    }

 private:
    static constexpr int POINTS = F::IN * F::IN, NUMBERS = FILTER * FILTER;

    int64_t image(int64_t tile) const { return tiles.image(tile) / (dilation * dilation); }
    int64_t top(int64_t tile) const { return tiles.image(tile) / dilation % dilation + dilation * tiles.top(tile); }
    int64_t left(int64_t tile) const { return tiles.image(tile) % dilation + dilation * tiles.left(tile); }

    // Tiles of inputs overlap.
    auto reader_of_inputs(const void* x) const {
        return [this, x](int64_t t, int64_t c, Vector* points) {
            Vector tile[POINTS];
            inputs.load<F::IN>((const Pixel*)x, image(t), top(t) - dilation, left(t) - dilation, dilation, c, tile);
            turn<F::IN, F::IN, F::points_of_inputs>(tile, points);
        };
    }

    // Filters [outputs, 3, 3, inputs] to points; turned, those of the gradients by inputs, they are [inputs, 3, 3,
    // outputs] with their pixels in reverse order.
    void read_filters(const float* w, bool turned, const Points& to) const {
        const int64_t C = inputs.channels, K = outputs.channels;
        for_blocks(C, K, [&](int64_t first, int64_t k) {
            Filters<NUMBERS> filters;
            if (turned) {
                for (int64_t c = first; c < std::min(first + LANES, C); ++c)
                    for (int n = 0; n < NUMBERS; ++n)
                        filters.numbers[c - first][n] =
                            products::load(w + (c * NUMBERS + NUMBERS - 1 - n) * K + k, lanes(K - k));
            } else {
                filters.load([&](int n) { return w + (k * NUMBERS + n) * C + first; }, NUMBERS * C, C - first, K - k);
            }
            for (int64_t c = first; c < std::min(first + LANES, C); c += Numbers::SIZE)
                to.store_rows<Numbers, POINTS>(c, C, k, [&](int64_t row, Vector* points) {
                    turn<FILTER, F::IN, F::points_of_filters>(filters.numbers[row - first], points);
                });
        });
    }

    const int64_t dilation;
    const Tiles<F::OUT> tiles;
    const Pixels inputs, outputs;
};

// Runs the convolution of this shape and of images in bfloat16, if `half`, or float32.
template <typename Run>
void with(int half, const int64_t* shape, Run run) {
    choose<Convolution<Fours>, Convolution<Twos>>(half, shape, run);
}

}  // namespace

extern "C" int winograd_is_compiled() { return 1; }

// Not where matrix units compute all products sooner than this a part of them.
extern "C" int winograd_takes_bfloat16() {
#if defined(PRODUCTS_OF_PAIRS) && !defined(__AMX_BF16__)
    return 1;
#else
    return 0;
#endif
}

// x [b, h, w, inputs], w [outputs, 3, 3, inputs], y [b, h, w, outputs], and dx, dw, dy like them; images are in
// bfloat16 if `half`.
extern "C" void same_convolution(int half, const int64_t* shape, const void* x, const float* w, const float* bias,
                                 void* y) {
    with(half, shape, [=](const auto& convolution) { convolution.run(x, w, false, bias, y); });
}

// Inputs and outputs change places: they are those of this convolution, of dy to dx.
extern "C" void same_input_gradient(int half, const int64_t* shape, const void* dy, const float* w, void* dx) {
    with(half, shape, [=](const auto& convolution) { convolution.run(dy, w, true, nullptr, dx); });
}

extern "C" void same_filter_gradient(int half, const int64_t* shape, const void* x, const void* dy, float* dw) {
    with(half, shape, [=](const auto& convolution) { convolution.filter_gradient(x, dy, dw); });
}

#else

extern "C" int winograd_is_compiled() { return 0; }
extern "C" int winograd_takes_bfloat16() { return 0; }
extern "C" void same_convolution(int, const int64_t*, const void*, const float*, const float*, void*) {}
extern "C" void same_input_gradient(int, const int64_t*, const void*, const float*, void*) {}
extern "C" void same_filter_gradient(int, const int64_t*, const void*, const void*, float*) {}

#endif
