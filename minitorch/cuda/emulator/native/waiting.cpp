// Where threads wait for each other: barriers of the block, and operations of a warp.
//
// A thread that waits has stopped in wait(); the scheduler then asks here whether what it waits for
// has come to pass, and if it never can, here it is said why.
#include <algorithm>
#include <cstdarg>

#include "engine.h"

namespace emulator {
// ---- Errors -------------------------------------------------------------------------------------

std::string triple(uint3 v) {
    return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

void set_error(const std::string &message, const Thread *thread) {
    error = message + ", block " + triple(block);
    if (thread) error += " thread " + triple(thread->index);
}

void fail(const std::string &message) {
    set_error(message, current);
    current = nullptr;
    leave();
}

void fail_at(Site site, const char *format, ...) {
    Service service(__builtin_return_address(0));
    char text[500];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    fail(text + (", " + where(site)));
}

std::string where(Site site) {
    std::string file = site.file_name();
    return file.substr(file.rfind('/') + 1) + ":" + std::to_string(site.line());
}

// ---- Waiting ------------------------------------------------------------------------------------

int sync_block(Site site, bool vote) {
    current->vote = vote;
    wait(AT_BARRIER, site);
    return (int)current->received.lanes;
}

static std::string hex(unsigned mask) {
    char text[16];
    snprintf(text, sizeof text, "0x%08x", mask);
    return text;
}

static void wait_for_warp(unsigned mask, Site site) {
    if (!(mask >> current->lane & 1u))
        fail_at(site, "lane %u calls a warp operation whose mask %s does not name it",
                current->lane, hex(mask).c_str());
    current->mask = mask;
    wait(AT_WARP, site);
}

void order_warp(unsigned mask, Site site) {
    current->orders = true;
    wait_for_warp(mask, site);
}

Votes sync_warp(unsigned mask, uint64_t value, int source, Site site) {
    current->orders = false;
    current->value = value;
    current->source = source;
    wait_for_warp(mask, site);
    if (current->source < 0) {
        Service service(nullptr);
        std::string why = "has returned";
        if (!(mask >> (source & 31) & 1u)) why = "is not in the mask " + hex(mask);
        else if (current->warp * 32 + source >= threads.size())
            why = "does not exist in a block of " + std::to_string(threads.size()) + " threads";
        fail_at(site, "shuffle from lane %d, which %s", source, why.c_str());
    }
    return current->received;
}

static Thread *lane_of(unsigned warp, unsigned lane) {  // if it exists and has not returned
    size_t number = warp * 32 + lane;
    return number < threads.size() && threads[number].state != DONE ? &threads[number] : nullptr;
}

// Lets the lanes of a warp operation go on, if all that the mask names and that have not returned
// are there.
static bool release_warp(Thread &first) {
    Thread *lanes[32];
    unsigned votes = 0;
    for (unsigned i = 0; i < 32; i++) {
        lanes[i] = first.mask >> i & 1u ? lane_of(first.warp, i) : nullptr;
        if (!lanes[i]) continue;
        const Thread &t = *lanes[i];
        if (t.state != AT_WARP || t.mask != first.mask || t.site.line() != first.site.line())
            return false;
        votes |= (unsigned)(t.value != 0) << i;
    }
    uint32_t moment = ++now.moments[first.warp];
    unsigned known[32] = {};
    if (first.orders) {
        for (Thread *t : lanes)
            if (t) for (int i = 0; i < 32; i++) known[i] = std::max(known[i], t->known[i]);
        for (Thread *t : lanes)
            if (t) known[t->lane] = moment;
    }
    for (Thread *t : lanes) {
        if (!t) continue;
        t->state = READY;
        if (first.orders) std::copy(known, known + 32, t->known);
        else if (t->source < 0 || t->source > 31 || !lanes[t->source]) t->source = -1;
        else t->received = {lanes[t->source]->value, votes};
    }
    return true;
}

bool release_warp_operations(unsigned warp) {
    bool any = false;
    for (unsigned i = 0; i < 32; i++) {
        Thread *t = lane_of(warp, i);
        if (t && t->state == AT_WARP && release_warp(*t)) any = true;
    }
    return any;
}

// Nobody runs and no warp operation is complete: a barrier is, or nothing will ever be.
bool release_barrier() {
    const Thread *waiting = nullptr, *gone = nullptr;
    unsigned votes = 0;
    for (const Thread &t : threads) {
        if (t.state == DONE) gone = &t;
        if (t.state == AT_WARP) {
            std::string text = "a warp operation waits for ever: its mask " + hex(t.mask) + " names ";
            for (unsigned i = 0; i < 32; i++) {
                const Thread *other = t.mask >> i & 1u ? lane_of(t.warp, i) : nullptr;
                if (!other || (other->state == AT_WARP && other->mask == t.mask &&
                               other->site.line() == t.site.line())) continue;
                text += "lane " + std::to_string(i) + ", which waits at " + where(other->site);
                break;
            }
            set_error(text + ", " + where(t.site), &t);
            return false;
        }
        if (t.state != AT_BARRIER) continue;
        votes += t.vote;
        if (waiting && waiting->site.line() != t.site.line()) {
            set_error("threads wait at different __syncthreads: " + where(waiting->site) + " and " +
                      where(t.site), &t);
            return false;
        }
        waiting = &t;
    }
    if (waiting && gone) {
        set_error("__syncthreads that not all threads reach: thread " + triple(gone->index) +
                  " has returned, " + where(waiting->site), waiting);
        return false;
    }
    now.epoch++;
    for (Thread &t : threads) {
        if (waiting) t.state = READY;
        t.received.lanes = votes;
    }
    return waiting != nullptr;
}
}  // namespace emulator
