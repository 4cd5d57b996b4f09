/* A disk that does not do what it is told: stands in front of write (ld --wrap=write). */
#ifndef WB_LYING_DISK_H
#define WB_LYING_DISK_H

#include <stdbool.h>
#include <stddef.h>

/* Sees write number n before it is done, may change its bytes (a copy), and says whether it is done
 * at all. Either way it succeeds. NULL: every write is done. */
typedef bool (*wb_disk)(long n, int file, unsigned char *data, size_t bytes);

/* Counts from 1 again. */
void wb_disk_set(wb_disk disk);

#endif
