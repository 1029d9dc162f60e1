// Kernels that are right, and near to what is not: none may be reported.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

extern "C" __global__ void grid_stride(const float* x, float* y, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        y[i] = 2 * x[i];
}

// Each warp has a slot of its own and synchronises by itself.
extern "C" __global__ void warp_synchronous(const float* x, float* y) {
    __shared__ float slot[4];
    int warp = threadIdx.x / 32;
    float sum = 0;
    for (int i = 0; i < 5; i++) {
        if (threadIdx.x % 32 == i) slot[warp] = x[warp * 5 + i];
        __syncwarp();
        sum += slot[warp];
        __syncwarp();
    }
    y[threadIdx.x] = sum;
}

// The last of the readers writes: each read comes before it by a __syncwarp of its own.
extern "C" __global__ void readers_in_turn(const float* x, float* y) {
    __shared__ float slot;
    if (threadIdx.x == 0) slot = x[0];
    for (int i = 0; i < 32; i++) {
        __syncwarp();
        if (threadIdx.x == i) y[i] = slot;
        if (threadIdx.x == i && i % 4 == 3) slot = x[i];
    }
}

// The two halves of a warp go their own ways, and then meet.
extern "C" __global__ void halves_of_a_warp(const float* x, float* y) {
    __shared__ float part[32];
    unsigned half = threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u;
    part[threadIdx.x] = x[threadIdx.x];
    __syncwarp(half);
    float sum = part[threadIdx.x] + part[threadIdx.x ^ 1];
    if (threadIdx.x < 16)
        for (int i = 8; i > 0; i /= 2) sum += __shfl_xor_sync(0x0000ffffu, sum, i, 16);
    __syncwarp();
    part[31 - threadIdx.x] = sum;
    __syncwarp();
    y[threadIdx.x] = part[threadIdx.x];
}

extern "C" __global__ void double_buffered(const float* x, float* y, int steps) {
    __shared__ float tile[2][64];
    float sum = 0;
    for (int step = 0; step < steps; step++) {
        tile[step % 2][threadIdx.x] = x[step * 64 + threadIdx.x];
        __syncthreads();
        sum += tile[step % 2][63 - threadIdx.x];
    }
    y[threadIdx.x] = sum;
}

// All threads write the same value: no order of theirs makes a difference.
extern "C" __global__ void same_value(const float* x, int* y) {
    __shared__ bool found;
    if (threadIdx.x == 0) found = false;
    __syncthreads();
    if (x[threadIdx.x] > 3) found = true;
    __syncthreads();
    if (found) y[0] = 1;
}

// Bytes and halves: neighbours within one word, each written by a thread of its own.
extern "C" __global__ void neighbours(const float* x, unsigned char* bytes, __half* halves) {
    __shared__ unsigned char b[64];
    extern __shared__ float raw[];
    __half* h = reinterpret_cast<__half*>(raw);
    b[threadIdx.x] = (unsigned char)x[threadIdx.x];
    h[threadIdx.x] = __float2half(x[threadIdx.x]);
    bytes[threadIdx.x] = b[threadIdx.x];
    halves[threadIdx.x] = h[threadIdx.x];
}

extern "C" __global__ void float4_and_floats(const float* x, float* y) {
    __shared__ __align__(16) float tile[256];
    reinterpret_cast<float4*>(tile)[threadIdx.x] = reinterpret_cast<const float4*>(x)[threadIdx.x];
    __syncthreads();
    for (int i = 0; i < 4; i++) y[i * 64 + threadIdx.x] = tile[i * 64 + threadIdx.x];
}

extern "C" __global__ void atomics(const float* x, float* sum, double* total, int* extremes,
                                   unsigned long long* bits, __half* half_sum) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(sum, x[i]);
    atomicAdd(total, (double)x[i]);
    atomicMin(&extremes[0], (int)x[i]);
    atomicMax(&extremes[1], (int)x[i]);
    atomicInc((unsigned*)&extremes[2], 1000u);
    atomicOr(bits, 1ull << (i % 64));
    atomicAdd(half_sum, __float2half(0.25f));
    int* largest = &extremes[3];  // a maximum by compare-and-swap
    int old = *largest, seen;
    do {
        seen = old;
        old = atomicCAS(largest, seen, seen > (int)x[i] ? seen : (int)x[i]);
    } while (old != seen);
}

extern "C" __global__ void warp_words(const int* x, unsigned* y) {
    int v = x[threadIdx.x];
    unsigned all = 0xffffffffu, *out = y + 8 * threadIdx.x;
    out[0] = __ballot_sync(all, v % 3 == 0);
    out[1] = __any_sync(all, v == 5);
    out[2] = __all_sync(all, v < 32);
    out[3] = __reduce_add_sync(all, v);
    out[4] = __match_any_sync(all, v % 4);
    out[5] = __shfl_up_sync(all, v, 3);
    out[6] = __shfl_down_sync(all, v, 3, 8);
    out[7] = __shfl_sync(all, v, 9, 8);
}

extern "C" __global__ void barrier_votes(const int* x, int* y) {
    int v = x[threadIdx.x] % 3 == 0;
    y[3 * threadIdx.x] = __syncthreads_count(v);
    y[3 * threadIdx.x + 1] = __syncthreads_or(v);
    y[3 * threadIdx.x + 2] = __syncthreads_and(v);
}

// The last block to arrive adds up what all have left: fences and an atomic counter order them.
extern "C" __global__ void last_block(const float* x, volatile float* partial, unsigned* arrived,
                                      float* y) {
    __shared__ bool last;
    float v = x[blockIdx.x * 32 + threadIdx.x];
    for (int i = 16; i > 0; i /= 2) v += __shfl_xor_sync(0xffffffffu, v, i);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = v;
        __threadfence();
        last = atomicAdd(arrived, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        __threadfence();
        float sum = 0;
        for (int i = 0; i < gridDim.x; i++) sum += partial[i];
        y[0] = sum;
    }
}

template <typename T> __global__ void widen(const T* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = (float)x[i];
}
template <typename T> __global__ void narrow(const float* x, T* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = (T)x[i];
}
template <typename T> __global__ void combine(const T* x, const T* y, T* z, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    z[i] = x[i] + y[i];
    z[n + i] = x[i] * y[i];
    z[2 * n + i] = x[i] / y[i];
    z[3 * n + i] = x[i] < y[i] ? -x[i] : __hfma(x[i], y[i], x[i]);
}

__constant__ float weights[3] = {1, 2, 4};
__device__ float weigh(const float* __restrict__ x, int i) { return __ldg(x + i) * weights[i % 3]; }

struct Line {
    double slope;
    float offset;
};
extern "C" __global__ void __launch_bounds__(64) constants(const float* x, float* y, Line line,
                                                           bool flip, const float* bias) {
    int i = threadIdx.x;
    y[i] = (float)line.slope * weigh(x, i) + line.offset;
    if (flip) y[i] = -y[i];
    if (bias) y[i] += bias[i];
}

// Beyond 2^31 elements only the index is large.
extern "C" __global__ void large_index(const signed char* x, signed char* y, long long first) {
    long long i = first + threadIdx.x;
    y[i - first] = x[i - first] + (i > 4294967296LL);
}

extern "C" __global__ void three_dimensions(int* y) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, width = gridDim.x * blockDim.x;
    int row = blockIdx.y * blockDim.y + threadIdx.y, height = gridDim.y * blockDim.y;
    int plane = blockIdx.z * blockDim.z + threadIdx.z;
    y[(plane * height + row) * width + x] = 10000 * plane + 100 * row + x;
}

extern "C" __global__ void says(int n) {
    if (threadIdx.x == 3) printf("thread %d of %d\n", (int)threadIdx.x, n);
}

extern "C" __global__ void functions(const float* x, float* y, int n) {
    int i = threadIdx.x;
    y[i] = rsqrtf(x[i]);
    y[n + i] = erfinvf(x[i] / 100);
    y[2 * n + i] = normcdff(x[i] - 2);
    y[3 * n + i] = __fdividef(__expf(-x[i]), __logf(x[i] + 1));
    y[4 * n + i] = __uint_as_float(__float_as_uint(x[i]) ^ 0x80000000u);
    y[5 * n + i] = fmaxf(x[i], max(2.0f, min(x[i], 5.0f)));
    y[6 * n + i] = (float)(__umulhi(0x80000000u, (unsigned)i) + __popc(i) + __clz(i) + __ffs(i));
}
