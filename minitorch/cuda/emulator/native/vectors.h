// CUDA's vector types: float4 and its family. A load of a whole float4 is one transaction of 16
// bytes, and its address must be a multiple of 16.
#pragma once

#define VECTORS(T, NAME)                                                                   \
    struct NAME##1 { T x; };                                                               \
    struct alignas(2 * sizeof(T)) NAME##2 { T x, y; };                                     \
    struct NAME##3 { T x, y, z; };                                                         \
    struct alignas(4 * sizeof(T) > 16 ? 16 : 4 * sizeof(T)) NAME##4 { T x, y, z, w; };     \
    inline NAME##1 make_##NAME##1(T x) { return {x}; }                                     \
    inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }                             \
    inline NAME##3 make_##NAME##3(T x, T y, T z) { return {x, y, z}; }                     \
    inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }

VECTORS(signed char, char)
VECTORS(unsigned char, uchar)
VECTORS(short, short)
VECTORS(unsigned short, ushort)
VECTORS(int, int)
VECTORS(unsigned, uint)
VECTORS(long long, longlong)
VECTORS(unsigned long long, ulonglong)
VECTORS(float, float)
VECTORS(double, double)
#undef VECTORS

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
    dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
    operator uint3() const { return {x, y, z}; }
};
