// How a kernel visits all elements of its arrays: in vectors of 16 bytes, with a grid-stride loop.
#pragma once
#include "vectors.cuh"

// out[i] = f(input[i], another[i], ...) for all i below n, computed in `wide`.
//
// A thread begins at its number in the grid and goes on by the number of threads in the grid. So
// neighbouring threads always touch neighbouring memory, any grid covers any n, and a GPU that is
// full already need not start more blocks.
template <typename F, typename... Inputs>
__device__ void each(int64 n, T *out, F f, Inputs... inputs) {
    using V = Vector<T, WIDTH>;
    int64 begin = thread_of_grid(), step = threads_in_grid(), in_vectors = 0;
    if (aligned(out) && (aligned(inputs) && ...)) {  // else one by one
        in_vectors = n / WIDTH;
        for (int64 i = begin; i < in_vectors; i += step)
            ((V *)out)[i] = map(f, ((const V *)inputs)[i]...);
        in_vectors *= WIDTH;
    }
    for (int64 i = in_vectors + begin; i < n; i += step) out[i] = T(f(wide(inputs[i])...));
}
