// Watches every load and store of a kernel: does it stay within an array?
//
// g++'s option -fsanitize=thread puts a call before each access to memory; hooks.cpp answers these
// calls and asks here. A kernel may touch the arrays of its launch, its shared memory, its own local
// variables, and the variables and constants of its file; nothing else. Each element of what it may
// write has a cell, in which races.cpp keeps who used it.
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "engine.h"

extern "C" __attribute__((visibility("hidden"))) char _end[];  // where this library ends, by the linker

namespace emulator {
char *library;
static std::vector<Range> ranges;
static size_t found_last;            // an index: the next access is often to the same array
static std::vector<char> dynamic;    // extern __shared__
static size_t dynamic_bytes, static_bytes, shared_limit;
static const size_t STATIC_LIMIT = 48 << 10;

static void add(Range r, bool in_front = false) {
    r.unit = r.element = std::max<size_t>(r.element, 1);
    if (r.writable) r.cells = (Cell *)calloc(r.count() + 1, sizeof(Cell));  // zeros, made when used
    ranges.insert(in_front ? ranges.begin() : ranges.end(), r);
    found_last = 0;
}

void prepare_memory(const Launch &l) {
    dynamic.resize(l.shared_bytes + 16);
    dynamic_bytes = l.shared_bytes;
#ifndef EMULATOR_UNWATCHED
    for (uint64_t i = 0; i < l.buffers; i++)
        add({l.low[i], l.high[i], l.element[i], l.name[i], false, l.writable[i], nullptr, l.written[i]});
    Dl_info here;
    dladdr((void *)prepare_memory, &here);
    library = (char *)here.dli_fbase;
    add({library, _end, 4, "the file's variables", false, true});  // and constants
    static_bytes = 0;
    shared_limit = l.shared_limit;
    forget_races();
#endif
}

void forget_memory() {
    for (Range &r : ranges) free(r.cells);
    ranges.clear();
}

// ---- Shared memory ------------------------------------------------------------------------------

static void add_shared(const char *name, const char *low, size_t bytes, size_t element) {
    for (const Range &r : ranges)
        if (r.low == low) return;  // another thread has told of it
    add({low, low + bytes, element, name, true, true}, true);
}

void share(const char *name, const void *address, size_t bytes, size_t element) {
    Service service(__builtin_return_address(0));
    size_t known = ranges.size();
    add_shared(name, (const char *)address, bytes, element);
    if (ranges.size() == known) return;
    static_bytes += bytes;
    if (static_bytes > STATIC_LIMIT)
        fail("the __shared__ variables take " + std::to_string(static_bytes) +
             " bytes, more than the 49152 that a block has; use extern __shared__");
    if (static_bytes + dynamic_bytes > shared_limit)
        fail("a block takes " + std::to_string(static_bytes) + " bytes of __shared__ variables and " +
             std::to_string(dynamic_bytes) + " of dynamic shared memory, more than " +
             std::to_string(shared_limit));
}

void *dynamic_shared(const char *name, size_t element) {
    Service service(__builtin_return_address(0));
    char *low = (char *)(((uintptr_t)dynamic.data() + 15) & ~(uintptr_t)15);
#ifndef EMULATOR_UNWATCHED
    add_shared(name, low, dynamic_bytes, element);
#endif
    return low;
}

// ---- An access ----------------------------------------------------------------------------------

// Of an access to no array: which one it was probably meant for.
static std::string meant(const char *address, size_t bytes) {
    if ((uintptr_t)address < 4096) return " through a null pointer";
    const Range *nearest = nullptr;
    int64_t distance = 4096;
    for (const Range &r : ranges) {
        int64_t away = address < r.low ? r.low - address : address - r.high + 1;
        if (away > distance || r.low == library) continue;
        nearest = &r;
        distance = away;
    }
    if (nearest)
        return " of " + element_of(*nearest, address) + ", where there are " +
               std::to_string((nearest->high - nearest->low) / nearest->unit) + " elements";
    return " of " + std::to_string(bytes) + " bytes that belong to no array of this launch";
}

static Range *find(const char *address) {
    auto holds = [=](const Range &r) { return address >= r.low && address < r.high; };
    if (found_last < ranges.size() && holds(ranges[found_last])) return &ranges[found_last];
    auto range = std::find_if(ranges.begin(), ranges.end(), holds);
    if (range == ranges.end()) return nullptr;
    found_last = range - ranges.begin();
    return &*range;
}

// An access to a part of an element: from here on the parts have cells of their own.
static void refine(Range &r, size_t bytes) {
    size_t parts = r.element / bytes, count = r.count();
    auto cells = (Cell *)calloc(count * parts + 1, sizeof(Cell));
    for (size_t i = 0; i < count * parts; i++) cells[i] = r.cells[i / parts];
    free(r.cells);
    r.cells = cells;
    r.element = bytes;
}

// A loop that waits for another thread never ends here: that thread has its turn when this one waits.
static void check_spinning(const char *address, const void *code) {
    static const void *last_address, *last_code;
    static size_t times;
    times = address == last_address && code == last_code ? times + 1 : 0;
    last_address = address;
    last_code = code;
    if (times > 1'000'000)
        fail("a thread spins, and what it waits for never comes: threads run one after another here, "
             "and on a GPU in an order that nobody promises, " + where(code));
}

// An array that was made by empty() has whatever was in its memory before.
static void check_written(Range &r, const char *address, size_t bytes, Access kind, const void *code) {
    bool *written = r.written + (address - r.low);
    if (kind == WRITE)
        std::fill(written, written + bytes, true);
    else if (!std::all_of(written, written + bytes, [](bool b) { return b; }))
        fail("read of memory that nothing has written: " + element_of(r, address) + ", " + where(code));
}

void touch(const void *pointer, size_t bytes, Access kind, const void *code) {
    if (!current) return;
    auto address = (const char *)pointer;
    if ((size_t)(address - current->fiber->stack) < STACK) return;  // a local variable
    Service service(code);
    settle_write();
    check_spinning(address, code);
    Range *r = find(address);
    if (!r || address + bytes > r->high)
        fail(std::string("out of bounds: ") + (kind == READ ? "read" : "write") + meant(address, bytes) +
             ", " + where(code));
    if (r->written) check_written(*r, address, bytes, kind, code);
    if (!r->writable) {
        if (kind != READ)
            fail("write to " + element_of(*r, address) + " through a pointer to const, " + where(code));
        return;  // nobody writes there: no races
    }
    if (bytes < r->element) refine(*r, bytes);
    size_t first = (address - r->low) / r->element;
    size_t last = (address + bytes - 1 - r->low) / r->element;
    for (size_t i = first; i <= last; i++) check_race(*r, r->cells[i], address, bytes, kind, code);
}

void touch_atomically(const void *address, size_t bytes, const void *code) {
    Service service(code);
    if ((uintptr_t)address % bytes)
        fail("misaligned atomic operation: its address is no multiple of " + std::to_string(bytes) +
             ", " + where(code));
    touch(address, bytes, ATOMIC, code);
}

std::string where(const void *code) {
    char text[32];
    snprintf(text, sizeof text, "@0x%zx@", (size_t)((char *)code - library));
    return text;
}
}  // namespace emulator
