// The negative log-likelihood of the target classes, and the derivative of cross_entropy.
//
// Input is (samples, classes, inner), one row of classes for each target. A row's loss is
// -weight[target] * log_probs[target], and 0 where the target is ignored. That is a gather: a
// thread looks up one number of its row, and leaves the others alone.
//
// cross_entropy reads a row once, as softmax does, but writes only three numbers of it: its loss,
// and the two by which its derivative, which reads the row again, has the softmax.
#include "softmax.cuh"

// What the loss of a target is multiplied by. A wrong target would read memory that is not the
// row's. An assertion on a GPU ends the program; the host would have to wait to see it earlier.
__device__ wide weight_of(int64 target, const wide *weight, int64 classes, int64 ignore_index) {
    if (target == ignore_index) return 0;
    bool target_is_a_class = target >= 0 && target < classes;
    assert(target_is_a_class);
    return !target_is_a_class ? 0 : weight ? weight[target] : 1;
}

extern "C" __global__ void nll_loss_forward(const T *log_probs, const int64 *target,
                                            const wide *weight, wide *losses, wide *weights,
                                            int64 rows, int64 classes, int64 inner,
                                            int64 ignore_index) {
    for (int64 i = thread_of_grid(); i < rows; i += threads_in_grid()) {
        wide w = weight_of(target[i], weight, classes, ignore_index);
        int64 start = i / inner * classes * inner + i % inner;
        weights[i] = w;  // where it is 0 the log-probability may be -inf, and 0 * inf would be nan
        losses[i] = w == 0 ? 0 : -w * wide(log_probs[start + target[i] * inner]);
    }
}

extern "C" __global__ void __launch_bounds__(MOST)
    cross_entropy_forward(const T *x, const int64 *target, const wide *weight, wide *losses,
                          wide *weights, wide *kept, int64 rows, int64 classes, int64 inner,
                          int64 ignore_index) {
    auto body = [=](auto row) {
        Share share(row, x);
        wide largest, sum;
        largest_and_sum(row, share, largest, sum);
        if (!row.exists || row.member > 0) return;
        int64 i = row.number, wanted = target[i];
        wide w = weight_of(wanted, weight, classes, ignore_index);
        weights[i] = w, kept[i] = largest, kept[rows + i] = sum;
        if (w == 0) {
            losses[i] = 0;
            return;
        }
        T log_prob = T(wide(x[row.start + wanted * inner]) - largest - log(sum));
        losses[i] = -w * wide(log_prob);  // rounded in between, as log_softmax would write it
    };
    with_row(rows, classes, inner, body, x);
}

// The sum of the losses, or their mean: divided by the sum of the weights. One block does it all.
extern "C" __global__ void nll_loss_sum(const wide *losses, const wide *weights, T *loss,
                                        wide *total, int64 rows, bool mean) {
    wide sum = 0, of_weights = 0;
    for (int64 i = threadIdx.x; i < rows; i += blockDim.x)
        sum += losses[i], of_weights += weights[i];
    sum = block_sum(sum);
    of_weights = block_sum(of_weights);
    if (threadIdx.x == 0) {
        *loss = T(mean ? sum / of_weights : sum);
        *total = of_weights;
    }
}

// The derivative by a row's loss times its weight. `grad` is of one loss for all rows, or with
// `each` of a loss for each row. `total` is the divisor of a mean.
__device__ wide scale_of(int64 row, const T *grad, bool each, const wide *total, wide weight) {
    if (weight == 0) return 0;  // where all are ignored, total is 0: the mean is nan, this is not
    return weight * wide(grad[each ? row : 0]) / (total ? *total : 1);
}

// dx is full of zeros before.
extern "C" __global__ void nll_loss_backward(const T *grad, const int64 *target, const wide *weight,
                                             const wide *total, T *dx, int64 rows, int64 classes,
                                             int64 inner, bool each, int64 ignore_index) {
    for (int64 i = thread_of_grid(); i < rows; i += threads_in_grid()) {
        wide w = weight_of(target[i], weight, classes, ignore_index);
        int64 start = i / inner * classes * inner + i % inner;
        if (w != 0) dx[start + target[i] * inner] = T(-scale_of(i, grad, each, total, w));
    }
}

// 1 for the target, 0 for all other elements of a row. It stands beside the Shares of rows.cuh.
template <int W> struct OneHot {
    int64 target;

    __device__ OneHot(const Row<W> &, int64 target) : target(target) {}
    __device__ void hold(const Row<W> &) {}
    __device__ Vector<wide, W> vector(const Row<W> &row, int i) const {
        Vector<wide, W> v;
        for (int k = 0; k < W; k++) v.values[k] = row.element(i) + k == target;
        return v;
    }
};

// dx = (softmax - one_hot(target)) * scale
extern "C" __global__ void __launch_bounds__(MOST)
    cross_entropy_backward(const T *grad, const T *x, const wide *kept, const int64 *target,
                           const wide *weight, const wide *total, T *dx, int64 rows, int64 classes,
                           int64 inner, bool each, int64 ignore_index) {
    auto body = [=](auto row) {
        if (!row.exists) return;
        int64 i = row.number, wanted = target[i];
        wide w = weight_of(wanted, weight, classes, ignore_index);
        wide scale = scale_of(i, grad, each, total, w);
        wide largest = kept[i], inverse = 1 / kept[rows + i];
        Share share(row, x);
        OneHot one_hot(row, wanted);
        auto slope = [&](wide x, wide one) { return (exp(x - largest) * inverse - one) * scale; };
        row.write(dx, slope, share, one_hot);
    };
    with_row(rows, classes, inner, body, x, dx);
}
