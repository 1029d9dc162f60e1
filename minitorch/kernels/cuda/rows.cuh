// The rows that lie along one axis of an array: who takes which row, and how it is read once.
#pragma once
#include "vectors.cuh"

constexpr int MOST = 512;  // threads of a team; rows.py's

// The axis cuts memory into rows: element j of a row is at start + j * inner, where inner is how
// many elements lie behind one entry of the axis; it is 1 for the last axis.
//
// A team of threads shares a row. Along the last axis it has as many as the row keeps busy: a few
// lanes of a warp, all of them, or a whole block. Otherwise neighbours in memory belong to different
// rows, and each thread is a team of its own: the threads of a warp still read side by side. A block
// is (team, teams); rows.py chooses.
//
// Every thread keeps its share of the row in registers: LOADS vectors, all of them asked for before
// the first is needed. So a row is read once, however often the kernel goes over it. A row that is
// too long for that comes in rounds. Each time over it begins where the last time ended: with the
// round that is still held, and then with those that were read last and may still be in a cache.
template <int W> struct Row {
    // With more of them a thread would need over 64 registers, and fewer than 1,024 would run at a time.
    static constexpr int LOADS = sizeof(T) == 8 ? 1 : W == 1 || sizeof(T) == 4 ? 4 : 2;
    int64 number, start, n, inner;
    int team, member;  // how many threads share the row, and which one this is
    bool exists;       // a thread without a row has one of no elements: it takes part in reductions
    int64 first = 0;   // of this round
    int left = 0;      // elements of this round

    __device__ Row(int64 rows, int64 n, int64 inner)
        : inner(inner), team(blockDim.x), member(threadIdx.x) {
        number = (int64)blockIdx.x * blockDim.y + threadIdx.y;
        exists = number < rows;
        if (!exists) number = 0;
        this->n = exists ? n : 0;
        start = number / inner * n * inner + number % inner;
    }

    // Of this thread's vector i: where it is in the round, and in the row. Neighbouring threads have
    // neighbouring vectors.
    __device__ int at(int i) const { return (i * team + member) * W; }
    __device__ bool has(int i) const { return at(i) < left; }
    __device__ int64 element(int i) const { return first + at(i); }
    template <typename A> __device__ Vector<A, W> &vector(const A *array, int i) const {
        return *(Vector<A, W> *)(array + start + element(i) * inner);
    }

    // Calls f() for each round. The sources hold their part of it then: Shares, or others like them.
    template <typename F, typename... Sources> __device__ void rounds(F f, Sources &...sources) {
        int each = LOADS * W * team;
        bool down = first > 0;
        do {
            left = int(min(n - first, (int64)each));
            (sources.hold(*this), ...);
            f();
            first += down ? -each : each;
        } while (0 <= first && first < n);
        first -= down ? -each : each;
    }
    // f(value, ...) for each element of this round: a value from each source.
    template <typename F, typename... Sources> __device__ void held(F f, const Sources &...sources) {
#pragma unroll  // so that i is a constant, and vectors[i] of a Share are registers
        for (int i = 0; i < LOADS; i++)
            if (has(i)) visit(f, sources.vector(*this, i)...);
    }
    template <typename F, typename... Vectors>
    __device__ static void visit(F &f, const Vectors &...inputs) {
#pragma unroll
        for (int k = 0; k < W; k++) f(wide(inputs.values[k])...);
    }
    // The same for all rounds.
    template <typename F, typename... Sources> __device__ void each(F f, Sources &...sources) {
        rounds([&] { held(f, sources...); }, sources...);
    }
    // out[j] = f(value, ...) for each element j of the row.
    template <typename F, typename... Sources>
    __device__ void write(T *out, F f, Sources &...sources) {
        auto write_round = [&] {
#pragma unroll
            for (int i = 0; i < LOADS; i++)
                if (has(i)) vector(out, i) = map(f, sources.vector(*this, i)...);
        };
        rounds(write_round, sources...);
    }

    // All threads of a block have to call it, those without a row too.
    template <typename Op> __device__ wide reduce(wide value) const {
        return team > 32 ? block_reduce<Op>(value) : warp_reduce<Op>(value, team);
    }
};

// A thread's share of an array's row.
template <int W> struct Share {
    const T *array;
    int64 first = -1;  // of the round that is held
    Vector<T, W> vectors[Row<W>::LOADS];

    __device__ Share(const Row<W> &, const T *array) : array(array) {}
    __device__ void hold(const Row<W> &row) {
        if (first == row.first) return;
        first = row.first;
#pragma unroll
        for (int i = 0; i < row.LOADS; i++)
            if (row.has(i)) vectors[i] = row.vector(array, i);
    }
    __device__ const Vector<T, W> &vector(const Row<W> &, int i) const { return vectors[i]; }
};

// Calls f(row). It is compiled twice: for rows that can be loaded by 16 bytes, and for others, whose
// vectors have one element. `arrays`: all that are read and written so.
template <typename F, typename... Arrays>
__device__ void with_row(int64 rows, int64 n, int64 inner, F f, Arrays... arrays) {
    if (inner == 1 && n % WIDTH == 0 && (aligned(arrays) && ...)) f(Row<WIDTH>(rows, n, 1));
    else f(Row<1>(rows, n, inner));
}
