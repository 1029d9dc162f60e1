// Atomic operations. One thread runs at a time, so that a plain update is atomic.
#pragma once

namespace emulator {
template <class T, class F>
UNWATCHED T update(T *address, F change) {
#ifndef EMULATOR_UNWATCHED
    touch_atomically(address, sizeof(T), __builtin_return_address(0));
#endif
    T old = *address;
    *address = change(old);
    return old;
}
}  // namespace emulator

#define ATOMIC(NAME, EXPRESSION)                                                                  \
    template <class T>                                                                            \
    __attribute__((always_inline)) inline T NAME(T *address, std::type_identity_t<T> value) {     \
        return emulator::update(address, [=](T old) { return T(EXPRESSION); });                   \
    }
ATOMIC(atomicAdd, old + value)
ATOMIC(atomicSub, old - value)
ATOMIC(atomicMin, value < old ? value : old)
ATOMIC(atomicMax, old < value ? value : old)
ATOMIC(atomicAnd, old & value)
ATOMIC(atomicOr, old | value)
ATOMIC(atomicXor, old ^ value)
ATOMIC(atomicExch, ((void)old, value))
ATOMIC(atomicInc, old >= value ? 0 : old + 1)
ATOMIC(atomicDec, old == 0 || old > value ? value : old - 1)
#undef ATOMIC

template <class T>
__attribute__((always_inline)) inline T atomicCAS(T *address, std::type_identity_t<T> expected,
                                                  std::type_identity_t<T> value) {
    return emulator::update(address, [=](T old) { return old == expected ? value : old; });
}
