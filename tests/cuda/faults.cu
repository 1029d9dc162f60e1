// Kernels with one fault each. A comment FAULT marks the lines that the emulator must name; where
// it stands on two lines, either may come first, for the order of threads is random.

// ---- Shared memory: races and reads too early ----------------------------------------------------

extern "C" __global__ void no_barrier_after_write(const float* x, float* y) {
    __shared__ float part[64];
    part[threadIdx.x] = x[threadIdx.x];  // FAULT
    y[threadIdx.x] = part[63 - threadIdx.x];  // FAULT
}

extern "C" __global__ void no_barrier_after_read(const float* x, float* y) {
    __shared__ float part[64];
    part[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    float other = part[63 - threadIdx.x];  // FAULT
    part[threadIdx.x] = 2 * other;  // FAULT
    __syncthreads();
    y[threadIdx.x] = part[threadIdx.x];
}

extern "C" __global__ void no_barrier_in_tree(const float* x, float* y) {
    extern __shared__ float part[];
    part[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];  // FAULT
    }
    if (threadIdx.x == 0) y[0] = part[0];
}

extern "C" __global__ void shared_scalar(const float* x, float* y) {
    __shared__ float largest;
    if (threadIdx.x == 40) largest = x[40];  // FAULT
    y[threadIdx.x] = largest;  // FAULT
}

extern "C" __global__ void slot_of_two_warps(const float* x, float* y) {
    __shared__ float slot;
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        if (threadIdx.x % 32 == 0) slot = x[threadIdx.x];  // FAULT
        __syncwarp();
        sum += slot;  // FAULT
        __syncwarp();
    }
    y[threadIdx.x] = sum;
}

extern "C" __global__ void no_syncwarp(const float* x, float* y) {
    __shared__ float part[64];
    part[threadIdx.x] = x[threadIdx.x];  // FAULT
    y[threadIdx.x] = part[threadIdx.x ^ 1];  // FAULT
}

extern "C" __global__ void syncwarp_of_the_other_half(const float* x, float* y) {
    __shared__ float part[32];
    part[threadIdx.x] = x[threadIdx.x];  // FAULT
    __syncwarp(threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u);
    y[threadIdx.x] = part[threadIdx.x ^ 16];  // FAULT
}

extern "C" __global__ void shuffle_orders_nothing(const float* x, float* y) {
    __shared__ float part[32];
    part[threadIdx.x] = x[threadIdx.x];  // FAULT
    float v = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);
    y[threadIdx.x] = v + part[threadIdx.x ^ 1];  // FAULT
}

extern "C" __global__ void volatile_is_no_barrier(const float* x, float* y) {
    __shared__ float part[32];
    volatile float* v = part;
    v[threadIdx.x] = x[threadIdx.x];  // FAULT
    if (threadIdx.x < 16) y[threadIdx.x] = v[threadIdx.x] + v[threadIdx.x + 16];  // FAULT
}

extern "C" __global__ void single_buffered(const float* x, float* y) {
    __shared__ float tile[64];
    float sum = 0;
    for (int step = 0; step < 3; step++) {
        tile[threadIdx.x] = x[step * 64 + threadIdx.x];  // FAULT
        __syncthreads();
        sum += tile[63 - threadIdx.x];  // FAULT
    }
    y[threadIdx.x] = sum;
}

extern "C" __global__ void atomic_then_plain(const float* x, float* y) {
    __shared__ float sum;
    if (threadIdx.x == 0) sum = 0;
    __syncthreads();
    atomicAdd(&sum, x[threadIdx.x]);  // FAULT
    y[threadIdx.x] = sum;  // FAULT
}

extern "C" __global__ void never_written(const float* x, float* y) {
    __shared__ float part[64];
    if (threadIdx.x < 32) part[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = part[threadIdx.x];  // FAULT
}

extern "C" __global__ void left_by_the_block_before(const float* x, float* y) {
    __shared__ float part[64];
    if (blockIdx.x == 0) part[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[blockIdx.x * 64 + threadIdx.x] = part[threadIdx.x];  // FAULT
}

// ---- Global memory --------------------------------------------------------------------------------

extern "C" __global__ void add_without_atomic(const float* x, float* y) {
    y[0] += x[blockIdx.x * blockDim.x + threadIdx.x];  // FAULT
}

extern "C" __global__ void all_write_one(const float* x, float* y) {
    y[0] = x[threadIdx.x];  // FAULT
}

extern "C" __global__ void blocks_overlap(const float* x, float* y) {
    int i = blockIdx.x * (blockDim.x - 1) + threadIdx.x;
    y[i] = x[i] * blockIdx.x;  // FAULT
}

extern "C" __global__ void reads_what_another_block_writes(const float* x, float* y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    y[i] = x[i];  // FAULT
    __syncthreads();
    y[i] = y[(i + 64) % 128];  // FAULT
}

extern "C" __global__ void histogram_without_atomic(const float* x, float* y) {
    int bin = (int)x[threadIdx.x] & 7;
    y[bin] = y[bin] + 1;  // FAULT
}

// ---- Bounds, alignment, const ---------------------------------------------------------------------

extern "C" __global__ void read_past_the_end(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) y[i % n] = x[i];  // FAULT
}

extern "C" __global__ void write_past_the_end(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    y[i] = 1;  // FAULT
}

extern "C" __global__ void read_before_the_beginning(const float* x, float* y, int n) {
    int i = threadIdx.x;
    y[i] = x[i - 1];  // FAULT
}

extern "C" __global__ void null_pointer(const float* x, float* y) {
    y[threadIdx.x] = x[threadIdx.x];  // FAULT
}

extern "C" __global__ void static_array(const float* x, float* y) {
    __shared__ float part[8];
    part[threadIdx.x] = x[threadIdx.x];  // FAULT
    y[threadIdx.x] = part[threadIdx.x];
}

extern "C" __global__ void local_array(const float* x, float* y, int n) {
    float mine[4];
    for (int i = 0; i <= n; i++) mine[i] = x[i];  // FAULT
    y[threadIdx.x] = mine[3];
}

extern "C" __global__ void too_little_dynamic_shared(const float* x, float* y) {
    extern __shared__ float part[];
    part[threadIdx.x] = x[threadIdx.x];  // FAULT
    __syncthreads();
    y[threadIdx.x] = part[threadIdx.x];
}

extern "C" __global__ void misaligned_float4(const float* x, float* y) {
    float4 v = *reinterpret_cast<const float4*>(x + 1 + 4 * threadIdx.x);  // FAULT
    y[threadIdx.x] = v.x + v.y + v.z + v.w;
}

extern "C" __global__ void float4_past_the_end(const float* x, float* y, int n) {
    if (4 * threadIdx.x < n)
        reinterpret_cast<float4*>(y)[threadIdx.x] = make_float4(1, 2, 3, 4);  // FAULT
}

extern "C" __global__ void write_to_const(const float* x, float* y) {
    const_cast<float*>(x)[threadIdx.x] = 1;  // FAULT
}

extern "C" __global__ void misaligned_atomic(const float* x, float* y) {
    atomicAdd(reinterpret_cast<int*>(reinterpret_cast<char*>(y) + 2), 1);  // FAULT
}

// ---- Arrays made empty: here y, of which nothing is written --------------------------------------

extern "C" __global__ void adds_to_empty(const float* x, float* y) {
    y[threadIdx.x] += x[threadIdx.x];  // FAULT
}

extern "C" __global__ void adds_atomically_to_empty(const float* x, float* y) {
    atomicAdd(&y[threadIdx.x % 8], x[threadIdx.x]);  // FAULT
}

extern "C" __global__ void reads_empty_through_const(const float* y, float* out) {
    out[threadIdx.x] = y[threadIdx.x];  // FAULT
}

extern "C" __global__ void sums_more_than_is_written(const float* x, float* y, int n) {
    for (int i = threadIdx.x; i < n; i += blockDim.x) y[i] = x[i];
    __syncthreads();
    if (threadIdx.x == 0)
        for (int i = 0; i <= n; i++) y[0] += y[i];  // FAULT
}

extern "C" __global__ void reads_a_vector_of_three(const float* x, float* y) {
    for (int i = 0; i < 3; i++) y[4 * threadIdx.x + i] = x[i];
    float4 v = reinterpret_cast<float4*>(y)[threadIdx.x];  // FAULT
    y[4 * threadIdx.x] = v.x + v.w;
}

extern "C" __global__ void writes_one_byte_of_four(const float* x, float* y) {
    reinterpret_cast<unsigned char*>(y + threadIdx.x)[1] = 1;
    y[threadIdx.x] *= 2;  // FAULT
}

extern "C" __global__ void odd_elements_are_forgotten(const float* x, float* y) {
    if (threadIdx.x % 2 == 0) y[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0) y[0] = y[2] + y[3];  // FAULT
}

// ---- Barriers and warps ---------------------------------------------------------------------------

extern "C" __global__ void return_before_barrier(const float* x, float* y, int n) {
    if (threadIdx.x >= n) return;
    y[threadIdx.x] = x[threadIdx.x];
    __syncthreads();  // FAULT
}

extern "C" __global__ void barrier_in_a_branch(const float* x, float* y) {
    if (threadIdx.x < 32) {
        __syncthreads();  // FAULT
    } else {
        __syncthreads();  // FAULT
    }
}

extern "C" __global__ void lane_not_in_mask(const float* x, float* y) {
    y[threadIdx.x] = __shfl_sync(0x0000ffffu, x[threadIdx.x], 0);  // FAULT
}

extern "C" __global__ void source_not_in_mask(const float* x, float* y) {
    if (threadIdx.x < 16) y[threadIdx.x] = __shfl_down_sync(0x0000ffffu, x[threadIdx.x], 8);  // FAULT
}

extern "C" __global__ void sum_of_half_a_warp(const float* x, float* y) {  // launched with 48 threads
    float sum = x[threadIdx.x];
    for (int i = 16; i > 0; i /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, i);  // FAULT
    y[threadIdx.x] = sum;
}

extern "C" __global__ void shuffle_in_a_branch(const float* x, float* y) {
    float v = x[threadIdx.x];
    if (threadIdx.x < 8) v = __shfl_sync(0xffffffffu, v, 0);  // FAULT
    __syncthreads();  // FAULT
    y[threadIdx.x] = v;
}

extern "C" __global__ void shuffles_in_two_branches(const float* x, float* y) {
    float v = x[threadIdx.x];
    if (threadIdx.x < 8)
        v = __shfl_sync(0xffffffffu, v, 0);  // FAULT
    else
        v = __shfl_sync(0xffffffffu, v, 8);  // FAULT
    y[threadIdx.x] = v;
}

extern "C" __global__ void shuffle_of_seven(const float* x, float* y) {
    y[threadIdx.x] = __shfl_sync(0xffffffffu, x[threadIdx.x], 0, 7);  // FAULT
}

extern "C" __global__ void shuffle_from_the_gone(const float* x, float* y) {
    if (threadIdx.x < 4) return;
    y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 4);  // FAULT
}

extern "C" __global__ void mask_of_activemask(const float* x, float* y) {
    unsigned mask = __activemask();
    y[threadIdx.x] = __shfl_xor_sync(mask, x[threadIdx.x], 1);  // FAULT
}

// ---- Arithmetic -----------------------------------------------------------------------------------

extern "C" __global__ void int_overflow(const float* x, float* y, int n) {
    unsigned j = threadIdx.x * n;  // unsigned: may wrap
    int i = (int)threadIdx.x * n;  // FAULT
    y[threadIdx.x] = x[(i ^ j) & 63];
}

extern "C" __global__ void sum_overflow(const float* x, float* y, int n) {
    int i = n + (int)threadIdx.x;  // FAULT
    y[threadIdx.x] = x[i & 63];
}

extern "C" __global__ void shift_too_far(const float* x, float* y, int n) {
    y[threadIdx.x] = 1 << (n + threadIdx.x);  // FAULT
}

extern "C" __global__ void division_by_zero(const float* x, float* y, int n) {
    y[threadIdx.x] = x[(int)threadIdx.x / n];  // FAULT
}

extern "C" __global__ void failing_assertion(const float* x, float* y, int n) {
    assert(n > 100);  // FAULT
    y[threadIdx.x] = n;
}

extern "C" __global__ void too_much_static_shared(const float* x, float* y) {
    __shared__ double big[7000];
    big[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = (float)big[threadIdx.x];
}

extern "C" __global__ void __launch_bounds__(2 * 32, 4) bounded(const float* x, float* y) {
    __shared__ float part[1 << 10];
    part[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = part[threadIdx.x];
}

// ---- A fault inside of a function that kernels share ----------------------------------------------

template <typename T> __device__ T block_sum(T v) {
    __shared__ T part[32];
    for (int i = 16; i > 0; i /= 2) v += __shfl_xor_sync(0xffffffffu, v, i);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;  // FAULT
    __syncthreads();
    T sum = 0;
    for (int i = 0; i < blockDim.x / 32; i++) sum += part[i];  // FAULT
    return sum;
}

template <typename T> __global__ void buffer_used_twice(const T* x, T* y) {
    T sum = block_sum(x[threadIdx.x]);
    y[threadIdx.x] = block_sum(x[threadIdx.x] / sum);
}

// ---- From block to block --------------------------------------------------------------------------

extern "C" __global__ void last_block_without_fence(const float* x, float* partial, unsigned* arrived) {
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = x[blockIdx.x];  // FAULT
        if (atomicAdd(arrived, 1u) == gridDim.x - 1)
            for (int i = 1; i < gridDim.x; i++) partial[0] += partial[i];  // FAULT
    }
}

// All have read y[0], the last block as well; it writes, and nothing says that the others are done.
extern "C" __global__ void last_block_overwrites(const float* x, float* y, unsigned* arrived) {
    unsigned n = atomicAdd(arrived, 1u);
    float v = y[0];  // FAULT
    if (n == gridDim.x - 1) y[0] = v + x[0];  // FAULT
}

// The same from warp to warp.
extern "C" __global__ void last_warp_overwrites(const float* x, float* y) {
    __shared__ float slot;
    __shared__ unsigned arrived;
    if (threadIdx.x == 0) slot = x[0];
    if (threadIdx.x == 1) arrived = 0;
    __syncthreads();
    unsigned n = threadIdx.x % 32 == 0 ? atomicAdd(&arrived, 1u) : 0;
    float v = slot;  // FAULT
    __syncwarp();
    if (n == blockDim.x / 32 - 1) slot = v + 1;  // FAULT
    y[threadIdx.x] = v;
}

extern "C" __global__ void spinning(const float* x, float* y) {
    volatile float* flag = y;
    if (threadIdx.x == 0) flag[0] = 1;
    while (threadIdx.x == 1 && flag[1] == 2) {  // FAULT
    }
}

// No race, and yet the result depends on who comes last.
extern "C" __global__ void last_one_wins(const float* x, float* y) {
    atomicExch(y, x[threadIdx.x]);
}
