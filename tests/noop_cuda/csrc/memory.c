// Device memory is reserved address space; copies between host and device are real, copies on the device are not made.
#include "shim.h"
long shim_count[NCNT];
long shim_in_use, shim_limit = 80000000000L; // bytes
static long pageable_bytes;
X long *shim_counters(void) { return C; }
X void shim_reset(void) {
    memset(C, 0, sizeof C);
    pageable_bytes = 0;
}
X long shim_pageable_bytes(void) { return pageable_bytes; }
X long shim_mapped(void) { return shim_in_use; }
typedef struct R {
    char *p;
    size_t n;
    int host;
    struct R *next;
} R;
static R *rs;
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static void add(void *p, size_t n, int host) {
    R *r = malloc(sizeof *r);
    r->p = p;
    r->n = n;
    r->host = host;
    pthread_mutex_lock(&mu);
    r->next = rs;
    rs = r;
    pthread_mutex_unlock(&mu);
}
static size_t del(void *p) {
    size_t n = 0;
    pthread_mutex_lock(&mu);
    for (R **q = &rs; *q; q = &(*q)->next)
        if ((*q)->p == p) {
            R *d = *q;
            n = d->n;
            *q = d->next;
            free(d);
            break;
        }
    pthread_mutex_unlock(&mu);
    return n;
}
int shim_kind_of(const void *p) {
    int k = 0;
    pthread_mutex_lock(&mu);
    for (R *r = rs; r; r = r->next)
        if ((char *)p >= r->p && (char *)p < r->p + r->n) {
            k = r->host ? 1 : 2;
            break;
        }
    pthread_mutex_unlock(&mu);
    return k;
}
X E cudaMalloc(void **p, size_t n) {
    char *e = getenv("SHIM_LIMIT");
    if (e)
        shim_limit = atol(e);
    C[MALLOC]++;
    if (shim_in_use + (long)n > shim_limit) {
        *p = 0;
        return 2;
    }
    *p = mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (*p == MAP_FAILED)
        return 2;
    shim_in_use += n;
    add(*p, n, 0);
    return OK;
}
X E cudaFree(void *p) {
    if (!p)
        return OK;
    C[FREE]++;
    size_t n = del(p);
    if (n) {
        munmap(p, n);
        shim_in_use -= n;
    }
    return OK;
}
X E cudaMallocAsync(void **p, size_t n, void *s) { return cudaMalloc(p, n); }
X E cudaFreeAsync(void *p, void *s) { return cudaFree(p); }
X E cudaMallocManaged(void **p, size_t n, unsigned f) { return cudaMalloc(p, n); }
X E cudaHostAlloc(void **p, size_t n, unsigned f) {
    C[HOSTALLOC]++;
    *p = aligned_alloc(4096, (n + 4095) / 4096 * 4096);
    add(*p, n, 1);
    return OK;
}
X E cudaMallocHost(void **p, size_t n) { return cudaHostAlloc(p, n, 0); }
X E cudaFreeHost(void *p) {
    if (p) {
        del(p);
        free(p);
    }
    return OK;
}
X E cudaHostRegister(void *p, size_t n, unsigned f) {
    add(p, n, 1);
    return OK;
}
X E cudaHostUnregister(void *p) {
    del(p);
    return OK;
}
static E copy(void *d, const void *s, size_t n) {
    int kd = shim_kind_of(d), ks = shim_kind_of(s);
    if (kd == 2 && ks == 2) {
        C[D2D]++;
        return OK;
    }
    if (kd == 2) {
        C[H2D]++;
        if (ks == 0) {
            C[H2D_PAGEABLE]++;
            pageable_bytes += n;
            if (n > 65536)
                C[H2D_PAGEABLE_BIG]++;
        }
        memcpy(d, s, n);
        return OK;
    }
    if (ks == 2) {
        C[D2H]++;
        memcpy(d, s, n);
        return OK;
    }
    memcpy(d, s, n);
    return OK;
}
X E cudaMemcpy(void *d, const void *s, size_t n, int k) { return copy(d, s, n); }
X E cudaMemcpyAsync(void *d, const void *s, size_t n, int k, void *st) { return copy(d, s, n); }
X E cudaMemcpyPeerAsync(void *d, int a, const void *s, int b, size_t n, void *st) { return copy(d, s, n); }
X E cudaMemcpy2DAsync(void *d, size_t dp, const void *s, size_t sp, size_t w, size_t h, int k, void *st) {
    C[D2D]++;
    return OK;
}
X E cudaMemcpyToSymbol(const void *s, const void *src, size_t n, size_t o, int k) { return OK; }
X E cudaMemset(void *p, int v, size_t n) {
    C[MEMSET]++;
    return OK;
}
X E cudaMemsetAsync(void *p, int v, size_t n, void *s) {
    C[MEMSET]++;
    return OK;
}
X E cudaMemGetInfo(size_t *f, size_t *t) {
    *t = shim_limit;
    *f = shim_limit - shim_in_use;
    return OK;
}
