/* Calls of the C library and of HDF5 that fail on demand, in front of what io calls (ld --wrap).
 *
 * A call that fails does nothing, but for those that close something: they close it and then say
 * that they could not. Each table row of failing_calls.c is one function. */
#ifndef WB_FAILING_CALLS_H
#define WB_FAILING_CALLS_H

#include <stdbool.h>

typedef enum wb_fault {
    WB_FAULT_NONE,
    WB_FAULT_MEMORY, /* allocations, with ENOMEM */
    WB_FAULT_FILES,  /* the C library's files and folders, with EIO */
    WB_FAULT_HDF5,
    WB_FAULT_PATHS, /* paths that are put together: too long */
} wb_fault;

/* From now on calls of this kind are counted, and call number n fails (0: none). */
void wb_faults_arm(wb_fault kind, long n);

/* Whether no call before number n, when none was to fail, came the same way through the program. */
bool wb_fault_is_first_of_its_place(long n);

/* Ends that. Returns how many calls there were. */
long wb_faults_disarm(void);

/* The function that failed, or "nothing". */
const char *wb_fault_name(void);

#endif
