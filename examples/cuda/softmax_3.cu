// Step 3: maximum and sum in one pass, put together by shuffles.
//
// Two of the three passes over x become one: the sum is kept for the largest value so far, and
// whenever a larger one turns up, it is scaled down to that one. The same rule joins the results of
// two threads. Within a warp they are exchanged by shuffles, from register to register, without
// shared memory and without barriers; only the results of the 8 warps meet in shared memory, with
// one barrier where step 2 has nineteen.
struct Part {
    float largest, sum;  // sum of exp(x - largest)
};

__device__ Part join(Part a, Part b) {
    float largest = fmaxf(a.largest, b.largest);
    if (largest == __int_as_float(0xff800000)) return a;  // nothing but -infinity in either
    return {largest, a.sum * expf(a.largest - largest) + b.sum * expf(b.largest - largest)};
}

extern "C" __global__ void softmax(const float *x, float *out, int rows, int n) {
    __shared__ Part of_warp[8];
    int t = threadIdx.x;
    x += (long long)blockIdx.x * n, out += (long long)blockIdx.x * n;

    Part row = {__int_as_float(0xff800000), 0};
    for (int j = t; j < n; j += 256) row = join(row, {x[j], 1});

    for (int other = 16; other > 0; other /= 2)  // join with the lane whose number differs there
        row = join(row, {__shfl_xor_sync(0xffffffff, row.largest, other),
                         __shfl_xor_sync(0xffffffff, row.sum, other)});
    if (t % 32 == 0) of_warp[t / 32] = row;
    __syncthreads();
    row = of_warp[0];
    for (int warp = 1; warp < 8; warp++) row = join(row, of_warp[warp]);

    for (int j = t; j < n; j += 256) out[j] = expf(x[j] - row.largest) / row.sum;
}
