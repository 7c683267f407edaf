// The CUDA driver: only what torch looks up at import.
#define X __attribute__((visibility("default")))
#define F(n)                                                                                                           \
    X int n(void) { return 0; }
F(cuCtxSetCurrent)
F(cuDeviceGet)
F(cuDeviceGetAttribute) F(cuDevicePrimaryCtxRetain) F(cuFuncGetAttribute) F(cuFuncSetAttribute) F(cuFuncSetCacheConfig)
    F(cuGetErrorString) F(cuLaunchCooperativeKernel) F(cuLaunchKernel) F(cuLinkAddData_v2) F(cuLinkComplete)
        F(cuLinkCreate_v2) F(cuModuleGetFunction) F(cuModuleLoad) F(cuModuleLoadData) F(cuModuleLoadDataEx)
            F(cuModuleUnload) F(cuOccupancyMaxActiveBlocksPerMultiprocessor) F(cuPointerGetAttribute)
                F(cuTensorMapEncodeTiled) X int cuCtxGetCurrent(void **c) {
    *c = (void *)1;
    return 0;
}
X int cuDevicePrimaryCtxGetState(int d, unsigned *f, int *a) {
    *f = 0;
    *a = 1;
    return 0;
}
