/* What the program was built for and what it runs on. */
#include "machine.h"

#include "chunk_plan.h"
#include "comm.h"
#include "gemm.h"
#include "hash.h"
#include "io_library.h"
#include "lanes.h"
#include "memory.h"
#include "product.h"
#include "threads.h"
#include "units.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

wb_status wb_machine_check(void) {
#if defined(__AVX512F__)
    const bool runs = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
#elif defined(__AVX2__)
    const bool runs = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    const bool runs = true;
#endif
    return runs ? WB_OK
                : WB_ERROR(WB_ERR_USAGE, "this program was built for " WB_BUILT_FOR
                                         ", which this processor lacks; build it again here, or "
                                         "with -DWB_NATIVE=OFF for any x86-64-v3 machine");
}

#if defined(__x86_64__)
static bool has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512cd");
}

static bool has_avx512_bf16(void) {
    return has_avx512() && __builtin_cpu_supports("avx512bf16");
}
#else
static bool has_avx512(void) {
    return false;
}

static bool has_avx512_bf16(void) {
    return false;
}
#endif

/* Tells the second start, and `env`, what OpenBLAS had chosen. */
#define FIRST_KERNELS "WIDEBATCH_FIRST_KERNELS"

void wb_machine_choose_kernels(char **argv) {
    const char *const better =
        wb_gemm_better_kernels(wb_gemm_kernels(), has_avx512(), has_avx512_bf16());
    if (better && !getenv("OPENBLAS_CORETYPE") &&
        setenv(FIRST_KERNELS, wb_gemm_kernels(), 1) == 0 &&
        setenv("OPENBLAS_CORETYPE", better, 1) == 0) {
        (void)execv("/proc/self/exe", argv); /* where it fails, the program is slower, not wrong */
    }
}

/* Reads what the kernel keeps of the start; *bytes is 0 where it cannot. */
static char *read_first_environment(size_t *bytes) {
    char *text = NULL;
    FILE *const out = open_memstream(&text, bytes);
    const int file = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
    char piece[4096];
    ssize_t got;
    while (out && file >= 0 && (got = read(file, piece, sizeof(piece))) > 0) {
        (void)fwrite(piece, 1, (size_t)got, out);
    }
    if (file >= 0) {
        (void)close(file);
    }
    if (out) {
        (void)fclose(out);
    }
    return text;
}

char **wb_machine_first_environment(void) {
    size_t bytes = 0, count = 0;
    char *const text = read_first_environment(&bytes);
    for (size_t i = 0; text && i < bytes; i++) {
        count += text[i] == '\0';
    }
    char **const environment =
        count > 0 ? malloc((count + 1) * sizeof(*environment) + bytes) : NULL;
    if (environment) {
        const bool chosen = getenv(FIRST_KERNELS) != NULL;
        char *at = memcpy(environment + count + 1, text, bytes);
        size_t kept = 0;
        for (size_t i = 0; i < count; i++, at += strlen(at) + 1) {
            const bool ours = strncmp(at, FIRST_KERNELS "=", sizeof(FIRST_KERNELS)) == 0 ||
                              strncmp(at, "OPENBLAS_CORETYPE=", 18) == 0;
            if (!(chosen && ours)) {
                environment[kept++] = at;
            }
        }
        environment[kept] = NULL;
    }
    free(text);
    return environment;
}

void wb_machine_print_version(FILE *out) {
    (void)fprintf(out,
                  "widebatch " WB_VERSION "\n"
                  "built for   " WB_BUILT_FOR ", " __VERSION__ "\n"
                  "MPI         %s\n"
                  "BLAS        %s\n"
                  "products    fp32: %s; bf16: %s\n"
                  "HDF5        %s\n",
                  wb_comm_library(), wb_gemm_library(), wb_product_library(WB_FP32),
                  wb_product_library(WB_BF16), wb_io_hdf5_version());
}

/* The value after "name" and a colon in a file of such lines. */
static void print_line(FILE *out, const char *label, const char *path, const char *name) {
    char line[1024];
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof(line), file)) {
        const char *const colon = strchr(line, ':');
        if (strncmp(line, name, strlen(name)) == 0 && colon) {
            (void)fprintf(out, "%-11s %s", label, colon + 1 + strspn(colon + 1, " \t"));
            break;
        }
    }
    if (file) {
        (void)fclose(file);
    }
}

static void print_limit(FILE *out, const char *label, const struct rlimit *limit) {
    if (limit->rlim_cur != RLIM_INFINITY) {
        (void)fprintf(out, "%-11s %s\n", label, wb_bytes_text((size_t)limit->rlim_cur).text);
    }
}

/* Who chose the BLAS kernels, where it was not OpenBLAS. */
static void print_kernels(FILE *out) {
    const char *const first = getenv(FIRST_KERNELS), *const set = getenv("OPENBLAS_CORETYPE");
    if (first && set) {
        (void)fprintf(out, "kernels     %s; OpenBLAS, to which this processor is new, chose %s\n",
                      wb_gemm_kernels(), first);
    } else if (set) {
        (void)fprintf(out, "kernels     %s, as OPENBLAS_CORETYPE says\n", wb_gemm_kernels());
    }
}

uint64_t wb_machine_kind(void) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *const out = open_memstream(&text, &bytes);
    if (out) {
        print_line(out, "processor", "/proc/cpuinfo", "model name");
        (void)fprintf(out, WB_BUILT_FOR " %s", wb_product_library(WB_BF16));
        (void)fclose(out);
    }
    const uint64_t kind = wb_hash(text ? text : "", text ? bytes : 0);
    free(text);
    return kind;
}

int wb_machine_processors(void) {
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < INT32_MAX ? (int)online : 1;
}

void wb_machine_print(FILE *out) {
    struct utsname system;
    print_kernels(out);
    if (uname(&system) == 0) {
        (void)fprintf(out, "system      %s %s, %s\n", system.sysname, system.release,
                      system.machine);
    }
    print_line(out, "processor", "/proc/cpuinfo", "model name");
    print_line(out, "memory", "/proc/meminfo", "MemTotal");
    print_line(out, "available", "/proc/meminfo", "MemAvailable");
    (void)fprintf(out, "budget      %s for activations, if one rank runs here\n",
                  wb_bytes_text(wb_memory_budget(1, 0)).text);
    (void)fprintf(out, "processors  %d, of which a rank may run on %d\n", wb_machine_processors(),
                  wb_processors());
    (void)fprintf(out, "threads     %d a rank (OMP_NUM_THREADS)\n", wb_threads());
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0) {
        print_limit(out, "ulimit -v", &limit);
    }
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0) {
        print_limit(out, "ulimit -f", &limit);
    }
}
