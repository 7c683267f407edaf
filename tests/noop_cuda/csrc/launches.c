// Events, streams and kernel launches: counted, never executed.
#include "shim.h"
X E cudaEventCreate(void **e) {
    *e = malloc(8);
    return OK;
}
X E cudaEventCreateWithFlags(void **e, unsigned f) {
    *e = malloc(8);
    return OK;
}
X E cudaEventDestroy(void *e) {
    free(e);
    return OK;
}
X E cudaEventQuery(void *e) { return OK; }
X E cudaEventRecord(void *e, void *s) { return OK; }
X E cudaEventRecordWithFlags(void *e, void *s, unsigned f) { return OK; }
X E cudaEventSynchronize(void *e) {
    C[EVSYNC]++;
    return OK;
}
X E cudaEventElapsedTime(float *f, void *a, void *b) {
    *f = 1;
    return OK;
}
static char st[64];
X E cudaStreamCreate(void **s) {
    *s = st;
    return OK;
}
X E cudaStreamCreateWithFlags(void **s, unsigned f) {
    *s = st;
    return OK;
}
X E cudaStreamCreateWithPriority(void **s, unsigned f, int p) {
    *s = st;
    return OK;
}
X E cudaStreamDestroy(void *s) { return OK; }
X E cudaStreamQuery(void *s) { return OK; }
X E cudaStreamSynchronize(void *s) {
    C[STREAMSYNC]++;
    return OK;
}
X E cudaStreamWaitEvent(void *s, void *e, unsigned f) { return OK; }
X E cudaStreamIsCapturing(void *s, int *c) {
    *c = 0;
    return OK;
}
X E cudaStreamGetPriority(void *s, int *p) {
    *p = 0;
    return OK;
}
X E cudaStreamGetCaptureInfo(void *s, int *status, unsigned long long *id, void **g, void **deps, void **edges,
                             size_t *n) {
    *status = 0;
    return OK;
}
X E cudaThreadExchangeStreamCaptureMode(int *m) { return OK; }
X E cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *f) {
    memset(a, 0, sizeof *a);
    a->ptxVersion = 90;
    a->binaryVersion = 90;
    a->maxThreadsPerBlock = 1024;
    a->numRegs = 32;
    a->maxDynamicSharedSizeBytes = 49152;
    return OK;
}
X E cudaFuncSetAttribute(const void *f, int a, int v) { return OK; }
X E cudaKernelSetAttributeForDevice(void *k, int a, int v, int d) { return OK; }
X E cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n, const void *f, int b, size_t s) {
    *n = 4;
    return OK;
}
X E cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, const void *f, int b, size_t s, unsigned fl) {
    *n = 4;
    return OK;
}
X E cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p) {
    memset(a, 0, sizeof *a);
    int k = shim_kind_of(p);
    a->type = k;
    a->device = k == 2 ? 0 : -2;
    a->devicePointer = (void *)p;
    a->hostPointer = (void *)p;
    return OK;
}
X E cudaGetSymbolAddress(void **p, const void *s) {
    static char b[4096];
    *p = b;
    return OK;
}
static int generic(void) { return OK; }
X E cudaGetDriverEntryPointByVersion(const char *s, void **f, unsigned v, unsigned long long fl, int *status) {
    *f = (void *)generic;
    if (status)
        *status = 0;
    return OK;
}
X E cudaLaunchKernel(const void *f, dim3 g, dim3 b, void **a, size_t s, void *st) {
    C[LAUNCH]++;
    return OK;
}
X E __cudaLaunchKernel(void *k, dim3 g, dim3 b, void **a, size_t s, void *st) {
    C[LAUNCH]++;
    return OK;
}
X E cudaLaunchKernelExC(const void *c, const void *f, void **a) {
    C[LAUNCH]++;
    return OK;
}
X E cudaLaunchHostFunc(void *s, void (*f)(void *), void *d) {
    f(d);
    return OK;
}
X E __cudaGetKernel(void **k, const void *f) {
    *k = (void *)f;
    return OK;
}
static __thread struct {
    dim3 g, b;
    size_t s;
    void *st;
} cfg[8];
static __thread int top;
X unsigned __cudaPushCallConfiguration(dim3 g, dim3 b, size_t s, void *st) {
    cfg[top & 7].g = g;
    cfg[top & 7].b = b;
    cfg[top & 7].s = s;
    cfg[top & 7].st = st;
    top++;
    return 0;
}
X E __cudaPopCallConfiguration(dim3 *g, dim3 *b, size_t *s, void *st) {
    top--;
    *g = cfg[top & 7].g;
    *b = cfg[top & 7].b;
    *s = cfg[top & 7].s;
    *(void **)st = cfg[top & 7].st;
    return OK;
}
X E cudaProfilerStart(void) { return OK; }
X E cudaProfilerStop(void) { return OK; }
