// What the files of the no-op CUDA runtime share.
#pragma once
#define _GNU_SOURCE
#include "driver_types.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#define OK 0
typedef int E;
#define X __attribute__((visibility("default")))
enum {
    LAUNCH,
    H2D,
    H2D_PAGEABLE,
    H2D_PAGEABLE_BIG,
    D2H,
    D2D,
    MEMSET,
    STREAMSYNC,
    DEVSYNC,
    EVSYNC,
    MALLOC,
    FREE,
    HOSTALLOC,
    CUBLAS,
    NCNT
};
extern long shim_count[NCNT];
extern long shim_limit, shim_in_use;
int shim_kind_of(const void *p); // 0: other memory, 1: pinned host memory, 2: device memory
#define C shim_count
