// Of each channel, over all samples and positions: sums, which batch_norm needs for its statistics
// and every normalisation for the gradients of its weight and bias; and batch_norm itself.
//
// Arrays are (samples, channels, length). What is added lies apart in memory, but neighbours have
// to be read together all the same. Where channels are long, a block takes one of them, and its
// threads the neighbouring positions. Where length is 1, a block takes 32 neighbouring channels,
// and a warp reads one sample of each: `width` says which.
#include "common.cuh"

constexpr int BLOCK = 256;  // threads

// The sum of the values of all threads whose number is the same modulo `width`, a power of 2: a
// tree in shared memory, which at each level adds the upper half of what is left to the lower half.
__device__ wide sum_of_column(wide value, int width) {
    __shared__ wide values[BLOCK];
    __syncthreads();  // values may still be read, by a slow thread in an earlier call
    values[threadIdx.x] = value;
    __syncthreads();
    for (int half = BLOCK / 2; half >= width; half /= 2) {
        if (threadIdx.x < half) values[threadIdx.x] += values[threadIdx.x + half];
        __syncthreads();
    }
    return values[threadIdx.x % width];
}

// sums[c] of grad, and dots[c] of grad * (x - mean) * rstd; without `grad`, of x - mean instead.
// Channel c of a sample has the statistic at sample * per_sample + c / per_group. Row y of the grid
// sums its share of the samples and positions, into row y of the results.
extern "C" __global__ void channel_sums(const T *x, const T *grad, const wide *mean,
                                        const wide *rstd, wide *sums, wide *dots, int64 samples,
                                        int64 channels, int64 length, int64 per_sample,
                                        int64 per_group, int width) {
    int64 channel = (int64)blockIdx.x * width + threadIdx.x % width;
    int64 all = samples * length, share = (all + gridDim.y - 1) / gridDim.y;
    int64 i = blockIdx.y * share + threadIdx.x / width, stop = min((blockIdx.y + 1) * share, all);
    // A division takes as long as twenty additions, so sample and position are counted along.
    int64 sample = i / length, position = i % length, step = BLOCK / width;
    int64 samples_a_step = step / length, positions_a_step = step % length;
    wide sum = 0, dot = 0;
    if (channel < channels)
        for (; i < stop; i += step) {
            int64 at = (sample * channels + channel) * length + position;
            int64 statistic = sample * per_sample + channel / per_group;
            wide centred = mean ? wide(x[at]) - mean[statistic] : 0;
            wide g = grad ? wide(grad[at]) : centred;
            sum += g;
            dot += g * centred * (rstd ? rstd[statistic] : 1);
            sample += samples_a_step, position += positions_a_step;
            if (position >= length) position -= length, sample++;
        }
    sum = sum_of_column(sum, width);
    dot = sum_of_column(dot, width);
    if (threadIdx.x < width && channel < channels) {
        sums[blockIdx.y * channels + channel] = sum;
        dots[blockIdx.y * channels + channel] = dot;
    }
}

// Below, a block takes one channel of one sample; where length is 1, all channels of a sample.
struct Plane {
    int64 start, n, channel;
    bool of_all;

    __device__ Plane(int64 channels, int64 length) : of_all(length == 1) {
        n = of_all ? channels : length;
        start = blockIdx.x * n;
        channel = blockIdx.x % channels;
    }
    __device__ int64 channel_of(int64 j) const { return of_all ? j : channel; }
};

extern "C" __global__ void batch_norm_forward(const T *x, const wide *weight, const wide *bias,
                                              const wide *mean, const wide *var, T *out,
                                              int64 channels, int64 length, wide eps) {
    Plane plane(channels, length);
    for (int64 j = threadIdx.x; j < plane.n; j += blockDim.x) {
        int64 c = plane.channel_of(j);
        wide scale = (weight ? weight[c] : 1) / sqrt(var[c] + eps);
        wide centred = wide(x[plane.start + j]) - mean[c];
        out[plane.start + j] = T(centred * scale + (bias ? bias[c] : 0));
    }
}

// dx = rstd weight (grad - mean(grad) - xhat mean(grad xhat)), the means over the `count` elements
// of a channel; without them (sums is null) where mean and var were not the batch's own.
extern "C" __global__ void batch_norm_backward(const T *grad, const T *x, const wide *weight,
                                               const wide *mean, const wide *var, const wide *sums,
                                               const wide *dots, T *dx, int64 channels,
                                               int64 length, int64 count, wide eps) {
    Plane plane(channels, length);
    for (int64 j = threadIdx.x; j < plane.n; j += blockDim.x) {
        int64 at = plane.start + j, c = plane.channel_of(j);
        wide rstd = 1 / sqrt(var[c] + eps), g = grad[at];
        if (sums) g -= (sums[c] + (wide(x[at]) - mean[c]) * rstd * dots[c]) / count;
        dx[at] = T(g * rstd * (weight ? weight[c] : 1));
    }
}
