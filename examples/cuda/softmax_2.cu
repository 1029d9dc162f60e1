// Step 2: a block of 256 threads for each row, which meet in shared memory.
//
// Neighbouring lanes now read neighbouring numbers: a warp's load moves 4 sectors and uses all of
// them. The price is that maximum and sum are spread over 256 threads. They are put together by a
// tree in shared memory: in each round half of the threads add what another has.
extern "C" __global__ void softmax(const float *x, float *out, int rows, int n) {
    __shared__ float part[256];
    int t = threadIdx.x;
    x += (long long)blockIdx.x * n, out += (long long)blockIdx.x * n;

    float largest = __int_as_float(0xff800000);  // -infinity, which NVRTC has no name for
    for (int j = t; j < n; j += 256) largest = fmaxf(largest, x[j]);
    part[t] = largest;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if (t < half) part[t] = fmaxf(part[t], part[t + half]);
        __syncthreads();  // outside of the if: all threads of a block must come to a barrier
    }
    largest = part[0];
    __syncthreads();  // all have read it; now it may be overwritten

    float sum = 0;
    for (int j = t; j < n; j += 256) sum += expf(x[j] - largest);
    part[t] = sum;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if (t < half) part[t] += part[t + half];
        __syncthreads();
    }
    sum = part[0];

    for (int j = t; j < n; j += 256) out[j] = expf(x[j] - largest) / sum;
}
