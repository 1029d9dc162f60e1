// Running sums along rows (and running products, maxima, minima): out[j] = x[0] + ... + x[j].
//
// Each result needs the one before it, yet 32 lanes can share the work: in step 1 each lane adds the
// value of the lane before it, in step 2 of the lane 2 before, then 4, 8 and 16. After these five
// steps each lane has the sum of all up to itself. The same goes for the warps of a block.
#include "common.cuh"
#include "joining.cuh"

constexpr int WARPS = 8;

// The running result over the lanes of a warp.
__device__ wide warp_scan(wide value, int operation) {
    int lane = threadIdx.x % 32;
    for (int back = 1; back < 32; back *= 2) {
        wide before = __shfl_up_sync(ALL_LANES, value, back);
        if (lane >= back) value = join(operation, before, value);
    }
    return value;
}

// One block of 256 threads takes one piece of `width` elements of a row of n; blockIdx.y says which.
extern "C" __global__ void scan(const T *x, T *out, int64 n, int64 width, int operation) {
    __shared__ wide of_warp[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int64 begin = blockIdx.y * width, end = min(begin + width, n);
    x += blockIdx.x * n, out += blockIdx.x * n;
    wide so_far = 0;
    for (int64 j0 = begin; j0 < end; j0 += blockDim.x) {
        int64 j = j0 + threadIdx.x;
        wide value = warp_scan(j < end ? wide(x[j]) : wide(0), operation);
        if (lane == 31) of_warp[warp] = value;  // all of this warp's
        __syncthreads();
        wide total = warp_scan(lane < WARPS ? of_warp[lane] : wide(0), operation);
        // Each warp knows all totals now; what lies before it is that of the warp before.
        wide before = __shfl_sync(ALL_LANES, total, max(warp - 1, 0));
        if (warp > 0) value = join(operation, before, value);
        if (j0 > begin) value = join(operation, so_far, value);
        if (j < end) out[j] = T(value);
        total = __shfl_sync(ALL_LANES, total, WARPS - 1);
        so_far = j0 > begin ? join(operation, so_far, total) : total;
        __syncthreads();  // of_warp has been read
    }
}

// Joins to every piece of a row but the first what all pieces before it come to: totals (rows,
// pieces), themselves scanned.
extern "C" __global__ void scan_join(T *out, const T *totals, int64 n, int64 width, int64 pieces,
                                     int64 count, int operation) {
    for (int64 i = thread_of_grid(); i < count; i += threads_in_grid()) {
        int64 row = i / n, piece = i % n / width;
        if (piece > 0)
            out[i] = T(join(operation, wide(totals[row * pieces + piece - 1]), wide(out[i])));
    }
}
