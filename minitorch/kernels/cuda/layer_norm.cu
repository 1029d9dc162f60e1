// layer_norm and group_norm: each row to mean 0 and variance 1, then scaled and shifted.
//
// One block takes one row, as in softmax.cu. It reads the row three times: for the mean, for the
// variance (of what is left when the mean is taken away: the mean of the squares less the square of
// the mean would cancel where the mean is large), and to write. Only the first time it comes from
// memory. A row is some kilobytes, and later it is still in the processor's own cache.
#include "common.cuh"

// A row of layer_norm has a weight for each element. A row of group_norm is one of the `groups` of
// a sample's channels, `length` elements each, with a weight for each channel. So layer_norm is
// group_norm with one group and channels of length 1.
__device__ inline int64 channel_of(int j, int n, int groups, int length) {
    return int64(blockIdx.x % groups) * (n / length) + j / length;
}

extern "C" __global__ void layer_norm_forward(const T *x, const wide *weight, const wide *bias,
                                              T *out, wide *mean, wide *rstd, int n, int groups,
                                              int length, wide eps) {
    x += (int64)blockIdx.x * n, out += (int64)blockIdx.x * n;
    wide sum = 0, squares = 0;
    for (int j = threadIdx.x; j < n; j += blockDim.x) sum += wide(x[j]);
    wide m = block_sum(sum) / max(n, 1);
    for (int j = threadIdx.x; j < n; j += blockDim.x) {
        wide centred = wide(x[j]) - m;
        squares += centred * centred;
    }
    wide r = 1 / sqrt(block_sum(squares) / n + eps);
    for (int j = threadIdx.x; j < n; j += blockDim.x) {
        int64 channel = channel_of(j, n, groups, length);
        wide scale = weight ? r * weight[channel] : r;
        out[j] = T((wide(x[j]) - m) * scale + (bias ? bias[channel] : 0));
    }
    if (threadIdx.x == 0) mean[blockIdx.x] = m, rstd[blockIdx.x] = r;
}

// With xhat = (x - mean) * rstd and g = grad * weight, dx = rstd (g - mean(g) - xhat mean(g xhat)).
// The gradients of weight and bias are sums along the other axis: channels.cu.
extern "C" __global__ void layer_norm_backward(const T *grad, const T *x, const wide *weight,
                                               const wide *mean, const wide *rstd, T *dx, int n,
                                               int groups, int length) {
    int64 start = (int64)blockIdx.x * n;
    grad += start, x += start, dx += start;
    wide m = mean[blockIdx.x], r = rstd[blockIdx.x], sum = 0, dot = 0;
    for (int j = threadIdx.x; j < n; j += blockDim.x) {
        wide g = wide(grad[j]) * (weight ? weight[channel_of(j, n, groups, length)] : 1);
        sum += g;
        dot += g * (wide(x[j]) - m) * r;
    }
    sum = block_sum(sum) / n;
    dot = block_sum(dot) / n;
    for (int j = threadIdx.x; j < n; j += blockDim.x) {
        wide g = wide(grad[j]) * (weight ? weight[channel_of(j, n, groups, length)] : 1);
        dx[j] = T(r * (g - sum - (wide(x[j]) - m) * r * dot));
    }
}
