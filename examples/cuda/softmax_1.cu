// Step 1: a thread for each row.
//
// The loop of a C programmer, 32 rows at a time. It is right, and slow: at any moment the 32 lanes of
// a warp read 32 numbers that lie n apart. Memory is fetched in sectors of 32 bytes, so a warp's load
// moves 32 sectors, of which it uses 4 bytes each. And with few rows most of the GPU has nothing to
// do.
extern "C" __global__ void softmax(const float *x, float *out, int rows, int n) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    x += (long long)row * n, out += (long long)row * n;

    float largest = x[0];
    for (int j = 1; j < n; j++) largest = fmaxf(largest, x[j]);
    float sum = 0;
    for (int j = 0; j < n; j++) sum += expf(x[j] - largest);
    for (int j = 0; j < n; j++) out[j] = expf(x[j] - largest) / sum;
}
