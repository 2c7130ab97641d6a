// Convolutions of 3 x 3 pixels, which may lie apart, in float32 and channels-last, by Winograd's minimal filtering F(4
// x 4, 3 x 3).
//
// A tile of 4 x 4 results takes 36 products for each pair of channels instead of 144: tiles of 6 x 6 inputs and the
// filters become 36 points each, points are multiplied, and the products become results.  A few tiles at a time go
// through all of it in the cache of a core.  Gradients by inputs are such a convolution, with turned filters; those by
// filters are the same steps backwards.  Compiled by library.py; winograd.py says in PyTorch's words what is computed.
#include <cstdint>

#ifdef __AVX512F__
#include "winograd.h"

using namespace winograd;

namespace {

constexpr int OUT = 4, IN = 6, FILTER = 3;
constexpr int64_t TILES = 2 * STEP;  // that go through at once

// Inputs to points: B^T d.
inline void points_of_inputs(const Vector* d, int64_t step, Vector* to, int64_t to_step) {
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
inline void results_of_points(const Vector* m, int64_t step, Vector* to, int64_t to_step) {
    const Vector m1 = m[step], m2 = m[2 * step], m3 = m[3 * step], m4 = m[4 * step];
    const Vector a = m1 + m2, b = m1 - m2, c = m3 + m4, d = m3 - m4;
    to[0] = m[0] + a + c;
    to[to_step] = b + all(2) * d;
    to[2 * to_step] = a + all(4) * c;
    to[3 * to_step] = b + all(8) * d + m[5 * step];
}

// The transpose of that: A y.
inline void points_of_results(const Vector* y, int64_t step, Vector* to, int64_t to_step) {
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
inline void points_of_filters(const Vector* g, int64_t step, Vector* to, int64_t to_step) {
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
inline void filters_of_points(const Vector* u, int64_t step, Vector* to, int64_t to_step) {
    const Vector u1 = u[step], u2 = u[2 * step], u3 = u[3 * step], u4 = u[4 * step];
    const Vector a = all(-1.0f / 6) * (u1 + u2), b = u3 + u4;
    to[0] = all(0.25f) * u[0] + a + all(1.0f / 24) * b;
    to[to_step] = all(-1.0f / 6) * (u1 - u2) + all(1.0f / 12) * (u3 - u4);
    to[2 * to_step] = a + all(1.0f / 6) * b + u[5 * step];
}

// The shape of all arguments: (images, height, width, dilation, inputs, outputs).  Pixels that lie `dilation` apart see
// nothing of those between them: they are images of their own, which tiles are of.
struct Problem {
    explicit Problem(const int64_t* shape)
        : dilation(shape[3]),
          tiles{shape[0] * dilation * dilation, shape[1] / dilation, shape[2] / dilation},
          inputs{shape[1], shape[2], shape[4]},
          outputs{shape[1], shape[2], shape[5]} {}

    int64_t image(int64_t tile) const { return tiles.image(tile) / (dilation * dilation); }
    int64_t top(int64_t tile) const { return tiles.image(tile) / dilation % dilation + dilation * tiles.top(tile); }
    int64_t left(int64_t tile) const { return tiles.image(tile) % dilation + dilation * tiles.left(tile); }

    const int64_t dilation;
    const Tiles tiles;
    const Pixels inputs, outputs;
};

// Reads n tiles of 6 x 6 inputs, which overlap.
auto reader_of_inputs(const float* x, const Problem& problem) {
    return [=, &problem](int64_t first, int64_t n, const Points& to) {
        const int64_t apart = problem.dilation;
        for (int64_t t = first; t < first + n; ++t)
            for (int64_t c = 0; c < problem.inputs.channels; c += LANES) {
                Vector tile[IN * IN], points[IN * IN];
                problem.inputs.load<IN>(x, problem.image(t), problem.top(t) - apart, problem.left(t) - apart, apart, c,
                                        tile);
                turn<IN, IN, points_of_inputs>(tile, points);
                to.store(points, t - first, c);
            }
    };
}

// Filters [outputs, 3, 3, inputs] to points; turned, those of the gradients by inputs, they are [inputs, 3, 3, outputs]
// with their pixels in reverse order.
void read_filters(const float* w, int64_t inputs, int64_t outputs, bool turned, const Points& to) {
    const Filters filters(turned ? 1 : 9 * inputs);
    for_pairs(inputs, outputs, [&](int64_t c, int64_t k) {
        Vector filter[FILTER * FILTER], points[IN * IN];
        for (int p = 0; p < 9; ++p)
            filter[p] = filters.load(turned ? w + (c * 9 + 8 - p) * outputs + k : w + (k * 9 + p) * inputs + c,
                                     lanes(outputs - k));
        turn<FILTER, IN, points_of_filters>(filter, points);
        to.store(points, c, k);
    });
}

// x [b, h, w, inputs] to y [b, h, w, outputs]; the filters are those of read_filters.
void convolve(const int64_t* shape, const float* x, const float* w, bool turned, const float* bias, float* y) {
    const Problem problem(shape);
    const Pixels &inputs = problem.inputs, &outputs = problem.outputs;
    const Points filters(IN * IN, inputs.channels, outputs.channels);
    read_filters(w, inputs.channels, outputs.channels, turned, filters);
    const auto write = [&](int64_t first, int64_t n, const Points& products) {
        for (int64_t t = first; t < first + n; ++t)
            for (int64_t k = 0; k < outputs.channels; k += LANES) {
                Vector points[IN * IN], tile[OUT * OUT];
                products.load(t - first, k, points);
                turn<IN, OUT, results_of_points>(points, tile);
                outputs.store(tile, bias, problem.image(t), problem.top(t), problem.left(t), problem.dilation, k, y);
            }
    };
    through(problem.tiles.count(), TILES, filters, inputs.channels, reader_of_inputs(x, problem), write);
}

}  // namespace

extern "C" int winograd_is_compiled() { return 1; }

// x [b, h, w, inputs], w [outputs, 3, 3, inputs], y [b, h, w, outputs], and dx, dw, dy like them.
extern "C" void same_convolution(const int64_t* shape, const float* x, const float* w, const float* bias, float* y) {
    convolve(shape, x, w, false, bias, y);
}

// Inputs and outputs change places: they are those of this convolution, of dy to dx.
extern "C" void same_input_gradient(const int64_t* shape, const float* dy, const float* w, float* dx) {
    convolve(shape, dy, w, true, nullptr, dx);
}

extern "C" void same_filter_gradient(const int64_t* shape, const float* x, const float* dy, float* dw) {
    const Problem problem(shape);
    const Pixels &inputs = problem.inputs, &outputs = problem.outputs;
    const auto read_gradients = [&](int64_t first, int64_t n, const Points& to) {
        for (int64_t t = first; t < first + n; ++t)
            for (int64_t k = 0; k < outputs.channels; k += LANES) {
                Vector tile[OUT * OUT], points[IN * IN];
                outputs.load<OUT>(dy, problem.image(t), problem.top(t), problem.left(t), problem.dilation, k, tile);
                turn<OUT, IN, points_of_results>(tile, points);
                to.store(points, t - first, k);
            }
    };
    const auto sums = summed(problem.tiles.count(), TILES, IN * IN, inputs.channels, outputs.channels,
                             reader_of_inputs(x, problem), read_gradients);
    const Filters filters(9 * inputs.channels);
    for_pairs(inputs.channels, outputs.channels, [&](int64_t c, int64_t k) {
        Vector points[IN * IN], filter[FILTER * FILTER];
        sums->load(c, k, points);
        turn<IN, FILTER, filters_of_points>(points, filter);
        for (int p = 0; p < 9; ++p)
            filters.store(filter[p], lanes(outputs.channels - k), dw + (k * 9 + p) * inputs.channels + c);
    });
}

#else

extern "C" int winograd_is_compiled() { return 0; }
extern "C" void same_convolution(const int64_t*, const float*, const float*, const float*, float*) {}
extern "C" void same_input_gradient(const int64_t*, const float*, const float*, float*) {}
extern "C" void same_filter_gradient(const int64_t*, const float*, const float*, float*) {}

#endif
