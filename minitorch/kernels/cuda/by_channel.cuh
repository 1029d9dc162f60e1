// Parameters of channels, as a source beside the Shares of a row (rows.cuh).
#pragma once
#include "rows.cuh"

// For each element of a row that of its channel: number `first` for the row's first `length`
// elements, and so on. `otherwise` where there are no parameters.
template <int W> struct ByChannel {
    const wide *parameters;
    wide otherwise;
    int64 first, length;

    __device__ ByChannel(const Row<W> &, const wide *parameters, wide otherwise, int64 first,
                         int64 length)
        : parameters(parameters), otherwise(otherwise), first(first), length(length) {}
    __device__ void hold(const Row<W> &) {}

    __device__ Vector<wide, W> vector(const Row<W> &row, int i) const {
        Vector<wide, W> v;
        if (parameters && length == 1 && first == 0)  // aligned like the row
            return *(const Vector<wide, W> *)(parameters + row.element(i));
        wide same = parameters ? parameters[channel(row, i, 0)] : otherwise;
        bool differ = parameters && W > 1 && length < row.n && length % W != 0;
        for (int k = 0; k < W; k++) v.values[k] = differ ? parameters[channel(row, i, k)] : same;
        return v;
    }
    // A division takes as long as twenty additions: none where the row is all of one channel.
    __device__ int64 channel(const Row<W> &row, int i, int k) const {
        return length < row.n ? first + unsigned(row.element(i) + k) / unsigned(length) : first;
    }
};
