// Steps of optimizers, over all parameters of a model in one launch.
//
// A model has hundreds of parameters, many of them small. One launch each would cost more than the
// arithmetic: a launch takes some microseconds, and a bias of 768 elements fills one processor of a
// hundred. So one kernel gets the addresses of all of them, in a table, and the blocks of its grid
// share out their elements: CHUNK of them each.
#include "common.cuh"

constexpr int CHUNK = 4096;

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

// tensors: the addresses of all parameters, then of all gradients, then of all momentum buffers.
extern "C" __global__ void sgd_step(T *const *tensors, const int64 *layout, int count, wide lr,
                                    wide momentum, wide dampening, wide weight_decay, int nesterov,
                                    int maximize, int first) {
    Part part(layout, count);
    T *param = tensors[part.tensor], *grad = tensors[count + part.tensor];
    T *buffer = momentum != 0 ? tensors[2 * count + part.tensor] : nullptr;
    for (int64 i = part.start + threadIdx.x; i < part.stop; i += blockDim.x) {
        wide p = param[i], g = grad[i];
        if (maximize) g = -g;
        g += p * weight_decay;
        if (buffer != nullptr) {
            wide b = first ? g : wide(buffer[i]) * momentum + g * (1 - dampening);
            buffer[i] = T(b);
            g = nesterov ? b * momentum + g : b;
        }
        param[i] = T(p - g * lr);
    }
}

// tensors: the addresses of all parameters, gradients, means, means of squares, and of the largest
// of these if amsgrad is not 0. shrink is 1 - lr * decoupled weight decay; new1 and new2 are
// 1 - beta1 and 1 - beta2, to more digits than a float leaves of the difference; step_size and root
// are lr / (1 - beta1^t) and sqrt(1 - beta2^t).
extern "C" __global__ void adam_step(T *const *tensors, const int64 *layout, int count, wide shrink,
                                     wide weight_decay, wide new1, wide beta2, wide new2,
                                     wide step_size, wide root, wide eps, int maximize, int amsgrad) {
    Part part(layout, count);
    T *param = tensors[part.tensor], *grad = tensors[count + part.tensor];
    T *mean = tensors[2 * count + part.tensor], *square = tensors[3 * count + part.tensor];
    T *largest = amsgrad ? tensors[4 * count + part.tensor] : nullptr;
    for (int64 i = part.start + threadIdx.x; i < part.stop; i += blockDim.x) {
        wide p = wide(param[i]) * shrink, g = grad[i], m = mean[i], v = square[i];
        if (maximize) g = -g;
        g += p * weight_decay;
        m += (g - m) * new1;
        v = v * beta2 + g * g * new2;
        mean[i] = T(m), square[i] = T(v);
        if (largest != nullptr) {
            wide before = largest[i];
            v = v > before ? v : before;
            largest[i] = T(v);
        }
        param[i] = T(p - step_size * m / (sqrt(v) / root + eps));
    }
}
