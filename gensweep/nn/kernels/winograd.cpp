// Convolutions of 3 x 3 pixels in float32 and channels-last, by Winograd's minimal filtering F(4 x 4, 3 x 3).
//
// A tile of 4 x 4 results takes 36 products for each pair of channels instead of 144: tiles of 6 x 6 inputs and the
// filters become 36 points each, points are multiplied, and the products become results.  A few tiles at a time go through
// all of it in the cache of a core.  Gradients by inputs are such a convolution, with turned filters; those by filters
// are the same steps backwards.  Compiled by library.py; conv.py says in PyTorch's words what is computed.
// Source: Winograd 1980; Lavin & Gray 2016, section 4.
#include <cstdint>

#ifdef __AVX512F__
#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

namespace {

constexpr int64_t LANES = 16, OUT = 4, IN = 6, POINTS = IN * IN;
constexpr int64_t TILES = 48;  // that go through at once

using Vector = __m512;

inline Vector all(float x) { return _mm512_set1_ps(x); }
inline int64_t padded(int64_t n) { return (n + LANES - 1) / LANES * LANES; }
inline __mmask16 lanes(int64_t left) { return left >= LANES ? 0xFFFF : __mmask16((1 << left) - 1); }

// A matrix for each point, with padded columns; an odd number of cache lines apart, so that they share no cache set.
class Points {
   public:
    Points(int64_t rows, int64_t columns) : columns(padded(columns)), apart_(rows * this->columns | LANES) {
        numbers_.reset(static_cast<float*>(std::aligned_alloc(64, size() * sizeof(float))));
    }
    float* operator[](int64_t point) const { return numbers_.get() + point * apart_; }
    float* at(int64_t i, int64_t j) const { return (*this)[i * IN + j]; }
    int64_t size() const { return POINTS * apart_; }

    const int64_t columns;

   private:
    int64_t apart_;
    std::unique_ptr<float, decltype(&std::free)> numbers_{nullptr, std::free};
};

// The images of a convolution; tiles are counted along rows, rows and images.
struct Images {
    int64_t count, height, width;

    int64_t tiles() const { return count * height * width / (OUT * OUT); }
    int64_t top(int64_t tile) const { return OUT * (tile / (width / OUT) % (height / OUT)); }
    int64_t left(int64_t tile) const { return OUT * (tile % (width / OUT)); }
    // The pixel in the upper left corner.
    int64_t pixel(int64_t tile) const { return tile / (height * width / (OUT * OUT)) * height * width + top(tile) * width + left(tile); }
};

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

// 16 channels of a tile of N x N, row by row and column by column, to a tile of M x M.
template <int N, int M, void TURN(const Vector*, int64_t, Vector*, int64_t)>
inline void turn(const Vector* from, Vector* to) {
    Vector half[M * N];
    for (int j = 0; j < N; ++j) TURN(from + j, N, half + j, N);
    for (int i = 0; i < M; ++i) TURN(half + i * N, 1, to + i * M, 1);
}

inline void to_points(const Vector* tile, const Points& to, int64_t row, int64_t c) {
    for (int64_t p = 0; p < POINTS; ++p) _mm512_store_ps(to[p] + row * to.columns + c, tile[p]);
}

// n tiles of 6 x 6 inputs, with zeros around the image.
void read_inputs(const float* x, const Images& images, int64_t channels, int64_t first, int64_t n, const Points& to) {
    for (int64_t t = 0; t < n; ++t) {
        const int64_t top = images.top(first + t), left = images.left(first + t);
        const float* corner = x + (images.pixel(first + t) - images.width - 1) * channels;
        const int i0 = top == 0, i1 = IN - (top + OUT == images.height);
        const int j0 = left == 0, j1 = IN - (left + OUT == images.width);
        for (int64_t c = 0; c < channels; c += LANES) {
            Vector tile[POINTS], points[POINTS];
            if (i1 - i0 < IN || j1 - j0 < IN) std::fill(tile, tile + POINTS, all(0));
            for (int i = i0; i < i1; ++i)
                for (int j = j0; j < j1; ++j)
                    tile[i * IN + j] = _mm512_maskz_loadu_ps(lanes(channels - c), corner + (i * images.width + j) * channels + c);
            turn<IN, IN, points_of_inputs>(tile, points);
            to_points(points, to, t, c);
        }
    }
}

// n tiles of the gradients by 4 x 4 results.
void read_gradients(const float* dy, const Images& images, int64_t channels, int64_t first, int64_t n, const Points& to) {
    for (int64_t t = 0; t < n; ++t) {
        const float* corner = dy + images.pixel(first + t) * channels;
        for (int64_t c = 0; c < channels; c += LANES) {
            Vector tile[OUT * OUT], points[POINTS];
            for (int i = 0; i < OUT; ++i)
                for (int j = 0; j < OUT; ++j)
                    tile[i * OUT + j] = _mm512_maskz_loadu_ps(lanes(channels - c), corner + (i * images.width + j) * channels + c);
            turn<OUT, IN, points_of_results>(tile, points);
            to_points(points, to, t, c);
        }
    }
}

// n tiles of 4 x 4 results, plus a bias if there is one.
void write_results(const Points& from, const Images& images, const float* bias, int64_t channels, int64_t first, int64_t n, float* y) {
    for (int64_t t = 0; t < n; ++t) {
        float* corner = y + images.pixel(first + t) * channels;
        for (int64_t c = 0; c < channels; c += LANES) {
            const __mmask16 mask = lanes(channels - c);
            const Vector shift = bias ? _mm512_maskz_loadu_ps(mask, bias + c) : all(0);
            Vector points[POINTS], tile[OUT * OUT];
            for (int64_t p = 0; p < POINTS; ++p) points[p] = _mm512_load_ps(from[p] + t * from.columns + c);
            turn<IN, OUT, results_of_points>(points, tile);
            for (int i = 0; i < OUT; ++i)
                for (int j = 0; j < OUT; ++j)
                    _mm512_mask_storeu_ps(corner + (i * images.width + j) * channels + c, mask, tile[i * OUT + j] + shift);
        }
    }
}

// Where the numbers of one filter lie: w[filter * apart + pixel * step], of 16 filters in a vector.
struct Filters {
    int64_t apart, step;

    __m512i lanes() const { return _mm512_mullo_epi32(_mm512_set1_epi32(int(apart)), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)); }
};

// Filters [outputs, 3, 3, inputs] to points [inputs, outputs]; turned, those of the gradients by inputs, they are
// [inputs, 3, 3, outputs] with their pixels in reverse order.
void read_filters(const float* w, int64_t inputs, int64_t outputs, bool turned, const Points& to) {
    const Filters filters = turned ? Filters{1, outputs} : Filters{9 * inputs, inputs};
    for (int64_t c = 0; c < inputs; ++c)
        for (int64_t k = 0; k < outputs; k += LANES) {
            const float* first = turned ? w + c * 9 * outputs + k : w + k * 9 * inputs + c;
            Vector filter[9], points[POINTS];
            for (int p = 0; p < 9; ++p)
                filter[p] = _mm512_mask_i32gather_ps(all(0), lanes(outputs - k), filters.lanes(), first + (turned ? 8 - p : p) * filters.step, 4);
            turn<3, IN, points_of_filters>(filter, points);
            to_points(points, to, c, k);
        }
}

// Points [inputs, outputs] of gradients to those by filters [outputs, 3, 3, inputs].
void write_filters(const Points& from, int64_t inputs, int64_t outputs, float* dw) {
    const Filters filters{9 * inputs, inputs};
    for (int64_t c = 0; c < inputs; ++c)
        for (int64_t k = 0; k < outputs; k += LANES) {
            Vector points[POINTS], filter[9];
            for (int64_t p = 0; p < POINTS; ++p) points[p] = _mm512_load_ps(from[p] + c * from.columns + k);
            turn<IN, 3, filters_of_points>(points, filter);
            for (int p = 0; p < 9; ++p)
                _mm512_mask_i32scatter_ps(dw + k * 9 * inputs + p * inputs + c, lanes(outputs - k), filters.lanes(), filter[p], 4);
        }
}

// R rows and 16 W columns of a matrix product, whose sums stay in registers: to = a b, or to += a b.
// Row r of a begins at r * down, and its numbers are `along` apart; b and to have as many columns.
template <int R, int W, bool ADDED>
inline void block(const float* a, int64_t down, int64_t along, const float* b, int64_t inner, int64_t columns, float* to) {
    Vector sums[R][W];
    for (int r = 0; r < R; ++r)
        for (int w = 0; w < W; ++w) sums[r][w] = ADDED ? _mm512_load_ps(to + r * columns + w * LANES) : all(0);
    for (int64_t i = 0; i < inner; ++i) {
        Vector right[W];
        for (int w = 0; w < W; ++w) right[w] = _mm512_load_ps(b + i * columns + w * LANES);
        for (int r = 0; r < R; ++r) {
            const Vector left = all(a[r * down + i * along]);
            for (int w = 0; w < W; ++w) sums[r][w] = _mm512_fmadd_ps(left, right[w], sums[r][w]);
        }
    }
    for (int r = 0; r < R; ++r)
        for (int w = 0; w < W; ++w) _mm512_store_ps(to + r * columns + w * LANES, sums[r][w]);
}

template <int R, int W, bool ADDED>
inline void strip(const float* a, int64_t rows, int64_t down, int64_t along, const float* b, int64_t inner, int64_t columns, float* to) {
    for (int64_t r = 0; r < rows; r += R) block<R, W, ADDED>(a + r * down, down, along, b, inner, columns, to + r * columns);
}

// The product of two matrices at each point: tiles by inputs, and inputs by outputs.
void multiply(const Points& inputs, const Points& filters, int64_t channels, const Points& to) {
    for (int64_t p = 0; p < POINTS; ++p) {
        const int64_t K = filters.columns;
        int64_t k = 0;
        const auto columns = [&](auto part) { part(inputs[p], TILES, inputs.columns, 1, filters[p] + k, channels, K, to[p] + k); };
        for (; k + 4 * LANES <= K; k += 4 * LANES) columns(strip<6, 4, false>);
        if (K - k == 3 * LANES) columns(strip<8, 3, false>);
        if (K - k == 2 * LANES) columns(strip<12, 2, false>);
        if (K - k == LANES) columns(strip<24, 1, false>);
    }
}

// The sums over n tiles of inputs times gradients, at each point, added.
void add_outer(const Points& inputs, const Points& gradients, int64_t n, const Points& to) {
    for (int64_t p = 0; p < POINTS; ++p) {
        const int64_t K = gradients.columns;
        int64_t k = 0;
        const auto columns = [&](auto part) { part(inputs[p], inputs.columns, 1, inputs.columns, gradients[p] + k, n, K, to[p] + k); };
        for (; k + 3 * LANES <= K; k += 3 * LANES) columns(strip<8, 3, true>);
        if (K - k == 2 * LANES) columns(strip<8, 2, true>);
        if (K - k == LANES) columns(strip<16, 1, true>);
    }
}

}  // namespace

extern "C" int winograd_is_compiled() { return 1; }

// shape is (images, height, width, inputs, outputs); x [b, h, w, inputs], w as for read_filters, y [b, h, w, outputs].
extern "C" void winograd_convolution(const float* x, const int64_t* shape, const float* w, int turned, const float* bias, float* y) {
    const Images images{shape[0], shape[1], shape[2]};
    const int64_t inputs = shape[3], outputs = shape[4], tiles = images.tiles();
    const Points filters(inputs, outputs);
    read_filters(w, inputs, outputs, turned, filters);
#pragma omp parallel
    {
        const Points read(TILES, inputs), products(TILES, outputs);
#pragma omp for schedule(static)
        for (int64_t first = 0; first < tiles; first += TILES) {
            const int64_t n = std::min(TILES, tiles - first);
            read_inputs(x, images, inputs, first, n, read);
            multiply(read, filters, inputs, products);
            write_results(products, images, bias, outputs, first, n, y);
        }
    }
}

// The gradient by filters, dw [outputs, 3, 3, inputs].  The same threads add up the same tiles in the same order.
extern "C" void winograd_filter_gradient(const float* x, const float* dy, const int64_t* shape, float* dw) {
    const Images images{shape[0], shape[1], shape[2]};
    const int64_t inputs = shape[3], outputs = shape[4], tiles = images.tiles(), groups = (tiles + TILES - 1) / TILES;
    const int64_t parts = std::min<int64_t>(groups, omp_get_max_threads());
    std::vector<std::unique_ptr<Points>> sums(parts);
#pragma omp parallel for schedule(static) num_threads(parts)
    for (int64_t part = 0; part < parts; ++part) {
        sums[part] = std::make_unique<Points>(padded(inputs), outputs);
        const Points read(TILES, inputs), gradients(TILES, outputs);
        std::fill((*sums[part])[0], (*sums[part])[0] + sums[part]->size(), 0.0f);
        for (int64_t group = groups * part / parts; group < groups * (part + 1) / parts; ++group) {
            const int64_t first = group * TILES, n = std::min(TILES, tiles - first);
            read_inputs(x, images, inputs, first, n, read);
            read_gradients(dy, images, outputs, first, n, gradients);
            add_outer(read, gradients, n, *sums[part]);
        }
    }
    for (int64_t part = 1; part < parts; ++part)
        for (int64_t i = 0; i < sums[0]->size(); ++i) (*sums[0])[0][i] += (*sums[part])[0][i];
    write_filters(*sums[0], inputs, outputs, dw);
}

#else

extern "C" int winograd_is_compiled() { return 0; }
extern "C" void winograd_convolution(const float*, const int64_t*, const float*, int, const float*, float*) {}
extern "C" void winograd_filter_gradient(const float*, const float*, const int64_t*, float*) {}

#endif
