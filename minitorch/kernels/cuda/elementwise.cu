// The first file to read. Activations and their derivatives: out[i] is a function of x[i] alone.
//
// A kernel is a function that very many threads run, each on its own elements. `extern "C"` keeps
// its name as it is, so that Python can find it. From [] to the end of {} is a function without a
// name, which `each` (elementwise.cuh) calls for every element; [=] lets it use the kernel's
// numbers. The formulas of the derivatives are explained in ../cpu/activations.py.
#include "elementwise.cuh"

// exp(-x) may be infinity; 1 / infinity is 0, which is right.
__device__ inline wide sigmoid(wide x) { return 1 / (1 + exp(-x)); }

extern "C" __global__ void sigmoid_forward(const T *x, T *out, int64 n) {
    each(n, out, [](wide x) { return sigmoid(x); }, x);
}

extern "C" __global__ void sigmoid_backward(const T *grad, const T *out, T *dx, int64 n) {
    each(n, dx, [](wide grad, wide out) { return grad * out * (1 - out); }, grad, out);
}

extern "C" __global__ void silu_forward(const T *x, T *out, int64 n) {
    each(n, out, [](wide x) { return x / (1 + exp(-x)); }, x);
}

extern "C" __global__ void silu_backward(const T *grad, const T *x, T *dx, int64 n) {
    auto slope = [](wide grad, wide x) {
        wide s = sigmoid(x);
        return grad * s * (1 + x * (1 - s));
    };
    each(n, dx, slope, grad, x);
}

// max(v, 0) + log(1 + exp(-|v|)) is log(1 + exp(v)), and exp cannot overflow.
extern "C" __global__ void softplus_forward(const T *x, T *out, int64 n, wide beta,
                                            wide threshold) {
    auto softplus = [=](wide x) {
        wide v = x * beta;
        return v > threshold ? x : ((v > 0 ? v : 0) + log1p(exp(-fabs(v)))) / beta;
    };
    each(n, out, softplus, x);
}

extern "C" __global__ void softplus_backward(const T *grad, const T *x, T *dx, int64 n, wide beta,
                                             wide threshold) {
    auto slope = [=](wide grad, wide x) {
        return x * beta > threshold ? grad : grad * sigmoid(x * beta);
    };
    each(n, dx, slope, grad, x);
}

// The normal distribution: the probability below x, and the density at x.
__device__ inline wide normal_cdf(wide x) {
    return wide(0.5) * (1 + erf(x * wide(0.70710678118654752)));
}
__device__ inline wide normal_density(wide x) {
    return wide(0.39894228040143268) * exp(wide(-0.5) * x * x);
}

extern "C" __global__ void gelu_forward(const T *x, T *out, int64 n) {
    each(n, out, [](wide x) { return x * normal_cdf(x); }, x);
}

extern "C" __global__ void gelu_backward(const T *grad, const T *x, T *dx, int64 n) {
    auto slope = [](wide grad, wide x) { return grad * (normal_cdf(x) + x * normal_density(x)); };
    each(n, dx, slope, grad, x);
}

// The approximation x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3).
__device__ inline wide tanh_of_u(wide x) {
    return tanh(wide(0.79788456080286536) * (x + wide(0.044715) * x * x * x));
}

extern "C" __global__ void gelu_tanh_forward(const T *x, T *out, int64 n) {
    each(n, out, [](wide x) { return wide(0.5) * x * (1 + tanh_of_u(x)); }, x);
}

extern "C" __global__ void gelu_tanh_backward(const T *grad, const T *x, T *dx, int64 n) {
    auto slope = [](wide grad, wide x) {
        wide t = tanh_of_u(x), du = wide(0.79788456080286536) * (1 + 3 * wide(0.044715) * x * x);
        return grad * (wide(0.5) * (1 + t) + wide(0.5) * x * (1 - t * t) * du);
    };
    each(n, dx, slope, grad, x);
}
