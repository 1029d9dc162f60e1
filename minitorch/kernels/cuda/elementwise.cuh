// How a kernel visits all elements of its arrays: in vectors of 16 bytes, with a grid-stride loop.
#pragma once
#include "common.cuh"

// 16 bytes are the most that a thread can load by one instruction. The fewer instructions ask for
// the same bytes, the more bytes are under way at a time, and so the memory is kept busy.
constexpr int WIDTH = 16 / sizeof(T);
struct alignas(16) Vector {
    T values[WIDTH];
};

template <typename F, typename... Vectors>
__device__ Vector of_vectors(F f, const Vectors &...inputs) {
    Vector result;
    for (int k = 0; k < WIDTH; k++) result.values[k] = T(f(wide(inputs.values[k])...));
    return result;
}

__device__ inline bool aligned(const T *array) { return (uint64)array % sizeof(Vector) == 0; }

// out[i] = f(input[i], another[i], ...) for all i below n, computed in `wide`.
//
// A thread begins at its number in the grid and goes on by the number of threads in the grid. So
// neighbouring threads always touch neighbouring memory, any grid covers any n, and a GPU that is
// full already need not start more blocks.
template <typename F, typename... Inputs>
__device__ void each(int64 n, T *out, F f, Inputs... inputs) {
    int64 begin = thread_of_grid(), step = threads_in_grid(), in_vectors = 0;
    if (aligned(out) && (aligned(inputs) && ...)) {  // a view may begin anywhere: then one by one
        in_vectors = n / WIDTH;
        for (int64 i = begin; i < in_vectors; i += step)
            ((Vector *)out)[i] = of_vectors(f, ((const Vector *)inputs)[i]...);
        in_vectors *= WIDTH;
    }
    for (int64 i = in_vectors + begin; i < n; i += step) out[i] = T(f(wide(inputs[i])...));
}
