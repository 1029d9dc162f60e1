// The functions that g++'s sanitizers call, in place of their own libraries.
//
// -fsanitize=thread announces each access to memory, with a function for each size;
// -fsanitize=undefined calls a function when it has found a fault, with a record of the place.
#include "engine.h"

using namespace emulator;

#define CODE __builtin_return_address(0)
#define ACCESS(SIZE)                                                                            \
    void __tsan_read##SIZE(void *p) { touch(p, SIZE, READ, CODE); }                              \
    void __tsan_write##SIZE(void *p) { touch(p, SIZE, WRITE, CODE); }                            \
    void __tsan_unaligned_read##SIZE(void *p) { touch(p, SIZE, READ, CODE); }                    \
    void __tsan_unaligned_write##SIZE(void *p) { touch(p, SIZE, WRITE, CODE); }

// What the compiler says of a place and of a type.
struct Place {
    const char *file;
    uint32_t line, column;
};
struct Type {
    uint16_t kind, info;
    char name[1];  // in quotation marks
};
struct Fault {
    Place place;
    const Type *type;
    uint8_t log_alignment;  // of a wrong alignment: what it should have been
};

static std::string at(const Fault *fault) {
    std::string file = fault->place.file;
    return ", " + file.substr(file.rfind('/') + 1) + ":" + std::to_string(fault->place.line);
}

extern "C" {
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
void __tsan_read_range(void *p, size_t bytes) { touch(p, bytes, READ, CODE); }
void __tsan_write_range(void *p, size_t bytes) { touch(p, bytes, WRITE, CODE); }
void __tsan_init() {}

void __ubsan_handle_type_mismatch_v1(Fault *f, uintptr_t address) {
    Service service(CODE);
    uintptr_t alignment = (uintptr_t)1 << f->log_alignment;
    fail("misaligned address: " + std::to_string(address % alignment) + " bytes past a multiple of " +
         std::to_string(alignment) + ", where there can be no " + f->type->name + at(f));
}
void __ubsan_handle_out_of_bounds(Fault *f, uintptr_t index) {
    Service service(CODE);
    fail("index " + std::to_string((int64_t)index) + " is out of bounds for " + f->type->name + at(f));
}
void __ubsan_handle_shift_out_of_bounds(Fault *f, uintptr_t, uintptr_t bits) {
    Service service(CODE);
    fail("shift by " + std::to_string((int64_t)bits) + " bits of " + f->type->name + at(f));
}
void __ubsan_handle_divrem_overflow(Fault *f) {
    Service service(CODE);
    fail("integer division by zero" + at(f));
}

#define OVERFLOWS(NAME, WORD)                                                       \
    void __ubsan_handle_##NAME##_overflow(Fault *f) {                               \
        Service service(CODE);                                                      \
        fail(std::string("integer overflow in ") + WORD + " of " + f->type->name + at(f)); \
    }
OVERFLOWS(add, "a sum")
OVERFLOWS(sub, "a difference")
OVERFLOWS(mul, "a product")
OVERFLOWS(negate, "the negative")
}
