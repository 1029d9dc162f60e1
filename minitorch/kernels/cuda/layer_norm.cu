// layer_norm and group_norm: each row to mean 0 and variance 1, then scaled and shifted.
//
// The variance is that of what is left when the mean is taken away: the mean of the squares less the
// square of the mean would cancel where the mean is large. So a row is gone over three times, but it
// is read once (rows.cuh).
//
// A row of layer_norm has a weight for each element. A row of group_norm is one of the `groups` of
// a sample's channels, `length` elements each, with a weight for each channel. So layer_norm is
// group_norm with one group and channels of length 1.
#include "by_channel.cuh"

extern "C" __global__ void __launch_bounds__(MOST, 1)
    layer_norm_forward(const T *x, const wide *weight, const wide *bias, T *out, wide *mean,
                       wide *rstd, int64 rows, int n, int groups, int length, wide eps) {
    auto body = [=](auto row) {
        Share share(row, x);
        wide sum = 0, squares = 0;
        row.each([&](wide x) { sum += x; }, share);
        wide m = row.template reduce<Sum>(sum) / max(n, 1);
        row.each([&](wide x) { squares += (x - m) * (x - m); }, share);
        wide r = 1 / sqrt(row.template reduce<Sum>(squares) / n + eps);
        int64 first = row.number % groups * (n / length);
        ByChannel w(row, weight, 1, first, length), b(row, bias, 0, first, length);
        row.write(out, [&](wide x, wide w, wide b) { return (x - m) * r * w + b; }, share, w, b);
        if (row.exists && row.member == 0) mean[row.number] = m, rstd[row.number] = r;
    };
    with_row(rows, n, 1, body, x, out, weight, bias);
}

// With xhat = (x - mean) * rstd and g = grad * weight, dx = rstd (g - mean(g) - xhat mean(g xhat)).
// The gradients of weight and bias are sums along the other axis: channels.cu.
extern "C" __global__ void __launch_bounds__(MOST, 1)
    layer_norm_backward(const T *grad, const T *x, const wide *weight, const wide *mean,
                        const wide *rstd, T *dx, int64 rows, int n, int groups, int length) {
    auto body = [=](auto row) {
        Share grads(row, grad), xs(row, x);
        ByChannel weights(row, weight, 1, row.number % groups * (n / length), length);
        wide m = mean[row.number], r = rstd[row.number], sum = 0, dot = 0;
        auto add = [&](wide grad, wide x, wide weight) {
            sum += grad * weight;
            dot += grad * weight * (x - m) * r;
        };
        row.each(add, grads, xs, weights);
        sum = row.template reduce<Sum>(sum) / n;
        dot = row.template reduce<Sum>(dot) / n;
        auto slope = [&](wide grad, wide x, wide weight) {
            return r * (grad * weight - sum - (x - m) * r * dot);
        };
        row.write(dx, slope, grads, xs, weights);
    };
    with_row(rows, n, 1, body, grad, x, dx, weight);
}
