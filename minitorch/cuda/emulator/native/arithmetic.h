// CUDA's mathematical functions, beyond those that C has under the same name.
#pragma once

template <class A, class B>
std::common_type_t<A, B> max(A a, B b) {
    if constexpr (std::is_floating_point_v<std::common_type_t<A, B>>) return fmax(a, b);
    else return a < b ? b : a;
}
template <class A, class B>
std::common_type_t<A, B> min(A a, B b) {
    if constexpr (std::is_floating_point_v<std::common_type_t<A, B>>) return fmin(a, b);
    else return b < a ? b : a;
}

inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline double rcbrt(double x) { return 1 / cbrt(x); }
inline float rcbrtf(float x) { return 1 / cbrtf(x); }
inline double sinpi(double x) { return sin(M_PI * x); }
inline float sinpif(float x) { return (float)sinpi(x); }
inline double cospi(double x) { return cos(M_PI * x); }
inline float cospif(float x) { return (float)cospi(x); }
inline double normcdf(double x) { return erfc(-x * M_SQRT1_2) / 2; }
inline float normcdff(float x) { return (float)normcdf(x); }
inline double erfcx(double x) {
    if (x < 25) return exp(x * x) * erfc(x);
    double u = 1 / (2 * x * x);  // where erfc underflows: its asymptotic series
    return (1 - u * (1 - 3 * u * (1 - 5 * u * (1 - 7 * u)))) / (x * sqrt(M_PI));
}
inline float erfcxf(float x) { return (float)erfcx(x); }
inline double erfinv(double y) {  // Newton's steps from a rough beginning (Winitzki)
    if (!(fabs(y) < 1)) return fabs(y) == 1 ? copysign(HUGE_VAL, y) : NAN;
    double l = log1p(-y * y), a = 4.3307 + l / 2;
    double x = copysign(sqrt(sqrt(a * a - l / 0.147) - a), y);
    for (int i = 0; i < 4; i++) x -= (erf(x) - y) / (M_2_SQRTPI * exp(-x * x));
    return x;
}
inline float erfinvf(float y) { return (float)erfinv(y); }
inline double erfcinv(double y) { return erfinv(1 - y); }
inline float erfcinvf(float y) { return (float)erfcinv(y); }
inline double normcdfinv(double y) { return M_SQRT2 * erfinv(2 * y - 1); }
inline float normcdfinvf(float y) { return (float)normcdfinv(y); }
namespace std { double cyl_bessel_i(double, double); }
inline float fdividef(float a, float b) { return a / b; }

// Fast or explicitly rounded forms: here the ordinary ones.
inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return powf(10, x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frsqrt_rn(float x) { return rsqrtf(x); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }

inline int __float2int_rn(float x) { return (int)rintf(x); }
inline int __float2int_rz(float x) { return (int)x; }
inline int __float2int_rd(float x) { return (int)floorf(x); }
inline int __float2int_ru(float x) { return (int)ceilf(x); }
inline float __int2float_rn(int x) { return (float)x; }
inline float __uint2float_rn(unsigned x) { return (float)x; }
inline float __ll2float_rn(long long x) { return (float)x; }
inline double __int2double_rn(int x) { return x; }
inline float __double2float_rn(double x) { return (float)x; }

// Bits.
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(unsigned x) { return std::countl_zero(x); }
inline int __clzll(unsigned long long x) { return std::countl_zero(x); }
inline int __ffs(unsigned x) { return __builtin_ffs((int)x); }
inline int __ffsll(unsigned long long x) { return __builtin_ffsll((long long)x); }
inline unsigned __brev(unsigned x) {
    unsigned y = 0;
    for (int i = 0; i < 32; i++) y |= (x >> i & 1u) << (31 - i);
    return y;
}
inline int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)((unsigned long long)a * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}

template <class T> T __ldg(const T *address) { return *address; }  // load through a cache
template <class T> T __ldcs(const T *address) { return *address; }
template <class T> void __stcs(T *address, T value) { *address = value; }
