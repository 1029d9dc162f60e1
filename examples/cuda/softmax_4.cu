// Step 4: the row stays in registers, and comes in loads of 16 bytes.
//
// A row of up to 4,096 numbers is 16 for each of 256 threads: they fit into registers. So x is read
// once and out written once, which is the least that any softmax can do. The numbers come four at a
// time: a quarter of the load instructions, each with more bytes under way, and it is bytes under
// way that fill the memory's bandwidth. With all of x at hand, the plain maximum is cheaper again
// than step 3's rule. A load of 16 bytes must begin at a multiple of 16: n is a multiple of 4.
constexpr int LOADS = 4;  // by each thread

extern "C" __global__ void __launch_bounds__(256)
    softmax(const float *x, float *out, int rows, int n) {
    __shared__ float maxima[8], sums[8];  // of the warps
    const float4 *from = (const float4 *)(x + (long long)blockIdx.x * n);
    float4 *to = (float4 *)(out + (long long)blockIdx.x * n);
    float low = __int_as_float(0xff800000);

    float4 row[LOADS];
    float largest = low, sum = 0;
#pragma unroll  // so that i is a constant, and row[i] a register
    for (int i = 0; i < LOADS; i++) {
        int at = threadIdx.x + 256 * i;
        row[i] = at < n / 4 ? from[at] : make_float4(low, low, low, low);
        largest = fmaxf(largest, fmaxf(fmaxf(row[i].x, row[i].y), fmaxf(row[i].z, row[i].w)));
    }
    for (int other = 16; other > 0; other /= 2)
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, other));
    if (threadIdx.x % 32 == 0) maxima[threadIdx.x / 32] = largest;
    __syncthreads();
    for (int warp = 0; warp < 8; warp++) largest = fmaxf(largest, maxima[warp]);

#pragma unroll
    for (int i = 0; i < LOADS; i++) {
        row[i] = make_float4(expf(row[i].x - largest), expf(row[i].y - largest),
                             expf(row[i].z - largest), expf(row[i].w - largest));
        sum += row[i].x + row[i].y + row[i].z + row[i].w;
    }
    for (int other = 16; other > 0; other /= 2)
        sum += __shfl_xor_sync(0xffffffff, sum, other);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = 0;
    for (int warp = 0; warp < 8; warp++) sum += sums[warp];

#pragma unroll
    for (int i = 0; i < LOADS; i++) {
        int at = threadIdx.x + 256 * i;
        if (at < n / 4)
            to[at] = make_float4(row[i].x / sum, row[i].y / sum, row[i].z / sum, row[i].w / sum);
    }
}
