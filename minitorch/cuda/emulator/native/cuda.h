// Enough of CUDA C++ for g++ to compile the source of a kernel, unchanged.
//
// This file is read before the kernel's own text. What a kernel asks of the machine it runs on
// (who am I, wait for the others, give me your value) are functions of namespace emulator, which
// scheduler.cpp and memory.cpp answer. Functions marked UNWATCHED are the emulator's own: their
// reads and writes are not the kernel's.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <bit>
#include <source_location>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __constant__ static
#define __shared__ static  // one block runs at a time, so one copy serves all

#define UNWATCHED __attribute__((no_sanitize("thread", "undefined")))

#include "vectors.h"

namespace emulator {
using Site = std::source_location;  // as a default argument: the place of the call

// They never change while a thread lives, which "const" tells the compiler.
__attribute__((const)) uint3 thread_index();
__attribute__((const)) uint3 block_index();
__attribute__((const)) dim3 block_size();
__attribute__((const)) dim3 grid_size();
__attribute__((const)) int lane();

struct Votes {
    uint64_t value;  // of the lane that was asked for
    unsigned lanes;  // whose value is not 0
};
int sync_block(Site, bool vote = false);                                // how many voted
Votes sync_warp(unsigned mask, uint64_t value, int source, Site);       // a shuffle or a vote
void order_warp(unsigned mask, Site);                                   // __syncwarp
void fence();                                                           // __threadfence
void touch_atomically(const void *address, size_t bytes, const void *code);
int print(const char *format, ...);
[[noreturn]] void fail_at(Site, const char *format, ...);

// Shared memory. compiler.py adds these calls to the declarations of __shared__ variables.
void *dynamic_shared(const char *name, size_t element);
void share(const char *name, const void *address, size_t bytes, size_t element);
template <class T>
UNWATCHED inline void share(const char *name, const T &variable) {
#ifndef EMULATOR_UNWATCHED
    share(name, &variable, sizeof variable, sizeof(std::remove_all_extents_t<T>));
#endif
}
}  // namespace emulator

#define threadIdx (emulator::thread_index())
#define blockIdx (emulator::block_index())
#define blockDim (emulator::block_size())
#define gridDim (emulator::grid_size())
constexpr int warpSize = 32;

#define printf emulator::print

#undef assert
#define assert(condition) \
    ((condition) ? (void)0 : emulator::fail_at(emulator::Site::current(), "assertion %s fails", #condition))

#include "arithmetic.h"
#include "half.h"
#include "synchronisation.h"
#include "atomics.h"
#include "launcher.h"
