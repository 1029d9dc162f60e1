// Attention without the matrix of scores: softmax(q @ k.T * scale) @ v, forward and backward.
//
// For a sequence of n the scores are n*n numbers: at n = 8192 a quarter of a gigabyte for one head.
// But softmax can be had piece by piece. Take the keys in tiles. After each tile a query knows the
// largest score so far, the sum of exp(score - largest), and the sum of values weighted so. If a
// later tile has a larger score, what has been summed is scaled down by exp(old - new largest) and
// the sum goes on. At the end, result / sum is the exact softmax; no score was ever stored.
// (Milakov and Gimelshein 2018 for the running softmax, Dao et al. 2022 for attention by it.)
//
// Backward makes the scores again from q and k. All it needs of forward is, for each query, the
// logarithm of the sum of exp(score): a weight is then exp(score - log_sum).
//
// Who does what: a row (a query, or in the last kernel a key) belongs to 2, 4, 8 or 16 neighbouring
// lanes of a warp, and each lane keeps 16 of its columns in registers: as four float4, in turns with
// the other lanes. A block of 256 threads takes 256/lanes rows, and shares the tiles of the other
// side, which it copies to shared memory: 16 rows at a time.
//
// It saves memory, not arithmetic: a lane multiplies four numbers for each 16 bytes that it loads from
// shared memory, and these loads are what it waits for. In half precision GPUs have tensor cores,
// which multiply whole tiles by one instruction; for lengths whose scores fit into memory, cuBLAS,
// which uses them, is faster.
#include "common.cuh"

constexpr int TILE = 16, THREADS = 256, PARTS = 4, MOST_LANES = 16;
constexpr int WIDTH = PARTS * MOST_LANES;  // of a row of a tile, in float4

// A lane's share of a row.
struct Slice {
    float4 part[PARTS];
};

// Where a thread is: its row among all rows of its head, and its place among the row's lanes.
struct Owner {
    int lanes, lane;
    int64 first, row, head;  // first: the first row of the block

    __device__ Owner(int lanes, int64 rows) : lanes(lanes), lane(threadIdx.x % lanes) {
        int64 each = THREADS / lanes, blocks = (rows + each - 1) / each;
        head = blockIdx.x / blocks;
        first = blockIdx.x % blocks * each;
        row = first + threadIdx.x / lanes;
    }
    // The float4 of a row that is this lane's part number i.
    __device__ int column(int i) const { return i * lanes + lane; }
};

// Four columns of a row that has d of them, and zeros behind these.
__device__ float4 load4(const T *row, int column, int d) {
    auto at = [&](int j) { return j < d ? float(row[j]) : 0.0f; };
    return {at(column), at(column + 1), at(column + 2), at(column + 3)};
}

__device__ Slice load(const T *rows, const Owner &own, int64 count, int d, float scale = 1) {
    Slice s = {};
    if (own.row < count)
        for (int i = 0; i < PARTS; i++) {
            float4 x = load4(rows + own.row * d, own.column(i) * 4, d);
            s.part[i] = {x.x * scale, x.y * scale, x.z * scale, x.w * scale};
        }
    return s;
}

__device__ void store(T *rows, const Owner &own, int64 count, int d, const Slice &s, float scale) {
    if (own.row >= count) return;
    T *row = rows + own.row * d;
    for (int i = 0; i < PARTS; i++) {
        int column = own.column(i) * 4;
        const float4 &x = s.part[i];
        if (column < d) row[column] = T(x.x * scale);
        if (column + 1 < d) row[column + 1] = T(x.y * scale);
        if (column + 2 < d) row[column + 2] = T(x.z * scale);
        if (column + 3 < d) row[column + 3] = T(x.w * scale);
    }
}

// Rows first to first + TILE of a matrix (count, d) into shared memory: by all threads of the block.
__device__ void load_tile(float4 (*tile)[WIDTH], const T *rows, int64 first, int64 count, int d,
                          int lanes) {
    int width = PARTS * lanes;
    for (int i = threadIdx.x; i < TILE * width; i += THREADS) {
        int64 row = first + i / width;
        tile[i / width][i % width] =
            row < count ? load4(rows + row * d, i % width * 4, d) : float4{0, 0, 0, 0};
    }
}

// The sum of a value over the lanes of a row.
__device__ float over_lanes(float value, int lanes) {
    for (int other = lanes / 2; other > 0; other /= 2)
        value += __shfl_xor_sync(ALL_LANES, value, other);
    return value;
}

__device__ float dot(const Slice &a, const float4 *b, const Owner &own) {
    float sum = 0;
    for (int i = 0; i < PARTS; i++) {
        float4 x = a.part[i], y = b[own.column(i)];
        sum += x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
    }
    return over_lanes(sum, own.lanes);
}

__device__ void add(Slice &sum, float weight, const float4 *row, const Owner &own) {
    for (int i = 0; i < PARTS; i++) {
        float4 &x = sum.part[i], y = row[own.column(i)];
        x.x += weight * y.x, x.y += weight * y.y, x.z += weight * y.z, x.w += weight * y.w;
    }
}

// q, out (heads, queries, d), k, v (heads, keys, d); log_sums (heads, queries). If causal is not 0,
// query i sees keys 0 to i.
extern "C" __global__ void __launch_bounds__(256)
    attention_forward(const T *q, const T *k, const T *v, T *out, float *log_sums, int64 queries,
                      int64 keys, int d, int lanes, float scale, int causal) {
    __shared__ float4 key_tile[TILE][WIDTH], value_tile[TILE][WIDTH];
    Owner own(lanes, queries);
    q += own.head * queries * d, out += own.head * queries * d, log_sums += own.head * queries;
    k += own.head * keys * d, v += own.head * keys * d;
    Slice query = load(q, own, queries, d, scale), result = {};
    float largest = -infinity(), sum = 0;
    int64 seen = causal ? min(own.row + 1, keys) : keys;
    int64 needed = causal ? min(own.first + THREADS / lanes, keys) : keys;  // by any of the block
    for (int64 j0 = 0; j0 < needed; j0 += TILE) {
        __syncthreads();  // nobody reads the last tiles any more
        load_tile(key_tile, k, j0, keys, d, lanes);
        load_tile(value_tile, v, j0, keys, d, lanes);
        __syncthreads();
        float scores[TILE], before = largest;
#pragma unroll
        for (int j = 0; j < TILE; j++) {
            float score = dot(query, key_tile[j], own);
            scores[j] = j0 + j < seen ? score : -infinity();
            largest = fmaxf(largest, scores[j]);
        }
        float shrink = expf(before - largest);  // 0 at first, where before is -inf
        sum *= shrink;
        for (int i = 0; i < PARTS; i++) {
            float4 &x = result.part[i];
            x.x *= shrink, x.y *= shrink, x.z *= shrink, x.w *= shrink;
        }
#pragma unroll
        for (int j = 0; j < TILE; j++) {
            float weight = expf(scores[j] - largest);
            sum += weight;
            add(result, weight, value_tile[j], own);
        }
    }
    store(out, own, queries, d, result, 1 / sum);
    if (own.row < queries && own.lane == 0) log_sums[own.row] = largest + logf(sum);
}

// The gradient for the queries. With weight w[j] of key j, and dw[j] = grad . v[j], that of the
// score is w[j] * (dw[j] - sum(w * dw)); and sum(w * dw) is grad . out, which is left in `dots` for
// the next kernel.
extern "C" __global__ void __launch_bounds__(256)
    attention_backward_queries(const T *grad, const T *q, const T *k, const T *v, const T *out,
                               const float *log_sums, T *dq, float *dots, int64 queries, int64 keys,
                               int d, int lanes, float scale, int causal) {
    __shared__ float4 key_tile[TILE][WIDTH], value_tile[TILE][WIDTH];
    Owner own(lanes, queries);
    int64 start = own.head * queries * d;
    q += start, out += start, grad += start, dq += start;
    k += own.head * keys * d, v += own.head * keys * d;
    log_sums += own.head * queries, dots += own.head * queries;
    Slice query = load(q, own, queries, d, scale), dout = load(grad, own, queries, d);
    Slice result = load(out, own, queries, d), sum = {};
    float grad_dot_out = 0;
    for (int i = 0; i < PARTS; i++) {
        float4 x = dout.part[i], y = result.part[i];
        grad_dot_out += x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
    }
    grad_dot_out = over_lanes(grad_dot_out, lanes);
    bool exists = own.row < queries;
    if (exists && own.lane == 0) dots[own.row] = grad_dot_out;
    float log_sum = exists ? log_sums[own.row] : 0;
    int64 seen = causal ? min(own.row + 1, keys) : keys;
    int64 needed = causal ? min(own.first + THREADS / lanes, keys) : keys;
    for (int64 j0 = 0; j0 < needed; j0 += TILE) {
        __syncthreads();
        load_tile(key_tile, k, j0, keys, d, lanes);
        load_tile(value_tile, v, j0, keys, d, lanes);
        __syncthreads();
        for (int j = 0; j < TILE; j++) {
            float score = dot(query, key_tile[j], own), dweight = dot(dout, value_tile[j], own);
            float weight = j0 + j < seen ? expf(score - log_sum) : 0;
            add(sum, weight * (dweight - grad_dot_out), key_tile[j], own);
        }
    }
    store(dq, own, queries, d, sum, scale);
}

// The gradients for keys and values: the same from the other side. A row is a key now, and the tiles
// are of queries and their gradients.
extern "C" __global__ void __launch_bounds__(256)
    attention_backward_keys(const T *grad, const T *q, const T *k, const T *v, const float *log_sums,
                            const float *dots, T *dk, T *dv, int64 queries, int64 keys, int d,
                            int lanes, float scale, int causal) {
    __shared__ float4 query_tile[TILE][WIDTH], grad_tile[TILE][WIDTH];
    __shared__ float log_sum[TILE], grad_dot_out[TILE];
    Owner own(lanes, keys);
    int64 start = own.head * keys * d;
    k += start, v += start, dk += start, dv += start;
    q += own.head * queries * d, grad += own.head * queries * d;
    log_sums += own.head * queries, dots += own.head * queries;
    Slice key = load(k, own, keys, d, scale), value = load(v, own, keys, d);
    Slice key_sum = {}, value_sum = {};
    // No query before the block's first key sees any of its keys.
    for (int64 i0 = causal ? own.first / TILE * TILE : 0; i0 < queries; i0 += TILE) {
        __syncthreads();
        load_tile(query_tile, q, i0, queries, d, lanes);
        load_tile(grad_tile, grad, i0, queries, d, lanes);
        if (threadIdx.x < TILE) {
            bool exists = i0 + threadIdx.x < queries;
            log_sum[threadIdx.x] = exists ? log_sums[i0 + threadIdx.x] : 0;
            grad_dot_out[threadIdx.x] = exists ? dots[i0 + threadIdx.x] : 0;
        }
        __syncthreads();
        for (int i = 0; i < TILE; i++) {
            float score = dot(key, query_tile[i], own), dweight = dot(value, grad_tile[i], own);
            bool sees = i0 + i < queries && (!causal || own.row <= i0 + i);
            float weight = sees ? expf(score - log_sum[i]) : 0;
            add(value_sum, weight, grad_tile[i], own);
            add(key_sum, weight * (dweight - grad_dot_out[i]), query_tile[i], own);
        }
    }
    store(dk, own, keys, d, key_sum, scale);
    store(dv, own, keys, d, value_sum, 1);
}
