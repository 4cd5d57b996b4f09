/* What valgrind is told of memory, in a build for it (WB_MEMCHECK); nothing otherwise. */
#ifndef WB_MEMCHECK_H
#define WB_MEMCHECK_H

#ifdef WB_MEMCHECK
#include <valgrind/memcheck.h>
/* Nobody may touch it; it has no value yet; it must have one by now. */
#define WB_MEMORY_IS_NOBODYS(data, bytes) ((void)VALGRIND_MAKE_MEM_NOACCESS((data), (bytes)))
#define WB_MEMORY_IS_UNSET(data, bytes)   ((void)VALGRIND_MAKE_MEM_UNDEFINED((data), (bytes)))
#define WB_MEMORY_HAS_VALUES(data, bytes)                                                          \
    ((void)VALGRIND_CHECK_MEM_IS_DEFINED((data), (size_t)(bytes)))
#else
#define WB_MEMORY_IS_NOBODYS(data, bytes) ((void)(data), (void)(bytes))
#define WB_MEMORY_IS_UNSET(data, bytes)   ((void)(data), (void)(bytes))
#define WB_MEMORY_HAS_VALUES(data, bytes) ((void)(data), (void)(bytes))
#endif

#endif
