// __half and __nv_bfloat16: 16 bits in memory, float while computing.
//
// float16 is 1 sign, 5 exponent and 10 fraction bits. bfloat16 is the upper half of a float: its
// range, with 7 bits of fraction. Sums, products and quotients of two such numbers computed in
// float and then rounded are what the GPU's own instructions give.
#pragma once

namespace emulator {
struct Float16 {
    static constexpr const char *name = "float16";
    static float widen(uint16_t bits) {
        uint32_t u = (bits & 0x7fffu) << 13;            // fraction and exponent in their places,
        float f = std::bit_cast<float>(u) * 0x1p112f;   // the exponent's bias from 15 to 127
        if ((bits & 0x7c00u) == 0x7c00u) f = std::bit_cast<float>(u | 0x7f800000u);  // inf, nan
        return bits >> 15 ? -f : f;
    }
    static uint16_t narrow(float f) {
        uint32_t u = std::bit_cast<uint32_t>(f), sign = u >> 16 & 0x8000u;
        u &= 0x7fffffffu;
        float a = std::bit_cast<float>(u);
        if (a != a) return (uint16_t)(sign | 0x7e00u);
        if (a >= 65520.0f) return (uint16_t)(sign | 0x7c00u);
        if (a < 0x1p-14f)  // subnormal: adding 0.5 lets the addition round to multiples of 2^-24
            return (uint16_t)(sign | (std::bit_cast<uint32_t>(a + 0.5f) - 0x3f000000u));
        return (uint16_t)(sign | ((u + 0xfffu + (u >> 13 & 1u) - (112u << 23)) >> 13));  // to even
    }
};

struct BFloat16 {
    static constexpr const char *name = "bfloat16";
    static float widen(uint16_t bits) { return std::bit_cast<float>((uint32_t)bits << 16); }
    static uint16_t narrow(float f) {
        uint32_t u = std::bit_cast<uint32_t>(f);
        if (f != f) return 0x7fff;
        return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);  // to nearest, ties to even
    }
};

template <class Format>
struct Short {
    static constexpr const char *name = Format::name;
    uint16_t bits;
    Short() = default;
    template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
    Short(T value) : bits(Format::narrow((float)value)) {}
    operator float() const { return Format::widen(bits); }
};

template <class F> Short<F> operator+(Short<F> a, Short<F> b) { return (float)a + (float)b; }
template <class F> Short<F> operator-(Short<F> a, Short<F> b) { return (float)a - (float)b; }
template <class F> Short<F> operator*(Short<F> a, Short<F> b) { return (float)a * (float)b; }
template <class F> Short<F> operator/(Short<F> a, Short<F> b) { return (float)a / (float)b; }
template <class F> Short<F> operator-(Short<F> a) { return -(float)a; }
template <class F> Short<F> &operator+=(Short<F> &a, Short<F> b) { return a = a + b; }
template <class F> Short<F> &operator-=(Short<F> &a, Short<F> b) { return a = a - b; }
template <class F> Short<F> &operator*=(Short<F> &a, Short<F> b) { return a = a * b; }
template <class F> Short<F> &operator/=(Short<F> &a, Short<F> b) { return a = a / b; }
template <class F> bool operator==(Short<F> a, Short<F> b) { return (float)a == (float)b; }
template <class F> bool operator!=(Short<F> a, Short<F> b) { return (float)a != (float)b; }
template <class F> bool operator<(Short<F> a, Short<F> b) { return (float)a < (float)b; }
template <class F> bool operator>(Short<F> a, Short<F> b) { return (float)a > (float)b; }
template <class F> bool operator<=(Short<F> a, Short<F> b) { return (float)a <= (float)b; }
template <class F> bool operator>=(Short<F> a, Short<F> b) { return (float)a >= (float)b; }

template <class T>
struct alignas(4) Pair {
    T x, y;
};
template <class T> Pair<T> operator+(Pair<T> a, Pair<T> b) { return {a.x + b.x, a.y + b.y}; }
template <class T> Pair<T> operator-(Pair<T> a, Pair<T> b) { return {a.x - b.x, a.y - b.y}; }
template <class T> Pair<T> operator*(Pair<T> a, Pair<T> b) { return {a.x * b.x, a.y * b.y}; }
template <class T> Pair<T> operator/(Pair<T> a, Pair<T> b) { return {a.x / b.x, a.y / b.y}; }

// Functions that both types have.
template <class F> Short<F> __hadd(Short<F> a, Short<F> b) { return a + b; }
template <class F> Short<F> __hsub(Short<F> a, Short<F> b) { return a - b; }
template <class F> Short<F> __hmul(Short<F> a, Short<F> b) { return a * b; }
template <class F> Short<F> __hdiv(Short<F> a, Short<F> b) { return a / b; }
template <class F> Short<F> __hneg(Short<F> a) { return -a; }
template <class F> Short<F> __habs(Short<F> a) { return fabsf(a); }
template <class F> Short<F> __hmax(Short<F> a, Short<F> b) { return fmaxf(a, b); }
template <class F> Short<F> __hmin(Short<F> a, Short<F> b) { return fminf(a, b); }
template <class F> Short<F> __hfma(Short<F> a, Short<F> b, Short<F> c) { return fmaf(a, b, c); }
template <class F> Short<F> hexp(Short<F> a) { return expf(a); }
template <class F> Short<F> hlog(Short<F> a) { return logf(a); }
template <class F> Short<F> hsqrt(Short<F> a) { return sqrtf(a); }
template <class F> bool __hisnan(Short<F> a) { return (float)a != (float)a; }
template <class F> bool __hgt(Short<F> a, Short<F> b) { return a > b; }
template <class F> bool __hlt(Short<F> a, Short<F> b) { return a < b; }
template <class F> bool __heq(Short<F> a, Short<F> b) { return a == b; }
template <class T> Pair<T> __hadd2(Pair<T> a, Pair<T> b) { return a + b; }
template <class T> Pair<T> __hmul2(Pair<T> a, Pair<T> b) { return a * b; }
template <class T> Pair<T> __hfma2(Pair<T> a, Pair<T> b, Pair<T> c) {
    return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};
}
}  // namespace emulator
