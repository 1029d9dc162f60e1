// Loads and stores of 16 bytes.
//
// 16 bytes are the most that a thread can load by one instruction. The fewer instructions ask for
// the same bytes, the more bytes are under way at a time, and so the memory is kept busy: a memory
// that answers after 700 nanoseconds delivers 4 terabytes a second only if 3 megabytes are always
// being waited for. Half-precision numbers that are loaded one by one never get there.
#pragma once
#include "common.cuh"

constexpr int WIDTH = 16 / sizeof(T);  // elements of 16 bytes

// W neighbouring elements: one instruction. (Of `wide` they may be 32 bytes: two.)
template <typename A, int W> struct alignas(W == 1 ? sizeof(A) : 16) Vector {
    A values[W];
};

// Whether an array can be read so: a view may begin anywhere.
template <typename A> __device__ bool aligned(const A *array) { return (uint64)array % 16 == 0; }

// f of the first elements, of the second, ..., computed in `wide`.
template <typename F, typename A, int W, typename... More>
__device__ Vector<T, W> map(F f, Vector<A, W> input, More... more) {
    Vector<T, W> result;
#pragma unroll
    for (int k = 0; k < W; k++)
        result.values[k] = T(f(wide(input.values[k]), wide(more.values[k])...));
    return result;
}
