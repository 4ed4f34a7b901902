// Windows of an array, gathered into the columns of a matrix or multiplied where they lie.
//
// Each kernel is a template: NDIM spatial axes; elements of type Source, read as they are, added in type Sum (float
// for the 16-bit floats) and stored in type Target; and indices of type Index, int where all offsets fit, since 64-bit divisions take long.
// One thread makes one position's share of the result, positions fastest, so that neighbouring threads read and write
// neighbouring elements. No header is included: whatever compiles for a device compiles this.

#ifndef HALF_TO_FLOAT
#define HALF_TO_FLOAT(value, bits) asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits))
#define FLOAT_TO_HALF(bits, value) asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value))
#endif

struct Half {
    unsigned short bits;

    __device__ operator float() const {
        float value;
        HALF_TO_FLOAT(value, bits);
        return value;
    }
};

struct Bfloat {
    unsigned short bits;

    __device__ operator float() const {
        union {
            unsigned int bits;
            float value;
        } wide;
        wide.bits = (unsigned int)bits << 16;
        return wide.value;
    }
};

// A sum as it is stored: rounded to the nearest number, ties to even, where that takes rounding.
template <class Target>
struct Stored {
    template <class Sum>
    __device__ static Target of(Sum value) {
        return Target(value);
    }
};

template <>
struct Stored<Half> {
    __device__ static Half of(float value) {
        Half half;
        FLOAT_TO_HALF(half.bits, value);
        return half;
    }
};

template <>
struct Stored<Bfloat> {
    __device__ static Bfloat of(float value) {
        union {
            float value;
            unsigned int bits;
        } wide;
        wide.value = value;
        if (value != value) return {0x7fc0};
        return {(unsigned short)((wide.bits + 0x7fff + (wide.bits >> 16 & 1)) >> 16)};
    }
};

template <class Real>
struct Complex {
    Real real, imag;

    __device__ Complex operator*(Complex other) const {
        return {real * other.real - imag * other.imag, real * other.imag + imag * other.real};
    }

    __device__ void operator+=(Complex other) {
        real += other.real;
        imag += other.imag;
    }
};

// One spatial axis: position l, tap t sees the source at start + step*l + spacing*t, and a zero outside 0 ... size-1.
// The last three are strides, in elements: of the source, and of what has an element for each tap or position.
struct Axis {
    long long size, taps, positions, step, spacing, start;
    long long source, tap, position;
};

// Strides in elements; 0 where an array has no such axis.
struct Strides {
    long long image, group, row, channel;
};

template <int NDIM>
struct Walk {
    long long images, groups, rows, channels;
    Strides source, matrix, target;
    long long multiplies_zeros;  // whether a zero outside the source is multiplied, or absent
    Axis axes[NDIM];
};

// The next digit of a flat index, the fastest first.
template <class Index>
__device__ Index next(Index& rest, Index count) {
    const Index digit = rest % count;
    rest /= count;
    return digit;
}

// Where the window at the next position begins, on each axis; returns the offset of that position in the target.
template <int NDIM, class Index>
__device__ Index next_window(Index& rest, const Walk<NDIM>& walk, Index* first) {
    Index target = 0;
#pragma unroll
    for (int a = NDIM - 1; a >= 0; --a) {
        const Axis& axis = walk.axes[a];
        const Index position = next(rest, Index(axis.positions));
        first[a] = Index(axis.start) + Index(axis.step) * position;
        target += Index(axis.position) * position;
    }
    return target;
}

// Calls visit(read, tap, inside) for each tap of a window, the last axis fastest: its offsets in the source and in what
// has an element for each tap, and whether the first of these lies in the source at all.
template <int AXIS, int NDIM, class Index, class Visit>
__device__ void for_each_tap(
    const Walk<NDIM>& walk, const Index* first, Index read, Index tap, bool inside, const Visit& visit) {
    if constexpr (AXIS == NDIM) {
        visit(read, tap, inside);
    } else {
        const Axis& axis = walk.axes[AXIS];
        Index at = first[AXIS];
        for (Index t = 0; t < Index(axis.taps); ++t) {
            const bool here = inside && at >= 0 && at < Index(axis.size);
            for_each_tap<AXIS + 1>(walk, first, read + at * Index(axis.source), tap, here, visit);
            at += Index(axis.spacing);
            tap += Index(axis.tap);
        }
    }
}

// Copies windows to columns: one thread for each position, channel, group and image.
template <int NDIM, class Source, class Sum, class Index>
__global__ void gather(const Source* __restrict__ source, Sum* __restrict__ columns, const Walk<NDIM> walk) {
    Index image = Index(blockIdx.x) * Index(blockDim.x) + Index(threadIdx.x), first[NDIM];
    const Index position = next_window(image, walk, first);
    const Index channel = next(image, Index(walk.channels)), group = next(image, Index(walk.groups));
    if (image >= Index(walk.images)) return;

    const Index read = image * Index(walk.source.image) + group * Index(walk.source.group) +
                       channel * Index(walk.source.channel);
    const Index target = image * Index(walk.target.image) + group * Index(walk.target.group) +
                         channel * Index(walk.target.channel) + position;
    for_each_tap<0>(walk, first, read, target, true, [&](Index from, Index to, bool inside) {
        columns[to] = inside ? Sum(source[from]) : Sum();
    });
}

// Multiplies windows by ROWS rows of a matrix: one thread for each position, as many rows, group and image, which adds
// channel by channel and tap by tap. Nothing is done where `unless` points to true: so the device itself decides.
template <int NDIM, int ROWS, class Source, class Sum, class Target, class Index>
__global__ void direct(const Source* __restrict__ source, const Source* __restrict__ matrix, Target* __restrict__ target,
                       const bool* __restrict__ unless, const Walk<NDIM> walk) {
    if (unless && *unless) return;
    const Index rows = Index(walk.rows);
    Index image = Index(blockIdx.x) * Index(blockDim.x) + Index(threadIdx.x), first[NDIM];
    const Index position = next_window(image, walk, first);
    const Index row = ROWS * next(image, (rows + ROWS - 1) / ROWS), group = next(image, Index(walk.groups));
    if (image >= Index(walk.images)) return;

    Sum sums[ROWS];
    Index lines[ROWS];  // where the matrix has these rows; the last one again where there are fewer
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
        sums[r] = Sum();
        lines[r] = (row + r < rows ? row + r : rows - 1) * Index(walk.matrix.row);
    }
    for (Index channel = 0; channel < Index(walk.channels); ++channel) {
        const Index read = image * Index(walk.source.image) + group * Index(walk.source.group) +
                           channel * Index(walk.source.channel);
        const Index weight = group * Index(walk.matrix.group) + channel * Index(walk.matrix.channel);
        for_each_tap<0>(walk, first, read, weight, true, [&](Index from, Index tap, bool inside) {
            if (inside || walk.multiplies_zeros) {
                const Sum value = inside ? Sum(source[from]) : Sum();
#pragma unroll
                for (int r = 0; r < ROWS; ++r) sums[r] += Sum(matrix[lines[r] + tap]) * value;
            }
        });
    }
    Target* const out = target + (image * Index(walk.target.image) + group * Index(walk.target.group) + position);
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
        if (row + r < rows) out[(row + r) * Index(walk.target.row)] = Stored<Target>::of(sums[r]);
    }
}
