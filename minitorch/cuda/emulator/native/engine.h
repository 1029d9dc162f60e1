// What the parts of the emulator know of each other: scheduler.cpp (who runs), waiting.cpp (who waits
// for whom), memory.cpp (what may be touched), races.cpp (who touched it, and when), interrupt.cpp
// (Ctrl-C).
#pragma once
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda.h"

namespace emulator {
enum State { NEW, READY, AT_BARRIER, AT_WARP, DONE };
const size_t STACK = (64 << 10) + 576;  // an odd number of lines: stacks share no cache sets

// A stack, and where on it the thread that uses it has stopped.
struct Fiber {
    char *stack;
    bool begun;
    jmp_buf stopped;
};

struct Thread {
    uint3 index;
    unsigned number, warp, lane;  // number: within the block
    State state;
    Fiber *fiber;
    Site site;           // where it waits
    unsigned mask;       // of the warp operation that it waits in
    bool orders;         // that is a __syncwarp
    bool vote;           // for __syncthreads_or and its kin
    bool fenced;         // has called __threadfence
    int source;          // the lane whose value it wants
    uint64_t value;
    Votes received;
    unsigned known[32];  // of each lane of the warp: the moment until which its deeds lie before now
};

// Time. An epoch lasts from barrier to barrier, and each block begins a new one. A moment lasts from
// one operation of a warp to its next.
struct Clock {
    uint32_t epoch, first_epoch;  // now, and at the beginning of the block
    uint32_t moments[32];         // now, in each warp
};

// Who, when, and from which line.
struct Stamp {
    uint32_t epoch;  // 0: nobody
    uint32_t moment : 22, thread : 10;
    uint32_t code;  // offset in the library
};

// Lanes of one warp that have read an element at the same moment and from the same line.
struct Readers {
    uint32_t epoch;  // 0: nobody
    uint32_t moment : 22, warp : 5;
    uint32_t code;
    uint32_t lanes;

    bool operator==(const Readers &) const = default;
};

// What is known of one element of memory.
struct Cell {
    Stamp write;  // the last one
    bool atomic;  // it was
    Readers readers[2];  // since then, the last ones first
};

// A piece of memory that the kernel may touch.
struct Range {
    const char *low, *high;
    size_t element;    // bytes of what has a cell
    const char *name;
    bool shared, writable;
    Cell *cells;    // one for each element, if it is writable
    bool *written;  // one for each byte, if it is not known that all are
    size_t unit;    // bytes of what an index counts

    size_t count() const { return (high - low + element - 1) / element; }
};

enum Access { READ, WRITE, ATOMIC };

extern Thread *current;  // nullptr outside of kernels
extern std::vector<Thread> threads;  // of the block, by number
extern uint3 block;
extern Clock now;
extern std::string error;
extern jmp_buf scheduler;
extern char *library;  // where this code begins

std::string triple(uint3);
uint3 index_of(unsigned thread);
uint3 block_at(uint32_t epoch);

// Whether the kernel's own code runs, which Ctrl-C leaves at once; and whether that has come.
extern volatile sig_atomic_t in_kernel, interrupted;
extern const void *last_service;  // where in the current thread's code; nullptr: since then it waited
[[noreturn]] void leave();  // the kernel, to the scheduler
inline void enter_kernel() {
    in_kernel = true;
    if (interrupted) leave();
}
// While there is one, the emulator does something for the kernel, which asked for it in this line.
struct Service {
    Service(const void *code) {
        in_kernel = false;
        last_service = code;
    }
    ~Service() { enter_kernel(); }
};
void begin_interruptible(bool wanted);
bool end_interruptible();  // was it interrupted?
void tell_of_interrupt();

void set_error(const std::string &message, const Thread *);
[[noreturn]] void fail(const std::string &message);  // ends the launch
std::string where(Site);
std::string where(const void *code);  // as @0x12ab@: Python looks up file and line

void wait(State, Site);
bool release_warp_operations(unsigned warp);  // those that are complete: was there one?
bool release_barrier();

void touch(const void *address, size_t bytes, Access, const void *code);
std::string element_of(const Range &, const char *address);
void check_race(Range &, Cell &, const char *address, size_t bytes, Access, const void *code);
void settle_write();
void settle();  // before a thread waits, and when it has returned
void forget_races();
void forget_memory();

// What Python asks for; kernel.py has its twin.
struct Launch {
    uint32_t grid[3], block[3];
    uint64_t shared_bytes, shared_limit;
    uint64_t seed;
    void (*kernel)(void **);
    void **arguments;
    uint64_t buffers;  // how many of the following
    char **low, **high;
    uint64_t *element;
    bool *writable;
    const char **name;
    bool **written;
    bool interruptible;  // by Ctrl-C
    bool interrupted;
};
void prepare_memory(const Launch &);
}  // namespace emulator
