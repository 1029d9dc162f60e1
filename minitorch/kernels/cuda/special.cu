// Special functions. CUDA has erf's family; digamma, zeta and Bessel's functions are those of
// ../cpu/special.py and gamma.py once more, computed in double like there.
#include "elementwise.cuh"

extern "C" __global__ void erf_forward(const T *x, T *out, int64 n) {
    each(n, out, [](wide x) { return erf(x); }, x);
}

extern "C" __global__ void erfc_forward(const T *x, T *out, int64 n) {
    each(n, out, [](wide x) { return erfc(x); }, x);
}

extern "C" __global__ void erfcx_forward(const T *x, T *out, int64 n) {
    each(n, out, [](wide x) { return erfcx(x); }, x);
}

extern "C" __global__ void erfinv_forward(const T *x, T *out, int64 n) {
    each(n, out, [](wide x) { return erfinv(x); }, x);
}

extern "C" __global__ void ndtri_forward(const T *x, T *out, int64 n) {
    each(n, out, [](wide x) { return normcdfinv(x); }, x);
}

// Far to the left erfc is 0 long before its logarithm is -infinity; erfcx is never 0.
extern "C" __global__ void log_ndtr_forward(const T *x, T *out, int64 n) {
    auto log_ndtr = [](wide x) {
        wide z = fabs(x) * wide(0.70710678118654752);
        return x < 0 ? log(erfcx(z) / 2) - z * z : log1p(-erfc(z) / 2);
    };
    each(n, out, log_ndtr, x);
}

extern "C" __global__ void lgamma_forward(const T *x, T *out, int64 n) {
    each(n, out, [](wide x) { return lgamma(x); }, x);
}

// Bernoulli's numbers B2, B4, ..., of which the series below are made.
__constant__ double BERNOULLI[8] = {1.0 / 6,  -1.0 / 30,   1.0 / 42, -1.0 / 30,
                                    5.0 / 66, -691.0 / 2730, 7.0 / 6,  -3617.0 / 510};
constexpr double PI = 3.141592653589793;

// The derivative of lgamma: climbs by digamma(x) = digamma(x + 1) - 1 / x to where the series is
// good, from 1 - x for x below 1/2.
__device__ double digamma(double x) {
    if (x == 0) return copysign((double)infinity(), -x);
    bool left = x < 0.5;
    if (x < 0 && x == floor(x)) return not_a_number();
    double z = left ? 1 - x : x, sum = 0;
    for (; z < 10; z++) sum -= 1 / z;
    double inverse = 1 / (z * z), power = inverse;
    sum += log(z) - 0.5 / z;
    for (int k = 0; k < 8; k++, power *= inverse) sum -= BERNOULLI[k] / (2 * (k + 1)) * power;
    return left ? sum - PI * cospi(x) / sinpi(x) : sum;
}

extern "C" __global__ void digamma_forward(const T *x, T *out, int64 n) {
    each(n, out, [](wide x) { return digamma(x); }, x);
}

// The sum of (q + k)^-s over k = 0, 1, ...: the first terms as they are, and of the rest, by Euler
// and Maclaurin, an integral, half its first term, and derivatives there.
__device__ double zeta(double s, double q) {
    bool whole = q == floor(q);
    if (s == 1) return infinity();
    if (s < 1) return not_a_number();
    if (q <= 0 && whole) return infinity();
    if (q <= -1000 || (q <= 0 && s != floor(s)) || s != s || q != q) return not_a_number();
    double sum = 0;
    for (; q < 10; q++) sum += pow(q, -s);
    sum += pow(q, 1 - s) / (s - 1) + 0.5 * pow(q, -s);
    double rising = s * pow(q, -s - 1), factorial = 2;
    for (int n = 2; n < 18; n += 2) {
        sum += BERNOULLI[n / 2 - 1] / factorial * rising;
        rising *= (s + n - 1) * (s + n) / (q * q);
        factorial *= (n + 1) * (n + 2);
    }
    return sum;
}

extern "C" __global__ void zeta_forward(const T *s, const T *q, T *out, int64 n) {
    each(n, out, [](wide s, wide q) { return zeta(s, q); }, s, q);
}

// A polynomial in Chebyshev's form (Clenshaw's recurrence), t being in [-1, 1].
__device__ double chebyshev(const double *coefficients, int count, double t) {
    double b = 0, after = 0;
    for (int k = count - 1; k > 0; k--) {
        double before = 2 * t * b - after + coefficients[k];
        after = b, b = before;
    }
    return t * b - after + coefficients[0];
}

// Bessel's modified function of order 0 or 1, by the two polynomials that special.py fits: one in x
// for |x| up to 8, one in 1 / x beyond. They give exp(-|x|) times the function; `scaled` keeps it
// so.
extern "C" __global__ void bessel_forward(const T *x, T *out, int64 n, int order, bool scaled,
                                          const double *near, int near_count, const double *far,
                                          int far_count) {
    auto bessel = [=](wide element) {
        double x = element, a = fabs(x), odd = order ? x : 1, value;
        if (a <= 8)
            value = chebyshev(near, near_count, a / 4 - 1) * odd;
        else
            value = chebyshev(far, far_count, 16 / a - 1) / sqrt(a) * copysign(1.0, odd);
        return a != a ? a : scaled ? value : value * exp(a);
    };
    each(n, out, bessel, x);
}
