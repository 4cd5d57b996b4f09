/* What widebatch's reader says of safetensors files that come in on stdin, each behind its length
 * in 8 bytes: a line for each, "+" and its tensors, or "-" and why it is refused. For
 * check_safetensors.py, which asks the reference about the same files. */
#include "safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void print_entry(const wb_safetensors_entry *entry) {
    (void)printf(" ");
    for (const char *c = entry->name; *c; c++) {
        (void)printf("%02x", (unsigned)(unsigned char)*c);
    }
    (void)printf(":%s:%lld:%lld:", wb_dtype_name(entry->dtype), (long long)entry->begin,
                 (long long)entry->end);
    for (int i = 0; i < entry->rank; i++) {
        (void)printf("%s%lld", i > 0 ? "," : "", (long long)entry->shape[i]);
    }
}

static void print_refusal(void) {
    (void)printf("-");
    for (const char *c = wb_error_message(); *c; c++) {
        (void)putchar((unsigned char)*c < ' ' ? '?' : *c);
    }
}

static bool print_verdict(const void *bytes, size_t size) {
    char path[64];
    wb_safetensors *file = NULL;
    const int memory = memfd_create("safetensors", MFD_CLOEXEC);
    if (memory < 0 || write(memory, bytes, size) != (ssize_t)size) {
        return false;
    }
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
    if (wb_safetensors_open(&file, path) == WB_OK) {
        (void)printf("+");
        for (int64_t i = 0; i < wb_safetensors_count(file); i++) {
            print_entry(wb_safetensors_at(file, i));
        }
    } else {
        print_refusal();
    }
    (void)printf("\n");
    wb_error_clear();
    wb_safetensors_close(file);
    return close(memory) == 0;
}

int main(void) {
    uint64_t size;
    while (fread(&size, sizeof(size), 1, stdin) == 1) {
        void *bytes = malloc(size + 1);
        if (!bytes || fread(bytes, 1, size, stdin) != size || !print_verdict(bytes, size)) {
            return 1;
        }
        free(bytes);
    }
    return 0;
}
