// What Winograd's minimal filtering takes: tiles of 16 channels at a time that become points, and products of points.
// Source: Winograd 1980; Lavin & Gray 2016, section 4.
#pragma once
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "products.h"

namespace winograd {

using namespace products;

constexpr int64_t STEP = 24;  // At most so many tiles go through at once, or a multiple: whole blocks of rows.

// A matrix of numbers or pairs for each point, with padded columns; an odd number of cache lines apart, so that they
// share no cache set.
class Points {
 public:
    Points(int64_t count, int64_t rows, int64_t columns)
        : count(count), rows(rows), columns(padded(columns)), apart_(rows * this->columns | LANES) {
        numbers_.reset(static_cast<float*>(std::aligned_alloc(64, size() * sizeof(float))));
    }
    float* operator[](int64_t point) const { return numbers_.get() + point * apart_; }
    int64_t size() const { return count * apart_; }

    void clear() const { std::fill((*this)[0], (*this)[0] + size(), 0.0f); }
    void add(const Points& other) const {
        for (int64_t i = 0; i < size(); ++i) numbers_.get()[i] += other.numbers_.get()[i];
    }
    // Pairs are of neighbouring columns.
    template <typename Numbers>
    void store(const Vector* tile, int64_t row, int64_t column) const {
        for (int64_t p = 0; p < count; ++p)
            Numbers::store(tile[p], (*this)[p] + row * columns + column / Numbers::SIZE);
    }
    // Pairs are of neighbouring rows: those from `row` on, where there are so many rows, each by read(row, tile).
    template <typename Numbers, int N, typename Read>
    void store_rows(int64_t row, int64_t rows, int64_t column, Read read) const {
        Vector tiles[Numbers::SIZE][N];
        for (int64_t i = 0; i < Numbers::SIZE; ++i)
            if (row + i < rows) read(row + i, tiles[i]);
            else std::fill_n(tiles[i], N, all(0));
        for (int64_t p = 0; p < N; ++p) {
            Vector each[Numbers::SIZE];
            for (int64_t i = 0; i < Numbers::SIZE; ++i) each[i] = tiles[i][p];
            _mm512_store_ps((*this)[p] + row / Numbers::SIZE * columns + column, Numbers::joined(each));
        }
    }
    void load(int64_t row, int64_t column, Vector* tile) const {
        for (int64_t p = 0; p < count; ++p) tile[p] = _mm512_load_ps((*this)[p] + row * columns + column);
    }

    const int64_t count, rows, columns;

 private:
    int64_t apart_;
    std::unique_ptr<float, decltype(&std::free)> numbers_{nullptr, std::free};
};

// Images as tiles of SIDE x SIDE pixels, which are counted along rows, rows and images.
template <int SIDE>
struct Tiles {
    int64_t images, height, width;

    int64_t count() const { return images * per_image(); }
    int64_t per_image() const { return height * width / (SIDE * SIDE); }
    int64_t image(int64_t tile) const { return tile / per_image(); }
    int64_t top(int64_t tile) const { return tile % per_image() / (width / SIDE) * SIDE; }
    int64_t left(int64_t tile) const { return tile % (width / SIDE) * SIDE; }
};

// Pixels of channels-last images; those outside are 0.
struct Pixels {
    int64_t height, width, channels;

    int64_t at(int64_t image, int64_t y, int64_t x) const { return ((image * height + y) * width + x) * channels; }

    // N x N pixels, `apart` from one another, of 16 channels.
    template <int N, typename Pixel>
    void load(const Pixel* from, int64_t image, int64_t top, int64_t left, int64_t apart, int64_t channel,
              Vector* tile) const {
        const __mmask16 mask = lanes(channels - channel);
        const Pixel* corner = from + at(image, top, left) + channel;
        if (top >= 0 && left >= 0 && top + apart * (N - 1) < height && left + apart * (N - 1) < width) {
            for (int i = 0; i < N; ++i)
                for (int j = 0; j < N; ++j)
                    tile[i * N + j] = products::load(corner + (i * width + j) * apart * channels, mask);
            return;
        }
        for (int i = 0; i < N; ++i)
            for (int j = 0; j < N; ++j) {
                const int64_t y = top + i * apart, x = left + j * apart;
                const bool inside = y >= 0 && y < height && x >= 0 && x < width;
                tile[i * N + j] = inside ? products::load(corner + (i * width + j) * apart * channels, mask) : all(0);
            }
    }

    // N x N pixels, plus a bias if there is one.
    template <int N, typename Pixel>
    void store(const Vector* tile, const float* bias, int64_t image, int64_t top, int64_t left, int64_t apart,
               int64_t channel, Pixel* to) const {
        const __mmask16 mask = lanes(channels - channel);
        const Vector shift = bias ? products::load(bias + channel, mask) : all(0);
        Pixel* corner = to + at(image, top, left) + channel;
        for (int i = 0; i < N; ++i)
            for (int j = 0; j < N; ++j)
                products::store(tile[i * N + j] + shift, mask, corner + (i * width + j) * apart * channels);
    }
};

// A tile of N x N to one of M x M: columns, then rows.
template <int N, int M, void TURN(const Vector*, int64_t, Vector*, int64_t)>
inline void turn(const Vector* from, Vector* to) {
    Vector half[M * N];
    for (int j = 0; j < N; ++j) TURN(from + j, N, half + j, N);
    for (int i = 0; i < M; ++i) TURN(half + i * N, 1, to + i * M, 1);
}

// Rows of 16 numbers become columns.
inline void transpose(Vector (&rows)[LANES]) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#pragma GCC unroll 4
    for (int side = 1; side < LANES; side *= 2) {
        // Of a square of two sides, one to the upper right and one to the lower left change places.
        const __m512i apart = _mm512_set1_epi32(side), other = _mm512_set1_epi32(LANES);
        const __mmask16 right = _mm512_test_epi32_mask(lane, apart);
        const __m512i upper = _mm512_mask_add_epi32(lane, right, _mm512_sub_epi32(lane, apart), other);
        const __m512i lower = _mm512_mask_add_epi32(_mm512_add_epi32(lane, apart), right, lane, other);
#pragma GCC unroll 16
        for (int row = 0; row < LANES; ++row) {
            if (row & side) continue;
            const Vector above = rows[row], below = rows[row + side];
            rows[row] = _mm512_permutex2var_ps(above, upper, below);
            rows[row + side] = _mm512_permutex2var_ps(above, lower, below);
        }
    }
}

// The N numbers of each filter between 16 inputs and 16 outputs; those outside are 0.
template <int N>
struct Filters {
    Vector numbers[LANES][N];  // of an input and all outputs

    // The filters of an output are `apart` from those of the next; number n of their first begins at at(n), with
    // those of the other inputs beside it.
    template <typename At>
    void load(At at, int64_t apart, int64_t inputs, int64_t outputs) {
        for (int n = 0; n < N; ++n) {
            Vector rows[LANES];
            for (int64_t k = 0; k < LANES; ++k)
                rows[k] = k < outputs ? products::load(at(n) + k * apart, lanes(inputs)) : all(0);
            transpose(rows);
            for (int64_t c = 0; c < LANES; ++c) numbers[c][n] = rows[c];
        }
    }
    template <typename At>
    void store(At at, int64_t apart, int64_t inputs, int64_t outputs) const {
        for (int n = 0; n < N; ++n) {
            Vector rows[LANES];
            for (int64_t c = 0; c < LANES; ++c) rows[c] = numbers[c][n];
            transpose(rows);
            for (int64_t k = 0; k < std::min(LANES, outputs); ++k)
                products::store(rows[k], lanes(inputs), at(n) + k * apart);
        }
    }
};

// Calls work(c, k) for every 16th input c and every 16th output k: all outputs in turn, whose points lie in the same
// pages.
template <typename Work>
void for_blocks(int64_t inputs, int64_t outputs, Work work) {
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < inputs; c += LANES)
        for (int64_t k = 0; k < outputs; k += LANES) work(c, k);
}

// At each point, n rows of `to` [tiles, outputs] = inputs [tiles, channels] times filters [channels, outputs].
template <typename Numbers>
inline void multiply(const Points& inputs, const Points& filters, int64_t n, const Points& to) {
    for (int64_t p = 0; p < to.count; ++p) {
        const int64_t K = filters.columns;
        int64_t k = 0;
        const auto columns = [&](auto part) {
            part(inputs[p], n, inputs.columns, 1, filters[p] + k, filters.rows, K, to[p] + k);
        };
        for (; k + 4 * LANES <= K; k += 4 * LANES) columns(strip<Numbers, 6, 4, false>);
        if (K - k == 3 * LANES) columns(strip<Numbers, 8, 3, false>);
        if (K - k == 2 * LANES) columns(strip<Numbers, 12, 2, false>);
        if (K - k == LANES) columns(strip<Numbers, 24, 1, false>);
    }
}

// At each point, `to` [channels, outputs] = or += the sums over n rows, of a tile or two, of inputs times gradients.
template <typename Numbers, bool ADDED>
inline void outer(const Points& inputs, const Points& gradients, int64_t n, const Points& to) {
    for (int64_t p = 0; p < to.count; ++p) {
        const int64_t K = gradients.columns;
        int64_t k = 0;
        const auto columns = [&](auto part) {
            part(inputs[p], to.rows, 1, inputs.columns, gradients[p] + k, n, K, to[p] + k);
        };
        for (; k + 3 * LANES <= K; k += 3 * LANES) columns(strip<Numbers, 8, 3, ADDED>);
        if (K - k == 2 * LANES) columns(strip<Numbers, 8, 2, ADDED>);
        if (K - k == LANES) columns(strip<Numbers, 16, 1, ADDED>);
    }
}

// Tiles in even groups of at most so many, as many for each thread where there are enough.
struct Groups {
    Groups(int64_t tiles, int64_t most) : tiles(tiles) {
        const int64_t threads = omp_get_max_threads(), needed = (tiles + most - 1) / most;
        count = std::min((needed + threads - 1) / threads * threads, tiles);
    }
    int64_t first(int64_t group) const { return tiles * group / count; }
    int64_t size(int64_t group) const { return first(group + 1) - first(group); }

    int64_t tiles, count;
};

// Tiles, at most so many at once, as inputs to points, times filters, and on as results: read(tile, channel, points)
// for every 16th channel, and write(tile, output, points) for every 16th output.
template <typename Numbers, int POINTS, typename Read, typename Write>
void through(int64_t tiles, int64_t most, const Points& filters, int64_t channels, Read read, Write write) {
    const Groups groups(tiles, most);
#pragma omp parallel
    {
        const Points inputs(POINTS, most, padded(channels) / Numbers::SIZE), products(POINTS, most, filters.columns);
#pragma omp for schedule(static)
        for (int64_t group = 0; group < groups.count; ++group) {
            const int64_t first = groups.first(group), n = groups.size(group);
            Vector points[POINTS];
            for (int64_t t = 0; t < n; ++t)
                for (int64_t c = 0; c < channels; c += LANES) {
                    read(first + t, c, points);
                    inputs.store<Numbers>(points, t, c);
                }
            multiply<Numbers>(inputs, filters, n, products);
            for (int64_t t = 0; t < n; ++t)
                for (int64_t k = 0; k < filters.columns; k += LANES) {
                    products.load(t, k, points);
                    write(first + t, k, points);
                }
        }
    }
}

// The sums over all tiles of inputs times gradients at each point, [channels, outputs], which are read likewise.  As
// many threads add up the same tiles in the same order.
template <typename Numbers, int POINTS, typename Inputs, typename Gradients>
std::unique_ptr<Points> summed(int64_t tiles, int64_t most, int64_t channels, int64_t outputs, Inputs inputs,
                               Gradients gradients) {
    const Groups groups(tiles, most);
    const int64_t parts = std::min<int64_t>(groups.count, omp_get_max_threads()), rows = most / Numbers::SIZE;
    std::vector<std::unique_ptr<Points>> sums(parts);
#pragma omp parallel for schedule(static) num_threads(parts)
    for (int64_t part = 0; part < parts; ++part) {
        sums[part] = std::make_unique<Points>(POINTS, padded(channels), outputs);
        const Points left(POINTS, rows, channels), right(POINTS, rows, outputs);
        const int64_t begin = groups.count * part / parts;
        for (int64_t group = begin; group < groups.count * (part + 1) / parts; ++group) {
            const int64_t first = groups.first(group), n = groups.size(group);
            const auto store = [&](const Points& to, auto read) {
                for (int64_t t = 0; t < n; t += Numbers::SIZE)
                    for (int64_t c = 0; c < to.columns; c += LANES)
                        to.store_rows<Numbers, POINTS>(
                            t, n, c, [&](int64_t row, Vector* points) { read(first + row, c, points); });
            };
            store(left, inputs);
            store(right, gradients);
            const int64_t used = (n + Numbers::SIZE - 1) / Numbers::SIZE;
            if (group == begin) outer<Numbers, false>(left, right, used, *sums[part]);
            else outer<Numbers, true>(left, right, used, *sums[part]);
        }
    }
    for (int64_t part = 1; part < parts; ++part) sums[0]->add(*sums[part]);
    return std::move(sums[0]);
}

// Runs one of two kinds of convolution of this shape, the second for images in bfloat16.
template <typename Single, typename Pair, typename Run>
void choose(int half, const int64_t* shape, Run run) {
    if (half) run(Pair(shape));
    else run(Single(shape));
}

}  // namespace winograd
