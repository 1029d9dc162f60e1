// Pooling: the maximum or the mean of each window. One thread for each number of the result.
//
// Windows overlap, so that an input is read several times: by threads of one warp or block, at
// about the same time, and therefore from the L1 cache.
#include "windows.cuh"

// The entries of window `out` along one dimension, without the padding. A stride of 0 stands for
// adaptive pooling: the windows share the input out, as equally as they can.
struct Span {
    int start, stop, step;

    __device__ Span(const Windows &w, int d, int out) : step(w.dilation[d]) {
        if (w.stride[d] == 0) {
            start = int((int64)out * w.in[d] / w.out[d]);
            stop = int(((int64)(out + 1) * w.in[d] + w.out[d] - 1) / w.out[d]);
        } else {
            start = out * w.stride[d] - w.padding[d];
            stop = min(start + (w.kernel[d] - 1) * step + 1, w.in[d]);
            if (start < 0) start += (-start + step - 1) / step * step;
        }
    }
};

// The maxima, and where they lie: flat indices into the image. A nan counts as the greatest; of
// equal values the first one counts. `least` is below all values.
extern "C" __global__ void max_pool_forward(const T *x, T *out, int64 *indices, const int *sizes,
                                            wide least, int64 count) {
    const Windows &w = *reinterpret_cast<const Windows *>(sizes);
    for (int64 i = thread_of_grid(); i < count; i += threads_in_grid()) {
        Place window(i, w.out);
        const T *plane = x + window.plane * volume(w.in);
        Span d(w, 0, window.at[0]), h(w, 1, window.at[1]), c(w, 2, window.at[2]);
        int at[3] = {d.start, h.start, c.start};
        int64 best = flat(at, w.in);
        wide maximum = least;
        for (at[0] = d.start; at[0] < d.stop; at[0] += d.step)
            for (at[1] = h.start; at[1] < h.stop; at[1] += h.step)
                for (at[2] = c.start; at[2] < c.stop; at[2] += c.step) {
                    wide value = plane[flat(at, w.in)];
                    if (value > maximum || value != value) maximum = value, best = flat(at, w.in);
                }
        out[i] = T(maximum);
        indices[i] = best;
    }
}

// How many entries the mean of the window at `out` is over.
__device__ int entries(const Windows &w, const int *out, int count_padding, int instead) {
    int product = 1;
    for (int d = 0; d < 3; d++) {
        int start = out[d] * w.stride[d] - w.padding[d];
        int stop = min(start + w.kernel[d], w.in[d] + w.padding[d]);
        product *= count_padding ? stop - start : min(stop, w.in[d]) - max(start, 0);
    }
    return instead != 0 ? instead : product;
}

extern "C" __global__ void avg_pool_forward(const T *x, T *out, const int *sizes, int count_padding,
                                            int instead, int64 count) {
    const Windows &w = *reinterpret_cast<const Windows *>(sizes);
    for (int64 i = thread_of_grid(); i < count; i += threads_in_grid()) {
        Place window(i, w.out);
        const T *plane = x + window.plane * volume(w.in);
        Span d(w, 0, window.at[0]), h(w, 1, window.at[1]), c(w, 2, window.at[2]);
        wide sum = 0;
        int at[3];
        for (at[0] = d.start; at[0] < d.stop; at[0]++)
            for (at[1] = h.start; at[1] < h.stop; at[1]++)
                for (at[2] = c.start; at[2] < c.stop; at[2]++) sum += wide(plane[flat(at, w.in)]);
        out[i] = T(sum / entries(w, window.at, count_padding, instead));
    }
}

// Each input's gradient: what the windows that see it pass on. Who owns its result needs no atomics.
extern "C" __global__ void avg_pool_backward(const T *grad, T *dx, const int *sizes,
                                             int count_padding, int instead, int64 count) {
    const Windows &w = *reinterpret_cast<const Windows *>(sizes);
    for (int64 i = thread_of_grid(); i < count; i += threads_in_grid()) {
        Place entry(i, w.in);
        const T *plane = grad + entry.plane * volume(w.out);
        int first[3], last[3], at[3];
        for (int d = 0; d < 3; d++) {
            int padded = entry.at[d] + w.padding[d];
            first[d] = max(padded - w.kernel[d] + w.stride[d], 0) / w.stride[d];  // rounded up
            last[d] = min(padded / w.stride[d], w.out[d] - 1);
        }
        wide sum = 0;
        for (at[0] = first[0]; at[0] <= last[0]; at[0]++)
            for (at[1] = first[1]; at[1] <= last[1]; at[1]++)
                for (at[2] = first[2]; at[2] <= last[2]; at[2]++)
                    sum += wide(plane[flat(at, w.out)]) / entries(w, at, count_padding, instead);
        dx[i] = T(sum);
    }
}
