// What all kernels share: types, the place of a thread in the grid, and reductions. launch.py
// writes a line before it that says what ELEMENT is: float, say. For the reductions come back
// after elementwise.cu.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

typedef long long int64;  // sizes and positions: an array may have more than 2^31 elements
typedef unsigned long long uint64;

// ---- element types

using T = ELEMENT;  // what arrays are made of in memory

// What kernels compute in. Half-precision numbers are only a format for memory: sums of many of
// them would soon lose their last digits, and float costs nothing while memory is the slow part.
template <typename Element> struct Wide { using type = Element; };
template <> struct Wide<__half> { using type = float; };
template <> struct Wide<__nv_bfloat16> { using type = float; };
using wide = Wide<T>::type;

// NVRTC, CUDA's compiler at run time, has no INFINITY: these are its bits.
__device__ inline float infinity() { return __int_as_float(0x7f800000); }
__device__ inline float not_a_number() { return __int_as_float(0x7fc00000); }

// ---- where a thread is

__device__ inline int64 thread_of_grid() { return (int64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline int64 threads_in_grid() { return (int64)gridDim.x * blockDim.x; }

// ---- reductions
//
// A warp is 32 threads that run in step; one of them is a lane. Lanes can read one another's
// registers by a shuffle, with no memory between. In five steps, each lane adding what the lane 16,
// 8, 4, 2, 1 further (by exclusive or) has summed so far, every lane has the sum of all.

constexpr unsigned ALL_LANES = 0xffffffffu;

struct Sum {
    template <typename A> __device__ static A join(A a, A b) { return a + b; }
    template <typename A> __device__ static A nothing() { return A(0); }
};
struct Max {  // a nan wins, as in NumPy: comparisons with a nan are false
    template <typename A> __device__ static A join(A a, A b) { return a != a || a > b ? a : b; }
    template <typename A> __device__ static A nothing() { return -infinity(); }
};

// With fewer `lanes` (a power of 2) each group of so many neighbours has a result of its own.
template <typename Op, typename A> __device__ A warp_reduce(A value, int lanes = 32) {
    for (int other = lanes / 2; other > 0; other /= 2)
        value = Op::join(value, __shfl_xor_sync(ALL_LANES, value, other));
    return value;
}

// A block is up to 32 warps. Each reduces its own lanes' values; the results meet in shared memory,
// which all threads of the block see; and every warp reduces those. All threads of the block have
// to call it, in whole warps, and all get the result.
template <typename Op, typename A> __device__ A block_reduce(A value) {
    __shared__ A of_warp[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    value = warp_reduce<Op>(value);
    __syncthreads();  // of_warp may still be read, by a slow thread in an earlier call
    if (lane == 0) of_warp[warp] = value;
    __syncthreads();  // now all of it is written
    return warp_reduce<Op>(lane < warps ? of_warp[lane] : Op::template nothing<A>());
}

template <typename A> __device__ A warp_sum(A value) { return warp_reduce<Sum>(value); }
template <typename A> __device__ A warp_max(A value) { return warp_reduce<Max>(value); }
template <typename A> __device__ A block_sum(A value) { return block_reduce<Sum>(value); }
template <typename A> __device__ A block_max(A value) { return block_reduce<Max>(value); }
