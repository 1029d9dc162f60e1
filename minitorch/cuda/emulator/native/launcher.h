// From C++'s types to what Python must know: a kernel's parameters, and how to call it.
#pragma once

namespace emulator {
// Writes the name of a parameter's element type, as NumPy has it: of float4* that is float32.
template <class T>
void write_type(char *&out) {
    using U = std::remove_cv_t<T>;
    if constexpr (std::is_void_v<U>) out += sprintf(out, "void");
    else if constexpr (std::is_pointer_v<U>) out += sprintf(out, "pointer");
    else if constexpr (std::is_same_v<U, bool>) out += sprintf(out, "bool");
    else if constexpr (requires { U::name; }) out += sprintf(out, U::name);
    else if constexpr (requires(U v) { v.x; }) write_type<decltype(U::x)>(out);
    else if constexpr (std::is_class_v<U>) out += sprintf(out, "struct%zu", sizeof(U));
    else {
        const char *kind = std::is_floating_point_v<U> ? "float" : std::is_signed_v<U> ? "int" : "uint";
        out += sprintf(out, "%s%zu", kind, 8 * sizeof(U));
    }
}

template <class P>
void write_parameter(char *&out) {
    if constexpr (std::is_pointer_v<P>) {
        using T = std::remove_pointer_t<P>;
        out += sprintf(out, std::is_const_v<T> ? "const *" : "*");
        write_type<T>(out);
    } else if constexpr (requires(P v) { v.x; }) {  // by value: all of it
        out += sprintf(out, "struct%zu", sizeof(P));
    } else {
        write_type<P>(out);
    }
    *out++ = '\n';
}

// One line for each parameter.
template <class... P>
void signature(void (*)(P...), char *out) {
    (write_parameter<P>(out), ...);
    *out = 0;
}

// Of __launch_bounds__(threads, blocks).
constexpr int first(int threads, ...) { return threads; }

template <class... P, size_t... I>
UNWATCHED void call(void (*kernel)(P...), void **arguments, std::index_sequence<I...>) {
    kernel(*(std::remove_cv_t<P> *)arguments[I]...);
}
template <class... P>
UNWATCHED void call(void (*kernel)(P...), void **arguments) {
    call(kernel, arguments, std::index_sequence_for<P...>());
}
}  // namespace emulator
