// What softmax, log_softmax and cross_entropy need of a row.
#pragma once
#include "rows.cuh"

// The maximum of a row, and the sum of exp(x - maximum), without which exp could overflow. Where a
// row comes in several rounds, one pass does both: whenever a round has a larger maximum, what has
// been summed so far is scaled down to it.
template <int W>
__device__ void largest_and_sum(Row<W> &row, Share<W> &x, wide &largest, wide &sum) {
    largest = -infinity(), sum = 0;
    auto join_round = [&] {
        wide before = largest;
        row.held([&](wide value) { largest = Max::join(largest, value); }, x);
        if (largest == -infinity()) return;  // adds nothing
        sum *= exp(before - largest);
        row.held([&](wide value) { sum += exp(value - largest); }, x);
    };
    row.rounds(join_round, x);
    wide own = largest;
    largest = row.template reduce<Max>(largest);
    sum = row.template reduce<Sum>(own == -infinity() ? 0 : sum * exp(own - largest));
}
