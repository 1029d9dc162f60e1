// A kernel's assert is the emulator's (cuda.h); the C library's would end Python.
#ifndef assert
#include_next <assert.h>
#endif
