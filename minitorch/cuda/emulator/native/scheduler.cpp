// Runs a kernel on the CPU: one block after another, and in a block one thread at a time.
//
// A thread runs until it must wait, at a barrier or in a warp operation; then another one runs. To
// stop in the middle of a function and to go on there later, a thread needs a stack of its own: it
// is a fiber. The lanes of a warp run until all wait for the others of the block, then the next warp
// does; when all warps are there, the barrier opens. With checks the order of blocks, warps and
// lanes is random, anew after each wait, for a kernel must not depend on it.
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdarg>
#include <numeric>
#include <random>
#include <vector>

#include "engine.h"

namespace emulator {
Thread *current;
Clock now;
std::vector<Thread> threads;
uint3 block;
std::string error;
static dim3 blocks, threads_of_block;
static std::vector<unsigned> warps, lanes;  // in the order in which they have their turn
static size_t turn;
static std::mt19937_64 chance;
static const Launch *launch;
static std::vector<std::pair<uint32_t, uint3>> begun;  // blocks, with their first epochs

dim3 grid_size() { return blocks; }
dim3 block_size() { return threads_of_block; }
uint3 block_index() { return block; }
uint3 thread_index() { return current->index; }
int lane() { return (int)current->lane; }
int print(const char *format, ...) {
    if (launch->seed > 1) return 0;  // of two runs of a launch the first one prints
    Service service(__builtin_return_address(0));
    va_list values;
    va_start(values, format);
    int count = vprintf(format, values);
    va_end(values);
    return count;
}
void fence() { current->fenced = true; }

uint3 index_of(unsigned thread) {
    dim3 size = threads_of_block;
    return {thread % size.x, thread / size.x % size.y, thread / (size.x * size.y)};
}

// The block that ran in this epoch.
uint3 block_at(uint32_t epoch) {
    auto later = [](uint32_t e, const auto &entry) { return e < entry.first; };
    return std::prev(std::upper_bound(begun.begin(), begun.end(), epoch, later))->second;
}

// ---- Fibers -------------------------------------------------------------------------------------

jmp_buf scheduler;
static std::vector<Fiber> fibers;
static std::vector<Fiber *> idle;

static void make_fibers() {
    if (fibers.empty()) {
        char *stacks = (char *)mmap(nullptr, 1024 * STACK, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        fibers.resize(1024);
        for (Fiber &f : fibers) f.stack = stacks + (&f - fibers.data()) * STACK;
    }
    idle.clear();
    for (Fiber &f : fibers) {
        f.begun = false;  // what an error left on a stack is forgotten
        idle.push_back(&f);
    }
}

static void fiber_main();

[[noreturn]] static void enter(Fiber *fiber) {
    if (fiber->begun) _longjmp(fiber->stopped, 1);
    fiber->begun = true;
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = fiber->stack;
    context.uc_stack.ss_size = STACK;
    context.uc_link = nullptr;
    makecontext(&context, fiber_main, 0);
    setcontext(&context);
    abort();  // not reached
}

// The next lane of the warp that can run, and after the last one the scheduler.
[[noreturn]] static void run_next() {
    while (turn < lanes.size()) {
        current = &threads[lanes[turn++]];
        if (current->state == NEW) {
            current->fiber = idle.back();
            idle.pop_back();
            enter(current->fiber);
        }
        if (current->state == READY) enter(current->fiber);
    }
    current = nullptr;
    _longjmp(scheduler, 1);
}

// What runs on a fiber: a thread to its end, and then the next thread that has not begun. So a
// kernel without barriers runs as a plain loop, on one stack.
static void fiber_main() {
    for (;;) {
        last_service = nullptr;
        enter_kernel();
        launch->kernel(launch->arguments);
        in_kernel = false;
        settle();
        Fiber *self = current->fiber;
        current->state = DONE;
        if (turn < lanes.size() && threads[lanes[turn]].state == NEW) {
            current = &threads[lanes[turn++]];
            current->fiber = self;
        } else {
            idle.push_back(self);
            if (!_setjmp(self->stopped)) run_next();  // and comes back with another thread
        }
    }
}

void wait(State state, Site site) {
    in_kernel = false;
    last_service = nullptr;
    settle();
    Thread &thread = *current;
    thread.state = state;
    thread.site = site;
    if (!_setjmp(thread.fiber->stopped)) run_next();
    enter_kernel();
}

// ---- Launching ----------------------------------------------------------------------------------

static void mix(std::vector<unsigned> &numbers) {
#ifndef EMULATOR_UNWATCHED
    std::shuffle(numbers.begin(), numbers.end(), chance);
#endif
}

// Runs the threads of a warp until each has returned or waits for something outside of the warp.
static void run_warp(unsigned warp) {
    size_t first = warp * 32, count = std::min<size_t>(32, threads.size() - first);
    lanes.resize(count);
    std::iota(lanes.begin(), lanes.end(), first);
    do {
        mix(lanes);
        turn = 0;
        if (!_setjmp(scheduler)) run_next();
        if (interrupted && error.empty()) tell_of_interrupt();
        if (!error.empty()) return;
    } while (release_warp_operations(warp));
}

static void run_block(uint3 index) {
    block = index;
    now.first_epoch = ++now.epoch;
    begun.emplace_back(now.epoch, index);
    std::fill(now.moments, now.moments + 32, 1);
    for (Thread &t : threads) {
        t.state = NEW;
        t.fenced = false;
        t.site = {};
        std::fill(t.known, t.known + 32, 0);
    }
    do {
        mix(warps);
        for (unsigned warp : warps) {
            run_warp(warp);
            if (!error.empty()) return;
        }
    } while (release_barrier());
}

static void prepare(const Launch &l) {
    launch = &l;
    blocks = dim3(l.grid[0], l.grid[1], l.grid[2]);
    threads_of_block = dim3(l.block[0], l.block[1], l.block[2]);
    chance.seed(l.seed);
    if (fibers.empty() || !error.empty()) make_fibers();
    error.clear();
    now = {};
    begun.clear();
    threads.assign((size_t)l.block[0] * l.block[1] * l.block[2], Thread{});
    for (unsigned i = 0; i < threads.size(); i++) {
        Thread &t = threads[i];
        t.index = index_of(i);
        t.number = i;
        t.warp = i / 32;
        t.lane = i % 32;
    }
    warps.resize((threads.size() + 31) / 32);
    std::iota(warps.begin(), warps.end(), 0);
}
}  // namespace emulator

using namespace emulator;

// Runs one launch. Returns what went wrong, or an empty text.
extern "C" const char *emulator_launch(Launch *l) {
    begin_interruptible(l->interruptible);
    prepare(*l);
    prepare_memory(*l);
    size_t count = (size_t)blocks.x * blocks.y * blocks.z;
    std::vector<unsigned> turns(count);
    std::iota(turns.begin(), turns.end(), 0);
    mix(turns);
    for (unsigned i : turns) {
        run_block({i % blocks.x, i / blocks.x % blocks.y, i / (blocks.x * blocks.y)});
        if (!error.empty()) break;
    }
    forget_memory();
    fflush(stdout);
    l->interrupted = end_interruptible();
    return error.c_str();
}
