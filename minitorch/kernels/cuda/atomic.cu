// max_pool's backward: adds each gradient to where the maximum was.
//
// Windows overlap, so that two threads may add to one entry at the same time. x += y is three steps,
// read, add and write, and a thread that reads between another one's read and write undoes its
// addition. atomicAdd does the three as one; who comes too soon waits. Who comes first is chance,
// and so are the last bits of a sum of three or more (as with PyTorch's).
#include "common.cuh"

// indices are into images of `image` elements; each image has `windows` of them.
extern "C" __global__ void max_pool_backward(const T *grad, const int64 *indices, wide *dx,
                                             int64 image, int64 windows, int64 count) {
    for (int64 i = thread_of_grid(); i < count; i += threads_in_grid())
        atomicAdd(&dx[i / windows * image + indices[i]], wide(grad[i]));
}
