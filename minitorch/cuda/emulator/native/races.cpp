// Finds races: two accesses to one element, at least one of them a write, in no order.
//
// One access happens before another if both are by the same thread, if a barrier lies between, or,
// within a warp, a __syncwarp that both lanes took part in. (A shuffle moves a value between lanes
// and orders nothing.) Blocks are not ordered at all, but for what fences and atomic operations
// publish. What matters is this order, not the one in which the threads happened to run here: a
// race is found whether or not it did harm this time.
#include <algorithm>
#include <vector>

#include "engine.h"

namespace emulator {
// ---- From block to block ------------------------------------------------------------------------

// What a thread does before __threadfence and then an atomic operation it publishes, with all that
// its block did: a block that comes upon the result of such an operation acquires what has been
// published so far. (Which counter it was is not kept: to look at the wrong one goes unnoticed.)
struct Published {
    uint32_t first, last;  // epochs
};
static std::vector<Published> published;
static size_t acquired;       // how many of them a block has
static uint32_t acquired_in;  // which block: its first epoch

static void publish_and_acquire(const Cell &c) {
    if (c.atomic && c.write.epoch < now.first_epoch) {
        acquired = published.size();
        acquired_in = now.first_epoch;
    }
    if (current->fenced) published.push_back({now.first_epoch, now.epoch});
}

static bool is_acquired(uint32_t epoch) {
    if (acquired_in != now.first_epoch) return false;
    for (size_t i = 0; i < acquired; i++)
        if (published[i].first <= epoch && epoch <= published[i].last) return true;
    return false;
}

// ---- Before -------------------------------------------------------------------------------------

// Does what the stamp tells of, by this lane of its warp, happen before now?
static bool before(const Stamp &stamp, unsigned lane) {
    if (stamp.epoch < now.first_epoch) return is_acquired(stamp.epoch);
    if (stamp.epoch < now.epoch) return true;  // a barrier lies between
    if (stamp.thread / 32 != current->warp) return false;
    return lane == current->lane || stamp.moment < current->known[lane];
}

static bool write_before(const Cell &c) {
    return !c.write.epoch || before(c.write, c.write.thread % 32);
}

// The number of a thread among these whose read does not happen before now; -1 if there is none.
// Of what another block has read it is never known.
static int unordered(const Readers &r) {
    if (r.epoch >= now.first_epoch && r.epoch < now.epoch) return -1;
    bool elsewhere = r.epoch < now.first_epoch || r.warp != current->warp;
    for (uint32_t left = r.lanes; left; left &= left - 1) {
        unsigned lane = std::countr_zero(left), thread = r.warp * 32 + lane;
        if (elsewhere || !before({r.epoch, r.moment, thread, r.code}, lane)) return (int)thread;
    }
    return -1;
}

// Notes that the current thread reads. An earlier read that happens before this one can be forgotten:
// what comes after this one comes after both. Of the others one from another warp or block is
// enough, for whoever writes is in no order with it or with this one.
static void note_read(Cell &c, const Stamp &stamp) {
    Readers mine{stamp.epoch, stamp.moment, current->warp, stamp.code, 1u << current->lane}, kept = {};
    for (Readers &r : c.readers) {
        if (!r.epoch) break;
        Readers same = mine;
        same.lanes = r.lanes;
        if (r == same) {
            r.lanes |= mine.lanes;
            return;
        }
        if (unordered(r) < 0) continue;
        if (!kept.epoch || r.epoch < now.first_epoch || r.warp != mine.warp) {
            kept = r;
        } else if (kept.epoch == r.epoch && kept.warp == r.warp) {  // rare: two become one
            kept.lanes |= r.lanes;
            kept.moment = std::max(kept.moment, r.moment);
        }
    }
    c.readers[0] = mine;
    c.readers[1] = kept;
}

// ---- Races that may do no harm ------------------------------------------------------------------

// That is known only a little later. A write after another thread's write is harmless if it changes
// nothing. A read after another thread's atomic operation is harmless as the first guess of a loop
// around atomicCAS: if an atomic operation of the same thread follows.
struct Suspect {
    const char *address;
    size_t bytes;
    char old[16];
    std::string message;
};
static Suspect write, guess;

void settle_write() {
    bool guilty = write.address && memcmp(write.address, write.old, write.bytes);
    write.address = nullptr;
    if (guilty) fail(write.message);
}

void settle() {
    settle_write();
    bool guilty = guess.address;
    guess.address = nullptr;
    if (guilty) fail(guess.message);
}

void forget_races() {
    published.clear();
    acquired = acquired_in = 0;
    write.address = guess.address = nullptr;
}

// ---- The check ----------------------------------------------------------------------------------

std::string element_of(const Range &r, const char *address) {
    int64_t unit = r.unit, from = address - r.low;
    return std::string(r.name) + "[" + std::to_string((from < 0 ? from - unit + 1 : from) / unit) + "]";
}

static std::string race(const Range &r, const char *address, Access kind, const Stamp &other,
                        const char *did, const void *code) {
    static const char *const NAMES[] = {"read", "write", "atomic operation"};
    std::string thread = "thread " + triple(index_of(other.thread));
    if (other.epoch < now.first_epoch) thread = "block " + triple(block_at(other.epoch)) + " " + thread;
    return std::string("race on ") + (r.shared ? "shared" : "global") + " memory: " + NAMES[kind] +
           " of " + element_of(r, address) + " after " + thread + "'s " + did + " (" +
           where(library + other.code) + "), " + where(code);
}

void check_race(Range &r, Cell &c, const char *address, size_t bytes, Access kind, const void *code) {
    if (r.shared && c.write.epoch < now.first_epoch) {  // what another block left in shared memory
        c = {};
        if (kind == READ)
            fail("read of shared memory that no thread of this block has written: " +
                 element_of(r, address) + ", " + where(code));
    }
    if (kind == ATOMIC) {
        publish_and_acquire(c);
        if (address == guess.address) guess.address = nullptr;
    }
    if (!(kind == ATOMIC && c.atomic) && !write_before(c)) {
        std::string message = race(r, address, kind, c.write, c.atomic ? "atomic operation" : "write", code);
        if (kind == WRITE && !c.atomic && bytes <= sizeof write.old) {
            write = {address, bytes, {}, message};
            memcpy(write.old, address, bytes);
        } else if (kind == READ && c.atomic) {
            guess = {address, bytes, {}, message};
        } else {
            fail(message);
        }
    }
    Stamp stamp{now.epoch, now.moments[current->warp] & 0x3fffffu, current->number,
                (uint32_t)((char *)code - library)};
    if (kind != READ) {
        for (const Readers &read : c.readers) {
            if (!read.epoch) break;
            int thread = unordered(read);
            Stamp reader{read.epoch, read.moment, (unsigned)thread, read.code};
            if (thread >= 0) fail(race(r, address, kind, reader, "read", code));
        }
        c = {stamp, kind == ATOMIC, {}};
    } else {
        note_read(c, stamp);
    }
}
}  // namespace emulator
