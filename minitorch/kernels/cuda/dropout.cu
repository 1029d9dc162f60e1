// Dropout whose mask is not stored: forward and backward draw the same random numbers once more.
//
// An ordinary generator makes a number from the one before, and so the millionth number comes after
// 999,999 others. Philox makes it from its position: it encrypts the number 0, 1, 2, ..., as a
// cipher does with a message, with a seed for the key, and what comes out looks random. No thread
// waits for another, nothing is kept, and the same seed gives the same mask again. (Salmon and
// others, "Parallel random numbers: as easy as 1, 2, 3", 2011. PyTorch and cuRAND use it as well.)
#include "vectors.cuh"

// Ten rounds of: multiply two of the four words, and mix the halves of the products with the others
// and the key, which changes from round to round. The constants are the paper's.
__device__ uint4 philox(uint64 counter, uint64 seed) {
    uint4 words = make_uint4(unsigned(counter), unsigned(counter >> 32), 0, 0);
    unsigned key = unsigned(seed), another_key = unsigned(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64 a = uint64(0xd2511f53u) * words.x, b = uint64(0xcd9e8d57u) * words.z;
        words = make_uint4(unsigned(b >> 32) ^ words.y ^ key, unsigned(b),
                           unsigned(a >> 32) ^ words.w ^ another_key, unsigned(a));
        key += 0x9e3779b9u, another_key += 0xbb67ae85u;
    }
    return words;
}

// Vector i of out: x * scale where the element's word is below `keep`, which is 2^32 times the
// probability; else 0. Element j has word j % 4 of the four that Philox makes of j / 4.
template <int W>
__device__ void drop(const T *x, T *out, int64 i, uint64 keep, wide scale, uint64 seed) {
    Vector<T, W> v = ((const Vector<T, W> *)x)[i];
    uint4 words;
#pragma unroll
    for (int k = 0; k < W; k++) {
        int64 j = i * W + k;
        if (k % 4 == 0) words = philox(j / 4, seed);
        unsigned word = j % 4 == 0 ? words.x : j % 4 == 1 ? words.y : j % 4 == 2 ? words.z : words.w;
        v.values[k] = word < keep ? T(wide(v.values[k]) * scale) : T(0);
    }
    ((Vector<T, W> *)out)[i] = v;
}

extern "C" __global__ void dropout(const T *x, T *out, int64 n, uint64 keep, wide scale,
                                   uint64 seed) {
    int64 begin = thread_of_grid(), step = threads_in_grid();
    int64 vectors = aligned(x) && aligned(out) ? n / WIDTH : 0;
    for (int64 i = begin; i < vectors; i += step) drop<WIDTH>(x, out, i, keep, scale, seed);
    for (int64 i = vectors * WIDTH + begin; i < n; i += step) drop<1>(x, out, i, keep, scale, seed);
}
