// Waiting for the others, and passing values from lane to lane of a warp.
#pragma once

inline void __syncthreads(emulator::Site site = emulator::Site::current()) {
    emulator::sync_block(site);
}
inline int __syncthreads_count(int vote, emulator::Site site = emulator::Site::current()) {
    return emulator::sync_block(site, vote != 0);
}
inline int __syncthreads_or(int vote, emulator::Site site = emulator::Site::current()) {
    return emulator::sync_block(site, vote != 0) != 0;
}
inline int __syncthreads_and(int vote, emulator::Site site = emulator::Site::current()) {
    return emulator::sync_block(site, vote == 0) == 0;
}
inline void __syncwarp(unsigned mask = ~0u, emulator::Site site = emulator::Site::current()) {
    emulator::order_warp(mask, site);
}
inline void __threadfence() { emulator::fence(); }
inline void __threadfence_system() { emulator::fence(); }
inline void __threadfence_block() {}

namespace emulator {
// The number of this lane, which shuffles within a group of `width`.
inline int lane_of(int width, Site site) {
    if (width < 1 || width > 32 || width & (width - 1))
        fail_at(site, "shuffle of width %d, which is none of 1, 2, 4, 8, 16, 32", width);
    return lane();
}

template <class T>
UNWATCHED T shuffle(unsigned mask, T value, int source, Site site) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8, "a shuffle moves 8 bytes at most");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = sync_warp(mask, bits, source, site).value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

template <class T, class F>
UNWATCHED T reduce(unsigned mask, T value, F combine, Site site) {
    T result = value;
    for (int i = 0; i < 32; i++)
        if (i != lane() && mask >> i & 1u) result = combine(result, shuffle(mask, value, i, site));
        else if (mask >> i & 1u) shuffle(mask, value, i, site);  // all lanes make the same calls
    return result;
}
}  // namespace emulator

// The four shuffles differ in the lane that is asked: a lane of the same group of `width` lanes,
// or the own one where there is none.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              emulator::Site site = emulator::Site::current()) {
    int first = emulator::lane_of(width, site) / width * width;
    return emulator::shuffle(mask, value, first + (source & (width - 1)), site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  emulator::Site site = emulator::Site::current()) {
    int lane = emulator::lane_of(width, site), source = lane ^ bits;
    return emulator::shuffle(mask, value, source / width > lane / width ? lane : source, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32,
                   emulator::Site site = emulator::Site::current()) {
    int lane = emulator::lane_of(width, site), source = lane + (int)distance;
    return emulator::shuffle(mask, value, source / width > lane / width ? lane : source, site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32,
                 emulator::Site site = emulator::Site::current()) {
    int lane = emulator::lane_of(width, site), first = lane / width * width, source = lane - (int)distance;
    return emulator::shuffle(mask, value, source < first ? lane : source, site);
}

inline unsigned __ballot_sync(unsigned mask, int vote,
                              emulator::Site site = emulator::Site::current()) {
    return emulator::sync_warp(mask, vote != 0, emulator::lane(), site).lanes;
}
inline int __any_sync(unsigned mask, int vote, emulator::Site site = emulator::Site::current()) {
    return __ballot_sync(mask, vote, site) != 0;
}
inline int __all_sync(unsigned mask, int vote, emulator::Site site = emulator::Site::current()) {
    return __ballot_sync(mask, !vote, site) == 0;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, emulator::Site site = emulator::Site::current()) {
    unsigned same = 0;
    for (int i = 0; i < 32; i++)
        if (mask >> i & 1u) same |= (emulator::shuffle(mask, value, i, site) == value) * (1u << i);
    return same;
}
// Which lanes happen to run together is the scheduler's business; that none does is a right answer.
inline unsigned __activemask() { return 1u << emulator::lane(); }

#define WARP_REDUCTION(NAME, EXPRESSION)                                                 \
    template <class T>                                                                   \
    T NAME(unsigned mask, T value, emulator::Site site = emulator::Site::current()) {    \
        static_assert(std::is_integral_v<T> && sizeof(T) == 4, #NAME " is for 32-bit integers"); \
        return emulator::reduce(mask, value, [](T a, T b) { return T(EXPRESSION); }, site); \
    }
WARP_REDUCTION(__reduce_add_sync, a + b)
WARP_REDUCTION(__reduce_min_sync, a < b ? a : b)
WARP_REDUCTION(__reduce_max_sync, a < b ? b : a)
WARP_REDUCTION(__reduce_and_sync, a & b)
WARP_REDUCTION(__reduce_or_sync, a | b)
WARP_REDUCTION(__reduce_xor_sync, a ^ b)
#undef WARP_REDUCTION
