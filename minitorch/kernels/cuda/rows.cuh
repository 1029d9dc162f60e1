// The rows that lie along one axis of an array, and the threads that share one.
#pragma once
#include "common.cuh"

// The axis cuts memory into rows: element j of a row is at start + j * inner, where inner is how
// many elements lie behind one entry of the axis. inner is 1 for the last axis. Then a whole block
// shares a row. Otherwise neighbours in memory belong to different rows, and so each thread takes a
// row of its own: the threads of a warp still read side by side.
struct Row {
    int64 number, start, inner;
    int64 first, step;  // this thread's elements of the row: first, first + step, ...
    bool shared, exists;

    __device__ Row(int64 rows, int64 n, int64 inner) : inner(inner), shared(inner == 1) {
        number = shared ? (int64)blockIdx.x : thread_of_grid();
        start = number / inner * n * inner + number % inner;
        first = shared ? threadIdx.x : 0;
        step = shared ? blockDim.x : 1;
        exists = number < rows;
    }
    __device__ int64 operator[](int64 j) const { return start + j * inner; }

    template <typename Op> __device__ wide reduce(wide value) const {
        return shared ? block_reduce<Op>(value) : value;
    }
};
