// softmax and log_softmax along one axis, and their derivatives. One block takes one row.
//
// Elements that lie side by side in memory are read by threads that run side by side: 32 lanes of a
// warp, one after the other, read one 128-byte line. That is what "coalesced" means, and it decides
// the speed, for these kernels do next to nothing but read and write.
#include "rows.cuh"

// The maximum of a row, and the sum of exp(x - maximum), in one pass: whenever a larger maximum
// turns up, what has been summed so far is scaled down to it. Without the maximum exp could
// overflow.
__device__ void largest_and_sum(const Row &row, const T *x, int64 n, wide &largest, wide &sum) {
    largest = -infinity(), sum = 0;
    for (int64 j = row.first; j < n; j += row.step) {
        wide value = x[row[j]], before = largest;
        if (value == -infinity()) continue;  // adds nothing
        largest = Max::join(largest, value);
        if (largest != before) sum *= exp(before - largest);
        sum += exp(value - largest);
    }
    wide own = largest;
    largest = row.reduce<Max>(largest);
    sum = row.reduce<Sum>(sum * exp(own - largest));
}

extern "C" __global__ void softmax_forward(const T *x, T *out, int64 rows, int64 n, int64 inner) {
    Row row(rows, n, inner);
    if (!row.exists) return;
    wide largest, sum;
    largest_and_sum(row, x, n, largest, sum);
    for (int64 j = row.first; j < n; j += row.step)
        out[row[j]] = T(exp(wide(x[row[j]]) - largest) / sum);
}

// dx = out * (grad - sum(grad * out))
extern "C" __global__ void softmax_backward(const T *grad, const T *out, T *dx, int64 rows, int64 n,
                                            int64 inner) {
    Row row(rows, n, inner);
    if (!row.exists) return;
    wide dot = 0;
    for (int64 j = row.first; j < n; j += row.step) dot += wide(grad[row[j]]) * wide(out[row[j]]);
    dot = row.reduce<Sum>(dot);
    for (int64 j = row.first; j < n; j += row.step)
        dx[row[j]] = T(wide(out[row[j]]) * (wide(grad[row[j]]) - dot));
}

extern "C" __global__ void log_softmax_forward(const T *x, T *out, int64 rows, int64 n,
                                               int64 inner) {
    Row row(rows, n, inner);
    if (!row.exists) return;
    wide largest, sum;
    largest_and_sum(row, x, n, largest, sum);
    wide log_sum = log(sum);
    for (int64 j = row.first; j < n; j += row.step)
        out[row[j]] = T(wide(x[row[j]]) - largest - log_sum);
}

// dx = grad - exp(out) * sum(grad)
extern "C" __global__ void log_softmax_backward(const T *grad, const T *out, T *dx, int64 rows,
                                                int64 n, int64 inner) {
    Row row(rows, n, inner);
    if (!row.exists) return;
    wide sum = 0;
    for (int64 j = row.first; j < n; j += row.step) sum += wide(grad[row[j]]);
    sum = row.reduce<Sum>(sum);
    for (int64 j = row.first; j < n; j += row.step)
        dx[row[j]] = T(wide(grad[row[j]]) - exp(wide(out[row[j]])) * sum);
}
