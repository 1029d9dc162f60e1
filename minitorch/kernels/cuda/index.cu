// Adding rows to where indices say, as the gradient of an embedding does: out[index] += value.
//
// Several rows may have the same index. Threads that add to one place at the same time would need
// atomic operations, in an order that changes from run to run. Instead the indices are sorted first:
// equal ones then lie in runs, and each run belongs to one block, which adds up all of it.
#include "common.cuh"
#include "joining.cuh"

// values (n, dim); sorted: the n indices in order; order: where each of them was. One block for each
// index and 32 (or blockDim.x) columns. The block whose index begins a run takes the run, in turns:
// row threadIdx.y first, then each blockDim.y-th. The others have nothing to do.
extern "C" __global__ void join_runs(const T *values, const int64 *sorted, const int64 *order, T *out,
                                     int64 n, int64 dim, int operation) {
    __shared__ wide partial[256];
    int64 first = blockIdx.x, index = sorted[first];
    if (first > 0 && sorted[first - 1] == index) return;  // all threads of the block, or none
    int64 column = (int64)blockIdx.y * blockDim.x + threadIdx.x;
    int64 row = first + threadIdx.y;
    int slot = threadIdx.y * blockDim.x + threadIdx.x;
    wide sum = 0;
    for (int64 r = row; r < n && sorted[r] == index && column < dim; r += blockDim.y) {
        wide value = values[order[r] * dim + column];
        sum = r == row ? value : join(operation, sum, value);
    }
    partial[slot] = sum;
    // Half of the threads join the other half's sums to theirs, until one row is left.
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        int64 other = row + half;
        if (threadIdx.y < half && other < n && sorted[other] == index)
            partial[slot] = join(operation, partial[slot], partial[slot + half * blockDim.x]);
    }
    if (threadIdx.y == 0 && column < dim) {
        T *place = out + index * dim + column;
        *place = T(join(operation, wide(*place), partial[slot]));
    }
}
