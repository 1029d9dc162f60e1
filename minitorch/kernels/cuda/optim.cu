// Steps of optimizers, over all parameters of a model in one launch.
//
// A model has hundreds of parameters, many of them small. One launch each would cost more than the
// arithmetic: a launch takes some microseconds, and a bias of 768 elements fills one processor of a
// hundred. So one kernel gets the addresses of all of them, in a table, and the blocks of its grid
// share out their elements: CHUNK of them each.
#include "vectors.cuh"

constexpr int CHUNK = 4096;
constexpr int PARAM = 0, GRAD = 1;  // columns of the table; the others are an optimizer's state

// The block's part of a tensor. `layout` has, for each of `count` tensors, the number of the first
// block that works on it, and then for each its size.
struct Part {
    int tensor;
    int64 start, stop;

    __device__ Part(const int64 *layout, int count) {
        int low = 0, high = count - 1;  // the last tensor whose first block is not behind this one
        while (low < high) {
            int middle = (low + high + 1) / 2;
            if (layout[middle] <= blockIdx.x) low = middle;
            else high = middle - 1;
        }
        tensor = low;
        start = (blockIdx.x - layout[low]) * CHUNK;
        stop = min(start + CHUNK, layout[count + low]);
    }
};

// f(values) for W neighbours, from element i on: values[a] is array a's, and what f makes of it is
// written back. What is null is left out.
template <int W, int ARRAYS, typename F>
__device__ void update_at(int64 i, T *const (&arrays)[ARRAYS], F f) {
    Vector<T, W> vectors[ARRAYS];
#pragma unroll  // here and below: so that a is a constant, and the vectors are registers
    for (int a = 0; a < ARRAYS; a++)
        if (arrays[a]) vectors[a] = *(Vector<T, W> *)(arrays[a] + i);
#pragma unroll
    for (int k = 0; k < W; k++) {
        wide values[ARRAYS];
#pragma unroll
        for (int a = 0; a < ARRAYS; a++) values[a] = vectors[a].values[k];
        f(values);
#pragma unroll
        for (int a = 0; a < ARRAYS; a++) vectors[a].values[k] = T(values[a]);
    }
#pragma unroll
    for (int a = 0; a < ARRAYS; a++)
        if (arrays[a] && a != GRAD) *(Vector<T, W> *)(arrays[a] + i) = vectors[a];
}

// The same for the block's whole part. tensors: the addresses of all parameters, then of all
// gradients, and so on, `used` columns of the ARRAYS.
template <int ARRAYS, typename F>
__device__ void update(T *const *tensors, const int64 *layout, int count, int used, F f) {
    Part part(layout, count);
    T *arrays[ARRAYS];
    bool vectors = true;
#pragma unroll
    for (int a = 0; a < ARRAYS; a++) {
        arrays[a] = a < used ? tensors[a * count + part.tensor] : nullptr;
        vectors &= aligned(arrays[a]);
    }
    int64 begin = part.start, step = blockDim.x;
    if (vectors) {
        int64 end = begin + (part.stop - begin) / WIDTH * WIDTH;
        for (int64 i = begin + threadIdx.x * WIDTH; i < end; i += step * WIDTH)
            update_at<WIDTH>(i, arrays, f);
        begin = end;
    }
    for (int64 i = begin + threadIdx.x; i < part.stop; i += step) update_at<1>(i, arrays, f);
}

extern "C" __global__ void sgd_step(T *const *tensors, const int64 *layout, int count, wide lr,
                                    wide momentum, wide dampening, wide weight_decay, int nesterov,
                                    int maximize, int first) {
    auto step = [=](wide (&values)[3]) {
        wide &p = values[PARAM], g = values[GRAD], &buffer = values[2];
        if (maximize) g = -g;
        g += p * weight_decay;
        if (momentum != 0) {
            buffer = first ? g : buffer * momentum + g * (1 - dampening);
            g = nesterov ? buffer * momentum + g : buffer;
        }
        p -= g * lr;
    };
    update<3>(tensors, layout, count, momentum != 0 ? 3 : 2, step);
}

// The state: means, means of squares, and the largest of these if amsgrad is not 0. shrink is
// 1 - lr * decoupled weight decay; new1 and new2 are 1 - beta1 and 1 - beta2, to more digits than a
// float leaves of the difference; step_size and root are lr / (1 - beta1^t) and sqrt(1 - beta2^t).
extern "C" __global__ void adam_step(T *const *tensors, const int64 *layout, int count, wide shrink,
                                     wide weight_decay, wide new1, wide beta2, wide new2,
                                     wide step_size, wide root, wide eps, int maximize, int amsgrad) {
    auto step = [=](wide (&values)[5]) {
        wide &p = values[PARAM], g = values[GRAD], &mean = values[2], &square = values[3];
        p *= shrink;
        if (maximize) g = -g;
        g += p * weight_decay;
        mean += (g - mean) * new1;
        square = square * beta2 + g * g * new2;
        wide v = square;
        if (amsgrad) v = values[4] = v > values[4] ? v : values[4];
        p -= step_size * mean / (sqrt(v) / root + eps);
    };
    update<5>(tensors, layout, count, amsgrad ? 5 : 4, step);
}
