// cuBLAS: matrix products are counted as launches.
#include "shim.h"
X int cublasCreate_v2(void **h) {
    *h = malloc(64);
    return 0;
}
X int cublasDestroy_v2(void *h) { return 0; }
X int cublasSetStream_v2(void *h, void *s) { return 0; }
X int cublasSetWorkspace_v2(void *h, void *w, size_t n) { return 0; }
X int cublasGetMathMode(void *h, int *m) {
    *m = 0;
    return 0;
}
X int cublasSetMathMode(void *h, int m) { return 0; }
X int cublasGetPointerMode_v2(void *h, int *m) {
    *m = 0;
    return 0;
}
X int cublasSetPointerMode_v2(void *h, int m) { return 0; }
X int cublasSetSmCountTarget(void *h, int n) { return 0; }
#define G(n)                                                                                                           \
    X int n(void) {                                                                                                    \
        C[CUBLAS]++;                                                                                                   \
        C[LAUNCH]++;                                                                                                   \
        return 0;                                                                                                      \
    }
G(cublasSgemm_v2)
G(cublasDgemm_v2)
G(cublasSgemmEx) G(cublasGemmEx) G(cublasSgemv_v2) G(cublasDgemv_v2) G(cublasGemmStridedBatchedEx)
    G(cublasDgemmStridedBatched) G(cublasSgemmStridedBatched) G(cublasSdot_v2) G(cublasDdot_v2) G(cublasDotEx)
        G(cublasLtMatmul) X size_t cublasLtGetVersion(void) {
    return 130400;
}
#define Z(n)                                                                                                           \
    X int n(void) { return 0; }
Z(cublasLtMatmulDescSetAttribute)
Z(cublasLtMatmulPreferenceSetAttribute)
Z(cublasLtMatrixLayoutSetAttribute) Z(cublasLtMatmulDescDestroy) Z(cublasLtMatmulPreferenceDestroy)
    Z(cublasLtMatrixLayoutDestroy) Z(cublasLtMatmulAlgoCheck) Z(cublasLtMatmulAlgoInit)
        Z(cublasLtMatmulAlgoConfigSetAttribute) Z(cublasLtMatmulAlgoConfigGetAttribute) X int cublasLtCreate(void **h) {
    *h = malloc(64);
    return 0;
}
X int cublasLtMatmulDescCreate(void **h, int a, int b) {
    *h = malloc(256);
    return 0;
}
X int cublasLtMatmulPreferenceCreate(void **h) {
    *h = malloc(256);
    return 0;
}
X int cublasLtMatrixLayoutCreate(void **h, int t, unsigned long r, unsigned long c, long ld) {
    *h = malloc(256);
    return 0;
}
X int cublasLtMatmulAlgoGetHeuristic(void *h, void *d, void *a, void *b, void *c, void *dd, void *p, int n, void *r,
                                     int *found) {
    memset(r, 0, 64);
    *found = 1;
    return 0;
}
