// How two values become one: the operations that scan.cu runs along and index.cu gathers by.
#pragma once

// 0 add, 1 multiply, 2 maximum, 3 minimum, 4 logaddexp. All threads take the same way, so that the
// choice costs next to nothing beside the access to memory.
__device__ inline wide join(int operation, wide a, wide b) {
    if (operation == 0) return a + b;
    if (operation == 1) return a * b;
    if (operation == 2) return a != a || a > b ? a : b;  // a nan wins
    if (operation == 3) return a != a || a < b ? a : b;
    wide high = a > b ? a : b, low = a > b ? b : a;
    if (a != a || high == low) return a == low ? a + wide(0.6931471805599453) : a;  // also two infinities
    return high + wide(log1p(exp(0.0f + (low - high))));
}
