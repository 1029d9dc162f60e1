// im2col and col2im: a convolution's patches as the columns of a matrix, and the reverse.
//
// Each thread owns one number of the result and looks for what belongs there. col2im could also
// have each thread add its column entry to its pixel. But then threads would add to one pixel at
// the same time, which takes atomic operations, and the order of the additions would change from
// run to run. "Gather, don't scatter": who owns a result needs neither, and is deterministic.
//
// Neighbouring threads write neighbouring numbers, since the last index runs fastest: the 32 writes
// of a warp become a few wide ones.
#include "windows.cuh"

// columns[row, position] of sample n, at n * sample_stride + row * row_stride + position. A row is
// a channel and a place in the kernel, a position is a place in the output.
extern "C" __global__ void im2col(const T *x, T *columns, const int *sizes, int channels,
                                  int64 sample_stride, int64 row_stride, int64 count) {
    const Windows &w = *reinterpret_cast<const Windows *>(sizes);
    int kernel = int(volume(w.kernel));
    for (int64 i = thread_of_grid(); i < count; i += threads_in_grid()) {
        Place out(i, w.out);                   // its plane is a row of a sample
        Place tap(out.plane, w.kernel);        // its plane is a channel of a sample
        int at[3];
        bool inside = true;
        for (int d = 0; d < 3; d++) {
            at[d] = out.at[d] * w.stride[d] - w.padding[d] + tap.at[d] * w.dilation[d];
            inside &= 0 <= at[d] && at[d] < w.in[d];
        }
        int64 n = tap.plane / channels, row = out.plane - n * channels * kernel;
        columns[n * sample_stride + row * row_stride + flat(out.at, w.out)] =
            inside ? x[tap.plane * volume(w.in) + flat(at, w.in)] : T(0);
    }
}

// Each pixel: the sum of the column entries that im2col would fill with it.
extern "C" __global__ void col2im(const T *columns, T *x, const int *sizes, int channels,
                                  int64 sample_stride, int64 row_stride, int64 count) {
    const Windows &w = *reinterpret_cast<const Windows *>(sizes);
    int kernel = int(volume(w.kernel));
    for (int64 i = thread_of_grid(); i < count; i += threads_in_grid()) {
        Place pixel(i, w.in);
        int64 n = pixel.plane / channels, channel = pixel.plane % channels;
        const T *rows = columns + n * sample_stride + channel * kernel * row_stride;
        wide sum = 0;
        for (int k = 0; k < kernel; k++) {
            Place tap(k, w.kernel);
            int out[3];
            bool seen = true;
            for (int d = 0; d < 3; d++) {  // at + padding = out * stride + tap * dilation
                int offset = pixel.at[d] + w.padding[d] - tap.at[d] * w.dilation[d];
                out[d] = offset / w.stride[d];
                seen &= offset >= 0 && offset % w.stride[d] == 0 && out[d] < w.out[d];
            }
            if (seen) sum += wide(rows[k * row_stride + flat(out, w.out)]);
        }
        x[i] = T(sum);
    }
}
