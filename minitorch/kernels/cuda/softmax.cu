// softmax and log_softmax along one axis, and their derivatives.
//
// These kernels do next to nothing but read and write, so that two things decide their speed (see
// rows.cuh): each number is read once, and threads that run side by side read what lies side by
// side. 32 lanes of a warp that ask for neighbouring numbers get them in a few requests of 128
// bytes. That is what "coalesced" means.
#include "softmax.cuh"

extern "C" __global__ void __launch_bounds__(MOST)
    softmax_forward(const T *x, T *out, int64 rows, int64 n, int64 inner) {
    auto body = [=](auto row) {
        Share share(row, x);
        wide largest, sum;
        largest_and_sum(row, share, largest, sum);
        wide scale = 1 / sum;
        row.write(out, [&](wide x) { return exp(x - largest) * scale; }, share);
    };
    with_row(rows, n, inner, body, x, out);
}

// dx = out * (grad - sum(grad * out))
extern "C" __global__ void __launch_bounds__(MOST)
    softmax_backward(const T *grad, const T *out, T *dx, int64 rows, int64 n, int64 inner) {
    auto body = [=](auto row) {
        Share grads(row, grad), outs(row, out);
        wide dot = 0;
        row.each([&](wide grad, wide out) { dot += grad * out; }, grads, outs);
        dot = row.template reduce<Sum>(dot);
        row.write(dx, [&](wide grad, wide out) { return out * (grad - dot); }, grads, outs);
    };
    with_row(rows, n, inner, body, grad, out, dx);
}

extern "C" __global__ void __launch_bounds__(MOST)
    log_softmax_forward(const T *x, T *out, int64 rows, int64 n, int64 inner) {
    auto body = [=](auto row) {
        Share share(row, x);
        wide largest, sum;
        largest_and_sum(row, share, largest, sum);
        wide log_sum = log(sum);
        row.write(out, [&](wide x) { return x - largest - log_sum; }, share);
    };
    with_row(rows, n, inner, body, x, out);
}

// dx = grad - exp(out) * sum(grad)
extern "C" __global__ void __launch_bounds__(MOST)
    log_softmax_backward(const T *grad, const T *out, T *dx, int64 rows, int64 n, int64 inner) {
    auto body = [=](auto row) {
        Share grads(row, grad), outs(row, out);
        wide sum = 0;
        row.each([&](wide grad) { sum += grad; }, grads);
        sum = row.template reduce<Sum>(sum);
        row.write(dx, [&](wide grad, wide out) { return grad - exp(out) * sum; }, grads, outs);
    };
    with_row(rows, n, inner, body, grad, out, dx);
}
