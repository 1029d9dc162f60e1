// A product of matrices, in tiles: the teaching version. For floating-point numbers cuBLAS does it
// several times as fast, on the tensor cores; integers, which cuBLAS does not have, come here.
//
// out = a @ b for matrices of n is 2 n^3 operations on 3 n^2 numbers. A thread that computes one
// entry of out reads 2n numbers for its 2n operations, and memory cannot keep up. So numbers have to
// be used more than once after they are read, on two levels:
//
//   1. A block computes a tile of 64x64 entries. It copies a strip of a (64x16) and of b (16x64) to
//      shared memory, where each number serves 64 entries.
//   2. A thread computes 4x4 entries of the tile. It reads 4 numbers of each strip into registers
//      for 16 multiplications.
#include "common.cuh"

constexpr int TILE = 64, DEPTH = 16, OWN = 4;  // a block has TILE/OWN x TILE/OWN = 16x16 threads

// (batch, n, k) @ (batch, k, m) -> (batch, n, m). A matrix's next one in its batch is a_step (or
// b_step) elements on: 0 uses the same one for all.
extern "C" __global__ void __launch_bounds__(256)
    matmul_tiled(const T *a, const T *b, T *out, int n, int k, int m, int64 a_step, int64 b_step) {
    // One column more than needed: the rows then begin in different banks of shared memory, and the
    // threads that write a column of a's strip do not wait for one another.
    __shared__ wide a_strip[DEPTH][TILE + 1], b_strip[DEPTH][TILE];
    a += blockIdx.z * a_step, b += blockIdx.z * b_step, out += (int64)blockIdx.z * n * m;
    int row0 = blockIdx.x * TILE, column0 = blockIdx.y * TILE;
    int x = threadIdx.x % 16, y = threadIdx.x / 16;
    wide sum[OWN][OWN] = {};
    for (int k0 = 0; k0 < k; k0 += DEPTH) {
        for (int i = threadIdx.x; i < TILE * DEPTH; i += 256) {  // side by side in memory, both
            int row = row0 + i / DEPTH, at = k0 + i % DEPTH;
            a_strip[i % DEPTH][i / DEPTH] = row < n && at < k ? wide(a[(int64)row * k + at]) : 0;
            int column = column0 + i % TILE;
            at = k0 + i / TILE;
            b_strip[i / TILE][i % TILE] = column < m && at < k ? wide(b[(int64)at * m + column]) : 0;
        }
        __syncthreads();  // the strips are complete
#pragma unroll 4
        for (int j = 0; j < DEPTH; j++) {
            wide left[OWN], right[OWN];
            for (int i = 0; i < OWN; i++) {
                left[i] = a_strip[j][y + 16 * i];
                right[i] = b_strip[j][x + 16 * i];
            }
            for (int r = 0; r < OWN; r++)
                for (int c = 0; c < OWN; c++) sum[r][c] += left[r] * right[c];
        }
        __syncthreads();  // they have been used, and may be overwritten
    }
    for (int r = 0; r < OWN; r++)
        for (int c = 0; c < OWN; c++) {
            int row = row0 + y + 16 * r, column = column0 + x + 16 * c;
            if (row < n && column < m) out[(int64)row * m + column] = T(sum[r][c]);
        }
}
