// Of each channel, over all samples and positions: sums, which batch_norm needs for its statistics
// and every normalisation for the gradients of its weight and bias; and batch_norm itself.
//
// Arrays are (samples, channels, length). What is added lies apart in memory, but neighbours have
// to be read together all the same. Where channels are long, a block takes one of them, and its
// threads the neighbouring positions. Where length is 1, a warp takes one sample of neighbouring
// channels, as many as its lanes can load.
#include "by_channel.cuh"

constexpr int BLOCK = 256;  // threads

// Adds up the values of all threads whose number is the same modulo `width`, a power of 2: a tree in
// shared memory, which at each level adds the upper half of what is left to the lower half. The
// first `width` threads have the sums.
template <int W> __device__ Vector<wide, W> sum_of_column(Vector<wide, W> mine, int width) {
    __shared__ Vector<wide, W> all[BLOCK];
    __syncthreads();  // it may still be read, by a slow thread in an earlier call
    all[threadIdx.x] = mine;
    __syncthreads();
    for (int half = BLOCK / 2; half >= width; half /= 2) {
        if (threadIdx.x < half)
            for (int k = 0; k < W; k++)
                all[threadIdx.x].values[k] += all[threadIdx.x + half].values[k];
        __syncthreads();
    }
    return all[threadIdx.x % width];
}

// W neighbours at a time: positions of one channel, or where length is 1 channels of one sample.
template <int W>
__device__ void sum_channels(const T *x, const T *grad, const wide *mean, const wide *rstd,
                             wide *sums, wide *dots, int64 samples, int64 channels, int64 length,
                             int64 per_sample, int64 per_group, int width) {
    bool across = length == 1;  // each of the W has a sum of its own
    int64 channel = ((int64)blockIdx.x * width + threadIdx.x % width) * (across ? W : 1);
    int64 positions = across ? 1 : length / W, all = samples * positions;
    int64 share = (all + gridDim.y - 1) / gridDim.y;
    int64 i = blockIdx.y * share + threadIdx.x / width, stop = min((blockIdx.y + 1) * share, all);
    // A division takes as long as twenty additions, so sample and position are counted along.
    int64 sample = i / positions, position = i % positions, step = BLOCK / width;
    int64 samples_a_step = step / positions, positions_a_step = step % positions;
    int64 group[W];
    for (int k = 0; k < W; k++) group[k] = (channel + (across ? k : 0)) / per_group;
    Vector<wide, W> sum = {}, dot = {};
    if (channel < channels)
        for (; i < stop; i += step) {
            int64 at = (sample * channels + channel) * length + position * W;
            Vector<T, W> xs, grads;
            if (mean) xs = *(const Vector<T, W> *)(x + at);
            if (grad) grads = *(const Vector<T, W> *)(grad + at);
            for (int k = 0; k < W; k++) {
                int64 statistic = sample * per_sample + group[k];
                wide centred = mean ? wide(xs.values[k]) - mean[statistic] : 0;
                wide g = grad ? wide(grads.values[k]) : centred;
                sum.values[k] += g;
                dot.values[k] += g * centred * (rstd ? rstd[statistic] : 1);
            }
            sample += samples_a_step, position += positions_a_step;
            if (position >= positions) position -= positions, sample++;
        }
    sum = sum_of_column(sum, width);
    dot = sum_of_column(dot, width);
    if (threadIdx.x >= width || channel >= channels) return;
    for (int k = 1; k < W && !across; k++)
        sum.values[0] += sum.values[k], dot.values[0] += dot.values[k];
#pragma unroll
    for (int k = 0; k < W; k++)
        if (k == 0 || across) {
            sums[blockIdx.y * channels + channel + k] = sum.values[k];
            dots[blockIdx.y * channels + channel + k] = dot.values[k];
        }
}

// sums[c] of grad, and dots[c] of grad * (x - mean) * rstd; without `grad`, of x - mean instead.
// Channel c of a sample has the statistic at sample * per_sample + c / per_group. Row y of the grid
// sums its share of the samples and positions, into row y of the results. `vectors`: they can be
// loaded by 16 bytes, which decides how many channels a block has, and so the size of the grid.
extern "C" __global__ void __launch_bounds__(BLOCK)
    channel_sums(const T *x, const T *grad, const wide *mean, const wide *rstd, wide *sums,
                 wide *dots, int64 samples, int64 channels, int64 length, int64 per_sample,
                 int64 per_group, int width, bool vectors) {
    if (vectors)
        sum_channels<WIDTH>(x, grad, mean, rstd, sums, dots, samples, channels, length, per_sample,
                            per_group, width);
    else
        sum_channels<1>(x, grad, mean, rstd, sums, dots, samples, channels, length, per_sample,
                        per_group, width);
}

// Below, a row is one channel of one sample; where length is 1, all channels of a sample.

extern "C" __global__ void __launch_bounds__(MOST, 1)
    batch_norm_forward(const T *x, const wide *weight, const wide *bias, const wide *mean,
                       const wide *var, T *out, int64 rows, int64 n, int64 channels, int64 length,
                       wide eps) {
    auto body = [=](auto row) {
        int64 first = length == 1 ? 0 : row.number % channels;
        Share share(row, x);
        ByChannel w(row, weight, 1, first, length), b(row, bias, 0, first, length);
        ByChannel m(row, mean, 0, first, length), v(row, var, 1, first, length);
        auto normalised = [=](wide x, wide w, wide b, wide m, wide v) {
            return (x - m) * (rsqrt(v + eps) * w) + b;
        };
        row.write(out, normalised, share, w, b, m, v);
    };
    with_row(rows, n, 1, body, x, out, weight, bias, mean, var);
}

// dx = rstd weight (grad - mean(grad) - xhat mean(grad xhat)), the means over the `count` elements
// of a channel; without them (sums is null) where mean and var were not the batch's own.
extern "C" __global__ void __launch_bounds__(MOST, 1)
    batch_norm_backward(const T *grad, const T *x, const wide *weight, const wide *mean,
                        const wide *var, const wide *sums, const wide *dots, T *dx, int64 rows,
                        int64 n, int64 channels, int64 length, int64 count, wide eps) {
    auto body = [=](auto row) {
        int64 first = length == 1 ? 0 : row.number % channels;
        Share grads(row, grad), xs(row, x);
        ByChannel w(row, weight, 1, first, length), m(row, mean, 0, first, length);
        ByChannel v(row, var, 1, first, length);
        ByChannel sum(row, sums, 0, first, length), dot(row, dots, 0, first, length);
        wide share_of_one = wide(1) / count;
        auto slope = [=](wide grad, wide x, wide w, wide m, wide v, wide sum, wide dot) {
            wide rstd = rsqrt(v + eps);
            return (grad - (sum + (x - m) * rstd * dot) * share_of_one) * rstd * w;
        };
        row.write(dx, slope, grads, xs, w, m, v, sum, dot);
    };
    with_row(rows, n, 1, body, grad, x, dx, weight, mean, var, sums, dots);
}
