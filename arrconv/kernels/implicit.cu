// A matrix times the windows of an array (implicit GEMM): target[m][n] = Σ_k matrix[m][k]·window[k][n].
//
// What a row k and a column n of the windows are is for the caller to say: each is a flat index, and the coordinates to
// which both lead are added. So taps meet positions in a convolution, and positions meet taps in its weight gradient.
// A block of threads makes ROWS×COLUMNS elements. It copies tiles of the matrix and of the windows to shared memory, as
// they are and where they are needed next, while it multiplies those that it has. A warp of it makes 16×8 elements at a
// time, which its lanes share out in the same way whatever multiplies them: lane 4g + t has the elements of rows g and
// g + 8 in columns 2t and 2t + 1.

#ifndef ON_HOST
struct Instructions {
    // What the tensor cores make of fragments in the order of the PTX ISA, mma.m16n8k16, mma.m16n8k8 and mma.m8n8k4.
    __device__ static void multiply(float* d, const unsigned* a, const unsigned* b, Half) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
            : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(0.0f));
    }

    __device__ static void multiply(float* d, const unsigned* a, const unsigned* b, Bfloat) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
            "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
            : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(0.0f));
    }

    __device__ static void multiply(float* d, const unsigned* a, const unsigned* b, float) {
        asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
            : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(0.0f));
    }

    __device__ static void add(double* c, double a, double b) {
        asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};"
            : "+d"(c[0]), "+d"(c[1])
            : "d"(a), "d"(b));
    }

    __device__ static unsigned to_tf32(float value) {
        unsigned bits;
        asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
        return bits;
    }
};
#endif

// Ways to multiply a 16×DEPTH by a DEPTH×8 tile. The rows of the first and the columns of the second lie PITCH apart,
// their elements side by side; `Left` and `Right` are what one lane needs of them, `lane` being {g, t}.
struct Lane {
    int g, t;
};

// By the processors of the lanes themselves, rounding after each product is added.
template <class Element, class Total>
struct Plain {
    using Source = Element;
    using Sum = Total;
    static constexpr int DEPTH = 4;
    struct Left {
        Sum rows[2][DEPTH];
    };
    struct Right {
        Sum columns[2][DEPTH];
    };
    struct alignas(sizeof(Source) < 4 ? 4 * sizeof(Source) : 16) Few {
        Source each[DEPTH];
    };

    __device__ static void read(const Source* from, Sum* to) {
        const Few few = *reinterpret_cast<const Few*>(from);
#pragma unroll
        for (int k = 0; k < DEPTH; ++k) to[k] = Sum(few.each[k]);
    }

    template <int PITCH>
    __device__ static Left left(const Source* tile, Lane lane) {
        Left found;
        read(tile + lane.g * PITCH, found.rows[0]);
        read(tile + (lane.g + 8) * PITCH, found.rows[1]);
        return found;
    }

    template <int PITCH>
    __device__ static Right right(const Source* tile, Lane lane) {
        Right found;
        read(tile + 2 * lane.t * PITCH, found.columns[0]);
        read(tile + (2 * lane.t + 1) * PITCH, found.columns[1]);
        return found;
    }

    __device__ static void multiply(Sum* sums, const Left& left, const Right& right) {
#pragma unroll
        for (int k = 0; k < DEPTH; ++k)
#pragma unroll
            for (int e = 0; e < 4; ++e) sums[e] += left.rows[e / 2][k] * right.columns[e % 2][k];
    }
};

// By tensor cores, in float. They add 16 products of 16-bit floats, or 8 of TF32, without rounding properly. So they
// never see the sum before, to which what they find is added as float has it: many products err no more than they would
// if each were rounded.
struct Rough {
    using Sum = float;
    struct Left {
        unsigned parts[4];
    };
    struct Right {
        unsigned parts[2];
    };

    template <class Source>
    __device__ static void multiply_as(Sum* sums, const Left& left, const Right& right) {
        Sum found[4];
        Instructions::multiply(found, left.parts, right.parts, Source());
#pragma unroll
        for (int e = 0; e < 4; ++e) sums[e] += found[e];
    }
};

template <class Element>
struct Tensor : Rough {
    using Source = Element;
    static constexpr int DEPTH = 16;

    __device__ static unsigned two(const Source* from) { return *reinterpret_cast<const unsigned*>(from); }

    template <int PITCH>
    __device__ static Left left(const Source* tile, Lane lane) {
        const Source* const upper = tile + lane.g * PITCH + 2 * lane.t;
        const Source* const lower = upper + 8 * PITCH;
        return {{two(upper), two(lower), two(upper + 8), two(lower + 8)}};
    }

    template <int PITCH>
    __device__ static Right right(const Source* tile, Lane lane) {
        const Source* const column = tile + lane.g * PITCH + 2 * lane.t;
        return {{two(column), two(column + 8)}};
    }

    __device__ static void multiply(Sum* sums, const Left& left, const Right& right) {
        multiply_as<Source>(sums, left, right);
    }
};

// float by way of TF32: elements lose 13 of their 24 bits. Only for those who say that they want it.
template <>
struct Tensor<float> : Rough {
    using Source = float;
    static constexpr int DEPTH = 8;

    __device__ static unsigned one(const Source* from) { return Instructions::to_tf32(*from); }

    template <int PITCH>
    __device__ static Left left(const Source* tile, Lane lane) {
        const Source* const upper = tile + lane.g * PITCH + lane.t;
        const Source* const lower = upper + 8 * PITCH;
        return {{one(upper), one(lower), one(upper + 4), one(lower + 4)}};
    }

    template <int PITCH>
    __device__ static Right right(const Source* tile, Lane lane) {
        const Source* const column = tile + lane.g * PITCH + lane.t;
        return {{one(column), one(column + 4)}};
    }

    __device__ static void multiply(Sum* sums, const Left& left, const Right& right) {
        multiply_as<Source>(sums, left, right);
    }
};

// double, whose products tensor cores add one by one, each rounded as it should be.
template <>
struct Tensor<double> {
    using Source = double;
    using Sum = double;
    static constexpr int DEPTH = 4;
    struct Left {
        double upper, lower;
    };
    struct Right {
        double column;
    };

    template <int PITCH>
    __device__ static Left left(const Source* tile, Lane lane) {
        return {tile[lane.g * PITCH + lane.t], tile[(lane.g + 8) * PITCH + lane.t]};
    }

    template <int PITCH>
    __device__ static Right right(const Source* tile, Lane lane) {
        return {tile[lane.g * PITCH + lane.t]};
    }

    __device__ static void multiply(Sum* sums, const Left& left, const Right& right) {
        Instructions::add(sums, left.upper, right.column);
        Instructions::add(sums + 2, left.lower, right.column);
    }
};

// What a flat index runs through, the last axis fastest: images or channels, and for each axis `count` coordinates.
// Strides, in elements: in the source, and in the array that has an element for each index: matrix or target.
template <int NDIM>
struct Side {
    long long count, source, other;
    struct {
        long long count, start, step, other;
    } axes[NDIM];
};

template <int NDIM>
struct Product {
    long long groups, rows, terms, columns;
    long long splits, depth;  // into how many parts, of at most how many terms each, a sum is split
    long long source_group, matrix_group, matrix_row, target_split, target_group, target_row;
    struct {
        long long size, stride;
    } source[NDIM];
    Side<NDIM> term, column;
};

// Where an index leads: offsets, and what it adds to the coordinates in the source.
template <int NDIM, class Index>
struct Place {
    Index source, other, at[NDIM];
    bool exists;
};

template <int NDIM, class Index>
__device__ Place<NDIM, Index> place(Index number, Index end, const Side<NDIM>& side, const Product<NDIM>& product) {
    Place<NDIM, Index> found;
    found.exists = number < end;
    if (!found.exists) number = 0;
    found.source = found.other = 0;
#pragma unroll
    for (int a = NDIM - 1; a >= 0; --a) {
        const auto& axis = side.axes[a];
        const Index digit = next(number, Index(axis.count));
        found.at[a] = Index(axis.start) + Index(axis.step) * digit;
        found.source += found.at[a] * Index(product.source[a].stride);
        found.other += Index(axis.other) * digit;
    }
    found.source += number * Index(side.source);
    found.other += number * Index(side.other);
    return found;
}

template <class Index>
struct Unsigned {
    using Type = unsigned int;
};
template <>
struct Unsigned<long long> {
    using Type = unsigned long long;
};

enum { THREADS = 256, COLUMNS = 128 };

template <int NDIM, int ROWS, class Multiply, class Target, class Index>
__global__ void __launch_bounds__(THREADS)
    implicit(const typename Multiply::Source* __restrict__ source, const typename Multiply::Source* __restrict__ matrix,
             Target* __restrict__ target, const Product<NDIM> product) {
    using Source = typename Multiply::Source;
    using Sum = typename Multiply::Sum;
    // 64 bytes of each row and column at a time, 80 bytes apart, so that eight of them lie in different banks.
    constexpr int DEPTH = 64 / sizeof(Source), PITCH = 80 / sizeof(Source);
    constexpr int DOWN = ROWS < 64 ? 1 : 2, ACROSS = THREADS / 32 / DOWN;  // warps
    constexpr int HIGH = ROWS / DOWN / 16, WIDE = COLUMNS / ACROSS / 8;     // elements of each, by 16 and by 8
    constexpr int APART = THREADS / DEPTH, EACH = (ROWS + APART - 1) / APART;  // rows copied by a thread
    constexpr int LONG = DEPTH * COLUMNS / THREADS;                            // elements of a column copied by one
    static_assert(LONG * sizeof(Source) == 32, "two words of 16 bytes");

    alignas(16) __shared__ Source rows[2][ROWS * PITCH], columns[2][COLUMNS * PITCH];
    __shared__ Place<NDIM, Index> terms[2][DEPTH];
    __shared__ Index targets[COLUMNS];

    const int thread = threadIdx.x, warp = thread / 32;
    const Lane lane = {thread % 32 / 4, thread % 4};
    Index block = Index(blockIdx.x);
    const Index row = ROWS * next(block, (Index(product.rows) + ROWS - 1) / ROWS);
    const Index column = COLUMNS * next(block, (Index(product.columns) + COLUMNS - 1) / COLUMNS);
    const Index group = next(block, Index(product.groups)), split = block;
    const Index begin = split * Index(product.depth), most = Index(product.terms);
    const Index end = most - begin < Index(product.depth) ? most : begin + Index(product.depth);
    source += group * Index(product.source_group);
    matrix += group * Index(product.matrix_group);
    target += split * Index(product.target_split) + group * Index(product.target_group);

    // Whose elements a thread copies.
    const Place<NDIM, Index> mine =
        place(column + thread % COLUMNS, Index(product.columns), product.column, product);
    if (thread < COLUMNS) targets[thread] = mine.other;
    const int own_term = thread % DEPTH, own_row = thread / DEPTH, own_part = thread / COLUMNS * LONG;

    struct alignas(16) Word {
        Source each[16 / sizeof(Source)];
    };
    Source from_matrix[EACH];
    union {
        Source each[LONG];
        Word words[2];
    } from_windows;

    const auto look_up = [&](Index first, int at) {
        if (thread < DEPTH) terms[at][thread] = place(first + thread, end, product.term, product);
    };
    const auto load = [&](int at) {
        const Place<NDIM, Index>& term = terms[at][own_term];
#pragma unroll
        for (int i = 0; i < EACH; ++i) {
            const Index r = row + own_row + i * APART;
            const bool exists = term.exists && r < Index(product.rows);
            from_matrix[i] = exists ? matrix[r * Index(product.matrix_row) + term.other] : Source();
        }
#pragma unroll
        for (int i = 0; i < LONG; ++i) {
            const Place<NDIM, Index>& other = terms[at][own_part + i];
            bool inside = mine.exists && other.exists;
#pragma unroll
            for (int a = 0; a < NDIM; ++a) {
                using Type = typename Unsigned<Index>::Type;  // in which what is below 0 is large
                inside = inside && Type(mine.at[a] + other.at[a]) < Type(product.source[a].size);
            }
            from_windows.each[i] = inside ? source[mine.source + other.source] : Source();
        }
    };
    const auto store = [&](int at) {
#pragma unroll
        for (int i = 0; i < EACH; ++i) {
            const int r = own_row + i * APART;
            if (r < ROWS) rows[at][r * PITCH + own_term] = from_matrix[i];
        }
        Word* const words = reinterpret_cast<Word*>(&columns[at][thread % COLUMNS * PITCH + own_part]);
        words[0] = from_windows.words[0];
        words[1] = from_windows.words[1];
    };

    Sum sums[HIGH][WIDE][4] = {};
    const int down = warp / ACROSS * HIGH * 16, across = warp % ACROSS * WIDE * 8;
    look_up(begin, 0);
    __syncthreads();
    load(0);
    int now = 0;
    for (Index first = begin; first < end; first += DEPTH, now ^= 1) {
        // The others may still multiply the tiles before these, or load by the terms of these: both have two places.
        store(now);
        look_up(first + DEPTH, now ^ 1);
        __syncthreads();
        if (first + DEPTH < end) load(now ^ 1);
#pragma unroll
        for (int k = 0; k < DEPTH; k += Multiply::DEPTH) {
            typename Multiply::Left left[HIGH];
#pragma unroll
            for (int h = 0; h < HIGH; ++h)
                left[h] = Multiply::template left<PITCH>(&rows[now][(down + 16 * h) * PITCH + k], lane);
#pragma unroll
            for (int w = 0; w < WIDE; ++w) {
                const auto right = Multiply::template right<PITCH>(&columns[now][(across + 8 * w) * PITCH + k], lane);
#pragma unroll
                for (int h = 0; h < HIGH; ++h) Multiply::multiply(sums[h][w], left[h], right);
            }
        }
    }
#pragma unroll
    for (int w = 0; w < WIDE; ++w)
#pragma unroll
        for (int h = 0; h < HIGH; ++h)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int c = across + 8 * w + 2 * lane.t + e % 2;
                const Index r = row + down + 16 * h + lane.g + e / 2 * 8;
                if (r < Index(product.rows) && column + c < Index(product.columns))
                    target[targets[c] + r * Index(product.target_row)] = Stored<Target>::of(sums[h][w][e]);
            }
}
