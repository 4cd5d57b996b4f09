/* The table of kinds. */
#include "foreign_file.h"

#include <string.h>

typedef struct kind {
    size_t bytes;
    const char *head, *what;
} kind;

#define KIND(head, what)                                                                           \
    { sizeof(head) - 1, head, what }

static const kind kinds[] = {
    KIND("\x1f\x8b", "is compressed by gzip; unpack it first (gunzip)"),
    KIND("\x28\xb5\x2f\xfd", "is compressed by zstd; unpack it first (unzstd)"),
    KIND("\xfd"
         "7zXZ",
         "is compressed by xz; unpack it first (unxz)"),
    KIND("BZh", "is compressed by bzip2; unpack it first (bunzip2)"),
    KIND("PK\x03\x04", "is a zip archive, as PyTorch writes too; unpack or convert it first"),
    KIND("PAR1", "is a Parquet file; write it as JSONL first"),
    KIND("ARROW1", "is an Arrow file; write it as JSONL first"),
    KIND("\x89HDF\r\n\x1a\n", "is an HDF5 file, which is not what is needed here"),
    KIND("version https://git-lfs", "is git-lfs's pointer to a file; fetch that (git lfs pull)"),
    KIND("<!DOCTYPE html", "is a web page; did a download fail?"),
    KIND("<!doctype html", "is a web page; did a download fail?"),
    KIND("<html", "is a web page; did a download fail?"),
    KIND("\xff\xfe", "is UTF-16; write it as UTF-8 first (iconv -f UTF-16 -t UTF-8)"),
    KIND("\xfe\xff", "is UTF-16; write it as UTF-8 first (iconv -f UTF-16 -t UTF-8)"),
};

wb_status wb_foreign_file_check(const char *path, const void *head, size_t bytes) {
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (bytes >= kinds[i].bytes && memcmp(head, kinds[i].head, kinds[i].bytes) == 0) {
            return WB_ERROR(WB_ERR_INPUT, "%s: %s", path, kinds[i].what);
        }
    }
    return WB_OK;
}
