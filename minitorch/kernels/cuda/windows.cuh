#include "common.cuh"

// Where the windows of a convolution or a pooling lie, in three dimensions (one or two are three
// whose first sizes are 1). windows.py has its twin.
struct Windows {
    int in[3], kernel[3], stride[3], padding[3], dilation[3], out[3];
};

// A flat index into images (plane, depth, height, width), taken apart.
struct Place {
    int64 plane;
    int at[3];

    __device__ Place(int64 i, const int *size) {
        int64 image = (int64)size[0] * size[1] * size[2];
        plane = i / image;
        int rest = int(i - plane * image);  // divisions by 64-bit numbers are slow: one is enough
        at[2] = rest % size[2], rest /= size[2];
        at[1] = rest % size[1], at[0] = rest / size[1];
    }
};

__device__ inline int64 flat(const int *at, const int *size) {
    return ((int64)at[0] * size[1] + at[1]) * size[2] + at[2];
}

__device__ inline int64 volume(const int *size) { return (int64)size[0] * size[1] * size[2]; }
