// One device of the properties of an H100.
#include "shim.h"
X E cudaGetDeviceCount(int *n) {
    *n = 1;
    return OK;
}
X E cudaGetDevice(int *d) {
    *d = 0;
    return OK;
}
X E cudaSetDevice(int d) { return OK; }
X E cudaGetLastError(void) { return OK; }
X E cudaPeekAtLastError(void) { return OK; }
X const char *cudaGetErrorString(int e) { return e == 2 ? "out of memory" : "shim"; }
X const char *cudaGetErrorName(int e) { return e == 2 ? "cudaErrorMemoryAllocation" : "shim"; }
X E cudaDriverGetVersion(int *v) {
    *v = 13020;
    return OK;
}
X E cudaRuntimeGetVersion(int *v) {
    *v = 13020;
    return OK;
}
X E cudaGetDeviceProperties(struct cudaDeviceProp *p, int d) {
    memset(p, 0, sizeof *p);
    strcpy(p->name, "NVIDIA H100 (no-op shim)");
    p->totalGlobalMem = 80000000000UL;
    p->sharedMemPerBlock = 49152;
    p->regsPerBlock = 65536;
    p->warpSize = 32;
    p->memPitch = 2147483647;
    p->maxThreadsPerBlock = 1024;
    p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
    p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 2147483647;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->major = 9;
    p->minor = 0;
    p->textureAlignment = 512;
    p->multiProcessorCount = 132;
    p->maxThreadsPerMultiProcessor = 2048;
    p->sharedMemPerMultiprocessor = 233472;
    p->sharedMemPerBlockOptin = 232448;
    p->regsPerMultiprocessor = 65536;
    p->l2CacheSize = 52428800;
    p->maxBlocksPerMultiProcessor = 32;
    p->unifiedAddressing = 1;
    p->concurrentKernels = 1;
    return OK;
}
X E cudaDeviceGetAttribute(int *v, int a, int d) {
    switch (a) {
    case 1:
        *v = 1024;
        break;
    case 2:
    case 3:
        *v = 1024;
        break;
    case 4:
        *v = 64;
        break;
    case 5:
        *v = 2147483647;
        break;
    case 6:
    case 7:
        *v = 65535;
        break;
    case 8:
        *v = 49152;
        break;
    case 10:
        *v = 32;
        break;
    case 12:
        *v = 65536;
        break;
    case 16:
        *v = 132;
        break;
    case 39:
        *v = 2048;
        break;
    case 75:
        *v = 9;
        break;
    case 76:
        *v = 0;
        break;
    case 81:
        *v = 233472;
        break;
    case 97:
        *v = 232448;
        break;
    case 82:
        *v = 65536;
        break;
    default:
        *v = 1;
    }
    return OK;
}
X E cudaDeviceCanAccessPeer(int *c, int a, int b) {
    *c = 0;
    return OK;
}
X E cudaDeviceEnablePeerAccess(int p, unsigned f) { return OK; }
X E cudaDeviceGetPCIBusId(char *s, int n, int d) {
    strncpy(s, "0000:00:00.0", n);
    return OK;
}
X E cudaDeviceGetStreamPriorityRange(int *a, int *b) {
    *a = 0;
    *b = -5;
    return OK;
}
X E cudaDeviceSynchronize(void) {
    C[DEVSYNC]++;
    return OK;
}
X E cudaDeviceGetDefaultMemPool(void **p, int d) {
    *p = 0;
    return 801;
}
