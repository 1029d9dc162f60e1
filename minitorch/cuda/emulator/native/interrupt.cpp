// Ctrl-C ends a kernel, even one that loops without end.
//
// Python would raise KeyboardInterrupt after the launch, and an endless loop has no after. So during
// a launch the signal is ours. If it comes while the kernel's own code runs, that code is left at
// once, as by an error: with a jump to the scheduler. While the emulator does something for the
// kernel, it may hold the lock of malloc, say; then the jump waits until the kernel is to go on.
#include <dlfcn.h>
#include <pthread.h>
#include <ucontext.h>

#include <cstring>

#include "engine.h"

namespace emulator {
volatile sig_atomic_t in_kernel, interrupted;
const void *last_service;
static const void *volatile left_at;
static bool ours;
static pthread_t runner;
static struct sigaction pythons;

void leave() {
    in_kernel = false;
    _longjmp(scheduler, 1);
}

static void on_signal(int signal, siginfo_t *, void *context) {
    if (!pthread_equal(pthread_self(), runner)) {
        pthread_kill(runner, signal);
        return;
    }
    interrupted = true;
    if (!in_kernel) return;
#ifdef __x86_64__
    left_at = (void *)(((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] + 1);
#endif
    leave();
}

void begin_interruptible(bool wanted) {
    in_kernel = interrupted = false;
    left_at = nullptr;
    ours = wanted;
    if (!ours) return;
    runner = pthread_self();
    struct sigaction action = {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;  // it does not return, so nothing would unblock it
    sigaction(SIGINT, &action, &pythons);
}

bool end_interruptible() {
    if (ours) sigaction(SIGINT, &pythons, nullptr);
    return interrupted;
}

// Whether this is an address in the kernel's code, not in the emulator's or a library's.
static bool is_kernels(const void *code) {
    Dl_info there;
    if (!code || !dladdr(code, &there) || there.dli_fbase != library || !there.dli_sname) return false;
    return !strstr(there.dli_sname, "8emulator") && strncmp(there.dli_sname, "__", 2);
}

void tell_of_interrupt() {
    std::string message = "interrupted";
    const void *code = is_kernels(left_at) ? left_at : last_service;
    if (code && library) message += ", " + where(code);
    else if (current && current->site.line()) message += " after " + where(current->site);
    set_error(message, current);
    current = nullptr;
}
}  // namespace emulator
